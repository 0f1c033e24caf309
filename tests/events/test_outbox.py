"""What failed attempts keep for a later one to announce: several at once, and on several stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from airflow_provider_cca.assets import cca_landings
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import PartlyLanded, StoreError
from airflow_provider_cca.events.outbox import Unannounced
from airflow_provider_cca.integration.destination import open_store
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.simulator import Simulator, Status
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import Store
from airflow_provider_cca.store.opening import store_at
from airflow_provider_cca.store.s3 import S3Store
from tests.events.test_asset_events import Events
from tests.support.s3 import BUCKET

ZIPS = Scope(REPORTS["cdr_compressed"])


def one(day: str) -> Landed:
    partition = Partition.parse(day, Grain.DAY)
    return Landed(ZIPS, partition, f"{folder_of(ZIPS, partition)}/_manifest.json", 1, 1, 1)


def kept(store: Store) -> Unannounced:
    return Unannounced(store, Retry(Event()), "dag.task")


def taken(store: Store) -> list[str]:
    return [str(landed.partition) for landed in kept(store).take()]


def test_what_two_parts_keep_at_the_same_time_is_all_kept_on_s3(
    s3: Any, new_prefix: Callable[[], str], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writes between the read and the write of the first."""
    store, get, others = open_store(f"s3://aws_default@{BUCKET}/{new_prefix()}"), S3Store.get, [1]

    def and_meanwhile(self: S3Store, key: str) -> Any:
        found = get(self, key)
        if others:
            others.pop()
            kept(store).add([one("2026-03-02")])
        return found

    monkeypatch.setattr(S3Store, "get", and_meanwhile)
    kept(store).add([one("2026-03-01")])
    assert sorted(taken(store)) == ["2026-03-01", "2026-03-02"]
    assert taken(store) == []


def test_what_two_parts_keep_at_the_same_time_is_all_kept_on_a_disk(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writes between the read and the write of the first, and again when the first tries again."""
    store, get, others = store_at(tmp_path), LocalStore.get, ["2026-03-03", "2026-03-02"]

    def and_meanwhile(self: LocalStore, key: str) -> Any:
        found = get(self, key)
        if others:
            kept(store).add([one(others.pop())])
        return found

    monkeypatch.setattr(LocalStore, "get", and_meanwhile)
    kept(store).add([one("2026-03-01")])
    assert sorted(taken(store)) == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert taken(store) == []


def test_what_was_taken_by_an_attempt_that_seemed_to_fail_is_not_forgotten(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, put, failures = store_at(tmp_path), LocalStore.put_if_unchanged, [StoreError("no answer")]
    kept(store).add([one("2026-03-01")])

    def and_fail(self: LocalStore, key: str, *arguments: Any) -> None:
        put(self, key, *arguments)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(LocalStore, "put_if_unchanged", and_fail)
    assert taken(store) == ["2026-03-01"]
    assert taken(store) == []


def test_who_has_nothing_to_tell_leaves_no_trace(tmp_path: Path) -> None:
    assert taken(store_at(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cca_simulator(days=5, sites=3)
def test_sites_that_landed_in_a_failed_attempt_are_announced_by_a_run_with_others(
    sim: Simulator, run: Any, day: str, tmp_path: Path
) -> None:
    def land(*sites: str) -> list[str]:
        events, where = Events(), {"destination": str(tmp_path), "outlets": [cca_landings()]}
        run(
            CcaToObjectStorageOperator(task_id="t", report="cdr", partition=day, site=sites, **where),
            outlet_events=events,
        )
        (event,) = events[cca_landings()].asset_alias_events
        return sorted(Path(path).parent.parent.name for path in event.extra["manifests"])

    first, broken, new = sim.world.sites
    sim.inject(Status(500), f"/{broken}", times=None)
    with pytest.raises(PartlyLanded):
        land(first, broken)
    assert [path.name for path in (tmp_path / "_unannounced").iterdir()] == ["adhoc_airflow.t.json"]
    assert land(first, new) == sorted([f"site={first}", f"site={new}"])
