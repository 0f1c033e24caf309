"""What a stored coverage snapshot holds, checked and cut down to what the page shows. Plain Python, no I/O.

The page is given nothing that is not named here, whatever else lies in the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from airflow_provider_cca.coverage.document import MOST_GAPS, check_version, without_user
from airflow_provider_cca.coverage.state import RETENTION, State
from airflow_provider_cca.reports import LEVELS, REPORTS

STATES = tuple(str(state) for state in State)


def checked(body: bytes) -> dict[str, Any]:
    """The snapshot as the page gets it; raises ValueError when it is damaged, as NewerVersion when newer."""
    try:
        data = json.loads(body)
        check_version(data["version"])
        today = _date(data["today"])
        begins = str(date.fromisoformat(today) - RETENTION)
        return {
            "written_at": _moment(data["written_at"]),
            "today": today,
            "retention_days": _count(data["retention_days"]),
            "destination": without_user(_text(data["destination"])),
            "rows": [_row(row, begins, today) for row in _list(data["rows"])],
            "gaps": [gap for gap in map(_gap, _list(data["gaps"])[:MOST_GAPS]) if _within(gap, "", today)],
            "gaps_total": _count(data["gaps_total"]),
            "counts": {state: _count(data["counts"][state]) for state in STATES},
        }
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"it is no snapshot: {error!r}") from error


def of_reports(data: Mapping[str, Any], reports: Collection[str]) -> dict[str, Any]:
    """Return what `checked` gave without other reports, in its counts too."""
    rows, gaps = ([one for one in data[name] if one["report"] in reports] for name in ("rows", "gaps"))
    others = _cells_by_state(data["rows"], data["gaps"]) - _cells_by_state(rows, gaps)
    return {
        **data,
        "rows": rows,
        "gaps": gaps,
        "gaps_total": data["gaps_total"] - len(data["gaps"]) + len(gaps),
        "counts": {state: max(0, count - others[state]) for state, count in data["counts"].items()},
    }


def _cells_by_state(rows: Iterable[Mapping[str, Any]], gaps: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count the cells of calendars by state, and as lost what was lost before they begin."""
    cells = {
        (row["report"], row["level"], cell["partition"]): cell["state"]
        for row in rows
        for cell in row["partitions"]
    }
    lost = {(gap["report"], gap["level"], gap["partition"]): str(State.LOST) for gap in gaps}
    return Counter({**lost, **cells}.values())


def _row(row: Mapping[str, Any], begins: str, today: str) -> dict[str, Any]:
    """Without what lies outside the year: a calendar would be as wide as its dates are apart."""
    cells = map(_amounts, _list(row["partitions"]))
    return {
        "report": _one_of(row["report"], REPORTS),
        "level": _optional(row["level"], lambda level: _one_of(level, LEVELS)),
        "grain": _one_of(row["grain"], ("day", "month")),
        "sites": _optional(row.get("sites"), _count),
        "partitions": [one for one in cells if _within(one, begins, today)],
    }


def _within(one: Mapping[str, Any], first: str, last: str) -> bool:
    """Whether its date, or month, lies between these dates, both included."""
    length = len(one["partition"])
    return bool(first[:length] <= one["partition"] <= last[:length])


def _gap(gap: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "report": _one_of(gap["report"], REPORTS),
        "site": _optional(gap["site"], _text),
        "level": _optional(gap["level"], lambda level: _one_of(level, LEVELS)),
        **_amounts(gap),
    }


def _amounts(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "partition": _partition(data["partition"]),
        "state": _one_of(data["state"], STATES),
        "files": _count(data["files"]),
        "landed": _count(data["landed"]),
        "lost": _count(data.get("lost", 0)),
        "bytes": _count(data["bytes"]),
        "landed_bytes": _count(data["landed_bytes"]),
        # Days to live are left out: the page counts them from its own today.
        "expires_on": _optional(data["expires_on"], _date),
    }


def _optional(value: Any, read: Callable[[Any], Any]) -> Any:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


# A year has few dates, and a snapshot names each of them many times.
@lru_cache(maxsize=2048)
def _date(value: Any) -> str:
    # Checked by writing it again, since Python reads more forms of a date than browsers do.
    if date.fromisoformat(_text(value)).isoformat() != value:
        raise ValueError(f"{value!r} is no date as YYYY-MM-DD")
    return str(value)


@lru_cache(maxsize=2048)
def _partition(value: Any) -> str:
    is_month = len(_text(value)) == len("YYYY-MM")
    return _date(f"{value}-01")[:7] if is_month else _date(value)


def _moment(value: Any) -> str:
    if datetime.fromisoformat(_text(value)).tzinfo is None:
        raise ValueError(f"{value!r} is no moment in UTC")
    return str(value)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:  # True is an int, and no count
        raise TypeError(f"{value!r} is no count")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _one_of(value: Any, known: Any) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{value!r} is not known")
    return value
