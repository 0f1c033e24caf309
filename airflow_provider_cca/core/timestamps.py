"""The stamps of the API, and the one form in which times are stored. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

# Compiled by re when first used, and then kept: no DAG file that is parsed needs them.
_STAMP = (
    r"(?a)(\d{1,2})/(\d{1,2})/([1-9]\d{3})"
    r"T(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?([+-](?:[01]\d|2[0-3]):?[0-5]\d|Z)"
)


def parse_stamp(text: object) -> datetime | None:
    """A stamp such as 12/14/2018T07:24:24+0000 or 4/23/2019T00:00:00+0000 in UTC; None when malformed."""
    match = re.fullmatch(_STAMP, text) if isinstance(text, str) else None
    if not match:
        return None
    *parts, zone = match.groups()
    month, day, year, hour, minute, second = map(int, parts)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return moment - _offset(zone)
    except (ValueError, OverflowError):
        return None


def _offset(zone: str) -> timedelta:
    """+0130 or -08:00 as a timedelta; by hand, as strptime takes half the time of a long listing."""
    if zone == "Z":
        return timedelta()
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return size if zone[0] == "+" else -size


def now_iso() -> str:
    """Return the present time as it is stored."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second: how every time is written that we store."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
