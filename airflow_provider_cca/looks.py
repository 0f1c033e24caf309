"""Looking whether the server has a report yet: one look, and what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_cca.errors import OutsideRetention, StillProcessing
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.models import Partition, Scope
from airflow_provider_cca.reports import RETENTION_DAYS, Grain, report_named

if TYPE_CHECKING:
    from airflow_provider_cca.client import CcaClient

FAILED_LOOKS = 6
"""How many looks in a row may fail in a way that passes, before that ends the wait."""


@dataclass(frozen=True)
class Look:
    """What to look for: a partition of a report.

    :param partition: YYYY-MM-DD or YYYY-MM.
    :param partition_end: The last of a range, included.
    """

    cca_conn_id: str
    report: str
    partition: str
    partition_end: str | None
    site: str | None
    level: str | None
    allow_empty: bool

    def now(self, attempts: int) -> Sight:
        """Ask the server; raises whatever is worse than "still processing"."""
        return self._through(CcaHook(self.cca_conn_id, attempts).get_conn)

    async def in_trigger(self) -> Sight:
        """The same from an event loop, which is shared with every other trigger: the server is asked in a
        thread, and once, since waits would hold one of the few threads that they share as well."""
        return await asyncio.to_thread(self._through, await CcaHook(self.cca_conn_id, attempts=1).aget_conn())

    def _through(self, connect: Callable[[], CcaClient]) -> Sight:
        report = report_named(self.report)
        with connect() as client:
            scope = Scope(report, self.site, self.level)
            first = Partition.parse(self.partition, report.grain)
            last = Partition.parse(self.partition_end or self.partition, report.grain)
            try:
                files = client.count(scope, first, last)
            except StillProcessing as error:
                return Sight(False, 0, str(error), error.retry_after)
        if not files and not self.allow_empty and last.fading(datetime.now(UTC)):
            raise OutsideRetention(
                f"{scope} {last} has no files any more: they are gone {RETENTION_DAYS} days after creation"
            )
        return Sight(files > 0 or self.allow_empty, files, f"{scope} {self.partition}: {files} files")

    def xcom(self, files: int) -> dict[str, Any]:
        """What the sensor returns, in every mode."""
        return {"report": self.report, "partition": self.partition, "files": files}


@dataclass(frozen=True)
class Sight:
    """What a look found; `retry_after` is the server's wish in seconds, or None."""

    ready: bool
    files: int
    message: str
    retry_after: float | None = None

    @property
    def outcome(self) -> str:
        """In a word, for the metrics."""
        return "ready" if self.ready else "waiting"


def newest_partitions(grain: Grain, count: int) -> list[Partition]:
    """The last partitions up to the one of today in UTC, oldest first."""
    found = [Partition.of(datetime.now(UTC), grain)]
    while len(found) < count:
        found.insert(0, Partition.of(found[0].first - timedelta(days=1), grain))
    return found
