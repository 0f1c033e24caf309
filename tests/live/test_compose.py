"""docker-compose.yaml, run for real: three days are backfilled through PostgreSQL, S3 and each executor.

The services run in namespaces instead of containers: `composed` says what comes from the compose file, and
what takes the place of an image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cca.simulator.__main__ import arguments, simulator
from tests.support import compose_file

from . import namespace
from .proof import MANIFEST

pytestmark = pytest.mark.live

INSTALL_SECONDS = 900
RUN_SECONDS = 1200
PROFILES = {"LocalExecutor": [], "CeleryExecutor": ["celery"]}
TASKS_OF_A_RUN = 2


@dataclass(frozen=True)
class Backfill:
    """What was asked for, what came of it, and what should have."""

    executor: str
    days: Sequence[date]
    outcome: Mapping[str, Any]
    expected: Sequence[tuple[str, str]]
    """Folder and MD5 of each file."""


@pytest.fixture(scope="module", autouse=True)
def permitted() -> None:
    if not namespace.is_permitted():
        lack("namespaces cannot be made here: it takes Linux, and root outside of most containers")


def lack(what: str) -> None:
    """Skip, where a machine may lack it; in CI, which has to run all of this, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder, not in pytest's own, which is closed to the users that the services run as."""
    folder = Path(tempfile.mkdtemp(prefix="cca-compose-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """An environment with what the Dockerfile makes: its Airflow, and the wheel of this checkout."""
    dockerfile = (compose_file.ROOT / "docker" / "Dockerfile").read_text()
    (version,) = re.findall(r"^ARG AIRFLOW_VERSION=(\S+)$", dockerfile, re.M)
    with open_folder() as folder:
        install(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), ".")
        (wheel,) = folder.glob("*.whl")
        install(f"{sys.base_prefix}/bin/python3", "-m", "venv", "--without-pip", str(folder / "venv"))
        # The image brings these extras. Celery is held back, since its provider does not import with 5.7.
        brought = (f"apache-airflow[amazon,celery,fab,postgres]=={version}", "celery[redis]<5.7")
        into = ("--python", f"{folder}/venv/bin/python", "--compile-bytecode", "--quiet")
        install(sys.executable, "-m", "uv", "pip", "install", *into, *brought, str(wheel))
        yield folder / "venv"


def install(*command: str) -> None:
    done = subprocess.run(
        command, cwd=compose_file.ROOT, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


@pytest.fixture(scope="module", params=PROFILES)
def backfill(request: pytest.FixtureRequest, image: Path) -> Iterator[Backfill]:
    """One stack with one executor, and what a backfill of three days has landed through it."""
    if PROFILES[request.param] and not shutil.which("redis-server"):
        lack("no redis-server: Debian has it under this name")
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in (4, 3, 2)]
    with open_folder() as folder:
        env = compose_file.dotenv(compose_file.make_env(folder)) | {"AIRFLOW_EXECUTOR": request.param}
        (folder / "image").symlink_to(image)
        outcome = run(folder, {"env": env, "profiles": PROFILES[request.param], "days": [*map(str, days)]})
        yield Backfill(request.param, days, outcome, expected(env, days))


def run(folder: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """Have `composed` carry out the order; what it wrote about the outcome."""
    (folder / "order.json").write_text(json.dumps(order))
    log = folder / "run.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [*namespace.ENTER, sys.executable, "-m", "tests.live.composed", str(folder)],
            cwd=compose_file.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
            check=False,
        )
    said = log.read_text(errors="replace")
    print(said)
    assert done.returncode == 0, said[-8000:]
    return dict(json.loads((folder / "outcome.json").read_text()))


def expected(env: Mapping[str, str], days: Sequence[date]) -> list[tuple[str, str]]:
    """What a simulator with the arguments of the compose file holds for these days."""
    command = compose_file.services(env)["simulator"]["command"]
    files = simulator(arguments(command[3:])).truth("cdr_compressed", days[0], days[-1])
    return sorted((folder_of(file.creation_date), file.md5) for file in files)


def folder_of(day: date) -> str:
    return f"cdr_compressed/creation_date={day}"


def test_a_backfill_of_three_days_ends_well(backfill):
    assert backfill.outcome["runs"] == [[f"{day}T09:00:00Z", "success"] for day in backfill.days]


def test_the_store_holds_what_the_server_has_and_a_manifest_for_each_day(backfill):
    """Of these days: the schedule, which is on, may have landed the newest one meanwhile."""
    folders = {folder_of(day) for day in backfill.days}
    objects = [(*key.rpartition("/")[::2], md5) for key, md5 in backfill.outcome["objects"].items()]
    landed = [(folder, md5) for folder, name, md5 in objects if folder in folders and name != MANIFEST]
    assert sorted(landed) == backfill.expected != []
    assert folders <= {folder for folder, name, _ in objects if name == MANIFEST}


def test_every_dag_of_the_folder_imports_in_the_image(backfill):
    assert backfill.outcome["import_errors"] == []


def test_the_tasks_ran_where_the_executor_sends_them(backfill):
    at_least = TASKS_OF_A_RUN * len(backfill.days) if backfill.executor == "CeleryExecutor" else 0
    assert backfill.outcome["tasks_of_workers"] >= at_least
    assert bool(backfill.outcome["tasks_of_workers"]) == bool(at_least)
