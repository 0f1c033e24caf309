"""A server that takes connections and does not answer, from some call on: each task ends soon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cca.errors import CcaError, ConnectionFailed, PartlyLanded, Unreachable
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.landing import lander
from airflow_provider_cca.operators import (
    CcaListFilesOperator,
    CcaListSitesOperator,
    CcaReconcileOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from tests.support.wire import LOGIN, Request, serving

DAY = datetime.now(UTC).date() - timedelta(days=3)
SITES = [f"s{number}" for number in range(40)]
FILES = 60

ALL_SITES = {"total": len(SITES), "items": [{"siteName": name} for name in SITES]}
ZIPS = {
    "total": FILES,
    "items": [
        {
            "id": f"{number}",
            "createdOn": f"{DAY:%m/%d/%Y}T07:00:00+0000",
            "downloadLink": f"/pcs/api/v1/cdr/zip/{number}",
            "fileSize": 1,
            "fileName": f"{number}.zip",
            "checksum": "0" * 32,
        }
        for number in range(FILES)
    ],
}
ANSWERS: list[tuple[str, bytes]] = [
    ("/oauth/token", LOGIN),
    ("/v1/cdr?", json.dumps(ALL_SITES).encode()),
    ("/compression/files", json.dumps(ZIPS).encode()),
]


@contextmanager
def mute_after(answered: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server that answers the first of these calls alone; gives the requests that it did not answer."""
    unanswered: list[str] = []

    def speak(request: Request) -> None:
        for part, body in ANSWERS[:answered]:
            if part in request.path:
                request.answer(body)
                return
        unanswered.append(request.path)
        request.stopped.wait(30)

    with serving(speak) as port:
        extra = {"read_timeout": 0.3}
        connection = {"conn_type": "cca", "host": "127.0.0.1", "port": port, "schema": "http", "login": "a"}
        monkeypatch.setenv(
            "AIRFLOW_CONN_CCA_DEFAULT", json.dumps({**connection, "password": "p4ssw0rd", "extra": extra})
        )
        monkeypatch.setattr("airflow_provider_cca.core.retry.pause", lambda seconds, closed: None)
        yield unanswered


def failure_of(call: Callable[[], object]) -> CcaError:
    with pytest.raises(CcaError) as caught:
        call()
    return caught.value


TASKS: dict[str, Callable[[str], Any]] = {
    "list sites": lambda to: CcaListSitesOperator(task_id="t"),
    "list files": lambda to: CcaListFilesOperator(task_id="t", report="cdr_compressed", partition=str(DAY)),
    "land many sites": lambda to: CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=SITES, partition=str(DAY), destination=to
    ),
    "land the site list": lambda to: CcaSiteListToObjectStorageOperator(task_id="t", destination=to),
    "reconcile": lambda to: CcaReconcileOperator(
        task_id="t", report="cdr,cdr_compressed,peak_port_daily", lookback_days=9, destination=to
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_login_without_an_answer_is_tried_a_few_times_whoever_waits_for_it(
    task: str, run, tmp_path, monkeypatch
) -> None:
    with mute_after(0, monkeypatch) as unanswered:
        error = failure_of(lambda: run(TASKS[task](str(tmp_path))))
    assert isinstance(error, Unreachable)
    assert "cca_default" in str(error)
    assert 2 <= len(unanswered) < len(SITES) / 2


def test_the_hook_ends_as_soon(monkeypatch) -> None:
    with mute_after(0, monkeypatch) as unanswered:
        assert isinstance(failure_of(CcaHook().site_rows), Unreachable)
        assert CcaHook().test_connection()[0] is False
    assert len(unanswered) <= 4


def test_the_sites_of_a_reconciliation_are_not_waited_for_one_after_the_other(
    run, tmp_path, monkeypatch
) -> None:
    with mute_after(2, monkeypatch) as unanswered:
        started = datetime.now(UTC)
        error = failure_of(lambda: run(TASKS["reconcile"](str(tmp_path))))
        seconds = (datetime.now(UTC) - started).total_seconds()
    assert isinstance(error, PartlyLanded)
    # One after the other they would take half as many times 0.3 s as there are sites, four times each.
    assert seconds < 0.3 * len(unanswered) / 2


def test_when_a_host_brings_no_file_for_minutes_the_rest_of_its_files_is_given_up(
    run, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(lander, "GIVE_UP_SECONDS", 0.5)
    with mute_after(3, monkeypatch) as unanswered:
        operator = CcaToObjectStorageOperator(
            task_id="t", report="cdr_compressed", partition=str(DAY), destination=str(tmp_path)
        )
        error = failure_of(lambda: run(operator))
    assert isinstance(error, PartlyLanded)
    assert len(error.failures) == FILES
    assert len(unanswered) < 3 * FILES
    assert not list(tmp_path.rglob("_manifest.json"))


def test_a_listing_without_an_answer_is_not_taken_for_a_server_that_cannot_be_reached(
    run, tmp_path, monkeypatch
) -> None:
    """A range may only be too large to be answered in time: then one of its dates is asked for alone."""
    with mute_after(2, monkeypatch) as unanswered:
        error = failure_of(lambda: run(TASKS["list files"](str(tmp_path))))
    assert type(error) is ConnectionFailed
    assert len(unanswered) == 3
