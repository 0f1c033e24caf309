"""What the documentation claims exists, and its examples run."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import airflow
import airflow.sdk
import pendulum
import pytest
from airflow.cli.cli_parser import get_parser
from airflow.sdk import Connection

from airflow_provider_cca import errors, hooks, operators, sensors
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.integration import connection_form as form
from airflow_provider_cca.integration.connection import config_from
from airflow_provider_cca.landing.manifest import Manifest
from airflow_provider_cca.reports import REPORTS
from airflow_provider_cca.simulator import Simulator, Ways, World
from airflow_provider_cca.simulator.__main__ import arguments
from airflow_provider_cca.simulator.faults import Fault

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
MAP = (ROOT / "docs/api-coverage.md").read_text()
README = (ROOT / "README.md").read_text()
CONNECTION = (ROOT / "docs/connection.md").read_text()
OPERATORS = (ROOT / "docs/operators.md").read_text()
TESTING = (ROOT / "docs/testing.md").read_text()


BLOCKS = [
    (page, number, code)
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M), 1)
]
"""Page, number and text of every block of Python in the documentation."""


def exists(name: str) -> bool:
    """Whether `module.attribute…` is there in the package."""
    try:
        pkgutil.resolve_name(f"airflow_provider_cca.{name}")
    except (ImportError, AttributeError):
        return False
    return True


def test_every_function_in_the_map_exists() -> None:
    package = Path(errors.__file__).parent
    modules = "|".join(
        {path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")}
    )
    names = set(re.findall(rf"`((?:{modules})\.[A-Za-z_.]+)`", MAP))
    assert len(names) > 20
    assert {name for name in names if not exists(name)} == set()


def test_every_test_in_the_map_exists() -> None:
    names = set(re.findall(r"`(\w+/test_\w+\.py|test_\w+\.py)::(test_\w+)`", MAP))
    assert len(names) > 20
    assert {(f, t) for f, t in names if f"def {t}(" not in (ROOT / "tests" / f).read_text()} == set()


@pytest.mark.parametrize(
    "section",
    [*(f"3.{n}" for n in (1, 2, 3, 4, 7)), *(f"3.5.{n}" for n in range(1, 8)), "3.6.1", "3.6.2", "3.6.3"],
)
def test_the_map_covers_every_section(section: str) -> None:
    assert re.search(rf"§{re.escape(section)}\b", MAP)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def public_classes() -> list[type]:
    """The operators and the sensor."""
    return [*(getattr(operators, name) for name in operators.__all__), sensors.CcaFilesSensor]


def own_arguments(cls: Any) -> list[str]:
    names = inspect.signature(cls.__init__).parameters
    return [name for name in names if name not in {"self", "kwargs"}]


def test_a_star_brings_every_operator_and_nothing_else() -> None:
    """Also those that are imported when they are asked for."""
    namespace: dict[str, Any] = {}
    exec("from airflow_provider_cca.operators import *", namespace)
    found = {name for name in namespace if not name.startswith("__")}
    assert found == {cls.__name__ for cls in public_classes()} - {"CcaFilesSensor"}


def test_the_readme_names_every_operator_and_its_arguments() -> None:
    for cls in public_classes():
        assert f"`{cls.__name__}`" in README
        own = [name for name in own_arguments(cls) if name != "poke_interval"]
        assert [name for name in own if f"`{name}`" not in README] == []


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__name__)
def test_the_page_of_the_operators_names_each_with_its_arguments(cls: Any) -> None:
    """In the section of the class, or in that of what all have in common."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", OPERATORS, re.S | re.M))
    told = sections[cls.__name__] + sections["What all have in common"]
    assert [name for name in own_arguments(cls) if f"`{name}`" not in told] == []


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__name__)
def test_the_page_of_the_operators_says_what_is_templated(cls: Any) -> None:
    section = OPERATORS.split(f"\n## {cls.__name__}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|.*\| (yes|no) \|$", section, re.M)
    told = {name for names, answer in rows if answer == "yes" for name in re.findall(r"`(\w+)`", names)}
    # The connection is told of once for all; `only_look` cannot have the name of its argument.
    fields = set(cls.template_fields) - {"cca_conn_id"}
    assert told == {"dry_run" if name == "only_look" else name for name in fields}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"(docs/{page.name})" in README


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_a_heading_lead_to_one(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text())
    places = [(page.parent / name if name else page, anchor) for name, anchor in links]
    assert [anchor for target, anchor in places if anchor not in headings(target)] == []


def test_the_page_of_the_simulator_names_every_option_fault_and_argument() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "airflow_provider_cca.simulator", "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    options = set(re.findall(r"(?<!\S)--[a-z-]+", help_text)) - {"--help"}
    assert len(options) > 10
    assert [option for option in options if f"`{option}`" not in TESTING] == []
    kinds = [kind.__name__ for kind in get_args(Fault)]
    assert [kind for kind in kinds if f"`{kind}(" not in TESTING] == []
    arguments = [*inspect.signature(Simulator).parameters, *inspect.signature(World).parameters]
    left_out = {"host", "download_hosts", "port", "exposed", "world", "world_options"}
    assert [name for name in arguments if name not in left_out and f"`{name}`" not in TESTING] == []


@pytest.mark.parametrize(("name", "kinds"), get_type_hints(Ways).items())
def test_the_page_of_the_simulator_names_every_way_and_its_values(name: str, kinds: Any) -> None:
    (row,) = re.findall(rf"^\| [^|]*`{name}`.*$", TESTING.partition("## Other readings")[2], re.M)
    assert [value for value in get_args(kinds) if f"`{value}`" not in row] == []


COMMANDS = [
    (page, line)
    for page in PAGES
    for block in re.findall(r"^```shell\n(.*?)^```", page.read_text().replace("\\\n", ""), re.S | re.M)
    for line in block.splitlines()
    if re.match(r"(airflow|python -m airflow_provider_cca\.simulator) ", line)
]
"""Page and text of each command of Airflow's, or of ours, in the documentation."""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command[0].name}: {command[1]:.40}")
def test_every_command_is_one_that_there_is(command: tuple[Path, str]) -> None:
    words = shlex.split(command[1], comments=True)
    if words[0] == "airflow":
        assert callable(get_parser().parse_args(words[1:]).func)
    else:
        assert arguments(words[3:]).port


def test_the_readme_names_every_report_and_every_extra_of_the_connection() -> None:
    fields = set(CcaConfig.__dataclass_fields__) - {"account", "password", "host", "schema", "port"}
    assert [name for name in (*REPORTS, *fields) if f"`{name}`" not in README] == []
    assert fields == set(re.findall(r'extra, "(\w+)"', inspect.getsource(config_from)))


def test_the_page_of_the_connection_names_every_field_of_its_form() -> None:
    labels = [
        *form.FIELD_BEHAVIOUR["relabeling"].values(),
        *(label for label, _, _ in form.EXTRA_FIELDS.values()),
    ]
    assert [label for label in labels if f"| {label} |" not in CONNECTION] == []
    assert [name for name in form.EXTRA_FIELDS if f"| `{name}` |" not in CONNECTION] == []


def test_the_connection_is_the_same_whether_made_by_command_or_environment() -> None:
    command, environment = re.findall(r"```shell\n(.*?)```", CONNECTION.replace("\\\n", ""), re.S)
    given = get_parser().parse_args(shlex.split(command)[1:])
    by_command = Connection(
        conn_id=given.conn_id,
        **{name: getattr(given, f"conn_{name}") for name in ("host", "login", "password", "extra")},
        conn_type=given.conn_type,
        port=int(given.conn_port),
    )
    (_, assignment) = shlex.split(environment)
    name, _, text = assignment.partition("=")
    assert name == f"AIRFLOW_CONN_{hooks.CcaHook.default_conn_name.upper()}"
    config = config_from(Connection.from_json(text, conn_id="cca_default"))
    assert config == config_from(by_command)
    assert config.max_connections == 10


def test_the_readme_says_what_to_do_about_every_error() -> None:
    families = {errors.CcaError, errors.TransientError, errors.UsageError, errors.PermanentError}
    leaves = {
        c.__name__
        for c in vars(errors).values()
        if inspect.isclass(c) and issubclass(c, errors.CcaError) and c not in families
    }
    assert {name for name in leaves if f"`{name}`" not in README} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/testing.md"])
def test_the_tests_in_the_documentation_pass(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    tests = [block for block in blocks if "\ndef test_" in block]
    for number, code in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    count = sum(block.count("\ndef test_") for block in tests)
    assert count
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr


def test_the_readmes_dag_is_a_dag(tmp_path: Path) -> None:
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "with DAG(" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    namespace: dict = {}
    exec(compile(code, "README.md", "exec"), namespace)
    assert set(namespace["dag"].task_ids) == {"wait", "land"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block[0].name}-{block[1]}")
def test_every_block_of_python_runs(block: tuple[Path, int, str]) -> None:
    """What is a DAG is parsed, and what is a test is defined: the README's own tests run it."""
    page, number, code = block
    if missing := [name for name in newer_names(code) if not hasattr(airflow.sdk, name)]:
        pytest.skip(f"Airflow {airflow.__version__} has no {', '.join(missing)}")
    namespace: dict[str, Any] = {"__name__": f"{page.stem}_{number}"}
    exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)
    for dag in (value for value in namespace.values() if isinstance(value, airflow.sdk.DAG)):
        assert as_airflow_stores_it(dag)["dag"]["dag_id"] == dag.dag_id


def recipe(name: str) -> airflow.sdk.DAG:
    """The DAG of that id in docs/recipes.md."""
    (code,) = [code for page, _, code in BLOCKS if page.name == "recipes.md" and f'"{name}"' in code]
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(code, "recipes.md", "exec"), namespace)
    return namespace["dag"]


def test_the_recipe_of_a_warehouse_copies_the_files_that_landed(sim: Simulator, run: Any, tmp_path) -> None:
    dag = recipe("customer_peak_ports_to_warehouse")
    month = sim.now().replace(day=1).date().isoformat()
    sim.world.add("peak_port_monthly", month, b"a,b", level="customer", name="O'Hara.csv")
    land = operators.CcaToObjectStorageOperator(
        task_id="land", report="peak_port_monthly", level="customer", destination=f"file://{tmp_path}"
    )
    statement = dag.get_task("statement").python_callable(run(land, month)["manifest"])
    assert statement.startswith(
        f"COPY INTO stage_peak_ports FROM '@cca/peak_port_monthly/level=customer/creation_month={month[:7]}/'"
    )
    assert "'O''Hara.csv'" in statement


def test_the_recipe_of_another_teams_landing_waits_for_its_manifest(
    sim: Simulator, run: Any, day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dag = recipe("use_their_landing")
    landed = dag.get_task("landed").python_callable
    landed.__globals__["FOLDER"] = f"file://{tmp_path}/cdr_compressed"
    moment = pendulum.parse(day)
    assert not landed(logical_date=moment)
    run(
        operators.CcaToObjectStorageOperator(
            task_id="land", report="cdr_compressed", destination=str(tmp_path)
        ),
        day,
    )
    found = landed(logical_date=moment)
    assert found
    dag.get_task("load").python_callable(found.xcom_value)
    (file, *_) = sim.truth("cdr_compressed", day, day)
    assert file.name in capsys.readouterr().out


def test_the_recipes_hand_on_what_they_list(sim: Simulator, run: Any, day: str, tmp_path: Path) -> None:
    """Files that were picked, also none of them; and the new ones of a site."""
    large = recipe("large_zips_alone").get_task("large").python_callable
    dag = recipe("new_call_records")
    assert dag.get_task("new").partial_kwargs["by"] == "new"
    files = run(operators.CcaListFilesOperator(task_id="list", report="cdr_compressed"), day)
    picked = large([file | {"size": size} for file in files for size in (9_999, 10_000)])
    assert [file["size"] for file in picked] == [10_000] * len(files)
    land = operators.CcaDownloadFilesOperator(task_id="land", files=[], destination=str(tmp_path))
    assert run(land, day) == {"partitions": 0, "files": 0, "bytes": 0, "downloaded": 0}


@pytest.mark.parametrize("run_on", [(2026, 3, 2, 9), (2026, 3, 1), (2026, 3, 31, 23)])
def test_the_recipe_of_a_month_of_days_asks_for_the_usage_of_the_month_before(
    run_on: tuple[int, ...],
) -> None:
    """A file is about the day before its creation."""
    dag = recipe("month_of_daily_peak_ports")
    land, wait = dag.get_task("land"), dag.get_task("wait")
    for task in (land, wait):
        task.render_template_fields({"logical_date": pendulum.datetime(*run_on)})
    assert (land.partition, land.partition_end) == ("2026-02-02", "2026-03-01")
    assert wait.partition == "2026-03-01"


@pytest.mark.skipif(
    not hasattr(airflow.sdk, "PartitionedAssetTimetable"), reason="partitions of assets need Airflow 3.2"
)
@pytest.mark.cca_simulator(days=70, sites=2)
def test_the_month_of_peak_ports_is_billed_when_all_days_of_its_usage_have_landed(
    sim: Simulator, run: Any, tmp_path: Path
) -> None:
    """By the run of whichever day comes last; the days around the month are not asked for."""
    (code,) = [code for page, _, code in BLOCKS if page.name == "assets.md" and '"bill_a_month' in code]
    namespace: dict[str, Any] = {"__name__": "month", "pendulum": pendulum}
    exec(compile(code, "assets.md", "exec"), namespace)
    namespace["FOLDER"] = f"file://{tmp_path}/peak_port_daily/level=customer"
    bill = namespace["dag"].get_task("bill").python_callable
    last = sim.world.today.replace(day=1)
    first = (last - timedelta(days=1)).replace(day=2)
    kind = {"report": "peak_port_daily", "level": "customer", "destination": str(tmp_path)}
    late = str(first + timedelta(days=9))
    for begin, end in ((first, first + timedelta(days=8)), (first + timedelta(days=10), last)):
        run(
            operators.CcaToObjectStorageOperator(
                task_id="land", partition=str(begin), partition_end=str(end), **kind
            )
        )
    with pytest.raises(namespace["AirflowSkipException"], match=f"usage of {first:%Y-%m} has not all landed"):
        bill(dag_run=SimpleNamespace(partition_key=str(last)))
    run(operators.CcaToObjectStorageOperator(task_id="land", partition=late, **kind))
    files = len(sim.truth("peak_port_daily", str(first), str(last), level="customer"))
    assert bill(dag_run=SimpleNamespace(partition_key=late)) == files >= 28
    assert bill(dag_run=SimpleNamespace(partition_key=str(last))) == files


def test_the_dag_to_copy_has_its_connection_everywhere() -> None:
    (code,) = [code for page, _, code in BLOCKS if page.name == "dags.md"]
    namespace: dict[str, Any] = {}
    exec(compile(code, "dags.md", "exec"), namespace)
    assert {(task.cca_conn_id, task.pool) for task in namespace["dag"].tasks} == {("cca_europe", "cca")}


def test_the_page_of_the_dags_has_the_params_and_limits_of_each() -> None:
    text = (ROOT / "docs/dags.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\(\.\./(.+?)\) \| .*? \| (.*?) \| (.*?) \|$", text, re.M)
    assert {path for _, path, _, _ in rows} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "dags").rglob("*.py")
    }
    for name, path, params, limit in rows:
        dag = runpy.run_path(str(ROOT / path))["dag"]
        assert (dag.dag_id, set(re.findall(r"`(\w+)`", params))) == (name, set(dag.params))
        assert limit in {str(dag.max_active_runs), "Airflow's default"}


def as_airflow_stores_it(dag: airflow.sdk.DAG) -> dict[str, Any]:
    from airflow.serialization import serialized_objects

    # Its name up to Airflow 3.1 comes second.
    kind = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    return kind.to_dict(dag)


def newer_names(code: str) -> list[str]:
    """What a block imports from airflow.sdk that Airflow 3.1 does not have."""
    imported = re.findall(r"^from airflow\.sdk import (.*)$", code, re.M)
    names = {name.strip() for line in imported for name in line.split(",")}
    return sorted(name for name in names if re.search("Partition|Mapper|Window", name))


def test_the_manifest_on_the_page_of_reports_is_one() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/reports.md").read_text(), re.S)
    manifest = Manifest.from_json(shown.encode())
    assert json.loads(manifest.to_json()) == json.loads(shown)


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "README.md",
        ROOT / "docs/connection.md",
        Path(str(find_spec("airflow_provider_cca.hooks").origin)),
    ],  # type: ignore[union-attr]
)
def test_each_command_that_makes_a_connection_stores_its_port(path: Path) -> None:
    """Without one the Test button of Airflow 3.3 answers 400."""
    joined = re.sub(r'"\n +f?"|\\\n', "", path.read_text())
    commands = [
        line for line in joined.splitlines() if "connections add" in line and "--conn-type cca" in line
    ]
    assert commands
    assert all("--conn-port 443" in command for command in commands)
