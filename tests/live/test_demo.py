"""The demo, as somebody runs it who has just cloned the repository."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .demo import DAYS
from .processes import wait_until
from .stack import ROOT

NOT_IN_A_CLONE = (".venv", ".git", ".airflow", "__pycache__", ".*_cache", "dist", "*.egg-info")
LIMIT_SECONDS = 240

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    copy = tmp_path_factory.mktemp("demo") / "clone"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE))
    return copy


@pytest.fixture(scope="module")
def first(clone):
    return demo(clone)


@pytest.fixture(scope="module")
def second(clone, first):
    return demo(clone)


def demo(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.live.demo"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def verified_dates(output: str) -> set[str]:
    return set(re.findall(r"^cdr_compressed +(\S+) .* yes$", output, re.MULTILINE))


def downloads(output: str) -> int:
    return int(re.search(r"(\d+) of them downloads", output)[1])


def test_a_first_demo_lands_and_verifies_fourteen_dates(first):
    assert first.returncode == 0, first.stdout + first.stderr
    assert len(verified_dates(first.stdout)) == DAYS == 14
    assert downloads(first.stdout) >= DAYS


def test_a_second_demo_verifies_them_again_and_downloads_nothing(second):
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(verified_dates(second.stdout)) == DAYS
    assert downloads(second.stdout) == 0


def test_a_demo_leaves_nothing_running(clone, second):
    assert running_in(clone) == []


def test_ctrl_c_stops_everything(clone, second):
    process = demo_in_the_middle(clone)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert running_in(clone) == []


def test_a_demo_works_after_a_killed_one(clone, second):
    process = demo_in_the_middle(clone)
    process.kill()
    process.wait(60)
    assert running_in(clone) != []
    third = demo(clone)
    assert third.returncode == 0, third.stdout + third.stderr
    assert len(verified_dates(third.stdout)) == DAYS
    assert running_in(clone) == []


def demo_in_the_middle(clone: Path) -> subprocess.Popen[bytes]:
    """A demo whose backfill has begun."""
    log = clone / "demo.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.live.demo"]
        process = subprocess.Popen(command, cwd=clone, stdout=output, stderr=subprocess.STDOUT)
    wait_until("the backfill", lambda: "running" in log.read_text(), LIMIT_SECONDS, log=log)
    return process


def running_in(clone: Path) -> list[str]:
    return [process.name() for process in psutil.process_iter() if belongs_to(process, clone)]


def belongs_to(process: psutil.Process, clone: Path) -> bool:
    try:
        return str(clone) in " ".join(process.cmdline()) or Path(process.cwd()).is_relative_to(clone)
    except psutil.Error:
        return False  # it is gone, or it is none of ours
