"""Explores interleavings of the real commit code over a store in memory (docs/protocol.md).

    python -m tests.reliability.explorer            all pairs of tasks, three switches, then random runs
    python -m tests.reliability.explorer SEED       one random run again

Each task is a greenlet that stands still before every operation of the store and of the server; the schedule
says which moves next, and where a task dies, an answer is lost, the server revises a file or somebody damages
an object. After each operation the invariants are checked, and a violation is told by the operations that led
there.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import random
import secrets
import sys
import time
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, partial
from itertools import combinations_with_replacement, count
from multiprocessing import get_context
from threading import Event
from typing import Any

from greenlet import getcurrent, greenlet

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.extract.extractor import Members
from airflow_provider_cca.extract.zip_reader import Limits
from airflow_provider_cca.landing import commit
from airflow_provider_cca.landing.commit import Job, Transaction
from airflow_provider_cca.landing.lander import ServerFiles
from airflow_provider_cca.landing.manifest_store import ManifestStore
from airflow_provider_cca.landing.progress import Progress
from airflow_provider_cca.reports import REPORTS
from tests.support.scheduled_store import Disk, ScheduledStore, lost_answer, md5

PLACE = Scope(REPORTS["cdr_compressed"]), Partition(date(2026, 3, 1))
FOLDERS = {
    "Z": "cdr_compressed/creation_date=2026-03-01",
    "X": "cdr_csv/creation_date=2026-03-01",
}
DATE = {"creation_date": "2026-03-01"}
LIMITS = Limits()
PAIRS = [("land", "land"), ("land", "part"), ("land", "extract"), ("extract", "extract")]
TASKS = ("land", "part", "reconcile", "extract")
JUNK = b"junk"
PROCESSES = 2


class Killed(BaseException):
    """The process of a task ends: nothing handles it."""


@cache
def zip_of(version: str) -> bytes:
    """A zip with one member, whose content is the version in small letters."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(zipfile.ZipInfo("m.csv", (2026, 3, 1, 0, 0, 0)), version.lower())
    return held.getvalue()


@cache
def remote(id_: str, name: str, version: str) -> RemoteFile:
    content = zip_of(version)
    moment = datetime(2026, 3, 1, 7, tzinfo=UTC)
    return RemoteFile(id_, name, "link", len(content), md5(content), moment, None, 0, *PLACE)


@dataclass
class Scenario:
    """What the tasks are, and what may happen."""

    kinds: tuple[str, ...]
    before: tuple[str, ...] = ()
    revisions: tuple[tuple[str, str, str], ...] = (("A", "a.zip", "A2"),)
    listed: tuple[tuple[str, str, str], ...] = (("A", "a.zip", "A1"), ("B", "b.zip", "B1"))
    tells_md5: bool = True
    """Whether the store's listing does, as S3's; a disk's does not."""

    @property
    def goes_forward(self) -> bool:
        """Whether what a task lists is never older than what was listed before: then I6 holds.

        A list that was given from outside is as old as it is, and a server may go back to an older version.
        """
        versions = [version for _, _, version in self.revisions if version]
        return "part" not in self.kinds and versions == sorted(versions, key=lambda version: version[1:])


@dataclass
class World:
    """The store, the server, and what is known of both."""

    scenario: Scenario
    disk: Disk = field(default_factory=Disk)
    server: dict[str, tuple[str, str]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    damaged: set[tuple[str, str]] = field(default_factory=set)
    """Key (with its folder) and MD5 of objects that were hit and not written again since."""
    ever: set[tuple[str, str, str]] = field(default_factory=set)
    fetched: Counter[tuple[int, str]] = field(default_factory=Counter)
    calm: bool = True
    _checked: frozenset[tuple[str, int]] = frozenset()
    _read: dict[str, tuple[int, dict[str, Any] | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = {id_: (name, version) for id_, name, version in self.scenario.listed}
        self.disk.tells_md5 = self.scenario.tells_md5
        self.disk.put(f"{FOLDERS['Z']}/notes.txt", b"theirs")
        self.revisions = [*self.scenario.revisions]

    def files(self) -> list[RemoteFile]:
        return [remote(id_, *facts) for id_, facts in sorted(self.server.items())]

    def manifest(self, folder: str) -> dict[str, Any] | None:
        key = f"{FOLDERS[folder]}/_manifest.json"
        if key not in self.disk.objects:
            return None
        content, number = self.disk.objects[key]
        if self._read.get(key, (0, None))[0] != number:
            self._read[key] = number, json.loads(content)
        return self._read[key][1]

    def has_changed(self) -> bool:
        """Whether an object has, since this was asked last."""
        objects = self.disk.objects
        self.damaged = {(k, d) for k, d in self.damaged if k not in objects or md5(objects[k][0]) != d}
        before, self._checked = self._checked, frozenset((k, n) for k, (_, n) in self.disk.objects.items())
        return before != self._checked

    def revise(self) -> bool:
        if not self.revisions:
            return False
        id_, name, version = self.revisions.pop(0)
        self.server.pop(id_, None)
        if version:
            self.server[id_] = name, version
        self.log.append(f"server: {id_} is {version or 'gone'}")
        return True

    def damage(self, number: int, delete: bool) -> bool:
        keys = sorted(key for key in self.disk.objects if not key.endswith(("_manifest.json", "notes.txt")))
        if number >= len(keys):
            return False
        key = keys[number]
        self.damaged.add((key.replace("_superseded/", ""), md5(self.disk.objects[key][0])))
        self.calm = False
        self.log.append(f"damage: {key} is {'deleted' if delete else 'overwritten'}")
        if delete:
            del self.disk.objects[key]
        else:
            self.disk.put(key, JUNK)
        return True

    def wrong(self, newest: dict[str, int]) -> Iterator[str]:
        """What is broken now; `newest` holds the highest version of each file that was ever committed."""
        objects = self.disk.objects
        for folder, path in FOLDERS.items():
            if (manifest := self.manifest(folder)) is None:
                continue
            named = {(e["key"], e["md5"]) for e in manifest["files"]}
            for key, digest in named:
                there = md5(objects[f"{path}/{key}"][0]) if f"{path}/{key}" in objects else None
                if there != digest and (f"{path}/{key}", digest) not in self.damaged:
                    yield f"I1: {folder} names {key} with {digest[:6]}, its object has {there and there[:6]}"
            self.ever |= {(folder, *one) for one in named}
            named |= {(e["key"], e["md5"]) for e in manifest["superseded"]}
            for key, digest in named | {(k, d) for inside, k, d in self.ever if inside == folder}:
                if (key, digest) not in named:
                    yield f"I2: {folder} names {key} with {digest[:6]} no more"
                kept = [objects.get(f"{path}/{key}"), objects.get(f"{path}/_superseded/{key}")]
                if (
                    digest not in [md5(one[0]) for one in kept if one]
                    and (
                        f"{path}/{key}",
                        digest,
                    )
                    not in self.damaged
                ):
                    yield f"I2: the bytes of {folder}/{key} with {digest[:6]} are lost"
            for entry in manifest["files"] if self.scenario.goes_forward else ():
                # The id of a member tells its zip and that zip's MD5.
                origin, digest = entry["id"].split("/")[:2] if folder == "X" else (entry["id"], entry["md5"])
                origin, version = f"{folder}/{origin}", VERSIONS.get(digest, 0)
                if version < newest.get(origin, 0):
                    yield f"I6: {origin} goes back to version {version}"
                newest[origin] = max(version, newest.get(origin, 0))
        if objects[f"{FOLDERS['Z']}/notes.txt"][0] != b"theirs":
            yield "I3: somebody else's file was touched"


VERSIONS = {md5(zip_of(f"{id_}{n}")): n for id_ in "AB" for n in range(1, 9)}


BEGUN: dict[Any, Any] = {}
RECOVERED: set[Any] = set()


def world_key(scenario: Scenario) -> tuple[Any, ...]:
    return scenario.listed, scenario.revisions, scenario.goes_forward, scenario.tells_md5


class Run:
    """One run of a scenario.

    :param choose: Called before each operation with (step, tasks that can move, the one that moved last);
        returns the one that moves.
    :param events: Step -> what happens there: "kill", "lose", "revise", ("damage", number, delete).
    :param workers: Which of a task's files goes on, when it places them side by side; None: one by one.
    """

    def __init__(
        self,
        scenario: Scenario,
        choose: Callable[[int, list[int], int], int],
        events: dict[int, Any],
        mutate: Callable[[Transaction], None] = lambda transaction: None,
        workers: random.Random | None = None,
    ) -> None:
        self.workers = workers
        self.world, self.choose, self.events, self.mutate = World(scenario), choose, events, mutate
        self.steps = 0
        self.results: dict[int, str] = {}
        self.seen: dict[int, int] = {}
        """By task, all that it was answered, as one number."""
        self.states: list[int] = []

    def execute(self) -> list[str]:
        """The operations that led to a violation; nothing when there is none."""
        world, newest = self.world, dict[str, int]()
        if wrong := self._begin_with(world.scenario.before, newest):
            return wrong
        world.log.append("--- the tasks begin")
        tasks = {n: self._start(n, kind) for n, kind in enumerate(world.scenario.kinds)}
        current, fates = -1, {n: task.switch() for n, task in tasks.items()}
        while alive := [n for n, task in tasks.items() if not task.dead]:
            current = self.choose(self.steps, alive, current)
            self.states.append(self._state(current))
            event = self.events.get(self.steps)
            self.steps += 1
            if event == "revise":
                world.revise()
            elif isinstance(event, tuple):
                world.damage(*event[1:])
            world.log.append(f"{world.scenario.kinds[current]}#{current + 1}: {fates[current]}")
            fates[current] = tasks[current].switch(event if event in ("kill", "lose") else None)
            if world.has_changed() and (wrong := [*world.wrong(newest)]):
                return [*world.log, f"=> {wrong[0]}"]
        if wrong := [*self._ended()]:
            return [*world.log, f"=> {wrong[0]}"]
        # Where runs end alike, they recover alike.
        ending = (
            frozenset(world.disk.contents().items()),
            tuple(sorted(world.server.items())),
            frozenset(world.damaged),
            world.scenario.tells_md5,
        )
        if ending not in RECOVERED:
            for kind in ("land", "extract"):
                if wrong := self._alone(kind, newest):
                    return wrong
            if wrong := [*self._recovered()]:
                return [*world.log, f"=> {wrong[0]}"]
            RECOVERED.add(ending)
        return []

    def _begin_with(self, before: tuple[str, ...], newest: dict[str, int]) -> list[str]:
        world, key = self.world, (before, world_key(self.world.scenario))
        if key not in BEGUN:
            for kind in before:
                if kind == "revise":
                    world.revise()
                elif wrong := self._alone(kind, newest):
                    return wrong
            BEGUN[key] = (
                dict(world.disk.objects),
                Counter(world.disk.writes),
                dict(world.server),
                list(world.revisions),
                set(world.ever),
                dict(newest),
            )
        objects, writes, server, revisions, ever, known = BEGUN[key]
        world.disk.objects, world.disk.writes = dict(objects), Counter(writes)
        world.server, world.revisions, world.ever = dict(server), list(revisions), set(ever)
        newest |= known
        world.fetched.clear()
        return []

    def _state(self, current: int) -> int:
        world = self.world
        objects = frozenset(
            (key, number, md5(content)) for key, (content, number) in world.disk.objects.items()
        )
        server = tuple(sorted(world.server.items())), len(world.revisions)
        return hash(
            (objects, server, frozenset(world.damaged), tuple(sorted(self.seen.items())), current, world.calm)
        )

    def _alone(self, kind: str, newest: dict[str, int]) -> list[str]:
        """A task that nobody disturbs."""
        task = self._start(-1, kind)
        op = task.switch()
        while not task.dead:
            self.world.log.append(f"{kind} alone: {op}")
            op = task.switch(None)
            if self.world.has_changed() and (wrong := [*self.world.wrong(newest)]):
                return [*self.world.log, f"=> {wrong[0]}"]
        if self.results[-1] != "landed" and not (kind == "extract" and self.world.damaged):
            return [*self.world.log, f"=> I3: {kind} alone ended with {self.results[-1]}"]
        return []

    def _start(self, number: int, kind: str) -> greenlet:
        hub = self._hub = getcurrent()

        def saw(*answer: object) -> None:
            self.seen[number] = hash((self.seen.get(number), answer))

        def point(*op: str) -> Callable[[], None] | None:
            # A worker's operation is passed on by its task.
            fate = (hub if getcurrent() is task else task).switch(" ".join(op))
            saw(op, fate)
            if fate == "kill":
                raise Killed
            if fate == "lose":
                self.world.calm &= op[0] != "swap"
                return lost_answer
            return None

        def body() -> None:
            try:
                self._task(number, kind, ScheduledStore(self.world.disk, point, saw), point, saw)
                self.results[number] = "landed"
            except Killed:
                self.results[number] = "killed"
            except CcaError as error:
                self.results[number] = f"{type(error).__name__}: {error}"

        task = greenlet(body)
        return task

    def _run(self, transaction: Transaction, jobs: list[Job] | None = None) -> None:
        """As `Transaction.run`; with several files on their way at once, if there are to be."""
        while True:
            if jobs is None:
                jobs = transaction.begin(transaction.manifests.read(transaction.path))
            workers = [greenlet(lambda job=job: transaction.place(job)) for job in jobs]
            if self.workers:
                ops = {worker: worker.switch() for worker in workers}
                while alive := [worker for worker in workers if not worker.dead]:
                    worker = self.workers.choice(alive)
                    ops[worker] = worker.switch(self._hub.switch(ops[worker]))
            else:
                for job in jobs:
                    transaction.place(job)
            if transaction.commit():
                return
            jobs = None

    def _task(
        self, number: int, kind: str, store: Any, point: Callable[..., Any], saw: Callable[..., Any]
    ) -> None:
        retry = Retry(Event(), attempts=3, first_wait=0)
        manifests = ManifestStore(store, retry)

        def list_again(*place: Any) -> list[RemoteFile]:
            point("list", "server")
            saw(tuple(sorted(self.world.server.items())))
            return self.world.files()

        def fetch(file: RemoteFile) -> Iterator[bytes]:
            point("fetch", file.id)
            content = zip_of(self.world.server[file.id][1]) if file.id in self.world.server else b""
            saw(content)
            self.world.fetched[number, file.md5] += md5(content) == file.md5
            yield content

        if kind == "extract":
            with ExitStack() as opened:
                failures: dict[str, CcaError] = {}
                members = Members(manifests, PLACE[1], LIMITS, opened, failures)
                transaction = Transaction(manifests, FOLDERS["X"], DATE, members)
                self.mutate(transaction)
                self._run(transaction)
                if failures:
                    raise next(iter(failures.values()))
            return
        part = [one for one in self.world.files() if one.id == "A"] if kind == "part" else []
        source = ServerFiles(PLACE, part, None if kind == "part" else list_again, fetch, Progress())
        transaction = Transaction(manifests, FOLDERS["Z"], DATE, source)
        self.mutate(transaction)
        if kind == "reconcile":
            folder = manifests.read(FOLDERS["Z"])
            source.files = list_again()
            self._run(transaction, transaction.begin(folder, source.listed()))
        else:
            self._run(transaction)

    def _ended(self) -> Iterator[str]:
        for n, result in self.results.items():
            if result.startswith("StoreError") and "attempts" in result:
                yield f"I4: {self.world.scenario.kinds[n]}#{n + 1} gave up"
        most = 1 if len(self.world.scenario.kinds) < 3 else 2
        for (n, digest), times in self.world.fetched.items():
            if self.world.calm and times > most:
                yield f"I5: #{n + 1} downloaded {digest[:6]} {times} times"

    def _recovered(self) -> Iterator[str]:
        world = self.world
        for folder, path in FOLDERS.items():
            manifest = world.manifest(folder)
            if manifest is None:
                continue
            keys = {e["key"] for e in manifest["files"]}
            inside = {
                key.removeprefix(f"{path}/") for key in world.disk.objects if key.startswith(f"{path}/")
            }
            visible = {key for key in inside if "/" not in key} - {"_manifest.json", "notes.txt"}
            hit = {key.removeprefix(f"{path}/") for key, _ in world.damaged if key.startswith(f"{path}/")}
            if (keys ^ visible) - hit:
                yield f"I3: {folder} shows {sorted(visible)}, its manifest names {sorted(keys)}"
        named = {(e["id"], e["md5"]) for e in (world.manifest("Z") or {"files": []})["files"]}
        if missing := {(file.id, file.md5) for file in world.files()} - named:
            yield f"I3: {sorted(missing)} is listed and not named"
        for file in world.files():
            entry = next(e for e in world.manifest("Z")["files"] if e["id"] == file.id)
            content = world.disk.objects.get(f"{FOLDERS['Z']}/{entry['key']}")
            if content is None or md5(content[0]) != file.md5:
                yield f"I3: {entry['key']} is not healed, though the server has it"


def still_time() -> None:
    """Let all manifests be of one moment, so that runs that end alike can be told."""
    commit.now_iso = lambda: "2026-03-02T00:00:00Z"


def switching(steps: Sequence[int]) -> Callable[[int, list[int], int], int]:
    """The first task, until a switch or its end; at each of these steps the next one."""
    at = set(steps)

    def choose(step: int, alive: list[int], last: int) -> int:
        if last not in alive:
            return alive[0]
        return alive[(alive.index(last) + 1) % len(alive)] if step in at else last

    return choose


def in_turn(*turns: tuple[int, int]) -> Callable[[int, list[int], int], int]:
    """These tasks, each for so many operations at the most; then the first that can move."""
    given_out = iter([task for task, operations in turns for _ in range(operations)])

    def choose(step: int, alive: list[int], last: int) -> int:
        return next((task for task in given_out if task in alive), alive[0])

    return choose


EVENTS = ["kill", "lose", "revise", *(("damage", n, delete) for n in range(3) for delete in (True, False))]


def explore(
    scenario: Scenario,
    switches: int,
    events: Sequence[Any] = EVENTS,
    mutate: Callable[[Transaction], None] = lambda transaction: None,
    *,
    is_shortest: bool = True,
    until: float = math.inf,
) -> tuple[int, list[str]]:
    """Run every schedule with so many switches and one event at most.

    Where two runs have come to the same state with the same left to decide, one of them is followed.

    Returns how many runs that took, and the operations that led to the shortest violation, if there is one.

    :param is_shortest: False: stop at the first violation.
    :param until: When to stop, by the monotonic clock; what takes fewer decisions has been run by then.
    """
    seen: set[Any] = set()
    open_, runs, found = deque([((), (), switches)]), 0, list[str]()
    while open_ and time.monotonic() < until:
        at, happening, left = open_.popleft()
        run = Run(scenario, switching(at), dict(happening), mutate)
        trace = run.execute()
        runs += 1
        if trace and (not found or len(trace) < len(found)):
            found = trace
            if runs > 1000 or not is_shortest:
                break
        first = max([*at, *(step for step, _ in happening)], default=0)
        for step, state in enumerate(run.states[first:], first):
            if (state, left, happening == ()) in seen:
                break
            seen.add((state, left, happening == ()))
            if left and step not in at and (not happening or step > happening[0][0]):
                open_.append(((*at, step), happening, left - 1))
            if not happening:
                open_ += [(at, ((step, event),), left) for event in events]
    return runs, found


def at_random(seed: int, mutate: Callable[[Transaction], None] = lambda transaction: None) -> list[str]:
    """Let three or four tasks, killed and disturbed, through at random."""
    rng = random.Random(seed)
    kinds = tuple(rng.choices(TASKS, k=rng.choice([3, 4])))
    before = rng.choice([(), ("land", "extract"), ("land", "extract", "revise", "land")])
    revisions = [("A", "a.zip", "A2"), ("B", "b.zip", "B2"), ("A", "a.zip", "A3")][: rng.randrange(4)]
    events = {rng.randrange(60): rng.choice(EVENTS) for _ in range(rng.randrange(4))}
    scenario = Scenario(kinds, before, tuple(revisions), tells_md5=seed % 2 == 0)
    workers = rng if seed % 3 else None
    return Run(scenario, lambda step, alive, last: rng.choice(alive), events, mutate, workers).execute()


BEFORE = ((), ("land", "extract"), ("land", "extract", "revise", "land"))


def explore_pair(scenario: Scenario, switches: int, until: float) -> tuple[str, list[str]]:
    """Explore two tasks until a time; returns a line that says what was explored, and a violation."""
    still_time()
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    runs, trace = explore(scenario, switches, until=until)
    took = time.monotonic() - began
    rest = " (out of time)" if time.monotonic() > until else ""
    what = f"{' and '.join(scenario.kinds):24} {' '.join(scenario.before) or 'an empty folder':28}"
    return f"{what} {runs:8,} runs {took:6.1f} s{rest}", trace


def explore_seeds(first: int, step: int, until: float) -> tuple[int, list[str]]:
    """Run every `step`th seed until a time; returns how many that were, and a violation."""
    still_time()
    logging.disable(logging.CRITICAL)
    for done, seed in enumerate(count(first, step)):
        if trace := at_random(seed):
            return done, [f"seed {seed}", *trace]
        if time.monotonic() > until:
            return done + 1, []
    raise AssertionError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.explorer", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="of one random run")
    parser.add_argument("--switches", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=540, help="for all; a third for random runs")
    asked = parser.parse_args()
    if asked.seed is not None:
        still_time()
        logging.disable(logging.CRITICAL)
        print(*at_random(asked.seed) or ["all invariants hold"], sep="\n    ")
        return 0
    began = time.monotonic()
    pairs = [
        Scenario(kinds, before, Scenario(kinds).revisions + (("A", "a.zip", "A3"),) * ("revise" in before))
        for kinds in combinations_with_replacement(TASKS, 2)
        for before in BEFORE
    ]
    first = secrets.randbelow(10**9)
    print(f"{len(pairs)} pairs of tasks with {asked.switches} switches; then random runs from seed {first}")
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        pairs_until, until = began + asked.seconds * 2 / 3, began + asked.seconds
        one = partial(explore_pair, switches=asked.switches, until=pairs_until)
        for line, trace in pool.map(one, pairs):
            print(line, flush=True)
            if trace:
                pool.shutdown(wait=False, cancel_futures=True)
                print(*trace, sep="\n    ")
                return 1
        seeds = [pool.submit(explore_seeds, first + n, PROCESSES, until) for n in range(PROCESSES)]
        ends = [one.result() for one in seeds]
    print(f"{sum(done for done, _ in ends):,} random runs of three and four tasks")
    for _, trace in ends:
        if trace:
            print(*trace, sep="\n    ")
            return 1
    print("all invariants hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
