"""An object store, or a local folder, in which a name appears only when its content is complete.

Plain Python: no Airflow, no HTTP. Writing goes

    with store.writing(key, size) as target:
        target.write(chunk)      # any number of times
        target.publish()         # the one moment at which the key changes

and leaving the block without `publish` leaves the key as it was. How that is held depends on the store:
a hidden sibling and a rename on disks and over SFTP; parts of an upload that nobody sees elsewhere.

Who else writes there is kept apart by conditions: `writing(…, create=True)`, `put_if_unchanged` and `retire`.
What of this the store does in one step, `capabilities` asks it; the rest is looked at first, then done, which
two tasks can do at the same time.

No call is tried again here. A StoreError says that the store failed, after a write also that it is unknown
whether it was done: the caller reads again what is there. DestinationUnusable is not worth another try.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, NamedTuple, Protocol, TypeVar

from airflow_provider_cca.core.checksum import md5_and_size
from airflow_provider_cca.errors import AlreadyExists, CcaError, Changed, DestinationUnusable, StoreError
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.refusals import hint_for, is_absent, is_condition_failed, is_full

log = logging.getLogger(__name__)

T = TypeVar("T")

PART_BYTES = 5 * 1024 * 1024
"""So much of each file is held in memory at a time; the smallest part that S3 takes."""

READ_BYTES = 1024 * 1024

MAX_SMALL_BYTES = 64 * 1024 * 1024
"""What a manifest or a coverage never exceeds: larger ones are not read into memory."""

TEMPORARY_SUFFIX = ".part"


class Capabilities(NamedTuple):
    """What a store does in one step, so that two tasks cannot come between.

    :param create: Write an object that must not be there.
    :param create_in_parts: The same for one that is larger than PART_BYTES.
    :param put_if_unchanged: Replace an object that must be as it was read.
    :param retire: Copy and delete an object that must be as it was listed.
    """

    create: bool
    create_in_parts: bool
    put_if_unchanged: bool
    retire: bool


ALL = Capabilities(create=True, create_in_parts=True, put_if_unchanged=True, retire=True)
NONE = Capabilities(create=False, create_in_parts=False, put_if_unchanged=False, retire=False)

_asked: dict[Hashable, Capabilities] = {}
_asking = Lock()


class Target(Protocol):
    """Where one object is being written."""

    def write(self, chunk: bytes) -> None: ...

    def publish(self) -> ObjectMeta:
        """Make what was written visible under its key, at once and as a whole.

        Returns what listings will say of it, as long as nobody writes over it. Raises AlreadyExists when it
        was to be created and its key is taken.
        """

    def aim(self, key: str, *, create: bool) -> bool:
        """Write the same under another key instead; False when what was sent cannot be moved there."""

    def discard(self) -> None:
        """Forget what was not published. Never raises: something else may have gone wrong already."""


class Store(ABC):
    """A place for objects. Keys are relative to its root, with `/` between folders.

    :param root: Where it is, without scheme and connection; names it in errors.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def path(self, key: str) -> str:
        return f"{self.root}/{key}"

    @abstractmethod
    def list(self, folder: str) -> dict[str, ObjectMeta]:
        """List the objects directly in a folder by name, as they are now; {} when there is no such folder."""

    @abstractmethod
    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        """List all objects below a folder, as they are now: folder, relative to the root -> name -> meta."""

    @abstractmethod
    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object from its beginning to its end, in pieces of at most READ_BYTES."""

    @abstractmethod
    def _target(self, key: str, size: int, create: bool) -> Target:
        """Begin to write an object."""

    @abstractmethod
    def _head(self, key: str) -> ObjectMeta:
        """What is known of an object; raises the store's own error when there is none."""

    @abstractmethod
    def _read(self, key: str) -> tuple[bytes, ObjectMeta]:
        """A small object; raises the store's own error when there is none."""

    @abstractmethod
    def _copy(self, key: str, to: str, meta: ObjectMeta) -> None:
        """Copy an object; raises Changed, or the store's own error, when it is no longer `meta`."""

    @abstractmethod
    def _delete(self, key: str, meta: ObjectMeta) -> None:
        """Delete an object; raises Changed, or the store's own error, when it is no longer `meta`."""

    def _ask(self) -> Capabilities:
        """Ask the store what it does in one step."""
        return NONE

    def _server(self) -> Hashable:
        """What decides about capabilities: destinations with the same are asked once."""
        return (type(self), self.root)

    def capabilities(self) -> Capabilities:
        """Return what this store does in one step; it is asked once a process, when this is first called."""
        with _asking:
            server = self._server()
            if server not in _asked:
                with self.translated("write", ""):
                    _asked[server] = self._ask()
                if lacks := [name for name, can in _asked[server]._asdict().items() if not can]:
                    log.warning(
                        "The store at %s takes no conditions for %s: do not let two tasks write the same "
                        "partition at the same time there",
                        self.root,
                        ", ".join(lacks),
                    )
            return _asked[server]

    @contextmanager
    def writing(self, key: str, size: int, *, create: bool = False) -> Iterator[Target]:
        """Write one object of about `size` bytes; it becomes visible by `publish` alone.

        :param create: It must not be there: else `publish` raises AlreadyExists. Otherwise it is replaced.
        """
        with self.translated("write", key):
            target = self._target(key, size, create)
        try:
            yield target
        finally:
            target.discard()

    def head(self, key: str) -> ObjectMeta | None:
        """Return what is known of an object; None when there is none."""
        return self._unless_absent("look at", key, self._head)

    def get(self, key: str) -> tuple[bytes, ObjectMeta] | None:
        """Return a small object with the meta that conditions take; None when there is none."""
        return self._unless_absent("read", key, self._read)

    def _unless_absent(self, verb: str, key: str, read: Callable[[str], T]) -> T | None:
        with self.translated(verb, key):
            try:
                return read(key)
            except Exception as error:
                if is_absent(error):
                    return None
                raise

    def md5(self, key: str) -> str:
        """Read an object and return its MD5 as 32 hex digits."""
        return md5_and_size(self.chunks(key))[0]

    @contextmanager
    def reading(self, key: str) -> Iterator[IO[bytes]]:
        """Open an object as a file that can be read anywhere and never changes: here a copy of it."""
        with self.translated("read", key):
            file = TemporaryFile(prefix="cca-")  # noqa: SIM115 - closed below
            for chunk in self.chunks(key):
                file.write(chunk)
            file.seek(0)
        with file:
            yield file

    def write(self, key: str, content: bytes, *, create: bool = False) -> ObjectMeta:
        """Write a small object, at once and as a whole."""
        with self.writing(key, len(content), create=create) as target:
            target.write(content)
            return target.publish()

    def put_if_unchanged(self, key: str, content: bytes, before: ObjectMeta | None) -> ObjectMeta:
        """Replace a small object that is still `before`; None: it must not be there.

        Raises Changed when it is another one by now.
        """
        if before is None:
            try:
                return self.write(key, content, create=True)
            except AlreadyExists as error:
                raise self._changed(key) from error
        with self.lock(folder_of(key)):
            self._must_be(key, before)
            return self.write(key, content)

    def retire(self, key: str, to: str, meta: ObjectMeta) -> bool:
        """Move an object out of the way, if it is still the one that was listed as `meta`.

        It is copied to `to`, unless that has this size and MD5 already, and then deleted.

        :param meta: As it was listed; with the MD5 that a manifest states where the listing tells none.
        :return: False when it is another object by now, is gone, or may not be deleted.
        """
        try:
            with self.lock(folder_of(key)):
                if not self._has_copy(to, meta):
                    with self.translated("copy", key):
                        self._copy(key, to, meta)
                with self.translated("delete", key):
                    self._delete(key, meta)
        except Changed:
            return False
        except DestinationUnusable as error:
            if not is_absent(error.__cause__):
                log.warning("The superseded %s stays where it is: %s", self.path(key), error)
            return False
        return True

    def _has_copy(self, key: str, meta: ObjectMeta) -> bool:
        copy = self.head(key)
        if copy is None or meta.md5 is None or copy.size != meta.size:
            return False
        return (copy.md5 or self.md5(key)) == meta.md5

    def _checked_size(self, key: str, size: int) -> int:
        """Return the size of an object that is held in memory; raises DestinationUnusable if too large."""
        if size > MAX_SMALL_BYTES:
            raise DestinationUnusable(
                f"{self.path(key)} has {size:,} bytes, more than the {MAX_SMALL_BYTES:,} that are read: no "
                "landing has written it; move it away"
            )
        return size

    def _must_be(self, key: str, before: ObjectMeta) -> None:
        if not before.is_same(self.head(key)):
            raise self._changed(key)

    def _must_not_exist(self, key: str) -> None:
        if self.head(key) is not None:
            raise self._exists(key)

    def _changed(self, key: str) -> Changed:
        return Changed(f"{self.path(key)} was written by another task meanwhile: it has to be read again")

    def _exists(self, key: str) -> AlreadyExists:
        return AlreadyExists(f"{self.path(key)} exists already, and only a new object was to be written")

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """Keep other tasks from replacing objects of a folder meanwhile; object stores have no locks."""
        return nullcontext()

    def sweep(self, folder: str) -> None:  # noqa: B027 - most have nothing to sweep
        """Remove what killed writers left in a folder. Object stores show no such thing."""

    @contextmanager
    def translated(self, verb: str, key: str) -> Iterator[None]:
        """The one seam at which errors of the store become ours; stores raise what they like."""
        try:
            yield
        except CcaError:
            raise
        except Exception as error:
            if is_condition_failed(error):
                raise self._changed(key) from error
            raise error_of(error, f"cannot {verb} {self.path(key)}") from error

    def read(self, key: str) -> bytes:
        """Return a small object; raises DestinationUnusable when there is none."""
        with self.translated("read", key):
            return self._read(key)[0]


def error_of(error: Exception, sentence: str) -> CcaError:
    """Return what an error of a store or of its client means to us.

    :param sentence: What could not be done, and where.
    """
    name, text = type(error).__name__, " ".join(str(error).split())
    text = (text if name in text else f"{name}: {text}")[:300]  # boto3 names it in its text
    if hint := hint_for(error):
        return DestinationUnusable(f"{sentence} ({text}): {hint}")
    why = (
        "the disk, or what this account may use of it, is full: free space there"
        if is_full(error)
        else "the store failed"
    )
    return StoreError(f"{sentence} ({text}): {why}")


def folder_of(key: str) -> str:
    """Return the folder that a key is in; "" for the root."""
    return key.rpartition("/")[0]


def is_temporary(name: str) -> bool:
    """Return whether a name is that of a file which is being written."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)
