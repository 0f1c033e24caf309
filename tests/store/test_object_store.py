"""An object appears under its key by `publish` alone, and then whole; in every kind of store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from errno import EDQUOT, ENOSPC, EPERM
from pathlib import Path
from socket import AF_UNIX, socket
from threading import Barrier

import pytest
from botocore.exceptions import ClientError
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_cca.errors import AlreadyExists, Changed, DestinationUnusable, StoreError
from airflow_provider_cca.integration.destination import open_store
from airflow_provider_cca.store.any_filesystem import STALE_SECONDS, FsspecStore
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import PART_BYTES, Store, error_of
from airflow_provider_cca.store.opening import store_at
from tests.support.memory_store import MemoryStore
from tests.support.s3 import BUCKET
from tests.support.tree import tree

SIZES = [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES]


@pytest.fixture
def memory_fs() -> Iterator[MemoryFileSystem]:
    fs = MemoryFileSystem()
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture(params=["local", "memory", "fsspec", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return store_at(tmp_path)
    if request.param == "memory":
        return MemoryStore()
    if request.param == "fsspec":
        return FsspecStore(request.getfixturevalue("memory_fs"), "/root")
    request.getfixturevalue("s3")
    return open_store(f"s3://aws_default@{BUCKET}/{request.getfixturevalue('new_prefix')()}")


@pytest.mark.parametrize("size", SIZES)
def test_what_is_published_is_whole(store: Store, size: int) -> None:
    with store.writing("a/b.bin", size) as target:
        for start in range(0, size, 1 << 20):
            target.write(b"x" * min(1 << 20, size - start))
            assert store.list("a") == {}
        target.publish()
    assert store.list("a")["b.bin"].size == size
    assert store.read("a/b.bin") == b"x" * size


@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_published_leaves_nothing(store: Store, size: int) -> None:
    with pytest.raises(KeyboardInterrupt), store.writing("a/b.bin", size) as target:
        target.write(b"x" * size)
        raise KeyboardInterrupt
    assert store.list("a") == {}


@pytest.mark.parametrize("size", SIZES)
def test_an_old_object_stays_until_the_new_one_is_published(store: Store, size: int) -> None:
    store.write("a/b.bin", b"old")
    with store.writing("a/b.bin", size) as target:
        target.write(b"x" * size)
        assert store.read("a/b.bin") == b"old"
    assert store.read("a/b.bin") == b"old"


def test_the_md5_of_an_object(store: Store) -> None:
    store.write("a", b"content")
    assert store.md5("a") == "9a0364b9e99bb480dd25e1f0284c8555"


def test_a_folder_that_is_not_there_is_empty(store: Store) -> None:
    assert store.list("nowhere") == {}


def test_a_missing_object_is_an_error_that_says_what_to_check(store: Store) -> None:
    with pytest.raises(DestinationUnusable, match=r"cannot read .*gone"):
        store.read("gone")


def test_errors_of_the_store_become_ours(tmp_path: Path) -> None:
    class Failing(MemoryFileSystem):
        cachable = False

        def open(self, path, mode="rb", **kwargs):
            raise RuntimeError("503 slow down")

    with pytest.raises(StoreError, match="RuntimeError: 503 slow down"):
        FsspecStore(Failing(), "/root").write("a", b"x")


def test_an_object_is_created_only_where_there_is_none(store: Store) -> None:
    meta = store.write("a/b", b"first", create=True)
    with pytest.raises(AlreadyExists, match="a/b exists already"):
        store.write("a/b", b"second", create=True)
    assert store.read("a/b") == b"first"
    assert meta.size == 5
    assert [*store.list("a")] == ["b"]


@pytest.mark.parametrize("size", [1, 2 * PART_BYTES])
def test_of_many_that_create_one_object_at_once_one_succeeds(store: Store, size: int) -> None:
    if not store.capabilities().create_in_parts and size > PART_BYTES:
        pytest.skip("looks first, then writes")
    if not store.capabilities().create:
        pytest.skip("looks first, then writes")
    meeting = Barrier(4)

    def create(number: int) -> int | None:
        with store.writing("a/b", size, create=True) as target:
            target.write(bytes([number]) * size)
            meeting.wait(30)
            try:
                target.publish()
            except AlreadyExists:
                return None
            return number

    with ThreadPoolExecutor(4) as pool:
        (won,) = (number for number in pool.map(create, range(4)) if number is not None)
    assert store.read("a/b") == bytes([won]) * size


def test_what_finds_its_key_taken_goes_to_another_one_with_the_same_bytes(store: Store) -> None:
    store.write("a/b", b"first")
    with store.writing("a/b", 6, create=True) as target:
        target.write(b"second")
        with pytest.raises(AlreadyExists):
            target.publish()
        assert target.aim("a/c", create=True)
        target.publish()
    assert (store.read("a/b"), store.read("a/c")) == (b"first", b"second")
    assert {*store.list("a")} == {"b", "c"}


def test_an_object_is_replaced_only_while_it_is_what_was_read(store: Store) -> None:
    first = store.put_if_unchanged("one", b"first", None)
    content, read = store.get("one") or (None, None)
    assert content == b"first"
    assert store.list("")["one"].is_same(read)
    second = store.put_if_unchanged("one", b"second", read)
    for before in (first, read, None):
        with pytest.raises(Changed, match="was written by another task"):
            store.put_if_unchanged("one", b"third", before)
    assert second.size == len(store.read("one")) == 6


def test_of_many_that_replace_one_object_at_once_one_succeeds(store: Store) -> None:
    if not store.capabilities().put_if_unchanged:
        pytest.skip("looks first, then writes")
    store.write("one", b"before")
    _, before = store.get("one") or (b"", None)
    meeting = Barrier(4)

    def replace(number: int) -> int | None:
        meeting.wait(30)
        try:
            store.put_if_unchanged("one", b"%d" % number, before)
        except Changed:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        (won,) = (number for number in pool.map(replace, range(4)) if number is not None)
    assert store.read("one") == b"%d" % won


def test_what_is_gone_is_not_replaced(store: Store) -> None:
    store.write("a/one", b"first")
    _, before = store.get("a/one") or (b"", None)
    assert store.retire("a/one", "b/one", store.list("a")["one"])
    with pytest.raises(Changed):
        store.put_if_unchanged("a/one", b"second", before)
    assert store.get("a/one") is None


@pytest.mark.parametrize("size", [0, 7, 2 * PART_BYTES])
def test_a_retired_object_is_at_its_new_key_alone(store: Store, size: int) -> None:
    store.write("a/one", b"x" * size)
    assert store.retire("a/one", "a/_old/one", store.list("a")["one"])
    assert (store.list("a"), store.get("a/one")) == ({}, None)
    assert store.read("a/_old/one") == b"x" * size


def test_what_was_written_since_it_was_listed_is_not_retired(store: Store) -> None:
    store.write("a/one", b"first")
    listed = store.list("a")["one"]
    store.write("a/one", b"second")
    assert not store.retire("a/one", "a/_old/one", listed)
    assert store.read("a/one") == b"second"
    assert not store.retire("a/gone", "a/_old/gone", listed)


def test_a_copy_that_is_there_already_is_not_copied_again(store: Store) -> None:
    for key in ("a/one", "a/_old/one"):
        store.write(key, b"content")
    listed = store.list("a")["one"]._replace(md5="9a0364b9e99bb480dd25e1f0284c8555")
    copy = store.list("a/_old")["one"]
    assert store.retire("a/one", "a/_old/one", listed)
    assert store.list_below("a") == {"a/_old": {"one": copy}}


def test_a_listing_is_fresh(store: Store) -> None:
    assert store.list("a") == store.list_below("a") == {}
    store.write("a/b", b"1")
    assert [*store.list("a")] == ["b"]
    store.write("a/b", b"12")
    store.write("a/c/d", b"1")
    assert store.list("a")["b"].size == store.list_below("a")["a"]["b"].size == 2
    assert {*store.list_below("a")} == {"a", "a/c"}


def test_a_local_object_takes_the_permissions_of_its_user(tmp_path: Path) -> None:
    store_at(tmp_path).write("a", b"x")
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_local_files_get_the_modes_that_the_umask_allows(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store_at(tmp_path).write("a/b", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o777 & ~umask


def test_an_object_that_is_too_large_for_a_manifest_is_not_read(store: Store, monkeypatch) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("it is a store of the tests")
    store.write("big", b"12345")
    monkeypatch.setattr("airflow_provider_cca.store.object_store.MAX_SMALL_BYTES", 4)
    with pytest.raises(DestinationUnusable, match="big has 5 bytes, more than the 4 that are read"):
        store.get("big")


def test_a_local_destination_is_made_only_in_a_folder_that_is_there(tmp_path: Path) -> None:
    store_at(tmp_path / "new").write("a/b", b"x")
    with pytest.raises(DestinationUnusable, match=r"no/such does not exist, nor does .*no: check"):
        store_at(tmp_path / "no/such").write("a/b", b"x")
    assert tree(tmp_path) == {"new/a/b": b"x"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: socket(AF_UNIX).bind(path)], ids=["fifo", "socket"])
def test_what_is_no_regular_file_hangs_nothing(
    tmp_path: Path, make: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    store = store_at(tmp_path)
    store.write("there", b"x")
    for name in ("odd", ".odd.part"):
        make(name)
    assert [*store.list("")] == ["there"]
    assert [*store.list_below("")] == [""]
    store.sweep("")
    for read in (store.get, store.head, store.md5, store.read, lambda key: [*store.chunks(key)]):
        with pytest.raises(DestinationUnusable, match=r"odd is a (FIFO|socket), where a file should be"):
            read("odd")
    with pytest.raises(AlreadyExists):
        store.write("odd", b"x", create=True)
    with pytest.raises(DestinationUnusable), store.reading("odd"):
        pass


@pytest.mark.parametrize("code", [ENOSPC, EDQUOT])
def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fsync(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match=r"a/b .*: the disk, .* is full: free space there"):
        store_at(tmp_path).write("a/b", b"content", create=True)


def test_where_a_disk_has_no_links_an_object_is_still_created_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object) -> None:
        raise OSError(EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    store = store_at(tmp_path)
    store.write("a/b", b"first", create=True)
    with pytest.raises(AlreadyExists):
        store.write("a/b", b"second", create=True)
    assert store.retire("a/b", "a/_old/b", store.list("a")["b"])
    assert tree(tmp_path) == {"a/_old/b": b"first"}
    assert all(store.capabilities())


def test_a_name_is_on_the_disk_when_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut takes names whose folder was not synced since."""
    synced: list[tuple[str, bool]] = []

    def fsync(fd: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{fd}").readlink()), (tmp_path / "a/b").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    store_at(tmp_path).write("a/b", b"x")
    assert synced[0] == (str(tmp_path), False)  # the name of the new folder
    assert synced[-1] == (str(tmp_path / "a"), True)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\ud800x"], ids=["NUL", "long", "surrogate"])
def test_a_name_that_no_object_can_have_is_not_tried_again(tmp_path: Path, name: str) -> None:
    for call in (
        store_at(tmp_path).get,
        store_at(tmp_path).read,
        lambda key: store_at(tmp_path).write(key, b""),
    ):
        with pytest.raises(DestinationUnusable):
            call(name)


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    store_at(tmp_path).write("x" * 255, b"x")
    assert tree(tmp_path) == {"x" * 255: b"x"}


def test_what_killed_writers_left_is_swept_and_what_is_being_written_is_not(
    memory_fs: MemoryFileSystem,
) -> None:
    store = FsspecStore(memory_fs, "/root")
    store.write("a/b", b"x")
    for name in ("old", "new"):
        memory_fs.pipe_file(f"/root/a/.{name}.part", b"half")
    memory_fs.store["/root/a/.old.part"].created -= timedelta(seconds=STALE_SECONDS + 1)
    assert [*store.list("a")] == [*store.list_below("a")["a"]] == ["b"]
    store.sweep("a")
    assert {*memory_fs.store} == {"/root/a/b", "/root/a/.new.part"}


def test_a_path_without_a_scheme_is_local(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    store.write("a", b"x")
    assert isinstance(store, LocalStore)
    assert tree(tmp_path) == {"a": b"x"}


def test_an_error_of_a_client_is_named_once() -> None:
    missing = ClientError({"Error": {"Code": "NoSuchBucket", "Message": "no such bucket"}}, "GetObject")
    assert str(error_of(missing, "cannot read x")).count("ClientError") == 1
    named = type("NoSuchBucket", (ClientError,), {})(missing.response, "GetObject")
    assert str(error_of(named, "cannot read x")).count("NoSuchBucket") == 1
