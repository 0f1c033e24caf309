"""Every DAG backfilled by a real scheduler, triggerer and dag-processor; the newest dates are not ready.

A whole calendar month for the daily DAGs, twelve months for the monthly one, all at the same time.
"""

from __future__ import annotations

from datetime import date, timedelta
from hashlib import md5
from pathlib import Path

import pendulum
import pytest

from airflow_provider_cca.simulator import Match, StillProcessing

from .processes import wait_until

SECONDS = 600
LEVELS = ("site", "customer", "partner")
DAILY = ("cca_cdr_compressed", "cca_cdr_by_site", "cca_peak_port_daily")
MONTHLY = "cca_peak_port_monthly"
SITE_LIST = "cca_site_list"

pytestmark = pytest.mark.live

LAST_MONTH = pendulum.now("UTC").subtract(months=1).date()
DAYS = [LAST_MONTH.replace(day=n) for n in range(1, LAST_MONTH.days_in_month + 1)]
MONTHS = [pendulum.now("UTC").subtract(months=back).date().replace(day=5) for back in range(12, 0, -1)]
NOT_READY = [
    *(Match(call=call, query={"creationStartDate": f"{day:%m%d%Y}"})
      for call in ("cdr_compressed", "peak_port_daily") for day in DAYS[-2:]),
    Match(call="peak_port_monthly", query={"creationStartMonth": f"{MONTHS[-1]:%m%Y}"}),
]  # fmt: skip


def dates(dag_id: str) -> list[date]:
    return MONTHS if dag_id == MONTHLY else DAYS


@pytest.fixture(scope="module")
def runs(cca, airflow):
    """The runs of each DAG's backfill. The newest dates become ready after some looks at them."""
    rules = [cca.inject(StillProcessing(), match, times=None) for match in NOT_READY]
    for dag_id in (*DAILY, MONTHLY, SITE_LIST):
        airflow.unpause(dag_id)
        first, last = dates(dag_id)[0], dates(dag_id)[-1]
        airflow.cli(
            *("backfill", "create", "--dag-id", dag_id, "--max-active-runs", "16"),
            *("--from-date", str(first), "--to-date", f"{last}T23:59"),
        )
    wait_until("looks of the triggerer", lambda: all(rule.hits >= 3 for rule in rules), SECONDS)
    for rule in rules:
        cca.faults.remove(rule)

    def of(dag_id: str):
        span = dates(dag_id)
        return airflow.wait_for_runs(lambda: airflow.api.backfill_runs(dag_id, span[0], span[-1]), SECONDS)

    return {dag_id: of(dag_id) for dag_id in (*DAILY, MONTHLY, SITE_LIST)}


@pytest.mark.parametrize("dag_id", [*DAILY, MONTHLY])
def test_a_backfill_has_a_run_for_each_date_and_all_end_well(runs, dag_id):
    assert [run["logical_date"] for run in runs[dag_id]] == [f"{day}T09:00:00Z" for day in dates(dag_id)]
    assert {run["state"] for run in runs[dag_id]} == {"success"}


def landed(store: Path, folder: str) -> set[tuple[str, str]]:
    """Folder and MD5 of every file below a folder, manifests left out."""
    return {
        (path.parent.name, md5(path.read_bytes()).hexdigest())
        for path in (store / folder).rglob("*")
        if path.is_file() and path.name != "_manifest.json"
    }


def truth(cca, report: str, key: str, days: list[date], **scope: str) -> set[tuple[str, str]]:
    return {(f"{key}={day}", file.md5) for day in days for file in cca.truth(report, day, day, **scope)}


def test_the_compressed_files_of_exactly_that_month_are_in_the_store(runs, cca, store):
    expected = truth(cca, "cdr_compressed", "creation_date", DAYS)
    assert landed(store, "cdr_compressed") == expected
    assert {folder for folder, _ in expected} == {f"creation_date={day}" for day in DAYS}


def test_the_files_of_each_site_are_in_the_store(runs, cca, store):
    for site in cca.world.sites:
        expected = truth(cca, "cdr", "creation_date", DAYS, site=site)
        assert landed(store, f"cdr/site={site}") == expected != set()


@pytest.mark.parametrize("level", LEVELS)
def test_the_daily_peak_ports_of_each_level_are_in_the_store(runs, cca, store, level):
    expected = truth(cca, "peak_port_daily", "creation_date", DAYS, level=level)
    assert landed(store, f"peak_port_daily/level={level}") == expected != set()


@pytest.mark.parametrize("level", LEVELS)
def test_the_monthly_peak_ports_of_each_level_are_in_the_store(runs, cca, store, level):
    expected = {
        (f"creation_month={month:%Y-%m}", file.md5)
        for month in MONTHS
        for file in cca.truth("peak_port_monthly", month.replace(day=1), month.end_of("month"), level=level)
    }
    assert landed(store, f"peak_port_monthly/level={level}") == expected
    # The month that lies a year back may have lost its files already: its run is skipped.
    assert len(expected) in {11, 12}


def test_backfilled_site_lists_are_skipped_and_nothing_is_stored(runs, airflow, store):
    states = {task["state"] for task in airflow.api.task_instances(SITE_LIST, "success", "failed", "skipped")}
    assert states == {"skipped"}
    assert not (store / "site_list").exists()


def test_every_file_was_downloaded_once(runs, cca):
    asked = [request.path for request in cca.log(call="download", status=200)]
    assert len(asked) == len(set(asked))


def test_a_site_list_that_is_triggered_lands_under_today(runs, airflow, store):
    airflow.cli("dags", "trigger", SITE_LIST)
    today = store / "site_list" / f"snapshot_date={pendulum.now('UTC').date()}"
    wait_until("the site list", (today / "_manifest.json").exists, 60)


def test_a_clicked_run_lands_the_date_of_its_form(runs, airflow, store, cca):
    day = DAYS[0] - timedelta(days=3)
    airflow.cli("dags", "trigger", "cca_peak_port_daily", "--conf", f'{{"partition": "{day}"}}')
    for level in LEVELS:
        folder = store / "peak_port_daily" / f"level={level}" / f"creation_date={day}"
        wait_until("the date of the form", (folder / "_manifest.json").exists, 60)


def test_a_clicked_run_of_a_date_beyond_retention_fails_and_says_why(runs, airflow):
    airflow.cli("dags", "trigger", "cca_cdr_compressed", "--conf", '{"partition": "2020-01-01"}')
    (task,) = wait_until(
        "the refusal", lambda: airflow.api.task_instances("cca_cdr_compressed", "failed"), 60
    )
    log = airflow.task_log(task).read_text()
    assert "older than the 365 days" in log
