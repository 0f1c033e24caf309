"""What the documentation claims exists, and its examples run."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import airflow.sdk
import pytest
from airflow.cli.cli_parser import get_parser
from airflow.sdk import Connection

from airflow_provider_cca import errors, form, hooks, operators, sensors
from airflow_provider_cca.config import CcaConfig
from airflow_provider_cca.reports import REPORTS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
MAP = (ROOT / "docs/api-coverage.md").read_text()
README = (ROOT / "README.md").read_text()
CONNECTION = (ROOT / "docs/connection.md").read_text()


BLOCKS = [
    (page, number, code)
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M), 1)
]
"""Page, number and text of every block of Python in the documentation."""


def exists(name: str) -> bool:
    """Whether `module.attribute…` is there in the package."""
    module, *attributes = name.split(".")
    try:
        found = importlib.import_module(f"airflow_provider_cca.{module}")
        for attribute in attributes:
            found = getattr(found, attribute)
    except (ImportError, AttributeError):
        return False
    return True


def test_every_function_in_the_map_exists() -> None:
    modules = "|".join(path.stem for path in Path(errors.__file__).parent.glob("*.py"))
    names = set(re.findall(rf"`((?:{modules})\.[A-Za-z_.]+)`", MAP))
    assert len(names) > 20
    assert {name for name in names if not exists(name)} == set()


def test_every_test_in_the_map_exists() -> None:
    names = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", MAP))
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


def test_the_readme_names_every_operator_and_its_arguments() -> None:
    classes = [c for n, c in vars(operators).items() if re.fullmatch("Cca.+Operator", n)] + [
        sensors.CcaFilesSensor
    ]
    for cls in classes:
        if cls in (operators.CcaOperator, operators.CcaLandingOperator):
            continue
        assert f"`{cls.__name__}`" in README
        own = [
            p
            for p in inspect.signature(cls.__init__).parameters
            if p not in {"self", "kwargs", "poke_interval"}
        ]
        assert [p for p in own if f"`{p}`" not in README] == []


def test_the_readme_names_every_report_and_every_extra_of_the_connection() -> None:
    fields = set(CcaConfig.__dataclass_fields__) - {"account", "password", "host", "schema", "port"}
    assert [name for name in (*REPORTS, *fields) if f"`{name}`" not in README] == []
    assert fields == set(re.findall(r'extra, "(\w+)"', inspect.getsource(hooks.config_from)))


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
    config = hooks.config_from(Connection.from_json(text, conn_id="cca_default"))
    assert config == hooks.config_from(by_command)
    assert config.max_connections == 10


def test_the_readme_says_what_to_do_about_every_error() -> None:
    families = {errors.CcaError, errors.TransientError, errors.UsageError, errors.PermanentError}
    leaves = {
        c.__name__
        for c in vars(errors).values()
        if inspect.isclass(c) and issubclass(c, errors.CcaError) and c not in families
    }
    assert {name for name in leaves if f"`{name}`" not in README} == set()


def test_the_readmes_test_passes(tmp_path: Path) -> None:
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "cca_simulator" in block
    ]
    (tmp_path / "test_readme.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_readme.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_readmes_dag_is_a_dag(tmp_path: Path) -> None:
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "with DAG(" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
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
