"""Reconciling a store with a server: what is healed, what it costs, what is told, and when it fails."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cca.assets import cca_landings
from airflow_provider_cca.coverage.document import Snapshot
from airflow_provider_cca.errors import (
    DestinationUnusable,
    ExpiresSoon,
    InvalidArgument,
    NotLanded,
    PartlyLanded,
    StoreError,
    WrongChecksum,
)
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, Manifest
from airflow_provider_cca.operators import (
    CcaExtractOperator,
    CcaReconcileOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.simulator import Simulator, Status, StillProcessing, Ways, WrongBytes
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import Store
from airflow_provider_cca.store.s3 import S3Store
from tests.events.test_asset_events import Events
from tests.support.s3 import BUCKET
from tests.support.s3_proxy import StoreFault
from tests.support.today import month_is_being_made, today
from tests.support.tree import tree

ALL = ["cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly"]
ROOT = Path(__file__).parent.parent.parent
ZIPS = "cdr_compressed"
LISTINGS = 2 + 3 + 1 + 3 + 3
"""The sites and their total, the files of each of three, the compressed ones, three levels of two reports."""
PROOFS = 4 * 2
"""Of each report two, whether ranges of it can be parted by createdOn."""

WORKERS = 24

Reconcile = Callable[..., dict[str, Any]]


@pytest.fixture
def reconcile(run: Any, tmp_path: Path) -> Reconcile:
    def execute(report: Any = ZIPS, **arguments: Any) -> dict[str, Any]:
        arguments = {"destination": str(tmp_path), "lookback_days": 20, **arguments}
        return run(CcaReconcileOperator(task_id="t", report=report, **arguments))

    return execute


def ago(days: int) -> str:
    return str(today().date() - timedelta(days=days))


def snapshot(root: Path) -> dict[str, Any]:
    return json.loads((root / "_coverage.json").read_bytes())


def states(root: Path) -> set[str]:
    return {cell["state"] for row in snapshot(root)["rows"] for cell in row["partitions"]}


def folder(root: Path, day: str) -> Path:
    return root / ZIPS / f"creation_date={day}"


def objects(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith("_"))


def spoil(path: Path) -> None:
    """Other bytes of the same number."""
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


def spoil_in_secret(path: Path) -> None:
    """The same, and its time says nothing of it."""
    times = path.stat()
    spoil(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def without_snapshot(root: Path) -> dict[str, bytes]:
    return {name: body for name, body in tree(root).items() if name != "_coverage.json"}


def content(root: Path) -> dict[tuple[str, str], bytes]:
    """What a reader gets who follows the manifests: bytes by folder and name."""
    return {
        (str(path.parent.relative_to(root)), entry["name"]): (path.parent / entry["key"]).read_bytes()
        for path in root.rglob(MANIFEST_NAME)
        for entry in json.loads(path.read_bytes())["files"]
    }


def as_landed(files: dict[str, bytes]) -> dict[str, Any]:
    """Objects by their bytes, manifests by what they say but for times of ours."""

    def timeless(body: bytes) -> dict[str, Any]:
        manifest = json.loads(body)
        entries = [{**entry, "landed_on": ""} for entry in manifest["files"]]
        return {**manifest, "written_at": "", "files": entries}

    return {name: timeless(body) if name.endswith(MANIFEST_NAME) else body for name, body in files.items()}


@pytest.mark.cca_simulator(days=365)
def test_a_damaged_year_is_restored_by_one_run_that_downloads_what_was_gone(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """17 objects deleted, 3 changed without changing their size, 5 manifests deleted: 20 downloads."""
    reconcile(ALL, lookback_days=365)
    before = as_landed(without_snapshot(tmp_path))
    rng = random.Random(7)
    for number, path in enumerate(rng.sample(objects(tmp_path), 20)):
        if number < 17:
            path.unlink()
        else:
            spoil(path)
    for path in rng.sample(sorted(tmp_path.rglob(MANIFEST_NAME)), 5):
        path.unlink()
    sim.requests.clear()
    done = reconcile(ALL, lookback_days=365)
    assert as_landed(without_snapshot(tmp_path)) == before
    assert (done["downloaded"], sim.count(call="download")) == (20, 20)
    least = LISTINGS + PROOFS
    assert least <= sim.count(call="list") <= least + 9 * month_is_being_made(sim)
    assert 20 <= done["healed"] <= 25
    assert (done["still_missing"], done["lost"]) == (0, 0)
    assert snapshot(tmp_path)["gaps"] == []


def test_a_store_in_order_costs_one_listing_of_each_report_and_no_download(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    reconcile(ALL)
    before = without_snapshot(tmp_path)
    sim.requests.clear()
    done = reconcile(ALL)
    # Two more show that a total counts more than one file, where a date with a single one was listed alone.
    most = LISTINGS + PROOFS + 2 + 9 * month_is_being_made(sim)
    assert LISTINGS < sim.count(call="list") == len(sim.requests) <= most
    assert (done["healed"], done["downloaded"]) == (0, 0)
    assert done["complete"] == len(list(tmp_path.rglob(MANIFEST_NAME)))
    assert without_snapshot(tmp_path) == before


@pytest.mark.cca_simulator(days=40)
def test_what_a_run_lands_is_what_daily_runs_land(
    sim: Simulator, reconcile: Reconcile, run: Any, tmp_path: Path
) -> None:
    reconcile(destination=str(tmp_path / "reconciled"))
    for back in range(21):
        daily = CcaToObjectStorageOperator(task_id="t", report=ZIPS, destination=str(tmp_path / "daily"))
        run(daily, ago(back))
    assert as_landed(without_snapshot(tmp_path / "reconciled")) == as_landed(tree(tmp_path / "daily"))


def damage_manifest(day: Path) -> None:
    (day / MANIFEST_NAME).write_bytes(b'{"version": 1, "fil')


def delete_manifest(day: Path) -> None:
    (day / MANIFEST_NAME).unlink()


def delete_objects(day: Path) -> None:
    for path in objects(day):
        path.unlink()


def cut_objects(day: Path) -> None:
    for path in objects(day):
        path.write_bytes(path.read_bytes()[:-1])


def spoil_objects(day: Path) -> None:
    for path in objects(day):
        spoil(path)


def spoil_objects_and_delete_manifest(day: Path) -> None:
    spoil_objects(day)
    delete_manifest(day)


def delete_all(day: Path) -> None:
    delete_objects(day)
    delete_manifest(day)


def add_objects(day: Path) -> None:
    (day / "extra.zip").write_bytes(b"extra")
    (day / ".a.zip.0123abcd.part").write_bytes(b"half")


def forget_files(day: Path) -> None:
    manifest = json.loads((day / MANIFEST_NAME).read_bytes())
    (day / MANIFEST_NAME).write_bytes(json.dumps({**manifest, "files": []}).encode())


DAMAGES = [
    damage_manifest, delete_manifest, delete_objects, cut_objects, spoil_objects,
    spoil_objects_and_delete_manifest, delete_all, add_objects, forget_files,
]  # fmt: skip


@pytest.mark.cca_simulator(days=40)
@pytest.mark.parametrize("seed", range(5))
def test_whatever_was_damaged_everything_has_landed_afterwards(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, seed: int
) -> None:
    reconcile()
    before = content(tmp_path)
    rng = random.Random(seed)
    for back in range(21):
        rng.choice(DAMAGES)(folder(tmp_path, ago(back)))
    done = reconcile()
    assert content(tmp_path) == before
    assert states(tmp_path) == {"landed"}
    assert (done["still_missing"], reconcile()["downloaded"]) == (0, 0)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_healed_partition_is_not_looked_into_again(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Its objects are older than its manifest again: otherwise each run from then on would read them."""
    reconcile()
    damage(folder(tmp_path, day))
    reconcile()
    written = (folder(tmp_path, day) / MANIFEST_NAME).stat().st_mtime
    known = {
        entry["key"] for entry in json.loads((folder(tmp_path, day) / MANIFEST_NAME).read_bytes())["files"]
    }
    assert all((folder(tmp_path, day) / key).stat().st_mtime <= written for key in known)


def test_a_change_that_left_the_time_alone_is_found_when_content_is_read(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    reconcile()
    spoil_in_secret(objects(folder(tmp_path, day))[0])
    assert reconcile()["downloaded"] == 0
    assert reconcile(verify="content")["downloaded"] == 1


@pytest.mark.cca_simulator(days=20)
def test_a_dry_run_shows_the_gaps_and_touches_nothing(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    reconcile(lookback_days=10)
    delete_objects(folder(tmp_path, day))
    before = without_snapshot(tmp_path)
    sim.requests.clear()
    done = reconcile(lookback_days=10, dry_run=True)
    assert (done["complete"], done["healed"], done["still_missing"]) == (10, 0, 1)
    assert without_snapshot(tmp_path) == before
    assert sim.count(call="download") == 0
    (gap,) = snapshot(tmp_path)["gaps"]
    assert (gap["partition"], gap["state"], gap["days_left"]) == (day, "missing", 363)


@pytest.mark.cca_simulator(days=60, recovered=False)
def test_the_oldest_is_landed_first(
    sim: Simulator, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one connection, and a few threads that take the files in turn."""
    connection = {**sim.connection, "extra": {**sim.connection["extra"], "max_connections": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))
    reconcile(["peak_port_daily", ZIPS], level="site", lookback_days=40)
    days = {
        file.id: file.creation_date
        for report, level in ((ZIPS, None), ("peak_port_daily", "site"))
        for file in sim.truth(report, ago(40), ago(0), level=level)
    }
    asked = [days[request.path.rpartition("/")[2]] for request in sim.log(call="download")]
    assert len(asked) == 82
    order = sorted(days.values())
    assert all(day <= order[min(place + 8, 81)] for place, day in enumerate(asked))


def test_a_recovered_file_is_landed_beside_the_rest(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    reconcile()
    sim.world.add(ZIPS, day, b"recovered", name="recovered.zip")
    assert reconcile()["downloaded"] == 1
    assert (folder(tmp_path, day) / "recovered.zip").read_bytes() == b"recovered"


@pytest.mark.cca_simulator(days=10, recovered=False)
def test_dates_without_files_are_confirmed_by_a_manifest(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """As in daily runs; today's may still come, so nothing is said of it."""
    for file in sim.world.files(ZIPS, None, today().date(), today().date()):
        sim.world.remove(file)
    done = reconcile()
    assert (done["empty"], done["unknown"], done["healed"]) == (11, 1, 9)
    assert json.loads((folder(tmp_path, ago(15)) / MANIFEST_NAME).read_bytes())["files"] == []
    assert not folder(tmp_path, ago(0)).exists()
    (row,) = snapshot(tmp_path)["rows"]
    assert [cell["state"] for cell in row["partitions"]] == ["empty"] * 11 + ["landed"] * 9 + ["unknown"]


def test_a_report_still_processing_does_not_hold_back_the_others(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    sim.inject(StillProcessing(), "peak_port_daily", times=None)
    with pytest.raises(PartlyLanded, match=r"3 could not be listed.*peak_port_daily site.*still processing"):
        reconcile(["peak_port_daily", ZIPS])
    rows = {(row["report"], row["level"]): row["partitions"] for row in snapshot(tmp_path)["rows"]}
    assert {cell["state"] for cell in rows[ZIPS, None]} == {"landed"}
    assert {cell["state"] for cell in rows["peak_port_daily", "customer"]} == {"unknown"}


def test_sites_that_cannot_be_listed_do_not_hold_back_the_other_reports(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    sim.inject(Status(500), "sites", times=None)
    with pytest.raises(PartlyLanded, match="the sites of cdr"):
        reconcile(["cdr", ZIPS])
    calls, zips = snapshot(tmp_path)["rows"]
    assert {cell["state"] for cell in zips["partitions"]} == {"landed"}
    assert [(cell["partition"], cell["state"]) for cell in calls["partitions"]] == [
        (ago(back), "unknown") for back in range(20, -1, -1)
    ]


def test_a_calendar_of_sites_that_could_not_be_listed_is_not_passed_on_as_if_looked_at(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    reconcile("cdr")
    before = snapshot(tmp_path)["rows"][0]
    sim.inject(Status(500), "sites", times=None)
    with pytest.raises(PartlyLanded, match="the sites of cdr"):
        reconcile("cdr", lookback_days=5)
    after = snapshot(tmp_path)["rows"][0]
    assert [cell["state"] for cell in after["partitions"]] == ["landed"] * 15 + ["unknown"] * 6
    assert [cell["files"] for cell in after["partitions"]] == [cell["files"] for cell in before["partitions"]]
    sim.faults.clear()
    reconcile("cdr", lookback_days=5)
    assert snapshot(tmp_path)["rows"][0] == before


def test_a_site_that_cannot_be_listed_is_named(sim: Simulator, reconcile: Reconcile, tmp_path: Path) -> None:
    broken, *others = sim.world.sites
    sim.inject(Status(406), f"/v1/cdr/{broken}$", times=None)
    with pytest.raises(AirflowFailException, match=rf"1 could not be listed \(cdr {broken}\), all else.*406"):
        reconcile("cdr")
    assert {path.name for path in (tmp_path / "cdr").iterdir()} == {f"site={site}" for site in others}


def test_a_refused_login_fails_at_once_and_leaves_the_coverage_alone(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    reconcile()
    before = tree(tmp_path)
    sim.accounts.clear()
    sim.tokens.clear()
    with pytest.raises(AirflowFailException, match="check login and password"):
        reconcile(ALL)
    assert tree(tmp_path) == before


def test_a_file_that_fails_leaves_the_others_landed_and_the_coverage_says_so(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    bad = sim.truth(ZIPS, day, day)[0]
    sim.inject(WrongBytes(), f"/{bad.id}$", times=None)
    with pytest.raises(PartlyLanded, match=rf"1 of \d+ files.*{day}"):
        reconcile()
    (gap,) = snapshot(tmp_path)["gaps"]
    assert (gap["partition"], gap["state"]) == (day, "missing")
    sim.faults.clear()
    assert reconcile()["healed"] == 1
    assert snapshot(tmp_path)["gaps"] == []


@pytest.mark.cca_simulator(days=365, recovered=False, quirks=False)
def test_the_alarm_names_what_vanishes_soon_and_could_not_be_landed(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    late, soon = sim.truth(ZIPS, ago(340), ago(340))[0], sim.truth(ZIPS, ago(360), ago(360))[0]
    for file in (late, soon):
        sim.inject(Status(500), f"/{file.id}$", times=None)
    with pytest.raises(ExpiresSoon, match=rf"1 partitions .*within 14 days: {ZIPS} {ago(360)} .*5 days"):
        reconcile(lookback_days=364)
    with pytest.raises(ExpiresSoon, match="2 partitions") as raised:
        reconcile(lookback_days=364, alarm_days=30)
    assert [gap["partition"] for gap in raised.value.gaps] == [ago(360), ago(340)]
    with pytest.raises(PartlyLanded):
        reconcile(lookback_days=364, alarm_days=None)
    assert reconcile(lookback_days=364, dry_run=True)["still_missing"] == 2


@pytest.mark.cca_simulator(days=20, recovered=False, quirks=False)
def test_the_alarm_is_also_about_what_an_earlier_run_saw_outside_the_window(
    sim: Simulator, reconcile: Reconcile, run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it has landed, by whatever task."""
    two_weeks_ago, soon = today().date() - timedelta(days=15), today() + timedelta(days=3)
    (file,) = sim.world.files(ZIPS, None, two_weeks_ago, two_weeks_ago)
    sim.world.replace(file, expires=soon, expires_on=soon.strftime("%m/%d/%YT%H:%M:%S+0000"))
    reconcile([ZIPS, "peak_port_daily"], level="site", lookback_days=19, dry_run=True)
    reconcile("peak_port_daily", level="site", lookback_days=10)
    with pytest.raises(ExpiresSoon, match=rf"1 partitions .*{ZIPS} {ago(15)} .*3 days left"):
        reconcile(lookback_days=10)
    assert "with lookback_days=10 nobody looks at them" in caplog.text
    run(CcaToObjectStorageOperator(task_id="t", report=ZIPS, destination=str(tmp_path), partition=ago(15)))
    reconcile(lookback_days=10)
    (row,) = [row for row in snapshot(tmp_path)["rows"] if row["report"] == ZIPS]
    assert [cell["state"] for cell in row["partitions"] if cell["partition"] == ago(15)] == ["landed"]


@pytest.mark.parametrize(("back", "alarm", "warns"), [(351, 14, False), (350, 14, True), (350, 15, False)])
def test_an_alarm_about_dates_that_nobody_looks_at_is_warned_of(
    sim: Simulator, reconcile: Reconcile, caplog: pytest.LogCaptureFixture, back: int, alarm: int, warns: bool
) -> None:
    reconcile(lookback_days=back, alarm_days=alarm)
    assert ("nobody looks at them" in caplog.text) == warns


def put_back(source: Path, day: str) -> Path:
    """A copy of a date's folder as that of another date, with a manifest that says so."""
    copy = Path(shutil.copytree(source, source.with_name(f"creation_date={day}")))
    manifest = json.loads((copy / MANIFEST_NAME).read_bytes())
    manifest["partition"]["creation_date"] = day
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    return copy


def lost_gap(sim: Simulator, report: str, site: str | None = None, back: int = 400) -> dict[str, Any]:
    """A date out of all calendars that had files like those of three days ago."""
    truth = sim.truth(report, ago(3), ago(3), site=site)
    sizes = [file.size for file in truth]
    gap = {"report": report, "site": site, "level": None, "partition": ago(back), "state": "lost"}
    gap |= {"files": len(sizes), "landed": 0, "lost": len(sizes), "bytes": sum(sizes), "landed_bytes": 0}
    gap |= {"lost_files": [{"id": file.id, "bytes": file.size} for file in truth]}
    return gap | {"expires_on": ago(back - 365), "days_left": None}


@pytest.mark.cca_simulator(days=12, sites=2)
def test_what_was_lost_and_is_put_back_with_its_manifest_is_lost_no_more(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """Also of one site, and though its date has left the calendars."""
    reconcile(["cdr", ZIPS], lookback_days=9)
    gaps = [lost_gap(sim, ZIPS), *(lost_gap(sim, "cdr", site) for site in sim.world.sites)]
    (tmp_path / "_coverage.json").write_text(json.dumps({**snapshot(tmp_path), "gaps": gaps}))
    reconcile(["cdr", ZIPS], lookback_days=9)
    assert len(snapshot(tmp_path)["gaps"]) == 3
    site = sim.world.sites[0]
    (found,) = {path.parent for path in objects(tmp_path / "cdr" / f"site={site}") if ago(3) in str(path)}
    for source in (found, folder(tmp_path, ago(3))):
        put_back(source, ago(400))
    reconcile(["cdr", ZIPS], lookback_days=9)
    assert [gap["site"] for gap in snapshot(tmp_path)["gaps"]] == [sim.world.sites[1]]


@pytest.mark.cca_simulator(days=12, recovered=False)
def test_another_file_in_the_place_of_a_lost_one_does_not_hide_the_loss(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """It is told by its id."""
    reconcile(lookback_days=9)
    gap = lost_gap(sim, ZIPS)
    gap["lost_files"] = [{"id": "another", "bytes": gap["bytes"]}]
    (tmp_path / "_coverage.json").write_text(json.dumps({**snapshot(tmp_path), "gaps": [gap]}))
    put_back(folder(tmp_path, ago(3)), ago(400))
    reconcile(lookback_days=9)
    assert snapshot(tmp_path)["gaps"] == [gap]


@pytest.mark.cca_simulator(days=12, files_per_day=2, recovered=False)
def test_a_gap_whose_file_has_expired_is_not_closed_by_a_new_one(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """Of two files one had landed; the other, which vanished yesterday, is missed beside the new one."""
    reconcile(lookback_days=9)
    gap = lost_gap(sim, ZIPS, back=366) | {"state": "partly", "files": 2, "landed": 1, "lost": 0}
    gap |= {"lost_files": [], "missing_files": [{"id": "gone", "bytes": 5}]}
    (tmp_path / "_coverage.json").write_text(json.dumps({**snapshot(tmp_path), "gaps": [gap]}))
    put_back(folder(tmp_path, ago(3)), ago(366))
    reconcile(lookback_days=9)
    assert [(gap["state"], gap["lost"]) for gap in snapshot(tmp_path)["gaps"]] == [("lost", 1)]


@pytest.mark.cca_simulator(days=1, sites=1, recovered=False, quirks=False)
def test_a_store_that_fails_after_a_landing_makes_nothing_lost(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the month that is a year old, of which the server forgets one day after the other."""
    monthly = {"report": "peak_port_monthly", "level": "site", "lookback_days": 365}
    whole, healed = (
        sim.world.add("peak_port_monthly", ago(364), name.encode(), level="site", name=name)
        for name in ("whole.csv", "healed.csv")
    )
    reconcile(**monthly)
    month = tmp_path / "peak_port_monthly" / "level=site" / f"creation_month={ago(364)[:7]}"
    stored = month / healed.name
    stored.unlink()
    sim.world.removed.add(whole.id)
    sizes = LocalStore.list

    def failing(store: LocalStore, key: str) -> dict[str, Any]:
        if month.name in key and stored.exists():
            raise StoreError("busy")
        return sizes(store, key)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "list", failing)
        with pytest.raises(ExpiresSoon, match="busy"):
            reconcile(**monthly)
    (row,) = snapshot(tmp_path)["rows"]
    (cell,) = (cell for cell in row["partitions"] if cell["partition"] == ago(364)[:7])
    assert (cell["state"], cell["files"], cell["landed"], cell["lost"]) == ("unknown", 2, 1, 0)
    assert reconcile(**monthly)["still_missing"] == 0
    assert snapshot(tmp_path)["gaps"] == []


@pytest.mark.cca_simulator(days=12, files_per_day=1, recovered=False)
def test_symbolic_links_that_lead_nowhere_or_back_hold_back_nothing_else(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    reconcile(lookback_days=9)
    for name, target in {"loop": "loop", "up": ".", "again": ".", "nowhere": "x" * 300}.items():
        (tmp_path / ZIPS / name).symlink_to(target)
    lost = next(folder(tmp_path, ago(5)).glob("*.zip"))
    lost.unlink()
    done = reconcile(lookback_days=9)
    assert (done["downloaded"], done["still_missing"]) == (1, 0)


@pytest.mark.cca_simulator(days=12, files_per_day=3, recovered=False)
def test_what_is_lost_stays_so_when_others_of_its_date_are_healed_in_the_same_run(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """The landing takes it out of the manifest, and no run before has seen that it was lost."""
    reconcile(lookback_days=9)
    lost, healed, _ = sim.truth(ZIPS, ago(3), ago(3))
    for file in (lost, healed):
        (folder(tmp_path, ago(3)) / file.name).unlink()
    sim.world.removed.add(lost.id)
    for downloaded in (1, 0):
        done = reconcile(lookback_days=9)
        assert (done["lost"], done["downloaded"]) == (1, downloaded)
        (gap,) = snapshot(tmp_path)["gaps"]
        assert (gap["files"], gap["landed"], gap["lost"]) == (3, 2, 1)
        assert gap["lost_files"] == [{"id": lost.id, "bytes": lost.size}]


@pytest.mark.cca_simulator(days=12, recovered=False)
def test_a_folder_that_may_not_be_read_leaves_no_other_loss_open(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sixty dates that were lost and put back, each outside the window."""
    reconcile(lookback_days=9)
    gaps = [lost_gap(sim, ZIPS, back=back) for back in range(400, 460)]
    (tmp_path / "_coverage.json").write_text(json.dumps({**snapshot(tmp_path), "gaps": gaps}))
    for gap in gaps:
        put_back(folder(tmp_path, ago(3)), gap["partition"])
    read = LocalStore.get

    def refused(self: LocalStore, key: str) -> Any:
        if ago(402) in key:
            raise DestinationUnusable("denied for this folder")
        return read(self, key)

    monkeypatch.setattr(LocalStore, "get", refused)
    reconcile(lookback_days=9)
    assert [gap["partition"] for gap in snapshot(tmp_path)["gaps"]] == [ago(402)]


def many_lost(sim: Simulator, s3: Any, prefix: str) -> list[str]:
    """A hundred dates that lost all they had, and whose manifests say so."""
    gaps = [lost_gap(sim, ZIPS, back=back) for back in range(400, 500)]
    empty = Manifest(ZIPS, {}, (), f"{ago(30)}T00:00:00+00:00").to_json()
    for gap in gaps:
        key = f"{prefix}/{ZIPS}/creation_date={gap['partition']}/{MANIFEST_NAME}"
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=empty)
    known = Snapshot.from_json(json.dumps({"version": 1, "rows": [], "gaps": gaps}).encode())
    body = known.to_json(today(), "s3://bucket")
    s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}/_coverage.json", Body=body)
    return [gap["partition"] for gap in gaps]


@pytest.mark.parametrize("readable", [True, False])
def test_on_s3_gaps_are_looked_at_before_the_coverage_is_read_to_be_written(
    sim: Simulator, reconcile: Reconcile, s3: Any, s3_proxy: Any, new_prefix: Any, readable: bool
) -> None:
    """Side by side, and when the store is too busy no more of them than are under way: they stay known."""
    prefix = new_prefix().rstrip("/")
    dates = many_lost(sim, s3, prefix)
    look = rf"^GET .*({'|'.join(dates)}).*{MANIFEST_NAME}"
    s3_proxy.forget()
    if not readable:
        s3_proxy.faults = [StoreFault(look, status=503, code="SlowDown", times=None)]
    reconcile(destination=f"s3://aws_proxy@{BUCKET}/{prefix}", lookback_days=5)
    looks = [n for n, line in enumerate(s3_proxy.log) if re.search(look, line)]
    reads = [n for n, line in enumerate(s3_proxy.log) if re.search(r"^GET .*_coverage\.json", line)]
    assert len({s3_proxy.log[n] for n in looks}) == 100 if readable else 0 < len(looks) <= WORKERS * 6
    assert looks[-1] < reads[-1]
    assert len(json.loads(s3.objects(prefix)["/_coverage.json"])["gaps"]) == 100


@pytest.mark.cca_simulator(days=365, recovered=False, quirks=False)
def test_the_alarm_is_silent_when_all_has_been_landed_in_time(sim: Simulator, reconcile: Reconcile) -> None:
    assert reconcile(lookback_days=364)["still_missing"] == 0


@pytest.mark.cca_simulator(days=366, recovered=False, quirks=False)
def test_what_vanished_before_it_was_landed_is_counted_as_lost(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """Seen by a look on its last morning, before its files expired."""
    noon = sim.now
    sim.now = lambda: today().replace(hour=0)
    assert reconcile(lookback_days=365, dry_run=True)["still_missing"] >= 365
    sim.now = noon
    done = reconcile(lookback_days=365)
    assert (done["lost"], done["still_missing"]) == (1, 0)
    lost = snapshot(tmp_path)["gaps"][0]
    assert (lost["partition"], lost["state"], lost["days_left"]) == (ago(365), "lost", None)
    assert reconcile(lookback_days=365)["lost"] == 1


@pytest.mark.cca_simulator(days=366, recovered=False, quirks=False)
@pytest.mark.parametrize(("kept", "state", "lost"), [([], "lost", 1), (["a.zip"], "unknown", 0)])
def test_what_had_landed_and_is_gone_when_the_server_has_deleted_it_is_landed_no_more(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, kept: list[str], state: str, lost: int
) -> None:
    """What is left without its manifest may be whole, or not."""
    noon = sim.now
    sim.now = lambda: today().replace(hour=0)
    reconcile(lookback_days=365)
    sim.now = noon
    shutil.rmtree(folder(tmp_path, ago(365)))
    for name in kept:
        folder(tmp_path, ago(365)).mkdir()
        (folder(tmp_path, ago(365)) / name).write_bytes(b"?")
    for _ in range(2):
        assert reconcile(lookback_days=365)["lost"] == lost
        assert snapshot(tmp_path)["rows"][0]["partitions"][0]["state"] == state
        assert [gap["partition"] for gap in snapshot(tmp_path)["gaps"]] == [ago(365)] * lost


def test_reports_that_a_run_does_not_cover_stay_in_the_coverage(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    reconcile(["peak_port_daily", ZIPS])
    first = {(row["report"], row["level"]): row for row in snapshot(tmp_path)["rows"]}
    reconcile("peak_port_monthly", level="site")
    rows = {(row["report"], row["level"]): row for row in snapshot(tmp_path)["rows"]}
    assert {key: rows[key] for key in first} == first
    assert set(rows) == {*first, ("peak_port_monthly", "site")}


def other_run_at_the_end(
    monkeypatch: pytest.MonkeyPatch, store: type[Store], other: Callable[[], object]
) -> None:
    """Let another run write its coverage, once, after the first has read what it is going to add to."""
    get, reads = store.get, list[str]()

    def read(self: Store, key: str) -> Any:
        nonlocal reads
        found = get(self, key)
        reads += [key] if key == "_coverage.json" else []
        if reads == ["_coverage.json"] * 2:  # the first is at the beginning of the run
            reads.append("")
            other()
        return found

    monkeypatch.setattr(store, "get", read)


def test_two_runs_at_once_keep_what_each_other_found(
    sim: Simulator, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other one begins and ends while the first one lands."""
    heal, others = CcaReconcileOperator._land_missing, [1]

    def and_meanwhile(self: Any, *arguments: Any) -> Any:
        if others:
            others.pop()
            reconcile("peak_port_daily", level="site", dry_run=True)
        return heal(self, *arguments)

    monkeypatch.setattr(CcaReconcileOperator, "_land_missing", and_meanwhile)
    reconcile(ZIPS)
    found = snapshot(tmp_path)
    assert [row["report"] for row in found["rows"]] == [ZIPS, "peak_port_daily"]
    assert {gap["report"] for gap in found["gaps"]} == {"peak_port_daily"}


def test_on_s3_a_run_that_writes_its_coverage_at_the_same_moment_is_merged(
    sim: Simulator,
    reconcile: Reconcile,
    s3: Any,
    new_prefix: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = new_prefix()
    where = {"destination": f"s3://aws_default@{BUCKET}/{prefix}", "lookback_days": 5, "dry_run": True}
    reconcile("peak_port_monthly", level="site", **where)
    other_run_at_the_end(monkeypatch, S3Store, lambda: reconcile("peak_port_daily", level="site", **where))
    reconcile(ZIPS, **where)
    found = json.loads(s3.objects(prefix)["_coverage.json"])
    reports = [ZIPS, "peak_port_daily", "peak_port_monthly"]
    assert [row["report"] for row in found["rows"]] == reports
    assert {gap["report"] for gap in found["gaps"]} == set(reports)


@pytest.mark.parametrize("body", [b"", b"null", b'{"version": 1, "gaps": ['])
def test_a_damaged_coverage_is_written_anew(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, body: bytes
) -> None:
    (tmp_path / "_coverage.json").write_bytes(body)
    reconcile()
    assert states(tmp_path) == {"landed"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_coverage_of_a_newer_version_is_left_alone_and_told(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, dry_run: bool
) -> None:
    """After all has been landed."""
    newer = b'{"version": 2, "gaps": "in another form"}'
    (tmp_path / "_coverage.json").write_bytes(newer)
    with pytest.raises(AirflowFailException, match=r"DestinationUnusable.*newer version.*update it where"):
        reconcile(dry_run=dry_run)
    assert (tmp_path / "_coverage.json").read_bytes() == newer
    assert len(objects(tmp_path)) == (0 if dry_run else len(sim.truth(ZIPS, ago(20), ago(0))))


def test_a_coverage_that_cannot_be_read_is_left_alone_and_told(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """A folder in its place stands for any refusal of the store: root is denied nothing."""
    (tmp_path / "_coverage.json").mkdir()
    with pytest.raises(AirflowFailException, match=r"_coverage\.json is a folder"):
        reconcile()
    assert (tmp_path / "_coverage.json").is_dir()
    assert len(objects(tmp_path)) == len(sim.truth(ZIPS, ago(20), ago(0)))


@pytest.mark.cca_simulator(days=365, recovered=False, quirks=False)
def test_the_alarm_is_raised_though_the_coverage_cannot_be_written(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    sim.inject(Status(500), f"/{sim.truth(ZIPS, ago(360), ago(360))[0].id}$", times=None)
    (tmp_path / "_coverage.json").write_bytes(b'{"version": 2}')
    with pytest.raises(ExpiresSoon, match=ago(360)):
        reconcile(lookback_days=364)


def test_an_entry_that_is_not_known_costs_no_other_its_memory(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    reconcile()
    lost = {"report": ZIPS, "site": None, "level": None, "partition": ago(400), "state": "lost", "files": 1}
    lost |= {"landed": 0, "lost": 1, "bytes": 5, "landed_bytes": 0, "expires_on": ago(35), "days_left": None}
    strange = [
        lost | {"report": "of_tomorrow"},
        lost | {"state": "mislaid"},
        lost | {"partition": "soon"},
        "?",
    ]
    strange += [lost | {"files": float("inf")}, lost | {"site": []}, lost | {"level": {}}]
    stored = {**snapshot(tmp_path), "gaps": [*strange, lost]}
    stored["rows"].append({"report": "of_tomorrow", "level": None, "grain": "day", "partitions": []})
    (tmp_path / "_coverage.json").write_text(json.dumps(stored))
    reconcile()
    assert snapshot(tmp_path)["gaps"] == [lost]
    assert states(tmp_path) == {"landed"}


@pytest.mark.cca_simulator(days=12)
def test_on_s3_a_changed_object_is_found_by_the_listing_alone(
    sim: Simulator, reconcile: Reconcile, day: str, s3: Any, new_prefix: Callable[[], str]
) -> None:
    prefix = new_prefix()
    where = {"destination": f"s3://aws_default@{BUCKET}/{prefix}", "lookback_days": 10}
    reconcile(**where)
    before = s3.objects(prefix)
    (name,) = [key for key in before if day in key and not key.endswith(MANIFEST_NAME)][:1]
    s3.client.put_object(Bucket=BUCKET, Key=prefix + name, Body=bytes(255 - b for b in before[name]))
    gone = next(key for key in before if ago(5) in key and not key.endswith(MANIFEST_NAME))
    s3.client.delete_object(Bucket=BUCKET, Key=prefix + gone)
    done = reconcile(**where)
    assert (done["downloaded"], done["healed"], done["still_missing"]) == (2, 2, 0)
    after = s3.objects(prefix)
    assert (after[name], after[gone]) == (before[name], before[gone])
    assert json.loads(after["_coverage.json"])["destination"] == f"s3://{BUCKET}/{prefix}"
    assert reconcile(**where)["downloaded"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"report": "cdrs"}, "there is no report 'cdrs'"),
        ({"report": ["cdr", "site_list"]}, "site_list has no listing"),
        ({"report": []}, "there is no report to reconcile"),
        ({"report": 5}, "there is no report 5"),
        ({"report": None}, "there is no report to reconcile"),
        ({"report": "cdr", "level": "country"}, "there is no level 'country'"),
        ({"report": "cdr", "level": "site"}, "none takes a level"),
        ({"report": ZIPS, "site": "x"}, "none takes a site"),
        ({"lookback_days": 0}, "from 1 to 365"),
        ({"lookback_days": 366}, "from 1 to 365"),
        ({"lookback_days": "many"}, "from 1 to 365"),
        ({"alarm_days": -1}, "from 0 to 365"),
        ({"alarm_days": []}, "from 0 to 365"),
        ({"alarm_days": {}}, "from 0 to 365"),
        ({"dry_run": "perhaps"}, "give True or False"),
        ({"verify": "hard"}, "use size, changed, content"),
    ],
)
def test_wrong_arguments_fail_while_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        CcaReconcileOperator(task_id="t", destination="/x", **{"report": ZIPS, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [{"report": "cdr,nonsense"}, {"lookback_days": "x"}, {"only_look": "x"}, {"verify": "x"}, {"level": "x"}],
)
def test_wrong_arguments_from_a_template_fail_without_retries(
    sim: Simulator, run: Any, tmp_path: Path, arguments: dict[str, str]
) -> None:
    operator = CcaReconcileOperator(task_id="t", report="peak_port_daily", destination=str(tmp_path))
    for name in arguments:
        setattr(operator, name, "{{ value }}")
    with pytest.raises(AirflowFailException):
        run(operator, value=arguments[next(iter(arguments))])
    assert tree(tmp_path) == {}


def test_the_example_of_an_alarm_is_a_dag_whose_task_tells_it() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/coverage.md").read_text(), re.S)
    namespace: dict[str, Any] = {}
    exec(compile(code, "coverage.md", "exec"), namespace)
    (task,) = namespace["dag"].tasks
    (callback,) = task.on_failure_callback
    assert isinstance(callback, namespace["Tell"])


def test_arguments_may_be_templates(sim: Simulator, run: Any, tmp_path: Path) -> None:
    operator = CcaReconcileOperator(
        task_id="t",
        report="{{ params.reports | join(', ') }}",
        destination="{{ root }}",
        lookback_days="{{ params.days }}",
        site="{{ params.site }}",
        level="{{ params.level }}",
        dry_run="{{ params.dry }}",
        alarm_days="{{ params.alarm }}",
        verify="{{ params.verify }}",
    )
    site = sim.world.sites[1]
    params = {"reports": ["cdr", "peak_port_daily"], "days": 9, "site": site, "level": "site", "dry": True}
    run(operator, params={**params, "alarm": "", "verify": "size"}, root=str(tmp_path))
    rows = snapshot(tmp_path)["rows"]
    # None of call detail records, since there are other sites.
    assert [(row["report"], row["level"], len(row["partitions"])) for row in rows] == [
        ("peak_port_daily", "site", 10),
    ]
    assert {gap["site"] for gap in snapshot(tmp_path)["gaps"]} == {site, None}
    assert sim.count(call="download") == 0


def spoil_entries(sim: Simulator, day: str) -> None:
    """From now on the server lists the zips of a date without a checksum."""
    ids = {file.id for file in sim.truth(ZIPS, day, day)}

    def edit(asked: Any, answer: dict[str, Any]) -> dict[str, Any]:
        items = [{**i, "checksum": None} if i.get("id") in ids else i for i in answer.get("items", ())]
        return {**answer, "items": items} if "items" in answer else answer

    sim.edit_answer = edit


@pytest.mark.cca_simulator(days=365, recovered=False, quirks=False)
def test_an_entry_that_cannot_be_read_holds_back_its_own_date_alone(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    """The dates of the window are listed one by one."""
    spoil_entries(sim, ago(200))
    with pytest.raises(AirflowFailException, match=rf"1 could not be listed.*{ZIPS} {ago(200)}.*checksum"):
        reconcile(lookback_days=364)
    (row,) = snapshot(tmp_path)["rows"]
    assert {cell["partition"] for cell in row["partitions"] if cell["state"] != "landed"} == {ago(200)}
    assert len(objects(tmp_path)) == 364
    # One more shows that a total counts more than one file.
    assert sim.count(call="list") == 1 + 365 + 1


@pytest.mark.cca_simulator(days=20, recovered=False)
@pytest.mark.parametrize("damage", [spoil_objects, delete_objects, cut_objects], ids=lambda d: d.__name__)
def test_a_damaged_day_that_cannot_be_healed_is_never_shown_as_empty_or_whole(
    sim: Simulator, reconcile: Reconcile, run: Any, day: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Its manifest names the file, so whoever reads the day finds that it is not there as it should be."""
    reconcile()
    damage(folder(tmp_path, day))
    sim.inject(Status(500), "download", times=None)
    with pytest.raises(PartlyLanded):
        reconcile()
    (gap,) = snapshot(tmp_path)["gaps"]
    assert (gap["partition"], gap["state"]) == (day, "missing")
    assert json.loads((folder(tmp_path, day) / MANIFEST_NAME).read_bytes())["files"]
    place = str(tmp_path)
    with pytest.raises((NotLanded, WrongChecksum)):
        run(CcaExtractOperator(task_id="x", source=place, destination=place, partition=day))


def test_a_change_that_was_found_and_not_healed_is_found_again_by_a_run_that_looks_less_hard(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    reconcile()
    spoil_in_secret(objects(folder(tmp_path, day))[0])
    assert reconcile(verify="content", dry_run=True)["still_missing"] == 1
    assert reconcile()["downloaded"] == 1


def told(run: Any, root: Path, report: Any = ZIPS, **arguments: Any) -> dict[str, list[str]]:
    """By asset, the folders that the events of a reconciliation are about."""
    events, where = Events(), {"destination": str(root), "lookback_days": 10, "outlets": [cca_landings()]}
    operator = CcaReconcileOperator(task_id="t", report=report, **{**where, **arguments})
    try:
        run(operator, outlet_events=events)
    except (PartlyLanded, ExpiresSoon):
        return {}  # as Airflow drops the events of a task that fails
    found = events[cca_landings()].asset_alias_events
    return {
        event.dest_asset_key.name: sorted(Path(path).parent.name for path in event.extra["manifests"])
        for event in found
    }


def test_what_had_landed_without_a_manifest_is_announced_when_it_gets_one(
    sim: Simulator, reconcile: Reconcile, run: Any, day: str, tmp_path: Path
) -> None:
    """As after a landing that was killed before its manifest."""
    reconcile(lookback_days=10)
    delete_manifest(folder(tmp_path, day))
    sim.requests.clear()
    assert told(run, tmp_path) == {"cca/cdr_compressed": [f"creation_date={day}"]}
    assert sim.count(call="download") == 0
    assert told(run, tmp_path) == {}


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_what_a_failed_attempt_has_landed_is_announced_by_the_next_that_succeeds(
    sim: Simulator, run: Any, tmp_path: Path
) -> None:
    """Also when a third run comes in between which fails: and then no more."""
    both = [ZIPS, "peak_port_daily"]
    sim.inject(Status(500), "/v1/peakport/daily", times=None)
    assert told(run, tmp_path, both) == {}
    assert len(objects(tmp_path)) > 10
    assert told(run, tmp_path, both) == {}
    sim.faults.clear()
    levels = {f"cca/peak_port_daily/level={level}" for level in ("site", "customer", "partner")}
    found = told(run, tmp_path, both)
    assert found.keys() == {"cca/cdr_compressed", *levels}
    assert found["cca/cdr_compressed"] == [f"creation_date={ago(back)}" for back in range(10, -1, -1)]
    assert told(run, tmp_path, both) == {}


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_a_dry_run_leaves_what_is_to_be_announced(sim: Simulator, run: Any, day: str, tmp_path: Path) -> None:
    sim.inject(Status(500), f"/{sim.truth(ZIPS, day, day)[0].id}$", times=None)
    assert told(run, tmp_path) == {}
    sim.faults.clear()
    assert told(run, tmp_path, dry_run=True) == {}
    assert len(told(run, tmp_path)["cca/cdr_compressed"]) == 11


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_a_range_that_failed_in_part_is_announced_as_a_whole_when_it_succeeds(
    sim: Simulator, run: Any, day: str, tmp_path: Path
) -> None:
    def land() -> Events:
        events, where = Events(), {"destination": str(tmp_path), "outlets": [cca_landings()]}
        span = {"partition": ago(10), "partition_end": ago(1)}
        run(CcaToObjectStorageOperator(task_id="t", report=ZIPS, **span, **where), outlet_events=events)
        return events

    sim.inject(Status(500), f"/{sim.truth(ZIPS, day, day)[0].id}$", times=None)
    with pytest.raises(PartlyLanded):
        land()
    sim.faults.clear()
    (event,) = land()[cca_landings()].asset_alias_events
    assert len(event.extra["manifests"]) == 10


@pytest.mark.cca_simulator(days=40, recovered=False)
@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"report": "none"}]'])
def test_a_damaged_list_of_what_is_to_be_announced_stops_nothing(
    sim: Simulator, run: Any, tmp_path: Path, body: bytes
) -> None:
    bad = sim.truth(ZIPS, ago(2), ago(2))[0]
    sim.inject(Status(500), f"/{bad.id}$", times=None)
    told(run, tmp_path)
    sim.faults.clear()
    (kept,) = (tmp_path / "_unannounced").iterdir()
    kept.write_bytes(body)
    assert told(run, tmp_path) == {"cca/cdr_compressed": [f"creation_date={ago(2)}"]}


@pytest.mark.cca_simulator(days=40, recovered=False)
@pytest.mark.parametrize("many", [False, True], ids=["alone", "with others"])
def test_a_manifest_that_is_written_anew_vouches_for_nothing_that_was_overwritten(
    sim: Simulator, reconcile: Reconcile, run: Any, day: str, tmp_path: Path, many: bool
) -> None:
    """The daily landing of a recovered file looks at sizes alone, but for what is newer than its manifest."""
    reconcile()
    (path,) = objects(folder(tmp_path, day))
    whole = path.read_bytes()
    spoil(path)
    sim.world.add(ZIPS, day, b"recovered", name="recovered.zip")
    where, first = {"report": ZIPS, "destination": str(tmp_path)}, ago(10) if many else day
    run(CcaToObjectStorageOperator(task_id="x", partition=first, partition_end=day, **where))
    assert path.read_bytes() == whole
    assert (folder(tmp_path, day) / "recovered.zip").read_bytes() == b"recovered"
    assert sim.count(call="download") == 21 + 2


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_a_folder_that_cannot_be_used_holds_back_its_own_partition_alone(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    """A file where a folder should be; the coverage is written, and says which partition is not there."""
    (tmp_path / ZIPS).mkdir()
    folder(tmp_path, day).write_bytes(b"")
    with pytest.raises((PartlyLanded, AirflowFailException), match=f"1 of 21 files could not .*{day}"):
        reconcile()
    (row,) = snapshot(tmp_path)["rows"]
    assert {cell["partition"] for cell in row["partitions"] if cell["state"] != "landed"} == {day}


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_a_manifest_that_cannot_be_read_is_neither_missing_nor_written_over(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patched, since no file refuses the superuser, who runs many tests."""
    reconcile()
    before, read, sent = without_snapshot(tmp_path), LocalStore.get, len(sim.log(call="download"))

    def refused(self: LocalStore, key: str) -> Any:
        with self.translated("read", key):
            if day in key:
                raise PermissionError(13, "Permission denied")
            return read(self, key)

    monkeypatch.setattr(LocalStore, "get", refused)
    with pytest.raises((PartlyLanded, AirflowFailException), match=f"{ZIPS} {day} in the store"):
        reconcile()
    (row,) = snapshot(tmp_path)["rows"]
    odd = {cell["partition"]: cell["state"] for cell in row["partitions"] if cell["state"] != "landed"}
    assert odd == {day: "unknown"}
    assert without_snapshot(tmp_path) == before
    assert sim.count(call="download") == sent


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_a_report_that_the_store_does_not_list_leaves_the_others_and_the_coverage(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path
) -> None:
    (tmp_path / ZIPS).write_bytes(b"")
    with pytest.raises((PartlyLanded, AirflowFailException), match=f"{ZIPS} in the store"):
        reconcile([ZIPS, "peak_port_daily"])
    rows = {(row["report"], row["level"]): row["partitions"] for row in snapshot(tmp_path)["rows"]}
    assert {cell["state"] for cell in rows[ZIPS, None]} == {"unknown"}
    assert {cell["state"] for cell in rows["peak_port_daily", "site"]} == {"landed"}


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_a_file_that_was_downloaded_too_often_is_lost_and_fails_one_run(
    sim: Simulator, reconcile: Reconcile, day: str, tmp_path: Path
) -> None:
    """Then what else there is of its date has its manifest, and nobody is asked to fix anything."""
    (bad,) = sim.truth(ZIPS, day, day)
    sim.world.attempts[bad.id] = 999
    sim.world.add(ZIPS, day, b"recovered", name="recovered.zip")
    with pytest.raises(AirflowFailException, match="999"):
        reconcile()
    (gap,) = snapshot(tmp_path)["gaps"]
    assert (gap["partition"], gap["lost"]) == (day, 1)
    asked = sim.count(call="download")
    done = reconcile()
    assert (done["lost"], done["still_missing"], sim.count(call="download")) == (1, 0, asked)
    (gap,) = snapshot(tmp_path)["gaps"]
    assert (gap["partition"], gap["state"], gap["lost"], gap["landed"]) == (day, "lost", 1, 1)
    manifest = json.loads((folder(tmp_path, day) / MANIFEST_NAME).read_bytes())
    assert [entry["name"] for entry in manifest["files"]] == ["recovered.zip"]
    assert reconcile()["lost"] == 1


@pytest.mark.cca_simulator(days=40, recovered=False)
@pytest.mark.parametrize("gone", [False, True], ids=["listed", "gone upstream"])
def test_the_copied_folder_of_another_date_is_not_believed(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, gone: bool
) -> None:
    """A copy of the day before in its place: it is landed, and its manifest names its own files alone."""
    reconcile()
    day = ago(6)
    shutil.rmtree(folder(tmp_path, day))
    shutil.copytree(folder(tmp_path, ago(7)), folder(tmp_path, day))
    if gone:
        sim.world.removed |= {file.id for file in sim.truth(ZIPS, day, day)}
    done = reconcile()
    assert (done["downloaded"], done["still_missing"]) == (0 if gone else 1, 0)
    manifest = json.loads((folder(tmp_path, day) / MANIFEST_NAME).read_bytes())
    assert manifest["partition"] == {"creation_date": day}
    assert [entry["id"] for entry in manifest["files"]] == [file.id for file in sim.truth(ZIPS, day, day)]


@pytest.mark.cca_simulator(days=40, recovered=False)
def test_what_has_landed_is_announced_though_the_store_fails_to_say_what_had_before(
    sim: Simulator,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That stays where it is, until a run can read it."""
    both = [ZIPS, "peak_port_daily"]
    sim.inject(Status(500), "/v1/peakport/daily", times=None)
    assert told(run, tmp_path, both, level="site") == {}
    sim.faults.clear()
    read = LocalStore.get

    def failing(store: LocalStore, key: str) -> bytes:
        if key.startswith("_unannounced/"):
            raise StoreError("busy")
        return read(store, key)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "get", failing)
        found = told(run, tmp_path, both, level="site")
    assert found.keys() == {"cca/peak_port_daily/level=site"}
    assert "left to a later run to announce: busy" in caplog.text
    assert told(run, tmp_path, both, level="site").keys() == {"cca/cdr_compressed"}


@pytest.mark.cca_simulator(days=60, sites=21, recovered=False, quirks=False, ways=Ways(dates="name"))
def test_of_many_sites_whose_ranges_cannot_be_parted_old_dates_are_listed_in_turn(
    sim: Simulator, reconcile: Reconcile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The newest 14 dates in each run, the others each in one of 14 runs."""
    reconcile("cdr", lookback_days=40)
    (row,) = snapshot(tmp_path)["rows"]
    looked_at = {cell["partition"] for cell in row["partitions"]}
    assert looked_at == {ago(days) for days in [*range(14), 14, 28]}
    assert {cell["files"] for cell in row["partitions"][:-2]} == {21}
    assert sim.count(call="cdr") <= 60 + 21 * (len(looked_at) + 1)
    assert "cannot be parted by createdOn" in caplog.text
