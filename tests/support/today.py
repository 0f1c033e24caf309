"""Now, as the simulator counts days."""

from __future__ import annotations

from datetime import UTC, datetime


def today() -> datetime:
    return datetime.now(UTC)
