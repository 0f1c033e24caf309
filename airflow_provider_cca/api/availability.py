"""Check whether the server lists a partition yet, and decide how long to go on checking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    NotYetListed,
    OutsideRetention,
    StillProcessing,
    TransientError,
)
from airflow_provider_cca.reports import RETENTION_DAYS, report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient

FAILING_SECONDS = 35 * 60.0
"""How long every check may fail before the wait ends: a run whose server is down is red within 45 minutes."""


@dataclass(frozen=True)
class AvailabilityCheck:
    """The partition, or range of partitions, that a wait is for.

    :param partition: YYYY-MM-DD or YYYY-MM.
    :param partition_end: The last of a range, included.
    """

    report: str
    partition: str
    partition_end: str | None = None
    site: str | None = None
    level: str | None = None

    def __str__(self) -> str:
        return f"{self.scope} {self.partition}" + (f" to {self.partition_end}" if self.partition_end else "")

    @property
    def scope(self) -> Scope:
        """The listing that is asked for."""
        return Scope(report_named(self.report), self.site, self.level)

    @property
    def last(self) -> Partition:
        """The last partition."""
        return Partition.parse(self.partition_end or self.partition, self.scope.report.grain)

    def check(self, client: CcaClient) -> Availability:
        """Ask the server once (§3.5.4, §3.5.5, §3.6.1, §3.6.2) and count the entries that it lists.

        Raises OutsideRetention when none is listed of a partition whose files may be deleted already, and
        CcaError for an answer that is worse than "still processing".
        """
        scope, last = self.scope, self.last
        try:
            if files := client.count(scope, Partition.parse(self.partition, scope.report.grain), last):
                return Availability(
                    files, f"{self}: the server lists {files} file{'' if files == 1 else 's'}"
                )
            if last.fading(datetime.now(UTC)):
                raise OutsideRetention(
                    f"{self} has no files any more: the server lists none, and what there was is older than "
                    f"the {RETENTION_DAYS} days that it keeps"
                )
            client.confirm_empty(scope, last)
        except StillProcessing as error:
            return Availability(None, str(error), error.retry_after, isinstance(error, NotYetListed))
        return Availability(0, f"{self}: the server lists no file, and the date has been over for 48 hours")


@dataclass(frozen=True)
class Availability:
    """What a check found.

    :param files: How many files are listed, 0 when it is known that there are none; None means not yet.
    :param message: The same for the log.
    :param retry_after: The server's wish in seconds, or None.
    :param nothing_listed: Whether "not yet" is an empty listing, as against "still processing" or a failure.
    :param error: Why the check failed.
    """

    files: int | None
    message: str
    retry_after: float | None = None
    nothing_listed: bool = False
    error: TransientError | None = None

    @classmethod
    def failed(cls, error: TransientError) -> Availability:
        """Describe a check that failed in a way that may pass."""
        return cls(None, f"{type(error).__name__}: {error}", error.retry_after, error=error)

    @property
    def outcome(self) -> str:
        """In a word, for the metrics."""
        return "failed" if self.error else "waiting" if self.files is None else "ready"


@dataclass
class Patience:
    """When a wait checks again, and when it gives up. Times are seconds since the epoch.

    :param poke_interval: Seconds between two checks; the server's Retry-After makes it longer.
    :param began: When the wait began.
    :param timeout: Seconds after which it ends; None where something else ends it.
    :param exponential_backoff: Whether the interval grows with the time waited, so that this doubles.
    :param max_wait: Seconds up to which the interval grows so.
    :param silent_fail: Whether failing checks do not end the wait before its timeout.
    :param failing_since: When the first of the checks failed that have all failed since.
    """

    poke_interval: float
    began: float
    timeout: float | None = None
    exponential_backoff: bool = False
    max_wait: float | None = None
    silent_fail: bool = False
    failing_since: float | None = None

    def pause_after(self, found: Availability, now: float) -> float | None:
        """Return the seconds until the next check; None when it would come too late: the wait ends."""
        pause = self.poke_interval
        if not found.error:
            self.failing_since = None
            if self.exponential_backoff:
                grown = now - self.began
                pause = max(pause, grown if self.max_wait is None else min(grown, self.max_wait))
        elif self.failing_since is None:
            self.failing_since = now
        pause = max(pause, found.retry_after or 0)
        return pause if now + pause <= self.ends else None

    @property
    def gives_up(self) -> bool:
        """Whether it is the failing checks that end the wait, before its timeout would."""
        return self.ends < self._timeout_at

    @property
    def ends(self) -> float:
        """When the wait ends: at its timeout, or sooner while checks fail."""
        if self.failing_since is None or self.silent_fail:
            return self._timeout_at
        return min(self._timeout_at, self.failing_since + max(FAILING_SECONDS, 2 * self.poke_interval))

    @property
    def _timeout_at(self) -> float:
        return float("inf") if self.timeout is None else self.began + self.timeout

    def plan(self, pause: float) -> str:
        """Return a text for the log: when the next check comes, and when the wait gives up."""
        if self.ends == float("inf"):
            return f"Next check in {pause:g} s"
        unless = "" if self.failing_since is None else " unless a check succeeds"
        return f"Next check in {pause:g} s, and the wait ends at {utc(self.ends)}{unless}"


def utc(moment: float) -> str:
    """Return a moment in seconds since the epoch as YYYY-MM-DD HH:MM:SS UTC."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
