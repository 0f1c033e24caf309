"""What OpenLineage is told, through the extractor and the file transport of Airflow's own provider."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.providers.openlineage.extractors import ExtractorManager
from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
from airflow.sdk import DAG
from airflow.utils.state import TaskInstanceState
from openlineage.client import OpenLineageClient
from openlineage.client.naming.dataset import GCS, S3, LocalFileSystem
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.uuid import generate_new_uuid

from airflow_provider_cca.errors import PartlyLanded
from airflow_provider_cca.events import lineage
from airflow_provider_cca.events.lineage import dataset_of
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator,
    CcaListFilesOperator,
    CcaReconcileOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.simulator import Status
from tests.support.s3 import BUCKET

Datasets = dict[tuple[str, str], tuple[int, int]]


def event_of(operator: Any, folder: Path, state: TaskInstanceState = TaskInstanceState.SUCCESS) -> dict:
    """The event that the provider writes when the task ends in this state."""
    lineage = ExtractorManager().extract_metadata(
        dagrun=SimpleNamespace(run_id="r"), task=operator, task_instance_state=state, task_instance=None
    )
    transport = FileTransport(FileConfig(str(folder / "events.json"), append=True))
    OpenLineageAdapter(OpenLineageClient(transport=transport)).complete_task(
        run_id=str(generate_new_uuid()),
        job_name="day.land",
        end_time=datetime.now(UTC).isoformat(),
        task=lineage,
        nominal_start_time=None,
        nominal_end_time=None,
        owners=None,
        tags=None,
        job_description=None,
    )
    return json.loads((folder / "events.json").read_text().splitlines()[-1])


def inputs(event: dict) -> set[tuple[str, str]]:
    return {(one["namespace"], one["name"]) for one in event["inputs"]}


def outputs(event: dict) -> Datasets:
    """(Namespace, name) -> (files, bytes)."""
    found = {}
    for one in event["outputs"]:
        counts = one["outputFacets"]["outputStatistics"]
        found[one["namespace"], one["name"]] = counts["fileCount"], counts["size"]
    return found


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def landing(store: str) -> Any:
    def make(**arguments: Any) -> CcaToObjectStorageOperator:
        given = {"report": "cdr_compressed", "destination": store, **arguments}
        with DAG("day", schedule=None):
            return CcaToObjectStorageOperator(task_id="land", **given)

    return make


def test_a_landing_leads_from_the_api_to_the_store(sim, run, day, tmp_path, store, landing):
    (file,) = sim.truth("cdr_compressed", day, day)
    operator = landing()
    run(operator, day)
    event = event_of(operator, tmp_path)
    assert event["eventType"] == "COMPLETE"
    assert inputs(event) == {(f"cca://{sim.host}:{sim.port}", "cdr_compressed")}
    assert outputs(event) == {("file", f"{store}/cdr_compressed"): (1, file.size)}


def test_a_range_is_one_dataset(sim, run, day, tmp_path, store, landing):
    first = pendulum.parse(day).subtract(days=9).to_date_string()
    files = sim.truth("cdr_compressed", first, day)
    operator = landing(partition=first, partition_end=day)
    run(operator)
    assert outputs(event_of(operator, tmp_path)) == {
        ("file", f"{store}/cdr_compressed"): (len(files), sum(file.size for file in files))
    }


def test_each_site_is_a_dataset_of_its_own(sim, run, day, tmp_path, store, landing):
    operator = landing(report="cdr", site=list(sim.world.sites))
    run(operator, day)
    event = event_of(operator, tmp_path)
    names = {f"cdr/site={site}" for site in sim.world.sites}
    assert {name for _, name in inputs(event)} == names
    assert {name for _, name in outputs(event)} == {f"{store}/{name}" for name in names}


def test_more_sites_than_an_event_can_hold_are_one_dataset(
    sim, run, day, tmp_path, store, landing, monkeypatch
):
    monkeypatch.setattr(lineage, "MAX_DATASETS", 2)
    operator = landing(report="cdr", site=list(sim.world.sites))
    files = run(operator, day)["files"]
    event = event_of(operator, tmp_path)
    assert [one["name"] for one in event["inputs"]] == ["cdr"]
    assert [(name, counts[0]) for (_, name), counts in outputs(event).items()] == [(f"{store}/cdr", files)]


def test_files_that_were_given_are_told_by_report_and_level(sim, run, day, tmp_path, store):
    files = run(CcaListFilesOperator(task_id="a", report="peak_port_daily", level="site", partition=day))
    with DAG("day", schedule=None):
        operator = CcaDownloadFilesOperator(task_id="land", files=files, destination=store)
    run(operator)
    assert list(outputs(event_of(operator, tmp_path))) == [("file", f"{store}/peak_port_daily/level=site")]


def test_the_site_list_is_told(sim, run, tmp_path, store):
    with DAG("day", schedule=None):
        operator = CcaSiteListToObjectStorageOperator(task_id="land", destination=store)
    run(operator, str(sim.world.today))
    assert outputs(event_of(operator, tmp_path)) == {
        ("file", f"{store}/site_list"): (1, len(sim.world.site_list()))
    }


def test_a_reconcile_run_tells_what_it_landed(sim, run, tmp_path, store):
    with DAG("day", schedule=None):
        operator = CcaReconcileOperator(
            task_id="land", report="cdr_compressed", lookback_days=5, destination=store
        )
    files = run(operator)["downloaded"]
    ((name, (told, _)),) = outputs(event_of(operator, tmp_path)).items()
    assert (name, told) == (("file", f"{store}/cdr_compressed"), files)


def test_a_failed_task_tells_of_what_had_landed_before(sim, run, day, tmp_path, store, landing):
    good, bad, _ = sim.world.sites
    sim.inject(Status(503), f"/v1/cdr/{bad}/", times=None)
    operator = landing(report="cdr", site=[good, bad])
    with pytest.raises(PartlyLanded):
        run(operator, day)
    event = event_of(operator, tmp_path, TaskInstanceState.FAILED)
    assert list(outputs(event)) == [("file", f"{store}/cdr/site={good}")]


def test_a_task_that_never_came_to_land_tells_of_nothing(tmp_path, landing):
    event = event_of(landing(), tmp_path, TaskInstanceState.FAILED)
    assert (event["inputs"], event["outputs"]) == ([], [])


@pytest.mark.parametrize(
    ("destination", "named"),
    [
        ("/", LocalFileSystem("/cdr")),
        ("/data/cca/", LocalFileSystem("/data/cca/cdr")),
        ("file:///data/cca", LocalFileSystem("/data/cca/cdr")),
        ("s3://bucket", S3("bucket", "cdr")),
        ("s3://aws_default@bucket/a/b/", S3("bucket", "a/b/cdr")),
        ("s3://key:secret@bucket/a", S3("bucket", "a/cdr")),
        ("s3a://aws_default@bucket/a?b#c", S3("bucket", "a?b#c/cdr")),
        ("gcs://google_cloud_default@bucket/a", GCS("bucket", "a/cdr")),
    ],
)
def test_datasets_are_named_as_openlineage_prescribes(destination, named):
    namespace, prefix = dataset_of(destination)
    assert (namespace, f"{prefix}cdr") == (named.get_namespace(), named.get_name())


def test_of_a_store_it_does_not_know_it_keeps_host_and_path():
    assert dataset_of("abfs://wasb_default@container/cca") == ("abfs://container", "cca/")


@pytest.mark.usefixtures("s3")
def test_a_connection_id_is_not_told(sim, run, day, tmp_path, landing, new_prefix):
    prefix = new_prefix()
    operator = landing(destination=f"s3://aws_default@{BUCKET}/{prefix}")
    run(operator, day)
    event = event_of(operator, tmp_path)
    assert list(outputs(event)) == [(f"s3://{BUCKET}", f"{prefix}cdr_compressed")]
    assert "aws_default" not in json.dumps(event)


def test_without_the_provider_there_is_nothing_to_tell(tmp_path):
    """And nothing that fails."""
    program = (
        "import sys\n"
        "sys.modules['airflow.providers.openlineage.extractors'] = None\n"
        "from airflow_provider_cca.operators import CcaToObjectStorageOperator\n"
        "land = CcaToObjectStorageOperator(task_id='t', report='cdr_compressed', destination='/x')\n"
        "print(land.get_openlineage_facets_on_complete(None))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "None"
