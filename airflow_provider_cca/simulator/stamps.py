"""Dates as the document writes them: ``MMDDYYYY`` in requests, ``MM/DD/YYYYTHH:MM:SS+0000`` in answers."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.ways import Ways


def stamp(moment: datetime) -> str:
    """UTC, as in §3.5.2's ``createdOn``: ``12/14/2018T07:24:24+0000``."""
    return f"{moment:%m/%d/%Y}T{moment:%H:%M:%S}+0000"


def short_stamp(moment: datetime) -> str:
    """The same without the month's leading zero, as in §3.7: ``4/23/2019T00:00:00+0000``."""
    return f"{moment.month}{stamp(moment)[2:]}"


def malformed_stamp(moment: datetime) -> str:
    """With two years, as printed once in §3.6.2: ``04/03/2019/2020T08:43:18+0000``."""
    return f"{moment:%m/%d}/{moment.year - 1}/{moment.year}T{moment:%H:%M:%S}+0000"


def written(moment: datetime, usual: str, ways: Ways) -> str | int:
    """The moment, UTC, as `Ways.stamps` wants it; `usual` is how the document writes it."""
    match ways.stamps:
        case "iso":
            return moment.isoformat(timespec="milliseconds")
        case "fractions":
            return stamp(moment).replace("+", ".250+")
        case "no_zone":
            return stamp(moment).removesuffix("+0000")
        case "epoch":
            return int(moment.timestamp())
        case "epoch_ms":
            return int(moment.timestamp() * 1000)
        case "pacific":
            from airflow_provider_cca.simulator.ways import PACIFIC

            return f"{moment.astimezone(PACIFIC):%m/%d/%YT%H:%M:%S%z}"
        case "malformed":
            return malformed_stamp(moment)
    return usual


def parse_day(text: str) -> date:
    """``MMDDYYYY``; anything else, or a day that no calendar has, is a ValueError."""
    month, day, year = _digits(text, 2, 2, 4)
    return date(year, month, day)


def parse_month(text: str) -> tuple[date, date]:
    """``MMYYYY`` as the month's first and last day (§3.6.2)."""
    month, year = _digits(text, 2, 4)
    first = date(year, month, 1)
    return first, first.replace(day=monthrange(year, month)[1])


def _digits(text: str, *widths: int) -> list[int]:
    # str.isdigit alone lets other scripts' digits pass.
    if len(text) != sum(widths) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a date of {sum(widths)} digits")
    parts, at = [], 0
    for width in widths:
        parts.append(int(text[at : at + width]))
        at += width
    return parts
