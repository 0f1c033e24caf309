"""The list of all active sites as CSV (§3.7): whether it is whole, and what its rows say. No I/O.

It is `|`-separated, begins with the names of its columns and ends in `Total:N`, the count of its rows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_cca.core.timestamps import parse_stamp
from airflow_provider_cca.errors import TruncatedSnapshot

MAX_LINE_BYTES = 1024 * 1024
_TOTAL = re.compile(rb"(?:\xef\xbb\xbf)?Total:\s*(\d{1,15})\|*", re.I)


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


def whole(chunks: Iterable[bytes]) -> Generator[bytes]:
    """The same chunks; raises TruncatedSnapshot at the end unless they begin with the names of the columns
    and `Total:N` counts the rows.
    """
    count = _RowCount()
    for chunk in chunks:
        count.feed(chunk)
        yield chunk
    count.finish()


def rows(chunks: Iterable[bytes]) -> Iterator[SiteRow]:
    """The rows as typed values, columns found by their names. Whether they are all is for `whole` to say."""
    lines = (line for line in _lines(chunks) if line)
    header = _columns(next(lines, ""))
    for line in lines:
        if _TOTAL.fullmatch(line.encode()):
            return
        cell = dict(zip(header, (value.strip() for value in line.split("|")), strict=False))
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


class _RowCount:
    """Counts lines as chunks go by, keeping no more than the line that is not finished yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines = 0
        self._first = self._last = b""

    def feed(self, chunk: bytes) -> None:
        *done, self._rest = (self._rest + chunk).split(b"\n")
        for line in done:
            self._take(line)
        if len(self._rest) > MAX_LINE_BYTES:
            raise TruncatedSnapshot(f"the site list has a line of more than {MAX_LINE_BYTES} bytes")

    def finish(self) -> None:
        self._take(self._rest)
        total = _TOTAL.fullmatch(self._last)
        rows_seen = max(self._lines - 2, 0)  # without the header and the total
        if not total:
            raise TruncatedSnapshot(
                f"the site list ends after {self._lines} lines without its Total:N, so it was cut: "
                "nothing of it was stored"
            )
        if "SITENAME" not in _columns(self._first.decode("utf-8-sig", errors="replace")):
            raise TruncatedSnapshot(
                "the site list does not begin with the names of its columns: nothing of it was stored"
            )
        if int(total[1]) != rows_seen:
            raise TruncatedSnapshot(
                f"the site list says Total:{int(total[1])} but has {rows_seen} rows: nothing of it was stored"
            )

    def _take(self, line: bytes) -> None:
        if line := line.strip():
            self._lines += 1
            self._first = self._first or line
            self._last = line


def _columns(line: str) -> list[str]:
    return [name.strip().upper() for name in line.split("|")]


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
    rest = ""
    for chunk in chunks:
        *done, rest = (rest + decode(chunk)).split("\n")
        yield from (line.strip("\r ") for line in done)
    yield rest.strip("\r ")
