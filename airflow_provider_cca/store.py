"""An object store, or a local folder, in which a name appears only when its content is whole.

Plain Python over fsspec: no Airflow, no HTTP. Writing goes

    with store.writing(key, size) as target:
        target.write(chunk)      # any number of times
        target.publish()         # the one moment at which the key changes

and leaving the block without `publish` leaves the key as it was. How that is held depends on the store:
a hidden sibling and a rename locally, one request for small objects, for large ones a multipart upload
(S3) or a file of our own until the object is whole (all others: many let unfinished objects be seen).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Protocol

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cca.errors import CcaError, DestinationUnusable, StoreError

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes; so much of each file is held in memory at a time."""

MAX_PARTS = 9_000
READ_BYTES = 1024 * 1024

_TEMPORARY = ".part"
_HAVE_FOLDERS = {"sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs"}
_NOT_USABLE = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Target(Protocol):
    """Where one object is being written."""

    def write(self, chunk: bytes) -> None: ...

    def publish(self) -> None:
        """Make what was written visible under its key, at once and as a whole."""


class Store:
    """A folder of an fsspec filesystem. Keys are relative to it, with `/` between folders."""

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self.fs = fs
        self.root = root.rstrip("/")

    @staticmethod
    def at(path: Any) -> Store:
        """From anything with `fs` and `path`, such as ObjectStoragePath or UPath, or from a local path."""
        if not hasattr(path, "fs"):
            return LocalStore(LocalFileSystem(), str(Path(path).absolute()))
        kind = LocalStore if isinstance(path.fs, LocalFileSystem) else Store
        return kind(path.fs, path.path)

    def path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def sizes(self, folder: str) -> dict[str, int]:
        """Name -> bytes of the objects in a folder; empty when there is no such folder."""
        with self._translated("list", folder):
            try:
                entries = self.fs.ls(self.path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return {}
        return {e["name"].rsplit("/", 1)[-1]: int(e["size"] or 0) for e in entries if e["type"] == "file"}

    def sizes_below(self, folder: str) -> dict[str, dict[str, int]]:
        """Folder, relative to the destination -> name -> bytes, of all below a folder, by one listing."""
        with self._translated("list", folder):
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

    def read(self, key: str) -> bytes:
        """A small object."""
        with self._translated("read", key):
            return bytes(self.fs.cat_file(self.path(key)))

    def md5(self, key: str) -> str:
        """Read an object and give its MD5 as 32 hex digits."""
        digest = hashlib.md5(usedforsecurity=False)
        with (
            self._translated("read", key),
            self.fs.open(self.path(key), "rb", block_size=PART_BYTES) as source,
        ):
            while chunk := source.read(READ_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def write(self, key: str, content: bytes) -> None:
        """A small object, at once and as a whole."""
        with self.writing(key, len(content)) as target:
            target.write(content)
            target.publish()

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

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left in a folder. Object stores show no such thing."""

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """Keep other landings from writing the folder's manifest meanwhile; object stores have no locks."""
        return nullcontext()

    @contextmanager
    def writing(self, key: str, size: int) -> Iterator[Target]:
        """Write one object of about `size` bytes; it becomes visible by `publish` alone."""
        target = _Upload(self, key, max(PART_BYTES, size // MAX_PARTS))
        try:
            yield target
        finally:
            target.discard()

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
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


class _Upload:
    """An object on its way: in memory while it is small, then in parts that nobody sees."""

    def __init__(self, store: Store, key: str, part_bytes: int) -> None:
        self._store, self._key, self._part_bytes = store, key, part_bytes
        self._held = bytearray()
        self._parts: Any = None

    def write(self, chunk: bytes) -> None:
        if self._parts is not None:
            with self._store._translated("write", self._key):
                self._parts.write(chunk)
            return
        self._held += chunk
        if len(self._held) > self._part_bytes:
            with self._store._translated("write", self._key):
                self._parts = self._open()
                self._parts.write(self._held)
            self._held = bytearray()

    def publish(self) -> None:
        with self._store._translated("write", self._key):
            if self._parts is None:
                held = bytes(self._held)
                self._store.put(self._key, lambda path: self._store.fs.pipe_file(path, held))
            else:
                self._parts.close()
                self._parts.commit()
                self._parts = None

    def discard(self) -> None:
        """Forget what was not published. Never raises: something else went wrong already."""
        if self._parts is not None:
            with suppress(Exception):
                self._parts.discard()
            self._parts = None

    def _open(self) -> Any:
        if "s3" in _protocols(self._store.fs):
            path = self._store.path(self._key)
            return self._store.fs.open(path, "wb", autocommit=False, block_size=self._part_bytes)
        return _Spool(self._store, self._key)


class _Spool:
    """A large object for a store that may show unfinished ones: on a disk of ours until it is whole."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._file = NamedTemporaryFile(prefix="cca-")  # noqa: SIM115 - closed by commit or discard

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def close(self) -> None:
        self._file.flush()

    def commit(self) -> None:
        self._store.put(self._key, lambda path: self._store.fs.put_file(self._file.name, path))
        self._file.close()

    def discard(self) -> None:
        self._file.close()


class LocalStore(Store):
    """A folder on a local or mounted disk."""

    def sizes_below(self, folder: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        with self._translated("list", folder):
            for inside, _, names in os.walk(self.path(folder), onerror=_unless_missing):
                key = os.path.relpath(inside, self.root)
                sizes = {name: size for name in names if (size := _size(Path(inside, name))) is not None}
                if sizes:
                    found[key] = sizes
        return found

    def sweep(self, folder: str) -> None:
        for entry in Path(self.path(folder)).glob(f".*{_TEMPORARY}"):
            with suppress(OSError):
                _remove_if_orphan(entry)

    @contextmanager
    def lock(self, folder: str) -> Iterator[None]:
        with self._translated("write", folder):
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
        with self._translated("write", key):
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
        with self._store._translated("write", self._key):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def publish(self) -> None:
        with self._store._translated("write", self._key):
            os.fsync(self._fd)
            self._path.replace(self._final)

    def discard(self) -> None:
        """Forget what was not published. Never raises: something else went wrong already."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._fd)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _size(path: Path) -> int | None:
    """Bytes of a file; None when another landing has replaced or removed it since it was listed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


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


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help: a read-only disk, or credentials that the store does not take."""
    if isinstance(error, OSError) and error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return True
    return type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "NoSuchBucket"}
