"""What the files hold: the same bytes for the same seed, on every machine and for ever.

A *source* is a small hashable recipe; `Source.build` makes the `Body` from it when somebody asks. Neither
:mod:`random` nor a compressor is used, since both may give other bytes in another version of Python or zlib.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Protocol

CHUNK = 256 * 1024
"""Bytes handed to the transport at once, and the length of the block that big bodies repeat."""

MAX_MEMBERS = 200
"""A zip or peak port file is about no more sites than this, so that a world of 10,000 sites stays cheap."""

# From here a member may need zip64 fields, whose size cannot be told without the whole length.
_ZIP64_FROM = 2**31 - 4096

CDR_HEADER = "CONFERENCEID,SITENAME,STARTTIME,ENDTIME,CALLTYPE,MINUTES,AMOUNT\n"
PEAK_PORT_HEADER = "DATE,NAME,SUBSCRIPTIONREFID,PEAKPORT,CONTRACTEDPORT\n"


def digest(*parts: object) -> bytes:
    """32 bytes that depend on the parts alone: the world's only source of chance."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True)
class Body:
    """Any number of bytes in little memory: `head`, `length` bytes of the repeated `block`, `tail`."""

    head: bytes
    block: bytes = b""
    length: int = 0
    tail: bytes = b""

    @property
    def size(self) -> int:
        return len(self.head) + self.length + len(self.tail)

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of at most about CHUNK; a small body is one piece."""
        if self.size <= CHUNK:
            yield b"".join(self._parts())
        else:
            yield from self._parts()

    def _parts(self) -> Iterator[bytes]:
        for start in range(0, len(self.head), CHUNK):
            yield self.head[start : start + CHUNK]
        whole, rest = divmod(self.length, len(self.block)) if self.block else (0, 0)
        for _ in range(whole):
            yield self.block
        if rest:
            yield self.block[:rest]
        if self.tail:
            yield self.tail

    def content(self) -> bytes:
        return b"".join(self.chunks())

    def md5(self) -> str:
        """As hex, as in the listing's ``checksum``."""
        md5 = hashlib.md5(usedforsecurity=False)
        for chunk in self.chunks():
            md5.update(chunk)
        return md5.hexdigest()


class Source(Protocol):
    """A hashable recipe for a body."""

    def build(self) -> Body: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Given:
    """Bytes that a test wrote itself."""

    content: bytes

    def build(self) -> Body:
        return Body(self.content)


@dataclass(frozen=True)
class CdrCsv:
    """The calls of one site on one day; exactly `size` bytes when it is given."""

    seed: int
    site: str
    day: date
    nth: int = 0
    size: int | None = None

    def build(self) -> Body:
        if self.size is not None:
            return _sized_csv(CDR_HEADER + self._row(0), self.seed, self.size)
        count = 3 + digest(self.seed, "calls", self.site, self.day, self.nth)[0] % 20
        return Body((CDR_HEADER + "".join(map(self._row, range(count)))).encode())

    def _row(self, number: int) -> str:
        chance = digest(self.seed, "call", self.site, self.day, self.nth, number)
        start, minutes = chance[0] % 23, 1 + chance[1] % 59
        kind = ("TOLL", "TOLLFREE", "CALLBACK")[chance[2] % 3]
        call = chance[3:9].hex().upper()
        begins = f"{self.day}T{start:02}:00:00Z,{self.day}T{start:02}:{minutes:02}:00Z"
        return f"{call},{_cell(self.site)},{begins},{kind},{minutes},{minutes * 7 / 100:.2f}\n"


@dataclass(frozen=True)
class CdrZip:
    """A real zip file with a CSV for each site, the same as the site's own CDR file of that day (§3.5.7).

    With `size` it is one CSV that fills the zip to exactly that many bytes.
    """

    seed: int
    sites: tuple[str, ...]
    day: date
    nth: int = 0
    size: int | None = None

    def build(self) -> Body:
        if self.size is not None:
            first = CDR_HEADER + f"{self.day},{self.nth},{digest(self.seed, self.day, self.nth).hex()}\n"
            return _sized_zip(f"CCA_SP_CDR_Daily_{self.day:%Y%m%d}.csv", first.encode(), self.seed, self.size)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for number, site in enumerate(self.sites[:MAX_MEMBERS]):
                csv = CdrCsv(self.seed, site, self.day, self.nth).build().content()
                archive.writestr(_member(self._member_name(site, number)), csv)
        return Body(target.getvalue())

    def _member_name(self, site: str, number: int) -> str:
        # Names inside a zip cannot hold every character that a site name can.
        plain = (
            site if site.replace("-", "").replace("_", "").isalnum() and site.isascii() else f"site{number}"
        )
        return f"{plain}_CCA_SP_CDR_Daily_{self.day:%Y%m%d}.csv"


@dataclass(frozen=True)
class PeakPortCsv:
    """Peak ports of one level over one day or month; `period` is ``YYYY-MM-DD`` or ``YYYY-MM``."""

    seed: int
    level: str
    period: str
    names: tuple[str, ...]
    size: int | None = None

    def build(self) -> Body:
        rows = [self._row(name) for name in self.names]
        if self.size is not None:
            return _sized_csv(PEAK_PORT_HEADER + rows[0], self.seed, self.size)
        return Body((PEAK_PORT_HEADER + "".join(rows)).encode())

    def _row(self, name: str) -> str:
        chance = digest(self.seed, "peak", self.level, self.period, name)
        contracted = 10 * (1 + chance[0] % 50)
        return f"{self.period},{_cell(name)},SUB{1000000 + chance[2]},{chance[1]},{contracted}\n"


def _cell(text: str) -> str:
    """A CSV cell, quoted only where it must be."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text


@lru_cache(maxsize=4)
def _filler(seed: int) -> bytes:
    """CHUNK bytes of text in lines of 64."""
    lines = (digest(seed, "filler", number).hex()[:63] + "\n" for number in range(CHUNK // 64))
    return "".join(lines).encode()


def _sized_csv(start: str, seed: int, size: int) -> Body:
    head = start.encode()
    if size <= len(head):
        return Body(head[:size])
    return Body(head, _filler(seed), size - len(head) - 1, b"\n")


def _sized_zip(member: str, first: bytes, seed: int, size: int) -> Body:
    """A zip of exactly `size` bytes, or the smallest there is when that is more."""
    block = _filler(seed)
    before, after = _zip_frame(member, first, block, size if size >= _ZIP64_FROM else 0)
    length = max(size - len(before) - len(after), 0)
    before, after = _zip_frame(member, first, block, length)
    return Body(before, block, length, after)


def _zip_frame(member: str, first: bytes, block: bytes, length: int) -> tuple[bytes, bytes]:
    """What stands before and after the `length` repeated bytes of a zip with one stored member."""
    sink = _Sink()
    archive = zipfile.ZipFile(sink, "w")  # type: ignore[call-overload]
    with archive, archive.open(_member(member), "w", force_zip64=length >= _ZIP64_FROM) as inside:
        inside.write(first)
        sink.skipping = True
        for chunk in Body(b"", block, length)._parts():
            inside.write(chunk)
        sink.skipping, sink.part = False, sink.after
    return bytes(sink.before), bytes(sink.after)


class _Sink:
    """Keeps all that is written but the filler; has no ``tell``, so that zipfile never goes back to patch."""

    def __init__(self) -> None:
        self.before, self.after = bytearray(), bytearray()
        self.part, self.skipping = self.before, False

    def write(self, data: bytes) -> int:
        if not self.skipping:
            self.part += data
        return len(data)

    def flush(self) -> None:
        """Nothing to flush; zipfile asks for it."""


def _member(name: str) -> zipfile.ZipInfo:
    # Stored, not deflated, and with nothing of this machine or this hour in it: the bytes must never change.
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    info.compress_type = zipfile.ZIP_STORED
    return info
