"""A folder of any fsspec filesystem that has no store of its own here. Plain Python: no Airflow.

Nothing is presumed of it: that a file grows under its name, so that it gets its name by a rename when it is
complete; that it keeps earlier listings; and that it knows no conditions.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from fsspec import AbstractFileSystem

from airflow_provider_cca.store.object_meta import ObjectMeta, from_listing
from airflow_provider_cca.store.object_store import (
    PART_BYTES,
    READ_BYTES,
    TEMPORARY_SUFFIX,
    Store,
    folder_of,
    is_temporary,
)

STALE_SECONDS = 600.0
"""A writer that has written nothing for so long is dead: downloads that stall end within minutes."""


class FsspecStore(Store):
    """A folder of any fsspec filesystem.

    :param root: Its path in the filesystem.
    """

    open_options: Mapping[str, Any] = {"block_size": PART_BYTES}
    """What `open` is told so that it holds little of a file in memory."""

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        super().__init__(root)
        self.fs = fs

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        return {
            name: from_listing(entry)
            for entry in self._entries(folder)
            if entry["type"] == "file" and not is_temporary(name := entry["name"].rsplit("/", 1)[-1])
        }

    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        found: dict[str, dict[str, ObjectMeta]] = {}
        start = len(self.fs._strip_protocol(self.root).rstrip("/")) + 1
        for entry in self._entries(folder, below=True):
            inside, _, name = entry["name"][start:].rpartition("/")
            if entry["type"] == "file" and not is_temporary(name):
                found.setdefault(inside, {})[name] = from_listing(entry)
        return found

    def _entries(self, folder: str, *, below: bool = False) -> Iterable[dict[str, Any]]:
        """What is in a folder, or below it, as it is now: some filesystems answer from earlier listings."""
        with self.translated("list", folder):
            self.fs.invalidate_cache()
            try:
                if below:
                    return [*self.fs.find(self._folder(folder), detail=True, refresh=True).values()]
                return [*self.fs.ls(self._folder(folder), detail=True, refresh=True)]
            except FileNotFoundError:
                return []

    def _folder(self, folder: str) -> str:
        return self.path(folder) if folder else self.root

    def _head(self, key: str) -> ObjectMeta:
        self.fs.invalidate_cache()
        return from_listing(self.fs.info(self.path(key)))

    def _read(self, key: str) -> tuple[bytes, ObjectMeta]:
        meta = self._head(key)
        self._checked_size(key, meta.size)
        return bytes(self.fs.cat_file(self.path(key))), meta

    def chunks(self, key: str) -> Iterator[bytes]:
        with (
            self.translated("read", key),
            self.fs.open(self.path(key), "rb", **self.open_options) as source,
        ):
            while chunk := source.read(READ_BYTES):
                yield chunk

    def _target(self, key: str, size: int, create: bool) -> _Temporary:
        return _Temporary(self, key, create)

    def rename(self, temporary: str, key: str) -> None:
        """Give a complete file the name of its key, in the place of what has it."""
        self.fs.mv(temporary, self.path(key))

    def rename_new(self, temporary: str, key: str) -> None:
        """Give a complete file the name of its key; raises AlreadyExists when it is taken."""
        self._must_not_exist(key)
        self.rename(temporary, key)

    def _copy(self, key: str, to: str, meta: ObjectMeta) -> None:
        self._must_be(key, meta)
        with self.writing(to, meta.size) as target:
            for chunk in self.chunks(key):
                target.write(chunk)
            target.publish()

    def _delete(self, key: str, meta: ObjectMeta) -> None:
        self._must_be(key, meta)
        self.fs.rm_file(self.path(key))

    def sweep(self, folder: str) -> None:
        """Remove the temporary files of writers that were killed, which no listing names."""
        old = [entry for entry in self._entries(folder) if is_temporary(entry["name"].rsplit("/", 1)[-1])]
        if not old:
            return
        with self.translated("write", folder), self.writing(f"{folder}/x", 0) as own:
            now = own.modified() if isinstance(own, _Temporary) else 0.0
        for entry in old:
            if from_listing(entry).modified < now - STALE_SECONDS:
                with suppress(Exception):
                    self.fs.rm_file(entry["name"])


class _Temporary:
    """A hidden sibling of its key, which it is renamed to when it is complete."""

    def __init__(self, store: FsspecStore, key: str, create: bool) -> None:
        self._store, self._key, self._only_new = store, key, create
        folder = store.path(folder_of(key)) if "/" in key else store.root
        store.fs.makedirs(folder, exist_ok=True)
        self._path = f"{folder}/.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self._held = bytearray()
        self._size = 0
        self._there = True
        self._file = store.fs.open(self._path, "wb", **store.open_options)

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        with self._store.translated("write", self._key):
            self._held += chunk
            if len(self._held) >= READ_BYTES:  # some wait for an answer to each
                self._send()

    def aim(self, key: str, *, create: bool) -> bool:
        self._key, self._only_new = key, create
        return True

    def publish(self) -> ObjectMeta:
        store = self._store
        with store.translated("write", self._key):
            (store.rename_new if self._only_new else store.rename)(self.complete(), self._key)
            self._there = False
        return ObjectMeta(self._size, math.inf)  # by a clock that we do not know: no date is later

    def complete(self) -> str:
        """Write the rest of the temporary file and return its path."""
        self._send()
        if not self._file.closed:
            self._file.close()
        return self._path

    def modified(self) -> float:
        """Return the time of the store's own clock, in seconds since 1970."""
        return from_listing(self._store.fs.info(self.complete())).modified

    def _send(self) -> None:
        if self._held:
            self._file.write(bytes(self._held))
            self._held.clear()

    def discard(self) -> None:
        if self._there:
            with suppress(Exception):
                self._file.close()
            with suppress(Exception):
                self._store.fs.rm_file(self._path)
