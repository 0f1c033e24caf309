"""`make soak`: a long backfill in bad weather, while somebody reads the store all along.

Every tenth answer of the simulated server is a fault, and now and then a task is killed. At the end the
store must hold what the server holds, and nobody may have seen a part of a file on the way.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

import requests

from airflow_provider_cca.simulator import Simulator

from .api import FINISHED
from .hurry import SETTINGS, hurry, impatient
from .processes import StepError, children, wait_until
from .proof import MANIFEST, md5
from .stack import ROOT, Stack, airflow_stack
from .weather import Killer, bad_weather

HOME = ROOT / ".airflow" / "soak"
STORE = HOME / "store"
READ_TIMEOUT_SECONDS = 2
FILE_BYTES = 300_000  # more than one chunk, so that a file can be half written

# DAG -> the report that it lands, and what the report is divided by.
DAGS = {
    "cca_cdr_compressed": ("cdr_compressed", None),
    "cca_peak_port_daily": ("peak_port_daily", "level"),
    "cca_cdr_by_site": ("cdr", "site"),
}
LEVELS = ("site", "customer", "partner")
MAX_ACTIVE_RUNS = 16

LOOK_SECONDS = 0.2  # between two looks of the reader
PROGRESS_SECONDS = 5

Truth = Mapping[str, list[str]]
"""Folder of a partition, relative to the store -> the MD5s of its files, sorted."""


def main() -> int:
    """Soak with an Airflow of its own; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=365, help="creation dates, up to yesterday")
    parser.add_argument("--reports", type=int, default=len(DAGS), choices=range(1, len(DAGS) + 1))
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the kills")
    arguments = parser.parse_args()
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(arguments.days, 0, -1)]
    try:
        outcome = alone(days, list(DAGS)[: arguments.reports], arguments.seed)
    except StepError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    print(f"\n{outcome}")
    return 1 if outcome.wrong else 0


def alone(days: Sequence[date], dags: Sequence[str], seed: int) -> Outcome:
    """Soak with a simulator, an Airflow and an empty store of its own."""
    cca = Simulator(seed=seed, days=400, sites=3, file_size=FILE_BYTES)
    with children(HOME) as processes, cca.serve():
        for folder in (STORE, HOME / "logs"):
            shutil.rmtree(folder, ignore_errors=True)
        hurry(HOME)
        print(f"starting PostgreSQL and Airflow in {HOME}", flush=True)
        connection = impatient(cca, READ_TIMEOUT_SECONDS)
        with airflow_stack(
            processes, connection=connection, storage=STORE, scheduled=False, settings=SETTINGS
        ) as airflow:
            return soak(cca, airflow, STORE, days, dags, seed)


def soak(
    cca: Simulator, airflow: Stack, store: Path, days: Sequence[date], dags: Sequence[str], seed: int
) -> Outcome:
    """Backfill these dates with these DAGs in bad weather, and see what has become of it."""
    started, before = time.monotonic(), len(cca.requests)
    truth = truth_of(cca, days, dags)
    dice = random.Random(seed)
    killer = Killer(cca, dice)
    with bad_weather(cca, dice), Reader(store, truth) as reader:
        for dag_id in dags:
            start_backfill(airflow, dag_id, days)
        progress = Progress(airflow, dags, days)

        def finished() -> bool:
            killer.strike()
            return progress.finished(
                lambda: (
                    f"{len(reader.files)} files landed, {killer.kills} kills, {reader.looks} looks, "
                    f"{len(reader.half)} half objects"
                )
            )

        wait_until("the soak", finished, 300 + 4 * progress.expected, watch=airflow.processes.check)
    return Outcome(
        runs=Counter(
            run["state"] for dag in dags for run in airflow.api.backfill_runs(dag, days[0], days[-1])
        ),
        expected_runs=progress.expected,
        files=sum(map(len, truth.values())),
        differences=differences(store, truth, days, dags),
        half=reader.half,
        looks=reader.looks,
        calls=Counter(kind_of(line.call) for line in cca.requests[before:]),
        faults=Counter(
            f"{name} {line.status}" if name == "Status" else name
            for line in cca.requests[before:]
            for name in line.faults
        ),
        kills=killer.kills,
        seconds=time.monotonic() - started,
    )


@dataclass
class Outcome:
    """What a soak has shown."""

    runs: Counter[str]
    expected_runs: int
    files: int
    differences: list[str]
    half: list[str]
    looks: int
    calls: Counter[str]
    faults: Counter[str]
    kills: int
    seconds: float

    @property
    def downloads_per_file(self) -> float:
        """How often a file was asked for until it had landed, on average."""
        return self.calls["download"] / max(self.files, 1)

    @property
    def wrong(self) -> list[str]:
        """What must not be, a sentence each."""
        runs = [f"{n} runs ended as {state}" for state, n in self.runs.items() if state != "success"]
        if self.runs.total() != self.expected_runs:
            runs.append(f"{self.runs.total()} runs instead of {self.expected_runs}")
        return [*runs, *self.differences, *(f"half visible: {what}" for what in self.half)]

    def __str__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.faults.items()))
        lines = [
            f"runs      {self.runs['success']} of {self.expected_runs} ended well, in {self.seconds:.0f} s",
            f"landed    {self.files} files, {len(self.differences)} differences to the server by MD5",
            f"visible   {len(self.half)} half objects in {self.looks} looks at the store",
            f"requests  {self.calls['download']} downloads, {self.downloads_per_file:.2f} per file landed; "
            f"{self.calls['list']} listings, {self.calls['token']} logins",
            f"faults    {self.faults.total()} of {self.calls.total()} answers: {kinds}",
            f"kills     {self.kills} task processes",
            *(f"WRONG     {what}" for what in self.wrong[:20]),
        ]
        return "\n".join(lines)


def kind_of(call: str) -> str:
    """ "download", "token", or "list"."""
    kind = call.partition("_")[0]
    return kind if kind in ("download", "token") else "list"


# What ought to be, and what is


def scopes(cca: Simulator, dag_id: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Folder and scope of each part of what a DAG lands."""
    report, divided_by = DAGS[dag_id]
    if divided_by is None:
        yield report, {}
        return
    for name in LEVELS if divided_by == "level" else cca.world.sites:
        yield f"{report}/{divided_by}={name}", {divided_by: name}


def truth_of(cca: Simulator, days: Sequence[date], dags: Sequence[str]) -> Truth:
    """What the server holds of these dates; those that expired today hold nothing and are left out."""
    truth: dict[str, list[str]] = {}
    for dag_id in dags:
        for folder, scope in scopes(cca, dag_id):
            for file in cca.truth(DAGS[dag_id][0], days[0], days[-1], **scope):
                truth.setdefault(f"{folder}/creation_date={file.creation_date}", []).append(file.md5)
    return {folder: sorted(digests) for folder, digests in truth.items()}


def differences(store: Path, truth: Truth, days: Sequence[date], dags: Sequence[str]) -> list[str]:
    """What is wrong in the store, hidden leftovers and manifests included; everything is read anew."""
    names = {f"creation_date={day}" for day in days}
    reports = [store / DAGS[dag_id][0] for dag_id in dags]
    folders = [f for report in reports for f in report.rglob("creation_date=*") if f.name in names]
    found = {str(folder.relative_to(store)): folder for folder in folders}
    wrong = [f"{folder} was not landed" for folder in truth.keys() - found.keys()]
    wrong += [f"{folder} is not on the server" for folder in found.keys() - truth.keys()]
    for folder in truth.keys() & found.keys():
        objects = [path for path in found[folder].iterdir() if path.name != MANIFEST]
        if sorted(map(md5, objects)) != truth[folder]:
            wrong.append(f"{folder} holds {sorted(path.name for path in objects)}, not what the server holds")
        manifest = found[folder] / MANIFEST
        entries = json.loads(manifest.read_text())["files"] if manifest.exists() else []
        if {entry["key"] for entry in entries} != {path.name for path in objects}:
            wrong.append(f"{folder} has a manifest that does not name its files")
    return wrong


@dataclass
class Reader:
    """Reads whatever is new in the store, over and over, like an engine that waits for nobody.

    `files` are those that it saw, `half` is what nobody should ever see.
    """

    store: Path
    truth: Truth
    files: set[str] = field(default_factory=set)
    half: list[str] = field(default_factory=list)
    looks: int = 0

    def __post_init__(self) -> None:
        self._seen: set[tuple[str, int, int]] = set()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Read all that is visible and was not read before."""
        for folder, digests in self.truth.items():
            with suppress(FileNotFoundError):
                for path in (self.store / folder).iterdir():
                    if not path.name.startswith(".") and self._is_new(path):
                        self._check(path, digests)
        self.looks += 1

    def _is_new(self, path: Path) -> bool:
        facts = path.stat()
        version = (str(path), facts.st_ino, facts.st_mtime_ns)
        known = version in self._seen
        self._seen.add(version)
        return not known

    def _check(self, path: Path, digests: Sequence[str]) -> None:
        if path.name == MANIFEST:
            self.half += manifest_faults(path, digests)
            return
        self.files.add(str(path))
        if md5(path) not in digests:
            self.half.append(f"{path}, {path.stat().st_size} bytes")


def manifest_faults(manifest: Path, digests: Sequence[str]) -> Iterator[str]:
    """What a manifest names although it is not there, or not whole."""
    text = manifest.read_text()
    try:
        entries = json.loads(text)["files"]
    except ValueError:
        yield f"{manifest}, {len(text)} characters"
        return
    for entry in entries:
        file = manifest.with_name(entry["key"])
        whole = file.exists() and file.stat().st_size == entry["size"] and md5(file) == entry["md5"]
        if not whole or entry["md5"] not in digests:
            yield f"{manifest} names {file.name}"


# The backfills


def start_backfill(airflow: Stack, dag_id: str, days: Sequence[date]) -> None:
    """Start it, when Airflow has noticed that the one before is done."""

    def started() -> bool:
        try:
            airflow.api.create_backfill(dag_id, days[0], days[-1], max_active_runs=MAX_ACTIVE_RUNS)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.conflict:
                raise
            return False
        return True

    airflow.unpause(dag_id)
    wait_until(f"the backfill of {dag_id}", started, 90, watch=airflow.processes.check)


class Progress:
    """How far the backfills are; asks Airflow, and says so, every few seconds."""

    def __init__(self, airflow: Stack, dags: Sequence[str], days: Sequence[date]) -> None:
        self._airflow, self._dags, self._days = airflow, dags, days
        self._started = self._asked = time.monotonic()
        self.expected = len(dags) * len(days)

    def finished(self, more: Callable[[], str]) -> bool:
        """Whether all runs have ended; `more` is for the line that is printed."""
        now = time.monotonic()
        if now - self._asked < PROGRESS_SECONDS:
            return False
        self._asked = now
        done = sum(
            self._airflow.api.backfill_count(dag_id, self._days[0], self._days[-1], *FINISHED)
            for dag_id in self._dags
        )
        print(
            f"  {now - self._started:4.0f} s: {done} of {self.expected} runs done, {more()}",
            flush=True,
        )
        return done == self.expected


if __name__ == "__main__":
    sys.exit(main())
