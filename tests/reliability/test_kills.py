"""A landing of 50 files that dies: what a reader sees then, and what the next run has to do."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.simulator import Hang, Simulator
from tests.support.landing_process import Event, ForkServerProcess, landing_process
from tests.support.places import LOCAL, S3, STORES, Place
from tests.support.s3_proxy import Proxy
from tests.support.verdicts import WHOLE, Folder, Verdicts, truth_of

FILES = 50
LARGE = 6 << 20  # two parts of a multipart upload
MIDDLE = FILES // 2
SECONDS = 60.0

pytestmark = pytest.mark.cca_simulator(days=5, files_per_day=FILES - 1, file_size=20_000, recovered=False)

Act = Callable[[Simulator, Proxy | None, "Future[ForkServerProcess]"], object]


def kill(process: Future[ForkServerProcess]) -> None:
    os.kill(process.result(SECONDS).pid or 0, signal.SIGKILL)


def asked_for(kind: str, nth: int = 1) -> Act:
    """It dies while its nth request of this kind is being answered."""

    def place(sim: Simulator, proxy: Proxy | None, process: Future[ForkServerProcess]) -> None:
        seen: list[str] = []

        def look(asked: Any) -> None:
            seen.extend([asked.path] if asked.kind == kind else [])
            if asked.kind == kind and len(seen) == nth:
                kill(process)

        sim.before_answer = look

    return place


def half_way(sim: Simulator, proxy: Proxy | None, process: Future[ForkServerProcess]) -> None:
    """It dies when it has received half of several files."""
    sim.inject(Hang(after=10_000), "download", times=None, skip=MIDDLE)
    process.add_done_callback(lambda done: (sim.wait_open(8, SECONDS), kill(done)))


def stored(match: str, *, answered: bool, nth: int = 1) -> Act:
    """It dies before, or just after, the store does what the nth such request asks for."""

    def place(sim: Simulator, proxy: Proxy | None, process: Future[ForkServerProcess]) -> None:
        assert proxy
        seen: list[str] = []

        def look(line: str) -> None:
            seen.extend([line] if match in line else [])
            if match in line and len(seen) == nth:
                kill(process)

        setattr(proxy, "after" if answered else "before", look)

    return place


STAGES: dict[str, dict[str, Act | Event]] = {
    "while it logs in": dict.fromkeys(STORES, asked_for("token")),
    "while it lists": dict.fromkeys(STORES, asked_for("list")),
    "while a file is asked for": dict.fromkeys(STORES, asked_for("download", MIDDLE)),
    "with half of several files": dict.fromkeys(STORES, half_way),
    "before a file gets its name": {
        LOCAL: Event("os.link", ".zip", MIDDLE),
        S3: stored(".zip", answered=False, nth=MIDDLE),
    },
    "after a file got its name": {
        LOCAL: Event("os.remove", ".part", MIDDLE, since=".zip"),
        S3: stored(".zip", answered=True, nth=MIDDLE),
    },
    "after a part of a large file": {S3: stored("partNumber=1", answered=True)},
    "before a large file is completed": {S3: stored("?uploadId", answered=False)},
    "after a large file was completed": {S3: stored("?uploadId", answered=True)},
    "before the manifest gets its name": {
        LOCAL: Event("os.link", "_manifest.json"),
        S3: stored("/_manifest.json", answered=False),
    },
    "after the manifest got its name": {
        LOCAL: Event("os.remove", ".part", since="_manifest.json"),
        S3: stored("/_manifest.json", answered=True),
    },
}
"""Where a landing can die, by store."""

ROWS = [(stage, store) for stage, stores in STAGES.items() for store in stores]


@pytest.fixture
def proxy(store: str, request: pytest.FixtureRequest) -> Proxy | None:
    return request.getfixturevalue("s3_proxy") if store == S3 else None


@pytest.fixture(autouse=True)
def large_file(sim: Simulator, day: str) -> None:
    sim.world.add("cdr_compressed", day, os.urandom(LARGE), name="large.zip")


@pytest.fixture
def heals(
    sim: Simulator, day: str, run: Callable[..., Any], proxy: Proxy | None, verdicts: Verdicts
) -> Callable[[Place], None]:
    """Look at what a dead landing left, let the next one run, and look again."""

    def check(place: Place) -> None:
        if proxy:
            proxy.forget()
            proxy.wait_idle()  # the store finishes what it was asked in full, even by the dead
        sim.before_answer = None
        sim.faults.clear()
        sim.release()
        sim.wait_idle()
        left = Folder(place.objects(), truth_of(sim, day))
        verdicts.kills += 1
        verdicts.count(left)
        assert left.wrong({}) == set()
        assert {entry["key"] for entry in left.entries} <= left.files.keys()

        asked = sim.count(call="download")
        operator = CcaToObjectStorageOperator(
            task_id="t", report="cdr_compressed", destination=place.destination
        )
        missing = sum(body not in left.files.values() for body in left.truth.values())
        assert run(operator, day)["downloaded"] == missing
        assert sim.count(call="download") - asked == missing
        assert Folder(place.objects(), left.truth).outcome({}) == WHOLE

    return check


@pytest.mark.parametrize(("stage", "store"), ROWS)
def test_a_landing_killed_at_a_stage_leaves_no_half_and_the_next_finishes_it(
    stage, store, sim, day, place, proxy, heals
) -> None:
    how, started = STAGES[stage][store], Future()
    if isinstance(how, Event):
        process = landing_process(place.destination, day, last=how)
    else:
        process = landing_process(place.destination, day)
        how(sim, proxy, started)
    process.start()
    started.set_result(process)
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL
    heals(place)


def killed_at(fraction: float, seconds: float, place: Place, day: str) -> None:
    """Kill a landing after this fraction of the time that one takes."""
    process = landing_process(place.destination, day)
    process.start()
    process.join(fraction * seconds)
    process.kill()
    process.join(SECONDS)


@pytest.fixture
def duration(new_place: Callable[[], Place], day: str) -> float:
    """Seconds that a landing takes which nobody kills."""
    process, started = landing_process(new_place().destination, day), time.monotonic()
    process.start()
    process.join(SECONDS)
    assert process.exitcode == 0
    return time.monotonic() - started


@pytest.mark.parametrize("store", STORES)
def test_a_landing_killed_at_any_moment_leaves_no_half_and_the_next_finishes_it(
    store, new_place, day, duration, heals
) -> None:
    chance = random.Random(4)
    for _ in range(2):
        place = new_place()
        killed_at(chance.random(), duration, place, day)
        heals(place)


@pytest.mark.live
@pytest.mark.parametrize("store", STORES)
def test_a_landing_killed_at_a_hundred_moments_leaves_no_half_and_the_next_finishes_it(
    store, new_place, day, duration, heals
) -> None:
    chance = random.Random(100)
    for _ in range(100):
        place = new_place()
        killed_at(chance.random(), duration, place, day)
        heals(place)


@pytest.mark.parametrize("store", STORES)
def test_a_landing_that_is_terminated_ends_within_seconds_and_leaves_nothing_unfinished(
    store, sim, day, place, proxy, heals
) -> None:
    """Airflow sends SIGTERM and calls on_kill, here while reads are stalled; five seconds later it kills."""
    sim.inject(Hang(after=10_000), "download", times=None, skip=MIDDLE)
    sim.inject(Hang(after=LARGE - 1), "/large", times=None)
    process = landing_process(place.destination, day)
    process.start()
    sim.wait_open(8, SECONDS)
    process.terminate()
    process.join(3)
    ended = process.exitcode
    process.kill()
    assert ended == 1
    assert place.uploads() == []
    assert [name for name in place.objects() if name.startswith((".", "_"))] == []
    heals(place)
