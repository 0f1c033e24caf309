"""The stamps of the API, and the one form in which times are stored. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

# Compiled by re when first used, and then kept: no DAG file that is parsed needs them.
_STAMP = (
    r"(?a)(\d{1,2})/(\d{1,2})/([1-9]\d{3})"
    r"T(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?([+-](?:[01]\d|2[0-3]):?[0-5]\d|Z)?"
)
_ISO = r"(?a)[1-9]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}"
_EPOCH = r"(?a)\d{9,14}(\.\d+)?"

_FIRST_EPOCH = 100_000_000
"""Seconds, in 1973: what is a thousand times as much is milliseconds."""


def parse_stamp(text: object) -> datetime | None:
    """Return a stamp such as 12/14/2018T07:24:24+0000 or 4/23/2019T00:00:00+0000 in UTC.

    Also an ISO 8601 time, and seconds or milliseconds since 1970; without a zone it is UTC. None when it is
    none of these.
    """
    match = re.fullmatch(_STAMP, text) if isinstance(text, str) else None
    try:
        if not match:
            return _other_form(text)
        *parts, zone = match.groups()
        month, day, year, hour, minute, second = map(int, parts)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return moment - _offset(zone)
    except (ValueError, OverflowError, OSError):
        return None


def _other_form(value: object) -> datetime | None:
    if isinstance(value, str) and re.fullmatch(_EPOCH, value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= _FIRST_EPOCH:
        return datetime.fromtimestamp(value / 1000 if value >= _FIRST_EPOCH * 1000 else value, UTC)
    if not isinstance(value, str) or not re.match(_ISO, value):
        return None
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _offset(zone: str | None) -> timedelta:
    """+0130 or -08:00 as a timedelta; by hand, as strptime takes half the time of a long listing."""
    if zone is None or zone == "Z":
        return timedelta()
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return size if zone[0] == "+" else -size


def now_iso() -> str:
    """Return the present time as it is stored."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second: how every time is written that we store."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
