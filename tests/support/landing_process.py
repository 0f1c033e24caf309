"""A landing in a process of its own, which can be killed: by a signal from outside, or at a stage by itself.

Processes are forked from one that has imported everything already, so that each costs milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from typing import Any

from airflow_provider_cca.operators import (
    CcaExtractOperator,
    CcaReconcileOperator,
    CcaToObjectStorageOperator,
)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, "airflow.providers.amazon.aws.hooks.s3"])


@dataclass(frozen=True)
class Event:
    """The `nth` event of Python's audit hooks that has this name, and `at` in one of its arguments.

    :param since: Counted from the first link of a name that holds this.
    """

    name: str
    at: str
    nth: int = 1
    since: str = ""


def landing_process(destination: str, day: str, last: Event | None = None) -> ForkServerProcess:
    """A process that will land `cdr_compressed` of that day; start it.

    :param last: Just before this event it dies by SIGKILL.
    """
    env = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
    return _context.Process(target=_land, args=(env, destination, day, last))


KINDS = ("land", "extract", "reconcile")


def task_process(kind: str, destination: str, day: str) -> ForkServerProcess:
    """A process that will land or extract `cdr_compressed` of that day, or reconcile; start it."""
    env = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
    return _context.Process(target=_run, args=(env, kind, destination, day))


def _run(env: Mapping[str, str], kind: str, destination: str, day: str) -> None:
    os.environ.update(env)
    common = {"task_id": "t", "destination": destination}
    operator = {
        "land": lambda: CcaToObjectStorageOperator(report="cdr_compressed", partition=day, **common),
        "extract": lambda: CcaExtractOperator(source=destination, partition=day, **common),
        "reconcile": lambda: CcaReconcileOperator(report="cdr_compressed", lookback_days=4, **common),
    }[kind]()
    with suppress(Exception):  # a file that is revised while it comes fails its landing
        operator.execute({"params": {}})


def _land(env: Mapping[str, str], destination: str, day: str, last: Event | None) -> None:
    os.environ.update(env)
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", destination=destination, partition=day
    )
    # As Airflow's task runner does it.
    signal.signal(signal.SIGTERM, lambda signum, frame: operator.on_kill())
    if last:
        _die_before(last)
    operator.execute({"params": {}})


def _die_before(event: Event) -> None:
    seen, begun = 0, not event.since

    def look(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen, begun
        begun = begun or (name == "os.link" and event.since in str(arguments[1]))
        if begun and name == event.name and any(event.at in str(argument) for argument in arguments):
            seen += 1
            if seen == event.nth:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
