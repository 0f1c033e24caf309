"""Looking whether the server has a report yet: one look, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import OutsideRetention, StillProcessing
from airflow_provider_cca.reports import RETENTION_DAYS, report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient


FAILED_LOOKS = 6
"""How many looks in a row may fail in a way that passes, before that ends the wait."""


@dataclass(frozen=True)
class Look:
    """What to look for: a partition of a report.

    :param partition: YYYY-MM-DD or YYYY-MM.
    :param partition_end: The last of a range, included.
    """

    report: str
    partition: str
    partition_end: str | None
    site: str | None
    level: str | None
    allow_empty: bool

    def now(self, client: CcaClient) -> Sight:
        """Ask the server; raises whatever is worse than "still processing"."""
        report = report_named(self.report)
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
