"""The table of stores and cases, from a run of tests/reliability/test_store_matrix.py.

It is printed at the end of the run, and written into docs/reliability.md when all stores took part and no
case failed. In CI a run fails whose table is not the one of the page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

MATRIX = "test_store_matrix.py"
PAGE = Path(__file__).parent.parent.parent / "docs/reliability.md"
BEGIN, END = "<!-- stores: begin -->\n", "<!-- stores: end -->\n"
_SIGNS = {"passed": "yes", "failed": "FAILED", "error": "FAILED", "skipped": "-"}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    from tests.support.store_servers import NAMES

    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    found = _signs(reporter) if reporter else {}
    if session.testsfailed or {store for row in found.values() for store in row} != {*NAMES}:
        return
    before, _, rest = (page := PAGE.read_text()).partition(BEGIN)
    measured = f"{before}{BEGIN}\n{_table(found, NAMES)}\n{END}{rest.partition(END)[2]}"
    if measured != page:
        PAGE.write_text(measured)
        if os.environ.get("CI"):
            reporter.write_line("docs/reliability.md is out of date: run `make stores`, and commit it")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    found = _signs(terminalreporter)
    if not found:
        return
    stores = sorted({store for row in found.values() for store in row})
    terminalreporter.section("stores and cases")
    for number, store in enumerate(stores, 1):
        terminalreporter.write_line(f"{number:3} {store}")
    for case, row in found.items():
        signs = "".join(f"{row.get(store, ''):>8}" for store in stores)
        terminalreporter.write_line(f"{case:95}{signs}")


def _signs(reporter: Any) -> dict[str, dict[str, str]]:
    """Return what came of each case on each store, in the order of the cases."""
    found: dict[str, dict[str, str]] = {}
    for outcome, sign in _SIGNS.items():
        for report in reporter.stats.get(outcome, ()):
            if isinstance(report, pytest.TestReport) and MATRIX in report.nodeid:
                case, _, parameters = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
                store, case = _parted(parameters, case.removeprefix("test_").replace("_", " "))
                found.setdefault(case, {})[store] = sign
    return found


def _parted(parameters: str, case: str) -> tuple[str, str]:
    from tests.support.store_servers import NAMES

    store = next(name for name in sorted(NAMES, key=len, reverse=True) if parameters.startswith(name))
    rest = parameters.removeprefix(store).strip("-")
    return store, f"{case} ({rest})" if rest else case


def _table(found: dict[str, dict[str, str]], stores: tuple[str, ...]) -> str:
    rows = [[case, *(row.get(store, "") for store in stores)] for case, row in sorted(found.items())]
    lines = ["", *stores], ["---"] * (len(stores) + 1), *rows
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
