"""A zip file that is not trusted: what it holds, and each member's bytes. No Airflow, no HTTP, no store.

    archive = Archive(file, "a.zip", Limits())       # judged as a whole, nothing unpacked yet
    for member in archive.members:
        for chunk in gzipped(archive.chunks(member)): ...

Names of members are given as they are written in the archive, and are no paths: see `keys`. Folders are
left out, a zip inside the zip is a member like any other, and links are refused. Stored and deflated
members alone are unpacked: the library's other methods give as much at once as a hostile member wants.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import IO

from airflow_provider_cca.errors import (
    CcaError,
    DamagedArchive,
    HostileArchive,
    InvalidArgument,
    StoreError,
    UnsupportedArchive,
)

MAX_MEMBERS = 20_000
"""Members of one zip; a day has one for each site, and those that were recovered."""

MAX_MEMBER_BYTES = 10 * 1024**3
"""Bytes of one member, unpacked."""

MAX_TOTAL_BYTES = 50 * 1024**3
"""Bytes of all members of one zip, unpacked."""

MAX_RATIO = 200
"""Bytes of a member for each byte that it takes in the zip. CSV has 5 to 20, a bomb about 1,000."""

RATIO_FROM_BYTES = 1024 * 1024
"""Smaller members may have any ratio: they can do no harm."""

DIRECTORY_BYTES = 256
"""Bytes of the zip's table of contents for each member allowed; the whole of it is held in memory."""

CHUNK_BYTES = 256 * 1024
GZIP_LEVEL = 6

_GZIP = 31  # as zlib's wbits: the largest window, in a gzip frame, whose time is 0 and which holds no name
_ENCRYPTED, _PATCHED, _STRONGLY_ENCRYPTED = 0x1, 0x20, 0x40
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ON_UNIX = 3
_HEADER_BYTES = 30  # of a member, before its name
_LENGTHS_AT = 26  # of name and extra


@dataclass(frozen=True)
class Limits:
    """How much a zip may hold; the constants of this module, which are the defaults, say of what."""

    members: int = MAX_MEMBERS
    member_bytes: int = MAX_MEMBER_BYTES
    total_bytes: int = MAX_TOTAL_BYTES
    ratio: int = MAX_RATIO

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidArgument(
                    f"max_{limit.name} is {value!r}: give a whole number from 1", argument=f"max_{limit.name}"
                )

    @property
    def directory_bytes(self) -> int:
        return max(DIRECTORY_BYTES * self.members, 1024 * 1024)


@dataclass(frozen=True)
class Member:
    """One file of a zip.

    :param position: Its place among the zip's files, from 0.
    :param name: As it is written there: it may hold anything, and another member may have the same.
    :param size: Bytes, unpacked.
    """

    position: int
    name: str
    size: int
    _info: zipfile.ZipInfo = field(repr=False, compare=False)


class Archive:
    """A zip whose table of contents keeps within limits.

    Raises HostileArchive when it does not, UnsupportedArchive when a member is encrypted or packed in
    another way than deflate, DamagedArchive when this is no zip.

    :param file: Can be read anywhere, and stays open for as long as chunks are read.
    :param name: For messages.
    """

    def __init__(self, file: IO[bytes], name: str, limits: Limits) -> None:
        self._name, self._limits = name, limits
        with self._translated(""):
            bounded = _Bounded(file, name, limits.directory_bytes)
            self._zip = zipfile.ZipFile(bounded)
        infos = [info for info in self._zip.infolist() if not _is_folder(info)]
        self.members = tuple(Member(n, i.orig_filename, i.file_size, i) for n, i in enumerate(infos))
        self._judge()
        self._judge_layout(bounded)

    def chunks(self, member: Member) -> Generator[bytes]:
        """The member's bytes; raises DamagedArchive, at their end at the latest, unless its CRC is right."""
        received = 0
        with self._translated(member.name), self._zip.open(member._info) as source:
            while chunk := source.read(CHUNK_BYTES):
                received += len(chunk)
                yield chunk
        if received != member.size:
            raise DamagedArchive(
                f"{self._about(member.name)} should have {member.size} bytes but has {received}: "
                "nothing of it was stored"
            )

    def _judge(self) -> None:
        if len(self.members) > self._limits.members:
            self._refuse("", f"has {len(self.members)} members", "members", self._limits.members)
        for member in self.members:
            self._judge_member(member)
        total = sum(member.size for member in self.members)
        if total > self._limits.total_bytes:
            self._refuse("", f"unpacks to {total} bytes", "total_bytes", self._limits.total_bytes)

    def _judge_layout(self, file: _Bounded) -> None:
        """Raise HostileArchive unless each member ends where the next one, or the table of contents, begins.

        Members that share bytes make gigabytes of a small file; not every patch of Python refuses them.
        """
        infos = sorted(self._zip.infolist(), key=lambda info: info.header_offset)
        ends = [*(info.header_offset for info in infos[1:]), self._zip.start_dir]
        with self._translated(""):
            for info, limit in zip(infos, ends, strict=False):
                file.seek(info.header_offset + _LENGTHS_AT)
                names = sum(struct.unpack("<2H", file.read(4)))
                end = info.header_offset + _HEADER_BYTES + names + info.compress_size
                if end > limit:
                    raise HostileArchive(
                        f"{self._about(info.orig_filename)} is said to end at byte {end}, but what follows "
                        f"it in the zip begins at byte {limit}: members share bytes, and nothing was unpacked"
                    )

    def _judge_member(self, member: Member) -> None:
        info, limits, about = member._info, self._limits, self._about(member.name)
        mode = info.external_attr >> 16 if info.create_system == _ON_UNIX else 0
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise HostileArchive(f"{about} is a link, folder or device, and no file: nothing was unpacked")
        if info.flag_bits & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
            raise UnsupportedArchive(f"{about} is encrypted: nothing was unpacked")
        if info.compress_type not in _METHODS or info.flag_bits & _PATCHED:
            raise UnsupportedArchive(
                f"{about} is packed by method {info.compress_type}, and only 0 (stored) and 8 (deflated) "
                "can be unpacked: nothing was"
            )
        if member.size > limits.member_bytes:
            self._refuse(member.name, f"unpacks to {member.size} bytes", "member_bytes", limits.member_bytes)
        if member.size > max(RATIO_FROM_BYTES, info.compress_size * limits.ratio):
            claim = f"unpacks from {info.compress_size} to {member.size} bytes"
            self._refuse(member.name, claim, "ratio", limits.ratio)

    def _refuse(self, member: str, claim: str, limit: str, value: int) -> None:
        raise HostileArchive(
            f"{self._about(member)} {claim}, which is more than max_{limit}={value} allows: nothing was "
            "unpacked",
            limit=limit,
        )

    def _about(self, member: str) -> str:
        return f"{self._name}: member {member[:200]!r}" if member else self._name

    @contextmanager
    def _translated(self, member: str) -> Iterator[None]:
        """The one seam at which errors of the zip library become ours; it raises whatever it comes across."""
        try:
            yield
        except CcaError:
            raise
        except NotImplementedError as error:  # raised by zipfile: a compression or encryption that it lacks
            raise UnsupportedArchive(f"{self._about(member)} cannot be unpacked ({error})") from error
        except Exception as error:
            raise DamagedArchive(
                f"{self._about(member)} is damaged ({type(error).__name__}: {str(error)[:200]!r})"
            ) from error


class _Bounded:
    """The file, of which nobody reads very much at once: the library takes the table of contents whole."""

    def __init__(self, file: IO[bytes], name: str, most: int) -> None:
        self._file, self._name, self._most = file, name, most
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        data = self._read(self._most + 1 if size < 0 else size) if size <= self._most else b""
        if max(size, len(data)) > self._most:
            raise HostileArchive(
                f"{self._name}: its table of contents has more than the {self._most} bytes that "
                "max_members allows: nothing was unpacked",
                limit="members",
            )
        return data

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            # Not for the zip library to see, which would take it for damage.
            raise StoreError(f"{self._name} cannot be read ({error})") from error

    def seekable(self) -> bool:
        return True


def gzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks as one gzip file, always the same with one version of zlib; pieces of it may be empty."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether it is a mere folder; one with content is kept as a file, that nothing gets lost."""
    return info.orig_filename.endswith("/") and not info.file_size
