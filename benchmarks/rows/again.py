"""Landing what has landed already, beside the listing calls alone."""

from __future__ import annotations

from collections.abc import Iterator

from ..bench import Bench
from ..processes import Cost, in_turn
from ..server import Server, serving, span
from ..table import Line
from .listing import plain_listing
from .transfers import LATENCY, SMALL_FILE, in_bucket


def again(bench: Bench) -> Iterator[Line]:
    """A year of one report in which nothing changed."""
    days = bench.size(365, 40)
    with (
        serving(days=days + 2, file_size=SMALL_FILE, latency=LATENCY) as server,
        bench.fresh_folder() as folder,
    ):
        yield _line(bench, server, days, str(folder), "local")
        with bench.fresh_bucket() as bucket:
            yield _line(bench, server, days, in_bucket(bucket), f"S3, {bench.s3.kind}")


def _line(bench: Bench, server: Server, days: int, destination: str, where: str) -> Line:
    first, last = map(str, span(days))

    def land(downloads: int) -> Cost:
        cost = bench.ours(server, "land", destination=destination, first=first, last=last)
        if (cost.facts["files"], cost.facts["downloaded"]) != (days, downloads):
            raise ValueError(f"{days} files and {downloads} downloads expected, not {cost.facts}")
        return cost

    land(days)
    costs = in_turn(bench.repeat, lambda: land(0), lambda: plain_listing(bench, server, *span(days)))
    return Line.ratio(
        f"Landing {days} days again, nothing changed ({where})", "login and listing alone", 2, *costs
    )
