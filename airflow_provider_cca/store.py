"""An object store, or a local folder, in which a name appears only when its content is whole.

Plain Python: no Airflow, no HTTP. Writing goes

    with store.writing(key, size) as target:
        target.write(chunk)      # any number of times
        target.publish()         # the one moment at which the key changes

and leaving the block without `publish` leaves the key as it was. How that is held depends on the store:
a hidden sibling and a rename locally; parts of an upload that nobody sees on S3 (`s3_store`); everywhere
else one request at the end, as many stores let unfinished objects be seen.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import math
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, Any, Protocol

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cca.entries import StoredObject, stored
from airflow_provider_cca.errors import CcaError, DestinationUnusable, StoreError

PART_BYTES = 5 * 1024 * 1024
"""So much of each file is held in memory at a time; the smallest part that S3 takes."""

READ_BYTES = 1024 * 1024

_TEMPORARY = ".part"
_HAVE_FOLDERS = {"sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs"}
_FINAL = {
    *("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ParamValidationError"),
    *("NoSuchBucket", "NoSuchKey", "AccessDenied", "AllAccessDisabled", "InvalidBucketName"),
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "MethodNotAllowed"),
}
"""Classes and codes of S3's errors that no repetition cures."""

_NOT_USABLE = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Target(Protocol):
    """Where one object is being written."""

    def write(self, chunk: bytes) -> None: ...

    def publish(self) -> StoredObject:
        """Make what was written visible under its key, at once and as a whole.

        Returns what listings will say of it, as long as nobody writes over it.
        """


class Store(ABC):
    """A place for objects. Keys are relative to its root, with `/` between folders.

    :param root: Where it is, without scheme and connection; names it in errors.
    """

    at_once = True
    """Whether an object takes the place of another at once. Elsewhere a listing may show part of its size."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    @staticmethod
    def at(path: Any) -> Store:
        """From anything with `fs` and `path`, such as ObjectStoragePath or UPath, or from a local path."""
        if not hasattr(path, "fs"):
            return LocalStore(LocalFileSystem(), str(Path(path).absolute()))
        kind = LocalStore if isinstance(path.fs, LocalFileSystem) else FsspecStore
        return kind(path.fs, path.path)

    def path(self, key: str) -> str:
        return f"{self.root}/{key}"

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Name -> bytes of the objects in a folder; empty when there is no such folder."""

    @abstractmethod
    def sizes_below(self, folder: str) -> dict[str, dict[str, int]]:
        """Folder, relative to the destination -> name -> bytes, of all below a folder, by one listing."""

    @abstractmethod
    def objects_below(self, folder: str) -> dict[str, dict[str, StoredObject]]:
        """The same, with all that the listing tells of each object."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """A small object."""

    def present(self, key: str) -> tuple[bytes, StoredObject] | None:
        """A small object, with what `replace` tells it by; None when there is none."""
        try:
            content = self.read(key)
        except DestinationUnusable as error:
            if is_absent(error.__cause__):
                return None
            raise
        return content, StoredObject(len(content))

    @abstractmethod
    def chunks(self, key: str) -> Iterator[bytes]:
        """An object from its beginning to its end, in pieces of at most READ_BYTES."""

    def md5(self, key: str) -> str:
        """Read an object and give its MD5 as 32 hex digits."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.chunks(key):
            digest.update(chunk)
        return digest.hexdigest()

    @contextmanager
    def reading(self, key: str) -> Iterator[IO[bytes]]:
        """An object as a file that can be read anywhere and never changes: here a copy on a disk of ours."""
        with self.translated("read", key):
            file = TemporaryFile(prefix="cca-")  # noqa: SIM115 - closed below
            for chunk in self.chunks(key):
                file.write(chunk)
            file.seek(0)
        with file:
            yield file

    @abstractmethod
    def writing(self, key: str, size: int) -> AbstractContextManager[Target]:
        """Write one object of about `size` bytes; it becomes visible by `publish` alone."""

    def write(self, key: str, content: bytes) -> None:
        """A small object, at once and as a whole."""
        with self.writing(key, len(content)) as target:
            target.write(content)
            target.publish()

    def replace(self, key: str, content: bytes, before: StoredObject | None) -> None:
        """Write a small object that was `before`, or was not there.

        Raises StoreError when somebody else has written it since, where the store can tell.
        """
        self.write(key, content)

    def sweep(self, folder: str, names: Iterable[str]) -> None:  # noqa: B027 - most have nothing to sweep
        """Remove what killed writers left among the names in a folder. Object stores show no such thing."""

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """Keep other landings from writing the folder's manifest meanwhile; object stores have no locks."""
        return nullcontext()

    @contextmanager
    def translated(self, verb: str, key: str) -> Iterator[None]:
        """The one seam at which errors of the store become ours; stores raise what they like."""
        try:
            yield
        except CcaError:
            raise
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            where = f"cannot {verb} {self.path(key)} ({text[:300]})"
            if isinstance(error, _NOT_USABLE) or _is_final(error):
                raise DestinationUnusable(
                    f"{where}: check that the destination exists and that this worker may write there"
                ) from error
            raise StoreError(f"{where}: the store failed") from error


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
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}{_TEMPORARY}"
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
            if name.startswith(".") and name.endswith(_TEMPORARY):
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
        self._path = self._final.with_name(f".{self._final.name}.{secrets.token_hex(4)}{_TEMPORARY}")
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


def _protocols(fs: AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def is_absent(cause: BaseException | None) -> bool:
    """Whether the store answered that there is no such object."""
    return isinstance(cause, FileNotFoundError) or _code(cause) == "NoSuchKey"


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help: a read-only disk, or credentials that the store does not take."""
    if isinstance(error, OSError) and error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return True
    return bool({type(error).__name__, _code(error)} & _FINAL)


def _code(error: BaseException | None) -> Any:
    """What S3 called the error."""
    answer = getattr(error, "response", None)  # of boto3
    return answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
