"""The part of Airflow's REST API that the demo and the live tests use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import requests

COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
FINISHED = ("success", "failed")
TIMEOUT_SECONDS = 30
PAGE = 100  # Airflow's own maximum


class AirflowApi:
    """A logged-in client; every refusal is a requests.HTTPError that carries Airflow's own explanation."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the user's must not come between us and localhost

    def is_healthy(self) -> bool:
        """Whether all four components have reported to the database; needs no login."""
        try:
            answer = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=TIMEOUT_SECONDS)
        except requests.ConnectionError:
            return False
        health = answer.json() if answer.ok else {}
        return all(health.get(name, {}).get("status") == "healthy" for name in COMPONENTS)

    def login(self, user: str, password: str) -> None:
        """Take a token for all later calls."""
        answer = self._call("POST", "/auth/token", json={"username": user, "password": password})
        self._session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def has_dag(self, dag_id: str) -> bool:
        """Whether the dag-processor has stored the DAG."""
        return any(dag["dag_id"] == dag_id for dag in self._all("/dags", "dags", exclude_stale=True))

    def import_errors(self) -> list[str]:
        """What went wrong while parsing, one text per file."""
        return [
            f"{error['filename']}: {error['stack_trace']}"
            for error in self._all("/importErrors", "import_errors")
        ]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of the DAG."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def create_backfill(
        self, dag_id: str, first: date, last: date, *, max_active_runs: int = 8, reprocess: str = "completed"
    ) -> int:
        """What the dialog "Backfill" does for all ticks from `first` to `last`; returns the backfill's id."""
        answer = self._call(
            "POST",
            "/api/v2/backfills",
            json={
                "dag_id": dag_id,
                "from_date": _start(first).isoformat(),
                "to_date": _end(last).isoformat(),
                "max_active_runs": max_active_runs,
                "reprocess_behavior": reprocess,
            },
        )
        return int(answer["id"])

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """What the button "Trigger" does with the values of its form; returns the run's id."""
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return dict(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))

    def connection(self, conn_id: str) -> dict[str, Any]:
        """A connection that is stored in the metadata database, with its secrets masked."""
        return dict(self._call("GET", f"/api/v2/connections/{conn_id}"))

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """One task of a run."""
        return dict(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"))

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """What the button "Mark as failed" of a task does: one that runs is ended."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._call("PATCH", path, json={"new_state": "failed"})

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """What the button "Clear" does: the failed tasks of the run are run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True}
        self._call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)

    def has_backfill(self, dag_id: str) -> bool:
        """Whether a backfill of the DAG is not marked done yet, so that another one would be refused."""
        backfills = self._call("GET", "/api/v2/backfills", params={"dag_id": dag_id, "limit": PAGE})
        return any(backfill["completed_at"] is None for backfill in backfills["backfills"])

    def is_backfill_marked_done(self, backfill_id: int) -> bool:
        """Whether Airflow has noticed that it is done, which it does twice a minute."""
        return self._call("GET", f"/api/v2/backfills/{backfill_id}")["completed_at"] is not None

    def backfill_runs(self, dag_id: str, first: date, last: date) -> list[dict[str, Any]]:
        """The backfilled runs between two dates, oldest first.

        Look at these to know whether a backfill is done: its own mark comes up to half a minute later.
        """
        return self._all(
            f"/dags/{dag_id}/dagRuns",
            "dag_runs",
            run_type="backfill",
            logical_date_gte=_start(first).isoformat(),
            logical_date_lte=_end(last).isoformat(),
            order_by="logical_date",
        )

    def backfill_count(self, dag_id: str, first: date, last: date, *states: str) -> int:
        """How many of these runs are in one of the states; cheap, however many there are."""
        answer = self._call(
            "GET",
            f"/api/v2/dags/{dag_id}/dagRuns",
            params={
                "run_type": "backfill",
                "state": states,
                "logical_date_gte": _start(first).isoformat(),
                "logical_date_lte": _end(last).isoformat(),
                "limit": 1,
            },
        )
        return int(answer["total_entries"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Task id (with its map index, when it has one) -> state."""
        instances = self._all(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances")
        return {_task_name(instance): instance["state"] for instance in instances}

    def task_instances(self, dag_id: str, *states: str) -> list[dict[str, Any]]:
        """Tasks of any run of the DAG that are in one of these states."""
        return self._all(f"/dags/{dag_id}/dagRuns/~/taskInstances", "task_instances", state=states)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """A value that a task has returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self._call("GET", path, params={"deserialize": True})["value"]

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of the DAG."""
        return self._all(f"/dags/{dag_id}/dagRuns", "dag_runs")

    def asset_events(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """What a run has told about assets."""
        return self._all("/assets/events", "asset_events", source_dag_id=dag_id, source_run_id=run_id)

    def events_of_run(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The events that a run was started by."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents"
        return list(self._call("GET", path)["asset_events"])

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """Name -> address of the links that the UI shows with a task."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        return dict(self._call("GET", path)["extra_links"])

    def _all(self, path: str, key: str, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            query = {**params, "limit": PAGE, "offset": len(found)}
            answer = self._call("GET", f"/api/v2{path}", params=query)
            found += answer[key]
            if not answer[key] or len(found) >= answer["total_entries"]:
                return found

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._session.request(method, self.url + path, timeout=TIMEOUT_SECONDS, **arguments)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {path}: {answer.status_code} {answer.text}", response=answer)
        return answer.json()


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _end(day: date) -> datetime:
    # A range includes the ticks on its ends: midnight would leave out the tick at nine of the last day.
    return datetime.combine(day, time.max, UTC)


def _task_name(instance: dict[str, Any]) -> str:
    index = instance["map_index"]
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"
