"""An object appears under its key by `publish` alone, and then whole; in every kind of store."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_cca.errors import DestinationUnusable, StoreError
from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import PART_BYTES, Store
from airflow_provider_cca.store.opening import store_at
from tests.support.tree import tree

SIZES = [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return store_at(tmp_path)
    fs = MemoryFileSystem()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return FsspecStore(fs, "/root")


@pytest.mark.parametrize("size", SIZES)
def test_what_is_published_is_whole(store: Store, size: int) -> None:
    with store.writing("a/b.bin", size) as target:
        for start in range(0, size, 1 << 20):
            target.write(b"x" * min(1 << 20, size - start))
            assert store.sizes("a").get("b.bin") is None
        target.publish()
    assert store.sizes("a") == {"b.bin": size}
    assert store.read("a/b.bin") == b"x" * size


@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_published_leaves_nothing(store: Store, size: int) -> None:
    with pytest.raises(KeyboardInterrupt), store.writing("a/b.bin", size) as target:
        target.write(b"x" * size)
        raise KeyboardInterrupt
    assert store.sizes("a") == {}


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
    assert store.sizes("nowhere") == {}


def test_a_missing_object_is_an_error_that_says_what_to_check(store: Store) -> None:
    with pytest.raises(DestinationUnusable, match=r"cannot read .*gone"):
        store.read("gone")


def test_errors_of_the_store_become_ours(tmp_path: Path) -> None:
    class Failing(MemoryFileSystem):
        cachable = False

        def pipe_file(self, path, value, mode="overwrite", **kwargs):
            raise RuntimeError("503 slow down")

    with pytest.raises(StoreError, match="RuntimeError: 503 slow down"):
        FsspecStore(Failing(), "/root").write("a", b"x")


def test_where_files_grow_under_their_names_they_are_renamed_when_full(tmp_path: Path) -> None:
    class Sftp(LocalFileSystem):
        protocol = "sftp"
        cachable = False
        seen: ClassVar[list[str]] = []

        def pipe_file(self, path, value, mode="overwrite", **kwargs):
            self.seen.append(path)
            super().pipe_file(path, value, mode, **kwargs)

    store = FsspecStore(Sftp(), str(tmp_path))
    store.write("a/b.bin", b"x")
    assert tree(tmp_path) == {"a/b.bin": b"x"}
    assert [Path(path).name.startswith(".b.bin.") for path in Sftp.seen] == [True]


def test_a_local_object_takes_the_permissions_of_its_user(tmp_path: Path) -> None:
    store_at(tmp_path).write("a", b"x")
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode


def test_a_path_without_a_scheme_is_local(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    store.write("a", b"x")
    assert isinstance(store, LocalStore)
    assert tree(tmp_path) == {"a": b"x"}
