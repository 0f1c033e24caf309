"""Prints a table of stores and cases at the end of a run of tests/reliability/test_store_matrix.py."""

from __future__ import annotations

from typing import Any

import pytest

MATRIX = "test_store_matrix.py"
_SIGNS = {"passed": "yes", "failed": "FAILED", "error": "FAILED", "skipped": "-"}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    found: dict[str, dict[str, str]] = {}
    stores: list[str] = []
    for outcome, sign in _SIGNS.items():
        for report in terminalreporter.stats.get(outcome, ()):
            if isinstance(report, pytest.TestReport) and MATRIX in report.nodeid:
                case, _, parameters = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
                store, case = _parted(parameters, case)
                stores += [] if store in stores else [store]
                found.setdefault(case, {})[store] = sign
    if not found:
        return
    terminalreporter.section("stores and cases")
    for number, store in enumerate(sorted(stores), 1):
        terminalreporter.write_line(f"{number:3} {store}")
    for case, row in found.items():
        signs = "".join(f"{row.get(store, ''):>8}" for store in sorted(stores))
        terminalreporter.write_line(f"{case.removeprefix('test_').replace('_', ' '):95}{signs}")


def _parted(parameters: str, case: str) -> tuple[str, str]:
    from tests.support.store_servers import NAMES

    store = next(name for name in sorted(NAMES, key=len, reverse=True) if parameters.startswith(name))
    rest = parameters.removeprefix(store).strip("-")
    return store, f"{case} ({rest})" if rest else case
