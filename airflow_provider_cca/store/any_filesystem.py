"""A folder of any fsspec filesystem."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from tempfile import NamedTemporaryFile
from typing import IO

from fsspec import AbstractFileSystem

from airflow_provider_cca.store.object_meta import StoredObject, stored
from airflow_provider_cca.store.object_store import PART_BYTES, READ_BYTES, TEMPORARY_SUFFIX, Store, Target

_HAVE_FOLDERS = {"sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs"}


class FsspecStore(Store):
    """A folder of any fsspec filesystem."""

    at_once = False

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        super().__init__(root)
        self.fs = fs

    def sizes(self, folder: str) -> dict[str, int]:
        with self.translated("list", folder):
            try:
                entries = self.fs.ls(self.path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return {}
        return {e["name"].rsplit("/", 1)[-1]: int(e["size"] or 0) for e in entries if e["type"] == "file"}

    def sizes_below(self, folder: str) -> dict[str, dict[str, int]]:
        with self.translated("list", folder):
            try:
                entries = self.fs.find(self.path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return {}
        found: dict[str, dict[str, int]] = {}
        start = len(self.fs._strip_protocol(self.root).rstrip("/")) + 1
        for path, entry in entries.items():
            inside, _, name = path[start:].rpartition("/")
            found.setdefault(inside, {})[name] = int(entry["size"] or 0)
        return found

    def objects_below(self, folder: str) -> dict[str, dict[str, StoredObject]]:
        with self.translated("list", folder):
            # Some keep earlier listings, with facts by which they would then read another object.
            self.fs.invalidate_cache()
            try:
                entries = self.fs.find(self.path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return {}
        found: dict[str, dict[str, StoredObject]] = {}
        start = len(self.fs._strip_protocol(self.root).rstrip("/")) + 1
        for path, entry in entries.items():
            inside, _, name = path[start:].rpartition("/")
            found.setdefault(inside, {})[name] = stored(entry)
        return found

    def read(self, key: str) -> bytes:
        with self.translated("read", key):
            return bytes(self.fs.cat_file(self.path(key)))

    def chunks(self, key: str) -> Iterator[bytes]:
        with (
            self.translated("read", key),
            self.fs.open(self.path(key), "rb", block_size=PART_BYTES) as source,
        ):
            while chunk := source.read(READ_BYTES):
                yield chunk

    @contextmanager
    def writing(self, key: str, size: int) -> Iterator[Target]:
        target = _Spool(self, key)
        try:
            yield target
        finally:
            target.discard()

    def put(self, key: str, fill: Callable[[str], object]) -> None:
        """Let `fill` write a whole object. Where a file grows under its name, it gets its name when full."""
        path = self.path(key)
        if not _HAVE_FOLDERS & _protocols(self.fs):
            # One request, or an upload that is completed at its end: nothing shows before.
            fill(path)
            return
        folder, _, name = path.rpartition("/")
        self.fs.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        try:
            fill(temporary)
            self.fs.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(temporary)
            raise


class _Spool:
    """An object on its way: in memory while it is small, then on a disk of ours until it is whole."""

    def __init__(self, store: FsspecStore, key: str) -> None:
        self._store, self._key = store, key
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        self._size = 0

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        with self._store.translated("write", self._key):
            if self._file:
                self._file.write(chunk)
                return
            self._held += chunk
            if len(self._held) > PART_BYTES:
                self._file = NamedTemporaryFile(prefix="cca-")  # noqa: SIM115 - closed by discard
                self._file.write(self._held)
                self._held.clear()

    def publish(self) -> StoredObject:
        with self._store.translated("write", self._key):
            fs, file = self._store.fs, self._file
            if file:
                file.flush()
                self._store.put(self._key, lambda path: fs.put_file(file.name, path))
            else:
                self._store.put(self._key, lambda path: fs.pipe_file(path, bytes(self._held)))
        return StoredObject(self._size, math.inf)  # by a clock that we do not know: no date is later

    def discard(self) -> None:
        """Forget what was written. Never raises: something else may have gone wrong already."""
        if self._file:
            with suppress(OSError):
                self._file.close()


def _protocols(fs: AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
