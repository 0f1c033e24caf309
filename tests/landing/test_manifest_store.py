"""Folders as they are looked at, and which of their objects are intact."""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5
from threading import Event

import pytest

from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import Changed, DestinationUnusable
from airflow_provider_cca.landing.manifest import LandedFile, Manifest
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore, Verify
from airflow_provider_cca.store.object_meta import ObjectMeta
from tests.support.memory_store import MemoryStore

FOLDER = "cdr_compressed/creation_date=2026-03-01"
MANIFEST = f"{FOLDER}/_manifest.json"
BODY = b"content"
ENTRY = LandedFile("1", "a.zip", "a.zip", len(BODY), md5(BODY).hexdigest(), None, None)


def manifest(**changes: object) -> Manifest:
    known = Manifest("cdr_compressed", {"creation_date": "2026-03-01"}, (ENTRY,), "2026-03-01T09:00:00Z")
    return replace(known, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def manifests(store: MemoryStore) -> ManifestStore:
    return ManifestStore(store, Retry(Event(), attempts=1))


def test_what_was_listed_without_a_manifest_is_not_asked_for_one(store, manifests) -> None:
    store.write(MANIFEST, manifest().to_json())
    assert manifests.read(FOLDER, {"a.zip": ObjectMeta(1)}).manifest is None
    assert manifests.read(FOLDER).manifest == manifest()


@pytest.mark.parametrize(
    "other",
    [
        manifest(report="cdr"),
        manifest(partition={"creation_date": "2026-03-02"}),
        manifest(partition={"creation_date": "2026-03-01", "site": "a"}),
    ],
    ids=["report", "date", "site"],
)
def test_a_manifest_that_was_copied_from_elsewhere_counts_as_damaged(store, manifests, other) -> None:
    """It vouches for objects that are not here. What is superseded is then told by the folder alone."""
    store.write(MANIFEST, other.to_json())
    store.write(f"{FOLDER}/_superseded/a.zip", b"old")
    folder = manifests.read(FOLDER)
    assert (folder.manifest, folder.meta, {*folder.spent}) == (None, store.head(MANIFEST), {"a.zip"})


def test_a_manifest_is_replaced_only_if_it_is_the_one_that_was_read(store, manifests) -> None:
    empty = manifests.read(FOLDER)
    manifests.commit(empty, manifest())
    read = manifests.read(FOLDER)
    manifests.commit(read, manifest(written_at="2026-03-01T10:00:00Z"))
    for stale in (empty, read):
        with pytest.raises(Changed):
            manifests.commit(stale, manifest(files=()))
    assert manifests.read(FOLDER).manifest.written_at == "2026-03-01T10:00:00Z"


@pytest.mark.parametrize(
    ("verify", "found", "content", "intact"),
    [
        (Verify.SIZE, ObjectMeta(7, 1.0, "0" * 32), b"another", True),
        (Verify.CHANGED, ObjectMeta(7, 1.0), b"another", True),
        (Verify.CHANGED, ObjectMeta(7, 3.0), b"another", False),
        (Verify.CHANGED, ObjectMeta(7, 3.0), BODY, True),
        (Verify.CHANGED, ObjectMeta(7, 1.0, "0" * 32), b"another", False),
        (Verify.CONTENT, ObjectMeta(7, 1.0), b"another", False),
        (Verify.CONTENT, ObjectMeta(7, 3.0, ENTRY.md5), b"another", True),
        (Verify.SIZE, ObjectMeta(6), BODY, False),
    ],
    ids=[
        *("size alone", "older than the manifest", "newer, other content", "newer, same content"),
        *("another MD5 listed", "all are read", "the listing proves it", "another size"),
    ],
)
def test_an_object_is_read_when_its_listing_leaves_a_doubt(
    store, manifests, verify, found, content, intact
) -> None:
    manifests.verify = verify
    store.write(f"{FOLDER}/a.zip", content)
    folder = Folder(FOLDER, manifest(), ObjectMeta(1, modified=2.0), {"a.zip": found})
    assert manifests.is_intact(folder, ENTRY) is intact


def test_an_object_that_cannot_be_read_has_no_content(manifests) -> None:
    assert manifests.has_content(f"{FOLDER}/gone", ENTRY.md5) is False


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(manifests, monkeypatch) -> None:
    """Written anew, it would forget what earlier landings left."""

    def refuse(key: str) -> None:
        raise DestinationUnusable("may not read that")

    monkeypatch.setattr(manifests.store, "get", refuse)
    with pytest.raises(DestinationUnusable):
        manifests.read(FOLDER)
