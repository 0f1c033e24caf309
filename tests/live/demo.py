"""`make demo` and `make ui`: a real Airflow backfills call-detail files from a simulated CCA."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from airflow_provider_cca.simulator import Simulator

from . import proof
from .processes import StepError, children, free_port, wait_until
from .stack import ROOT, USER, Run, Stack, airflow_stack

HOME = ROOT / ".airflow"
STORE = HOME / "store"
DAG = "cca_cdr_compressed"
REPORT = "cdr_compressed"
SIMULATOR_PORT = 8089
DAYS = 14
MAX_ACTIVE_RUNS = 8
BACKFILL_SECONDS = 180
LINE_SECONDS = 5  # between two lines of progress where they cannot overwrite each other

TO_CLICK = """
Airflow runs at    {url}/dags/{dag}
log in as          {user} with the password {password}
then click         "Trigger" (top right), "Backfill",
                   From {first}, To {last}, Max Active Runs {runs}, "Run Backfill"
the files land in  {store}
Ctrl-C stops everything.
"""


def main() -> int:
    """Run the demo, or with --ui the same set-up until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="keep Airflow running, for you to click Backfill")
    arguments = parser.parse_args()
    try:
        return stay() if arguments.ui else demo()
    except StepError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def demo() -> int:
    """Backfill, check, report."""
    started = time.monotonic()
    days = last_days()
    # Without its schedule Airflow runs what we ask for and nothing else: no run of today that ends halfway.
    with set_up(scheduled=False) as (cca, airflow):
        backfill(airflow, days)
        verdicts = [verify(cca, day) for day in days]
        requests, downloads = len(cca.requests), cca.count(call="download")
        say("stopping Airflow and the simulator")
    print(f"\n{proof.table(verdicts)}\n\n{proof.tree(shown(STORE), REPORT, days)}\n")
    print(f"The simulator served {requests} requests, {downloads} of them downloads.")
    print(f"{shown(STORE)} is kept: run it again, and what lies there is not downloaded again.")
    print(f"{time.monotonic() - started:.0f} s, nothing left running.")
    if faulty := [str(verdict.day) for verdict in verdicts if verdict.faults]:
        raise StepError(
            "verification", f"the store differs from the server on {', '.join(faulty)}", HOME / "logs"
        )
    return 0


def stay() -> int:
    """Print what to click, and stay until Ctrl-C."""
    days = last_days()
    with set_up(scheduled=True) as (_, airflow):
        print(
            TO_CLICK.format(
                url=airflow.url,
                dag=DAG,
                user=USER,
                password=airflow.password,
                first=days[0],
                last=days[-1],
                runs=MAX_ACTIVE_RUNS,
                store=shown(STORE),
            ),
            flush=True,
        )
        try:
            wait_until("make ui", lambda: None, math.inf, watch=airflow.processes.check)
        except KeyboardInterrupt:
            print()
            say("stopping Airflow and the simulator")
    return 0


def last_days() -> list[date]:
    """The creation dates to land: up to yesterday, since the files of today may not be there yet."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=back) for back in range(DAYS, 0, -1)]


@contextmanager
def set_up(*, scheduled: bool) -> Iterator[tuple[Simulator, Stack]]:
    """The simulator and an Airflow that knows it, with the DAG switched on."""
    with children(HOME) as processes, simulator() as cca:
        say(f"the simulator listens on {cca.url}; starting PostgreSQL and Airflow")
        with airflow_stack(
            processes, connection=cca.connection_json, storage=STORE, scheduled=scheduled
        ) as airflow:
            airflow.unpause(DAG)
            say(f"Airflow listens on {airflow.url}; logs are in {shown(processes.logs)}")
            yield cca, airflow


@contextmanager
def simulator() -> Iterator[Simulator]:
    """A CCA with 400 days of files; in this process, so that it is gone with it."""
    try:
        cca = Simulator(seed=1, days=400, sites=12, port=free_port(SIMULATOR_PORT))
        cca.start()
    except OSError as error:
        raise StepError("simulator", str(error)) from error
    try:
        yield cca
    finally:
        cca.stop()


def verify(cca: Simulator, day: date) -> proof.Verdict:
    """Compare what has landed for a date with what the simulator holds."""
    truth = {file.id: file.md5 for file in cca.truth(REPORT, day, day)}
    return proof.examine(STORE, REPORT, day, truth)


def backfill(airflow: Stack, days: Sequence[date]) -> int:
    """Have Airflow run the DAG for all these dates, and wait for the runs; returns the backfill's id."""
    backfill_id = airflow.api.create_backfill(DAG, days[0], days[-1], max_active_runs=MAX_ACTIVE_RUNS)
    say(f"backfilling {DAG} from {days[0]} to {days[-1]}")
    progress = Progress(len(days))

    def show(runs: Sequence[Run]) -> None:
        progress.show(runs)
        complain_of_tasks(airflow)

    runs = airflow.wait_for_runs(
        lambda: airflow.api.backfill_runs(DAG, days[0], days[-1]), BACKFILL_SECONDS, show
    )
    progress.end()
    if len(runs) != len(days):
        reason = f"{len(days)} runs expected, Airflow made {len(runs)}"
        raise StepError("backfill", reason, airflow.processes.logs)
    return backfill_id


def complain_of_tasks(airflow: Stack) -> None:
    """Raise for the first task that failed. A later attempt is no comfort: here nothing ever needs one."""
    for instance in airflow.api.task_instances(DAG, "failed", "upstream_failed", "up_for_retry"):
        log = airflow.task_log(instance)
        step = f"task {instance['task_id']} of {instance['dag_run_id']}"
        raise StepError(step, f"{instance['state']}: {reason_in(log)}", log)


def reason_in(log: Path) -> str:
    """The last error of a task's log, which has a JSON object on each line."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    errors = [line for line in lines if line.get("level") in ("error", "critical")]
    if not errors:
        return "no error in its log"
    causes = errors[-1].get("error_detail") or [{}]
    return str(causes[0].get("exc_value") or errors[-1].get("event"))


class Progress:
    """What the runs are doing: one line that renews itself on a terminal, a line now and then elsewhere."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._started = self._printed = time.monotonic()
        self._last = ""

    def show(self, runs: Sequence[Run]) -> None:
        """Print the present state, unless it is the one printed last."""
        states = Counter(run["state"] for run in runs)
        line = ", ".join(f"{states[state]} {state}" for state in ("queued", "running", "success", "failed"))
        now = time.monotonic()
        if sys.stdout.isatty():
            print(f"\r  {self._expected} runs: {line}; {now - self._started:.0f} s ", end="", flush=True)
        elif line != self._last and (now - self._printed > LINE_SECONDS or not self._last):
            print(f"  {self._expected} runs: {line}", flush=True)
            self._printed, self._last = now, line

    def end(self) -> None:
        """Leave the line."""
        print() if sys.stdout.isatty() else print(
            f"  {self._expected} runs done in {time.monotonic() - self._started:.0f} s", flush=True
        )


def say(what: str) -> None:
    """One step, with the time of day."""
    print(f"{datetime.now():%H:%M:%S} {what}", flush=True)


def shown(path: Path) -> Path:
    """A path as somebody in the repository's folder would type it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
