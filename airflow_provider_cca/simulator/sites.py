"""The sites of the world, and the site list (§3.7)."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from airflow_provider_cca.simulator.bodies import digest
from airflow_provider_cca.simulator.stamps import short_stamp, stamp

ODD_SITES = ("north/south", "two words", "100% büro", "東京", "a+b&c=d?#", "..%2Fup")
"""Names that only survive a URL when they are percent-encoded."""

COLUMNS = (
    "SITENAME",
    "SITEURL",
    "SITEID",
    "SITEUUID",
    "SUBSCRIPTIONREFID",
    "SUBSCRIPTIONSTARTTIME",
    "SUBSCRIPTIONENDTIME",
    "LASTSITEUPDATE",
)


def plain_sites(count: int) -> list[str]:
    """``meridian0001`` and so on: as many as wanted, cheaply."""
    return [f"meridian{number:04}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class Site:
    """One row of the site list; the times are midnights, UTC."""

    name: str
    id: int
    uuid: str
    subscription: str
    starts: datetime
    ends: datetime
    updated: datetime

    def cells(self) -> list[str]:
        """Its row."""
        # The start comes without its leading zero, as the document prints it in both of its rows.
        times = short_stamp(self.starts), stamp(self.ends), stamp(self.updated)
        return [self.name, f"{self.name}.webex.com", str(self.id), self.uuid, self.subscription, *times]


def site_of(seed: int, name: str, today: date) -> Site:
    chance = digest(seed, "site", name)
    starts = datetime.combine(today, time(), UTC) - timedelta(days=30 + chance[0])
    return Site(
        name=name,
        id=10_000_000 + int.from_bytes(chance[1:4], "big"),
        uuid=chance[4:20].hex().upper(),
        subscription=f"SUB{1_000_000 + int.from_bytes(chance[20:22], 'big')}",
        starts=starts,
        ends=starts + timedelta(days=366),
        updated=starts + timedelta(days=chance[22] % 30),
    )


def site_list(
    sites: Iterable[Site], total: int | None = None, form: str = "document", last: str = "Total:{rows}"
) -> bytes:
    """The list with its last line; `total` is a wrong number for it, `form` and `last` are as in `Ways`."""
    separator = {"comma": ",", "semicolon": ";"}.get(form, "|")

    def cell(text: str) -> str:
        needed = form == "quoted" or (separator != "|" and separator in text)
        return '"' + text.replace('"', '""') + '"' if needed else text

    rows = [separator.join(map(cell, cells)) for cells in (COLUMNS, *(site.cells() for site in sites))]
    count = len(rows) - 1 if total is None else total
    total_line = [last.format(rows=count, lines=count + 1)] if last else []
    text = {"crlf": "\r\n", "cr": "\r"}.get(form, "\n").join([*rows, *total_line, ""])
    content = text.encode({"bom": "utf-8-sig", "utf-16": "utf-16"}.get(form, "utf-8"), "surrogatepass")
    return gzip.compress(content, mtime=0) if form == "gzip" else content
