"""What arrives at a statsd server, through Airflow's own metrics."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_cca.errors import PartlyLanded
from airflow_provider_cca.events import metrics
from airflow_provider_cca.integration.compat import AirflowFailException, stats
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator,
    CcaListFilesOperator,
    CcaReconcileOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.simulator import Status, StillProcessing, WrongBytes
from tests.test_sensors import outcome, sensor

NAMES = {value for value in vars(metrics).values() if isinstance(value, str) and value.startswith("cca.")}

INTERVAL = 7
"""Seconds between two looks, none of which pass."""

Sums = Callable[[], dict[str, int]]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sums]:
    """The sums of all counters that came in since, with their tags as `name,level=site,report=cdr`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        settings = {"ON": "True", "HOST": "127.0.0.1", "PORT": str(server.getsockname()[1])}
        for name, value in {**settings, "INFLUXDB_ENABLED": "True"}.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
        start_metrics()
        yield lambda: sums(server)
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    start_metrics()


def start_metrics() -> None:
    """Let Airflow read its settings anew, as it does when the process of a task begins."""
    try:
        from airflow.sdk.observability.metrics import stats_utils
    except ImportError:  # Airflow 3.1
        reset_metrics_of_airflow_3_1()
        return
    try:
        stats().initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    except TypeError:  # Airflow 3.2
        stats().initialize(factory=stats_utils.get_stats_factory(stats()))


def reset_metrics_of_airflow_3_1() -> None:
    """There it reads them once, when a class is made."""
    kind = type(stats())
    stats().instance = None
    del kind.factory
    kind.__init__(stats())


def sums(server: socket.socket) -> dict[str, int]:
    """Loopback delivers at once: what is not there now never comes."""
    found: Counter[str] = Counter()
    server.setblocking(False)
    while True:
        try:
            line = server.recv(65_536).decode()
        except BlockingIOError:
            return dict(found)
        name, number = re.fullmatch(r"airflow\.(.+):(\d+)\|c", line).groups()
        found[name] += int(number)


@pytest.fixture
def waiting(run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a sensor, whatever mode it waits in."""

    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(asyncio, "sleep", at_once)
    instance = SimpleNamespace(get_first_reschedule_date=lambda context: None)

    def act(how: dict, day: str) -> None:
        outcome(sensor(poke_interval=INTERVAL, **how), lambda op, d: run(op, d, ti=instance), day, INTERVAL)

    return act


def landing(tmp_path: Path, **arguments) -> CcaToObjectStorageOperator:
    return CcaToObjectStorageOperator(
        task_id="t", destination=str(tmp_path), **{"report": "cdr_compressed", **arguments}
    )


def test_a_landing_counts_what_it_landed_and_what_it_fetched_for_that(sim, run, day, tmp_path, counted):
    (file,) = sim.truth("cdr_compressed", day, day)
    run(landing(tmp_path), day)
    tags = "report=cdr_compressed"
    landed = {
        f"cca.partitions_landed,{tags}": 1,
        f"cca.files_landed,{tags}": 1,
        f"cca.bytes_landed,{tags}": file.size,
    }
    assert counted() == landed | {
        f"cca.files_downloaded,{tags}": 1,
        f"cca.bytes_downloaded,{tags}": file.size,
    }
    run(landing(tmp_path), day)
    assert counted() == landed


def test_levels_are_told_apart(sim, run, day, tmp_path, counted):
    run(landing(tmp_path, report="peak_port_daily", level="customer"), day)
    assert counted()["cca.files_landed,report=peak_port_daily,level=customer"] == 1


def test_files_of_several_reports_are_counted_for_theirs(sim, run, day, tmp_path, counted):
    """`CcaDownloadFilesOperator` lands whatever it is given."""
    files = run(CcaListFilesOperator(task_id="a", report="cdr_compressed", partition=day))
    files += run(CcaListFilesOperator(task_id="b", report="peak_port_daily", level="site", partition=day))
    run(CcaDownloadFilesOperator(task_id="d", files=files, destination=str(tmp_path)))
    found = counted()
    assert found["cca.files_downloaded,report=cdr_compressed"] == 1
    assert found["cca.files_downloaded,report=peak_port_daily,level=site"] == 1


def test_the_site_list_is_counted(sim, run, tmp_path, counted):
    run(CcaSiteListToObjectStorageOperator(task_id="t", destination=str(tmp_path)), str(sim.world.today))
    found = counted()
    assert found["cca.files_downloaded,report=site_list"] == 1
    assert found["cca.bytes_downloaded,report=site_list"] == len(sim.world.site_list())


def test_what_a_reconcile_run_lands_is_counted_by_report(sim, run, tmp_path, counted):
    """And what it tries again without one, since it may ask for several."""
    sim.inject(Status(503), "cdr_compressed", times=2)
    reports = "cdr_compressed,peak_port_daily"
    run(
        CcaReconcileOperator(
            task_id="t", report=reports, level="site", lookback_days=5, destination=str(tmp_path)
        )
    )
    found = counted()
    assert found["cca.retries,level=site"] == 2
    assert found["cca.files_downloaded,report=cdr_compressed"] >= 5
    assert found["cca.files_downloaded,report=peak_port_daily,level=site"] >= 5


def test_what_a_failed_landing_fetched_is_counted(sim, run, day, tmp_path, counted):
    good = sim.truth("cdr_compressed", day, day)[0]
    sim.inject(WrongBytes(), f"/{sim.world.add('cdr_compressed', day, b'bad', name='bad.zip').id}$", times=3)
    with pytest.raises(PartlyLanded):
        run(landing(tmp_path), day)
    assert counted() == {
        "cca.retries,report=cdr_compressed": 2,
        "cca.files_downloaded,report=cdr_compressed": 1,
        "cca.bytes_downloaded,report=cdr_compressed": good.size,
    }


def test_what_is_tried_again_is_counted_by_every_operator(sim, run, day, counted):
    sim.inject(Status(503), "cdr_compressed", times=4)
    run(CcaListFilesOperator(task_id="l", report="cdr_compressed", partition=day))
    assert counted() == {"cca.retries,report=cdr_compressed": 4}


@pytest.mark.parametrize("how", [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}])
def test_looks_and_the_seconds_between_them_are_counted_in_every_mode(sim, run, day, counted, how, waiting):
    sim.inject(StillProcessing(), "cdr_compressed", times=3)
    waiting({"deferrable": False, **how}, day)
    tags = "report=cdr_compressed"
    assert counted() == {
        f"cca.sensor.looks,outcome=waiting,{tags}": 3,
        f"cca.sensor.looks,outcome=ready,{tags}": 1,
        f"cca.sensor.waited_seconds,{tags}": 21,
    }


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_look_that_ends_the_wait_by_an_error_is_counted(sim, run, day, counted, deferrable, waiting):
    sim.inject(StillProcessing(), "cdr_compressed", times=1)
    sim.inject(Status(406), "cdr_compressed", times=None)
    with pytest.raises(AirflowFailException):
        waiting({"deferrable": deferrable}, day)
    assert counted()["cca.sensor.looks,outcome=failed,report=cdr_compressed"] == 1


def test_an_event_of_a_trigger_that_counts_nothing_is_taken(sim, day):
    """It may have been deferred by an earlier version."""
    context = {"params": {}, "logical_date": pendulum.parse(day)}
    assert sensor(deferrable=True).execute_complete(context, {"files": 3})["files"] == 3


def test_the_documentation_names_every_metric():
    page = (Path(__file__).parent.parent.parent / "docs/operations.md").read_text()
    assert set(re.findall(r"`(cca\.[a-z_.]+)`", page)) == NAMES
