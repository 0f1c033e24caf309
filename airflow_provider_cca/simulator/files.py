"""One file of the server, and the ids by which files are found again without keeping them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from airflow_provider_cca.simulator.bodies import Source, digest

Report = Literal["cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly"]
REPORTS: tuple[Report, ...] = ("cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly")
LEVELS = ("site", "customer", "partner")


@dataclass(frozen=True)
class CcaFile:
    """A file as the server holds it and as the listing declares it.

    `created` decides where it is listed and `expires` until when; `created_on` and `expires_on` are the texts
    sent. `size` and `md5` are what the listing declares: None is the truth, anything else is sent as it is.
    """

    id: str
    report: Report
    name: str
    created: datetime
    expires: datetime
    meeting_date: date
    created_on: str
    expires_on: str
    source: Source
    site: str | None = None
    level: str | None = None
    size: Any = None
    md5: Any = None

    @property
    def key(self) -> str | None:
        """What the report is divided by: the site, the level, or nothing."""
        return self.site if self.report == "cdr" else self.level

    @property
    def type(self) -> str:
        return "monthly" if self.report == "peak_port_monthly" else "daily"


@dataclass(frozen=True)
class Place:
    """Where a generated file stands in the world: the `nth` of a report, creation date and key."""

    report: Report
    day: date
    key: int
    nth: int


def key_number(key: str | None) -> int:
    """32 bits for a site or level, so that it fits into an id."""
    return 0 if key is None else int.from_bytes(digest("key", key)[:4], "big")


def make_id(seed: int, place: Place) -> str:
    """A UUID which holds the place, scrambled: a restarted server still knows ids that it gave out before."""
    packed = (
        REPORTS.index(place.report).to_bytes(1, "big")
        + place.day.toordinal().to_bytes(3, "big")
        + place.key.to_bytes(4, "big")
        + place.nth.to_bytes(4, "big")
    )
    check = digest(seed, "check", packed.hex())[:4]
    return str(UUID(bytes=check + _scrambled(seed, check, packed)))


def read_id(seed: int, text: str) -> Place | None:
    """The place that `make_id` put into the id; None when this world never gave it out."""
    try:
        raw = UUID(text).bytes
    except ValueError:
        return None
    check, packed = raw[:4], _scrambled(seed, raw[:4], raw[4:])
    if str(UUID(bytes=raw)) != text or digest(seed, "check", packed.hex())[:4] != check:
        return None
    day = date.fromordinal(int.from_bytes(packed[1:4], "big"))
    return Place(
        REPORTS[packed[0]], day, int.from_bytes(packed[4:8], "big"), int.from_bytes(packed[8:], "big")
    )


def _scrambled(seed: int, check: bytes, packed: bytes) -> bytes:
    """Its own inverse."""
    mask = digest(seed, "mask", check.hex())
    return bytes(a ^ b for a, b in zip(packed, mask, strict=False))


def cdr_name(site: str, day: date) -> str:
    """§3.5.2; `day` is the day of the calls."""
    return f"{site}_CCA_SP_CDR_Daily_{day:%Y%m%d}.csv"


def compressed_name(day: date) -> str:
    """§3.5.5."""
    return f"CCA_SP_CDR_Daily_{day:%Y%m%d}.zip"


def peak_port_name(level: str, day: date, *, monthly: bool) -> str:
    """§3.6.1 and §3.6.2; of a month any day will do."""
    period = f"Calendar_Monthly_{day:%Y%m}" if monthly else f"Daily_{day:%Y%m%d}"
    return f"Annuity_CCA_SP_Peak_Port_Usage_{level.capitalize()}_{period}.csv"
