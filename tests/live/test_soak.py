"""A short form of `make soak`: three DAGs, two weeks, a fault in every tenth answer, and killed tasks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from . import soak

DAYS = 14
SEED = 1
MOST_DOWNLOADS_PER_FILE = 1.3

pytestmark = pytest.mark.live

# Dates that no other live test lands.
LAST_DAY = datetime.now(UTC).date() - timedelta(days=100)


@pytest.fixture(scope="module")
def outcome(cca, airflow, store):
    days = [LAST_DAY - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    outcome = soak.soak(cca, airflow, store, days, list(soak.DAGS), SEED)
    print(outcome)
    return outcome


def test_every_run_ends_well_and_the_store_equals_the_server(outcome):
    assert outcome.wrong == []
    assert outcome.runs == {"success": DAYS * len(soak.DAGS)}
    assert outcome.files >= DAYS * 7


def test_a_reader_never_sees_half_an_object(outcome):
    assert outcome.half == []
    assert outcome.looks > DAYS


def test_the_weather_was_bad(outcome):
    assert outcome.faults.total() >= 0.09 * outcome.calls.total()
    assert len(outcome.faults) >= 5
    assert outcome.kills >= 2


def test_few_files_are_asked_for_twice(outcome):
    assert outcome.downloads_per_file <= MOST_DOWNLOADS_PER_FILE


def test_the_reader_would_see_half_a_file_and_a_manifest_that_comes_too_early(outcome, tmp_path):
    folder = tmp_path / "cdr_compressed" / "creation_date=2026-01-01"
    folder.mkdir(parents=True)
    (folder / "a.zip").write_bytes(b"hal")
    entries = [{"key": "b.zip", "size": 4, "md5": soak.md5(folder / "a.zip")}]
    (folder / "_manifest.json").write_text(json.dumps({"files": entries}))
    reader = soak.Reader(tmp_path, {"cdr_compressed/creation_date=2026-01-01": ["0" * 32]})
    reader.look()
    assert len(reader.half) == 2
