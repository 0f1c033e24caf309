"""One side of a row: a process, and what it cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1800
"""After so long a side is taken for hung."""


@dataclass(frozen=True)
class Cost:
    """What one run of one side took.

    :param seconds: Wall time of the work alone, without starting Python and importing.
    :param cpu: CPU seconds of the same.
    :param peak: Most bytes resident at once, of the whole process; None where nobody looked.
    :param grown: The same less what was resident before the work began.
    :param facts: What the work returned.
    """

    seconds: float
    cpu: float
    peak: int | None = None
    grown: int | None = None
    facts: Any = field(default=None, compare=False)


class SideFailed(RuntimeError):
    """A side ended with an error: there is nothing to compare."""


def run_python(module: str, task: str, env: Mapping[str, str], **arguments: Any) -> Cost:
    """Run a task of `benchmarks.ours` or `benchmarks.yardsticks`, which measures itself."""
    return Cost(**run_module(module, env, task, json.dumps(arguments)))


def run_module(module: str, env: Mapping[str, str], *arguments: str) -> Any:
    """Run a module of this package; the JSON that it printed last."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    return json.loads(_run(command, {**_inherited("AIRFLOW"), **env}).stdout.splitlines()[-1])


def run_program(command: Sequence[str], env: Mapping[str, str] | None = None) -> Cost:
    """Run a program that does nothing but the work."""
    before, started = _children_cpu(), time.monotonic()
    _run(command, {**_inherited("AWS_"), **(env or {})})
    return Cost(time.monotonic() - started, _children_cpu() - before)


def in_turn(
    repeat: int, ours: Callable[[], Cost], yardstick: Callable[[], Cost]
) -> tuple[list[Cost], list[Cost]]:
    """Ours, the yardstick, ours, the yardstick …: a machine that slows down slows both."""
    pairs = [(ours(), yardstick()) for _ in range(repeat)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def seconds(costs: Sequence[Cost]) -> float:
    """The median of the wall times."""
    return median(cost.seconds for cost in costs)


def measured(work: Callable[[], Any]) -> Cost:
    """Do some work in this process and see what it costs."""
    before = resident()
    cpu, started = time.process_time(), time.monotonic()
    facts = work()
    took, cpu = time.monotonic() - started, time.process_time() - cpu
    most = peak()
    return Cost(took, cpu, most, most - before if most and before else None, facts)


def resident() -> int | None:
    """Bytes of this process that are in memory now; None where there is no /proc."""
    return _status("VmRSS")


def peak() -> int | None:
    """The most that ever were. Not from getrusage, which begins with the size of whoever forked us."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Forget the peak so far, such as that of the imports."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _inherited(*without: str) -> dict[str, str]:
    """Our environment without what would change the work of a side."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


def _run(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=dict(env), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise SideFailed(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr[-3000:]}")
    return done
