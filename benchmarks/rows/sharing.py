"""Two processes that use one token and do not know each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from ..bench import Bench
from ..processes import Cost
from ..server import Server, serving, yesterday
from ..table import Line
from .transfers import LATENCY, SMALL_FILE, landed


def sharing(bench: Bench) -> Iterator[Line]:
    """Each would take all 20 connections that the server allows a token."""
    count = bench.size(1000, 100)
    with serving(days=3, files_per_day=count, file_size=SMALL_FILE, latency=LATENCY) as server:
        server.files(yesterday(), yesterday())
        rounds = [_round(bench, server, count) for _ in range(bench.repeat)]
        peak = server.ask("peak")
    costs = [cost for pair, _ in rounds for cost in pair]
    line = Line(
        f"Two processes with one token, {count} files each",
        f"all landed, at most {peak} connections",
        "the server's limit of 20",
        median(refusals for _, refusals in rounds),
        20,
        "refusals",
    )
    yield line.costing(costs)


def _round(bench: Bench, server: Server, count: int) -> tuple[list[Cost], int]:
    token, day = server.token(), str(yesterday())
    server.ask("forget")
    with bench.fresh_folder() as one, bench.fresh_folder() as other, ThreadPoolExecutor(2) as pool:
        costs = pool.map(
            lambda folder: bench.ours(
                server, "land", destination=str(folder), first=day, last=day, token=token
            ),
            (one, other),
        )
        return [landed(cost, count) for cost in costs], server.ask("refusals")
