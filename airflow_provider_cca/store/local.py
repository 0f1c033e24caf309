"""A folder on a local or mounted disk."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.object_meta import StoredObject
from airflow_provider_cca.store.object_store import TEMPORARY_SUFFIX, Target


class LocalStore(FsspecStore):
    """A folder on a local or mounted disk."""

    at_once = True

    def sizes(self, folder: str) -> dict[str, int]:
        with self.translated("list", folder):
            objects, _ = _objects_in(self.path(folder))
        return {name: one.size for name, one in objects.items()}

    def sizes_below(self, folder: str) -> dict[str, dict[str, int]]:
        return {
            inside: {name: one.size for name, one in objects.items()}
            for inside, objects in self.objects_below(folder).items()
        }

    def objects_below(self, folder: str) -> dict[str, dict[str, StoredObject]]:
        found: dict[str, dict[str, StoredObject]] = {}
        to_see = [folder]
        with self.translated("list", folder):
            while to_see:
                folder = to_see.pop()
                objects, folders = _objects_in(self.path(folder))
                to_see += [f"{folder}/{name}" for name in folders]
                if objects:
                    found[folder] = objects
        return found

    def read(self, key: str) -> bytes:
        with self.translated("read", key), open(self.path(key), "rb") as file:  # noqa: PTH123 - twice as fast
            return file.read()

    @contextmanager
    def reading(self, key: str) -> Iterator[IO[bytes]]:
        # The file itself: who lands it anew puts another one in its place.
        with self.translated("read", key):
            file = Path(self.path(key)).open("rb")  # noqa: SIM115 - closed below
        with file:
            yield file

    def sweep(self, folder: str, names: Iterable[str]) -> None:
        for name in names:
            if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
                with suppress(OSError):
                    _remove_if_orphan(Path(self.path(folder), name))

    @contextmanager
    def lock(self, folder: str) -> Iterator[None]:
        with self.translated("write", folder):
            path = Path(self.path(folder))
            path.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def writing(self, key: str, size: int) -> Iterator[Target]:
        with self.translated("write", key):
            target = _Temporary(self, key)
        try:
            yield target
        finally:
            target.discard()


class _Temporary:
    """A hidden sibling of its key, locked while its writer lives, so that orphans can be told."""

    def __init__(self, store: LocalStore, key: str) -> None:
        self._store, self._key = store, key
        self._final = Path(store.path(key))
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._create()
        # Between its creation and its lock another landing may have taken it for an orphan.
        while not os.fstat(self._fd).st_nlink:
            os.close(self._fd)
            self._create()

    def _create(self) -> None:
        self._path = self._final.with_name(f".{self._final.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def write(self, chunk: bytes) -> None:
        with self._store.translated("write", self._key):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def publish(self) -> StoredObject:
        with self._store.translated("write", self._key):
            os.fsync(self._fd)
            self._path.replace(self._final)
            return _facts(os.fstat(self._fd))

    def discard(self) -> None:
        """Forget what was not published. Never raises: something else went wrong already."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._fd)


def _objects_in(folder: str) -> tuple[dict[str, StoredObject], list[str]]:
    """The files in a folder, and its folders; nothing when there is no such folder."""
    objects: dict[str, StoredObject] = {}
    folders: list[str] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                folders.append(entry.name)
            else:
                with suppress(FileNotFoundError):  # replaced or removed by another landing meanwhile
                    objects[entry.name] = _facts(entry.stat())
    return objects, folders


def _facts(of: os.stat_result) -> StoredObject:
    return StoredObject(of.st_size, of.st_mtime, etag=f"{of.st_ino}-{of.st_mtime_ns}")


def _remove_if_orphan(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass  # somebody is writing it
    finally:
        os.close(fd)
