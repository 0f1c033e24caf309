"""Memory of one task, above what Python and Airflow take when they are imported."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from ..bench import Bench
from ..processes import seconds
from ..server import serving, yesterday
from ..table import Line
from .transfers import into_s3, local_day

MB = 1_000_000


def memory(bench: Bench) -> Iterator[Line]:
    """One file of two sizes to local files and to S3, then many at once into S3."""
    for size in bench.size((200, 2000), (1, 20)):
        yield _line(bench, 1, size, "local files", 40)
    s3 = f"S3 ({bench.s3.kind})"
    for size in bench.size((200, 2000), (1, 20)):
        yield _line(bench, 1, size, s3, 120)
    yield _line(bench, 20, bench.size(200, 8), s3, 250)


def _line(bench: Bench, count: int, megabytes: int, where: str, target: float) -> Line:
    day = yesterday()
    land = into_s3 if where.startswith("S3") else local_day
    with serving(days=3, files_per_day=count, file_size=megabytes * MB) as server:
        server.files(day, day)
        costs = [land(bench, server, day, count) for _ in range(bench.repeat)]
    grown = median(cost.grown or 0 for cost in costs) / MB
    files = "One file" if count == 1 else f"{count} files at once"
    line = Line(
        f"{files} of {megabytes} MB to {where}: memory",
        f"{seconds(costs):.1f} s",
        "memory at import",
        grown,
        target,
        "MB",
    )
    return line.costing(costs)
