"""Child processes that are watched while they run and gone when we are.

Each child leads a session of its own. Airflow's tasks change their process group but not their session,
so the session is what finds every descendant, even one whose parent is dead already.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

POLL_SECONDS = 0.2
STOP_SECONDS = 5  # what a child may take to end by itself before it is killed
KILL_SECONDS = 30
TAIL_LINES = 15

T = TypeVar("T")


class StepError(Exception):
    """A step of the set-up or of the demo failed; says which one, why, and where its log is."""

    def __init__(self, step: str, reason: str, log: Path | None = None) -> None:
        super().__init__(step, reason, log)
        self.step, self.reason, self.log = step, reason, log

    def __str__(self) -> str:
        where = f"\n  log: {self.log}" if self.log else ""
        return f"{self.step}: {self.reason}{where}"


def wait_until(
    step: str,
    probe: Callable[[], T | None],
    seconds: float,
    *,
    watch: Callable[[], None] = lambda: None,
    log: Path | None = None,
) -> T:
    """The first truthy answer of `probe`; `watch` may raise in between when waiting has become pointless."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        watch()
        if time.monotonic() > deadline:
            raise StepError(step, f"not done after {seconds:.0f} s", log)
        time.sleep(POLL_SECONDS)
    return answer


def tail(log: Path) -> str:
    """The last lines of a log, indented, for an error message."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "".join(f"\n    {line}" for line in lines)


def free_port(wanted: int) -> int:
    """`wanted` when nobody listens there, or is about to, otherwise one that the system picks."""
    for port in (wanted, 0) if _reserve(wanted) else (0,):
        with socket.socket() as probe, suppress(OSError):
            # Without it the closed connections of the run before would hold the port for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StepError("ports", "no free port on 127.0.0.1")


_reserved: list[IO[str]] = []


def _reserve(port: int) -> bool:
    """Take the port among runs of ours, for the life of this process: two can look before either listens."""
    lock = (Path(tempfile.gettempdir()) / f"cca-live-port-{port}.lock").open("a")
    _reserved.append(lock)
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@dataclass(frozen=True)
class Child:
    """One process that we started, and the file that holds what it printed."""

    name: str
    process: psutil.Popen
    log: Path


class Children:
    """The processes of one run.

    Their ids are kept on disk, so that the next run can end what a kill -9 of this one would leave.
    """

    def __init__(self, home: Path, patience: float) -> None:
        self.home = home
        self.logs = home / "component-logs"
        self._patience = patience
        self._record = home / "processes.json"
        self._children: list[Child] = []
        self.logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Child:
        """Start a process whose output goes to a log of its own."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = psutil.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        self._record.write_text(
            json.dumps([{"pid": c.process.pid, "created": c.process.create_time()} for c in self._children])
        )
        return child

    def check(self) -> None:
        """Raise when one of them has ended: nothing that we wait for can come any more."""
        for child in self._children:
            if (code := child.process.poll()) is not None:
                raise StepError(child.name, f"ended with exit code {code}{tail(child.log)}", child.log)

    def stop(self) -> None:
        """End all of them and everything that they started."""
        with uninterrupted():
            _end_sessions([child.process for child in self._children], patience=self._patience)
            self._children.clear()
            self._record.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End the processes that an earlier run recorded and did not live to stop."""
        try:
            entries = json.loads(self._record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return
        _end_sessions([leader for entry in entries if (leader := _recorded(**entry))], patience=0)
        self._record.unlink(missing_ok=True)


@contextmanager
def children(home: Path, patience: float = STOP_SECONDS) -> Iterator[Children]:
    """Room for the processes of one run in `home`; ends first what an earlier run left there."""
    home.mkdir(parents=True, exist_ok=True)
    with _only_run_in(home):
        running = Children(home, patience)
        running.end_leftovers()
        try:
            with _termination_as_interrupt():
                yield running
        finally:
            running.stop()


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let a kill or a closed terminal unwind like Ctrl-C: by default it would skip every clean-up."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    with _handling((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Clean up to the end, however often somebody presses Ctrl-C."""
    with _handling((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN):
        yield


@contextmanager
def _handling(signals: Sequence[signal.Signals], handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def _only_run_in(home: Path) -> Iterator[None]:
    # The kernel drops the lock with the process, so that none is left behind by a kill -9.
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StepError(
                "set-up", f"{home} is in use by process {lock.read() or '?'}: stop that one first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _recorded(pid: int, created: float) -> psutil.Process | None:
    # A process id is used again some day; together with the time of birth it is not.
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < 1:
            return process
    return None


def _end_sessions(leaders: Sequence[psutil.Process], patience: float) -> None:
    sessions = {leader.pid for leader in leaders}
    for leader in leaders:
        with suppress(psutil.NoSuchProcess):
            leader.terminate()
    psutil.wait_procs(leaders, timeout=patience)

    def killed() -> bool:
        members = [process for process in psutil.process_iter() if _session_of(process) in sessions]
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return not members

    wait_until("the end of all processes", killed, KILL_SECONDS)


def _session_of(process: psutil.Process) -> int | None:
    with suppress(OSError, psutil.NoSuchProcess):
        if process.status() != psutil.STATUS_ZOMBIE:
            return os.getsid(process.pid)
    return None
