"""Brings up docker-compose.yaml without a container engine, and sends a backfill through it.

python -m tests.live.composed FOLDER, inside the namespaces of `namespace`: reads FOLDER/order.json, writes
FOLDER/outcome.json. Only what lies in the images is not the compose file's: FOLDER/image is an environment
with Airflow and the wheel, PostgreSQL comes from a wheel, Redis from Debian, and the S3 server of the tests,
with the port and the keys of the file, takes the place of the one that the file names.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from tests.support import compose_file
from tests.support.s3 import S3Server, serve

from . import namespace
from .api import FINISHED, AirflowApi
from .processes import wait_until
from .services import HOME, POSTGRES, Services

DAG = "cca_cdr_compressed"
AIRFLOW_URL = "http://127.0.0.1:8080"
S3_PORT = 8333
DESTINATION = "landing/"
DAG_SECONDS = 180
BACKFILL_SECONDS = 300


@contextmanager
def composed(
    folder: Path, env: Mapping[str, str], profiles: Sequence[str]
) -> Iterator[tuple[Services, S3Server]]:
    """The services of docker-compose.yaml, all of them well; gone when the block ends."""
    described = compose_file.services(env, profiles)
    namespace.furnish(folder, described)
    furnish_image(folder, described)
    keys = described.pop("s3")["environment"]
    with serve(S3_PORT, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]) as s3:
        del described["airflow-init"]["depends_on"]["s3"]  # it answers already
        services = Services(folder, folder / "image", described)
        try:
            services.up()
            yield services, s3
        finally:
            services.down()


def furnish_image(folder: Path, described: Mapping[str, compose_file.Service]) -> None:
    """Airflow's home, with what the file mounts into it; and the way to the programs for all users."""
    for programs in (Path(sys.base_prefix).resolve() / "bin", POSTGRES):
        namespace.open_the_way_to(programs)
    namespace.bind(_made(folder / "airflow"), HOME)
    mounts = {mount for service in described.values() if "build" in service for mount in service["volumes"]}
    for source, target, *options in sorted(mount.split(":") for mount in mounts):
        is_volume = "/" not in source
        origin = _made(folder / f"volume-{source}") if is_volume else compose_file.ROOT / source
        namespace.bind(origin, Path(target), writable="ro" not in options)


def _made(folder: Path) -> Path:
    """A folder that belongs to the image's user."""
    folder.mkdir()
    os.chown(folder, 50000, 0)
    return folder


def backfill(services: Services, api: AirflowApi, days: Sequence[date]) -> list[dict[str, Any]]:
    """Have Airflow run the DAG for all these dates; the runs, when they have ended."""
    wait_until("the DAG", lambda: api.has_dag(DAG), DAG_SECONDS, watch=services.check, log=services.folder)
    api.unpause(DAG)
    api.create_backfill(DAG, days[0], days[-1])

    def ended() -> list[dict[str, Any]] | None:
        runs = api.backfill_runs(DAG, days[0], days[-1])
        done = len(runs) == len(days) and all(run["state"] in FINISHED for run in runs)
        return runs if done else None

    return wait_until("the backfill", ended, BACKFILL_SECONDS, watch=services.check, log=services.folder)


def tasks_of_workers(folder: Path) -> int:
    """How many tasks Celery's workers were given. That one ended is logged after Airflow knows of it."""
    log = folder / "airflow-worker.log"
    return log.read_text(errors="replace").count("] received ") if log.exists() else 0


def main(folder: Path) -> None:
    """Carry out the order."""
    order = json.loads((folder / "order.json").read_text())
    days = [date.fromisoformat(day) for day in order["days"]]
    started = time.monotonic()
    with composed(folder, order["env"], order["profiles"]) as (services, s3):
        up = time.monotonic()
        print(f"all of it is up after {up - started:.0f} s, with {s3.kind} as the store", flush=True)
        api = AirflowApi(AIRFLOW_URL)
        api.login("admin", order["env"]["ADMIN_PASSWORD"])
        runs = backfill(services, api, days)
        print(f"{len(runs)} runs are done after {time.monotonic() - up:.0f} s", flush=True)
        outcome = {
            "runs": [(run["logical_date"], run["state"]) for run in runs],
            "import_errors": api.import_errors(),
            "tasks_of_workers": tasks_of_workers(folder),
            "objects": {
                key: hashlib.md5(body, usedforsecurity=False).hexdigest()
                for key, body in s3.objects(DESTINATION).items()
            },
        }
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
