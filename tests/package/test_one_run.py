"""One run of a DAG of ours by Airflow's own `dag.test()`: the events and the links that Airflow has then."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import airflow.sdk
import pytest
from packaging.version import Version

from airflow_provider_cca.simulator import Simulator, Status

ROOT = Path(__file__).parent.parent.parent
SDK = Version(airflow.sdk.__version__)
HAS_KEYS_OF_EVENTS = Version("1.3") <= SDK
"""The SDK of Airflow 3.3: a task can give its events partition keys."""

pytestmark = pytest.mark.skipif(
    SDK.release[:2] == (1, 2),
    reason="dag.test() of Airflow 3.2 fails in its own API with the FastAPI that pip chooses",
)

BY_PARTITION = """
from airflow.sdk import DAG, PartitionedAssetTimetable, task
from airflow_provider_cca.assets import cca_partitions

with DAG(
    "by_partition", schedule=PartitionedAssetTimetable(assets=cca_partitions("cdr_compressed")), catchup=False
) as dag:
    @task
    def load(): ...

    load()
"""
SECONDS = 240


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with Simulator(days=10, sites=3).serve() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def days(sim: Simulator) -> list[str]:
    return [str(sim.world.today - timedelta(days=back)) for back in (4, 3, 2)]


@pytest.fixture(scope="module")
def run(sim: Simulator, days: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow has of a run of cca_cdr_compressed that landed three dates."""
    home = tmp_path_factory.mktemp("airflow")
    conf = {"partition": days[0], "partition_end": days[-1]}
    return ran(home, sim, "cca_cdr_compressed", conf) | {"folder": f"file://{home}/store/cdr_compressed"}


def ran(
    home: Path,
    sim: Simulator,
    dag_id: str,
    conf: dict[str, Any],
    *,
    dag: str = "",
    state: str = "success",
    policy: str = "",
) -> dict[str, Any]:
    """Run a DAG in an empty Airflow: one of ours, or the one whose text is given."""
    (home / "config").mkdir()
    (home / "store").mkdir()
    (home / "config" / "airflow_local_settings.py").write_text(policy)
    shutil.copytree(ROOT / "dags", home / "dags")
    (home / "dags" / "own.py").write_text(dag)
    if HAS_KEYS_OF_EVENTS:
        (home / "dags" / "by_partition.py").write_text(BY_PARTITION)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env = inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__BASE_URL": "http://airflow.example/base",
        "AIRFLOW_CONN_CCA_DEFAULT": sim.connection_json,
        "AIRFLOW_VAR_CCA_STORAGE": f"file://{home}/store",
        "AIRFLOW_CONN_REFUSED": json.dumps({**json.loads(sim.connection_json), "password": "wrong"}),
        "AIRFLOW_CONN_OTHER": '{"conn_type": "aws", "password": "of-another-connection"}',
    }
    command = [sys.executable, str(ROOT / "tests" / "support" / "one_run.py"), dag_id, json.dumps(conf)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["state"], told["imports"]) == (state, {}), done.stdout
    return dict(told) | {"log": done.stdout.splitlines()}


def events_of(run: dict[str, Any], asset: str) -> list[dict[str, Any]]:
    return [event for event in run["events"] if event["asset"] == asset]


def test_the_landing_is_one_event_of_its_asset_with_its_facts(run, sim: Simulator, days) -> None:
    (event,) = events_of(run, "cca/cdr_compressed")
    files = sim.truth("cdr_compressed", days[0], days[-1])
    assert (event["task"], event["partition_key"]) == ("land_files", None)
    assert event["extra"] == {
        "report": "cdr_compressed",
        "partition": days[0],
        "partition_end": days[-1],
        "partitions": 3,
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "downloaded": len(files),
        "folder": run["folder"],
        "manifests": [f"{run['folder']}/creation_date={day}/_manifest.json" for day in days],
    }


def test_the_downstream_example_is_about_to_start(run) -> None:
    assert "cca_example_downstream" in run["starts"]


@pytest.mark.skipif(not HAS_KEYS_OF_EVENTS, reason="a task can give partition keys from Airflow 3.3")
def test_each_partition_is_an_event_and_a_run_of_a_dag_that_wants_them_so(run, days) -> None:
    events = events_of(run, "cca/cdr_compressed/partitions")
    assert sorted(event["partition_key"] for event in events) == days
    assert run["starts_with_key"] == [["by_partition", day] for day in days]
    assert "by_partition" not in run["starts"]


def test_the_task_has_links_to_what_it_landed_and_to_the_docs(run) -> None:
    links = run["links"]["land_files"]
    assert links["Landed files"] == f"cca/docs/landed?folder={run['folder']}"
    assert links["About this report"] == "cca/docs/reports#cdr_compressed"
    assert run["links"]["wait_for_files"] == {}


def test_a_reconciliation_updates_the_asset_of_each_report_that_it_lands(sim: Simulator, tmp_path) -> None:
    conf = {"reports": ["cdr_compressed", "peak_port_daily"], "lookback_days": 3}
    told = ran(tmp_path, sim, "cca_reconcile", conf)
    extras = {event["asset"]: event["extra"] for event in told["events"]}
    peaks = {f"cca/peak_port_daily/level={level}" for level in ("site", "customer", "partner")}
    assert extras.keys() == {"cca/cdr_compressed", *peaks}
    assert len(told["events"]) == len(extras)
    first = sim.world.today - timedelta(days=3)
    assert extras["cca/cdr_compressed"]["downloaded"] == len(sim.truth("cdr_compressed", first))
    assert extras["cca/peak_port_daily/level=site"]["level"] == "site"
    assert "cca_example_downstream" in told["starts"]


def test_a_range_of_peak_ports_alone_needs_no_list_of_sites(tmp_path) -> None:
    """As with an account that may not list them."""
    with Simulator(days=10, sites=3).serve() as sim:
        sim.inject(Status(403), "sites", times=None)
        first, last = (str(sim.world.today - timedelta(days=back)) for back in (4, 3))
        told = ran(
            tmp_path, sim, "cca_land_range", {"reports": ["peak_port_daily"], "from": first, "to": last}
        )
        levels = {f"cca/peak_port_daily/level={level}" for level in ("site", "customer", "partner")}
        assert {event["asset"] for event in told["events"]} == levels
        assert sim.count(call="sites") == 0


HOSTILE = ["plain", "{{ conn.other.password }}", "x{{ 7*7 }}", "{% raw %}", "lone {#", "{{ undefined.name }}"]

ALL_WAYS = """
import pendulum
from airflow.sdk import DAG
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator, CcaListFilesOperator, CcaListSitesOperator, CcaToObjectStorageOperator,
)

day, store = "{{ params.partition }}", "{{ var.value.cca_storage }}/"
asked = {"report": "cdr", "partition": day}
Land = CcaToObjectStorageOperator
with DAG("all_ways", schedule=None, start_date=pendulum.datetime(2026, 1, 1), params={"partition": None}):
    sites = CcaListSitesOperator(task_id="sites")
    files = CcaListFilesOperator.partial(task_id="files", **asked).expand(site=sites.output)
    CcaDownloadFilesOperator.partial(task_id="lists", destination=store + "lists").expand(files=files.output)

    Land(task_id="all", destination=store + "all", site=sites.output, **asked)
    text = "{{ ti.xcom_pull('sites') }}"
    Land(task_id="text", destination=store + "text", site=text, **asked) << sites.output
    Land.partial(task_id="each", destination=store + "each", **asked).expand(site=sites.output)
    Land.partial(task_id="rows", destination=store + "rows").expand_kwargs(
        sites.output.map(lambda site: {"site": [site], **asked, "partition": None})
    )
"""


def test_the_name_of_a_site_is_never_rendered_as_a_template(tmp_path) -> None:
    """However a DAG hands it from task to task, the same files land."""
    with Simulator(days=10, sites=HOSTILE).serve() as sim:
        day = str(sim.world.today - timedelta(days=3))
        ran(tmp_path, sim, "all_ways", {"partition": day}, dag=ALL_WAYS)
        found = {
            way: names_below(tmp_path / "store" / way) for way in ("lists", "all", "text", "each", "rows")
        }
        paths = {request.path for request in sim.requests}
    assert len(found["all"]) >= len(HOSTILE)
    assert all(names == found["all"] for names in found.values())
    assert not [path for path in paths if "of-another-connection" in path or path.endswith("/x49")]


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.csv")}


WRONG = """
import pendulum
from airflow.sdk import DAG, task
from airflow_provider_cca.sensors import CcaFilesSensor
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator, CcaExtractOperator, CcaListFilesOperator, CcaReconcileOperator,
    CcaListSitesOperator, CcaSiteListToObjectStorageOperator, CcaToObjectStorageOperator,
)

WRONG = {
    CcaToObjectStorageOperator: {"report": "cdr_compressed", "destination": "/d", "partition": "11/18/2026"},
    CcaListFilesOperator: {"report": "cdr", "site": "a", "by": "size"},
    CcaFilesSensor: {"report": "peak_port_daily", "level": "moon", "partition": "2026-01-01"},
    CcaDownloadFilesOperator: {"destination": "/data", "files": [7]},
    CcaSiteListToObjectStorageOperator: {"destination": "relative"},
    CcaReconcileOperator: {"report": "cdr", "destination": "/data", "lookback_days": 0},
    CcaExtractOperator: {"source": "/d", "destination": "/d", "partition": "2026-01-01", "max_ratio": 0},
}
with DAG(
    "wrong", schedule=None, start_date=pendulum.datetime(2026, 1, 1), tags=["cca"],
    default_args={"retries": 2, "retry_delay": pendulum.duration(seconds=1)},
):
    for operator, wrong in WRONG.items():

        @task(task_id=f"arguments_of_{operator.__name__}")
        def arguments(wrong: dict) -> list[dict]:
            return [wrong]

        operator.partial(task_id=operator.__name__).expand_kwargs(arguments(wrong))

    CcaListSitesOperator(task_id="Unauthorized", cca_conn_id="refused")
    asked = {"report": "peak_port_daily", "level": "site", "destination": "/data"}
    CcaToObjectStorageOperator(task_id="StillProcessing", retries=0, **asked)
"""


PYTHON = re.compile(r"```python\n(.+?)```", re.S)
OPERATIONS = ROOT / "docs" / "operations.md"
NOTIFIER = """
class SmtpNotifier:
    def __init__(self, to, smtp_conn_id): self.to = to

    def __call__(self, context):
        with open({file!r}, "a") as file: file.write(context["dag"].dag_id + " " + self.to + "\\n")
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow has of a run in which every task of ours failed."""
    with Simulator(days=10, sites=3).serve() as sim:
        sim.inject(Status(412), "list", times=None)
        home = tmp_path_factory.mktemp("failed")
        (policy,) = (block for block in PYTHON.findall(OPERATIONS.read_text()) if "def dag_policy" in block)
        mine = NOTIFIER.format(file=str(home / "told")) + policy.partition("\n")[2]
        return ran(home, sim, "wrong", {}, dag=WRONG, state="failed", policy=mine) | {"home": home}


def test_the_documented_cluster_policy_tells_of_a_failed_run_once(failed: dict[str, Any]) -> None:
    assert (failed["home"] / "told").read_text() == "wrong on-call@example.com\n"


def test_a_wrong_argument_of_a_mapped_task_is_not_tried_again(failed: dict[str, Any]) -> None:
    """Airflow makes the operator of a mapped task in the worker, where an error of its own is retried."""
    assert set(failed["tries"].values()) == {1}
    assert len(failed["tries"]) == 16


def log_of(failed: dict[str, Any], task_id: str) -> list[str]:
    lines: list[str] = failed["log"]
    own = [n for n, line in enumerate(lines) if "[DAG TEST]" in line and f"task_id={task_id} " in line]
    if not own and version("apache-airflow").startswith(("3.1", "3.2")):
        pytest.skip("this Airflow does not mark which lines are of which task")
    return lines[own[0] : own[-1]]


@pytest.mark.parametrize(
    ("task_id", "line"),
    [
        (
            "Unauthorized",
            r"Unauthorized: .*\(Airflow connection 'refused'\)\. What to do: correct it under Admin > .*\.",
        ),
        (
            "StillProcessing",
            r"StillProcessing: .*\(Airflow connection 'cca_default'\)\. What to do: clear this task .*\.",
        ),
        (
            "CcaExtractOperator",
            r"InvalidArgument: max_ratio is 0: .* What to do: correct the argument that .*\.",
        ),
    ],
)
def test_the_log_of_a_failed_task_ends_in_one_line_that_says_what_to_do(failed, task_id, line) -> None:
    log = log_of(failed, task_id)
    *_, last = (entry for entry in log if re.search(r"\[(error|critical) +\]", entry))
    where = r" Explained at http://airflow\.example/base/cca/docs/#when-a-task-fails"
    assert re.search(rf"\[error +\] {line}{where}", last)


@pytest.mark.parametrize("task_id", ["Unauthorized", "StillProcessing", "CcaExtractOperator"])
def test_no_frames_of_the_libraries_below_fill_the_log_of_a_failed_task(failed, task_id) -> None:
    """Airflow's runner and our operators alone, and no second error before the one that counts."""
    frames = [line for line in log_of(failed, task_id) if re.search(r'File ".*", line \d+', line)]
    assert 0 < len(frames) <= 15
    assert not [line for line in frames if "urllib3" in line or "/api/" in line or "requests" in line]
