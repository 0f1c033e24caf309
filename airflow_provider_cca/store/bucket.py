"""What the object stores have in common: uploads in parts that nobody sees, and conditions on their requests.

Plain Python: no Airflow. A small object is one request. A larger one goes up in parts while it comes in, and
nothing is under its key before the upload is completed. One thread writes one object at a time; the client is
shared by all. Servers that speak a cloud's protocol may pass over a condition, so each is tried before it is
relied on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol

from airflow_provider_cca.errors import Changed
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import PART_BYTES, READ_BYTES, Capabilities, Store, Target
from airflow_provider_cca.store.refusals import codes_of, is_absent, is_condition_failed

MAX_PARTS = 9_000
"""Fewer than the 10,000 that S3 allows one upload, and the 50,000 of Azure."""

PARTS_OF_A_SIZE = 100
"""After so many parts the next may be twice as large, up to what the object's size calls for."""

PART_UNIT = 256 * 1024
"""Google takes parts of a multiple of this alone."""

PROBE, PROBE_CONTENT = "_capabilities", b"Written to find out which conditions this store obeys.\n"
"""The object on which a store is asked for its capabilities. Its content never changes, so that a store that
passes over a condition does no harm."""

_PROBE_ATTEMPTS = 3
"""Another process may ask at the same time, and write the object between a look and a write of ours."""

_NO_CONDITIONS = {
    *("NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400", "MethodNotAllowed", "405"),
    "ParamValidationError",  # of a boto3 that is older than the condition
}
"""What is answered where conditions are unknown; other servers pass over them."""


class Parts(Protocol):
    """An upload of which nothing is visible until it is complete."""

    def send(self, part: bytes) -> None: ...

    def complete(self, last: bytes) -> ObjectMeta: ...

    def abort(self) -> None: ...


class BucketStore(Store):
    """A prefix of a bucket, or of a container.

    :param root: Bucket and prefix, as in `bucket/some/prefix`.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.bucket, _, prefix = self.root.partition("/")
        self._start = f"{prefix}/" if prefix else ""

    @abstractmethod
    def _objects(self, prefix: str, *, recursive: bool) -> Iterator[tuple[str, ObjectMeta]]:
        """Name in the bucket and meta of the objects whose name begins so."""

    @abstractmethod
    def _open(self, key: str) -> tuple[ObjectMeta, Iterator[bytes]]:
        """What is known of an object, and its content in parts of at most PART_BYTES."""

    @abstractmethod
    def _put(
        self, key: str, content: bytes, *, create: bool = False, before: ObjectMeta | None = None
    ) -> ObjectMeta:
        """Write a small object by one request: unless it is there, or if it is still `before`."""

    @abstractmethod
    def _begin(self, key: str, *, create: bool) -> Parts:
        """Begin an upload in parts, which is refused at its end when `create` and the object is there."""

    @abstractmethod
    def _copy_if(self, key: str, to: str, meta: ObjectMeta, *, conditional: bool) -> None:
        """Copy an object within the bucket; conditional: if it is still `meta`."""

    @abstractmethod
    def _delete_if(self, key: str, meta: ObjectMeta, *, conditional: bool) -> None:
        """Delete an object; conditional: if it is still `meta`."""

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        return self._listed(folder, recursive=False).get(folder, {})

    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        return self._listed(folder, recursive=True)

    def _listed(self, folder: str, *, recursive: bool) -> dict[str, dict[str, ObjectMeta]]:
        found: dict[str, dict[str, ObjectMeta]] = {}
        with self.translated("list", folder):
            prefix = f"{self._start}{folder}/" if folder else self._start
            for full, meta in self._objects(prefix, recursive=recursive):
                inside, _, name = full.removeprefix(self._start).rpartition("/")
                if name:  # a folder that some console made is an object without one
                    found.setdefault(inside, {})[name] = meta
        return found

    def _read(self, key: str) -> tuple[bytes, ObjectMeta]:
        meta, parts = self._open(key)
        self._checked_size(key, meta.size)
        return b"".join(parts), meta

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.translated("read", key):
            for part in self._open(key)[1]:
                for start in range(0, len(part), READ_BYTES):
                    yield part[start : start + READ_BYTES]

    def _target(self, key: str, size: int, create: bool) -> Target:
        return _Upload(self, key, size, create)

    def put_if_unchanged(self, key: str, content: bytes, before: ObjectMeta | None) -> ObjectMeta:
        if before is None or not before.etag or not self.capabilities().put_if_unchanged:
            return super().put_if_unchanged(key, content, before)
        with self.translated("write", key):
            try:
                return self._put(key, content, before=before)
            except Exception as error:
                if is_absent(error):
                    raise self._changed(key) from error
                raise

    def _copy(self, key: str, to: str, meta: ObjectMeta) -> None:
        self._copy_if(key, to, meta, conditional=self._compares(key, meta))

    def _delete(self, key: str, meta: ObjectMeta) -> None:
        self._delete_if(key, meta, conditional=self._compares(key, meta))

    def _compares(self, key: str, meta: ObjectMeta) -> bool:
        """Whether the store itself compares an object with `meta`; if not, that is done here."""
        conditional = self.capabilities().retire
        if not conditional:
            self._must_be(key, meta)
        return conditional

    def _ask(self) -> Capabilities:
        put = partial(self._put, PROBE, PROBE_CONTENT)
        other = _other(self.head(PROBE) or put())
        create = _is_refused(partial(put, create=True))
        unchanged = _is_refused(partial(put, before=other)) and any(
            not _is_refused(partial(put, before=self.head(PROBE))) for _ in range(_PROBE_ATTEMPTS)
        )
        # The delete comes last: where its condition is passed over, the object is gone.
        retire = _is_refused(partial(self._copy_if, PROBE, PROBE, other, conditional=True)) and _is_refused(
            partial(self._delete_if, PROBE, other, conditional=True)
        )
        return Capabilities(create, create and self._creates_in_parts(), create and unchanged, retire)

    def _creates_in_parts(self) -> bool:
        parts = self._begin(PROBE, create=True)
        try:
            return _is_refused(lambda: parts.complete(PROBE_CONTENT))
        finally:
            parts.abort()


class _Upload:
    """An object on its way: in memory while it is small, then in parts that nobody sees."""

    def __init__(self, store: BucketStore, key: str, size: int, create: bool) -> None:
        self._store, self._key, self._only_new = store, key, create
        self._part_bytes = max(PART_BYTES, (size // MAX_PARTS // PART_UNIT + 1) * PART_UNIT)
        self._held: list[bytes] = []
        self._length = 0
        self._parts: Parts | None = None
        self._number = 0

    def write(self, chunk: bytes) -> None:
        self._held.append(chunk)
        self._length += len(chunk)
        # The listing can be wrong about the size: parts are large only after many have come.
        part = min(self._part_bytes, PART_BYTES << self._number // PARTS_OF_A_SIZE)
        if self._length <= part:
            return
        with self._store.translated("write", self._key):
            if self._parts is None:
                can = self._only_new and self._store.capabilities().create_in_parts
                self._parts = self._store._begin(self._key, create=can)
            while self._length > part:
                self._parts.send(self._taken(part))
                self._number += 1

    def _taken(self, size: int) -> bytes:
        """Take so many bytes out of what is held, so that they are in memory once while they are sent."""
        held, self._held = self._held, []
        while (rest := sum(map(len, held)) - size) > 0:
            last = held.pop()
            self._held.insert(0, last[-rest:])
            held.append(last[:-rest])
        self._length -= size
        return b"".join(held)

    def aim(self, key: str, *, create: bool) -> bool:
        self._key, self._only_new = key, create
        return self._parts is None

    def publish(self) -> ObjectMeta:
        store, create = self._store, False
        with store.translated("write", self._key):
            if self._only_new:
                can = store.capabilities()
                create = can.create if self._parts is None else can.create_in_parts
                if not create:
                    store._must_not_exist(self._key)
            try:
                if self._parts is None:
                    return store._put(self._key, b"".join(self._held), create=create)
                meta = self._parts.complete(self._taken(self._length))
            except Exception as error:
                if self._only_new and is_condition_failed(error):
                    raise store._exists(self._key) from error
                raise
            self._parts = None
            return meta

    def discard(self) -> None:
        if self._parts is not None:
            with suppress(Exception):
                self._parts.abort()
            self._parts = None


def _other(meta: ObjectMeta) -> ObjectMeta:
    """An object with an ETag that no object has which has this one."""
    return meta._replace(etag=("1" if meta.etag[:1] == "0" else "0") + meta.etag[1:])


def _is_refused(call: Callable[[], object]) -> bool:
    """Return whether a call is refused for its condition; False when that is passed over, or unknown."""
    try:
        call()
    except Changed:
        return True
    except Exception as error:
        if is_condition_failed(error):
            return True
        if codes_of(error) & _NO_CONDITIONS:
            return False
        raise
    return False
