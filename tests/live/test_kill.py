"""A task that is marked failed in the UI while a body stalls ends at once, and its next run lands whole."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from airflow_provider_cca.simulator import Hang, Match

from .processes import wait_until
from .proof import examine, partition_folder
from .weather import is_task

DAG = "cca_cdr_compressed"
REPORT = "cdr_compressed"
TASK = "land_files"
DAY = datetime.now(UTC).date() - timedelta(days=130)  # no other live test lands it
START_SECONDS = 60
END_SECONDS = 15
SENT_BYTES = 100
ANSI = re.compile(r"\x1b\[[0-9;]*m")

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def stalled(cca, airflow):
    """A run whose download has stalled after some bytes, and the process of its task."""
    (file, *_) = cca.truth(REPORT, DAY, DAY)
    rule = cca.inject(Hang(SENT_BYTES), Match(path=f"/{file.id}$"), times=None)
    airflow.unpause(DAG)
    run_id = airflow.api.trigger(DAG, {"partition": str(DAY)})
    wait_until("the stalled body", lambda: rule.hits, START_SECONDS, watch=airflow.processes.check)
    process = psutil.Process(airflow.api.task(DAG, run_id, TASK)["pid"])
    assert is_task(process)
    yield run_id, process
    cca.faults.clear()


@pytest.fixture(scope="module")
def killed(airflow, stalled, store):
    """The names in the folder of the date before somebody marks the task as failed, and after its end."""
    run_id, process = stalled
    before = names(store)
    airflow.api.mark_failed(DAG, run_id, TASK)
    wait_until("the end of the task", lambda: not process.is_running(), END_SECONDS)
    return before, names(store)


@pytest.fixture(scope="module")
def landed_again(cca, airflow, stalled, killed):
    """The same run, cleared when the server has come back to life."""
    run_id, _ = stalled
    cca.faults.clear()
    airflow.api.clear_failed(DAG, run_id)

    def ended():
        return airflow.api.run(DAG, run_id)["state"] == "success"

    wait_until("the run", ended, START_SECONDS, watch=airflow.processes.check)
    return run_id


def names(store):
    folder = partition_folder(store, REPORT, DAY)
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def supervisor_said(airflow, what, pid=None):
    """When the supervisor of the task said so, and the facts that it gave."""
    line = re.compile(rf"^(\S+) \[\w+ *\] {re.escape(what)} +\[supervisor\] (.*)$", re.MULTILINE)
    log = (airflow.processes.logs / "scheduler.log").read_text()
    for moment, facts in line.findall(ANSI.sub("", log)):
        said = dict(re.findall(r"(\w+)=(\S+)", facts))
        if pid is None or said.get("pid") == str(pid):
            return datetime.fromisoformat(moment), said
    return None


def test_the_task_ends_by_itself_within_three_seconds_of_being_asked_to(airflow, stalled, killed):
    _, process = stalled
    asked, _ = supervisor_said(airflow, "Server indicated the task shouldn't be running anymore")
    ended, facts = wait_until(
        "the supervisor", lambda: supervisor_said(airflow, "Process exited", process.pid), END_SECONDS
    )
    assert facts["signal_sent"] == "SIGTERM"
    assert ended - asked < timedelta(seconds=3)


def test_its_log_says_that_the_download_was_stopped(airflow, stalled, killed):
    run_id, _ = stalled
    assert "was stopped" in airflow.task_log(airflow.api.task(DAG, run_id, TASK)).read_text()


def test_only_a_hidden_name_is_ever_there_of_a_half_file(killed):
    before, after = killed
    assert before
    assert all(name.startswith(".") for name in before | after)


def test_the_next_run_lands_the_date_whole_and_leaves_nothing_hidden(cca, store, landed_again):
    truth = {file.id: file.md5 for file in cca.truth(REPORT, DAY, DAY)}
    assert truth
    # It also complains of every name that no manifest knows.
    assert examine(store, REPORT, DAY, truth).faults == ()
