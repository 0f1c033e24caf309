"""What a listing and a store say together: states, deadlines, sums, the snapshot, and what it costs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_cca.core.files import RemoteFile, by_partition
from airflow_provider_cca.core.listings import Listed, Window
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.coverage.comparison import Comparison, Held
from airflow_provider_cca.coverage.document import MOST_GAPS, Snapshot, gaps_within, without_user
from airflow_provider_cca.coverage.state import Coverage, State, summed
from airflow_provider_cca.landing.lander import Lander
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile, Manifest
from airflow_provider_cca.landing.manifest_store import ManifestStore, Verify
from airflow_provider_cca.reconcile.inventory import Inventory
from airflow_provider_cca.reconcile.reconciler import Reconciler
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.object_meta import from_listing
from airflow_provider_cca.store.object_store import Store
from airflow_provider_cca.store.opening import store_at
from tests.support.today import today

ZIPS = Scope(REPORTS["cdr_compressed"])
NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = Partition(date(2026, 3, 1))
EDGE = Partition(date(2025, 11, 25))
MD5 = "0" * 32


def file(name: str, day: Partition = DAY, scope: Scope = ZIPS, size: int = 10, md5: str = MD5) -> RemoteFile:
    created = datetime(day.first.year, day.first.month, day.first.day, 7, tzinfo=UTC)
    expires = created + timedelta(days=365)
    return RemoteFile(name, name, "http://x", size, md5, created, expires, 0, scope, day)


def entry(of: RemoteFile) -> LandedFile:
    created_on, expires_on = (iso(one) if one else None for one in (of.created_on, of.expires_on))
    return LandedFile(of.id, of.name, of.name, of.size, of.md5, created_on, expires_on)


def held(*files: RemoteFile, gone: Sequence[str] = ()) -> Held:
    manifest = Manifest("cdr_compressed", {}, tuple(map(entry, files)), iso(NOW))
    return Held(manifest, frozenset(f.name for f in files if f.name not in gone))


def cover(
    files: Sequence[RemoteFile] | None,
    store: Held,
    day: Partition = DAY,
    before: Coverage | None = None,
    refused: Sequence[RemoteFile] = (),
) -> Coverage:
    return Comparison(ZIPS, day, files, store, NOW, frozenset(refused)).coverage(before)


A, B = file("a"), file("b")
OLD = file("a", EDGE)


@pytest.mark.parametrize(
    ("files", "store", "day", "state"),
    [
        ([A, B], held(A, B), DAY, State.LANDED),
        ([A, B], held(A), DAY, State.PARTLY),
        ([A, B], held(A, B, gone=["b"]), DAY, State.PARTLY),
        ([A], held(replace(A, md5="f" * 32)), DAY, State.MISSING),
        ([A], held(replace(A, size=9)), DAY, State.MISSING),
        ([A, B], Held(), DAY, State.MISSING),
        ([], Held(), DAY, State.EMPTY),
        ([], held(), DAY, State.EMPTY),
        (None, held(A), DAY, State.UNKNOWN),
        (None, Held(), DAY, State.UNKNOWN),
        # What the server no longer lists has landed, or it is lost.
        ([], held(OLD), EDGE, State.LANDED),
        ([], held(OLD, gone=["a"]), EDGE, State.LOST),
        ([], held(A, gone=["a"]), DAY, State.LOST),
        # At the edge of retention nothing listed does not mean that there was nothing, unless that was seen.
        ([], Held(), EDGE, State.UNKNOWN),
        ([], held(), EDGE, State.EMPTY),
        # Today's files may still come.
        ([], Held(), Partition(NOW.date()), State.UNKNOWN),
        ([], Held(), Partition(date(2026, 11, 1), Grain.MONTH), State.UNKNOWN),
    ],
)
def test_the_state_of_a_partition(files, store, day, state) -> None:
    assert cover(files, store, day).state is state


def test_a_partition_is_counted_in_files_and_bytes_and_days_to_live() -> None:
    found = cover([replace(A, size=7), B], held(B))
    assert (found.files, found.landed, found.missing, found.bytes, found.landed_bytes) == (2, 1, 1, 17, 10)
    assert found.expires_on == date(2027, 3, 1)
    assert found.days_left(NOW.date()) == 96


def test_the_deadline_is_that_of_what_has_not_landed() -> None:
    sooner = replace(A, expires_on=A.expires_on - timedelta(days=30))
    assert cover([sooner, B], held(sooner)).expires_on == date(2027, 3, 1)
    assert cover([sooner, B], held(B)).expires_on == date(2027, 1, 30)


def test_a_file_whose_stamp_is_malformed_vanishes_365_days_after_its_creation() -> None:
    assert cover([replace(A, expires_on=None)], Held()).expires_on == date(2027, 3, 1)


def test_what_was_missing_and_is_listed_no_more_is_lost_and_stays_so() -> None:
    """The listing of the last day at the edge says nothing; the look before had seen two files."""
    before = cover([OLD, file("b", EDGE)], held(OLD), EDGE)
    lost = cover([], held(OLD), EDGE, before)
    assert (before.state, lost.state, lost.lost, lost.missing) == (State.PARTLY, State.LOST, 1, 0)
    assert lost.days_left(NOW.date()) is None
    assert cover([], held(OLD), EDGE, lost) == lost


def test_files_that_the_server_takes_back_in_time_are_no_loss() -> None:
    assert cover([A], held(A), DAY, cover([A, B], held(A))).state is State.LANDED


@pytest.mark.parametrize("fading", [False, True])
@pytest.mark.parametrize("asked", [True, False])
def test_a_recovered_file_does_not_make_up_for_one_that_is_lost(fading, asked) -> None:
    """Not at the next look either; only when the lost one turns up."""
    day = EDGE if fading else DAY
    a, b, new = (file(name, day, size=size) for name, size in (("a", 10), ("b", 20), ("new", 5)))
    before = Coverage(ZIPS, day, State.LOST, files=2, landed=1, lost=1, bytes=30, landed_bytes=10)
    before = replace(before, lost_files=(("b", 20),))
    for _ in range(2):
        before = cover([a, new] if asked else None, held(a, new), day, before)
        assert (before.files, before.landed, before.lost, before.bytes) == (3, 2, 1, 35)
    found = cover([a, b, new], held(a, b, new), day, before)
    assert (found.state, found.files, found.lost) == (State.LANDED, 3, 0)


@pytest.mark.parametrize("asked", [True, False])
def test_new_files_however_many_do_not_make_up_for_one_that_is_known_to_be_lost(asked) -> None:
    """Landing them drops it from the manifest; the coverage alone remembers it, with its bytes."""
    a, b, *new = (file(name, size=size) for name, size in (("a", 10), ("b", 20), ("c", 3), ("d", 4)))
    found = cover([b], held(a, b, gone=["a"]))
    assert (found.files, found.lost, found.lost_files) == (2, 1, (("a", 10),))
    for _ in range(2):
        found = cover([b, *new] if asked else None, held(b, *new), DAY, found)
        assert (found.files, found.landed, found.lost, found.bytes) == (4, 3, 1, 37)
    found = cover([a, b, *new], held(a, b, *new), DAY, found)
    assert (found.state, found.files, found.lost, found.lost_files) == (State.LANDED, 4, 0, ())


def test_what_is_lost_stays_so_when_the_server_could_not_be_asked() -> None:
    """The manifest still names it, and the next landing takes it out."""
    a, b = file("a", size=10), file("b", size=20)
    found = cover([b], held(a, b, gone=["a"]))
    found = cover(None, held(a, b, gone=["a"]), DAY, found)
    assert (found.state, found.lost, found.missing) == (State.UNKNOWN, 1, 0)
    found = cover([b], held(b), DAY, found)
    assert (found.state, found.lost, found.lost_files) == (State.LOST, 1, (("a", 10),))


def test_a_revision_of_a_file_beside_a_lost_one_leaves_one_lost_and_that_comes_back() -> None:
    a, b = file("a", size=10), file("b", size=20)
    found = cover([b], held(b), DAY, cover([b], held(a, b, gone=["a"])))
    smaller = replace(b, size=1, md5="e" * 32)
    found = cover([smaller], held(smaller), DAY, found)
    assert (found.files, found.lost, found.bytes) == (2, 1, 11)
    found = cover([a, smaller], held(a, smaller), DAY, found)
    assert (found.state, found.files, found.bytes) == (State.LANDED, 2, 11)


def test_a_refused_file_that_is_made_anew_is_lost_no_more() -> None:
    """With other bytes, and though a new one comes at the same time."""
    found = cover([A, B], held(B), refused=[A])
    assert (found.state, found.lost, found.lost_files) == (State.LOST, 1, (("a", 10),))
    anew, new = replace(A, size=11, md5="f" * 32), file("new")
    for _ in range(2):
        found = cover([anew, B, new], held(anew, B, new), DAY, found)
        assert (found.state, found.files, found.lost, found.bytes) == (State.LANDED, 3, 0, 31)


@pytest.mark.parametrize(
    ("files", "closed"),
    [
        ("ab", True),
        ("a", True),
        ("xb", False),
        ("xyzb", False),
        ("abx", True),
        ("", False),
    ],
)
def test_a_loss_whose_file_is_known_is_closed_by_that_file_alone(files, closed) -> None:
    lost = Coverage(ZIPS, DAY, State.LOST, files=2, landed=1, lost=1, bytes=30, lost_files=(("a", 10),))
    assert lost.is_closed_by(files) is closed


@pytest.mark.parametrize(("files", "closed"), [("ab", True), ("xyz", True), ("a", False), ("", False)])
def test_a_folder_that_vanished_with_its_manifest_is_back_when_it_has_as_many_files(files, closed) -> None:
    lost = Coverage(ZIPS, DAY, State.LOST, files=2, landed=0, lost=2, bytes=30)
    assert lost.is_closed_by(files) is closed


def test_a_lost_file_that_the_server_gives_again_is_counted_once() -> None:
    """As one that had been downloaded too often."""
    before = Coverage(ZIPS, DAY, State.LOST, files=2, landed=1, lost=1, bytes=20, landed_bytes=10)
    found = cover([A, B], held(A), DAY, before)
    assert (found.state, found.files, found.missing, found.lost) == (State.PARTLY, 2, 1, 0)


def test_what_could_not_be_asked_keeps_what_was_known_of_it() -> None:
    found = cover(None, Held(), DAY, cover([A, B], Held()))
    assert (found.state, found.missing, found.expires_on) == (State.UNKNOWN, 2, date(2027, 3, 1))


@pytest.mark.parametrize(
    ("states", "landed", "worst"),
    [
        ([State.LANDED, State.EMPTY], 1, State.LANDED),
        ([State.LANDED, State.MISSING], 1, State.PARTLY),
        ([State.EMPTY, State.MISSING], 0, State.MISSING),
        ([State.LOST, State.PARTLY], 1, State.PARTLY),
        ([State.LOST, State.LANDED, State.UNKNOWN], 1, State.LOST),
        ([State.UNKNOWN, State.LANDED], 1, State.UNKNOWN),
        ([State.EMPTY, State.EMPTY], 0, State.EMPTY),
    ],
)
def test_a_date_of_all_sites_is_as_bad_as_the_worst_that_can_be_mended(states, landed, worst) -> None:
    sites = [Coverage(ZIPS, DAY, state, landed=landed, files=landed) for state in states]
    assert summed(ZIPS, sites).state is worst


# The snapshot


def site(name: str) -> Scope:
    return Scope(REPORTS["cdr"], name)


def gap(scope: Scope, day: Partition = DAY, **facts: Any) -> Coverage:
    if "expires_on" not in facts:
        facts["expires_on"] = day.first + timedelta(days=365)
    facts = {"state": State.MISSING, "files": 1, "bytes": 5, **facts}
    return Coverage(scope, day, **facts)


def day_before(back: int) -> Partition:
    return Partition(NOW.date() - timedelta(days=back))


def document(snapshot: Snapshot) -> dict[str, Any]:
    return json.loads(snapshot.to_json(NOW, "s3://aws_default@bucket/cca"))


def test_the_snapshot_has_a_calendar_for_each_report_and_level_and_a_gap_for_each_site() -> None:
    whole = Coverage(site("b"), DAY, State.LANDED, 2, 2, 0, 20, 20, date(2027, 3, 1))
    levels = [gap(Scope(REPORTS["peak_port_daily"], level=level)) for level in ("site", "customer")]
    data = document(Snapshot.of([gap(site("a")), whole, *levels]))
    assert [(row["report"], row["level"], row.get("sites"), row["grain"]) for row in data["rows"]] == [
        ("cdr", None, 2, "day"),
        ("peak_port_daily", "customer", None, "day"),
        ("peak_port_daily", "site", None, "day"),
    ]
    assert data["rows"][0]["partitions"] == [
        {
            "partition": "2026-03-01",
            "state": "partly",
            "files": 3,
            "landed": 2,
            "lost": 0,
            "bytes": 25,
            "landed_bytes": 20,
            "expires_on": "2027-03-01",
            "days_left": 96,
        }
    ]
    assert [(one["report"], one["site"], one["level"], one["state"]) for one in data["gaps"]] == [
        ("cdr", "a", None, "missing"),
        ("peak_port_daily", None, "customer", "missing"),
        ("peak_port_daily", None, "site", "missing"),
    ]
    assert data["counts"] == {"landed": 0, "partly": 1, "missing": 2, "empty": 0, "lost": 0, "unknown": 0}


def test_the_snapshot_says_where_and_when_but_names_no_connection() -> None:
    data = document(Snapshot())
    assert (data["destination"], data["today"]) == ("s3://bucket/cca", "2026-11-25")
    assert (data["written_at"], data["version"]) == ("2026-11-25T10:00:00Z", 1)
    assert without_user("/data/a@b") == "/data/a@b"


def test_gaps_come_nearest_deadline_first_then_what_is_lost() -> None:
    lost = gap(site("z"), EDGE, state=State.LOST, lost=1)
    gaps = document(Snapshot.of([lost, *(gap(site("a"), day_before(back)) for back in (5, 300, 20))]))["gaps"]
    assert [one["days_left"] for one in gaps] == [65, 345, 360, None]


def test_a_snapshot_survives_its_json() -> None:
    lost = gap(site("b"), state=State.LOST, lost=1, lost_files=(("id", 5),))
    snapshot = Snapshot.of([gap(site("a")), lost, gap(ZIPS), Coverage(ZIPS, day_before(1), State.EMPTY)])
    assert [one.get("lost_files") for one in document(snapshot)["gaps"]].count(
        [{"id": "id", "bytes": 5}]
    ) == 1
    assert Snapshot.from_json(snapshot.to_json(NOW, "/x")) == snapshot


@pytest.mark.parametrize(
    "files",
    [
        None,
        5,
        "a",
        [5],
        [{"id": "a"}],
        [{"id": 1, "bytes": 5}],
        [{"id": "a", "bytes": -5}],
    ],
)
def test_a_gap_whose_lost_files_cannot_be_read_still_says_how_many_are_lost(files) -> None:
    data = document(Snapshot.of([gap(site("a"), state=State.LOST, files=2, lost=1)]))
    data["gaps"][0]["lost_files"] = files
    (found,) = Snapshot.from_json(json.dumps(data).encode()).gaps.values()
    assert (found.files, found.lost, found.lost_files) == (2, 1, ())


def test_however_many_gaps_there_are_none_that_is_lost_is_left_out() -> None:
    """The next run would not know of it."""
    many = [gap(site(str(number))) for number in range(MOST_GAPS + 5)]
    lost = [gap(ZIPS, day_before(back), state=State.LOST, lost=1) for back in range(366, 386)]
    snapshot = Snapshot({}, {(one.scope, one.partition): one for one in (*many, *lost)})
    data = document(snapshot)
    assert (len(data["gaps"]), data["gaps_total"]) == (MOST_GAPS + 20, MOST_GAPS + 25)
    assert sum(one["state"] == "lost" for one in data["gaps"]) == 20


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"version": 2}', b'{"version": 1}', b"[" * 9999])
def test_a_damaged_snapshot_is_an_error_of_its_own(body) -> None:
    with pytest.raises(ValueError):
        Snapshot.from_json(body)


def test_what_a_look_leaves_out_stays_from_the_one_before_and_grows_older() -> None:
    """Another report, older dates, another site; what expired meanwhile is lost."""
    gone = gap(site("a"), day_before(364), expires_on=NOW.date() - timedelta(days=1))
    before = Snapshot.of([gone, gap(site("a"), day_before(9)), gap(ZIPS, day_before(9))])
    fresh = [gap(ZIPS, day_before(1)), Coverage(ZIPS, day_before(2), State.LANDED, 1, 1)]
    looked_at = {(one.scope, one.partition) for one in fresh}
    now = Snapshot.of(fresh).over(before, looked_at, NOW.date())
    assert set(now.rows[ZIPS].cells) == {day_before(1), day_before(2), day_before(9)}
    assert now.rows[Scope(REPORTS["cdr"])].cells[day_before(364)].state is State.LOST
    assert now.gaps[site("a"), day_before(364)].state is State.LOST
    assert set(now.gaps) == {*before.gaps, (ZIPS, day_before(1))}


def test_what_has_healed_is_no_gap_any_more() -> None:
    whole = Coverage(ZIPS, DAY, State.LANDED, 1, 1)
    now = Snapshot.of([whole]).over(Snapshot.of([gap(ZIPS)]), {(ZIPS, DAY)}, NOW.date())
    assert now.gaps == {}


def test_what_was_lost_stays_in_the_list_when_the_calendar_has_moved_on() -> None:
    ancient = gap(ZIPS, day_before(800), state=State.LOST, lost=1)
    data = document(Snapshot().over(Snapshot.of([ancient]), set(), NOW.date()))
    assert data["rows"][0]["partitions"] == []
    assert ([one["state"] for one in data["gaps"]], data["counts"]["lost"]) == (["lost"], 1)


def test_dates_to_come_are_left_out_also_those_that_are_there() -> None:
    """A server that is wrong by a year would make a calendar of as many."""
    future = [Partition(date(9000, 1, 1)), Partition(date(9999, 12, 31)), day_before(-1)]
    before = Snapshot.of([gap(ZIPS, DAY), *(gap(ZIPS, day, expires_on=None) for day in future)])
    for snapshot in (before, Snapshot()):
        now = before.over(snapshot, set(), NOW.date())
        assert list(now.rows[ZIPS].cells) == [DAY]
        assert list(now.gaps) == [(ZIPS, DAY)]


def test_a_look_at_some_sites_does_not_pass_for_the_calendar_of_all() -> None:
    now = Snapshot.of([gap(site("a"))]).over(Snapshot(), {(site("a"), DAY)}, NOW.date(), all_sites=False)
    assert (now.rows, len(now.gaps)) == ({}, 1)


@pytest.mark.parametrize(
    ("known", "found", "cell"),
    [
        ("LLL", {"a": "M"}, (State.PARTLY, 3, 2, 0)),
        ("MLL", {"a": "M"}, (State.PARTLY, 3, 2, 0)),
        ("MLL", {"a": "L"}, (State.LANDED, 3, 3, 0)),
        ("MML", {"a": "L"}, (State.PARTLY, 3, 2, 0)),
        ("LLL", {"a": "X"}, (State.LOST, 3, 2, 1)),
        ("LLL", {"a": "X", "b": "M", "c": "M"}, (State.MISSING, 3, 0, 1)),
        ("LLL", {"a": "?"}, (State.UNKNOWN, 3, 3, 0)),
        ("LL?", {"a": "L"}, (State.UNKNOWN, 2, 2, 0)),
        ("EEE", {"a": "M"}, (State.MISSING, 1, 0, 0)),
        ("EEE", {"a": "E"}, (State.EMPTY, 0, 0, 0)),
    ],
)
def test_a_look_at_some_sites_shows_their_gaps_in_the_calendar_of_all(known, found, cell) -> None:
    looks = {
        "L": Coverage(ZIPS, DAY, State.LANDED, 1, 1, 0, 5, 5),
        "M": gap(ZIPS),
        "X": gap(ZIPS, state=State.LOST, lost=1),
        "E": Coverage(ZIPS, DAY, State.EMPTY),
        "?": Coverage(ZIPS, DAY, State.UNKNOWN),
    }
    before = Snapshot.of(
        [replace(looks[letter], scope=site(name)) for letter, name in zip(known, "abc", strict=True)]
    )
    some = [replace(looks[letter], scope=site(name)) for name, letter in found.items()]
    now = Snapshot.of(some).over(before, {(one.scope, DAY) for one in some}, NOW.date(), all_sites=False)
    (row,) = now.rows.values()
    shown = row.cells[DAY]
    assert (row.sites, (shown.state, shown.files, shown.landed, shown.lost)) == (3, cell)
    assert shown.landed_bytes == 5 * shown.landed


def test_the_alarm_is_about_what_vanishes_soon_and_can_be_saved() -> None:
    gaps = [gap(ZIPS, day_before(back)) for back in (364, 352, 351, 350, 10)]
    lost = gap(ZIPS, EDGE, state=State.LOST, lost=1)
    assert [one.partition for one in gaps_within([*gaps, lost], 14, NOW.date())] == [
        day_before(364), day_before(352), day_before(351)
    ]  # fmt: skip


# The store


def partition_in(store: Store, *files: tuple[str, bytes]) -> str:
    folder = folder_of(ZIPS, DAY)
    entries = []
    for name, body in files:
        store.write(f"{folder}/{name}", body)
        entries.append(replace(entry(A), key=name, size=len(body), md5=store.md5(f"{folder}/{name}")))
    manifest = Manifest("cdr_compressed", {"creation_date": str(DAY)}, tuple(entries), iso(NOW))
    store.write(f"{folder}/{MANIFEST_NAME}", manifest.to_json())
    return folder


def whole(store: Store, verify: Verify) -> set[str]:
    inventory = Inventory(ManifestStore(store, Retry(Event()), verify))
    inventory.list_below("cdr_compressed")
    return set(inventory.held(folder_of(ZIPS, DAY)).whole)


@pytest.mark.parametrize("verify", Verify)
def test_an_object_that_is_gone_or_has_another_size_is_not_whole(tmp_path, verify) -> None:
    store = store_at(tmp_path)
    folder = partition_in(store, ("a", b"aa"), ("b", b"bb"), ("c", b"cc"))
    (tmp_path / folder / "a").unlink()
    (tmp_path / folder / "b").write_bytes(b"b")
    assert whole(store, verify) == {"c"}


@pytest.mark.parametrize(
    ("verify", "later", "hidden"),
    [("size", {"a", "b"}, {"a", "b"}), ("changed", {"b"}, {"a", "b"}), ("content", {"b"}, {"b"})],
)
def test_how_hard_it_is_looked_decides_which_changes_are_found(tmp_path, verify, later, hidden) -> None:
    """A change of the same size that was written later, and one that left the time as it was."""
    store = store_at(tmp_path)
    path = tmp_path / partition_in(store, ("a", b"aa"), ("b", b"bb")) / "a"
    times = path.stat()
    path.write_bytes(b"a!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 60_000_000_000))
    assert whole(store, Verify(verify)) == later
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert whole(store, Verify(verify)) == hidden


def test_a_store_that_lists_md5s_is_believed_and_one_that_lists_others_is_read() -> None:
    s3 = from_listing({"size": 3, "ETag": f'"{MD5}"', "LastModified": NOW})
    assert (s3.md5, s3.modified) == (MD5, NOW.timestamp())
    assert from_listing({"size": 3, "ETag": f'"{MD5}-2"'})[2:] == (None, f"{MD5}-2")
    google = from_listing({"size": 3, "md5Hash": "AAAAAAAAAAAAAAAAAAAAAA==", "updated": iso(NOW)})
    assert google == s3._replace(etag="")
    azure = {"content_settings": {"content_md5": bytearray(16)}, "last_modified": NOW, "etag": "0x8DC"}
    assert from_listing({"size": 3, **azure}) == google._replace(etag="0x8DC")


@pytest.mark.parametrize("odd", [{}, {"ETag": None, "mtime": "soon"}, {"md5Hash": "?"}, {"md5Hash": "AA=="}])
def test_what_a_store_says_otherwise_is_taken_for_nothing(odd) -> None:
    assert from_listing({"size": None, **odd}) == (0, 0.0, None, "")


def test_a_listing_of_a_memory_store_tells_sizes_and_times() -> None:
    store = FsspecStore(MemoryFileSystem(), "/coverage")
    before = time.time()
    folder = partition_in(store, ("a", b"aa"))
    found = store.list_below("cdr_compressed")[folder]
    assert found["a"].size == 2
    assert before - 1 <= found["a"].modified <= found[MANIFEST_NAME].modified
    store.fs.rm("/coverage", recursive=True)


@pytest.fixture(params=[1, 50_000_000], ids=["1 B", "50 MB"])
def year_of_sites(request, tmp_path) -> tuple[Path, dict[Scope, list[RemoteFile]]]:
    """1,500 partitions of files that have that size, and hold nothing."""
    listing: dict[Scope, list[RemoteFile]] = {}
    for scope in map(site, "abcde"):
        days = [Partition(today().date() - timedelta(days=back)) for back in range(300)]
        listing[scope] = [file(f"{scope.site}{day}", day, scope, request.param) for day in days]
        for one in listing[scope]:
            folder = tmp_path / folder_of(scope, one.partition)
            folder.mkdir(parents=True)
            with (folder / one.name).open("wb") as target:
                target.truncate(one.size)
            about = {"creation_date": str(one.partition), "site": str(scope.site)}
            manifest = Manifest("cdr", about, (entry(one),), iso(NOW))
            (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    return tmp_path, listing


def test_coverage_of_many_partitions_is_found_without_reading_a_file(year_of_sites) -> None:
    """Their content is not what their manifests say, and 75 GB of it: only who reads it finds that out."""
    root, listing = year_of_sites
    asked, retry = [], Retry(Event())

    def list_ranges(windows: Iterable[Window]) -> Iterator[tuple[Window, Listed]]:
        for window in windows:
            asked.append(window.scope)
            groups = {
                partition: files for (_, partition), files in by_partition(listing[window.scope]).items()
            }
            yield window, Listed(groups, {})

    lander = Lander(ManifestStore(store_at(root), retry), lambda file: iter([]), workers=8)
    reconciler = Reconciler(Inventory(lander.manifests), list_ranges, lander, Snapshot())
    last = Partition(reconciler.now.date())
    reconciler.compare(
        [Window(scope, Partition(last.first - timedelta(days=299)), last) for scope in listing]
    )
    assert (reconciler.complete, len(asked)) == (1500, 5)
