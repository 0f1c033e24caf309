"""The coverage page as Airflow's api-server serves it: who may see it, and what it says of odd snapshots."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.utils.db import initdb
from starlette.testclient import TestClient

import airflow_provider_cca
from airflow_provider_cca.coverage.document import MOST_GAPS
from airflow_provider_cca.coverage.document_json import STATES
from airflow_provider_cca.operators import CcaReconcileOperator
from airflow_provider_cca.plugin import URL_PREFIX
from airflow_provider_cca.simulator import Simulator
from airflow_provider_cca.store.object_store import MAX_SMALL_BYTES
from tests.support.s3 import BUCKET, S3Server
from tests.support.snapshots import make, write

DATA = f"{URL_PREFIX}/data.json"
TODAY = date(2026, 11, 25)
STATIC = Path(airflow_provider_cca.__file__).parent / "ui" / "coverage_page" / "static"
FILES = sorted(path.name for path in STATIC.iterdir())

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[TestClient]:
    """Airflow's own application, in which plugins are mounted as in production, over an empty database."""
    initdb()
    with TestClient(create_app("core")) as client:
        yield client
    purge_cached_app()


def token(role: str | None) -> str:
    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))


@pytest.fixture
def ask(server: TestClient) -> Ask:
    """Ask for the data as somebody who may look at DAGs."""
    return lambda **headers: server.get(
        DATA, headers={"Authorization": f"Bearer {token('VIEWER')}"} | headers
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_VAR_CCA_STORAGE", str(tmp_path))
    return tmp_path


def test_who_may_look_at_dags_is_given_the_snapshot(ask: Ask, store: Path) -> None:
    snapshot = make(TODAY)
    write(store, snapshot)
    answer = ask()
    assert answer.status_code == 200
    sent = answer.json()
    assert [gap["partition"] for gap in sent["gaps"]] == [gap["partition"] for gap in snapshot["gaps"]]
    for row, stored in zip(sent["rows"], snapshot["rows"], strict=True):
        assert [one | {"days_left": None} for one in row["partitions"]] == [
            one | {"days_left": None} for one in stored["partitions"]
        ]


@pytest.mark.cca_simulator(days=9, sites=2)
def test_the_reports_that_this_partner_wants_are_shown_and_counted_alone(
    ask: Ask, store: Path, sim: Simulator, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile = {"destination": str(store), "lookback_days": 5, "dry_run": True}
    run(CcaReconcileOperator(task_id="look", report="cdr_compressed", **reconcile))
    alone = ask().json()
    run(CcaReconcileOperator(task_id="look", report=["cdr", "cdr_compressed"], **reconcile))
    assert {row["report"] for row in ask().json()["rows"]} == {"cdr", "cdr_compressed"}
    monkeypatch.setenv("AIRFLOW_VAR_CCA_REPORTS", "cdr_compressed, peak_port_daily")
    assert {**ask().json(), "written_at": alone["written_at"]} == alone
    assert alone["counts"]["missing"] == len(alone["gaps"]) == alone["gaps_total"] > 0


@pytest.mark.cca_simulator(days=9, sites=2)
def test_what_a_reconcile_run_writes_is_shown(ask: Ask, store: Path, sim: Simulator, run: Any) -> None:
    reports = ["cdr", "cdr_compressed", "peak_port_daily"]
    reconcile = {"report": reports, "destination": str(store), "lookback_days": 5}
    run(CcaReconcileOperator(task_id="look", dry_run=True, **reconcile))
    before = ask().json()
    assert {gap["report"] for gap in before["gaps"]} == set(reports)
    assert [row["report"] for row in before["rows"]] == [
        "cdr",
        "cdr_compressed",
        *reports[2:3] * 3,
        *reports[3:] * 3,
    ]
    run(CcaReconcileOperator(task_id="heal", **reconcile))
    after = ask().json()
    assert (after["gaps"], after["counts"]["missing"], after["counts"]["partly"]) == ([], 0, 0)


def test_the_cookie_of_the_ui_is_enough(server: TestClient, store: Path) -> None:
    write(store, make(TODAY))
    assert server.get(DATA, headers={"Cookie": f"_token={token('VIEWER')}"}).status_code == 200


def test_the_anonymous_get_no_data(server: TestClient, store: Path) -> None:
    write(store, make(TODAY))
    answer = server.get(DATA)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize(
    "credentials", ["forged", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJBRE1JTiJ9."]
)
def test_a_forged_token_gets_no_data(ask: Ask, store: Path, credentials: str) -> None:
    write(store, make(TODAY))
    answer = ask(Authorization=f"Bearer {credentials}")
    assert answer.status_code in (401, 403)
    assert "gaps" not in answer.text


def test_a_user_who_may_not_read_dags_gets_no_data(ask: Ask, store: Path) -> None:
    write(store, make(TODAY))
    assert ask(Authorization=f"Bearer {token(None)}").status_code == 403


@pytest.mark.parametrize("query", ["", "?dag_id=mine", "?dag_id=~", "?dag_id=mine&dag_id=cca_reconcile"])
@pytest.mark.parametrize(("readable", "status"), [("mine", 403), ("cca_reconcile", 200)])
def test_the_dag_that_writes_the_snapshot_decides_whatever_the_caller_names(
    server: TestClient, store: Path, monkeypatch: pytest.MonkeyPatch, query: str, readable: str, status: int
) -> None:
    write(store, make(TODAY))
    manager = get_auth_manager()

    def reads_one_dag(self: Any, *, details: Any = None, **_: Any) -> bool:
        return details is not None and details.id == readable

    monkeypatch.setattr(type(manager), "is_authorized_dag", reads_one_dag)
    headers = {"Authorization": f"Bearer {token('VIEWER')}"}
    assert server.get(DATA + query, headers=headers).status_code == status


def test_what_the_browser_has_already_is_not_sent_again(ask: Ask, store: Path) -> None:
    write(store, make(TODAY))
    tag = ask().headers["ETag"]
    again = ask(**{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    write(store, make(TODAY, whole=True))
    assert ask(**{"If-None-Match": tag}).status_code == 200


def test_before_the_variable_is_set_it_says_so(ask: Ask) -> None:
    """Nor is it in the database, where the api-server looks next."""
    answer = ask()
    assert answer.status_code == 404
    assert "Variable cca_storage is not set" in answer.json()["detail"]


def test_before_the_first_reconcile_run_it_says_so(ask: Ask, store: Path) -> None:
    answer = ask()
    assert answer.status_code == 404
    assert "There is no snapshot yet. Run the DAG cca_reconcile" in answer.json()["detail"]


def edited(**changes: Any) -> bytes:
    return json.dumps(make(TODAY) | changes).encode()


DAMAGED = {
    "empty": b"",
    "cut": edited()[:-100],
    "not JSON": b"<html>",
    "not UTF-8": b'{"version": 1, "today": "\xff"}',
    "null": b"null",
    "a list": b"[]",
    "too deep": b"[" * 100_000,
    "older": edited(version=0),
    "a version in words": edited(version="1"),
    "a version that is true": edited(version=True),
    "without rows": json.dumps({k: v for k, v in make(TODAY).items() if k != "rows"}).encode(),
    "rows of another kind": edited(rows={"cdr": 1}),
    "a row without partitions": edited(rows=[{"report": "cdr", "level": None, "grain": "day"}]),
    "a gap of words": edited(gaps=["2026-03-01"]),
    "an unknown state": edited(gaps=[make(TODAY)["gaps"][0] | {"state": "fine"}]),
    "an unknown report": edited(gaps=[make(TODAY)["gaps"][0] | {"report": "x"}]),
    "a date of nonsense": edited(gaps=[make(TODAY)["gaps"][0] | {"partition": "<script>"}]),
    "a date that is none": edited(gaps=[make(TODAY)["gaps"][0] | {"expires_on": "2026-02-31"}]),
    "fewer than no files": edited(gaps=[make(TODAY)["gaps"][0] | {"files": -1}]),
    "not a number": edited(gaps_total=float("nan")),
    "without a count": edited(counts={"landed": 1}),
    "a day before all years": edited(today="0001-01-01"),
    "a moment of nonsense": edited(written_at="yesterday"),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_snapshot_is_called_so(ask: Ask, store: Path, body: bytes) -> None:
    (store / "_coverage.json").write_bytes(body)
    answer = ask()
    assert answer.status_code == 502
    assert answer.json()["detail"].startswith(
        "The snapshot _coverage.json is damaged. Run the DAG cca_reconcile"
    )


def test_a_snapshot_of_a_newer_version_asks_for_an_update(ask: Ask, store: Path) -> None:
    (store / "_coverage.json").write_bytes(b'{"version": 2, "shape": "another"}')
    answer = ask()
    assert answer.status_code == 502
    assert "newer version of airflow-provider-cca" in answer.json()["detail"]


def test_a_snapshot_beyond_all_measure_is_not_read_to_its_end(ask: Ask, store: Path) -> None:
    with (store / "_coverage.json").open("wb") as file:
        file.truncate(MAX_SMALL_BYTES + 1)
    assert ask().status_code == 502


@pytest.mark.parametrize("make_it", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_the_snapshot_hangs_nothing(
    ask: Ask, store: Path, make_it: Callable[[Path], None]
) -> None:
    make_it(store / "_coverage.json")
    assert ask().status_code == 502


@pytest.mark.parametrize(
    "destination",
    ["relative/path", "nosuch://bucket/cca", "s3://secret_conn@127.0.0.1/cca", "s3://", "/dev/null"],
)
def test_a_store_that_cannot_be_read_is_named_by_no_secret(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    # A server of S3 that is not there, and that must not be waited for.
    extra = json.dumps(
        {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    )
    connection = {"conn_type": "aws", "login": "key", "password": "hunter2", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SECRET_CONN", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_VAR_CCA_STORAGE", destination)
    answer = ask()
    assert answer.status_code == 502
    assert answer.json()["detail"].startswith(
        "The store could not be read. Check the Airflow Variable cca_storage"
    )
    assert not re.search("secret|hunter2|127|Traceback", answer.text)


def test_it_reads_from_s3_through_the_connection(
    ask: Ask, s3: S3Server, new_prefix: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = new_prefix()
    monkeypatch.setenv("AIRFLOW_VAR_CCA_STORAGE", f"s3://aws_default@{BUCKET}/{prefix}")
    assert ask().status_code == 404
    s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}_coverage.json", Body=json.dumps(make(TODAY)).encode())
    assert ask().json()["gaps_total"] == make(TODAY)["gaps_total"]


def test_nothing_but_the_named_parts_of_a_snapshot_is_sent(ask: Ask, store: Path) -> None:
    first = make(TODAY)["gaps"][0] | {"path": "s3://aws_default@calls/cca"}
    write(
        store,
        make(TODAY)
        | {"destination": "s3://aws_default:hunter2@calls/cca", "token": "hunter2", "gaps": [first]},
    )
    answer = ask()
    assert answer.json()["destination"] == "s3://calls/cca"
    assert not re.search("hunter2|aws_default", answer.text)


def test_a_list_of_gaps_without_end_is_cut(ask: Ask, store: Path) -> None:
    write(store, make(TODAY, gaps=MOST_GAPS + 5))
    assert len(ask().json()["gaps"]) == MOST_GAPS
    assert ask().json()["gaps_total"] == MOST_GAPS + 5


@pytest.mark.parametrize(
    "odd", ["9000-01-01", "2026-11-26", "2025-11-24", "0001-01-01", "2026-12", "2025-10"]
)
def test_dates_outside_the_year_are_not_shown(ask: Ask, store: Path, odd: str) -> None:
    """A calendar that reached to the year 9000 would have 2.5 million squares."""
    snapshot = make(TODAY)
    shown = [[one["partition"] for one in row["partitions"]] for row in snapshot["rows"]]
    for row in snapshot["rows"]:
        row["partitions"].append(row["partitions"][-1] | {"partition": odd})
    snapshot["gaps"].append(snapshot["gaps"][0] | {"partition": odd})
    write(store, snapshot)
    sent = ask().json()
    assert [[one["partition"] for one in row["partitions"]] for row in sent["rows"]] == shown
    # What was lost long ago stays in the list.
    assert (odd in [gap["partition"] for gap in sent["gaps"]]) == (odd < str(TODAY - timedelta(days=365)))


def test_an_empty_snapshot_is_no_error(ask: Ask, store: Path) -> None:
    write(store, make(TODAY) | {"rows": [], "gaps": [], "gaps_total": 0, "counts": dict.fromkeys(STATES, 0)})
    assert ask().json()["rows"] == []


@pytest.mark.parametrize("name", ["", *FILES])
def test_the_files_of_the_page_allow_nothing_from_elsewhere(server: TestClient, name: str) -> None:
    answer = server.get(f"{URL_PREFIX}/{name}")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|innerHTML", answer.text)


@pytest.mark.parametrize(
    "path", ["app.py", "../app.py", "%2e%2e/app.py", "static/page.js", "docs", "openapi.json"]
)
def test_nothing_else_is_served(server: TestClient, path: str) -> None:
    answer = server.get(f"{URL_PREFIX}/{path}")
    assert answer.status_code == 404 or "<title>Airflow</title>" in answer.text


def test_the_navigation_leads_to_it(server: TestClient) -> None:
    answer = server.get("/api/v2/plugins", headers={"Authorization": f"Bearer {token('ADMIN')}"})
    (plugin,) = (plugin for plugin in answer.json()["plugins"] if plugin["name"] == "cca")
    (view,) = plugin["external_views"]
    assert (view["destination"], view["url_route"]) == ("nav", "cca-coverage")
    assert server.get(f"/{view['href']}").status_code == server.get(f"/{view['icon']}").status_code == 200


def test_the_plugin_costs_processes_that_do_not_show_it_nothing() -> None:
    """It brings in its own module alone; Airflow's own is there wherever plugins load."""
    program = (
        "import sys, airflow.plugins_manager, airflow_provider_cca\n"
        "before = set(sys.modules)\n"
        "import airflow_provider_cca.plugin\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "['airflow_provider_cca.plugin']"
