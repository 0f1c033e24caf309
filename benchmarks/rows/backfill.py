"""A backfill by a real Airflow, beside the same DAG with tasks that do nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import date, timedelta
from statistics import median
from typing import TYPE_CHECKING

from ..bench import Bench, Missing
from ..processes import ROOT
from ..server import serving, yesterday
from ..table import TIMES, Line
from .transfers import LATENCY, SMALL_FILE

if TYPE_CHECKING:
    from tests.live.stack import Stack

OURS, EMPTY = "cca_cdr_compressed", "empty_tasks"
ACTIVE_RUNS = 16
SECONDS = 600

# Not EmptyOperator: the scheduler marks that done without giving it to a worker.
EMPTY_DAG = """
import pendulum
from airflow.sdk import DAG, task
from airflow.timetables.trigger import CronTriggerTimetable

with DAG(
    dag_id="empty_tasks",
    schedule=CronTriggerTimetable("0 9 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
):

    @task
    def wait_for_files():
        pass

    @task
    def land_files():
        pass

    wait_for_files() >> land_files()
"""


def backfill(bench: Bench) -> Iterator[Line]:
    """Creation dates, two tasks each; every repetition takes other dates, which nobody has landed yet."""
    try:
        from tests.live.processes import children
        from tests.live.stack import airflow_stack
    except ImportError as error:
        raise Missing(f"the live Airflow cannot be started ({error})") from error
    days = bench.size(60, 5)
    dags = bench.folder / "live_dags"
    dags.mkdir()
    shutil.copy(ROOT / "dags" / f"{OURS}.py", dags)
    (dags / "empty.py").write_text(EMPTY_DAG)
    with (
        serving(days=365, file_size=SMALL_FILE, latency=LATENCY) as server,
        children(bench.folder / "live") as processes,
        airflow_stack(
            processes,
            connection=json.dumps(server.connection),
            storage=bench.folder / "live_store",
            dags=dags,
            scheduled=False,
        ) as airflow,
    ):
        for dag_id in (OURS, EMPTY):
            airflow.unpause(dag_id)
        _seconds(airflow, EMPTY, [yesterday()])  # the first run pays for what all later ones find ready
        _seconds(airflow, OURS, [yesterday()])
        took: dict[str, list[float]] = {OURS: [], EMPTY: []}
        for number in range(bench.repeat):
            last = yesterday() - timedelta(days=1 + number * days)
            dates = [last - timedelta(days=back) for back in reversed(range(days))]
            for dag_id in (OURS, EMPTY):
                took[dag_id].append(_seconds(airflow, dag_id, dates))
    ours, empty = median(took[OURS]), median(took[EMPTY])
    yield Line(
        f"Airflow backfill of {days} dates, 2 tasks each",
        f"{ours:.1f} s",
        f"the same with empty tasks: {empty:.1f} s",
        ours / empty,
        1.25,
        TIMES,
    )


def _seconds(airflow: Stack, dag_id: str, dates: list[date]) -> float:
    """From asking for a backfill until its last run is over."""
    from tests.live.processes import wait_until

    first, last = dates[0], dates[-1]
    started = time.monotonic()
    number = airflow.api.create_backfill(dag_id, first, last, max_active_runs=ACTIVE_RUNS)
    runs = airflow.wait_for_runs(lambda: airflow.api.backfill_runs(dag_id, first, last), SECONDS)
    took = time.monotonic() - started
    if len(runs) != len(dates) or {run["state"] for run in runs} != {"success"}:
        raise ValueError(f"{dag_id}: {len(dates)} runs that succeed expected, not {runs}")
    # Until Airflow has noticed, it takes no other backfill of the DAG.
    wait_until("the end of the backfill", lambda: airflow.api.is_backfill_marked_done(number), SECONDS)
    return took
