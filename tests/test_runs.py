"""Which partition a run is about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.utils.types import DagRunType

from airflow_provider_cca.errors import InvalidArgument, OutsideRetention
from airflow_provider_cca.integration.compat import AirflowSkipException
from airflow_provider_cca.integration.requested_range import Asked, partitions_of_run
from airflow_provider_cca.reports import REPORTS

DAILY, MONTHLY = REPORTS["cdr_compressed"], REPORTS["peak_port_monthly"]
DATE = pendulum.datetime(2026, 3, 5, 9, tz="UTC")


def asked(report: Any = DAILY, partition: str | None = None, end: str | None = None, **context: Any) -> Asked:
    return partitions_of_run(context, report, partition, end)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            {"params": {"partition": "2026-01-02"}, "partition_key": "2026-02-02", "logical_date": DATE},
            "2026-01-02",
        ),
        ({"params": {"partition": None}, "partition_key": "2026-02-02", "logical_date": DATE}, "2026-02-02"),
        ({"partition_key": "2026-02-02T00:00:00", "logical_date": DATE}, "2026-02-02"),
        ({"dag_run": SimpleNamespace(partition_key="2026-02-03", run_after=DATE)}, "2026-02-03"),
        ({"logical_date": DATE, "dag_run": SimpleNamespace(run_after=DATE.add(days=1))}, "2026-03-05"),
        ({"dag_run": SimpleNamespace(run_after=DATE)}, "2026-03-05"),
        ({"params": {"partition": ""}, "logical_date": DATE}, "2026-03-05"),
    ],
)
def test_param_before_partition_key_before_logical_date_before_run_after(context: Any, expected: str) -> None:
    assert str(asked(**context).first) == expected


@pytest.mark.parametrize("nothing", [None, "", " ", "None"])
def test_an_argument_that_renders_empty_is_not_given(nothing: str | None) -> None:
    assert str(asked(partition=nothing, logical_date=DATE).first) == "2026-03-05"


def test_an_argument_comes_before_everything() -> None:
    given = asked(partition="2026-01-01", params={"partition": "2026-01-02"}, logical_date=DATE)
    assert (str(given.first), given.by_hand) == ("2026-01-01", True)


def test_a_date_in_another_zone_counts_by_its_day_in_utc() -> None:
    late = pendulum.datetime(2026, 3, 5, 23, tz="America/New_York")
    assert str(asked(logical_date=late).first) == "2026-03-06"


@pytest.mark.parametrize("day", ["2026-03", "2026-03-01", "2026-03-31"])
def test_a_month_may_be_given_by_any_of_its_days(day: str) -> None:
    assert str(asked(MONTHLY, day).first) == "2026-03"


def test_a_range_includes_both_ends() -> None:
    given = asked(partition="2026-02-27", end="2026-03-02")
    assert [str(p) for p in given.first.until(given.last)] == [
        "2026-02-27",
        "2026-02-28",
        "2026-03-01",
        "2026-03-02",
    ]


@pytest.mark.parametrize(
    ("partition", "end", "says"),
    [
        ("yesterday", None, "'yesterday' is not a partition"),
        ("03012026", None, "give its creation date as YYYY-MM-DD"),
        ("2026-02-30", None, "is not a partition"),
        ("2026-03-02", "2026-03-01", "lies before"),
        (None, "2026-03-01", "partition_end is given without partition"),
    ],
)
def test_nonsense_is_refused_with_what_to_give(partition: str | None, end: str | None, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        asked(partition=partition, end=end, logical_date=DATE)


def test_a_run_without_any_date_says_what_to_give() -> None:
    with pytest.raises(InvalidArgument, match="this run has no date"):
        asked()


def days_ago(days: int) -> str:
    return pendulum.now("UTC").subtract(days=days).to_date_string()


@pytest.mark.parametrize("days", [1000, 365, 1, 0])
def test_a_date_that_has_begun_is_asked_for_however_old(days: int) -> None:
    asked(partition=days_ago(days)).check_retention()


def test_a_date_to_come_is_an_error_when_asked_for_by_hand() -> None:
    with pytest.raises(OutsideRetention, match="cannot be landed yet"):
        asked(partition=days_ago(3), end=days_ago(-1)).check_retention()


def test_a_date_to_come_is_skipped_in_a_backfill() -> None:
    date = pendulum.now("UTC").add(days=1)
    with pytest.raises(AirflowSkipException):
        asked(logical_date=date, dag_run=SimpleNamespace(run_type=DagRunType.BACKFILL_JOB)).check_retention()


BACKFILL = SimpleNamespace(run_type=DagRunType.BACKFILL_JOB)


@pytest.mark.parametrize("argument", [None, "2026-03-06"])
@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"partition": "2026-03-06"}, "about 2026-03-05, but its param partition names 2026-03-06: leave"),
        (
            {"partition": "2026-03-05", "partition_end": "2026-03-06"},
            "names 2026-03-05 to 2026-03-06: leave",
        ),
    ],
)
def test_a_backfill_is_about_its_own_dates_and_takes_no_other_from_the_params(
    argument: str | None, params: dict[str, str], says: str
) -> None:
    """All of its runs have the same params, and would land one date; a template may hand it on."""
    with pytest.raises(InvalidArgument, match=says):
        asked(
            partition=argument and params["partition"],
            end=argument and params.get("partition_end"),
            params=params,
            logical_date=DATE,
            dag_run=BACKFILL,
        )


@pytest.mark.parametrize("report", [DAILY, MONTHLY])
def test_a_backfill_may_name_the_date_that_it_is_about(report: Any) -> None:
    given = asked(report, params={"partition": "2026-03-05"}, logical_date=DATE, dag_run=BACKFILL)
    assert DATE.to_date_string().startswith(str(given.first))


def test_a_backfill_takes_the_argument_of_its_operator() -> None:
    params = {"partition": "2026-03-06"}
    given = asked(partition="2026-01-01", params=params, logical_date=DATE, dag_run=BACKFILL)
    assert str(given.first) == "2026-01-01"


def test_a_run_that_was_clicked_is_asked_for_by_hand() -> None:
    date = pendulum.now("UTC").add(days=1)
    with pytest.raises(OutsideRetention):
        asked(logical_date=date, dag_run=SimpleNamespace(run_type=DagRunType.MANUAL)).check_retention()
