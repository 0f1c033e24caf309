"""What a landing leaves in the store, whatever the server sends and whatever was there before."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from hashlib import md5
from pathlib import Path
from threading import Barrier, Event
from typing import Any
from weakref import ref

import pytest

from airflow_provider_cca.api.site_list import whole
from airflow_provider_cca.core.files import RemoteFile, by_partition
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import (
    ConnectionFailed,
    DestinationUnusable,
    FileExpired,
    PartlyLanded,
    StoreError,
    TruncatedSnapshot,
    WrongChecksum,
)
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.lander import Lander
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.landing.manifest_store import ManifestStore
from airflow_provider_cca.landing.site_list import land_snapshot
from airflow_provider_cca.reconcile.inventory import Inventory
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import Store
from airflow_provider_cca.store.opening import store_at
from tests.support.tree import tree

ZIPS = Scope(REPORTS["cdr_compressed"])
DAY = Partition.parse("2026-03-01", Grain.DAY)
FOLDER = "cdr_compressed/creation_date=2026-03-01"


def listed(body: bytes, name: str = "a.zip", id_: str = "1", hour: int = 7, **changes: object) -> RemoteFile:
    values = {
        "id": id_,
        "name": name,
        "link": "https://x.webex.com/f",
        "size": len(body),
        "md5": md5(body).hexdigest(),
        "created_on": datetime(2026, 3, 1, hour, tzinfo=UTC),
        "expires_on": None,
        "download_attempts": 0,
        "scope": ZIPS,
        "partition": DAY,
    }
    return RemoteFile(**{**values, **changes})


class Server:
    """Gives bodies, or raises errors, file by file; counts how often it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes | Exception]] = {}
        self.asked: list[str] = []

    def has(self, file: RemoteFile, *answers: bytes | Exception) -> RemoteFile:
        self.answers[file.id] = list(answers)
        return file

    def fetch(self, file: RemoteFile) -> Iterator[bytes]:
        self.asked.append(file.id)
        answers = self.answers[file.id]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            yield b"h"
            raise answer
        for start in range(0, len(answer), 7):
            yield answer[start : start + 7]


def land_all(
    store: Store,
    fetch: Callable[[RemoteFile], Iterator[bytes]],
    partitions: dict,
    workers: int = 1,
    attempts: int = 6,
) -> list[Landed]:
    """Land partitions, of which the server lists this and no more."""
    lander = Lander(ManifestStore(store, Retry(Event(), attempts, first_wait=0)), fetch, workers)
    return lander.land(partitions, lambda *place: partitions[place])


def land_part(store: Store, fetch: Callable[[RemoteFile], Iterator[bytes]], *files: RemoteFile) -> Landed:
    """Land files that were given, and may be only a part of the partition of 1 March 2026."""
    return Lander(ManifestStore(store, Retry(Event())), fetch, 1).land({(ZIPS, DAY): files}, None)[0]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def land(tmp_path: Path, server: Server) -> Callable[..., Landed]:
    """Land these files as the partition of 1 March 2026."""

    def act(*files: RemoteFile) -> Landed:
        return land_all(store_at(tmp_path), server.fetch, {(ZIPS, DAY): list(files)}, 4)[0]

    return act


def manifest(root: Path) -> dict:
    return json.loads((root / FOLDER / "_manifest.json").read_bytes())


def test_files_land_under_their_names_with_a_manifest_as_agreed(tmp_path, server, land) -> None:
    done = land(server.has(listed(b"content"), b"content"))
    assert (tmp_path / FOLDER / "a.zip").read_bytes() == b"content"
    written = manifest(tmp_path)
    for moment in (written.pop("written_at"), written["files"][0].pop("landed_on")):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
    assert written == {
        "version": 1,
        "report": "cdr_compressed",
        "partition": {"creation_date": "2026-03-01"},
        "files": [
            {
                "id": "1", "name": "a.zip", "key": "a.zip", "size": 7,
                "md5": "9a0364b9e99bb480dd25e1f0284c8555",
                "created_on": "2026-03-01T07:00:00Z", "expires_on": None,
            }
        ],
        "superseded": [],
        "total_bytes": 7,
        "written_by": None,
    }  # fmt: skip
    assert (done.files, done.bytes, done.downloaded) == (1, 7, 1)


def test_a_partition_without_files_gets_a_manifest_that_says_so(tmp_path, land) -> None:
    land()
    assert manifest(tmp_path)["files"] == []


def test_landing_again_downloads_and_writes_nothing(tmp_path, server, land) -> None:
    file = server.has(listed(b"content"), b"content")
    land(file)
    before = tree(tmp_path)
    assert land(file).downloaded == 0
    assert (tree(tmp_path), server.asked) == (before, ["1"])


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"cut")])
def test_what_is_missing_or_cut_is_downloaded_again(tmp_path, server, land, damage) -> None:
    one, two = server.has(listed(b"one"), b"one"), server.has(listed(b"second", "b.zip", "2"), b"second")
    land(one, two)
    damage(tmp_path / FOLDER / "b.zip")
    assert land(one, two).downloaded == 1
    assert server.asked.count("1") == 1
    assert (tmp_path / FOLDER / "b.zip").read_bytes() == b"second"


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1, "files": [1]}'])
def test_a_damaged_manifest_heals_without_a_download(tmp_path, server, land, broken: bytes) -> None:
    file = server.has(listed(b"content"), b"content")
    land(file)
    (tmp_path / FOLDER / "_manifest.json").write_bytes(broken)
    assert land(file).downloaded == 0
    assert manifest(tmp_path)["total_bytes"] == 7


def test_files_of_a_killed_landing_are_recognised_by_their_content(tmp_path, server, land) -> None:
    """Without a manifest, a file with the right MD5 is taken; one that only has the size is not."""
    right, wrong = (
        server.has(listed(b"right"), b"right"),
        server.has(listed(b"wrong", "b.zip", "2"), b"wrong"),
    )
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "a.zip").write_bytes(b"right")
    (tmp_path / FOLDER / "b.zip").write_bytes(b"other")
    assert land(right, wrong).downloaded == 1
    assert server.asked == ["2"]


@pytest.mark.parametrize(
    "fault",
    [b"wrong c", b"short", b"longer than listed", b"", ConnectionFailed("cut")],
    ids=["same size", "short", "long", "empty", "cut"],
)
def test_a_body_that_is_wrong_once_is_fetched_again(tmp_path, server, land, fault) -> None:
    land(server.has(listed(b"content"), fault, b"content"))
    assert set(tree(tmp_path)) == {f"{FOLDER}/a.zip", f"{FOLDER}/_manifest.json"}
    assert (tmp_path / FOLDER / "a.zip").read_bytes() == b"content"


def test_a_body_that_stays_wrong_leaves_nothing_and_is_fetched_three_times(tmp_path, server, land) -> None:
    with pytest.raises(PartlyLanded, match="is listed with MD5") as caught:
        land(server.has(listed(b"content"), b"wrong c"))
    assert tree(tmp_path) == {}
    assert server.asked == ["1"] * 3
    assert isinstance(caught.value.__cause__, WrongChecksum)
    assert caught.value.retryable


def test_a_broken_file_does_not_hold_back_the_others(tmp_path, server, land) -> None:
    """The others land, the manifest is not written, and the error names the broken one."""
    good, bad = (
        server.has(listed(b"good"), b"good"),
        server.has(listed(b"bad", "b.zip", "2"), FileExpired("b.zip is gone")),
    )
    with pytest.raises(PartlyLanded, match=r"1 of 2 files could not be landed.*b\.zip is gone") as caught:
        land(good, bad)
    assert set(tree(tmp_path)) == {f"{FOLDER}/a.zip"}
    assert not caught.value.retryable
    assert list(caught.value.failures) == [f"{FOLDER}/b.zip"]


def test_a_partition_is_finished_as_soon_as_its_last_file_is_there(tmp_path, server) -> None:
    """So that a long range that is killed need not look at what it had finished."""
    days = [Partition.parse(f"2026-03-0{day}", Grain.DAY) for day in (1, 2, 3)]
    partitions = {(ZIPS, day): [server.has(listed(b"x", id_=str(day)), b"x")] for day in days}
    finished: list[int] = []

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        finished.append(len(list(tmp_path.rglob("_manifest.json"))))
        return server.fetch(file)

    land_all(store_at(tmp_path), fetch, partitions, 1)
    assert finished == [0, 1, 2]


def test_a_manifest_that_cannot_be_written_holds_back_its_own_partition_alone(tmp_path, server) -> None:
    days = [Partition.parse(f"2026-03-0{day}", Grain.DAY) for day in (1, 2)]
    partitions = {(ZIPS, day): [server.has(listed(b"x", id_=str(day)), b"x")] for day in days}

    class Failing(LocalStore):
        def put_if_unchanged(self, key: str, *arguments: Any) -> ObjectMeta:
            if key.startswith(FOLDER):
                raise StoreError("the disk is full")
            return super().put_if_unchanged(key, *arguments)

    with pytest.raises(PartlyLanded, match=r"creation_date=2026-03-01.*in 6 attempts.*the disk is full"):
        land_all(Failing(str(tmp_path)), server.fetch, partitions, 1)
    assert (tmp_path / "cdr_compressed/creation_date=2026-03-02/_manifest.json").is_file()


def test_a_folder_that_cannot_be_listed_holds_back_its_own_partition_alone(tmp_path, server) -> None:
    days = [Partition.parse(f"2026-03-0{day}", Grain.DAY) for day in (1, 2)]
    partitions = {(ZIPS, day): [server.has(listed(b"x", id_=str(day)), b"x")] for day in days}

    class Failing(LocalStore):
        def list(self, folder: str) -> dict[str, ObjectMeta]:
            if folder == FOLDER:
                raise StoreError("503 slow down")
            return super().list(folder)

    store = Failing(str(tmp_path))
    with pytest.raises(PartlyLanded, match="503 slow down"):
        land_all(store, server.fetch, partitions, 1)
    assert (tmp_path / "cdr_compressed/creation_date=2026-03-02/_manifest.json").is_file()


def test_a_site_that_cannot_be_listed_as_a_whole_is_listed_folder_by_folder(tmp_path, server) -> None:
    """From eight partitions on, where one listing is for all; other sites are not held back either."""
    sites = [Scope(REPORTS["cdr"], site) for site in ("one", "two")]
    days = [Partition.parse(f"2026-03-{day:02}", Grain.DAY) for day in range(1, 9)]
    partitions = {(site, day): [server.has(listed(b"x"), b"x")] for site in sites for day in days}

    class Failing(LocalStore):
        def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
            if folder == "cdr/site=one":
                raise StoreError("503 slow down")
            return super().list_below(folder)

        def list(self, folder: str) -> dict[str, ObjectMeta]:
            if folder == "cdr/site=one/creation_date=2026-03-01":
                raise StoreError("503 slow down")
            return super().list(folder)

    store = Failing(str(tmp_path))
    with pytest.raises(PartlyLanded, match="503 slow down") as caught:
        land_all(store, server.fetch, partitions, 4)
    assert len(caught.value.failures) == 1
    assert len(list(tmp_path.rglob("_manifest.json"))) == 15


class Unreadable(LocalStore):
    """As for a user who is not root: the first folder may not be read, and so none above it as a whole."""

    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        if FOLDER.startswith(folder):
            raise DestinationUnusable("may not read that")
        return super().list_below(folder)

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        if folder == FOLDER:
            raise DestinationUnusable("may not read that")
        return super().list(folder)


@pytest.mark.parametrize("number", [2, 8], ids=["a few", "many, by one listing"])
def test_a_folder_that_may_not_be_read_holds_back_its_own_partition_alone(
    tmp_path, server, number: int
) -> None:
    days = [Partition.parse(f"2026-03-{day:02}", Grain.DAY) for day in range(1, number + 1)]
    partitions = {(ZIPS, day): [server.has(listed(b"x", id_=str(day)), b"x")] for day in days}
    store = Unreadable(str(tmp_path))
    with pytest.raises(PartlyLanded, match="may not read that") as caught:
        land_all(store, server.fetch, partitions, 4)
    assert [*caught.value.failures] == [f"{FOLDER}/_manifest.json"]
    assert len(list(tmp_path.rglob("_manifest.json"))) == number - 1


def test_a_folder_that_may_not_be_read_leaves_the_others_in_the_inventory(tmp_path, server) -> None:
    """What it holds is not known; that is something else than nothing."""
    days = [Partition.parse(f"2026-03-0{day}", Grain.DAY) for day in (2, 3)]
    file = server.has(listed(b"x"), b"x")
    land_all(store_at(tmp_path), server.fetch, {(ZIPS, day): [file] for day in days}, 1)
    inventory = Inventory(ManifestStore(Unreadable(str(tmp_path)), Retry(Event())))
    inventory.list_below("cdr_compressed")
    held = [inventory.held(folder_of(ZIPS, day)) for day in (DAY, *days)]
    assert [one.whole for one in held] == [frozenset(), {"a.zip"}, {"a.zip"}]
    assert [one.error is None for one in held] == [False, True, True]


def test_a_report_whose_own_folder_may_not_be_read_cannot_be_looked_at(tmp_path) -> None:
    (tmp_path / "cdr_compressed").touch()
    with pytest.raises(DestinationUnusable, match=r"cannot list .*check that the destination exists"):
        Inventory(ManifestStore(store_at(tmp_path), Retry(Event()))).list_below("cdr_compressed")


def test_an_object_that_vanishes_after_it_was_listed_is_downloaded(tmp_path, server, land) -> None:
    file = server.has(listed(b"content"), b"content")
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "a.zip").write_bytes(b"content")

    class Forgetful(LocalStore):
        def md5(self, key: str) -> str:
            Path(self.path(key)).unlink(missing_ok=True)
            return super().md5(key)

    store = Forgetful(str(tmp_path))
    (done,) = land_all(store, server.fetch, {(ZIPS, DAY): [file]}, 1)
    assert done.downloaded == 1


def test_recovered_files_join_what_has_landed(tmp_path, server, land) -> None:
    one, two = server.has(listed(b"one"), b"one"), server.has(listed(b"two", "b.zip", "2"), b"two")
    land(one)
    assert land(one, two).downloaded == 1
    assert [f["key"] for f in manifest(tmp_path)["files"]] == ["a.zip", "b.zip"]


def test_two_files_of_one_name_are_both_kept(tmp_path, server, land) -> None:
    one, two = server.has(listed(b"one"), b"one"), server.has(listed(b"two", id_="2", hour=8), b"two")
    land(two, one)
    first, second = sorted(manifest(tmp_path)["files"], key=lambda f: f["id"])
    assert (first["name"], second["name"], first["key"]) == ("a.zip", "a.zip", "a.zip")
    assert (tmp_path / FOLDER / "a.zip").read_bytes() == b"one"
    assert (tmp_path / FOLDER / second["key"]).read_bytes() == b"two"


def test_a_file_that_comes_later_with_a_taken_name_changes_no_key(tmp_path, server, land) -> None:
    land(server.has(listed(b"late", id_="2", hour=8), b"late"))
    land(
        server.has(listed(b"early", hour=6), b"early"), server.has(listed(b"late", id_="2", hour=8), b"late")
    )
    assert (tmp_path / FOLDER / "a.zip").read_bytes() == b"late"
    assert server.asked == ["2", "1"]


def test_what_vanished_upstream_stays_in_the_store_and_the_manifest(tmp_path, server, land) -> None:
    land(server.has(listed(b"old"), b"old"))
    land()
    assert [f["name"] for f in manifest(tmp_path)["files"]] == ["a.zip"]


def test_what_vanished_upstream_and_from_the_store_stays_named(tmp_path, server, land) -> None:
    """Nobody can land it again: a reader fails, and reconciling reports the loss."""
    land(server.has(listed(b"old"), b"old"))
    (tmp_path / FOLDER / "a.zip").unlink()
    land()
    assert [f["key"] for f in manifest(tmp_path)["files"]] == ["a.zip"]


def test_a_part_of_a_partition_leaves_named_what_it_does_not_list(tmp_path, server, land) -> None:
    land(server.has(listed(b"own"), b"own"), server.has(listed(b"other", "c.zip", "3"), b"other"))
    (tmp_path / FOLDER / "a.zip").unlink()
    land_part(store_at(tmp_path), server.fetch, server.has(listed(b"part", "b.zip", "2"), b"part"))
    assert [f["key"] for f in manifest(tmp_path)["files"]] == ["a.zip", "b.zip", "c.zip"]
    assert land(listed(b"own"), listed(b"other", "c.zip", "3")).downloaded == 1


def test_parts_with_files_that_share_an_id_leave_each_other_named(tmp_path, server) -> None:
    """As the files of two items in an example of the document (§3.6.2) do."""
    for name in ("a.zip", "b.zip"):
        land_part(store_at(tmp_path), server.fetch, server.has(listed(name.encode(), name), name.encode()))
    assert [entry["key"] for entry in manifest(tmp_path)["files"]] == ["a.zip", "b.zip"]


def test_a_part_without_files_writes_no_first_manifest(tmp_path, server) -> None:
    """It would say that the server lists none."""
    land_part(store_at(tmp_path), server.fetch)
    assert tree(tmp_path) == {}


def test_a_revised_file_gets_its_own_key_and_the_old_version_is_kept_out_of_the_way(
    tmp_path, server, land
) -> None:
    old = server.has(listed(b"first"), b"first")
    land(old)
    new = server.has(listed(b"again"), b"again")
    assert land(new).downloaded == 1
    key = f"a.{new.md5[:8]}.zip"
    objects = tree(tmp_path / FOLDER)
    written = json.loads(objects.pop("_manifest.json"))
    assert objects == {key: b"again", "_superseded/a.zip": b"first"}
    assert [(f["id"], f["name"], f["key"], f["md5"]) for f in written["files"]] == [
        ("1", "a.zip", key, new.md5)
    ]
    (gone,) = written["superseded"]
    assert gone.pop("superseded_on").endswith("Z")
    assert gone == {"id": "1", "name": "a.zip", "key": "a.zip", "size": 5, "md5": old.md5}


@pytest.mark.parametrize("name", ["", "no-extension"])
def test_what_a_dead_landing_left_is_known_by_a_name_without_an_extension(
    tmp_path, server, land, name
) -> None:
    id_ = name or "47ebab58-234f-45f8-9f13-dafc85d61b4a"
    land(server.has(listed(b"first", name, id_), b"first"))
    (tmp_path / FOLDER / f"{id_}.01234567").write_bytes(b"left")
    land(server.has(listed(b"first", name, id_), b"first"))
    assert tree(tmp_path / FOLDER).keys() == {id_, f"_superseded/{id_}.01234567", "_manifest.json"}


def test_a_version_that_comes_back_gets_another_key(tmp_path, server, land) -> None:
    for body in (b"first", b"again", b"first"):
        land(server.has(listed(body), body))
    (entry,) = manifest(tmp_path)["files"]
    assert entry["key"] == f"a.{md5(b'first').hexdigest()[:8]}.zip"
    assert [f["key"] for f in manifest(tmp_path)["superseded"]] == [
        "a.zip",
        f"a.{md5(b'again').hexdigest()[:8]}.zip",
    ]


def test_a_partition_with_a_failed_file_stays_as_it_was(tmp_path, server, land) -> None:
    land(server.has(listed(b"first"), b"first"), server.has(listed(b"b", "b.zip", "2"), b"b"))
    before = tree(tmp_path)
    revised = listed(b"later", "b.zip", "2")
    with pytest.raises(PartlyLanded):
        land(server.has(listed(b"again"), b"again"), server.has(revised, FileExpired("b.zip is gone")))
    assert tree(tmp_path).items() > before.items()
    assert land(listed(b"again"), server.has(revised, b"later")).downloaded == 1


def test_files_of_one_name_and_one_content_share_an_object(tmp_path, server, land) -> None:
    land(server.has(listed(b"same"), b"same"), server.has(listed(b"same", id_="2"), b"same"))
    assert [(f["id"], f["key"]) for f in manifest(tmp_path)["files"]] == [("1", "a.zip"), ("2", "a.zip")]
    assert set(tree(tmp_path)) == {f"{FOLDER}/a.zip", f"{FOLDER}/_manifest.json"}


def test_somebody_elses_object_under_a_name_of_ours_is_kept(tmp_path, server, land) -> None:
    """It may be what a dead task left of a version that is listed no more: it is moved, not written over."""
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "a.zip").write_bytes(b"theirs")
    (tmp_path / FOLDER / "notes.txt").write_bytes(b"theirs too")
    file = server.has(listed(b"content"), b"content")
    land(file)
    objects = tree(tmp_path / FOLDER)
    written = json.loads(objects.pop("_manifest.json"))
    assert objects == {
        f"a.{file.md5[:8]}.zip": b"content",
        "_superseded/a.zip": b"theirs",
        "notes.txt": b"theirs too",
    }
    assert [(f["name"], f["key"]) for f in written["superseded"]] == [("a.zip", "a.zip")]


@pytest.mark.parametrize("name", ["a.zip", "_superseded", "_manifest.json"])
def test_a_pipe_in_the_folder_stops_nothing(tmp_path, server, land, name: str) -> None:
    """Reading one would wait for ever."""
    (tmp_path / FOLDER).mkdir(parents=True)
    os.mkfifo(tmp_path / FOLDER / name)
    file = server.has(listed(b"content"), b"content")
    if name == "_manifest.json":
        with pytest.raises(DestinationUnusable, match=r"_manifest\.json is a FIFO, where a file should be"):
            land(file)
    else:
        land(file)
        assert manifest(tmp_path)["total_bytes"] == 7


@pytest.mark.parametrize(
    "key", ["a\0b", "x" * 300, "\ud800", "_coverage.json", ".hidden", "../up", "a/b", ""]
)
@pytest.mark.parametrize("where", ["files", "superseded"])
def test_a_manifest_with_an_impossible_key_counts_as_damaged_and_blocks_nothing(
    tmp_path, server, land, key: str, where: str
) -> None:
    file = server.has(listed(b"content"), b"content")
    land(file)
    forged = manifest(tmp_path)
    forged[where] = [{**forged["files"][0], "key": key, "superseded_on": "2026-03-02T09:00:00Z"}]
    (tmp_path / FOLDER / "_manifest.json").write_text(json.dumps(forged))
    assert land(file).downloaded == 0
    assert [f["key"] for f in manifest(tmp_path)["files"]] == ["a.zip"]


def test_a_key_that_was_superseded_is_not_used_again_when_the_manifest_is_lost(
    tmp_path, server, land
) -> None:
    old, new = listed(b"first"), listed(b"again")
    land(server.has(old, b"first"))
    land(server.has(new, b"again"))
    (tmp_path / FOLDER / "_manifest.json").write_bytes(b"{")
    land(server.has(old, b"first"))
    assert manifest(tmp_path)["files"][0]["key"] == f"a.{old.md5[:8]}.zip"
    assert (tmp_path / FOLDER / "_superseded/a.zip").read_bytes() == b"first"


def test_no_version_is_lost_with_the_manifest_that_named_it(tmp_path, server, land) -> None:
    """Whatever is revised later: keys below `_superseded/` stay spent, though nothing says so any more."""
    bodies = [b"1st", b"2nd", b"3rd", b"4th"]
    for n, body in enumerate(bodies):
        if n == 2:
            (tmp_path / FOLDER / "_manifest.json").write_bytes(b"{")
            land(server.has(listed(b"2nd"), b"2nd"))
        land(server.has(listed(body), body))
    kept = [
        (tmp_path / FOLDER / "_superseded" / f["key"]).read_bytes() for f in manifest(tmp_path)["superseded"]
    ]
    assert sorted(kept) == bodies[:3]


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "_manifest.json", ".", "..", "", "a\x00b", "a\nb", "x" * 400]
)
def test_hostile_names_stay_inside_the_partition(tmp_path, server, land, name: str) -> None:
    land(server.has(listed(b"content", name), b"content"))
    (entry,) = manifest(tmp_path)["files"]
    assert entry["name"] == name
    assert (tmp_path / FOLDER / entry["key"]).read_bytes() == b"content"
    assert len(tree(tmp_path)) == 2


def test_temporaries_of_a_killed_landing_are_swept(tmp_path, server, land) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / ".a.zip.0123abcd.part").write_bytes(b"half")
    land(server.has(listed(b"content"), b"content"))
    assert set(tree(tmp_path)) == {f"{FOLDER}/a.zip", f"{FOLDER}/_manifest.json"}


def test_a_temporary_of_a_manifest_that_has_landed_is_swept(tmp_path, server, land) -> None:
    land(server.has(listed(b"content"), b"content"))
    folder = tmp_path / FOLDER
    (folder / "._manifest.json.0123abcd.part").hardlink_to(folder / "_manifest.json")
    land(server.has(listed(b"content"), b"content"))
    assert set(tree(tmp_path)) == {f"{FOLDER}/a.zip", f"{FOLDER}/_manifest.json"}


def test_a_temporary_that_is_being_written_is_not_swept(tmp_path, land) -> None:
    with store_at(tmp_path).writing(f"{FOLDER}/slow.zip", 4) as target:
        target.write(b"ha")
        land()
        target.write(b"lf")
        target.publish()
    assert (tmp_path / FOLDER / "slow.zip").read_bytes() == b"half"


def test_a_destination_that_cannot_be_written_ends_at_once(tmp_path, server, land) -> None:
    (tmp_path / "cdr_compressed").write_text("a file where a folder should be")
    with pytest.raises(DestinationUnusable, match="check that the destination exists"):
        land(server.has(listed(b"content"), b"content"))


def test_several_partitions_share_the_workers(tmp_path, server) -> None:
    """Files of different days are fetched at the same time: a range is as fast as one big day."""
    meeting = Barrier(4)

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        meeting.wait(timeout=5)
        yield b"x"

    files = [listed(b"x", id_=str(d), partition=Partition(date(2026, 3, d))) for d in range(1, 5)]
    landed = land_all(store_at(tmp_path), fetch, by_partition(files), 4)
    assert [str(one.partition) for one in landed] == ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"]


class Body(bytearray):
    """Unlike bytes, it can be watched."""


@pytest.mark.parametrize("wrong", [{"size": 3}, {"md5": "0" * 32}], ids=["too long", "wrong content"])
def test_a_failed_file_keeps_neither_its_connection_nor_its_bytes(tmp_path, wrong) -> None:
    """Else the connections of a landing run out, and its memory grows, with each file that fails."""
    open_now: set[str] = set()
    bodies: list[ref[Body]] = []

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        assert len(open_now) < 2
        open_now.add(file.id)
        try:
            body = Body(b"wrong")
            bodies.append(ref(body))
            yield body
        finally:
            open_now.remove(file.id)

    files = [listed(b"right", name=f"{n}.zip", id_=str(n), **wrong) for n in range(20)]
    with pytest.raises(PartlyLanded) as caught:
        land_all(store_at(tmp_path), fetch, {(ZIPS, DAY): files}, 2, attempts=1)
    assert len(caught.value.failures) == len(bodies) == 20
    assert (open_now, [body for body in bodies if body()]) == (set(), [])


def test_a_program_error_is_not_taken_for_a_fault_of_the_server(tmp_path) -> None:
    def fetch(file: RemoteFile) -> Iterator[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        land_all(store_at(tmp_path), fetch, {(ZIPS, DAY): [listed(b"x")]}, 1)


HEADER = b"SITENAME|SITEURL\n"
SNAPSHOT = "site_list/snapshot_date=2026-03-01/CCA_SITES_LIST_20260301.csv"


def snapshot(root: Path, *bodies: bytes) -> Landed:
    answers = list(bodies)
    scope = Scope(REPORTS["site_list"])
    manifests = ManifestStore(store_at(root), Retry(Event(), first_wait=0))
    return land_snapshot(manifests, scope, DAY, lambda: whole(iter([answers.pop(0)])))


def test_a_site_list_lands_as_it_came(tmp_path) -> None:
    body = HEADER + b"a|a.webex.com\r\n\nTotal:1\n"
    done = snapshot(tmp_path, body)
    assert (tmp_path / SNAPSHOT).read_bytes() == body
    assert (done.files, done.bytes) == (1, len(body))


def test_a_cut_site_list_is_fetched_again_and_never_lands(tmp_path) -> None:
    whole, cut = HEADER + b"a|a.webex.com\nTotal:1\n", HEADER + b"a|a.webex.com\nTotal:2\n"
    snapshot(tmp_path, cut, whole)
    assert (tmp_path / SNAPSHOT).read_bytes() == whole
    with pytest.raises(TruncatedSnapshot, match="Total:2 but has 1 rows"):
        snapshot(tmp_path, *[cut] * 6)
    assert (tmp_path / SNAPSHOT).read_bytes() == whole


def test_of_two_site_lists_that_land_at_once_one_supersedes_the_other(tmp_path) -> None:
    """The second lands while the first is about to commit."""
    first, second = (HEADER + b"a|\n" * rows + b"Total:%d\n" % rows for rows in (1, 2))
    others = [second]

    class Slow(LocalStore):
        def put_if_unchanged(self, *arguments: Any) -> ObjectMeta:
            if others:
                snapshot(tmp_path, others.pop())
            return super().put_if_unchanged(*arguments)

    scope = Scope(REPORTS["site_list"])
    manifests = ManifestStore(Slow(str(tmp_path)), Retry(Event()))
    done = land_snapshot(manifests, scope, DAY, lambda: whole(iter([first])))
    written = json.loads((tmp_path / done.manifest).read_bytes())
    (entry,) = written["files"]
    assert (tmp_path / done.manifest).with_name(entry["key"]).read_bytes() == first
    assert md5(second).hexdigest() in {gone["md5"] for gone in written["superseded"]}


def test_two_files_of_one_name_in_two_tasks_at_once_are_both_kept(tmp_path, server) -> None:
    """Each of them has its body before either is written."""
    one, two = (server.has(listed(body, "a.zip", body.decode()), body) for body in (b"one", b"two"))
    meeting = Barrier(2)

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        yield from server.fetch(file)
        meeting.wait(60)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda file: land_part(store_at(tmp_path), fetch, file), (one, two)))
    for entry in manifest(tmp_path)["files"]:
        assert md5((tmp_path / FOLDER / entry["key"]).read_bytes()).hexdigest() == entry["md5"]
    assert {body for key, body in tree(tmp_path).items() if key.endswith(".zip")} == {b"one", b"two"}
    assert len(manifest(tmp_path)["files"]) == 2
