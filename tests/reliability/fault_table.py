"""The tables of docs/reliability.md: `python -m tests.reliability.fault_table` makes them from the tests."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.test_faults import TABLE, Case
from tests.reliability.test_kills import STAGES
from tests.support.places import STORES

PAGE = Path(__file__).parent.parent.parent / "docs/reliability.md"
BEGIN, END = "<!-- begin -->\n", "<!-- end -->\n"


def tables() -> str:
    """All tables, with their headings."""
    faults = [_faults(heading, cases) for heading, cases in TABLE.items()]
    return "\n".join([*faults, _kills()])


def with_tables(page: str) -> str:
    """The page, with these tables in their place."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


def _faults(heading: str, cases: list[Case]) -> str:
    return _table(heading, [*STORES, "error", "the task"], [_fault(case) for case in cases])


def _fault(case: Case) -> list[str]:
    stores = [case.outcome if store in case.stores else "" for store in STORES]
    if case.error is None:
        return [case.name, *stores, "", ""]
    return [
        case.name,
        *stores,
        f"`{case.error.__name__}`",
        "is retried" if case.error.retryable else "fails at once",
    ]


def _kills() -> str:
    """What the next run leaves, after the landing was killed with SIGKILL."""
    rows = [[stage, *("whole" if s in stores else "" for s in STORES)] for stage, stores in STAGES.items()]
    heading = "Killed with SIGKILL, and run again"
    return _table(heading, list(STORES), [*rows, ["at random moments", *("whole" for _ in STORES)]])


def _table(heading: str, columns: list[str], rows: list[list[str]]) -> str:
    lines = ["", *columns], ["---"] * (len(columns) + 1), *rows
    return f"### {heading}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
