"""The list of all active sites as CSV (§3.7): whether it is complete, and what its rows say. No I/O.

It is `|`-separated, begins with the names of its columns and ends in `Total:N`, the count of its rows. The
document shows no more than that, so other separators, quotes, encodings and a gzip file are read as well.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.timestamps import parse_stamp
from airflow_provider_cca.errors import TruncatedSnapshot

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 1024 * 1024
MAX_LIST_BYTES = 32 * 1024 * 1024
"""As it comes, and inflated. A site takes 300 bytes."""

_TOTAL = re.compile(r"(?a:total)\s*[:=]?\s*(?a:(\d{1,15}))(\s+[a-z]+)?", re.I)

_SEPARATORS = "|,;\t"

_NOTHING = "nothing of it was stored"


@dataclass(frozen=True)
class SiteRow:
    """One active site. Stamps are UTC, None when empty or malformed; what is missing is ""."""

    site_name: str
    site_url: str
    site_id: str
    site_uuid: str
    subscription_ref_id: str
    subscription_start_time: datetime | None
    subscription_end_time: datetime | None
    last_site_update: datetime | None


def whole(chunks: Iterable[bytes], header_counted: set[int] | None = None) -> Generator[bytes]:
    """Yield the same chunks. Raises TruncatedSnapshot at the end unless the list is complete.

    It is when it begins with the names of its columns and `Total:N` counts its rows. One that counts the
    header as well looks like one that has lost a row; but a loss would not happen twice alike.

    :param header_counted: Keeps the totals, of this client, that were one more than the rows: when the next
        list has the same, the header is taken for counted.
    """
    reader, seen, last = _Records(), 0, ""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_LIST_BYTES:
            raise TruncatedSnapshot(f"the site list has more than {MAX_LIST_BYTES >> 20} MiB: {_NOTHING}")
        for record in reader.feed(chunk):
            seen, last = seen + 1, _joined(record)
        yield chunk
    for record in reader.finish():
        seen, last = seen + 1, _joined(record)
    _check(reader.columns, last, max(seen - 2, 0), set() if header_counted is None else header_counted)


def _check(columns: list[str], last: str, rows_seen: int, header_counted: set[int]) -> None:
    """Raise TruncatedSnapshot unless the last record counts the rows between it and the names of columns."""
    total = _TOTAL.fullmatch(last)
    if not total:
        raise TruncatedSnapshot(
            f"the site list does not end with its Total:N but with {printable(last, 60)!r}, so it was cut: "
            f"{_NOTHING}"
        )
    if "SITENAME" not in columns:
        raise TruncatedSnapshot(
            f"the site list does not begin with the names of its columns: {_NOTHING}",
        )
    count = int(total[1])
    if count == rows_seen + 1 and count in header_counted:
        log.warning("The site list says Total:%d and has %d rows: it counts its header", count, rows_seen)
        return
    if count == rows_seen + 1:
        header_counted.add(count)
    if count != rows_seen:
        raise TruncatedSnapshot(f"the site list says Total:{count} but has {rows_seen} rows: {_NOTHING}")


def rows(chunks: Iterable[bytes]) -> Iterator[SiteRow]:
    """Yield the rows as typed values, columns found by their names. `whole` says whether they are all."""
    reader = _Records()
    for chunk in chunks:
        yield from _typed(reader, reader.feed(chunk))
    yield from _typed(reader, reader.finish())


def _typed(reader: _Records, records: Iterable[list[str]]) -> Iterator[SiteRow]:
    for record in records:
        if record is reader.header or _TOTAL.fullmatch(_joined(record)):
            continue
        cell = dict(zip(reader.columns, (value.strip() for value in record), strict=False))
        yield SiteRow(
            site_name=cell.get("SITENAME", ""),
            site_url=cell.get("SITEURL", ""),
            site_id=cell.get("SITEID", ""),
            site_uuid=cell.get("SITEUUID", ""),
            subscription_ref_id=cell.get("SUBSCRIPTIONREFID", ""),
            subscription_start_time=parse_stamp(cell.get("SUBSCRIPTIONSTARTTIME")),
            subscription_end_time=parse_stamp(cell.get("SUBSCRIPTIONENDTIME")),
            last_site_update=parse_stamp(cell.get("LASTSITEUPDATE")),
        )


class _Records:
    """The records of the list, as its bytes come in; blank ones are left out.

    Keeps no more than the record that is not finished yet.
    """

    def __init__(self) -> None:
        self.header: list[str] | None = None
        self._start = b""
        self._text: io.IncrementalNewlineDecoder | None = None
        self._inflate: zlib._Decompress | None = None
        self._inflated = 0
        self._rest = ""
        self._open = ""

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in upper case."""
        return [name.strip().upper() for name in self.header or ()]

    def feed(self, chunk: bytes, *, final: bool = False) -> Iterator[list[str]]:
        if self._text is None:
            self._start += chunk
            if len(self._start) < 4 and not final:  # so many bytes tell the encoding
                return
            chunk = self._start
            if chunk.startswith(b"\x1f\x8b"):
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        for piece in self._unpacked(chunk):
            self._text = self._text or io.IncrementalNewlineDecoder(_decoder(piece), translate=True)
            yield from self._lines(self._text.decode(piece))
        if final and self._text:
            yield from self._lines(self._text.decode(b"", final=True) + "\n")

    def finish(self) -> Iterator[list[str]]:
        """Yield what is left at the end."""
        yield from self.feed(b"", final=True)
        if self._open:
            raise TruncatedSnapshot(f"the site list ends within a quoted cell, so it was cut: {_NOTHING}")
        if self._inflate and not self._inflate.eof:
            raise TruncatedSnapshot(f"the site list is gzip that breaks off, so it was cut: {_NOTHING}")

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            yield chunk
            return
        while chunk:
            try:
                piece = self._inflate.decompress(chunk, MAX_LINE_BYTES)
            except zlib.error:
                raise TruncatedSnapshot(f"the site list is gzip that is damaged: {_NOTHING}") from None
            self._inflated += len(piece)
            if self._inflated > MAX_LIST_BYTES:
                raise TruncatedSnapshot(f"the site list has more than {MAX_LIST_BYTES >> 20} MiB: {_NOTHING}")
            if piece:
                yield piece
            chunk = self._inflate.unconsumed_tail

    def _lines(self, text: str) -> Iterator[list[str]]:
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) + len(self._open) > MAX_LINE_BYTES:
            raise TruncatedSnapshot(f"the site list has a line of more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            record = self._record(line) if line or self._open else None
            if record and any(cell.strip() for cell in record):
                self.header = record if self.header is None else self.header
                yield record

    def _record(self, line: str) -> list[str] | None:
        """Return the cells of a line; None while a quoted cell goes on in the next one."""
        if self._open:
            line = f"{self._open}\n{line}"
        if self.header is None:
            self._separator = max(_SEPARATORS, key=line.count)
        if '"' not in line:
            return line.split(self._separator)
        try:
            (record,) = csv.reader([line + "\n"], delimiter=self._separator, strict=True)
        except (csv.Error, ValueError):
            # Quotes that are no CSV's, or a cell with a line break in it.
            record = line.split(self._separator)
            if any(cell.lstrip().startswith('"') and cell.count('"') % 2 for cell in record):
                self._open = line
                return None
        self._open = ""
        return record


def _decoder(start: bytes) -> codecs.IncrementalDecoder:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif start[1:2] == b"\0":
        encoding = "utf-16-le"
    else:
        encoding = "utf-16-be" if start[:1] == b"\0" else "utf-8-sig"
    return codecs.getincrementaldecoder(encoding)(errors="replace")


def _joined(record: list[str]) -> str:
    """Return the cells of a record as one text, as `Total:N` is wherever its separators stand."""
    return " ".join(cell.strip() for cell in record if cell.strip())
