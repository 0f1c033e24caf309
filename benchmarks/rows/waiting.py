"""Deferred waits: what a triggerer carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..bench import Bench
from ..server import serving
from ..table import NOTHING, TIMES, Line
from .transfers import LATENCY

MEGABYTE = 1_000_000


def waiting(bench: Bench) -> Iterator[Line]:
    """Triggers in one event loop, all waiting for reports that are still processing."""
    count, interval, rounds = bench.size(1000, 50), bench.size(30.0, 2.0), 4
    seconds = interval * (rounds + 1)
    sites = [f"site{number}" for number in range(count)]
    with serving(days=3, sites=sites, latency=LATENCY) as server:
        server.ask("still_processing")
        cost = bench.ours(server, "wait", sites=sites, interval=interval, seconds=seconds)
        looks = server.ask("looks")
    polled = [times for path, times in looks.items() if "/cdr/" in path]
    gap = max((max(_gaps(times), default=seconds) for times in polled), default=seconds)
    work = f"{count} deferred waits, each looking every {interval:g} s"
    facts = cost.facts
    if facts["fired"] or len(polled) != count:
        raise ValueError(f"{len(polled)} of {count} triggers looked, {facts['fired']} ended")
    looked = sum(map(len, polled))
    yield Line(
        f"{work}: longest gap", f"{gap:.1f} s, {looked} looks", "the interval", gap / interval, 2, TIMES
    ).costing([cost])
    yield Line(
        f"{work}: loop blocked for more than 0.2 s",
        f"longest {facts['lag']:.2f} s",
        "Airflow's warning",
        facts["blocked"],
        0,
        "warnings",
    )
    yield Line(
        f"{work}: memory of each",
        f"{facts['grown'] / MEGABYTE:.0f} MB together",
        NOTHING,
        facts["grown"] / MEGABYTE / count,
        0.5,
        "MB",
    )


def _gaps(times: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(sorted(times))]
