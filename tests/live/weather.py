"""Bad weather for a soak: answers that are faults, and tasks that are killed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from airflow_provider_cca.simulator import (
    Asked,
    BadJson,
    CutAfter,
    Hang,
    Match,
    Reset,
    Simulator,
    Status,
    StillProcessing,
    TokenExpired,
    TruncatedJson,
    WrongBytes,
)

FAULT_EVERY = 10
REQUESTS_PER_KILL = (60, 140)  # requests and not seconds, so that a slow machine is not a harsher one
LATENCY_SECONDS = 0.03  # of each answer, so that there is something to kill

ANYWHERE = (Status(500), Status(503, retry_after=1), Status(429), Status(429, retry_after=1), Reset())
FAULTS = {
    "token": (*ANYWHERE, TruncatedJson()),
    "list": (*ANYWHERE, TruncatedJson(), BadJson(), TokenExpired(), StillProcessing()),
    "download": (*ANYWHERE, CutAfter(1000), CutAfter(270_000, reset=True), WrongBytes(), TokenExpired(),
                 Hang(1000)),
}  # fmt: skip

# How Airflow calls the process of one task; that of its LocalExecutor bears the executor's name instead.
TASK_PROCESS = re.compile(r"^airflow worker -- [0-9a-f-]{36}")


@contextmanager
def bad_weather(cca: Simulator, dice: random.Random) -> Iterator[None]:
    """Make every tenth answer a fault that fits its request."""
    asked_for = 0

    def strike(asked: Asked) -> None:
        nonlocal asked_for
        asked_for += 1
        if asked_for % FAULT_EVERY == 0 and asked.kind in FAULTS:
            cca.faults[:] = [rule for rule in cca.faults if rule.hits != rule.times]
            cca.inject(dice.choice(FAULTS[asked.kind]), Match(call=asked.kind))

    cca.before_answer, cca.latency = strike, LATENCY_SECONDS
    try:
        yield
    finally:
        cca.before_answer, cca.latency = None, 0.0
        cca.faults.clear()


class Killer:
    """Kills the process of a task now and then, as the kernel does when memory is short."""

    def __init__(self, cca: Simulator, dice: random.Random) -> None:
        self._cca, self._dice = cca, dice
        self._plan()
        self.kills = 0

    def _plan(self) -> None:
        self._next = len(self._cca.requests) + self._dice.randint(*REQUESTS_PER_KILL)

    def strike(self) -> None:
        """Kill one, if it is time and if there is one."""
        if len(self._cca.requests) >= self._next and (processes := task_processes()):
            with suppress(psutil.NoSuchProcess):
                self._dice.choice(processes).kill()
                self.kills += 1
                self._plan()


def task_processes() -> list[psutil.Process]:
    """The tasks that run now, below this process."""
    return [process for process in psutil.Process().children(recursive=True) if is_task(process)]


def is_task(process: psutil.Process) -> bool:
    """Whether it is one of Airflow's tasks."""
    try:
        return TASK_PROCESS.match(" ".join(process.cmdline())) is not None
    except psutil.Error:
        return False
