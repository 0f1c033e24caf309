"""A listing of many pages, beside plain requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from ..bench import Bench
from ..processes import Cost, in_turn
from ..server import Server, serving, yesterday
from ..table import Line
from .transfers import LATENCY


def listing(bench: Bench) -> Iterator[Line]:
    """All entries of a day with very many files."""
    count = bench.size(36_500, 3_000)
    day = yesterday()
    with serving(days=3, files_per_day=count, file_size=100, latency=LATENCY) as server:
        server.files(day, day)
        costs = in_turn(
            bench.repeat,
            lambda: _whole(bench.ours(server, "list_files", first=str(day), last=str(day)), count),
            lambda: _whole(plain_listing(bench, server, day, day), count),
        )
    yield Line.ratio(f"Listing {count} entries", "requests, page after page", 0.6, *costs)


def plain_listing(bench: Bench, server: Server, first: date, last: date) -> Cost:
    """Log in and list with requests alone."""
    login = {"accountName": server.connection["login"], "accountPassword": server.connection["password"]}
    return bench.yardstick(
        "list_files", root=server.root, login=login, first=f"{first:%m%d%Y}", last=f"{last:%m%d%Y}"
    )


def _whole(cost: Cost, count: int) -> Cost:
    if cost.facts != count:
        raise ValueError(f"{count} entries were to be listed, not {cost.facts}")
    return cost
