"""What the API's answers mean, as frozen values parsed once at the edge. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import pendulum

from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.reports import RETENTION_DAYS, Grain, Report

SETTLED_AFTER = timedelta(hours=48)
"""How long after the end of a date (UTC) an empty listing of it is believed: the server's zone is unknown,
and some of its listings are empty while the files are being made."""


@dataclass(frozen=True, order=True)
class Partition:
    """The files that the server lists for one date, or one month.

    :param first: Its first day.
    :param grain: Whether it is that day or the month that begins with it.
    """

    first: date
    grain: Grain = field(default=Grain.DAY, compare=False)

    @classmethod
    def parse(cls, text: str, grain: Grain) -> Partition:
        """From YYYY-MM-DD or YYYY-MM. A month may also be given by any of its days.

        Raises InvalidArgument on anything else.
        """
        for form in (grain, Grain.DAY):
            try:
                return cls.of(datetime.strptime(text, form.value).date(), grain)
            except (ValueError, TypeError):
                continue
        form_name = "YYYY-MM-DD" if grain is Grain.DAY else "YYYY-MM"
        raise InvalidArgument(
            f"{text!r} is not a partition of this report: give its creation "
            f"{'date' if grain is Grain.DAY else 'month'} as {form_name}",
            argument="partition",
        )

    @classmethod
    def of(cls, day: date, grain: Grain) -> Partition:
        """The partition in which this day lies; a datetime counts by its day in UTC."""
        if isinstance(day, datetime):
            day = day.astimezone(UTC).date()
        return cls(day if grain is Grain.DAY else day.replace(day=1), grain)

    def __str__(self) -> str:
        return self.first.strftime(self.grain.value)

    @property
    def api(self) -> str:
        """As the API's date parameters want it: MMDDYYYY, or MMYYYY."""
        return self.first.strftime("%m%d%Y" if self.grain is Grain.DAY else "%m%Y")

    @property
    def last(self) -> date:
        """Its last day."""
        if self.grain is Grain.DAY:
            return self.first
        return pendulum.Date(self.first.year, self.first.month, 1).end_of("month")

    def until(self, end: Partition) -> Iterator[Partition]:
        """This partition and all that follow it up to `end`, both included."""
        current = self
        while current <= end:
            yield current
            if current == end:  # the last of all days has none that follows
                return
            current = Partition.of(current.last + timedelta(days=1), self.grain)

    def expired(self, now: datetime) -> bool:
        """Whether every file of this partition is past its retention of 365 days."""
        return self.last < now.astimezone(UTC).date() - timedelta(days=RETENTION_DAYS)

    def fading(self, now: datetime) -> bool:
        """Whether some file of this partition may be past its retention already."""
        return self.first <= now.astimezone(UTC).date() - timedelta(days=RETENTION_DAYS)

    def is_settled(self, now: datetime) -> bool:
        """Return whether it ended 48 hours ago (UTC), so that an empty listing means that it has no files."""
        return now - SETTLED_AFTER >= datetime.combine(self.last, time.max, UTC)

    def begun(self, now: datetime) -> bool:
        """Whether the server can already have created a file of this partition."""
        return self.first <= now.astimezone(UTC).date()


@dataclass(frozen=True)
class Scope:
    """What a listing is of: a report, and its site or level."""

    report: Report
    site: str | None = None
    level: str | None = None

    def __str__(self) -> str:
        return printable(" ".join(filter(None, (self.report.name, self.site or self.level))))


Place = tuple[Scope, Partition]


def newest_partitions(grain: Grain, count: int) -> list[Partition]:
    """The last partitions up to the one of today in UTC, oldest first."""
    found = [Partition.of(datetime.now(UTC), grain)]
    while len(found) < count:
        found.insert(0, Partition.of(found[0].first - timedelta(days=1), grain))
    return found
