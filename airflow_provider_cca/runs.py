"""Which partitions a DAG run is about: arguments, params, partition key, dates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param

from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException
from airflow_provider_cca.reports import REPORTS, RETENTION_DAYS, Grain, report_named

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


DEFAULT_REPORTS = tuple(name for name, report in REPORTS.items() if report.dates and name != "cdr")
"""What lands while nothing else is said: the compressed files hold the records of `cdr` too."""

_CHOSEN = "(params.reports | join(',') if params.reports else var.value.get('cca_reports', '') | trim)"

CHOSEN_REPORTS = f"{{{{ {_CHOSEN} or '{','.join(DEFAULT_REPORTS)}' }}}}"
"""Template: the reports of the param `reports`, else of the Variable `cca_reports`, else the default."""

NOTHING_CHOSEN = f"{{{{ params.dry_run or not {_CHOSEN} }}}}"
"""Template: whether a run only looks, by its param `dry_run` or because nobody has named any reports."""


def reports_param() -> Param:
    """Return the param `reports` for a DAG, a choice of several; none means the Variable `cca_reports`."""
    names = [name for name, report in REPORTS.items() if report.dates]
    return Param(
        None,
        type=["null", "array"],
        items={"type": "string", "enum": names},
        examples=names,
        description="Which reports. Empty: those that the Variable cca_reports names.",
    )


def chosen_reports(context: Mapping[str, Any]) -> list[str]:
    """Return the reports that the run's param `reports`, else the Variable `cca_reports` names, if any."""
    from airflow.sdk import Variable

    named = context["params"].get("reports") or Variable.get("cca_reports", default="").split(",")
    return [name.strip() for name in named if name.strip()]


def say_how_to_start(context: Mapping[str, Any]) -> None:
    """For `pre_execute`: warn that a run only looks, and say how to let it land, while nothing is chosen."""
    if not chosen_reports(context):
        log.warning(
            "This run only looks and lands nothing, since the Variable cca_reports is not set. To let it "
            "land what is missing of the last %d days, name the reports under Admin > Variables, or by: "
            "airflow variables set cca_reports %s",
            RETENTION_DAYS,
            ",".join(DEFAULT_REPORTS),
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
    """For `pre_execute`: skip a task when none of the reports of the run goes by site.

    An account may land the others, and have no right to list sites.
    """
    if not any(report_named(name).needs == "site" for name in chosen_reports(context) or DEFAULT_REPORTS):
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
