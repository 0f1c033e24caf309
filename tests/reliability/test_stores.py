"""The landing protocol on three stores: a local folder, a real S3 server over https, fsspec's memory."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import md5
from pathlib import Path
from threading import Barrier, Event

import pytest
from airflow.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_cca.api.site_list import whole
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import DestinationUnusable, PartlyLanded, StoreError
from airflow_provider_cca.integration.destination import open_store
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.manifest import MANIFEST_NAME
from airflow_provider_cca.landing.manifest_store import ManifestStore
from airflow_provider_cca.landing.site_list import land_snapshot
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.simulator import Hang
from airflow_provider_cca.store import object_store
from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.bucket import MAX_PARTS, PARTS_OF_A_SIZE, PROBE
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import PART_BYTES, Store
from airflow_provider_cca.store.opening import store_at
from tests.landing.test_lander import DAY, FOLDER, ZIPS, Server, land_all, land_part, listed
from tests.support.landing_process import landing_process
from tests.support.places import LOCAL, S3, STORES, Place
from tests.support.s3 import BUCKET
from tests.support.s3_proxy import StoreFault
from tests.support.tree import tree
from tests.support.verdicts import WHOLE, Folder, truth_of

SMALL, LARGE = 20_000, 2 * PART_BYTES + 7  # the large ones take three parts
MANIFEST = f"{FOLDER}/_manifest.json"


@dataclass(frozen=True)
class Kind:
    """A store, and how it is looked at by other means."""

    store: Store
    objects: Callable[[], dict[str, bytes]]
    remove: Callable[[str], object]
    uploads: Callable[[], list[str]] = list


@pytest.fixture(params=[LOCAL, S3, "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == LOCAL:
        yield Kind(store_at(tmp_path), lambda: tree(tmp_path), lambda key: (tmp_path / key).unlink())
    elif request.param == S3:
        server, prefix = request.getfixturevalue("s3"), request.getfixturevalue("new_prefix")()
        url = f"s3://aws_default@{BUCKET}/{prefix}"
        yield Kind(
            open_store(url),
            lambda: server.objects(prefix),
            lambda key: server.client.delete_object(Bucket=BUCKET, Key=prefix + key),
            lambda: server.uploads(prefix),
        )
    else:
        fs = MemoryFileSystem()
        yield Kind(
            FsspecStore(fs, "/root"),
            lambda: {key.removeprefix("/root/"): file.getvalue() for key, file in fs.store.items()},
            lambda key: fs.rm_file(f"/root/{key}"),
        )
        fs.store.clear()
        fs.pseudo_dirs[:] = [""]


def written(place: Kind, content: bytes, key: str = "a/b.bin") -> Iterator[None]:
    """Write in chunks; stops before it publishes, and again after."""
    with place.store.writing(key, len(content)) as target:
        for start in range(0, len(content), 1 << 20):
            target.write(content[start : start + (1 << 20)])
        yield
        target.publish()
        yield


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_nothing_is_visible_before_it_is_published_and_then_it_is_whole(place, size) -> None:
    content = os.urandom(size)
    steps = written(place, content)
    next(steps)
    assert [key for key in place.objects() if not key.endswith(".part")] == []
    assert place.store.list("a") == {}
    next(steps)
    steps.close()
    assert (place.objects(), place.uploads()) == ({"a/b.bin": content}, [])


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_an_object_is_as_it_was_until_its_successor_is_published(place, size) -> None:
    place.store.write("a/b.bin", b"old")
    content = os.urandom(size)
    steps = written(place, content)
    next(steps)
    assert place.objects()["a/b.bin"] == b"old"
    next(steps)
    assert place.objects()["a/b.bin"] == content
    steps.close()
    assert sizes(place.store.list("a")) == {"b.bin": size}


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_what_is_given_up_leaves_nothing(place, size) -> None:
    """Not even the parts of a multipart upload, which nobody sees but somebody pays for."""
    place.store.write("a/b.bin", b"old")
    steps = written(place, os.urandom(size))
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    assert (place.objects(), place.uploads()) == ({"a/b.bin": b"old"}, [])


def test_one_listing_gives_all_that_is_below_a_folder(place) -> None:
    for key in ("r/a=1/x", "r/a=1/y", "r/a=2/x", "r/z", "other/x"):
        place.store.write(key, key.encode())
    below = {folder: sizes(objects) for folder, objects in place.store.list_below("r").items()}
    assert below == {"r": {"z": 3}, "r/a=1": {"x": 7, "y": 7}, "r/a=2": {"x": 7}}
    assert sizes(place.store.list("r")) == {"z": 3}
    assert place.store.list_below("nowhere") == place.store.list("nowhere") == {}


def sizes(objects: Mapping[str, ObjectMeta]) -> dict[str, int]:
    return {name: one.size for name, one in objects.items()}


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_an_object_is_read_anywhere_and_as_it_was_when_it_was_opened(place, size) -> None:
    content = os.urandom(size)
    place.store.write("a/b.bin", content)
    with place.store.reading("a/b.bin") as file:
        place.store.write("a/b.bin", b"new")
        file.seek(size // 2)
        assert file.read() == content[size // 2 :]
        file.seek(0)
        assert file.read() == content
    assert b"".join(place.store.chunks("a/b.bin")) == b"new"


def test_an_object_that_is_not_there_is_not_opened(place) -> None:
    with pytest.raises(DestinationUnusable, match=r"cannot read .*gone"), place.store.reading("gone"):
        pass


def test_an_s3_upload_of_any_size_stays_below_the_parts_that_s3_allows(s3) -> None:
    """2 TB in 9,000 parts: the size of a part grows with the object."""
    with open_store(f"s3://aws_default@{BUCKET}/many").writing("a", 2 * 10**12) as target:
        assert target._part_bytes * 10_000 > 2 * 10**12


def test_a_size_that_is_listed_too_large_takes_no_more_memory(s3, new_prefix) -> None:
    with open_store(f"s3://aws_default@{BUCKET}/{new_prefix()}").writing("a", 10**18) as target:
        for _ in range(20):
            target.write(bytes(1 << 20))
            assert len(target._held) <= PART_BYTES


def test_an_s3_upload_of_2_tb_has_few_enough_parts() -> None:
    size = 2 * 10**12
    largest, sent, parts = size // MAX_PARTS, 0, 0
    while sent < size:
        sent += min(largest, PART_BYTES << parts // PARTS_OF_A_SIZE)
        parts += 1
    assert parts < 10_000


@pytest.mark.parametrize("prefix", ["", "inside/it/", "a b+c%20é&="])
def test_an_s3_object_is_at_the_very_url_that_the_destination_says(s3, new_prefix, prefix) -> None:
    """Where whoever gets the path of a manifest looks for it."""
    number = new_prefix().rstrip("/")
    url = f"s3://aws_default@{BUCKET}/{prefix}".rstrip("/")
    store = open_store(f"{url}/{number}/")
    store.write("a=1/b", b"content")
    assert ObjectStoragePath(f"{url}/{number}/a=1/b").read_bytes() == b"content"
    assert sizes(store.list("a=1")) == {"b": 7}
    assert [*store.list_below("a=1")] == ["a=1"]


def test_a_mistyped_connection_is_no_licence_to_use_the_rights_of_the_worker(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the worker")
    with pytest.raises(DestinationUnusable, match="there is no connection 'nope'"):
        open_store("s3://nope@bucket/cca")


def test_a_folder_that_vanishes_under_a_writer_is_an_error_of_the_destination(tmp_path) -> None:
    store = store_at(tmp_path / "root")
    with (
        pytest.raises(DestinationUnusable, match="check that the destination exists"),
        store.writing("a/b.bin", 4) as target,
    ):
        target.write(b"half")
        (tmp_path / "root").rename(tmp_path / "elsewhere")
        (tmp_path / "root").touch()
        target.publish()


class Quick(Server):
    """With bodies in chunks as large as the client's."""

    def fetch(self, file: RemoteFile) -> Iterator[bytes]:
        (body,) = self.answers[file.id]
        for start in range(0, len(body), 1 << 18):
            yield body[start : start + (1 << 18)]


def land(place: Kind, server: Server, *files: RemoteFile) -> Landed:
    return land_all(place.store, server.fetch, {(ZIPS, DAY): files}, 4)[0]


@pytest.fixture
def server() -> Server:
    return Quick()


@pytest.fixture
def files(server: Server) -> list[RemoteFile]:
    bodies = {"a.zip": os.urandom(SMALL), "b.zip": os.urandom(SMALL), "large.zip": os.urandom(LARGE)}
    return [server.has(listed(body, name, name), body) for name, body in bodies.items()]


def outcome(place: Kind, server: Server) -> str:
    start = f"{FOLDER}/"
    objects = {k.removeprefix(start): body for k, body in place.objects().items() if k.startswith(start)}
    return Folder(objects, {name: answers[0] for name, answers in server.answers.items()}).outcome({})


def key_of(place: Kind, name: str, body: bytes) -> str:
    """The key of a file; with its MD5 where the store takes a condition for small objects alone."""
    can = place.store.capabilities()
    if len(body) <= PART_BYTES or not can.create or can.create_in_parts:
        return name
    stem, extension = name.split(".")
    return f"{stem}.{md5(body).hexdigest()[:8]}.{extension}"


def test_a_partition_of_small_and_large_files_lands_whole_and_only_once(place, server, files) -> None:
    assert land(place, server, *files).downloaded == 3
    assert (outcome(place, server), place.uploads()) == (WHOLE, [])
    assert land(place, server, *files).downloaded == 0


def test_a_range_that_has_landed_costs_one_listing_of_the_store(s3_proxy, new_prefix, server) -> None:
    """And one look into each manifest: no request for each object."""
    days = [Partition.parse(f"2026-03-{day:02}", Grain.DAY) for day in range(1, 11)]
    partitions = {(ZIPS, day): [server.has(listed(b"x", id_=str(day)), b"x")] for day in days}
    store = open_store(f"s3://aws_proxy@{BUCKET}/{new_prefix()}")
    land_all(store, server.fetch, partitions, 4)
    s3_proxy.forget()
    assert [one.downloaded for one in land_all(store, server.fetch, partitions, 4)] == [0] * 10
    kinds = Counter("list" if "list-type" in line else line.rsplit("/")[-1] for line in s3_proxy.log)
    assert kinds == {"list": 1, "_manifest.json": 10}


@pytest.mark.parametrize("broken", [b"", b'{"version": 1, "fil', b"null", b'{"version": 9}'])
def test_a_damaged_manifest_is_written_anew_without_a_download(place, server, files, broken) -> None:
    land(place, server, *files)
    place.store.write(MANIFEST, broken)
    assert land(place, server, *files).downloaded == 0
    assert outcome(place, server) == WHOLE


def test_a_manifest_that_must_not_be_read_is_not_taken_for_damaged(s3_proxy, s3, new_prefix, server) -> None:
    """Written anew, it would no longer name what the listing does not give any more."""
    earlier, later = (server.has(listed(b"x", name, name), b"x") for name in ("a.zip", "b.zip"))
    land_by_proxy(prefix := new_prefix(), server, earlier)
    before = s3.objects(prefix)
    s3_proxy.faults.append(StoreFault(f"GET .*{MANIFEST_NAME}", 403, "AccessDenied", times=None))
    with pytest.raises(DestinationUnusable, match="AccessDenied"):
        land_by_proxy(prefix, server, later)
    assert s3.objects(prefix) == before


def test_a_manifest_that_vanishes_after_it_was_listed_is_written_anew(
    s3_proxy, s3, new_prefix, server
) -> None:
    file = server.has(listed(b"x"), b"x")
    land_by_proxy(prefix := new_prefix(), server, file)

    def vanish(line: str) -> None:
        if line.startswith("GET") and line.endswith(MANIFEST_NAME):
            s3.client.delete_object(Bucket=BUCKET, Key=f"{prefix}{MANIFEST}")

    s3_proxy.before = vanish
    assert land_by_proxy(prefix, server, file).downloaded == 0
    assert {*s3.objects(prefix)} == {f"{FOLDER}/a.zip", MANIFEST}


def test_without_its_manifest_no_file_of_a_partition_has_landed(s3_proxy, new_prefix, server, waits) -> None:
    s3_proxy.faults.append(StoreFault(f"PUT .*{MANIFEST_NAME}", 500, times=None))
    files = [server.has(listed(b"one"), b"one"), server.has(listed(b"two", "b.zip", "2"), b"two")]
    with pytest.raises(PartlyLanded, match=r"2 of 2 files could not be landed\. .*6 attempts.*last error"):
        land_by_proxy(new_prefix(), server, *files)
    assert len(waits) == 6


def land_by_proxy(prefix: str, server: Server, *files: RemoteFile) -> Landed:
    store = open_store(f"s3://aws_proxy@{BUCKET}/{prefix}")
    return land_all(store, server.fetch, {(ZIPS, DAY): files}, 4)[0]


def test_a_store_that_is_down_is_not_tried_partition_by_partition(
    s3_proxy, new_prefix, server, waits
) -> None:
    base = date(2026, 1, 1)
    days = [Partition.of(base + timedelta(days=number), Grain.DAY) for number in range(300)]
    s3_proxy.faults.append(StoreFault(".", 503, "SlowDown", times=None))
    store = open_store(f"s3://aws_proxy@{BUCKET}/{new_prefix()}")
    with pytest.raises(StoreError, match="SlowDown"):
        land_all(store, server.fetch, {(ZIPS, day): [] for day in days}, 4)
    assert len(s3_proxy.log) < 100


def test_what_a_manifest_names_in_vain_is_downloaded_again(place, server, files) -> None:
    land(place, server, *files)
    place.remove(f"{FOLDER}/{key_of(place, 'large.zip', server.answers['large.zip'][0])}")
    assert land(place, server, *files).downloaded == 1
    assert outcome(place, server) == WHOLE


def test_two_landings_at_the_same_time_end_with_one_right_result(place, server, files) -> None:
    """Each has all its files under way before either may go on."""
    meeting = Barrier(2 * len(files))

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        meeting.wait(60)
        yield from server.fetch(file)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(land_all, place.store, fetch, {(ZIPS, DAY): files}, 4) for _ in range(2)]
        assert [one.result()[0].downloaded for one in both] == [3, 3]
    assert (outcome(place, server), place.uploads()) == (WHOLE, [])
    assert land(place, server, *files).downloaded == 0


def test_a_landing_that_began_earlier_does_not_hide_what_a_later_one_landed(place, server, files) -> None:
    """A file that was recovered in between stays in the manifest, whichever landing ends last."""
    late = files.pop()

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        if file is files[0]:
            land(place, server, *files, late)
        yield from server.fetch(file)

    land_part(place.store, fetch, *files)
    named = {entry["key"] for entry in json.loads(place.objects()[MANIFEST])["files"]}
    assert named == {key_of(place, name, answers[0]) for name, answers in server.answers.items()}


def named_and_stored(place: Kind) -> tuple[dict[str, str], dict[str, str]]:
    """Key -> MD5, as the manifest says it and as it is."""
    objects = place.objects()
    named = {entry["key"]: entry["md5"] for entry in json.loads(objects.pop(MANIFEST))["files"]}
    return named, {key.removeprefix(f"{FOLDER}/"): md5(body).hexdigest() for key, body in objects.items()}


def test_a_revised_file_leaves_the_old_object_as_it_was_until_it_is_moved_whole(place, server) -> None:
    """Small and large ones, and also when the copy is there already from a move that died."""
    for name, size in (("a.zip", SMALL), ("large.zip", LARGE)):
        old, new = os.urandom(size), os.urandom(size)
        land(place, server, server.has(listed(old, name), old))
        place.store.write(f"{FOLDER}/_superseded/{name}", old)
        revised = server.has(listed(new, name), new)
        assert land(place, server, revised).downloaded == 1
        objects = place.objects()
        stem, extension = name.split(".")
        assert objects[f"{FOLDER}/_superseded/{name}"] == old
        assert objects[f"{FOLDER}/{stem}.{revised.md5[:8]}.{extension}"] == new
        assert f"{FOLDER}/{name}" not in objects
        assert place.uploads() == []


@pytest.mark.parametrize(("number", "first", "again"), [(0, 3, 2), (1, 4, 2), (3, 6, 2)])
def test_a_partition_costs_s3_few_requests(s3_proxy, new_prefix, server, number, first, again) -> None:
    """The manifest and a listing, the files, and the manifest; no content is read."""
    files = [server.has(listed(b"x%d" % n, f"{n}.zip", str(n)), b"x%d" % n) for n in range(number)]
    prefix = new_prefix()
    open_store(f"s3://aws_proxy@{BUCKET}/{prefix}").capabilities()
    for requests in (first, again):
        s3_proxy.forget()
        land_by_proxy(prefix, server, *files)
        assert len(s3_proxy.log) == requests


def test_a_file_that_has_just_landed_is_not_read(tmp_path, server, files) -> None:
    read: list[str] = []

    class Counting(LocalStore):
        def md5(self, key: str) -> str:
            read.append(key)
            return super().md5(key)

    for some in (files[:1], files):
        land_all(Counting(str(tmp_path)), server.fetch, {(ZIPS, DAY): some}, 4)
    assert read == []


def test_parts_of_a_partition_that_end_at_the_same_time_are_all_in_the_manifest(place, server) -> None:
    if not place.store.capabilities().put_if_unchanged:
        pytest.skip("the store takes no condition")
    files = [server.has(listed(b"x", name, name), b"x") for name in "abcd"]
    meeting = Barrier(len(files))

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        meeting.wait(60)
        yield from server.fetch(file)

    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(lambda file: land_part(place.store, fetch, file), files))
    assert {entry["key"] for entry in json.loads(place.objects()[MANIFEST])["files"]} == {*"abcd"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (501, "NotImplemented"),
        (400, "InvalidArgument"),
        (400, "InvalidRequest"),
        (405, "MethodNotAllowed"),
    ],
)
def test_a_store_that_cannot_write_on_a_condition_is_written_without(
    s3_proxy, s3, new_prefix, server, status, code, monkeypatch
) -> None:
    monkeypatch.setattr(object_store, "_asked", {})
    file, prefix = server.has(listed(b"x"), b"x"), new_prefix()
    s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}{PROBE}", Body=b"")
    s3_proxy.faults.append(StoreFault(rf"PUT [^?]*{PROBE}(\?x-id=\w+)?$", status, code, times=None))
    land_by_proxy(prefix, server, file)
    assert {*s3.objects(prefix)} >= {f"{FOLDER}/a.zip", MANIFEST}
    assert open_store(f"s3://aws_proxy@{BUCKET}/{prefix}").capabilities()[0] is False


def test_a_manifest_whose_etag_is_no_md5_is_replaced_on_a_condition_too(s3, new_prefix) -> None:
    """As after a multipart upload, or with other encryption."""
    store = open_store(f"s3://aws_default@{BUCKET}/{new_prefix()}")
    with store.writing(MANIFEST, 0) as target:
        target.write(bytes(PART_BYTES + 1))
        target.publish()
    before = store.list(FOLDER)[MANIFEST_NAME]
    assert (before.md5, before.etag[-2:]) == (None, "-2")
    store.put_if_unchanged(MANIFEST, b"ours", before)
    with pytest.raises(StoreError, match="was written by another task meanwhile"):
        store.put_if_unchanged(MANIFEST, b"too late", before)
    assert store.get(MANIFEST)[0] == b"ours"


def test_what_lands_while_a_lost_file_is_landed_anew_stays_in_the_manifest(
    s3_proxy, s3, new_prefix, server
) -> None:
    """The other landing ends when the manifest has been read and is about to be written."""
    files = [server.has(listed(b"x", name, name), b"x") for name in ("a.zip", "b.zip", "c.zip")]
    prefix = new_prefix()
    store = open_store(f"s3://aws_default@{BUCKET}/{prefix}")
    land_part(store, server.fetch, *files[:2])
    s3.client.delete_object(Bucket=BUCKET, Key=f"{prefix}{FOLDER}/a.zip")

    def overtake(line: str) -> None:
        if line.startswith("PUT") and line.endswith(MANIFEST_NAME):
            s3_proxy.before = lambda line: None
            land_part(store, server.fetch, files[2])

    s3_proxy.before = overtake
    assert land_by_proxy(prefix, server, *files[:2]).downloaded == 1
    named = {entry["key"] for entry in json.loads(s3.objects(prefix)[MANIFEST])["files"]}
    assert named == {"a.zip", "b.zip", "c.zip"}


def test_of_two_site_lists_that_land_at_once_on_s3_the_manifest_names_the_one_that_is_there(
    s3_proxy, s3, new_prefix
) -> None:
    """The second lands when the first has looked and is about to write its manifest."""
    scope, prefix = Scope(REPORTS["site_list"]), new_prefix()
    folder = "site_list/snapshot_date=2026-03-01"
    first, second = (b"SITENAME|\n" + b"a|\n" * rows + b"Total:%d\n" % rows for rows in (1, 2))

    def snapshot(connection: str, body: bytes) -> Landed:
        store = open_store(f"s3://{connection}@{BUCKET}/{prefix}")
        return land_snapshot(ManifestStore(store, Retry(Event())), scope, DAY, lambda: whole(iter([body])))

    def overtake(line: str) -> None:
        if line.startswith("PUT") and line.endswith(MANIFEST_NAME):
            s3_proxy.before = lambda line: None
            snapshot("aws_default", second)

    s3_proxy.before = overtake
    assert snapshot("aws_proxy", first).bytes == len(first)
    objects = s3.objects(prefix)
    written = json.loads(objects[f"{folder}/{MANIFEST_NAME}"])
    (entry,) = written["files"]
    assert objects[f"{folder}/{entry['key']}"] == first
    assert md5(second).hexdigest() in {gone["md5"] for gone in written["superseded"]}


def test_what_a_killed_landing_left_is_swept_by_the_next(tmp_path, server, files) -> None:
    place = Kind(store_at(tmp_path), lambda: tree(tmp_path), tmp_path.joinpath)
    (tmp_path / FOLDER).mkdir(parents=True)
    for name in (".a.zip.0123abcd.part", "._manifest.json.89abcdef.part", ".other.zip.00000000.part"):
        (tmp_path / FOLDER / name).write_bytes(b"half")
    land(place, server, *files)
    assert outcome(place, server) == WHOLE


@pytest.mark.cca_simulator(days=5, files_per_day=20, recovered=False)
@pytest.mark.parametrize("store", STORES)
def test_two_processes_at_the_same_time_end_with_one_right_result(store, sim, day, new_place) -> None:
    place: Place = new_place()
    hanging = sim.inject(Hang(after=100), "download", times=None)
    processes = [landing_process(place.destination, day) for _ in range(2)]
    for process in processes:
        process.start()
    sim.wait_open(16, timeout=60)  # eight of each
    sim.faults.remove(hanging)
    deadline = time.monotonic() + 60
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        # Again and again: an answer that is only about to hang misses the first.
        sim.release()
        processes[0].join(0.1)
        processes[1].join(0.1)
    assert [process.exitcode for process in processes] == [0, 0]
    assert Folder(place.objects(), truth_of(sim, day)).outcome({}) == WHOLE
    assert place.uploads() == []
