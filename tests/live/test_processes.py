"""The processes of the live tests end when they should; no Airflow is needed to see that."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from .processes import StepError, children, free_port, wait_until
from .stack import ROOT

# A child that ignores SIGTERM and has a child of its own in another process group, as Airflow's tasks have.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
print("up", flush=True)
time.sleep(600)
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.live.processes import children, wait_until
with children(Path(sys.argv[1])) as processes:
    child = processes.start("sleeper", [sys.executable, "-c", sys.argv[2]], os.environ, Path.cwd())
    wait_until("the sleeper", lambda: child.log.read_text().count("up") == 2, 20)
    os.kill(os.getpid(), int(sys.argv[3]))
"""


def start(processes, code, name="child"):
    return processes.start(name, [sys.executable, "-c", code], os.environ, processes.home)


def members_of(session):
    return [process for process in psutil.process_iter() if is_alive_in(session, process)]


def is_alive_in(session, process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False


def run_and_signal(home, number):
    """A run that gets a signal while its child runs; returns the child's session."""
    subprocess.run(
        [sys.executable, "-c", KILLED, str(home), STUBBORN.replace("SIG_IGN", "SIG_DFL"), str(int(number))],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    record = home / "processes.json"
    return json.loads(record.read_text())[0]["pid"] if record.exists() else None


def test_a_child_that_ends_is_an_error_with_its_last_words_and_its_log(tmp_path):
    with children(tmp_path) as processes:
        child = start(processes, "print('no such column'); raise SystemExit(3)", "scheduler")
        with pytest.raises(StepError) as caught:
            wait_until("health", lambda: None, 20, watch=processes.check)
    assert "scheduler: ended with exit code 3" in str(caught.value)
    assert "no such column" in str(caught.value)
    assert str(child.log) in str(caught.value)


def test_a_deadline_names_the_step(tmp_path):
    with pytest.raises(StepError, match="health: not done after 0 s"):
        wait_until("health", lambda: None, 0)


def test_stopping_ends_grandchildren_in_other_groups_and_those_who_refuse(tmp_path):
    with children(tmp_path, patience=0.5) as processes:
        child = start(processes, STUBBORN)
        wait_until("the child", lambda: child.log.read_text().count("up") == 2, 20)
        session = child.process.pid
        assert len(members_of(session)) == 2
    assert members_of(session) == []


def test_termination_stops_the_children_too(tmp_path):
    assert run_and_signal(tmp_path, signal.SIGTERM) is None


def test_the_next_run_ends_what_a_kill_left(tmp_path):
    session = run_and_signal(tmp_path, signal.SIGKILL)
    assert len(members_of(session)) == 2
    with children(tmp_path):
        assert members_of(session) == []


def test_two_runs_do_not_share_a_home(tmp_path):
    with (
        children(tmp_path),
        pytest.raises(StepError, match=f"in use by process {os.getpid()}"),
        children(tmp_path),
    ):
        pass


def test_a_taken_port_is_not_used():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert free_port(taken.getsockname()[1]) != taken.getsockname()[1]
