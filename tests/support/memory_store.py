"""A store in memory, with and without conditions. Its state is public, and each call passes a point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from itertools import count
from threading import RLock
from typing import Any

from airflow_provider_cca.errors import Changed
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import ALL, READ_BYTES, Capabilities, Store, Target, folder_of


@dataclass
class Stored:
    content: bytes
    meta: ObjectMeta


@dataclass
class _Target:
    store: MemoryStore
    key: str
    create: bool
    held: bytearray = field(default_factory=bytearray)

    def write(self, chunk: bytes) -> None:
        self.held += chunk

    def aim(self, key: str, *, create: bool) -> bool:
        self.key, self.create = key, create
        return True

    def publish(self) -> ObjectMeta:
        return self.store.put(self.key, bytes(self.held), create=self.create)

    def discard(self) -> None: ...


class MemoryStore(Store):
    """Objects in a dict.

    :param can: What it does in one step; the rest it looks at first, with a point between.
    :param point: Called before and after each operation with its name and key, as in "put a/b.zip"; it may
        block, or raise, which after an operation is an answer that is lost.
    """

    def __init__(self, can: Capabilities = ALL, point: Callable[[str], None] = lambda op: None) -> None:
        super().__init__("memory")
        self.can, self.point = can, point
        self.objects: dict[str, Stored] = {}
        self._lock, self._clock = RLock(), count(1)

    def capabilities(self) -> Capabilities:
        return self.can

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        return self.list_below(folder).get(folder, {})

    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        found: dict[str, dict[str, ObjectMeta]] = {}
        with self._step("list", folder):
            for key, one in self.objects.items():
                if key.startswith(f"{folder}/" if folder else ""):
                    found.setdefault(folder_of(key), {})[key.rpartition("/")[2]] = one.meta
        return found

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.translated("read", key):
            content = self._read(key)[0]
        for start in range(0, len(content), READ_BYTES):
            yield content[start : start + READ_BYTES]

    def _target(self, key: str, size: int, create: bool) -> Target:
        return _Target(self, key, create)

    def put_if_unchanged(self, key: str, content: bytes, before: ObjectMeta | None) -> ObjectMeta:
        if before is None or not self.can.put_if_unchanged:
            return super().put_if_unchanged(key, content, before)
        with self._step("replace", key):
            self._expect(key, before)
            return self._put(key, content)

    def put(self, key: str, content: bytes, *, create: bool = False) -> ObjectMeta:
        if create and not self.can.create:
            self._must_not_exist(key)
        with self._step("create" if create else "put", key):
            if create and self.can.create and key in self.objects:
                raise self._exists(key)
            return self._put(key, content)

    def _put(self, key: str, content: bytes) -> ObjectMeta:
        moment = next(self._clock)
        digest = md5(content, usedforsecurity=False).hexdigest()
        meta = ObjectMeta(len(content), float(moment), digest, str(moment))
        self.objects[key] = Stored(content, meta)
        return meta

    def _head(self, key: str) -> ObjectMeta:
        with self._step("head", key):
            return self._at(key).meta

    def _read(self, key: str) -> tuple[bytes, ObjectMeta]:
        with self._step("get", key):
            one = self._at(key)
            return one.content, one.meta

    def _copy(self, key: str, to: str, meta: ObjectMeta) -> None:
        if not self.can.retire:
            self._must_be(key, meta)
        with self._step("copy", key):
            if self.can.retire:
                self._expect(key, meta)
            self._put(to, self._at(key).content)

    def _delete(self, key: str, meta: ObjectMeta) -> None:
        if not self.can.retire:
            self._must_be(key, meta)
        with self._step("delete", key):
            if self.can.retire:
                self._expect(key, meta)
            del self.objects[key]

    def _at(self, key: str) -> Stored:
        try:
            return self.objects[key]
        except KeyError:
            raise FileNotFoundError(key) from None

    def _expect(self, key: str, before: ObjectMeta) -> None:
        if key not in self.objects or not before.is_same(self.objects[key].meta):
            raise Changed(f"{key} was written by another task meanwhile")

    @contextmanager
    def _step(self, op: str, key: str) -> Iterator[Any]:
        self.point(f"{op} {key}")
        with self._lock:
            yield
        self.point(f"{op} {key} done")
