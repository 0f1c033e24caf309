"""The example `cca_extract` in a real Airflow: the landing's asset starts it, and it unpacks what landed."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from .api import FINISHED
from .hurry import SETTINGS, hurry
from .processes import children, wait_until
from .stack import API_PORT, airflow_stack

LANDING, EXAMPLE = "cca_cdr_compressed", "cca_extract"
SECONDS = 240
TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=back) for back in (23, 22)]
BY_HAND = TODAY - timedelta(days=22)

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def scheduled(cca, tmp_path_factory):
    """An Airflow of its own, since the others start no run by itself; and its store."""
    home, store = tmp_path_factory.mktemp("scheduled"), tmp_path_factory.mktemp("extracted")
    hurry(home)
    with (
        children(home) as processes,
        airflow_stack(
            processes,
            connection=cca.connection_json,
            storage=store,
            port=API_PORT + 2,
            settings=SETTINGS,
        ) as stack,
    ):
        wait_until("the DAGs", lambda: all(map(stack.api.has_dag, (LANDING, EXAMPLE))), SECONDS)
        yield stack, store


def ended(stack, run_id: str | None = None, but: str | None = None):
    """A run of the example, that one or another one, when it has ended."""
    for run in stack.api.runs(EXAMPLE):
        if run["state"] in FINISHED and run_id in {None, run["dag_run_id"]} and run["dag_run_id"] != but:
            return run
    return None


def members(store: Path, day: date) -> list[bytes]:
    folder = store / f"cdr_csv/creation_date={day}"
    named = json.loads((folder / "_manifest.json").read_bytes())["files"]
    return sorted(gzip.decompress((folder / entry["key"]).read_bytes()) for entry in named)


def truth(cca, day: date) -> list[bytes]:
    found = []
    for file in cca.world.files("cdr_compressed", None, day, day):
        archive = zipfile.ZipFile(io.BytesIO(cca.world.body(file).content()))
        found += [archive.read(info) for info in archive.infolist()]
    return sorted(found)


def test_a_landing_starts_it_and_what_landed_is_unpacked(cca, scheduled) -> None:
    stack, store = scheduled
    stack.api.unpause(EXAMPLE)
    stack.api.unpause(LANDING)
    # The schedule lands the newest date. Of two events within moments Airflow can keep the second back.
    first = wait_until("the first extraction", lambda: ended(stack), SECONDS, watch=stack.processes.check)
    stack.api.trigger(LANDING, {"partition": str(DAYS[0]), "partition_end": str(DAYS[-1])})
    run = wait_until(
        "the extraction", lambda: ended(stack, but=first["dag_run_id"]), SECONDS, watch=stack.processes.check
    )
    assert (run["state"], run["run_type"]) == ("success", "asset_triggered")
    assert [members(store, day) for day in DAYS] == [truth(cca, day) for day in DAYS]


def test_by_hand_it_takes_a_date(cca, scheduled) -> None:
    stack, store = scheduled
    for path in (store / f"cdr_csv/creation_date={BY_HAND}").iterdir():
        path.unlink()
    run_id = stack.api.trigger(EXAMPLE, {"partition": str(BY_HAND)})
    wait_until("the run", lambda: ended(stack, run_id), SECONDS, watch=stack.processes.check)
    assert members(store, BY_HAND) == truth(cca, BY_HAND)
    assert stack.api.xcom(EXAMPLE, run_id, "extract_files")["partition"] == str(BY_HAND)
