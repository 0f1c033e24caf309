"""The transaction, where neither the explorer nor a landing of files from the server shows it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from hashlib import md5
from threading import Event
from typing import Any

import pytest

from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import Changed, StoreError
from airflow_provider_cca.landing.commit import ATTEMPTS, Transaction, Wanted
from airflow_provider_cca.landing.manifest import LandedFile, Manifest
from airflow_provider_cca.landing.manifest_store import ManifestStore
from airflow_provider_cca.store.object_meta import ObjectMeta
from tests.support.memory_store import MemoryStore

FOLDER, DATE = "cdr_csv/creation_date=2026-03-01", {"creation_date": "2026-03-01"}
MARK = "0" * 32


class Packed:
    """A source of one file, whose MD5 is not known before its body has come."""

    is_complete, suffix = True, ".gz"

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)

    def list_files(self, folder: object, is_intact: object) -> list[Wanted]:
        return [Wanted("zip", "zip/0", "x.csv", MARK, None, None, None, None, None)]

    def identify(self, entry: LandedFile) -> tuple[str, str]:
        return "zip", MARK

    def chunks(self, wanted: Wanted) -> Generator[bytes]:
        yield self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]


class InParts(MemoryStore):
    """Like an object store: what goes up in parts cannot be moved to another key."""

    @contextmanager
    def writing(self, key: str, size: int, *, create: bool = False) -> Iterator[Any]:
        with super().writing(key, size, create=create) as target:
            target.aim = lambda key, create: False  # type: ignore[method-assign]
            yield target


def run(store: MemoryStore, source: Packed) -> Manifest:
    manifests = ManifestStore(store, Retry(Event(), first_wait=0))
    return Transaction(manifests, FOLDER, DATE, source).run()


@pytest.mark.parametrize("kind", [MemoryStore, InParts])
def test_a_lost_member_that_is_packed_otherwise_gets_another_key(kind: type[MemoryStore]) -> None:
    """As by another version of zlib: its old key has one content for ever."""
    store = kind()
    run(store, Packed(b"old"))
    del store.objects[f"{FOLDER}/x.csv.gz"]
    (entry,) = run(store, Packed(b"new")).files
    assert (entry.key, entry.md5) == ("x.csv.00000000.gz", md5(b"new").hexdigest())
    assert store.objects[f"{FOLDER}/{entry.key}"].content == b"new"


def test_a_copy_of_a_superseded_object_is_not_written_over_by_what_came_to_its_key_since() -> None:
    """A task that had looked before may have put other content there, and then found that it was too late."""
    store = MemoryStore()
    for body in (b"one", b"two"):
        run_as(store, body)
    store.write(f"{FOLDER}/x.csv.gz", b"other")
    run_as(store, b"two")
    assert store.objects[f"{FOLDER}/_superseded/x.csv.gz"].content == b"one"
    assert f"{FOLDER}/x.csv.gz" not in store.objects


def run_as(store: MemoryStore, body: bytes) -> Manifest:
    """Land a body whose MD5 is its mark, as that of a revised zip is."""
    source, mark = Packed(body), md5(body).hexdigest()
    source.list_files = lambda folder, is_intact: [  # type: ignore[method-assign]
        Wanted("zip", f"zip/{mark}", "x.csv", mark, None, None, None, None, None)
    ]
    source.identify = lambda entry: ("zip", entry.id.rpartition("/")[2])  # type: ignore[method-assign]
    return run(store, source)


def test_an_orphan_that_another_task_has_moved_meanwhile_is_passed_over() -> None:
    """It was listed, and is gone when its MD5 is read."""

    class Moved(MemoryStore):
        def list(self, folder: str) -> dict[str, ObjectMeta]:
            return {name: one._replace(md5=None) for name, one in super().list(folder).items()}

        def md5(self, key: str) -> str:
            self.objects.pop(key, None)
            return super().md5(key)

    store = Moved()
    store.write(f"{FOLDER}/x.csv.12345678.gz", b"left")
    manifest = run(store, Packed(b"new"))
    assert [entry.key for entry in manifest.files] == ["x.csv.gz"]
    assert manifest.superseded == ()


@pytest.mark.parametrize("error", [StoreError("503 slow down"), Changed("written by another task")])
def test_a_manifest_that_is_refused_is_tried_six_times_with_waits(
    waits: list[float], error: StoreError
) -> None:
    """Also while other tasks commit: without waits many at once overtake each other until most give up."""

    class Failing(MemoryStore):
        def put_if_unchanged(self, *arguments: Any) -> ObjectMeta:
            raise error

    with pytest.raises(StoreError, match=rf"in {ATTEMPTS} attempts.*{error}"):
        Transaction(ManifestStore(Failing(), Retry(Event())), FOLDER, DATE, Packed(b"x")).run()
    assert len(waits) == ATTEMPTS
    assert waits[-1] > waits[0] > 0
