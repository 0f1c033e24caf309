"""The simulator's time, which tests move."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Runs on from `start`; calling it gives the time, UTC."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._since = time.monotonic()

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._since)

    def set(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone: give a UTC time")
        self._start, self._since = moment.astimezone(UTC), time.monotonic()

    def advance(self, by: timedelta | float) -> None:
        """By a timedelta, or by seconds."""
        self._start += by if isinstance(by, timedelta) else timedelta(seconds=by)
