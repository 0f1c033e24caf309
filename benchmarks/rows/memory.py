"""Memory of one task, above what Python and Airflow take when they are imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from statistics import median

from ..bench import Bench, Missing
from ..processes import Cost, run_python, seconds
from ..server import Server, serving, yesterday
from ..table import Line
from .transfers import into_s3, landed, local_day

MB = 1_000_000

SIZES = ((200, 2000), (1, 20))
MANY = (200, 8)
"""MB of a file, in full and for a smoke test."""

OTHERS = {
    "azurite": "Azure (Azurite)",
    "fake-gcs-server": "Google (fake-gcs-server)",
    "openssh": "SFTP (OpenSSH)",
}
"""Server of a store, as the tests call it -> what it stands for."""

Land = Callable[[Bench, Server, date, int], Cost]


def memory(bench: Bench) -> Iterator[Line]:
    """One file of two sizes to local files and to S3, then many at once into S3."""
    for size in bench.size(*SIZES):
        yield _line(bench, 1, size, "local files", local_day, 40)
    s3 = f"S3 ({bench.s3.kind})"
    for size in bench.size(*SIZES):
        yield _line(bench, 1, size, s3, into_s3, 120)
    yield _line(bench, 20, bench.size(*MANY), s3, into_s3, 250)


def memory_stores(bench: Bench) -> Iterator[Line]:
    """The same to each other kind of store.

    fake-gcs-server copies what it has of an object with each part of it: 2 GB take it 20 minutes.
    """
    for name, where in OTHERS.items():
        for size in bench.size(*SIZES):
            yield _line(bench, 1, size, where, partial(_into_server, name), 250)
        yield _line(bench, 20, bench.size(*MANY), where, partial(_into_server, name), 250)


def _into_server(name: str, bench: Bench, server: Server, day: date, count: int) -> Cost:
    """Land into a store of its own, gone afterwards."""
    from tests.support.store_servers import running

    with bench.fresh_folder() as folder:
        try:
            with running(name, folder / name) as store:
                env = {**bench.env, **server.env, **store.env}
                cost = run_python("ours", "land", env, destination=store.url, first=str(day), last=str(day))
        except (ImportError, LookupError) as error:
            raise Missing(f"no server of this store ({error})") from error
    return landed(cost, count)


def _line(bench: Bench, count: int, megabytes: int, where: str, land: Land, target: float) -> Line:
    day = yesterday()
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
