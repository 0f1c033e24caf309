"""The likely readings of the API document once more, at a server that shares nothing with the simulator."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cca.operators import CcaReconcileOperator, CcaToObjectStorageOperator
from tests.support.plain_cca import SITE, PlainCca

READINGS = [
    pytest.param(dates, named, total, idle, id=f"{dates}, named {named:+}, total {total}, idle {idle}")
    for dates, named, total, idle in (
        ("utc", -1, False, False),
        ("utc", -1, True, True),
        ("name", -1, False, False),
        ("name", 1, False, True),
        ("name", 1, True, False),
        ("pacific", -1, False, True),
        ("pacific", -1, True, False),
    )
]


def named_by_manifests(folder: Path) -> dict[str, set[str]]:
    """Names by creation date; each object has the MD5 that its manifest states."""
    found = {}
    for path in folder.glob("creation_date=*/_manifest.json"):
        files = json.loads(path.read_bytes())["files"]
        assert all(md5((path.parent / one["key"]).read_bytes()).hexdigest() == one["md5"] for one in files)
        found[path.parent.name.partition("=")[2]] = {one["name"] for one in files}
    return found


def is_over(day: date) -> bool:
    """For 48 hours, so that an empty list is believed."""
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    return datetime.now(UTC) >= end + timedelta(hours=48)


@pytest.mark.parametrize(("dates", "named", "total", "idle"), READINGS)
@pytest.mark.parametrize("report", ["cdr", "cdr_compressed"])
def test_daily_runs_a_range_and_reconcile_land_what_the_server_means(
    report: str,
    dates: str,
    named: int,
    total: bool,
    idle: bool,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = SITE if report == "cdr" else None
    cca = PlainCca(dates, named, total_of_all=total, idle_count=idle)
    days = [cca.today - timedelta(days=n) for n in range(8, -1, -1)]
    meant = {
        str(day): {file.name for file in (cca.csvs if site else cca.zips) if cca.date_of(file) == day}
        for day in days
    }
    expected = {day: names for day, names in meant.items() if names or is_over(date.fromisoformat(day))}

    def try_(operator: Any) -> bool:
        try:
            return bool(run(operator))
        except Exception:  # noqa: BLE001 - a run is red whatever the error is
            return False

    with cca.serve() as connection:
        monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))
        for name in ("daily", "range", "reconcile"):
            target = {"task_id": "t", "report": report, "site": site, "destination": str(tmp_path / name)}
            if name == "daily":
                for day, names in meant.items():
                    green = try_(CcaToObjectStorageOperator(partition=day, **target))
                    assert green is bool(names or day in expected), day
            elif name == "range":
                both = {"partition": str(days[0]), "partition_end": str(days[-1])}
                assert try_(CcaToObjectStorageOperator(**both, **target)) is (len(expected) == len(days))
            else:
                try_(CcaReconcileOperator(lookback_days=8, alarm_days=None, **target))
            folder = tmp_path / name / report / (f"site={site}" if site else "")
            landed = named_by_manifests(folder)
            assert {day: landed[day] for day in landed if day in meant} == expected, name
    assert cca.refusals <= 20
