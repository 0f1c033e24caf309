"""`python -m benchmarks`: measure both sides of every row, and write the table into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import compileall
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from . import machine
from .bench import Bench, Missing, bench
from .page import put
from .processes import ROOT, SideFailed
from .rows import ROWS, SLOW
from .table import Line, markdown

REPEAT = 3


def main() -> int:
    """Returns the exit status: a target that is missed is a result, a side that fails an error."""
    options = _options()
    names = options.only or [name for name in ROWS if not (options.small and name in SLOW)]
    if not options.small and (missing := machine.install()):
        print(missing, file=sys.stderr)
    compileall.compile_dir(ROOT / "airflow_provider_cca", quiet=2)
    with bench(options.repeat or (1 if options.small else REPEAT), small=options.small) as room:
        lines, left_out, failed = measure(room, names)
    table = markdown(lines, left_out)
    print(f"\n{table}")
    if not (options.small or options.only or failed):
        put("table", f"{_heading(room.repeat)}\n\n{table}")
    return int(failed)


def measure(room: Bench, names: Sequence[str]) -> tuple[list[Line], list[str], bool]:
    """The lines of these rows, why others are left out, and whether any of those failed."""
    failed = False
    lines: list[Line] = []
    left_out: list[str] = []
    for name in names:
        started = time.monotonic()
        try:
            for line in ROWS[name](room):
                lines.append(line)
                print(" | ".join(line.cells()), flush=True)
        except (Missing, SideFailed) as reason:
            left_out.append(f"{name}, since {reason}")
            failed |= isinstance(reason, SideFailed)
        print(f"  ({name}: {time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    return lines, left_out, failed


def _heading(repeat: int) -> str:
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, medians of {repeat}, both sides in turn within one run: "
        f"{machine.described()}."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), help="these rows; the page is not written")
    parser.add_argument("--repeat", type=int, help=f"runs of each side ({REPEAT}, or 1 with --small)")
    parser.add_argument(
        "--small", action="store_true", help="sizes for a smoke test; the page is not written"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
