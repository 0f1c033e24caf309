"""What a landing tells the rest of Airflow: its event, the DAGs that start from it, its links; and a watcher.

An Airflow of its own, since the one that the other tests share makes no runs by itself, not even from assets.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import airflow.sdk
import pytest
from packaging.version import Version

from .api import FINISHED
from .conftest import READ_TIMEOUT_SECONDS
from .hurry import SETTINGS, hurry, impatient
from .processes import children, wait_until
from .stack import API_PORT, ROOT, airflow_stack

UPSTREAM, DOWNSTREAM = "cca_cdr_compressed", "cca_example_downstream"
BY_PARTITION, WATCHING = "by_partition", "land_when_ready"
DAY = datetime.now(UTC).date() - timedelta(days=150)
SECONDS = 120
HAS_KEYS_OF_EVENTS = Version(airflow.sdk.__version__) >= Version("1.3")

_BY_PARTITION = f'''
from airflow.sdk import DAG, PartitionedAssetTimetable, task
from airflow_provider_cca.assets import cca_partitions

each = PartitionedAssetTimetable(assets=cca_partitions("cdr_compressed"))

with DAG("{BY_PARTITION}", schedule=each, catchup=False):
    @task
    def key(dag_run=None):
        return dag_run.partition_key

    key()
'''
_WATCHING = f'''
from airflow.sdk import DAG, Asset, AssetWatcher, task
from airflow_provider_cca.triggers import CcaNewPartitionTrigger

watch = CcaNewPartitionTrigger(report="peak_port_daily", level="partner", lookback=2, poke_interval=10)
upstream = Asset("new peak ports", watchers=[AssetWatcher("peak ports", watch)])

with DAG("{WATCHING}", schedule=[upstream]):
    @task
    def payloads(triggering_asset_events=None):
        return [event.extra["payload"] for event in triggering_asset_events[upstream]]

    payloads()
'''

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def airflow(cca, storage, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "dags" / f"{UPSTREAM}.py", dags)
    shutil.copytree(ROOT / "dags" / "examples", dags / "examples")
    (dags / "watching.py").write_text(_WATCHING)
    if HAS_KEYS_OF_EVENTS:
        (dags / "by_partition.py").write_text(_BY_PARTITION)
    hurry(home)
    with (
        children(home) as processes,
        airflow_stack(
            processes,
            connection=impatient(cca, READ_TIMEOUT_SECONDS),
            storage=storage,
            dags=dags,
            port=API_PORT + 1,
            settings=SETTINGS,
        ) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
def landed(airflow):
    """The run that lands one date, when those who start from it are ready.

    Today's scheduled run, and the one that it starts, are over by then: of two events within moments Airflow
    can keep the second until a third comes.
    """
    for dag_id in (DOWNSTREAM, *([BY_PARTITION] if HAS_KEYS_OF_EVENTS else []), UPSTREAM):
        airflow.unpause(dag_id)
    ended(airflow, lambda: next(iter(airflow.api.runs(DOWNSTREAM)), None))
    run_id = airflow.api.trigger(UPSTREAM, {"partition": str(DAY)})
    assert ended(airflow, lambda: airflow.api.run(UPSTREAM, run_id))["state"] == "success"
    return run_id


def ended(airflow, find):
    """The run that `find` gives, when it has ended."""

    def run():
        found = find()
        return found if found and found["state"] in FINISHED else None

    return wait_until("the run", run, SECONDS, watch=airflow.processes.check)


def started_by(airflow, dag_id, events):
    """The run of a DAG that one of these events has started, if there is one."""
    wanted = {event["id"] for event in events}
    for run in airflow.api.runs(dag_id):
        if wanted & {event["id"] for event in airflow.api.events_of_run(dag_id, run["dag_run_id"])}:
            return run
    return None


def events_of(airflow, run_id, asset):
    found = airflow.api.asset_events(UPSTREAM, run_id)
    return [event for event in found if event["name"] == asset]


def test_the_event_of_the_landing_holds_its_facts(airflow, cca, storage, landed):
    (event,) = events_of(airflow, landed, "cca/cdr_compressed")
    files = cca.truth("cdr_compressed", DAY, DAY)
    folder = storage / "cdr_compressed"
    manifest = f"{folder}/creation_date={DAY}/_manifest.json"
    assert (event["uri"], event["source_task_id"]) == ("x-cca://cdr_compressed", "land_files")
    assert event["extra"] == {
        "report": "cdr_compressed",
        "partition": str(DAY),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "downloaded": len(files),
        "folder": str(folder),
        "manifest": manifest,
        "manifests": [manifest],
    }


def test_the_downstream_dag_starts_from_it_and_finds_the_files(airflow, cca, landed):
    events = events_of(airflow, landed, "cca/cdr_compressed")
    run = ended(airflow, lambda: started_by(airflow, DOWNSTREAM, events))
    assert (run["state"], run["run_type"]) == ("success", "asset_triggered")
    found = airflow.api.xcom(DOWNSTREAM, run["dag_run_id"], "load")
    assert found >= len(cca.truth("cdr_compressed", DAY, DAY)) > 0


@pytest.mark.skipif(not HAS_KEYS_OF_EVENTS, reason="a task can give partition keys from Airflow 3.3")
def test_a_dag_of_partitions_starts_with_the_date_as_its_key(airflow, landed):
    events = events_of(airflow, landed, "cca/cdr_compressed/partitions")
    assert [event["partition_key"] for event in events] == [str(DAY)]
    run = ended(airflow, lambda: started_by(airflow, BY_PARTITION, events))
    assert (run["state"], run["partition_key"]) == ("success", str(DAY))
    assert airflow.api.xcom(BY_PARTITION, run["dag_run_id"], "key") == str(DAY)


def test_the_ui_gets_links_to_the_folder_and_to_the_docs(airflow, storage, landed):
    links = airflow.api.links(UPSTREAM, landed, "land_files")
    assert links["Landed files"] == f"cca/docs/landed?folder={storage}/cdr_compressed/creation_date={DAY}"
    assert links["About this report"] == "cca/docs/reports#cdr_compressed"


def test_a_watcher_starts_a_dag_for_each_partition_that_appears(airflow, cca):
    airflow.unpause(WATCHING)
    expected = {str(cca.world.today - timedelta(days=back)) for back in (0, 1)}

    def told():
        runs = [run for run in airflow.api.runs(WATCHING) if run["state"] == "success"]
        payloads = [p for run in runs for p in airflow.api.xcom(WATCHING, run["dag_run_id"], "payloads")]
        return payloads if {payload["partition"] for payload in payloads} == expected else None

    payloads = wait_until("the watcher", told, SECONDS, watch=airflow.processes.check)
    assert len(payloads) == len(expected)
    assert {(p["report"], p["level"], p["files"]) for p in payloads} == {("peak_port_daily", "partner", 1)}
