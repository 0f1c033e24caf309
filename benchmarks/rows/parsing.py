"""Parsing our DAG files, and what importing this package adds to Airflow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..bench import Bench
from ..processes import ROOT, Cost, in_turn, run_module
from ..table import Line

IMPORTS = 5
"""Processes that import us; the fastest counts, since whatever else the machine does only adds to it."""


FILES = (
    *("cca_cdr_compressed.py", "cca_cdr_by_site.py"),
    *("cca_peak_port_daily.py", "cca_peak_port_monthly.py", "cca_site_list.py"),
)
"""The DAGs that users run as they are, whatever else is beside them."""


def parsing(bench: Bench) -> Iterator[Line]:
    """The DAG files, with our operators and with empty ones."""
    ours, empty = bench.folder / "dags", bench.folder / "empty_dags"
    ours.mkdir()
    for name in FILES:
        shutil.copy(ROOT / "dags" / name, ours)
    shutil.copytree(ours, empty)
    for file in empty.glob("*.py"):
        own = re.sub(r"from airflow_provider_cca\.\w+", "from benchmarks.empty_operators", file.read_text())
        file.write_text(own)
    costs = in_turn(bench.repeat, lambda: _parse(bench, ours), lambda: _parse(bench, empty))
    yield Line.ratio(f"Parsing our {len(FILES)} DAG files", "the same with empty operators", 1.15, *costs)


def _parse(bench: Bench, folder: Path) -> Cost:
    told = run_module("parse", bench.env, str(folder))
    return Cost(sum(file["seconds"] for file in told.values()), sum(file["cpu"] for file in told.values()))


def importing(bench: Bench) -> Iterator[Line]:
    """What a first import of this package costs after Airflow's own."""
    costs = [Cost(**run_module("importing", bench.env)) for _ in range(bench.size(IMPORTS, 1))]
    fastest = min(costs, key=lambda cost: cost.seconds)
    milliseconds = 1000 * fastest.seconds
    line = Line(
        "Importing operators and sensors after `airflow.sdk`",
        f"{milliseconds:.0f} ms",
        "`airflow.sdk`, loaded in full",
        milliseconds,
        60,
        "ms",
    )
    yield line.costing([fastest])
