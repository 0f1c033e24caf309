"""From a zip that landed to objects that engines read: what lies in the store, and how it fails."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.asset import AssetUniqueKey
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import (
    Closed,
    DamagedArchive,
    DestinationUnusable,
    HostileArchive,
    InvalidArgument,
    NotLanded,
    PartlyLanded,
    UnsupportedArchive,
    WrongChecksum,
)
from airflow_provider_cca.extract.extractor import Extracted, Extractor
from airflow_provider_cca.extract.zip_reader import Limits
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.landing.manifest import LandedFile, Manifest
from airflow_provider_cca.operators import CcaExtractOperator, CcaToObjectStorageOperator
from airflow_provider_cca.reports import Grain
from airflow_provider_cca.simulator import Simulator
from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.object_store import Store
from airflow_provider_cca.store.opening import store_at
from tests.extract.test_zip_reader import CSV, zipped
from tests.support.s3 import ACCESS_KEY, BUCKET, REGION, SECRET_KEY
from tests.support.tree import tree

DAY = Partition.parse("2026-03-01", Grain.DAY)
ZIPS, CSVS = "cdr_compressed/creation_date=2026-03-01", "cdr_csv/creation_date=2026-03-01"
STAMP = "2026-03-01T07:24:24Z"


def put(store: Store, folder: str = ZIPS, **zips: bytes) -> None:
    """As a landing leaves them: one zip after the other, oldest first, and the manifest."""
    entries = []
    for hour, (name, body) in enumerate(zips.items()):
        key, created = f"{name}.zip", f"2026-03-01T{hour:02}:24:24Z"
        store.write(f"{folder}/{key}", body)
        entries.append(LandedFile(name, key, key, len(body), md5(body).hexdigest(), created, None))
    manifest = Manifest("cdr_compressed", {"creation_date": "2026-03-01"}, tuple(entries), STAMP)
    store.write(f"{folder}/_manifest.json", manifest.to_json())


def extract_all(store: Store, *partitions: Partition, closed: Event | None = None) -> list[Extracted]:
    extractor = Extractor(store, Limits(), Retry(closed or Event()))
    return extractor.extract([(store, partition) for partition in partitions or [DAY]])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_at(tmp_path)


def manifest(store: Store) -> dict[str, Any]:
    return json.loads(store.get(f"{CSVS}/_manifest.json")[0])


def extracted(store: Store) -> list[tuple[str, bytes]]:
    """Name and content of all that the manifest names, after a look at whether each is as it says."""
    found = []
    for entry in manifest(store)["files"]:
        body = store.get(f"{CSVS}/{entry['key']}")[0]
        assert (len(body), md5(body).hexdigest()) == (entry["size"], entry["md5"])
        found.append((entry["name"], gzip.decompress(body)))
    return found


def test_each_member_becomes_an_object_and_the_manifest_names_them(store, tmp_path) -> None:
    put(store, a=zipped(("one.csv", CSV), ("folder/", b""), ("two.csv", b"")))
    (done,) = extract_all(store)
    assert extracted(store) == [("one.csv", CSV), ("two.csv", b"")]
    assert {name for name in tree(tmp_path) if name.startswith("cdr_csv")} == {
        f"{CSVS}/{name}" for name in ("one.csv.gz", "two.csv.gz", "_manifest.json")
    }
    sizes = sum(store.list(CSVS)[f"{name}.csv.gz"].size for name in ("one", "two"))
    assert done == Extracted(DAY, f"{CSVS}/_manifest.json", 2, sizes, 2)


def test_the_manifest_is_version_1_and_says_which_zip_a_member_came_from(store) -> None:
    body = zipped(("one.csv", CSV), ("two.csv", b""))
    put(store, a=body)
    extract_all(store)
    written = manifest(store)
    assert (written["version"], written["report"]) == (1, "cdr_csv")
    assert written["partition"] == {"creation_date": "2026-03-01"}
    second = written["files"][1]
    assert second["id"] == f"a/{md5(body).hexdigest()}/1"
    assert (second["created_on"], second["expires_on"]) == ("2026-03-01T00:24:24Z", None)


def test_extracting_again_writes_nothing(store, tmp_path) -> None:
    put(store, a=zipped(("one.csv", CSV)))
    extract_all(store)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert extract_all(store)[0].written == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_done_is_not_read_again(store, tmp_path) -> None:
    """The manifest vouches for it: a zip that has become unreadable since does no harm."""
    put(store, a=zipped(("one.csv", CSV)))
    extract_all(store)
    size = store.list(ZIPS)["a.zip"].size
    (tmp_path / ZIPS / "a.zip").write_bytes(bytes(size))
    assert extract_all(store)[0].written == 0


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"cut")])
def test_what_is_missing_or_cut_is_made_again_and_no_more(store, tmp_path, damage) -> None:
    put(store, a=zipped(("one.csv", CSV), ("two.csv", b"2")))
    extract_all(store)
    before = tree(tmp_path)
    damage(tmp_path / CSVS / "one.csv.gz")
    assert extract_all(store)[0].written == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"{")])
def test_without_its_manifest_a_partition_is_made_again_byte_for_byte(store, tmp_path, damage) -> None:
    put(store, a=zipped(("one.csv", CSV), ("one.csv", b"other"), ("ONE.csv", b"third")))
    extract_all(store)
    before = {name: body for name, body in tree(tmp_path).items() if not name.endswith("json")}
    damage(tmp_path / CSVS / "_manifest.json")
    assert extract_all(store)[0].written == 3
    assert {name: body for name, body in tree(tmp_path).items() if not name.endswith("json")} == before


def test_members_of_one_name_are_all_kept_within_a_zip_and_between_zips(store) -> None:
    put(store, a=zipped(("x.csv", b"1"), ("x.csv", b"2"), ("X.CSV", b"3")), b=zipped(("x.csv", b"4")))
    extract_all(store)
    assert sorted(content for _, content in extracted(store)) == [b"1", b"2", b"3", b"4"]
    keys = [entry["key"] for entry in manifest(store)["files"]]
    assert len({key.casefold() for key in keys}) == 4
    assert all(re.fullmatch(r"x\.csv(\.[0-9a-f]{8}(\.2)?)?\.gz", key, re.IGNORECASE) for key in keys)


def test_a_zip_that_comes_later_changes_no_key(store) -> None:
    put(store, b=zipped(("x.csv", b"daily")))
    extract_all(store)
    put(store, a=zipped(("x.csv", b"recovered")), b=zipped(("x.csv", b"daily")))
    assert extract_all(store)[0].written == 1
    assert gzip.decompress(store.get(f"{CSVS}/x.csv.gz")[0]) == b"daily"
    assert sorted(content for _, content in extracted(store)) == [b"daily", b"recovered"]


def test_the_members_of_a_revised_zip_supersede_the_old_ones(store, tmp_path) -> None:
    """Else a sum over the folder would count both."""
    put(store, a=zipped(("x.csv", b"old"), ("x.csv", b"old too")))
    extract_all(store)
    put(store, a=zipped(("x.csv", b"new"), ("x.csv", b"new too")))
    assert extract_all(store)[0].written == 2
    assert sorted(content for _, content in extracted(store)) == [b"new", b"new too"]
    assert len(store.list(CSVS)) == 3
    superseded = manifest(store)["superseded"]
    assert [entry["key"] for entry in superseded] == sorted(store.list(f"{CSVS}/_superseded"))
    kept = [gzip.decompress(store.get(f"{CSVS}/_superseded/{e['key']}")[0]) for e in superseded]
    assert sorted(kept) == [b"old", b"old too"]


def test_the_members_of_a_zip_that_left_the_source_stay(store, tmp_path) -> None:
    put(store, a=zipped(("x.csv", b"1")))
    extract_all(store)
    put(store, b=zipped(("y.csv", b"2")))
    assert extract_all(store)[0].members == 2
    assert extracted(store) == [("x.csv", b"1"), ("y.csv", b"2")]


def test_a_zip_that_comes_back_is_made_whole(store, tmp_path) -> None:
    """Of one that left the source an object was lost."""
    both = {"a": zipped(("x.csv", b"1"), ("y.csv", b"2"))}
    put(store, **both)
    extract_all(store)
    (tmp_path / CSVS / "x.csv.gz").unlink()
    put(store)
    assert extract_all(store)[0].members == 2
    put(store, **both)
    assert extract_all(store)[0].members == 2
    assert extracted(store) == [("x.csv", b"1"), ("y.csv", b"2")]


def test_members_that_were_named_by_the_key_of_their_zip_are_named_anew_and_once(store) -> None:
    """As earlier versions did. Named twice, each of their rows would count twice."""
    put(store, a=zipped(("x.csv", b"1"), ("y.csv", b"2")))
    extract_all(store)
    body = store.get(f"{CSVS}/_manifest.json")[0]
    store.write(f"{CSVS}/_manifest.json", body.replace(b'"id": "a/', b'"id": "a.zip/'))
    assert extract_all(store)[0].written == 0
    assert [entry["key"] for entry in manifest(store)["files"]] == ["x.csv.gz", "y.csv.gz"]
    assert all(entry["id"].startswith("a/") for entry in manifest(store)["files"])


def test_a_partition_without_zips_gets_a_manifest_too(store) -> None:
    put(store)
    assert extract_all(store)[0].members == 0
    assert manifest(store)["files"] == []


NAMES = [
    "../../x",
    "/etc/passwd",
    "..",
    ".",
    "",
    "_manifest.json",
    "a\x00b.csv",
    "C:\\x.csv",
    "x" * 400,
    "ü.csv",
]


@given(st.lists(st.sampled_from(NAMES) | st.text(max_size=80), max_size=8))
def test_hostile_names_stay_inside_the_partition_and_apart(names: list[str]) -> None:
    infos = []
    for name in names:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name.encode(errors="ignore").decode()
        infos.append((info, b"content of " + info.filename.encode()))
    with TemporaryDirectory() as folder:
        store = store_at(folder)
        put(store, a=zipped(*infos))
        extract_all(store)
        assert sorted(extracted(store)) == sorted((info.filename, content) for info, content in infos)
        outside = [name for name in tree(Path(folder)) if not name.startswith((f"{CSVS}/", f"{ZIPS}/"))]
        keys = [entry["key"] for entry in manifest(store)["files"]]
    assert outside == []
    assert len({key.casefold() for key in keys}) == len(infos)
    assert all(re.fullmatch(r"[^._/][^/]*\.gz", key) and len(key.encode()) <= 230 for key in keys)


def encrypted(body: bytes) -> bytes:
    start = body.index(b"PK\x01\x02")
    return body[: start + 8] + b"\1\0" + body[start + 10 :]


def broken(body: bytes) -> bytes:
    return body[:60] + bytes([body[60] ^ 1]) + body[61:]


BAD = [
    (encrypted(zipped(("x.csv", CSV))), UnsupportedArchive),
    (broken(zipped(("x.csv", CSV))), DamagedArchive),
    (zipped(("x.csv", CSV))[:100], DamagedArchive),
    (b"nothing of a zip", DamagedArchive),
    (zipped(("x.csv", bytes(5_000_000))), HostileArchive),
]


@pytest.mark.parametrize(("body", "error"), BAD, ids=["encrypted", "CRC", "cut", "no zip", "bomb"])
def test_a_bad_zip_leaves_nothing_of_itself_and_does_not_hold_back_the_others(store, body, error) -> None:
    """But the partition has no manifest: it is not finished."""
    put(store, a=body, b=zipped(("good.csv", CSV)))
    with pytest.raises(error, match=r"a\.zip"):
        extract_all(store)
    assert set(store.list(CSVS)) == {"good.csv.gz"}


def test_several_bad_zips_are_named_together(store) -> None:
    put(store, a=b"nothing", b=zipped(("good.csv", CSV)), c=b"nothing either")
    with pytest.raises(
        PartlyLanded, match=r"2 zips or members could not be extracted, all others were.*a\.zip.*c\.zip"
    ) as e:
        extract_all(store)
    assert list(e.value.failures) == [f"{CSVS}: a.zip", f"{CSVS}: c.zip"]
    assert not e.value.retryable


def test_a_bad_day_does_not_hold_back_the_other_days(store) -> None:
    put(store, a=zipped(("x.csv", CSV)))
    before = Partition(DAY.first - timedelta(days=1))
    with pytest.raises(NotLanded, match=r"has no _manifest\.json: land cdr_compressed of 2026-02-28 first"):
        extract_all(store, before, DAY)
    assert extracted(store) == [("x.csv", CSV)]


def test_a_zip_that_is_not_the_one_that_landed_is_not_extracted(store, tmp_path) -> None:
    put(store, a=zipped(("x.csv", CSV)))
    (tmp_path / ZIPS / "a.zip").write_bytes(bytes(store.list(ZIPS)["a.zip"].size))
    with pytest.raises(WrongChecksum, match="nothing of it was extracted"):
        extract_all(store)
    assert store.list(CSVS) == {}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: (p / "a.zip").unlink(), r"a\.zip should have \d+ bytes and is gone"),
        (lambda p: (p / "a.zip").write_bytes(b"cut"), r"a\.zip should have \d+ bytes and has 3"),
        (lambda p: (p / "_manifest.json").write_bytes(b"{"), r"the _manifest\.json of .* is damaged"),
        (lambda p: (p / "_manifest.json").unlink(), r"has no _manifest\.json"),
    ],
)
def test_what_has_not_landed_whole_is_waited_for(store, tmp_path, damage, says) -> None:
    put(store, a=zipped(("x.csv", CSV)))
    damage(tmp_path / ZIPS)
    with pytest.raises(NotLanded, match=says) as caught:
        extract_all(store)
    assert caught.value.retryable


def test_a_zip_that_a_landing_moves_before_it_is_opened_is_waited_for(store, tmp_path) -> None:
    """As it has been revised; its manifest was read before."""
    put(store, a=zipped(("x.csv", CSV)))

    class Moving(type(store)):  # type: ignore[misc]
        def reading(self, key: str) -> Any:
            (tmp_path / key).unlink(missing_ok=True)
            return super().reading(key)

    with pytest.raises(NotLanded, match="landed again meanwhile") as caught:
        extract_all(Moving(store.root))
    assert caught.value.retryable


class Flaky(MemoryFileSystem):
    """Fails the first two times that it is asked to write an object."""

    cachable = False
    failures: list[str]

    def open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode == "wb" and "cdr_csv" in path and self.failures:
            raise RuntimeError(self.failures.pop())
        return super().open(path, mode, *args, **kwargs)


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = Flaky()
    fs.failures = ["503 slow down"] * 2
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_store_that_fails_is_tried_again(memory, waits) -> None:
    store = FsspecStore(memory, "/root")
    put(store, a=zipped(("x.csv", CSV), ("y.csv", CSV)))
    assert extract_all(store)[0].written == 2
    assert extracted(store) == [("x.csv", CSV), ("y.csv", CSV)]
    assert len(waits) == 2


def test_a_killed_task_stops_between_two_chunks(store) -> None:
    put(store, a=zipped(("x.csv", CSV)))
    closed = Event()
    closed.set()
    with pytest.raises(Closed):
        extract_all(store, closed=closed)
    assert store.list(CSVS) == {}


def test_two_at_the_same_time_end_with_one_right_result(store) -> None:
    members = [(f"{n}.csv", CSV) for n in range(50)]
    put(store, a=zipped(*members))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: extract_all(store), range(2)))
    assert sorted(extracted(store)) == sorted(members)
    assert len(store.list(CSVS)) == 51


# The operator, after a landing from the simulator


@pytest.fixture
def landed(sim: Simulator, run: Any, day: str) -> Callable[[str], dict[str, Any]]:
    """Land the compressed records of a day there; what the landing returned."""

    def act(destination: str) -> dict[str, Any]:
        operator = CcaToObjectStorageOperator(task_id="l", report="cdr_compressed", destination=destination)
        return run(operator, day)

    return act


def truth(sim: Simulator, day: str) -> list[bytes]:
    """The members of that day's zips, as the server has them."""
    found = []
    for file in sim.world.files("cdr_compressed", None, date.fromisoformat(day), date.fromisoformat(day)):
        archive = zipfile.ZipFile(io.BytesIO(sim.world.body(file).content()))
        found += [archive.read(info) for info in archive.infolist()]
    return sorted(found)


def extract(source: Any, destination: str, **arguments: Any) -> CcaExtractOperator:
    return CcaExtractOperator(task_id="e", source=source, destination=destination, **arguments)


def members(root: Path) -> list[bytes]:
    return sorted(gzip.decompress(path.read_bytes()) for path in root.rglob("cdr_csv/*/*.gz"))


def test_a_day_is_extracted_from_where_it_landed(sim, run, day, tmp_path, landed) -> None:
    landed(f"{tmp_path}/in")
    result = run(extract(f"{tmp_path}/in", f"{tmp_path}/out"), day)
    assert members(tmp_path / "out") == truth(sim, day) != []
    written = Manifest.from_json((tmp_path / f"out/cdr_csv/creation_date={day}/_manifest.json").read_bytes())
    assert result == {
        "partition": day,
        "members": len(truth(sim, day)),
        "bytes": written.total_bytes,
        "written": len(truth(sim, day)),
        "manifest": f"{tmp_path}/out/cdr_csv/creation_date={day}/_manifest.json",
    }


def test_the_manifest_that_a_landing_returned_says_source_and_partition(
    sim, run, tmp_path, landed, day
) -> None:
    """Whatever the date of the run is."""
    source = landed(str(tmp_path))["manifest"]
    assert run(extract(source, str(tmp_path)), "2020-01-01")["partition"] == day
    assert members(tmp_path) == truth(sim, day)


def test_a_recovered_file_with_the_same_members_is_extracted_beside_the_first(
    sim, run, day, tmp_path, landed
) -> None:
    landed(str(tmp_path))
    run(extract(str(tmp_path), str(tmp_path)), day)
    before = tree(tmp_path / "cdr_csv")
    name = json.loads(before[f"creation_date={day}/_manifest.json"])["files"][0]["name"]
    sim.world.add("cdr_compressed", day, zipped((name, b"recovered\n")), name="recovered.zip")
    landed(str(tmp_path))
    assert run(extract(str(tmp_path), str(tmp_path)), day)["written"] == 1
    after = tree(tmp_path / "cdr_csv")
    assert {key for key in before if before[key] != after[key]} == {f"creation_date={day}/_manifest.json"}
    assert members(tmp_path) == truth(sim, day)


def test_a_range_is_extracted_in_one_task(sim, run, day, tmp_path) -> None:
    first = str(date.fromisoformat(day) - timedelta(days=4))
    days = {"partition": first, "partition_end": day, "destination": str(tmp_path)}
    run(CcaToObjectStorageOperator(task_id="l", report="cdr_compressed", **days))
    result = run(extract(source=str(tmp_path), **days))
    assert (result["partition"], result["partition_end"], result["partitions"]) == (first, day, 5)
    assert result["members"] == result["written"] == len(members(tmp_path))
    assert "manifest" not in result
    assert len(list(tmp_path.glob("cdr_csv/*/_manifest.json"))) == 5


def test_the_manifests_of_several_landings_are_extracted_in_one_task(sim, run, day, tmp_path) -> None:
    """Each once, and none of the days between them."""
    days = [str(date.fromisoformat(day) - timedelta(days=n)) for n in (4, 0)]
    sources = [f"{tmp_path}/{n}" for n in range(2)]
    landings = [
        CcaToObjectStorageOperator(task_id="l", report="cdr_compressed", destination=source)
        for source in sources
    ]
    manifests = [run(landing, day)["manifest"] for landing, day in zip(landings, days, strict=True)]
    result = run(extract([*manifests, *manifests], f"{tmp_path}/out"))
    assert (result["partition"], result["partition_end"], result["partitions"]) == (*days, 2)
    assert members(tmp_path / "out") == sorted(member for day in days for member in truth(sim, day))


def test_it_needs_no_connection_and_asks_no_server(sim, run, day, tmp_path, landed, monkeypatch) -> None:
    landed(str(tmp_path))
    asked = len(sim.requests)
    monkeypatch.delenv("AIRFLOW_CONN_CCA_DEFAULT")
    run(extract(str(tmp_path), str(tmp_path)), day)
    assert len(sim.requests) == asked


def test_arguments_are_templates(sim, run, day, tmp_path, landed) -> None:
    landed(str(tmp_path))
    place = "{{ params.place }}"
    operator = extract(place, place, partition="{{ params.day }}")
    assert run(operator, params={"place": str(tmp_path), "day": day})["partition"] == day


@pytest.mark.parametrize(("body", "error"), BAD, ids=["encrypted", "CRC", "cut", "no zip", "bomb"])
def test_what_can_never_succeed_is_not_retried(sim, run, day, tmp_path, landed, body, error) -> None:
    sim.world.add("cdr_compressed", day, body, name="bad.zip")
    landed(str(tmp_path))
    with pytest.raises(AirflowFailException, match=r"bad\.zip") as caught:
        run(extract(str(tmp_path), str(tmp_path)), day)
    assert isinstance(caught.value.__cause__, error)


def test_a_limit_can_be_raised(sim, run, day, tmp_path, landed) -> None:
    sim.world.add("cdr_compressed", day, zipped(("zeros.csv", bytes(5_000_000))), name="zeros.zip")
    landed(str(tmp_path))
    run(extract(str(tmp_path), str(tmp_path), max_ratio=2000), day)
    assert members(tmp_path) == truth(sim, day)


def test_what_has_not_landed_yet_is_retried(run, day, tmp_path) -> None:
    with pytest.raises(NotLanded):
        run(extract(str(tmp_path), str(tmp_path)), day)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": ""}, {"source": "relative"}, {"destination": ""}, {"destination": "relative"},
        {"partition": "yesterday"}, {"partition_end": "2026-03-01"}, {"max_members": 0}, {"max_ratio": "9"},
        {"partition": "2026-03-02", "partition_end": "2026-03-01"}, {"max_total_bytes": 1.5},
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_said_while_parsing(wrong) -> None:
    with pytest.raises(InvalidArgument, match=next(reversed(wrong))):
        extract(**{"source": "/in", "destination": "/out", **wrong})


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("/in/peak_port_daily/level=site/creation_date=2026-03-01/_manifest.json", {}),
        ("/in/cdr_compressed/_manifest.json", {}),
        (["/in/cdr_compressed"], {}),
        ([f"/{n}/cdr_compressed/creation_date=2026-03-01/_manifest.json" for n in range(2)], {}),
        ("/in/cdr_compressed/creation_date=2026-03-01/_manifest.json", {"partition": "2026-03-02"}),
    ],
)
def test_a_manifest_of_something_else_is_refused(run, source, arguments) -> None:
    with pytest.raises(AirflowFailException, match=r"is not the manifest of|give none|two manifests"):
        run(extract(source, "/out", **arguments))


def test_a_killed_operator_ends_its_work(run, day, tmp_path, landed, monkeypatch) -> None:
    """The kill comes while the first chunk is being written."""
    landed(str(tmp_path))
    operator = extract(str(tmp_path), str(tmp_path))
    writing = store_at(tmp_path).__class__.writing

    def killed(*args: Any, **conditions: Any) -> Any:
        operator.on_kill()
        return writing(*args, **conditions)

    monkeypatch.setattr("airflow_provider_cca.store.local.LocalStore.writing", killed)
    with pytest.raises(Closed):
        run(operator, day)
    assert members(tmp_path) == []


def test_a_day_is_extracted_from_s3_to_s3(sim, run, day, s3, new_prefix, landed) -> None:
    """And a second time nothing is written."""
    prefix = new_prefix()
    place = f"s3://aws_default@{BUCKET}/{prefix.rstrip('/')}"
    source = landed(place)["manifest"]
    result = run(extract(source, place))
    folder = f"{prefix}cdr_csv/creation_date={day}/"
    objects = s3.objects(folder)
    assert result["manifest"] == f"{place}/cdr_csv/creation_date={day}/_manifest.json"
    assert sorted(gzip.decompress(body) for key, body in objects.items() if key.endswith(".gz")) == truth(
        sim, day
    )
    assert run(extract(source, place))["written"] == 0
    assert s3.objects(folder) == objects


def test_a_destination_that_cannot_be_written_ends_at_once(run, day, tmp_path, landed) -> None:
    landed(f"{tmp_path}/in")
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(AirflowFailException) as caught:
        run(extract(f"{tmp_path}/in", f"{tmp_path}/out"), day)
    assert isinstance(caught.value.__cause__, DestinationUnusable)


# The example DAG, and the queries of docs/extracting.md

ROOT = Path(__file__).parent.parent.parent
QUERIES = re.findall(r"^```shell\n(.*?)^```", (ROOT / "docs/extracting.md").read_text(), re.S | re.M)


@pytest.fixture
def example() -> DAG:
    return runpy.run_path(str(ROOT / "dags/examples/cca_extract.py"))["dag"]


@pytest.fixture
def what_landed(example: DAG, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What the first task of the example gives, for events with these facts."""
    monkeypatch.setenv("AIRFLOW_VAR_CCA_STORAGE", "s3://aws_default@bucket/cca/")

    def act(*facts: dict[str, Any]) -> Any:
        landed = AssetUniqueKey(name="cca/cdr_compressed", uri="x-cca://cdr_compressed")
        told = {landed: [SimpleNamespace(extra=extra) for extra in facts]} if facts else {}
        events = TriggeringAssetEventsAccessor(told)
        return example.get_task("what_landed").python_callable(triggering_asset_events=events)

    return act


DAYS_LANDED = [f"s3://bucket/cca/cdr_compressed/creation_date=2026-03-0{n}/_manifest.json" for n in (1, 2, 3)]


def test_the_example_takes_the_manifests_of_all_events_and_the_place_from_the_variable(what_landed) -> None:
    facts = [{"manifests": DAYS_LANDED[1:]}, {"manifests": DAYS_LANDED[:2]}, {}]
    assert what_landed(*facts) == [one.replace("bucket", "aws_default@bucket") for one in DAYS_LANDED]


def test_the_example_leaves_the_date_to_the_operator_when_it_is_started_by_hand(what_landed) -> None:
    assert what_landed() == "s3://aws_default@bucket/cca"


def test_the_example_extracts_what_its_first_task_gives(example) -> None:
    task = example.get_task("extract_files")
    assert task.upstream_task_ids == {"what_landed"}
    assert (task.source.operator.task_id, task.retries) == ("what_landed", 4)


def calls(day: bytes) -> list[bytes]:
    """The rows of a CSV without its header."""
    return day.splitlines()[1:]


def printed(query: str, folder: Path, **env: str) -> list[tuple[str, str, str, str]]:
    """The rows of the table that a query prints: date, calls, minutes, amount."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", query], cwd=folder, env={**os.environ, "PATH": path, **env},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return re.findall(r"│ (\d{4}-\d\d-\d\d) +│ +(\d+) │ +(\d+) │ +([\d.]+) │", done.stdout)


def expected(sim: Simulator, days: list[str]) -> list[tuple[str, str, str, str]]:
    """The same rows, counted by hand from what the server has."""
    rows = []
    for day in days:
        cells = [line.decode().split(",") for member in truth(sim, day) for line in calls(member)]
        amount = sum(Decimal(row[-1]) for row in cells)
        rows.append((day, str(len(cells)), str(sum(int(row[-2]) for row in cells)), str(amount)))
    return rows


@pytest.fixture
def week(sim: Simulator, run: Any, day: str) -> Callable[[str], list[str]]:
    """Land and extract seven days there; gives the days."""

    def act(place: str) -> list[str]:
        last = date.fromisoformat(day)
        days = [str(last - timedelta(days=back)) for back in range(6, -1, -1)]
        span = {"partition": days[0], "partition_end": days[-1], "destination": place}
        run(CcaToObjectStorageOperator(task_id="l", report="cdr_compressed", **span))
        run(extract(source=place, **span))
        return days

    return act


def test_the_documented_query_counts_what_the_server_has(sim, week, tmp_path) -> None:
    days = week(str(tmp_path))
    assert [printed(query, tmp_path) for query in QUERIES[:2]] == [expected(sim, days)] * 2


def test_the_documented_query_counts_no_call_of_a_member_that_was_replaced(store, tmp_path) -> None:
    """A revised zip whose member has another name. The files that engines see are those of the manifest."""
    columns = b"MINUTES,AMOUNT\n"
    for name, row in (("one.csv", b"1,1.00\n"), ("two.csv", b"2,2.00\n")):
        put(store, a=zipped((name, columns + row)))
        extract_all(store)
    assert [printed(query, tmp_path) for query in QUERIES[:2]] == [[(str(DAY), "1", "2", "2.00")]] * 2


def test_the_documented_query_of_manifests_leaves_out_what_is_not_finished(sim, week, tmp_path) -> None:
    days = week(str(tmp_path))
    (tmp_path / f"cdr_csv/creation_date={days[2]}/_manifest.json").unlink()
    assert printed(QUERIES[0], tmp_path) == expected(sim, days[:2] + days[3:])


def test_the_documented_query_of_s3_counts_what_the_server_has(sim, week, tmp_path, s3, new_prefix) -> None:
    place = f"{BUCKET}/{new_prefix().rstrip('/')}"
    days = week(f"s3://aws_default@{place}")
    query = QUERIES[2].replace("s3://bucket/cca", f"s3://{place}")
    env = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
    assert printed(query, tmp_path, **env) == expected(sim, days)


def test_a_revised_zip_that_is_damaged_leaves_what_there_is_of_the_older_one(store) -> None:
    """Its first member is whole, and nothing of it is written: the manifest names the one before."""
    put(store, a=zipped(("one.csv", CSV), ("two.csv", b"b,c\n1,2\n")))
    extract_all(store)
    before = extracted(store)
    revised = io.BytesIO()
    with zipfile.ZipFile(revised, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("one.csv", CSV * 3)
        archive.writestr("two.csv", b"XYZXYZXYZXYZ")
    put(store, a=revised.getvalue().replace(b"XYZXYZXYZXYZ", b"XYZXYZXYZXYQ"))
    with pytest.raises(DamagedArchive):
        extract_all(store)
    assert extracted(store) == before


def test_a_damaged_zip_keeps_a_revised_one_beside_it_from_being_written_over(store) -> None:
    """Of two revised zips the first is good, and nothing of it is written either."""
    put(store, a=zipped(("x.csv", CSV)), b=zipped(("y.csv", b"b,c\n1,2\n")))
    extract_all(store)
    before = extracted(store)
    put(store, a=zipped(("x.csv", CSV * 3)), b=broken(zipped(("y.csv", CSV))))
    with pytest.raises(DamagedArchive):
        extract_all(store)
    assert extracted(store) == before


def test_a_damaged_zip_holds_back_no_other_that_is_not_revised(store, tmp_path) -> None:
    """What was deleted of one is made again, and a new one is extracted: only revising loses something."""
    a, b = zipped(("x.csv", CSV)), zipped(("y.csv", b"b,c\n1,2\n"))
    put(store, a=a, b=b)
    extract_all(store)
    (tmp_path / CSVS / "x.csv.gz").unlink()
    put(store, a=a, b=b, c=b"no zip at all", d=zipped(("z.csv", CSV)))
    with pytest.raises(DamagedArchive):
        extract_all(store)
    assert {key for key in tree(tmp_path / CSVS) if key.endswith(".gz")} == {
        "x.csv.gz",
        "y.csv.gz",
        "z.csv.gz",
    }


def test_a_manifest_that_was_copied_from_another_date_is_not_extracted(store) -> None:
    put(store, "cdr_compressed/creation_date=2026-03-02", a=zipped(("one.csv", CSV)))
    with pytest.raises(NotLanded, match="creation_date=2026-03-02 is damaged"):
        extract_all(store, Partition.parse("2026-03-02", Grain.DAY))
