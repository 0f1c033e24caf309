"""What users install: the wheel, and what Airflow learns from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from airflow_provider_cca import __version__
from airflow_provider_cca.get_provider_info import get_provider_info

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "airflow_provider_cca",
        f"airflow_provider_cca-{__version__}.dist-info",
    }
    assert "airflow_provider_cca/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    files = {str(p.relative_to(ROOT)) for p in (ROOT / "airflow_provider_cca").rglob("*.*") if p.is_file()}
    assert {file for file in files if not file.endswith(".pyc")} <= set(names)
    assert "airflow_provider_cca/ui/coverage_page/static/index.html" in names


def test_the_wheel_holds_the_dags_and_the_documentation(wheel: Path) -> None:
    """For those who have nothing else: the DAGs to copy, and the pages that the plugin serves."""
    names = {name.removeprefix("airflow_provider_cca/") for name in zipfile.ZipFile(wheel).namelist()}
    files = [*(ROOT / "dags").rglob("*.py"), *(ROOT / "docs").rglob("*.*"), ROOT / "README.md"]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_readmes_command_copies_the_dags_from_the_installed_package(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    blocks = re.findall(r"```shell\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (command,) = [block for block in blocks if "cca.__path__" in block]
    places = {"PYTHONPATH": str(tmp_path / "installed"), "AIRFLOW_HOME": str(tmp_path / "home")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    unset = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    subprocess.run(["sh", "-c", command], check=True, timeout=120, env=unset | places | {"PATH": path})
    copied = {file.name: file.read_bytes() for file in (tmp_path / "home" / "dags").iterdir()}
    assert copied == {file.name: file.read_bytes() for file in (ROOT / "dags").glob("*.py")}


def test_a_wheel_can_be_built_from_the_source_distribution_and_the_image_from_what_docker_sees() -> None:
    """What the wheel takes from beside the package is in both."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    targets = project["tool"]["hatch"]["build"]["targets"]
    taken = {*targets["wheel"]["force-include"], "airflow_provider_cca"}
    # Hatch puts the readme in by itself.
    assert {f"/{name}" for name in taken - {"README.md"}} <= set(targets["sdist"]["include"])
    assert {f"!{name}" for name in taken} <= set((ROOT / ".dockerignore").read_text().splitlines())
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "docker/Dockerfile").read_text(), re.M)
    assert taken <= set(" ".join(copied).split())


def test_the_wheel_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere and imported from there, it tells Airflow about itself."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from importlib.metadata import distribution\n"
        "info = [e.load()() for e in distribution('airflow-provider-cca').entry_points\n"
        "        if e.group == 'apache_airflow_provider'][0]\n"
        "import airflow_provider_cca.operators as operators\n"
        "assert operators.__file__.startswith(sys.argv[1]), operators.__file__\n"
        "print(info['package-name'], info['versions'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == f"airflow-provider-cca ['{__version__}']"


def test_it_needs_only_what_every_airflow_has() -> None:
    needs = {r.split(">")[0] for r in distribution("airflow-provider-cca").requires or [] if "extra" not in r}
    assert needs == {"apache-airflow", "requests", "urllib3", "pendulum"}


def test_the_provider_info_has_the_form_that_airflow_checks() -> None:
    import json

    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_knows_the_provider_and_its_connection_type() -> None:
    """As `airflow providers get` and the connection form find them."""
    program = (
        "from airflow.providers_manager import ProvidersManager\n"
        "manager = ProvidersManager()\n"
        "print(manager.providers['airflow-provider-cca'].version, manager.hooks['cca'].hook_name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == f"{__version__} Cisco Cloud Connected Audio (CCA)"


def test_the_changelog_speaks_of_this_version() -> None:
    assert any(
        title in (ROOT / "CHANGELOG.md").read_text() for title in (f"## {__version__}", "## Unreleased")
    )
