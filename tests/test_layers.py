"""Who may import whom: read from the source, and for Airflow also tried."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import airflow_provider_cca

PACKAGE = Path(airflow_provider_cca.__file__).parent
DAGS = Path(__file__).parent.parent / "dags"

# Each module may import those above it.
PLAIN = (
    *("errors", "reports", "models", "arguments", "manifest", "keys", "site_list", "archives", "paging"),
    *(
        "links",
        "refusals",
        "messages",
        "retry",
        "config",
        "form",
        "budget",
        "faults",
        "tls",
        "sockets",
        "session",
        "client",
        "entries",
        "store",
        "s3_store",
        "progress",
        "plans",
        "records",
        "landing",
        "landing_sites",
        "unannounced",
        "unpacking",
        "coverage",
        "snapshot",
        "inventory",
        "windows",
        "healing",
    ),
)
AIRFLOW_SIDE = (
    "compat",
    "assets",
    "extra_links",
    "metrics",
    "outcomes",
    "hooks",
    "runs",
    "looks",
    "triggers",
    "sensors",
    "destinations",
    "extracting",
    "lineage",
    "tasks",
    "reconciling",
    "operators",
)
FRAME = {"__init__", "get_provider_info", "plugin"}
# Each may import those above it; what checks the snapshot is plain.
PAGE = ("__init__", "headers", "checked", "stored", "app")
DOCS = {"__init__", "rendered", "app"}
TALKING = {"client", "session", "sockets", "tls", "faults"}
KEEPING = {
    *(
        "landing",
        "landing_sites",
        "plans",
        "records",
        "unpacking",
        "archives",
        "store",
        "s3_store",
        "keys",
        "manifest",
    ),
    *("inventory", "healing", "unannounced"),
}


@cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions and for type checking alone."""
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
    """The modules of this package that a file imports, by their short names."""
    inside = [name.split(".") for name in imports(path) if name.startswith("airflow_provider_cca.")]
    return {parts[1] for parts in inside if not parts[1].startswith("__")}


def source(module: str) -> Path:
    return PACKAGE / f"{module}.py"


@cache
def below(module: str) -> set[str]:
    """All modules that come in with this one."""
    direct = ours(source(module))
    return direct.union(*(below(other) for other in direct))


def test_every_module_has_its_place_in_the_flow():
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*PLAIN, *AIRFLOW_SIDE, *FRAME}


@pytest.mark.parametrize("module", [*PLAIN, *AIRFLOW_SIDE])
def test_nothing_points_back(module):
    flow = [*PLAIN, *AIRFLOW_SIDE]
    assert ours(source(module)) <= set(flow[: flow.index(module)])


@pytest.mark.parametrize("module", PLAIN)
def test_the_plain_modules_never_import_airflow(module):
    assert "airflow" not in roots(source(module))
    assert not below(module) & set(AIRFLOW_SIDE)


def test_the_plain_modules_work_where_there_is_no_airflow():
    program = "import sys, importlib; sys.modules['airflow'] = None\n" + "".join(
        f"importlib.import_module('airflow_provider_cca.{module}')\n" for module in PLAIN
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("module", sorted(TALKING))
def test_what_talks_http_knows_no_store(module):
    assert not below(module) & KEEPING


@pytest.mark.parametrize("module", sorted(KEEPING))
def test_what_keeps_files_knows_no_http(module):
    assert not below(module) & TALKING


def test_server_and_store_meet_in_the_operators_alone():
    meeting = [m for m in (*PLAIN, *AIRFLOW_SIDE) if below(m) & TALKING and below(m) & KEEPING]
    assert meeting == ["tasks", "reconciling", "operators"]


@pytest.mark.parametrize("module", sorted({*PLAIN, *AIRFLOW_SIDE} - TALKING))
def test_only_session_and_client_know_the_http_library(module):
    assert not roots(source(module)) & {"requests", "urllib3", "http", "httpx", "aiohttp"}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("hooks", {"triggers", "sensors", "operators"}),
        ("triggers", {"sensors", "operators"}),
        ("sensors", {"operators"}),
        ("operators", {"triggers", "sensors"}),
    ],
)
def test_the_airflow_side_flows_one_way(module, never):
    assert not below(module) & never


def page_source(module: str) -> Path:
    return PACKAGE / "coverage_page" / f"{module}.py"


def of_the_page(module: str) -> set[str]:
    """The modules of the page that one of them imports."""
    inside = [name.split(".") for name in imports(page_source(module))]
    return {parts[2] for parts in inside if parts[:2] == ["airflow_provider_cca", "coverage_page"]}


def test_every_module_of_the_page_has_its_place_in_the_flow():
    assert {path.stem for path in (PACKAGE / "coverage_page").glob("*.py")} == set(PAGE)
    assert not any("airflow" in roots(page_source(module)) for module in ("headers", "checked"))


@pytest.mark.parametrize("module", PAGE)
def test_the_page_reads_the_store_and_never_talks_to_the_server(module):
    assert of_the_page(module) <= set(PAGE[: PAGE.index(module)])
    used = ours(page_source(module)) - {"coverage_page"}
    assert used <= {"reports", "errors", "coverage", "snapshot", "destinations", "store"}
    assert not set().union(*map(below, used)) & TALKING
    assert not roots(page_source(module)) & {"requests", "urllib3", "http", "httpx", "aiohttp"}


def test_the_documentation_needs_nothing_but_a_web_server_and_markdown():
    """It reads no store and asks no server, and Markdown comes in with the first page."""
    files = list((PACKAGE / "docs_page").glob("*.py"))
    assert {path.stem for path in files} == DOCS
    known = set().union(*map(imports, files))
    assert {name for name in known if name.startswith("airflow_provider_cca.")} == {
        "airflow_provider_cca.coverage_page.headers.add_headers",
        *(
            f"airflow_provider_cca.docs_page.rendered.{name}"
            for name in ("TEMPLATE", "addresses", "root", "web_page")
        ),
    }
    assert not {name.split(".")[0] for name in known} & {"airflow", "requests", "urllib3", "http", "httpx"}


@pytest.mark.parametrize("pages", ["coverage_page", "docs_page"])
def test_only_the_plugin_knows_the_pages(pages):
    users = [m for m in (*PLAIN, *AIRFLOW_SIDE, *FRAME) if pages in ours(source(m))]
    assert users == ["plugin"]


def test_the_dags_use_what_users_use():
    used = set().union(*(ours(path) for path in DAGS.rglob("*.py")))
    assert {"operators", "sensors"} <= used <= {"operators", "sensors", "runs", "reports", "assets"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "simulator").glob("*.py")), ids=lambda path: path.stem)
def test_the_simulator_mirrors_no_mistake_of_the_package(path):
    assert ours(path) <= {"simulator"}
    assert not roots(path) & {"airflow", "requests"}


@pytest.mark.parametrize("module", [*PLAIN, *AIRFLOW_SIDE, *FRAME])
def test_the_package_knows_nothing_of_the_simulator(module):
    assert "simulator" not in ours(source(module))
