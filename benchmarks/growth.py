"""`python -m benchmarks.growth`: how seconds and memory of one task grow, plotted for the docs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import machine
from .bench import Bench, bench
from .page import put
from .processes import ROOT, Cost
from .rows.transfers import LATENCY, SMALL_FILE, local
from .server import serving, span, yesterday

PLOT = ROOT / "docs" / "images" / "benchmarks-growth.png"
TINY_FILE = 1_000
MB = 1_000_000

SCHEDULER_SECONDS = 0.1
"""What Airflow's scheduler takes for one task, with 16 runs at a time."""

SITES, DAYS, BATCHES, ACCOUNTS = 10_000, 365, 50, 4


@dataclass(frozen=True)
class Growth:
    """What one task costs as one thing grows: `counts` of it, and the cost of each."""

    of: str
    counts: Sequence[int]
    costs: Sequence[Cost]

    @property
    def each(self) -> float:
        """Seconds for one more, between the two largest counts."""
        (few, many), (less, more) = self.counts[-2:], self.costs[-2:]
        return (more.seconds - less.seconds) / (many - few)


def files(room: Bench, count: int) -> Cost:
    """So many tiny files of one day."""
    with serving(days=3, files_per_day=count, file_size=TINY_FILE, latency=LATENCY) as server:
        server.files(yesterday(), yesterday())
        return local(room, server, yesterday(), yesterday(), count)


def megabytes(room: Bench, count: int) -> Cost:
    """One file of so many megabytes."""
    with serving(days=3, file_size=count * MB, latency=LATENCY) as server:
        server.files(yesterday(), yesterday())
        return local(room, server, yesterday(), yesterday(), 1)


def days(room: Bench, count: int) -> Cost:
    """So many creation dates as one range."""
    with serving(days=count + 2, file_size=SMALL_FILE, latency=LATENCY) as server:
        server.files(*span(count))
        return local(room, server, *span(count), count)


def sites(room: Bench, count: int) -> Cost:
    """One day of so many sites, each with a listing and a file of its own."""
    names = [f"site{number}" for number in range(count)]
    with serving(days=3, sites=names, file_size=TINY_FILE, latency=LATENCY) as server:
        return local(room, server, yesterday(), yesterday(), count, sites=names)


COUNTS: dict[Callable[[Bench, int], Cost], tuple[Sequence[int], Sequence[int]]] = {
    files: ((100, 1_000, 10_000, 100_000), (10, 100)),
    megabytes: ((1, 10, 100, 1_000), (1, 10)),
    days: ((10, 40, 120, 365), (5, 20)),
    sites: ((10, 100, 1_000, 5_000), (5, 20)),
}
"""What grows, and how far: in full and in the small form."""


def main() -> int:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for a smoke test; nothing is written")
    small = parser.parse_args().small
    with bench(1, small=small) as room:
        grown = [_measured(room, cost, room.size(*COUNTS[cost])) for cost in COUNTS]
    table = year_of_sites(*(growth.each for growth in grown))
    print(f"\n{table}")
    if not small:
        draw(grown, PLOT)
        put("growth", f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine.described()}.\n\n{table}")
    return 0


def _measured(room: Bench, cost: Callable[[Bench, int], Cost], counts: Sequence[int]) -> Growth:
    growth = Growth(cost.__name__, counts, [cost(room, count) for count in counts])
    for count, spent in zip(growth.counts, growth.costs, strict=True):
        print(f"{count} {growth.of}: {spent.seconds:.2f} s, {(spent.grown or 0) / MB:.0f} MB", flush=True)
    return growth


def year_of_sites(per_file: float, per_megabyte: float, per_day: float, per_site: float) -> str:
    """10,000 sites and 365 days through the scheduler and the connections of one account, and of four."""
    each = SITES * DAYS
    ways = (
        ("`cdr`, one task per site and date", each, each * per_site),
        (f"`cdr`, {BATCHES} batches of sites, a run per date", DAYS * (BATCHES + 3), each * per_site),
        (
            f"`cdr`, {BATCHES} batches of sites, the year as a range",
            BATCHES,
            SITES * per_site + each * per_file,
        ),
        ("`cdr_compressed`, a run per date", DAYS * 2, DAYS * per_day),
        ("`cdr_compressed`, the year as a range", 1, DAYS * per_day),
    )
    header = "| How | Tasks | Scheduler | Transfers, one account | Done | Done with four accounts |"
    rows = [header, "| --- | --- | --- | --- | --- | --- |"]
    for how, tasks, work in ways:
        scheduler = tasks * SCHEDULER_SECONDS
        spread = max(scheduler, work / min(ACCOUNTS, tasks))
        cells = [how, f"{tasks:,}", *map(_duration, (scheduler, work, max(scheduler, work), spread))]
        rows.append(f"| {' | '.join(cells)} |")
    each_costs = ", ".join(
        f"{1000 * cost:.1f} ms for each {what}"
        for what, cost in (
            ("further file", per_file),
            ("date of a range", per_day),
            ("site", per_site),
            ("megabyte (not counted here)", per_megabyte),
        )
    )
    costs = (
        f"{SITES:,} sites and {DAYS} dates, computed from what was measured with {1000 * LATENCY:.0f} ms of "
        f"latency and 20 connections: {each_costs}, and {SCHEDULER_SECONDS} s of the scheduler for each task."
    )
    return f"{costs}\n\n" + "\n".join(rows)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def draw(grown: Sequence[Growth], target: Path) -> None:
    """Seconds above, memory below, a column for each thing that grows."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(grown), figsize=(11, 5), sharex="col", sharey="row", layout="constrained"
    )
    for growth, (above, below) in zip(grown, axes.T, strict=True):
        above.loglog(growth.counts, [cost.seconds for cost in growth.costs], "o-", color="#1f5f8b")
        below.semilogx(
            growth.counts, [(cost.grown or 0) / MB for cost in growth.costs], "s-", color="#a8432d"
        )
        below.set_xlabel(growth.of)
        for axis in (above.xaxis, above.yaxis, below.xaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,g}")
        for plot in (above, below):
            plot.grid(visible=True, which="major", alpha=0.3)
    axes[1][0].set_ylim(bottom=0)
    axes[0][0].set_ylabel("seconds")
    axes[1][0].set_ylabel("MB above import")
    figure.suptitle("One task: time and memory as it gets more to do")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
