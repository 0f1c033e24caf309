"""The landing protocol on four stores: a local folder, a real S3 server by two libraries, fsspec's memory."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
from airflow_provider_cca.landing.lander import Landing
from airflow_provider_cca.landing.manifest import MANIFEST_NAME
from airflow_provider_cca.landing.site_list import land_snapshot
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.simulator import Hang
from airflow_provider_cca.store import object_store
from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.bucket import MAX_PARTS, PARTS_OF_A_SIZE, PROBE
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import PART_BYTES, Store
from airflow_provider_cca.store.opening import store_at
from tests.landing.test_lander import DAY, FOLDER, ZIPS, Server, listed
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


S3FS = "S3 by s3fs"


@pytest.fixture(params=[LOCAL, S3, S3FS, "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == LOCAL:
        yield Kind(store_at(tmp_path), lambda: tree(tmp_path), lambda key: (tmp_path / key).unlink())
    elif request.param in (S3, S3FS):
        server, prefix = request.getfixturevalue("s3"), request.getfixturevalue("new_prefix")()
        url = f"s3://aws_default@{BUCKET}/{prefix}"
        store = open_store(url) if request.param == S3 else store_at(ObjectStoragePath(url))
        yield Kind(
            store,
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
    assert place.store.list("a")["b.bin"].size == size


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
    found = {folder: {*names} for folder, names in place.store.list_below("r").items()}
    assert found == {"r": {"z"}, "r/a=1": {"x", "y"}, "r/a=2": {"x"}}
    assert {*place.store.list("r")} == {"z"}
    assert place.store.list_below("nowhere") == place.store.list("nowhere") == {}


def test_what_is_there_is_given_with_what_a_replacement_is_told_by_and_what_is_not_is_none(place) -> None:
    assert place.store.get("one") is None
    place.store.put_if_unchanged("one", b"first", None)
    content, stored = place.store.get("one")
    place.store.put_if_unchanged("one", b"second", stored)
    assert (content, stored.size, place.store.get("one")[0]) == (b"first", 5, b"second")


def test_on_s3_who_replaces_what_was_replaced_since_is_told(s3, new_prefix) -> None:
    store = open_store(f"s3://aws_default@{BUCKET}/{new_prefix()}")
    store.put_if_unchanged("one", b"first", None)
    _, stored = store.get("one")
    store.put_if_unchanged("one", b"second", stored)
    for before in (stored, None):
        with pytest.raises(StoreError, match="another task"):
            store.put_if_unchanged("one", b"third", before)
    assert store.read("one") == b"second"


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
            assert sum(map(len, target._held)) <= PART_BYTES


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
    assert store.list("a=1")["b"].size == store.list_below("a=1")["a=1"]["b"].size == 7


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
    return Landing(place.store, server.fetch, Retry(Event()), workers=4).land({(ZIPS, DAY): files})[0]


@pytest.fixture
def server() -> Server:
    return Quick()


@pytest.fixture
def files(server: Server) -> list[RemoteFile]:
    bodies = {"a.zip": os.urandom(SMALL), "b.zip": os.urandom(SMALL), "large.zip": os.urandom(LARGE)}
    return [server.has(listed(body, name, name), body) for name, body in bodies.items()]


def outcome(place: Kind, server: Server) -> str:
    objects = {key.removeprefix(f"{FOLDER}/"): body for key, body in place.objects().items()}
    return Folder(objects, {name: answers[0] for name, answers in server.answers.items()}).outcome({})


def test_a_partition_of_small_and_large_files_lands_whole_and_only_once(place, server, files) -> None:
    assert land(place, server, *files).downloaded == 3
    assert (outcome(place, server), place.uploads()) == (WHOLE, [])
    assert land(place, server, *files).downloaded == 0


def test_a_range_that_has_landed_costs_one_listing_of_the_store(s3_proxy, new_prefix, server) -> None:
    """And one look into each manifest: no request for each object."""
    days = [Partition.parse(f"2026-03-{day:02}", Grain.DAY) for day in range(1, 11)]
    partitions = {(ZIPS, day): [server.has(listed(b"x", id_=str(day)), b"x")] for day in days}
    store = open_store(f"s3://aws_proxy@{BUCKET}/{new_prefix()}")
    landing = Landing(store, server.fetch, Retry(Event()), workers=4)
    landing.land(partitions)
    s3_proxy.forget()
    assert [one.downloaded for one in landing.land(partitions)] == [0] * 10
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
    landing = _landing_by_proxy(prefix := new_prefix(), server)
    landing.land({(ZIPS, DAY): [earlier]})
    before = s3.objects(prefix)
    s3_proxy.faults.append(StoreFault(f"GET .*{MANIFEST_NAME}", 403, "AccessDenied", times=None))
    with pytest.raises(DestinationUnusable, match="AccessDenied"):
        landing.land({(ZIPS, DAY): [later]})
    assert s3.objects(prefix) == before


def test_a_manifest_that_vanishes_after_it_was_listed_is_written_anew(
    s3_proxy, s3, new_prefix, server
) -> None:
    file = server.has(listed(b"x"), b"x")
    landing = _landing_by_proxy(prefix := new_prefix(), server)
    landing.land({(ZIPS, DAY): [file]})

    def vanish(line: str) -> None:
        if line.startswith("GET") and line.endswith(MANIFEST_NAME):
            s3.client.delete_object(Bucket=BUCKET, Key=f"{prefix}{MANIFEST}")

    s3_proxy.before = vanish
    assert landing.land({(ZIPS, DAY): [file]})[0].downloaded == 0
    assert {*s3.objects(prefix)} == {f"{FOLDER}/a.zip", MANIFEST}


def test_a_manifest_that_cannot_be_written_counts_as_a_file(s3_proxy, new_prefix, server) -> None:
    s3_proxy.faults.append(StoreFault(f"PUT .*{MANIFEST_NAME}", 500, times=None))
    with pytest.raises(PartlyLanded, match="1 of 1 files could not be landed"):
        _landing_by_proxy(new_prefix(), server).land({(ZIPS, DAY): []})


def _landing_by_proxy(prefix: str, server: Server) -> Landing:
    store = open_store(f"s3://aws_proxy@{BUCKET}/{prefix}")
    return Landing(store, server.fetch, Retry(Event()), workers=4)


def test_a_manifest_that_cannot_be_merged_is_read_six_times(s3_proxy, new_prefix, server, waits) -> None:
    """Not six times for each of six attempts, while others wait for the folder."""
    one, two = (server.has(listed(b"x", name, name), b"x") for name in ("a.zip", "b.zip"))
    landing = _landing_by_proxy(new_prefix(), server)
    landing.land({(ZIPS, DAY): [one]})

    def fail(line: str) -> None:
        if line.startswith("PUT") and line.endswith("b.zip"):
            s3_proxy.forget()
            s3_proxy.faults.append(StoreFault(f"GET .*{MANIFEST_NAME}", 503, "SlowDown", times=None))

    s3_proxy.before = fail
    with pytest.raises(PartlyLanded, match="SlowDown"):
        landing.land({(ZIPS, DAY): [one, two]})
    assert sum(line.endswith(MANIFEST_NAME) for line in s3_proxy.log) == 6
    assert len(waits) == 5


def test_a_store_that_is_down_is_not_tried_partition_by_partition(
    s3_proxy, new_prefix, server, waits
) -> None:
    base = date(2026, 1, 1)
    days = [Partition.of(base + timedelta(days=number), Grain.DAY) for number in range(300)]
    s3_proxy.faults.append(StoreFault(".", 503, "SlowDown", times=None))
    landing = _landing_by_proxy(new_prefix(), server)
    with pytest.raises(StoreError, match="SlowDown"):
        landing.land({(ZIPS, day): [] for day in days})
    assert len(s3_proxy.log) < 100


def test_what_a_manifest_names_in_vain_is_downloaded_again(place, server, files) -> None:
    land(place, server, *files)
    place.remove(f"{FOLDER}/large.zip")
    assert land(place, server, *files).downloaded == 1
    assert outcome(place, server) == WHOLE


def test_two_landings_at_the_same_time_end_with_one_right_result(place, server, files) -> None:
    """Each has all its files under way before either may go on."""
    meeting = Barrier(2 * len(files))

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        meeting.wait(30)
        yield from server.fetch(file)

    landing = Landing(place.store, fetch, Retry(Event()), workers=4)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(landing.land, {(ZIPS, DAY): files}) for _ in range(2)]
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

    Landing(place.store, fetch, Retry(Event()), workers=1).land({(ZIPS, DAY): files})
    named = {entry["key"] for entry in json.loads(place.objects()[MANIFEST])["files"]}
    assert named == {"a.zip", "b.zip", "large.zip"}


def named_and_stored(place: Kind) -> tuple[dict[str, str], dict[str, str]]:
    """Key -> MD5, as the manifest says it and as it is."""
    objects = place.objects()
    named = {entry["key"]: entry["md5"] for entry in json.loads(objects.pop(MANIFEST))["files"]}
    return named, {key.removeprefix(f"{FOLDER}/"): md5(body).hexdigest() for key, body in objects.items()}


@pytest.mark.parametrize("known", [False, True], ids=["new", "landed before and gone"])
@pytest.mark.parametrize(("when", "stays"), [("a.zip", b"old"), ("b.zip", b"newer")])
def test_a_file_that_was_revised_between_two_listings_is_named_as_it_is(
    place, server, when, stays, known
) -> None:
    """The task with the older listing ends last, and published before or after the other."""
    old, new, late = listed(b"old"), listed(b"newer"), listed(b"late", "b.zip", "2", hour=8)
    server.has(late, b"late")
    if known:
        land(place, server, server.has(old, b"old"), late)
        place.remove(f"{FOLDER}/a.zip")
        place.remove(f"{FOLDER}/b.zip")

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        if file.name == when:
            land(place, server, server.has(new, b"newer"))
        yield b"late" if file is late else b"old"

    Landing(place.store, fetch, Retry(Event()), workers=1).land({(ZIPS, DAY): [old, late]})
    named, stored = named_and_stored(place)
    assert named == stored == {"a.zip": md5(stays).hexdigest(), "b.zip": late.md5}


OLD, NEW = listed(b"old"), listed(b"new")
LATE = listed(b"late", "b.zip", "2", hour=8)


def while_late_is_fetched(place: Kind, act: Callable[[], object]) -> list[Landed]:
    """Land the newer version of a file, and do this between its publishing and the manifest."""

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        if file is LATE:
            act()
        yield b"late" if file is LATE else b"new"

    return Landing(place.store, fetch, Retry(Event(), attempts=1), workers=1).land({(ZIPS, DAY): [NEW, LATE]})


@pytest.mark.parametrize("landed_before", [False, True])
def test_what_a_task_that_failed_has_put_in_the_place_of_a_file_is_not_named_as_it(
    place, server, landed_before
) -> None:
    """It has the size that was listed, and nobody has written a manifest for it."""
    if isinstance(getattr(place.store, "fs", None), MemoryFileSystem):
        pytest.skip("a store in memory lists neither MD5s nor times by which a change would be seen")
    if landed_before:
        land(place, server, server.has(NEW, b"new"))
    with pytest.raises(PartlyLanded, match=r"something else at .*a\.zip") as caught:
        while_late_is_fetched(place, lambda: place.store.write(f"{FOLDER}/a.zip", b"old"))
    assert caught.value.retryable
    assert land(place, server, server.has(NEW, b"new"), server.has(LATE, b"late")).files == 2
    named, stored = named_and_stored(place)
    assert named == stored == {"a.zip": NEW.md5, "b.zip": LATE.md5}


def test_a_manifest_that_is_written_when_tasks_clash_names_what_is_there(place, server) -> None:
    """Of another file it is known to be right, although this landing ends with an error."""
    if isinstance(place.store, FsspecStore) and not isinstance(place.store, LocalStore):
        pytest.skip("of a store that replaces no object at once, sizes are not believed")
    third = listed(b"3", "c.zip", "3", hour=9)
    old_c = listed(b"2", "c.zip", "3", hour=9)
    server.has(OLD, b"old"), server.has(old_c, b"2")

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        if file is third:
            land(place, server, OLD, old_c)
            place.remove(f"{FOLDER}/a.zip")
        yield b"3" if file is third else b"new"

    landing = Landing(place.store, fetch, Retry(Event(), attempts=1), workers=1)
    with pytest.raises(PartlyLanded, match=r"something else at .*a\.zip"):
        landing.land({(ZIPS, DAY): [NEW, third]})
    named, stored = named_and_stored(place)
    assert named == stored == {"c.zip": third.md5}


def test_what_another_task_has_taken_from_the_manifest_is_not_named_again(place, server) -> None:
    """It found there what it had written itself, and said so by a manifest that is newer than both."""
    land(place, server, server.has(OLD, b"old"))
    before = json.loads(place.objects()[MANIFEST])

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        place.store.write(f"{FOLDER}/a.zip", b"new")
        place.store.write(MANIFEST, json.dumps({**before, "files": []}).encode())
        yield b"late"

    landing = Landing(place.store, fetch, Retry(Event(), attempts=1), workers=1)
    with pytest.raises(PartlyLanded, match=r"something else at .*a\.zip"):
        landing.land({(ZIPS, DAY): [LATE]})
    assert named_and_stored(place)[0] == {}


@pytest.mark.parametrize(("number", "first", "again"), [(0, 3, 2), (1, 4, 2), (3, 6, 2)])
def test_a_partition_costs_s3_few_requests(s3_proxy, new_prefix, server, number, first, again) -> None:
    """A listing, the files, and the manifest after another listing; no content is read."""
    files = [server.has(listed(b"x%d" % n, f"{n}.zip", str(n)), b"x%d" % n) for n in range(number)]
    landing = _landing_by_proxy(new_prefix(), server)
    for requests in (first, again):
        s3_proxy.forget()
        landing.land({(ZIPS, DAY): files})
        assert len(s3_proxy.log) == requests


def test_a_file_that_has_just_landed_is_not_read(tmp_path, server, files) -> None:
    read: list[str] = []

    class Counting(LocalStore):
        def md5(self, key: str) -> str:
            read.append(key)
            return super().md5(key)

    landing = Landing(Counting(str(tmp_path)), server.fetch, Retry(Event()), workers=4)
    landing.land({(ZIPS, DAY): files[:1]})
    landing.land({(ZIPS, DAY): files})
    assert read == []


def test_a_file_that_another_task_has_removed_is_named_by_no_manifest(tmp_path, server) -> None:
    place = Kind(store_at(tmp_path), lambda: tree(tmp_path), lambda key: (tmp_path / key).unlink())

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        if file.name == "b.zip":
            place.remove(f"{FOLDER}/a.zip")
        yield b"x"

    files = [listed(b"x"), listed(b"x", "b.zip", "2", hour=8)]
    landing = Landing(place.store, fetch, Retry(Event()), workers=1)
    with pytest.raises(PartlyLanded, match=r"something else at .*a\.zip") as caught:
        landing.land({(ZIPS, DAY): files})
    assert caught.value.retryable
    assert {*place.objects()} == {f"{FOLDER}/b.zip"}


def test_parts_of_a_partition_that_end_at_the_same_time_are_all_in_the_manifest(place, server) -> None:
    if isinstance(place.store, FsspecStore) and not isinstance(place.store, LocalStore):
        pytest.skip("no lock, and no writing on a condition")
    files = [server.has(listed(b"x", name, name), b"x") for name in "abcdefgh"]
    meeting = Barrier(len(files))

    def fetch(file: RemoteFile) -> Iterator[bytes]:
        meeting.wait(30)
        yield from server.fetch(file)

    landing = Landing(place.store, fetch, Retry(Event(), attempts=20), workers=1)
    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(lambda file: landing.land({(ZIPS, DAY): [file]}), files))
    assert {entry["key"] for entry in json.loads(place.objects()[MANIFEST])["files"]} == {*"abcdefgh"}


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
    _landing_by_proxy(prefix, server).land({(ZIPS, DAY): [file]})
    assert {*s3.objects(prefix)} >= {f"{FOLDER}/a.zip", MANIFEST}
    assert open_store(f"s3://aws_proxy@{BUCKET}/{prefix}").capabilities()[0] is False


def test_a_manifest_whose_etag_is_no_md5_is_replaced_on_a_condition_too(s3, new_prefix) -> None:
    """As after a multipart upload, or with other encryption."""
    store = open_store(f"s3://aws_default@{BUCKET}/{new_prefix()}")
    with store.writing(MANIFEST, 0) as target:
        target.write(bytes(PART_BYTES + 1))
        target.publish()
    before = store.list_below(FOLDER)[FOLDER][MANIFEST_NAME]
    assert (before.md5, before.etag[-2:]) == (None, "-2")
    store.put_if_unchanged(MANIFEST, b"ours", before)
    with pytest.raises(StoreError, match="was written by another task meanwhile"):
        store.put_if_unchanged(MANIFEST, b"too late", before)
    assert store.read(MANIFEST) == b"ours"


def test_what_lands_while_a_changed_file_is_landed_anew_stays_in_the_manifest(
    s3_proxy, s3, new_prefix, server
) -> None:
    """The other landing ends when the manifest has been read and is about to be written."""
    files = [server.has(listed(b"x", name, name), b"x") for name in ("a.zip", "b.zip", "c.zip")]
    prefix = new_prefix()
    direct = Landing(
        open_store(f"s3://aws_default@{BUCKET}/{prefix}"), server.fetch, Retry(Event()), workers=1
    )
    direct.land({(ZIPS, DAY): files[:2]})

    def overtake(line: str) -> None:
        if line.startswith("PUT") and line.endswith(MANIFEST_NAME):
            s3_proxy.before = lambda line: None
            direct.land({(ZIPS, DAY): files})

    s3_proxy.before = overtake
    healing = Landing(
        open_store(f"s3://aws_proxy@{BUCKET}/{prefix}"), server.fetch, Retry(Event()), workers=1
    )
    (landed,) = healing.land({(ZIPS, DAY): files[:2]}, changed={FOLDER: {"a.zip"}})
    assert landed.downloaded == 1
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
        return land_snapshot(store, scope, DAY, lambda: whole(iter([body])), Retry(Event()))

    def overtake(line: str) -> None:
        if line.startswith("PUT") and line.endswith(MANIFEST_NAME):
            s3_proxy.before = lambda line: None
            snapshot("aws_default", second)

    s3_proxy.before = overtake
    assert snapshot("aws_proxy", first).bytes == len(second)
    objects = s3.objects(prefix)
    (entry,) = json.loads(objects[f"{folder}/{MANIFEST_NAME}"])["files"]
    assert objects[f"{folder}/{entry['key']}"] == second
    assert entry["md5"] == md5(second).hexdigest()


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
