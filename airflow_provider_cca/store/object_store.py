"""An object store, or a local folder, in which a name appears only when its content is whole.

Plain Python: no Airflow, no HTTP. Writing goes

    with store.writing(key, size) as target:
        target.write(chunk)      # any number of times
        target.publish()         # the one moment at which the key changes

and leaving the block without `publish` leaves the key as it was. How that is held depends on the store:
a hidden sibling and a rename locally; parts of an upload that nobody sees on S3 (`s3`); everywhere
else one request at the end, as many stores let unfinished objects be seen.
"""

from __future__ import annotations

import errno
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from airflow_provider_cca.errors import CcaError, DestinationUnusable, StoreError
from airflow_provider_cca.store.object_meta import StoredObject

PART_BYTES = 5 * 1024 * 1024
"""So much of each file is held in memory at a time; the smallest part that S3 takes."""

READ_BYTES = 1024 * 1024

TEMPORARY_SUFFIX = ".part"

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
