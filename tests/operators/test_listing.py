"""CcaListFilesOperator, and CcaDownloadFilesOperator behind it."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cca.operators import CcaDownloadFilesOperator, CcaListFilesOperator
from airflow_provider_cca.simulator import Simulator


@pytest.mark.cca_simulator(days=5)
def test_a_date_without_files_is_listed_and_landed_with_a_warning_each(
    sim: Simulator, run: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    day = str(sim.world.today - timedelta(days=20))
    assert run(CcaListFilesOperator(task_id="list", report="cdr_compressed", partition=day)) == []
    run(CcaDownloadFilesOperator(task_id="land", files=[], destination=str(tmp_path)))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("lists no files of cdr_compressed" in text for text in warnings)
    assert any("No files were given" in text for text in warnings)
