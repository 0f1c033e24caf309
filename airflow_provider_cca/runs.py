"""Which partitions a DAG run is about: arguments, params, partition key, dates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param

from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException
from airflow_provider_cca.reports import REPORTS, RETENTION_DAYS, Grain

log = logging.getLogger(__name__)


def partition_params(grain: Grain = Grain.DAY) -> dict[str, Param]:
    """The params `partition` and `partition_end` for a DAG, as date fields of the trigger form."""
    unit = "date" if grain is Grain.DAY else "month (any day of it)"
    texts = {
        "partition": f"Creation {unit}, UTC. Empty: the logical date.",
        "partition_end": f"The last creation {unit} of a range, included. Empty: one alone.",
    }
    return {
        name: Param(None, type=["null", "string"], format="date", description=text)
        for name, text in texts.items()
    }


def reports_param() -> Param:
    """The param `reports` for a DAG, as a choice of several in the trigger form; all by default."""
    names = [name for name, report in REPORTS.items() if report.dates]
    return Param(
        names,
        type="array",
        items={"type": "string", "enum": names},
        minItems=1,
        examples=names,
        description="Which reports.",
    )


def range_params() -> dict[str, Param]:
    """The params `from` and `to` for a DAG, as date fields of the trigger form."""
    texts = {
        "from": f"First creation date, UTC. Empty: {RETENTION_DAYS} days ago.",
        "to": "Last creation date, UTC, included. Empty: today.",
    }
    return {
        name: Param(None, type=["null", "string"], format="date", description=text)
        for name, text in texts.items()
    }


def skip_without_sites(context: Mapping[str, Any]) -> None:
    """For `pre_execute`: skip a task when none of the reports in the param `reports` goes by site.

    An account may land the others, and have no right to list sites.
    """
    if not any(REPORTS[name].needs == "site" for name in context["params"]["reports"]):
        raise AirflowSkipException("none of the reports goes by site")


def within_retention(first: str | None, last: str | None) -> tuple[str, str]:
    """Return a stretch of days up to today as YYYY-MM-DD; the oldest day that is said to be kept by default.

    AirflowFailException when it ends before it begins.

    :param first: YYYY-MM-DD; empty means 365 days ago. An earlier one is asked for, too: the server knows
        best whether it still has files of it.
    :param last: YYYY-MM-DD, included; empty means today.
    """
    today = datetime.now(UTC).date()
    oldest = today - timedelta(days=RETENTION_DAYS)
    begin = Partition.parse(first, Grain.DAY).first if first else oldest
    end = min(Partition.parse(last, Grain.DAY).first if last else today, today)
    if end < begin:
        raise AirflowFailException(
            f"no date from {begin} to {last or today} has begun (in UTC it is {today}): choose a first date "
            "that is not later than the last, or than today"
        )
    return str(begin), str(end)
