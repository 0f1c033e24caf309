"""The benchmarks run; how long anything takes is not judged here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SECONDS = 900

pytestmark = pytest.mark.live


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_small_form_measures_every_row_or_says_why_not() -> None:
    from benchmarks.rows import ROWS, SLOW

    before = (ROOT / "docs/benchmarks.md").read_bytes()
    printed = run("benchmarks", "--small")
    left_out = set(re.findall(r"^- Left out: (\S+), since ", printed, flags=re.M))
    table = printed.partition("| --- |")[2]
    assert table.count("\n| ") >= len(ROWS) - len(SLOW) - len(left_out)
    # These need nothing that is not in the package or beside it.
    assert left_out <= {"files", "files-s3", "year", "again", "memory"}
    assert (ROOT / "docs/benchmarks.md").read_bytes() == before


def test_the_small_form_measures_how_the_cost_grows() -> None:
    printed = run("benchmarks.growth", "--small")
    assert re.findall(r"^\d+ (\w+): [\d.]+ s", printed, flags=re.M)[::2] == [
        "files", "megabytes", "days", "sites",
    ]  # fmt: skip


def test_a_line_tells_whether_its_target_is_held() -> None:
    from benchmarks.table import Line

    line = Line("landing", "2.0 s", "curl: 1.0 s", 2.0, 1.1, "x")
    assert not line.held
    assert "**no**" in line.cells()
    assert Line("landing", "1.0 s", "curl: 1.0 s", 1.1, 1.1, "x").held


@pytest.mark.parametrize("name", ["table", "growth"])
def test_the_page_has_a_place_for_what_is_measured(name: str) -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert page.count(f"<!-- {name} -->") == page.count(f"<!-- end of {name} -->") == 1
