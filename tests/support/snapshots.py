"""Coverage snapshots as a reconcile run writes them, made up: a year of all reports, whole or with gaps.

`python -m tests.snapshots FOLDER [--whole] [--gaps 10000]` writes one.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

Snapshot = dict[str, Any]

SITES = 12
RETENTION_DAYS = 365
LEVELS = ("site", "customer", "partner")
STATES = ("landed", "partly", "missing", "empty", "lost", "unknown")

# (report, level) -> what is wrong, by days before today, or by months for the monthly report.
DAMAGE: Mapping[tuple[str, str | None], Mapping[int, str]] = {
    ("cdr", None): {12: "partly", 133: "missing"},
    ("cdr_compressed", None): {41: "missing", 42: "missing", 43: "missing", 201: "partly"},
    ("peak_port_daily", "site"): {361: "missing", 362: "missing", 7: "missing"},
    ("peak_port_daily", "partner"): {0: "unknown", 88: "missing"},
    ("peak_port_monthly", "site"): {12: "lost"},
    ("peak_port_monthly", "customer"): {5: "missing"},
    ("peak_port_monthly", "partner"): {12: "lost"},
}


def make(today: date, *, whole: bool = False, gaps: int | None = None, rows: int = 8) -> Snapshot:
    """A snapshot of the year up to `today`. Unless `whole` it has a few gaps, or as many as `gaps` says."""
    dice = random.Random(1)
    made = [
        _row(report, level, today, {} if whole else DAMAGE.get((report, level), {}), dice)
        for report, level in _scopes(rows)
    ]
    listed = sorted(_gaps(made), key=lambda gap: (gap["state"] == "lost", gap["expires_on"] or "9999"))
    if gaps:
        listed = _many(listed, gaps)
    counts = Counter(partition["state"] for row in made for partition in row["partitions"])
    return {
        "version": 1,
        "written_at": f"{datetime.combine(today, datetime.min.time(), UTC):%Y-%m-%d}T00:20:12Z",
        "today": today.isoformat(),
        "retention_days": RETENTION_DAYS,
        "destination": "s3://calls/cca",
        "rows": made,
        "gaps": listed,
        "gaps_total": len(listed),
        "counts": {state: counts[state] for state in STATES},
    }


def write(folder: Path, snapshot: Snapshot) -> Path:
    """Put it where the page looks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "_coverage.json"
    path.write_text(json.dumps(snapshot))
    return path


def _scopes(rows: int) -> list[tuple[str, str | None]]:
    scopes = [("cdr", None), ("cdr_compressed", None)]
    scopes += [(report, level) for report in ("peak_port_daily", "peak_port_monthly") for level in LEVELS]
    return scopes + [("cdr_compressed", None)] * (rows - len(scopes))


def _row(
    report: str, level: str | None, today: date, damage: Mapping[int, str], dice: random.Random
) -> Snapshot:
    monthly = report == "peak_port_monthly"
    days = list(_months(today)) if monthly else [today - timedelta(days=back) for back in range(364, -1, -1)]
    partitions = [
        _partition(report, day, monthly, today, damage.get(len(days) - 1 - index), dice)
        for index, day in enumerate(days)
    ]
    row = {"report": report, "level": level, "grain": "month" if monthly else "day", "partitions": partitions}
    return row | ({"sites": SITES} if report == "cdr" else {})


def _partition(
    report: str, day: date, monthly: bool, today: date, state: str | None, dice: random.Random
) -> Snapshot:
    files = SITES if report == "cdr" else 1
    state = state or ("empty" if report == "cdr" and day.weekday() == 6 and dice.random() < 0.4 else "landed")
    size = dice.randint(9_000, 90_000)
    files = {"empty": 0, "unknown": 0}.get(state, files + 1 if state == "partly" else files)
    landed = {"landed": files, "partly": files - 1}.get(state, 0)
    expires = day + timedelta(days=RETENTION_DAYS)
    left = None if state in ("lost", "empty", "unknown") else max(0, (expires - today).days)
    return {
        "partition": f"{day:%Y-%m}" if monthly else day.isoformat(),
        "state": state,
        "files": files,
        "landed": landed,
        "lost": files if state == "lost" else 0,
        "bytes": files * size,
        "landed_bytes": landed * size,
        "expires_on": None if state in ("empty", "unknown") else expires.isoformat(),
        "days_left": left,
    }


def _months(today: date) -> Iterator[date]:
    for back in range(12, -1, -1):
        months = today.year * 12 + today.month - 1 - back
        yield date(months // 12, months % 12 + 1, 5)


def _gaps(rows: list[Snapshot]) -> Iterator[Snapshot]:
    for row in rows:
        for partition in row["partitions"]:
            if partition["state"] not in ("missing", "partly", "lost"):
                continue
            gap = {"report": row["report"], "site": None, "level": row["level"], **partition}
            if row["report"] != "cdr":
                yield gap
                continue
            size = partition["bytes"] // partition["files"]
            for site in range(1, partition["files"] - partition["landed"] + 1):
                of_site = {
                    "state": "missing",
                    "files": 1,
                    "landed": 0,
                    "lost": 0,
                    "bytes": size,
                    "landed_bytes": 0,
                }
                yield gap | of_site | {"site": f"site {site}"}


def _many(few: list[Snapshot], number: int) -> list[Snapshot]:
    return [few[index * len(few) // number] | {"site": f"site {index}"} for index in range(number)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.snapshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--whole", action="store_true", help="nothing is missing")
    parser.add_argument("--gaps", type=int, help="how many gaps to list")
    arguments = parser.parse_args()
    today = datetime.now(UTC).date()
    print(write(arguments.folder, make(today, whole=arguments.whole, gaps=arguments.gaps)))


if __name__ == "__main__":
    main()
