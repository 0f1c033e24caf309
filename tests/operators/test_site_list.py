"""The list of sites: which runs get today's, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException
from airflow_provider_cca.operators import CcaSiteListToObjectStorageOperator
from airflow_provider_cca.simulator import Simulator

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def land(
    kind: str, tmp_path: Path, date: datetime = YESTERDAY, snapshot_date: str | None = None
) -> dict[str, Any]:
    operator = CcaSiteListToObjectStorageOperator(task_id="t", destination=str(tmp_path))
    operator.snapshot_date = snapshot_date  # as a template renders it
    run = SimpleNamespace(run_type=kind, run_after=date)
    return operator.execute({"dag_run": run, "logical_date": date, "params": {}})


@pytest.mark.parametrize("named", [None, "", "None"])
@pytest.mark.parametrize("kind", ["scheduled", "manual", "asset_triggered", "operator_triggered"])
def test_who_names_no_date_gets_todays_list_also_after_midnight(
    sim: Simulator, tmp_path: Path, kind: str, named: str | None
) -> None:
    assert land(kind, tmp_path, snapshot_date=named)["partition"] == str(sim.world.today)


def test_a_backfill_of_a_past_date_is_skipped(sim: Simulator, tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="keeps no history"):
        land("backfill", tmp_path)
    assert land("backfill", tmp_path, datetime.now(UTC))["files"] == 1


@pytest.mark.parametrize("kind", ["manual", "asset_triggered"])
def test_a_past_date_that_is_named_is_refused(sim: Simulator, tmp_path: Path, kind: str) -> None:
    with pytest.raises(AirflowFailException, match="there is no site list of"):
        land(kind, tmp_path, snapshot_date=f"{YESTERDAY:%Y-%m-%d}")
    assert not list(tmp_path.iterdir())
