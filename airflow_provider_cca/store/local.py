"""A folder on a local or mounted disk. Plain Python: no Airflow.

What is no regular file, such as a FIFO or a device, is not listed, and refused where it has the name of an
object: opening one can block.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from airflow_provider_cca.errors import DestinationUnusable
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import (
    READ_BYTES,
    TEMPORARY_SUFFIX,
    Capabilities,
    Store,
    folder_of,
    is_temporary,
)

_NOT_SUPPORTED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class LocalStore(Store):
    """A folder on a local or mounted disk.

    :param root: An absolute path.
    """

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        with self.translated("list", folder):
            return _objects_in(self.path(folder))[0]

    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        found: dict[str, dict[str, ObjectMeta]] = {}
        to_see = [folder]
        with self.translated("list", folder):
            while to_see:
                folder = to_see.pop()
                objects, folders = _objects_in(self.path(folder))
                to_see += [f"{folder}/{name}" if folder else name for name in folders]
                if objects:
                    found[folder] = objects
        return found

    def _head(self, key: str) -> ObjectMeta:
        return _meta(_regular(self.path(key), os.stat(self.path(key))))  # noqa: PTH116 - twice as fast

    def _read(self, key: str) -> tuple[bytes, ObjectMeta]:
        with _opened(self.path(key)) as file:
            meta = _meta(os.fstat(file.fileno()))
            return file.read(self._checked_size(key, meta.size)), meta

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.translated("read", key), _opened(self.path(key)) as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    @contextmanager
    def reading(self, key: str) -> Iterator[IO[bytes]]:
        # The file itself: who lands it anew puts another one in its place.
        with self.translated("read", key):
            file = _opened(self.path(key))
        with file:
            yield file

    def _target(self, key: str, size: int, create: bool) -> _Temporary:
        return _Temporary(self, key, create)

    def _copy(self, key: str, to: str, meta: ObjectMeta) -> None:
        """Under its second name it is the same file, which deleting the first one leaves there."""
        self._must_be(key, meta)
        final = Path(self.path(to))
        self.make_folder(final.parent)
        try:
            os.link(self.path(key), final)
        except OSError as error:
            if error.errno not in {*_NOT_SUPPORTED, errno.EEXIST}:
                raise
            with self.writing(to, meta.size) as target:
                for chunk in self.chunks(key):
                    target.write(chunk)
                target.publish()
        _sync(final.parent)

    def _delete(self, key: str, meta: ObjectMeta) -> None:
        self._must_be(key, meta)
        path = Path(self.path(key))
        path.unlink()
        _sync(path.parent)

    def _ask(self) -> Capabilities:
        """A disk that knows neither links nor locks leaves nothing to hold two tasks apart."""
        root = Path(self.root)
        self.make_folder(root)
        with self.writing(".capabilities", 0) as target:
            links = isinstance(target, _Temporary) and target.can_be_linked()
        fd = os.open(root, os.O_RDONLY)
        try:
            locks = _lock(fd)
        finally:
            os.close(fd)
        return Capabilities(links or locks, links or locks, locks, locks)

    def make_folder(self, folder: Path) -> None:
        """Make a folder so that it survives a power cut.

        Raises DestinationUnusable when not even the parent of the destination is there: it may be mistyped.
        """
        if folder.is_dir():
            return
        root = Path(self.root)
        if folder == root and not folder.parent.is_dir():
            raise DestinationUnusable(
                f"the folder {self.root} does not exist, nor does {root.parent}: check the destination, or "
                "make the folder"
            )
        if folder != root:
            self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left in a folder. It is no object, so that no listing names it."""
        path = self.path(folder)
        with suppress(OSError), os.scandir(path) as entries:
            found = [entry.name for entry in entries]
            for name in found:
                if is_temporary(name):
                    with suppress(OSError):
                        _remove_if_orphan(Path(path, name))

    @contextmanager
    def lock(self, folder: str) -> Iterator[None]:
        with self.translated("write", folder):
            path = Path(self.path(folder))
            self.make_folder(path)
            fd = os.open(path, os.O_RDONLY)
        try:
            _lock(fd)
            yield
        finally:
            os.close(fd)


class _Temporary:
    """A hidden sibling of its key, locked while its writer lives, so that orphans can be told."""

    def __init__(self, store: LocalStore, key: str, create: bool) -> None:
        self._store, self._key, self._only_new = store, key, create
        self._final = Path(store.path(key))
        store.make_folder(self._final.parent)
        self._create()
        # Between its creation and its lock another landing may have taken it for an orphan.
        while not os.fstat(self._fd).st_nlink:
            os.close(self._fd)
            self._create()

    def _create(self) -> None:
        # Short: the name of the object may be as long as names can be.
        self._path = self._final.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(self._fd)

    def aim(self, key: str, *, create: bool) -> bool:
        self._key, self._only_new, self._final = key, create, Path(self._store.path(key))
        return True

    def write(self, chunk: bytes) -> None:
        with self._store.translated("write", self._key):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def publish(self) -> ObjectMeta:
        with self._store.translated("write", self._key):
            os.fsync(self._fd)
            if self._only_new:
                self._publish_new()
            else:
                self._path.replace(self._final)
            _sync(self._final.parent)  # else a power cut may take the name, which we have said is there
            return _meta(os.fstat(self._fd))

    def _publish_new(self) -> None:
        try:
            os.link(self._path, self._final)
        except FileExistsError as error:
            raise self._store._exists(self._key) from error
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            with self._store.lock(folder_of(self._key)):
                if os.path.lexists(self._final):
                    raise self._store._exists(self._key) from error
                self._path.replace(self._final)

    def can_be_linked(self) -> bool:
        """Return whether this disk gives a file a second name."""
        second = self._path.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        try:
            os.link(self._path, second)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            return False
        second.unlink()
        return True

    def discard(self) -> None:
        with suppress(OSError):
            self._path.unlink()
        os.close(self._fd)


def _objects_in(folder: str) -> tuple[dict[str, ObjectMeta], list[str]]:
    """The regular files in a folder, without what is being written, and its folders; nothing when there is no
    such folder."""
    objects: dict[str, ObjectMeta] = {}
    folders: list[str] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and _leads_nowhere(entry.path):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file() and not is_temporary(entry.name):
                with suppress(FileNotFoundError):  # replaced or removed by another landing meanwhile
                    objects[entry.name] = _meta(entry.stat())
    return objects, folders


def _leads_nowhere(link: str) -> bool:
    """Return whether a symbolic link leads to nothing, to itself, or to a folder that it lies in."""
    target = os.path.realpath(link)
    return not os.path.exists(link) or f"{os.path.realpath(os.path.dirname(link))}/".startswith(f"{target}/")  # noqa: PTH110, PTH120


def _opened(path: str) -> IO[bytes]:
    """Open a regular file for reading; refuses anything else, without waiting for its writer."""
    _regular(path, os.stat(path))  # noqa: PTH116
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # it may be another one by now
    try:
        _regular(path, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return os.fdopen(fd, "rb")


def _regular(path: str, found: os.stat_result) -> os.stat_result:
    """Return what is known of a file; raises DestinationUnusable for a folder or a special file."""
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        raise DestinationUnusable(f"{path} is {kind}, where a file should be: move it away")
    return found


def _meta(found: os.stat_result) -> ObjectMeta:
    etag = f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
    return ObjectMeta(found.st_size, found.st_mtime, etag=etag)


def _lock(fd: int) -> bool:
    """Wait for the lock on an open file or folder; False where the disk knows no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:  # mounted ones that cannot
            raise
    finally:
        os.close(fd)


def _remove_if_orphan(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass  # somebody is writing it
    finally:
        os.close(fd)
