"""A store in memory with the conditions of a good one, and a world in which several tasks share it.

Before each operation `point(op)` is called, and whoever owns the schedule decides there who moves next.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from airflow_provider_cca.errors import AlreadyExists, Changed, DestinationUnusable, StoreError
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import ALL


@dataclass
class Disk:
    """What all tasks share: content by key, each with the number of times that the key was written."""

    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    tells_md5: bool = True

    def put(self, key: str, content: bytes) -> None:
        self.writes[key] += 1
        self.objects[key] = content, self.writes[key]

    def contents(self) -> dict[str, bytes]:
        return {key: content for key, (content, _) in self.objects.items()}

    def meta(self, key: str) -> ObjectMeta:
        content, number = self.objects[key]
        return ObjectMeta(len(content), float(number), md5(content) if self.tells_md5 else None, str(number))


@cache
def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class ScheduledStore:
    """One task's view of the disk.

    :param point: Called with what is about to happen; may raise. What it returns, when it is callable, is
        called after that, and may raise as well: an answer that is lost.
    """

    def __init__(
        self,
        disk: Disk,
        point: Callable[..., Callable[[], None] | None],
        saw: Callable[[object], None] = lambda answer: None,
    ) -> None:
        self.disk, self.point, self.saw = disk, point, saw
        self.honours = {"create", "replace", "retire"}
        """The conditions that it does not ignore."""

    def path(self, key: str) -> str:
        return f"memory/{key}"

    def sweep(self, folder: str) -> None: ...

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        self._at("list", folder)
        names = [key for key in self.disk.objects if key.rpartition("/")[0] == folder]
        found = {key.rpartition("/")[2]: self.disk.meta(key) for key in sorted(names)}
        self.saw(tuple(found.items()))
        return found

    def get(self, key: str) -> tuple[bytes, ObjectMeta] | None:
        self._at("get", key)
        found = (self.disk.objects[key][0], self.disk.meta(key)) if key in self.disk.objects else None
        self.saw(found)
        return found

    def md5(self, key: str) -> str:
        self._at("md5", key)
        self.saw(self.disk.objects.get(key))
        if key not in self.disk.objects:
            raise DestinationUnusable(f"{key} is gone")
        return md5(self.disk.objects[key][0])

    @contextmanager
    def reading(self, key: str) -> Iterator[object]:
        import io

        self._at("read", key)
        self.saw(self.disk.objects.get(key))
        if key not in self.disk.objects:
            raise DestinationUnusable(f"{key} is gone")
        yield io.BytesIO(self.disk.objects[key][0])

    @contextmanager
    def writing(self, key: str, size: int, *, create: bool = False) -> Iterator[_Target]:
        yield _Target(self, key, create)

    def capabilities(self) -> object:
        return ALL

    def put_if_unchanged(self, key: str, content: bytes, before: ObjectMeta | None) -> None:
        lost = self._at("swap", key)
        now = self.disk.meta(key) if key in self.disk.objects else None
        self.saw(now)
        if "replace" in self.honours and (now and now.etag) != (before and before.etag):
            raise Changed(key)
        self.disk.put(key, content)
        lost()

    def retire(self, key: str, to: str, meta: ObjectMeta) -> bool:
        self._at("head", to)
        self.saw(self.disk.objects.get(to))
        if to not in self.disk.objects or md5(self.disk.objects[to][0]) != meta.md5:
            lost = self._at("copy", key)
            self.saw(self.disk.objects.get(key))
            if not self._is(key, meta):
                return False
            self.disk.put(to, self.disk.objects[key][0])
            lost()
        lost = self._at("delete", key)
        self.saw(self.disk.objects.get(key))
        if not self._is(key, meta):
            return False
        del self.disk.objects[key]
        lost()
        return True

    def _is(self, key: str, meta: ObjectMeta) -> bool:
        there = key in self.disk.objects
        return there and ("retire" not in self.honours or self.disk.meta(key).etag == meta.etag)

    def _at(self, *op: str) -> Callable[[], None]:
        return self.point(*op) or (lambda: None)


class _Target:
    def __init__(self, store: ScheduledStore, key: str, create: bool) -> None:
        self.store, self.key, self.create, self.held = store, key, create, b""

    def aim(self, key: str, *, create: bool) -> bool:
        self.key, self.create = key, create
        return True

    def write(self, chunk: bytes) -> None:
        self.held += chunk

    def publish(self) -> ObjectMeta:
        key, create = self.key, self.create
        lost = self.store._at("new" if create else "over", key)
        self.store.saw(key in self.store.disk.objects)
        if create and "create" in self.store.honours and key in self.store.disk.objects:
            raise AlreadyExists(key)
        self.store.disk.put(key, self.held)
        meta = self.store.disk.meta(key)
        lost()
        return meta


def lost_answer() -> None:
    raise StoreError("the answer was lost")
