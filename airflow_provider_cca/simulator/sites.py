"""The sites of the world, and the site list (§3.7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from airflow_provider_cca.simulator.bodies import digest
from airflow_provider_cca.simulator.stamps import short_stamp, stamp

ODD_SITES = ("north/south", "two words", "100% büro", "東京", "a+b&c=d?#", "..%2Fup")
"""Names that only survive a URL when they are percent-encoded."""

COLUMNS = (
    "SITENAME|SITEURL|SITEID|SITEUUID|SUBSCRIPTIONREFID|"
    "SUBSCRIPTIONSTARTTIME|SUBSCRIPTIONENDTIME|LASTSITEUPDATE"
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

    def row(self) -> str:
        # The start comes without its leading zero, as the document prints it in both of its rows.
        times = f"{short_stamp(self.starts)}|{stamp(self.ends)}|{stamp(self.updated)}"
        return f"{self.name}|{self.name}.webex.com|{self.id}|{self.uuid}|{self.subscription}|{times}"


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


def site_list(sites: Iterable[Site], total: int | None = None) -> bytes:
    """The ``|``-separated list with its last line ``Total:N``; `total` says something else than the count."""
    rows = [site.row() for site in sites]
    last = f"Total:{len(rows) if total is None else total}"
    return "\n".join([COLUMNS, *rows, last, ""]).encode("utf-8", "surrogatepass")
