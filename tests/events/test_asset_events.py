"""The assets of landings: their names, the facts in their events, and the partition keys."""

from __future__ import annotations

import json
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessor, OutletEventAccessors

from airflow_provider_cca.assets import cca_asset, cca_landings, cca_partitions
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.events import asset_events
from airflow_provider_cca.events.asset_events import facts_of, without_connection
from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator,
    CcaListFilesOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.reports import LEVELS, REPORTS, report_named
from airflow_provider_cca.simulator import Simulator, Status
from tests.support.today import newest_whole_month

COMPRESSED = {"report": "cdr_compressed"}


HAS_KEYS_OF_EVENTS = hasattr(OutletEventAccessor, "add_partitions")
needs_keys = pytest.mark.skipif(not HAS_KEYS_OF_EVENTS, reason="a task gives partition keys from Airflow 3.3")


class Events(OutletEventAccessors):
    """What a task tells Airflow of its outlets."""

    def of(self, asset: Asset) -> dict[str, Any]:
        """The extra, as it comes out of the database."""
        return json.loads(json.dumps(self[asset].extra))


@pytest.fixture
def land(run: Any, tmp_path: Path) -> Any:
    """Land with both assets as outlets, and give the events."""

    def act(day: str | None = None, cls: Any = CcaToObjectStorageOperator, **arguments: Any) -> Events:
        events = Events()
        given = {"destination": str(tmp_path), "outlets": [cca_asset("cdr"), cca_partitions("cdr")]}
        run(cls(task_id="t", **{**given, **arguments}), day, outlet_events=events)
        return events

    return act


def last_days(sim: Simulator, count: int) -> list[str]:
    return [str(sim.world.today - timedelta(days=back)) for back in range(count, 0, -1)]


def every_asset() -> list[Asset]:
    kinds = [
        {"report": name, **({"level": level} if row.needs == "level" else {})}
        for name, row in REPORTS.items()
        for level in (LEVELS if row.needs == "level" else [None])
    ]
    return [
        make(**kind)
        for make in (cca_asset, cca_partitions)
        for kind in (*kinds, {"report": "cdr", "site": "a b"})
    ]


def test_airflow_takes_each_asset_as_it_is_and_for_another_than_the_rest() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = every_asset()
    assert len({asset.name for asset in made}) == len({asset.uri for asset in made}) == len(made) == 20
    assert all(asset.uri == f"x-{asset.name.replace('/', '://', 1)}" for asset in made)
    assert cca_asset("cdr_compressed").uri == "x-cca://cdr_compressed"


def test_names_of_sites_cannot_be_taken_for_anything_else() -> None:
    hostile = ["a/partitions", "/", "ü", "a b", "partitions", "%2F"]
    names = {cca_asset("cdr", site=site).name for site in hostile} | {cca_partitions("cdr").name}
    assert len(names) == len(hostile) + 1
    assert all(name.isascii() and name.count("/") == 2 for name in names)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"report": "peak_ports"}, "there is no report"),
        ({"report": "peak_port_daily"}, "an asset for each level"),
        ({"report": "peak_port_daily", "level": "sites"}, "use one of site, customer, partner"),
        ({"report": "cdr_compressed", "level": "site"}, "takes no level"),
        ({"report": "cdr_compressed", "site": "acme"}, "takes no site"),
    ],
)
def test_an_asset_that_nothing_would_ever_update_is_refused(arguments, says) -> None:
    for make in (cca_asset, cca_partitions):
        with pytest.raises(InvalidArgument, match=says):
            make(**arguments)


def test_the_event_of_a_landing_holds_its_facts(sim: Simulator, land, day, tmp_path) -> None:
    events = land(day, **COMPRESSED)
    manifest = tmp_path / "cdr_compressed" / f"creation_date={day}" / "_manifest.json"
    written = json.loads(manifest.read_bytes())
    assert events.of(cca_asset("cdr")) == {
        "report": "cdr_compressed",
        "partition": day,
        "files": len(written["files"]),
        "bytes": written["total_bytes"],
        "downloaded": len(written["files"]),
        "folder": str(tmp_path / "cdr_compressed"),
        "manifests": [str(manifest)],
        "manifest": str(manifest),
    }


@pytest.mark.parametrize(
    "scope", [{"report": "cdr", "site": "meridian0001"}, {"report": "peak_port_daily", "level": "customer"}]
)
def test_it_names_the_site_or_the_level(sim: Simulator, land, day, scope) -> None:
    assert land(day, **scope).of(cca_asset("cdr")).items() >= scope.items()


def test_a_landing_that_found_nothing_new_is_an_event_that_says_so(sim: Simulator, land, day) -> None:
    land(day, **COMPRESSED)
    facts = land(day, **COMPRESSED).of(cca_asset("cdr"))
    assert (facts["downloaded"], facts["files"]) == (0, len(sim.truth("cdr_compressed", day, day)))


def test_a_range_is_one_event_with_its_ends_and_all_manifests(sim: Simulator, land, tmp_path) -> None:
    days = last_days(sim, 4)
    facts = land(**COMPRESSED, partition=days[0], partition_end=days[-1]).of(cca_asset("cdr"))
    assert (facts["partition"], facts["partition_end"], facts["partitions"]) == (days[0], days[-1], 4)
    assert facts["manifests"] == [
        str(tmp_path / f"cdr_compressed/creation_date={day}/_manifest.json") for day in days
    ]
    assert "manifest" not in facts


def test_a_batch_of_sites_is_one_event_that_leads_to_the_manifest_of_each(sim, land, day, tmp_path) -> None:
    sites = sorted(sim.world.sites)
    facts = land(day, report="cdr", site=sites).of(cca_asset("cdr"))
    assert {Path(manifest).parts[-3] for manifest in facts["manifests"]} == {f"site={site}" for site in sites}
    assert (facts["folder"], facts["partitions"]) == (str(tmp_path / "cdr"), len(sites))
    assert "site" not in facts
    assert all(Path(manifest).exists() for manifest in facts["manifests"])


@pytest.mark.cca_simulator(sites=["a", "b/c", "d"], days=5)
def test_the_asset_of_a_site_gets_the_facts_of_that_site_alone(sim: Simulator, land, day) -> None:
    makes = (cca_asset, cca_partitions)
    outlets = [make("cdr", site=site) for make in makes for site in ("a", "b/c", "elsewhere")]
    events = land(day, report="cdr", site=["a", "b/c", "d"], outlets=[cca_asset("cdr"), *outlets])
    for make in makes:
        one, other, none = (events.of(make("cdr", site=site)) for site in ("a", "b/c", "elsewhere"))
        assert (one["site"], len(one["manifests"]), other["site"]) == ("a", 1, "b/c")
        assert other["files"] == len(sim.truth("cdr", day, day, site="b/c"))
        assert (none["files"], none["manifests"]) == (0, [])
    assert events.of(cca_asset("cdr"))["partitions"] == 3
    if HAS_KEYS_OF_EVENTS:
        assert events[cca_partitions("cdr", site="a")].partition_keys == {day}
        assert events[cca_partitions("cdr", site="elsewhere")].partition_keys == set()


def test_files_that_were_picked_by_hand_are_an_event_too(sim: Simulator, run, land, day) -> None:
    files = run(CcaListFilesOperator(task_id="l", **COMPRESSED), day)
    facts = land(day, CcaDownloadFilesOperator, files=files).of(cca_asset("cdr"))
    assert (facts["report"], facts["partition"], facts["files"]) == ("cdr_compressed", day, len(files))
    facts = land(day, CcaDownloadFilesOperator, files=[]).of(cca_asset("cdr"))
    assert (facts["files"], facts["manifests"]) == (0, [])


def test_a_list_of_sites_is_an_event_of_its_date(sim: Simulator, land) -> None:
    facts = land(str(sim.world.today), CcaSiteListToObjectStorageOperator).of(cca_asset("cdr"))
    assert (facts["report"], facts["files"]) == ("site_list", 1)
    assert Path(facts["manifest"]).parent.name == f"snapshot_date={facts['partition']}"


@needs_keys
def test_each_partition_is_a_key_of_the_partitions_alone(sim: Simulator, land) -> None:
    """An event with a key starts no DAG that has the plain asset for its schedule."""
    days = last_days(sim, 3)
    events = land(**COMPRESSED, partition=days[0], partition_end=days[-1])
    assert events[cca_partitions("cdr")].partition_keys == set(days)
    assert events[cca_asset("cdr")].partition_keys == set()
    # All keys share one extra, so that it must not grow with them.
    assert "manifests" not in events.of(cca_partitions("cdr"))
    assert events.of(cca_partitions("cdr"))["folder"].endswith("/cdr_compressed")


@needs_keys
def test_one_partition_has_all_facts_beside_its_key(sim: Simulator, land, day) -> None:
    events = land(day, **COMPRESSED)
    assert events[cca_partitions("cdr")].partition_keys == {day}
    assert events.of(cca_partitions("cdr")) == events.of(cca_asset("cdr"))


@needs_keys
@pytest.mark.cca_simulator(days=70)
def test_a_month_is_a_key_like_2026_03(sim: Simulator, land) -> None:
    month = f"{newest_whole_month():%Y-%m}"
    events = land(report="peak_port_monthly", level="site", partition=month)
    assert events[cca_partitions("cdr")].partition_keys == {month}


def test_users_own_assets_get_the_facts_and_what_they_had(sim: Simulator, run, day, tmp_path) -> None:
    own, alias, events = Asset("mine", uri="s3://bucket/cca"), AssetAlias("later"), Events()
    events[own].extra["team"] = "billing"
    operator = CcaToObjectStorageOperator(
        task_id="t", destination=str(tmp_path), outlets=[own, alias], **COMPRESSED
    )
    run(operator, day, outlet_events=events)
    assert events.of(own).items() >= {"team": "billing", "partition": day}.items()
    assert list(events) == [own]


def test_the_alias_updates_the_asset_of_what_was_downloaded_and_no_other(land, day, tmp_path) -> None:
    outlets, peaks = [cca_landings()], {"report": "peak_port_daily", "level": "site"}
    (event,) = land(day, outlets=outlets, **peaks)[cca_landings()].asset_alias_events
    assert (event.dest_asset_key.name, event.source_alias_name) == (
        "cca/peak_port_daily/level=site",
        "cca/landings",
    )
    assert event.extra.items() >= {**peaks, "partition": day, "downloaded": 1}.items()
    assert land(day, outlets=outlets, **peaks)[cca_landings()].asset_alias_events == []


@pytest.mark.parametrize(
    ("fault", "partition", "ends"),
    [(Status(406), None, AirflowFailException), (None, "2020-01-01", AirflowSkipException)],
)
def test_what_did_not_land_puts_nothing_into_an_event(
    sim, run, day, tmp_path, fault, partition, ends
) -> None:
    if fault:
        sim.inject(fault, "cdr_compressed", times=None)
    events = Events()
    operator = CcaToObjectStorageOperator(
        task_id="t", destination=str(tmp_path), outlets=[cca_asset("cdr_compressed")], **COMPRESSED
    )
    with pytest.raises(ends):
        run(operator, partition or day, outlet_events=events)
    assert len(events) == 0


@pytest.mark.parametrize(
    ("destination", "bare"),
    [
        ("s3://aws_default@bucket/cca/", "s3://bucket/cca"),
        (" s3://bucket/cca", "s3://bucket/cca"),
        ("sftp://user:secret@host:22/cca", "sftp://host:22/cca"),
        ("abfss://conn@files@account.example/cca", "abfss://account.example/cca"),
        ("/data/c@a", "/data/c@a"),
        ("file:///data/cca", "file:///data/cca"),
    ],
)
def test_no_connection_id_and_no_password_is_in_the_facts(destination: str, bare: str) -> None:
    assert without_connection(destination) == bare
    assert facts_of(destination, [])["folder"] == bare


def landed(report: str, count: int) -> list[Landed]:
    scope, first = Scope(report_named(report)), Partition.parse("2020-01-01", report_named(report).grain)
    days = list(first.until(Partition.parse("2029-01-01", first.grain)))[:count]
    return [Landed(scope, day, f"{report}/creation_date={day}/_manifest.json", 1, 10, 1) for day in days]


def test_an_event_stays_small_whatever_was_landed() -> None:
    year, more = (facts_of("s3://bucket/cca", landed("cdr_compressed", days)) for days in (366, 3000))
    assert len(year["manifests"]) == 366
    assert len(json.dumps(year)) < 32_000
    assert "manifests" not in more
    assert len(json.dumps(more)) < 300
    assert (more["partitions"], more["folder"]) == (3000, "s3://bucket/cca/cdr_compressed")


def test_files_of_several_reports_have_no_report_in_common() -> None:
    facts = facts_of("s3://bucket/cca", landed("cdr_compressed", 1) + landed("site_list", 1))
    assert "report" not in facts
    assert facts["folder"] == "s3://bucket/cca"


def test_what_is_made_for_partitions_is_told_by_its_uri() -> None:
    assert all(
        asset_events._is_of_partitions(asset) == asset.name.endswith("/partitions") for asset in every_asset()
    )
    assert not asset_events._is_of_partitions(Asset("mine", uri="s3://bucket/partitions"))
