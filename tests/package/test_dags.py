"""The DAGs that users run as they are: what a file says when Airflow parses it."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import OutletEventAccessors, TriggeringAssetEventsAccessor
from airflow.timetables.base import TimeRestriction

from airflow_provider_cca.api.auth import forget_logins
from airflow_provider_cca.api.availability import FAILING_SECONDS
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.connection_errors import MAX_SLOW_ATTEMPTS
from airflow_provider_cca.assets import cca_asset, cca_landings, cca_partitions
from airflow_provider_cca.core.retry import MAX_WAIT, Retry
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.landing.progress import in_units
from airflow_provider_cca.operators import (
    CcaListSitesOperator,
    CcaReconcileOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.sensors import CcaFilesSensor
from airflow_provider_cca.simulator import Simulator
from tests.support.today import month_is_being_made, today
from tests.support.tree import tree

try:
    from airflow.sdk.exceptions import ParamValidationError
except ImportError:  # Airflow 3.1
    from airflow.exceptions import ParamValidationError

FOLDER = Path(__file__).parent.parent.parent / "dags"
FILES = sorted(FOLDER.glob("*.py"))
EXAMPLES = sorted((FOLDER / "examples").glob("*.py"))
LEVELS = ("site", "customer", "partner")
TASKS = {
    "cca_cdr_compressed": {"wait_for_files", "land_files"},
    "cca_cdr_by_site": {"wait_for_files", "list_sites", "batches", "land_files"},
    "cca_peak_port_daily": {f"{verb}_{level}_files" for verb in ("wait_for", "land") for level in LEVELS},
    "cca_peak_port_monthly": {f"{verb}_{level}_files" for verb in ("wait_for", "land") for level in LEVELS},
    "cca_site_list": {"land_site_list"},
    "cca_reconcile": {"reconcile"},
    "cca_land_range": {"list_sites", "ranges", "land_range"},
}
DATED = {"cca_cdr_compressed", "cca_cdr_by_site", "cca_peak_port_daily", "cca_peak_port_monthly"}
ALL = ["cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly"]


def parse(path: Path) -> DAG:
    (dag,) = (value for value in runpy.run_path(str(path)).values() if isinstance(value, DAG))
    return dag


def named(dag_id: str) -> DAG:
    return parse(next(path for path in FILES if path.stem == dag_id))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dag(request: pytest.FixtureRequest) -> DAG:
    return parse(request.param)


def test_each_file_is_named_for_its_dag_and_has_the_agreed_tasks(dag: DAG) -> None:
    assert set(dag.task_ids) == TASKS[dag.dag_id]
    assert {path.stem for path in FILES} == set(TASKS)


def test_runs_are_not_caught_up_and_carry_the_time_in_utc(dag: DAG) -> None:
    """09:00 UTC falls on the day that was clicked in every time zone from UTC-9 to UTC+14."""
    assert not dag.catchup
    if dag.dag_id == "cca_land_range":
        assert not dag.timetable.can_be_scheduled
        return
    march = TimeRestriction(pendulum.datetime(2026, 3, 1, tz="UTC"), None, True)
    first = dag.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=march)
    day = 5 if dag.dag_id == "cca_peak_port_monthly" else 1
    hour = 10 if dag.dag_id == "cca_reconcile" else 9  # when the others are done
    assert first.logical_date == pendulum.datetime(2026, 3, day, hour, tz="UTC")


def test_waits_hold_no_worker_and_failures_are_retried(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries == {"cca_reconcile": 2, "cca_land_range": 3}.get(dag.dag_id, 4)
        assert getattr(task, "deferrable", True)


CALLS = {"cca_site_list": 1, "cca_land_range": 2, "cca_reconcile": 4}
"""How many calls without an answer a task makes one after the other: a range and one date of it alone; a
reconciliation does so for one site, and then for all of them side by side."""


@pytest.mark.parametrize("dag_id", sorted(DATED | CALLS.keys()))
def test_a_run_whose_server_keeps_failing_is_red_within_45_minutes(dag_id: str) -> None:
    """A wait by its own limit, without retries; another task by its attempts and the pauses between them."""
    one_check = CcaConfig.connect_timeout + CcaConfig.read_timeout
    refused = Retry(Event()).attempts * CcaConfig.connect_timeout + MAX_WAIT / 6
    unanswered = MAX_SLOW_ATTEMPTS * CcaConfig.read_timeout * CALLS.get(dag_id, 1)
    for task in named(dag_id).tasks:
        seconds = FAILING_SECONDS + 2 * one_check
        if not isinstance(task, CcaFilesSensor):
            # Airflow takes up to twice the delay, by chance.
            delays = [min(task.max_retry_delay, 2 * task.retry_delay * 2**n) for n in range(task.retries)]
            seconds = sum(delays, timedelta()).total_seconds() + (task.retries + 1) * max(refused, unanswered)
        assert seconds <= 45 * 60


@pytest.mark.parametrize("dag_id", sorted(DATED))
def test_waits_last_until_the_next_day_and_believe_that_an_old_date_has_no_files(dag_id: str) -> None:
    waits = [task for task in named(dag_id).tasks if isinstance(task, CcaFilesSensor)]
    assert waits
    for wait in waits:
        assert wait.timeout == (72 if dag_id == "cca_peak_port_monthly" else 36) * 3600
        assert wait.allow_empty


def test_each_dag_says_what_it_lands_when_it_runs_and_what_a_backfill_does(dag: DAG) -> None:
    assert all(word in dag.doc_md for word in ("Lands", "Runs", "UTC", "backfill", "§3."))


@pytest.mark.parametrize("value", [None, "2026-03-01"])
def test_the_form_takes_a_date_or_nothing(dag: DAG, value: Any) -> None:
    for name in ("partition", "partition_end") if "partition" in dag.params else ():
        assert dag.params.get_param(name).resolve(value) == value


@pytest.mark.parametrize("value", ["yesterday", "2026-02-30", "03/01/2026", 7, ""])
def test_the_form_refuses_nonsense(dag: DAG, value: Any) -> None:
    for name in ("partition", "partition_end") if "partition" in dag.params else ():
        with pytest.raises(ParamValidationError):
            dag.params.get_param(name).resolve(value)


def test_those_that_land_a_date_take_a_partition(dag: DAG) -> None:
    assert ("partition" in dag.params) == (dag.dag_id in DATED)


@pytest.mark.parametrize("dag_id", ["cca_reconcile", "cca_land_range"])
@pytest.mark.parametrize(
    ("value", "fits"),
    [(ALL, True), (["cdr"], True), (None, True), (["cdrs"], False), (["site_list"], False), ("cdr", False)],
)
def test_the_form_takes_reports_that_there_are(dag_id: str, value: Any, fits: bool) -> None:
    param = named(dag_id).params.get_param("reports")
    assert param.value is None
    with nullcontext() if fits else pytest.raises(ParamValidationError):
        assert param.resolve(value) == value


@pytest.mark.parametrize("value", ["yesterday", "2026-02-30", 7, ""])
@pytest.mark.parametrize("name", ["from", "to"])
def test_the_form_of_a_range_refuses_nonsense(name: str, value: Any) -> None:
    param = named("cca_land_range").params.get_param(name)
    assert param.resolve(None) is None
    assert param.resolve("2026-03-01") == "2026-03-01"
    with pytest.raises(ParamValidationError):
        param.resolve(value)


def test_parsing_opens_no_socket_and_no_database() -> None:
    """Each file in a process of its own, in which connecting to anything is an error."""
    program = (
        "import runpy, sys, airflow.sdk\n"
        "def refuse(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'sqlite3.connect'): sys.exit(event)\n"
        "sys.addaudithook(refuse)\n"
        "for path in sys.argv[1:]: runpy.run_path(path)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, FILES + EXAMPLES)], env=os.environ, timeout=60
    )
    assert done.returncode == 0


def test_each_landing_updates_the_asset_of_its_report_and_that_of_its_partitions(dag: DAG) -> None:
    for task in dag.tasks:
        # Of a task that is mapped Airflow keeps the arguments of its operator.
        given = getattr(task, "partial_kwargs", None) or vars(task)
        # These land whatever reports they are told.
        if task.task_id in ("land_range", "reconcile"):
            assert given["outlets"] == [cca_landings()]
        elif task.task_id.startswith("land_"):
            of = {"report": given.get("report", "site_list"), "level": given.get("level")}
            assert given["outlets"] == [cca_asset(**of), cca_partitions(**of)]
        else:
            assert not given.get("outlets")


@pytest.fixture
def example() -> DAG:
    return parse(FOLDER / "examples" / "cca_example_downstream.py")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_named_for_its_dag_and_says_that_it_is_one(path: Path) -> None:
    dag = parse(path)
    assert dag.dag_id == path.stem
    assert dag.doc_md.startswith("### Example")
    assert not dag.catchup


def test_the_downstream_example_starts_from_the_landing(example: DAG) -> None:
    assert list(example.timetable.asset_condition.objects) == [cca_asset("cdr_compressed")]


@pytest.fixture
def landed(
    sim: Simulator, run: Any, day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TriggeringAssetEventsAccessor:
    """The events that the downstream example starts from when a date has landed."""
    monkeypatch.setenv("AIRFLOW_VAR_CCA_STORAGE", str(tmp_path))
    asset, told = cca_asset("cdr_compressed"), OutletEventAccessors()
    land = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", destination=str(tmp_path), outlets=[asset]
    )
    run(land, day, outlet_events=told)
    return TriggeringAssetEventsAccessor({told[asset].key: [told[asset]]})


def test_the_downstream_example_finds_every_file_that_landed(
    sim: Simulator, example: DAG, landed: TriggeringAssetEventsAccessor, day: str
) -> None:
    load = example.get_task("load").python_callable
    assert load(triggering_asset_events=landed) == len(sim.truth("cdr_compressed", day, day))
    assert load(triggering_asset_events=TriggeringAssetEventsAccessor({})) == 0


def test_the_downstream_example_fails_on_an_object_that_is_cut(
    example: DAG, landed: TriggeringAssetEventsAccessor, tmp_path: Path
) -> None:
    (file,) = tmp_path.rglob("*.zip")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="bytes, its manifest says"):
        example.get_task("load").python_callable(triggering_asset_events=landed)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({}, "load what is in the store"),
        ({"folder": "s3://b/cdr", "partitions": 501}, "what is in s3://b/cdr"),
    ],
)
def test_the_downstream_example_fails_on_an_event_that_names_no_manifests(
    example: DAG,
    landed: TriggeringAssetEventsAccessor,
    monkeypatch: pytest.MonkeyPatch,
    extra: Any,
    says: str,
) -> None:
    """Made by hand, or of a landing so large that it gives its folder alone."""
    (event,) = landed[cca_asset("cdr_compressed")]
    event.extra.clear()
    event.extra.update(extra)
    with pytest.raises(ValueError, match=says):
        example.get_task("load").python_callable(triggering_asset_events=landed)


@pytest.mark.parametrize(("sites", "most"), [(0, 0), (1, 1), (49, 49), (51, 26), (10_000, 50), (51_234, 50)])
def test_sites_are_landed_in_at_most_fifty_batches(sites: int, most: int) -> None:
    batches = parse(next(p for p in FILES if p.stem == "cca_cdr_by_site")).get_task("batches").python_callable
    names = [f"s{n}" for n in range(sites)]
    made = batches(names)
    assert len(made) == most
    assert [name for batch in made for name in batch] == names


@pytest.mark.parametrize(
    ("sites", "name"), [(["a"], "a"), (["a", "b", "{{ c }}"], "a to {{ c }}"), (["é" * 300] * 2, None)]
)
def test_a_batch_of_sites_is_named_for_its_first_and_its_last(sites: list[str], name: str | None) -> None:
    dag = named("cca_cdr_by_site")
    template = dag.get_task("land_files").partial_kwargs["map_index_template"]
    made = dag.get_template_env().from_string(template).render(task=SimpleNamespace(site=sites))
    assert made == name if name else len(made) <= 250


@pytest.mark.cca_simulator(sites=500, days=6, recovered=False)
def test_a_day_of_all_sites_costs_two_requests_a_batch_besides(
    sim: Simulator, run: Any, day: str, tmp_path: Path
) -> None:
    """Beyond one listing and one download a site; each task is a process of its own: it logs in, and sees
    once that a total counts more than a page."""
    dag = parse(next(p for p in FILES if p.stem == "cca_cdr_by_site"))
    names = run(CcaListSitesOperator(task_id="s"))
    batches = dag.get_task("batches").python_callable(names)[:5]
    before, sites = len(sim.requests), sum(map(len, batches))
    for batch in batches:
        forget_logins()
        run(CcaToObjectStorageOperator(task_id="t", report="cdr", site=batch, destination=str(tmp_path)), day)
    downloads = sim.count(call="download")
    assert len(sim.requests) - before == sites + downloads + 2 * len(batches)


def ranges(sites: list[str], reports: str, first: str = "", last: str = "") -> list[dict]:
    return named("cca_land_range").get_task("ranges").python_callable(sites, reports, first, last)


def test_a_year_of_all_reports_is_a_handful_of_tasks() -> None:
    """Whatever the number of sites; each site is in one of them."""
    sites = [f"s{n}" for n in range(10_001)]
    asked = ranges(sites, ",".join(ALL))
    assert len(asked) == 5 + 1 + 3 + 3
    assert [site for one in asked for site in one.get("site", [])] == sites
    assert {(one["partition"], one["partition_end"]) for one in asked} == {
        (str(today().date() - timedelta(days=365)), str(today().date()))
    }


def test_a_range_ends_today_and_begins_where_it_is_told_or_365_days_ago() -> None:
    """What is older is asked for all the same: the server knows whether it still has it."""
    (asked,) = ranges([], "cdr_compressed", "2001-01-01", "2999-12-31")
    assert (asked["partition"], asked["partition_end"]) == ("2001-01-01", str(today().date()))
    (asked,) = ranges([], "cdr_compressed", None, None)
    assert asked["partition"] == str(today().date() - timedelta(days=365))
    with pytest.raises(AirflowFailException, match="no date from 2999-01-01 to 2999-12-31 has begun"):
        ranges([], "cdr_compressed", "2999-01-01", "2999-12-31")


@pytest.mark.cca_simulator(days=40, sites=3)
def test_a_range_leaves_what_daily_runs_leave(sim: Simulator, run: Any, tmp_path: Path) -> None:
    """The same partitions, byte for byte, and manifests that differ only in when they were written."""
    # Of the first days of a month its peak-port files are not made yet.
    end = today().date() if today().day > 5 else today().date().replace(day=1) - timedelta(days=1)
    first, last = str(end - timedelta(days=9)), str(end)
    by_range, by_day = tmp_path / "range", tmp_path / "day"
    for asked in ranges(sim.world.sites, ",".join(ALL), first, last):
        run(CcaToObjectStorageOperator(task_id="t", destination=str(by_range), **asked))
    for back in range(10):
        day = str(end - timedelta(days=back))
        for scope in (
            {"report": "cdr", "site": list(sim.world.sites)},
            {"report": "cdr_compressed"},
            *({"report": "peak_port_daily", "level": level} for level in LEVELS),
            *({"report": "peak_port_monthly", "level": level} for level in LEVELS),
        ):
            run(CcaToObjectStorageOperator(task_id="t", destination=str(by_day), partition=day, **scope))
    assert without_times(tree(by_range)) == without_times(tree(by_day)) != {}


def without_times(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: re.sub(rb'"(written_at|landed_on)": "[^"]+"', b"", body) for name, body in files.items()}


Reconciled = tuple[dict[str, Any], set[str], str]


@pytest.fixture
def reconciled(
    sim: Simulator,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Callable[..., Reconciled]:
    """Run cca_reconcile with its Variable and form: what it returns, the folders it leaves, its warnings."""

    def reconcile(variable: str, **form: Any) -> Reconciled:
        monkeypatch.setenv("AIRFLOW_VAR_CCA_REPORTS", variable)
        task = named("cca_reconcile").get_task("reconcile")
        params = {**{name: task.dag.params[name] for name in task.dag.params}, "lookback_days": 15, **form}
        values = {"cca_storage": str(tmp_path), "cca_reports": variable}
        var = SimpleNamespace(value=SimpleNamespace(get=values.get))
        task._pre_execute_hook({"params": params})
        done = run(task, params=params, var=var)
        warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        return done, {path.name for path in tmp_path.iterdir()}, " ".join(warnings)

    return reconcile


@pytest.mark.cca_simulator(days=40, sites=3)
@pytest.mark.parametrize(
    ("variable", "form", "reports"),
    [
        (",".join(ALL), {}, ALL),
        (" cdr_compressed, peak_port_daily ", {}, ["cdr_compressed", "peak_port_daily"]),
        ("cdr_compressed", {"reports": ["peak_port_daily"]}, ["peak_port_daily"]),
        ("", {"reports": ["cdr"]}, ["cdr"]),
    ],
)
def test_the_reconciling_dag_lands_what_the_form_names_else_the_variable(
    sim: Simulator,
    reconciled: Callable[..., Reconciled],
    variable: str,
    form: dict[str, Any],
    reports: list[str],
) -> None:
    done, found, _ = reconciled(variable, **form)
    unknown = len(LEVELS) * ("peak_port_monthly" in reports and month_is_being_made(sim))
    assert (done["still_missing"], done["unknown"], done["files"]) == (0, unknown, done["downloaded"])
    assert found == {*reports, "_coverage.json"}


@pytest.mark.cca_simulator(days=40, sites=3)
def test_the_reconciling_dag_only_looks_until_the_variable_is_set(
    sim: Simulator, reconciled: Callable[..., Reconciled]
) -> None:
    """However often: it says what a landing would fetch of all but `cdr`, and how to start it."""
    for _ in range(2):
        done, found, warnings = reconciled("")
    assert (sim.count(call="download"), found) == (0, {"_coverage.json"})
    start = f"airflow variables set cca_reports {','.join(ALL[1:])}"
    assert start in warnings
    landed, _, _ = reconciled(start.rpartition(" ")[2])
    would = (
        f"{landed['downloaded']} files, {in_units(landed['bytes'])}, in {done['still_missing']} partitions"
    )
    assert f"{would}. A landing would fetch them" in warnings


def test_a_backfill_of_a_reconciliation_is_refused(sim: Simulator, run: Any, tmp_path: Path) -> None:
    task = CcaReconcileOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    with pytest.raises(AirflowFailException, match="cannot be backfilled: each run is about the days before"):
        run(task, dag_run=SimpleNamespace(run_type="backfill"))
    assert not sim.requests
