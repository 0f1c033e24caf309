"""Which partitions a run is about: arguments, params, partition key, dates."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import InvalidArgument, OutsideRetention
from airflow_provider_cca.integration.compat import AirflowSkipException
from airflow_provider_cca.reports import RETENTION_DAYS, Report

log = logging.getLogger(__name__)

Place = tuple[Scope, Partition]


@dataclass(frozen=True)
class Asked:
    """The partitions from `first` to `last`, both included.

    :param by_hand: Whether a person named them, instead of a schedule or a backfill.
    """

    first: Partition
    last: Partition
    by_hand: bool

    def __contains__(self, partition: Partition) -> bool:
        return self.first <= partition <= self.last

    def check_retention(self) -> None:
        """Raise unless the server can still, and already, have files of all these partitions.

        OutsideRetention when asked for by hand; in a scheduled or backfilled run AirflowSkipException.
        """
        now = datetime.now(UTC)
        if self.first.expired(now):
            reason = f"its files are older than the {RETENTION_DAYS} days that the server keeps"
            self.refuse(f"{self.first} cannot be landed any more: {reason}")
        if not self.last.begun(now):
            self.refuse(f"{self.last} cannot be landed yet: in UTC it is {now:%Y-%m-%d}")

    def still_there(self) -> Asked:
        """Without the beginning of a range of which the server has deleted everything.

        A range that begins on the oldest day of all would else fail for good when midnight passes in UTC
        before it has landed. Raises as `check_retention` does when that leaves nothing.
        """
        oldest = Partition.of(datetime.now(UTC).date() - timedelta(days=RETENTION_DAYS), self.first.grain)
        asked = replace(self, first=min(max(self.first, oldest), self.last))
        asked.check_retention()
        if asked.first != self.first:
            log.warning("%s to %s begins with %s: what is older is gone", self.first, self.last, asked.first)
        return asked

    def may_be_empty(self, scope: Scope, partition: Partition, listed: Collection[Place]) -> bool:
        """Whether a listing without files of this partition means that there never were any.

        Not on the days on which its files are being deleted. Raises as `check_retention` does when that
        leaves nothing of what was asked for.

        :param listed: The scopes and partitions of which files are listed.
        """
        if not partition.fading(datetime.now(UTC)) or (scope, partition) in listed:
            return True
        if not listed and self.first == self.last:
            self.refuse_gone()
        return False

    def refuse_gone(self) -> NoReturn:
        """Raise as `check_retention` does: the server has deleted what there was."""
        self.refuse(f"{self.first} cannot be landed any more: its last files are gone")

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
