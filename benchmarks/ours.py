"""Our side of the rows: one task in this process, measured from inside, its cost printed as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from importlib import import_module
from typing import Any

from airflow_provider_cca.api.auth import Token
from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.triggers import CcaFilesTrigger

from .processes import forget_peak, measured, resident

TOKEN_SECONDS = 3600


def land(
    destination: str, first: str, last: str, token: str | None = None, sites: list[str] | None = None
) -> dict[str, Any]:
    """A task as Airflow would execute it: login, listing, files, verification, manifest.

    With `sites` their own files, otherwise the compressed files of all.
    """
    if token:
        _take(token)
    operator = CcaToObjectStorageOperator(
        task_id="land",
        report="cdr" if sites else "cdr_compressed",
        destination=destination,
        partition=first,
        partition_end=last,
        site=sites,
    )
    landed: dict[str, Any] = operator.execute({})
    return landed


def list_files(first: str, last: str) -> int:
    """How many files the listing has."""
    with CcaHook().get_conn() as client:
        return len(_files(client, first, last))


def wait(sites: list[str], interval: float, seconds: float) -> dict[str, Any]:
    """Deferred waits for reports that do not come, all in one event loop as in a triggerer."""
    yesterday = str(date.today() - timedelta(days=1))
    triggers = [
        CcaFilesTrigger(
            cca_conn_id="cca_default",
            report="cdr",
            site=site,
            partition=yesterday,
            poke_interval=interval,
            first_wait=interval,
        )
        for site in sites
    ]
    return asyncio.run(_wait(triggers, seconds))


async def _wait(triggers: list[CcaFilesTrigger], seconds: float) -> dict[str, Any]:
    before = resident() or 0
    waits = [asyncio.create_task(_fired(trigger)) for trigger in triggers]
    lags = [await _lag() for _ in range(int(seconds / LOOK_SECONDS))]
    grown = (resident() or 0) - before
    fired = sum(task.done() for task in waits)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return {
        "fired": fired,
        "blocked": sum(lag > BLOCKED_SECONDS for lag in lags),
        "lag": max(lags),
        "grown": grown,
    }


LOOK_SECONDS = 0.1
BLOCKED_SECONDS = 0.2
"""Airflow's triggerer looks as often, and warns that the loop was blocked when it comes back so late."""


async def _lag() -> float:
    started = time.monotonic()
    await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - started


async def _fired(trigger: CcaFilesTrigger) -> Any:
    return await anext(trigger.run())


def _files(client: CcaClient, first: str, last: str) -> list[Any]:
    scope = Scope(REPORTS["cdr_compressed"])
    return client.files(scope, Partition.parse(first, Grain.DAY), Partition.parse(last, Grain.DAY))


def _take(token: str) -> None:
    """Use a token that another process uses as well."""
    with CcaHook().get_conn() as client:
        client.session._account.token(lambda: Token(Secret(token), TOKEN_SECONDS))


OF_A_WORKER = ("airflow.sdk.execution_time.supervisor", "airflow.sdk.execution_time.task_runner")
"""What a worker has loaded before it executes a task."""

OF_STORES = {
    "s3": ("airflow.providers.amazon.aws.hooks.s3",),
    "abfs": ("airflow.providers.microsoft.azure.fs.adls",),
    "gs": ("airflow.providers.google.cloud.hooks.gcs",),
    "sftp": ("airflow.providers.sftp.fs.sftp",),
}
"""Scheme of a destination -> what any such destination loads; a program such as rclone has it built in."""

TASKS: dict[str, Callable[..., Any]] = {"land": land, "list_files": list_files, "wait": wait}


def main() -> None:
    task, arguments = TASKS[sys.argv[1]], json.loads(sys.argv[2])
    scheme = arguments.get("destination", "").partition(":")[0]
    for module in (*OF_A_WORKER, *OF_STORES.get(scheme, ())):
        import_module(module)
    forget_peak()
    print(json.dumps(asdict(measured(lambda: task(**arguments)))))


if __name__ == "__main__":
    main()
