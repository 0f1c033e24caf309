"""What users install: the wheel, and what Airflow learns from it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from airflow_provider_cca import __version__
from airflow_provider_cca.get_provider_info import get_provider_info

ROOT = Path(__file__).parent.parent


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
    assert "airflow_provider_cca/coverage_page/static/index.html" in names


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
    assert needs == {"apache-airflow", "requests", "pendulum"}


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
