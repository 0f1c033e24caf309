"""Which partitions a run is about: arguments, params, partition key, dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.errors import InvalidArgument, OutsideRetention
from airflow_provider_cca.integration.compat import AirflowSkipException
from airflow_provider_cca.reports import RETENTION_DAYS, Report


@dataclass(frozen=True)
class Asked:
    """The partitions from `first` to `last`, both included.

    :param by_hand: Whether a person named them, instead of a schedule or a backfill.
    """

    first: Partition
    last: Partition
    by_hand: bool

    def check_retention(self) -> None:
        """Raise unless the server can already have files of all these partitions.

        OutsideRetention when asked for by hand; in a scheduled or backfilled run AirflowSkipException. What
        is older than the retention is not refused: the listing says whether the server still has files.
        """
        now = datetime.now(UTC)
        if not self.last.begun(now):
            self.refuse(f"{self.last} cannot be landed yet: in UTC it is {now:%Y-%m-%d}")

    def refuse_gone(self) -> NoReturn:
        """Raise as `check_retention` does: nothing is listed, and the server has deleted what there was."""
        self.refuse(
            f"{self.first} cannot be landed any more: no file is listed, as the server keeps them for "
            f"{RETENTION_DAYS} days; whatever there was is gone"
        )

    def refuse(self, message: str) -> NoReturn:
        """Raise OutsideRetention when asked for by hand, else AirflowSkipException."""
        if self.by_hand:
            raise OutsideRetention(message)
        raise AirflowSkipException(message)


def partitions_of_run(
    context: Mapping[str, Any], report: Report, partition: str | None = None, partition_end: str | None = None
) -> Asked:
    """What the operator was told; else the run's param, partition key, logical date, or date it runs after.

    A param or argument that is empty counts as not given, since a template without a value renders so.
    """
    params = context.get("params") or {}
    given, end = _given(partition), _given(partition_end)
    if not given and not end:
        given, end = _given(params.get("partition")), _given(params.get("partition_end"))
    if end and not given:
        raise InvalidArgument("partition_end is given without partition", argument="partition_end")
    # In a backfill or a scheduled run nobody chose this very date, even when a template passes it on.
    by_hand = run_type(context) not in {"backfill", "scheduled"} and (
        bool(given) or run_type(context) == "manual"
    )
    if not given:
        first = last = Partition.of(_date_of(context, report), report.grain)
    else:
        first = Partition.parse(given, report.grain)
        last = Partition.parse(end, report.grain) if end else first
    named = {_given(params.get("partition")), _given(params.get("partition_end"))} - {None}
    if run_type(context) == "backfill" and {given, end} - {None} & named:
        _check_backfill(context, report, first, last)
    if last < first:
        raise InvalidArgument(f"partition_end {last} lies before partition {first}", argument="partition_end")
    return Asked(first, last, by_hand)


def _check_backfill(context: Mapping[str, Any], report: Report, first: Partition, last: Partition) -> None:
    """Raise InvalidArgument unless the params name the run's own date.

    The form of a backfill gives its params to all runs: they would land one date, and the others would pass
    for landed.
    """
    own = Partition.of(_date_of(context, report), report.grain)
    if not first == last == own:
        raise InvalidArgument(
            f"this run of a backfill is about {own}, but its param partition names "
            f"{first}{'' if first == last else f' to {last}'}: leave the params partition and partition_end "
            "empty in the form of a backfill, whose dates say what lands",
            argument="partition",
        )


def run_type(context: Mapping[str, Any]) -> str:
    """ "scheduled", "manual", "backfill" …, or "" when there is no run."""
    kind = getattr(context.get("dag_run"), "run_type", "")
    # An enum in a task; its str() would be its name.
    return str(getattr(kind, "value", kind))


def written_by(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a manifest says of the task that wrote it; None outside Airflow."""
    task = context.get("ti")
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number")
    return {name: getattr(task, name, None) for name in names} if task else None


def _given(value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    return text if text not in {"", "None"} else None


def _date_of(context: Mapping[str, Any], report: Report) -> Any:
    dag_run = context.get("dag_run")
    if key := context.get("partition_key") or getattr(dag_run, "partition_key", None):
        # Partitioned timetables write the key as a date, a month, or a date with a time.
        return Partition.parse(str(key)[:10], report.grain).first
    date = context.get("logical_date") or getattr(dag_run, "run_after", None)
    if date is None:
        raise InvalidArgument(
            "this run has no date: give partition=…, or trigger it with the param partition",
            argument="partition",
        )
    return date
