"""Now, as the simulator counts days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from airflow_provider_cca.simulator import Simulator


def today() -> datetime:
    return datetime.now(UTC)


def newest_whole_month() -> date:
    """Return the first day of the month before, whose files have been made whatever the day is."""
    return (today().date().replace(day=1) - timedelta(days=1)).replace(day=1)


def month_is_being_made(sim: Simulator) -> bool:
    """Return whether this month's peak-port files are not made yet, as on its first days.

    Then each level is asked for up to three times more: with the month, without it, and for it alone.
    """
    return not sim.truth("peak_port_monthly", today().date().replace(day=1))
