"""Who may import whom: one table of folders, read from the source; for Airflow also tried."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import airflow_provider_cca

PACKAGE = Path(airflow_provider_cca.__file__).parent
DAGS = Path(__file__).parent.parent.parent / "dags"

PREFIX = "airflow_provider_cca."
GROUND = {"errors", "reports"}
DISTANCE = {"landing.layout", "landing.manifest", "core"}
FACE = ("assets", "extra_links", "hooks", "runs", "sensors", "triggers")

# Folder, or module at the top -> the folders and modules that it may import, besides itself and the ground.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "reports": set(),
    "core": set(),
    "api": {"core"},
    "store": {"core"},
    "landing": {"core", "store"},
    "extract": {"landing", "store", "core"},
    "coverage": DISTANCE,
    "reconcile": {"coverage", "landing", "store", "core"},
    "integration": {"api", "store", "core"},
    "events": {"landing", "store", "integration", "core", "assets"},
    "assets": set(),
    "extra_links": set(),
    "runs": {"integration", "core"},
    "hooks": {"integration", "api", "core"},
    "triggers": {"hooks", "integration", "api", "core"},
    "sensors": {"triggers", "hooks", "events", "integration", "api", "core"},
    "operators": {
        *("api", "core", "store", "landing", "extract", "coverage", "reconcile", "integration", "events"),
        *("assets", "extra_links", "hooks", "runs"),
    },
    "ui": {"coverage", "integration.destination", "store", *DISTANCE},
    "plugin": {"ui"},
    "get_provider_info": {"integration.connection_form"},
    "simulator": set(),
}
ON_AIRFLOW = {"integration", "events", "operators", "ui", "plugin", *FACE}
HTTP = {"requests", "urllib3", "http", "httpx", "aiohttp"}
KNOWS_HTTP = {
    *("api.answers", "api.client", "api.connection_errors", "api.http_adapter", "api.tls", "api.transport")
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_of(path): path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE / "dags" and path != PACKAGE / "__init__.py"
}


@cache
def imports(path: Path) -> set[str]:
    """Every name that a file imports, also inside functions and for type checking alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def ours(path: Path) -> set[str]:
    """The modules of this package that a file imports."""
    names = {name.removeprefix("airflow_provider_cca.") for name in imports(path) if name.startswith(PREFIX)}
    found = {name if name in MODULES else name.rpartition(".")[0] for name in names}
    return {name for name in found if name}


def test_every_folder_has_its_row():
    assert {name.split(".")[0] for name in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module):
    folder = module.split(".")[0]
    allowed = {folder, *GROUND, *MAY_IMPORT[folder]} if folder != "errors" else {"errors", "core.printable"}
    if folder == "simulator":
        allowed = {folder}
    wrong = {name for name in ours(MODULES[module]) if not {name, name.split(".")[0]} & allowed}
    assert not wrong


def test_no_two_modules_need_each_other():
    """Within a folder as well: of what is imported on top of a module, nothing leads back to it."""
    flow = {name: at_the_top(path) for name, path in MODULES.items()}
    while leaves := {name for name, needs in flow.items() if not needs & set(flow)}:
        flow = {name: needs for name, needs in flow.items() if name not in leaves}
    assert flow == {}


def at_the_top(path: Path) -> set[str]:
    body = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom)]
    names = {f"{n.module}.{a.name}" for n in body if n.module for a in n.names}
    inside = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    return {name if name in MODULES else name.rpartition(".")[0] for name in inside} - {""}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_faces_know_airflow_and_only_the_api_knows_http(module):
    used = roots(MODULES[module])
    assert "airflow" not in used or module.split(".")[0] in ON_AIRFLOW
    assert not used & HTTP or module in KNOWS_HTTP or module.startswith("simulator.")
    assert not (used & {"requests"} and module.startswith("simulator."))


def test_what_does_not_know_airflow_works_where_there_is_none():
    plain = sorted(name for name in MODULES if name.split(".")[0] not in {*ON_AIRFLOW, "simulator"})
    program = "import sys, importlib; sys.modules['airflow'] = None\n" + "".join(
        f"importlib.import_module('airflow_provider_cca.{module}')\n" for module in plain
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_dags_use_what_users_use():
    used = set().union(*(ours(path) for path in DAGS.rglob("*.py")))
    assert {"operators", "sensors"} <= used <= {"operators", "sensors", "runs", "reports", "assets"}
