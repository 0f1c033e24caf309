"""Operators against a server: what they return, what they leave in the store, how they fail."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.utils.types import DagRunType

from airflow_provider_cca.errors import Closed, InvalidArgument, PartlyLanded
from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException
from airflow_provider_cca.landing.progress import in_units
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator,
    CcaListFilesOperator,
    CcaListSitesOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.simulator import Hang, Match, Simulator, Status, StillProcessing, WrongBytes
from tests.support.today import newest_whole_month, today
from tests.support.tree import tree

REPORTS = [
    ("cdr_compressed", {}, "cdr_compressed"),
    ("cdr", {"site": "meridian0001"}, "cdr/site=meridian0001"),
    ("peak_port_daily", {"level": "customer"}, "peak_port_daily/level=customer"),
]


def landed(root: Path) -> set[tuple[str, str]]:
    """Name and MD5 of every file that a manifest names, read from the store."""
    return {
        (entry["name"], md5((path.parent / entry["key"]).read_bytes()).hexdigest())
        for path in root.rglob("_manifest.json")
        for entry in json.loads(path.read_bytes())["files"]
    }


def truth(sim: Simulator, report: str, first: str, last: str, **scope: Any) -> set[tuple[str, str]]:
    return {(file.name, file.md5) for file in sim.truth(report, first, last, **scope)}


@pytest.mark.parametrize(("report", "scope", "folder"), REPORTS)
def test_a_day_lands_under_its_creation_date(sim, run, day, tmp_path, report, scope, folder) -> None:
    result = run(
        CcaToObjectStorageOperator(task_id="t", report=report, destination=str(tmp_path), **scope), day
    )
    assert landed(tmp_path) == truth(sim, report, day, day, **scope) != set()
    manifest = tmp_path / folder / f"creation_date={day}" / "_manifest.json"
    written = json.loads(manifest.read_bytes())
    assert result == {
        "report": report,
        "partition": day,
        "files": len(written["files"]),
        "bytes": written["total_bytes"],
        "downloaded": len(written["files"]),
        "manifest": str(manifest),
    }


@pytest.mark.cca_simulator(days=70)
def test_a_month_of_peak_ports_lands_under_its_creation_month(sim, run, tmp_path) -> None:
    month = f"{newest_whole_month():%Y-%m}"
    operator = CcaToObjectStorageOperator(
        task_id="t", report="peak_port_monthly", level="partner", partition=month, destination=str(tmp_path)
    )
    assert run(operator)["partition"] == month
    assert (tmp_path / f"peak_port_monthly/level=partner/creation_month={month}/_manifest.json").exists()
    assert len(landed(tmp_path)) == 1


def test_a_range_lands_every_partition_in_it(sim, run, tmp_path) -> None:
    last = pendulum.instance(sim.now()).subtract(days=1)
    first, last = last.subtract(days=9).to_date_string(), last.to_date_string()
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", partition=first, partition_end=last, destination=str(tmp_path)
    )
    result = run(operator)
    assert (result["partitions"], result["partition"], result["partition_end"]) == (10, first, last)
    assert landed(tmp_path) == truth(sim, "cdr_compressed", first, last)
    # The range, and two requests that show that it can be parted by createdOn.
    assert sim.count(call="cdr_compressed") == 3


@pytest.mark.cca_simulator(sites=30, days=5)
def test_a_batch_of_sites_lands_in_one_task(sim, run, day, tmp_path) -> None:
    """One listing a site, one login; each site has its own partition. And one request for the whole batch
    that shows that a total counts more than a page, since a single file might be all of a page."""
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=list(sim.world.sites), destination=str(tmp_path)
    )
    result = run(operator, day)
    assert (result["partitions"], result["files"]) == (30, len(landed(tmp_path)))
    assert landed(tmp_path) == {
        (file.name, file.md5) for site in sim.world.sites for file in sim.truth("cdr", day, day, site=site)
    }
    assert (sim.count(call="cdr"), sim.count("POST")) == (30 + 1, 1)


def test_sites_that_are_all_broken_are_named(sim, run, day, tmp_path) -> None:
    sim.inject(Status(406), "cdr", times=None)
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=list(sim.world.sites), destination=str(tmp_path)
    )
    with pytest.raises(AirflowFailException, match=r"3 of 3 could not be listed.*406"):
        run(operator, day)
    assert tree(tmp_path) == {}


def test_a_broken_site_does_not_hold_back_the_others(sim, run, day, tmp_path) -> None:
    broken, *others = sim.world.sites
    sim.inject(Status(406), f"/v1/cdr/{broken}$", times=None)
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=list(sim.world.sites), destination=str(tmp_path)
    )
    with pytest.raises(AirflowFailException, match=rf"1 of 3 could not be listed.*{broken}.*406"):
        run(operator, day)
    assert {path.name for path in (tmp_path / "cdr").iterdir()} == {f"site={site}" for site in others}


@pytest.mark.parametrize("site", ["../../etc", "a/b", "100%", "caf\u00e9 & co", "x?y=z#f", "-", "a b"])
def test_a_site_of_any_name_is_asked_for_and_landed_in_a_folder_of_its_own(
    run, day, tmp_path, site, monkeypatch
) -> None:
    with Simulator(days=5, sites=[site]).serve() as sim:
        monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", sim.connection_json)
        run(CcaToObjectStorageOperator(task_id="t", report="cdr", site=site, destination=str(tmp_path)), day)
        assert landed(tmp_path) == truth(sim, "cdr", day, day, site=site) != set()
    (folder,) = (tmp_path / "cdr").iterdir()
    assert folder.name.startswith("site=")


def test_a_wrong_password_is_tried_once_for_all_sites(sim, run, day, tmp_path) -> None:
    sim.accounts.clear()
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=[f"s{n}" for n in range(100)], destination=str(tmp_path)
    )
    with pytest.raises(AirflowFailException, match="check login and password"):
        run(operator, day)
    assert sim.count("POST") == 1


def test_landing_again_downloads_nothing(sim, run, day, tmp_path) -> None:
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    run(operator, day)
    before = tree(tmp_path)
    assert run(operator, day)["downloaded"] == 0
    assert tree(tmp_path) == before


def test_links_are_taken_as_they_are_given(sim, run, day, tmp_path, monkeypatch) -> None:
    """The document has two forms of the compressed link, under two keys, and hosts that change."""
    sim.zip_links, sim.link_key = True, "a"
    sim.download_hosts = ["127.0.0.1", "localhost", "127.0.0.2"]
    monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", sim.connection_json)
    for other in range(3):
        sim.world.add("cdr_compressed", day, b"x%d" % other, name=f"{other}.zip")
    run(CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path)), day)
    assert landed(tmp_path) == truth(sim, "cdr_compressed", day, day)
    assert all("/v1/cdr/zip/" in request.path for request in sim.log(call="download"))


def test_a_server_that_pages_by_seven_lands_whole(sim, run, day, tmp_path) -> None:
    sim.max_page_size = 7
    for number in range(40):
        sim.world.add("cdr_compressed", day, b"x%d" % number, name=f"{number}.zip")
    run(CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path)), day)
    assert landed(tmp_path) == truth(sim, "cdr_compressed", day, day)
    assert len(landed(tmp_path)) >= 41


def test_the_destination_is_a_template(sim, run, day, tmp_path) -> None:
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", destination="{{ root }}/x", partition="{{ ds }}"
    )
    run(operator, day, root=str(tmp_path))
    assert (tmp_path / "x/cdr_compressed").exists()


def test_files_that_are_listed_can_be_landed_in_another_task(sim, run, day, tmp_path) -> None:
    """Through JSON, as XCom would carry them; a part of the list lands that part."""
    files = run(CcaListFilesOperator(task_id="l", report="cdr", site=sim.world.sites[0], partition=day))
    half = json.loads(json.dumps(files))[:1]
    result = run(CcaDownloadFilesOperator(task_id="d", files=half, destination=str(tmp_path)))
    assert (result["partitions"], result["files"], result["downloaded"]) == (1, 1, 1)
    assert landed(tmp_path) == {(files[0]["name"], files[0]["md5"])}


@pytest.mark.cca_simulator(days=10, files_per_day=3, recovered=False)
def test_a_part_of_a_list_leaves_named_what_has_gone_from_the_store(sim, run, day, tmp_path) -> None:
    files = run(CcaListFilesOperator(task_id="l", report="cdr_compressed", partition=day))
    run(CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path)), day)
    folder = tmp_path / f"cdr_compressed/creation_date={day}"
    before = named(folder / "_manifest.json")
    next(path for path in folder.iterdir() if md5(path.read_bytes()).hexdigest() == files[0]["md5"]).unlink()
    run(CcaDownloadFilesOperator(task_id="d", files=files[1:], destination=str(tmp_path)))
    assert files[0]["md5"] in before
    assert named(folder / "_manifest.json") == before


@pytest.mark.parametrize("files", ["no list", 7, {"id": "1"}, [{"id": "1"}]])
def test_files_that_are_no_list_of_files_are_refused(sim, run, tmp_path, files) -> None:
    """While the DAG is parsed, or at run time when they come from elsewhere."""
    with pytest.raises(InvalidArgument, match="CcaListFilesOperator"):
        CcaDownloadFilesOperator(task_id="d", files=files, destination=str(tmp_path))
    operator = CcaDownloadFilesOperator(task_id="d", files="{{ files }}", destination=str(tmp_path))
    with pytest.raises(AirflowFailException, match="CcaListFilesOperator"):
        run(operator, files=files)


def test_a_file_that_is_given_twice_lands_once(sim, run, day, tmp_path) -> None:
    files = run(CcaListFilesOperator(task_id="l", report="cdr_compressed", partition=day))
    result = run(CcaDownloadFilesOperator(task_id="d", files=files * 2, destination=str(tmp_path)))
    assert (result["files"], sim.count(call="download")) == (len(files), len(files))


@pytest.mark.cca_simulator(days=5, sites=1)
def test_parts_of_one_list_landed_at_the_same_time_are_all_in_the_manifest(sim, run, day, tmp_path) -> None:
    for number in range(12):
        sim.world.add("cdr_compressed", day, b"x%d" % number, name=f"{number}.zip")
    files = run(CcaListFilesOperator(task_id="l", report="cdr_compressed", partition=day))
    parts = [
        CcaDownloadFilesOperator(task_id=f"d{n}", files=files[n::3], destination=str(tmp_path))
        for n in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, parts))
    assert landed(tmp_path) == truth(sim, "cdr_compressed", day, day)


def test_sites_are_listed_by_name(sim, run) -> None:
    assert run(CcaListSitesOperator(task_id="s")) == list(sim.world.sites)


def test_new_files_are_those_never_downloaded(sim, run, day, tmp_path) -> None:
    site = sim.world.sites[0]
    new = CcaListFilesOperator(task_id="n", report="cdr", by="new", site=site)
    before = {file["id"] for file in run(new)}
    run(CcaToObjectStorageOperator(task_id="t", report="cdr", site=site, destination=str(tmp_path)), day)
    gone = before - {file["id"] for file in run(new)}
    assert gone == {file.id for file in sim.truth("cdr", day, day, site=site)}


def test_files_are_listed_by_the_date_on_which_meetings_ended(sim, run, day) -> None:
    site = sim.world.sites[0]
    run(CcaListFilesOperator(task_id="m", report="cdr", by="meeting_end", site=site, partition=day))
    query = next(request.query for request in sim.requests if request.call == "cdr")
    wanted = pendulum.parse(day).format("MMDDYYYY")
    assert (query["startDate"], query["endDate"], query["type"]) == (wanted, wanted, "daily")


def test_todays_site_list_lands_under_today(sim, run, tmp_path) -> None:
    today = pendulum.now("UTC").to_date_string()
    run(CcaSiteListToObjectStorageOperator(task_id="t", destination=str(tmp_path)), today)
    name = f"CCA_SITES_LIST_{today.replace('-', '')}.csv"
    assert (tmp_path / f"site_list/snapshot_date={today}" / name).read_bytes() == sim.world.site_list()


def test_a_past_site_list_is_an_error(sim, run, tmp_path) -> None:
    operator = CcaSiteListToObjectStorageOperator(
        task_id="t", destination=str(tmp_path), snapshot_date="2026-01-01"
    )
    with pytest.raises(AirflowFailException, match="there is no site list of 2026-01-01"):
        run(operator)
    assert tree(tmp_path) == {}


def test_a_backfilled_site_list_is_skipped_with_the_reason(sim, run, day, tmp_path) -> None:
    operator = CcaSiteListToObjectStorageOperator(
        task_id="t", destination=str(tmp_path), snapshot_date="{{ ds }}"
    )
    with pytest.raises(AirflowSkipException, match="keeps no history"):
        run(operator, day, dag_run=SimpleNamespace(run_type=DagRunType.BACKFILL_JOB))
    assert sim.count() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"report": "cdrs"}, "there is no report 'cdrs': use one of cdr, cdr_compressed"),
        ({"report": "cdr"}, "needs a site"),
        ({"report": "peak_port_daily"}, "needs a level"),
        ({"report": "peak_port_daily", "level": "country"}, "there is no level 'country'"),
        ({"report": "cdr_compressed", "site": "x"}, "takes no site"),
        ({"report": "site_list"}, "CcaSiteListToObjectStorageOperator"),
        ({"report": "cdr_compressed", "partition": "3 March"}, "'3 March' is not a partition"),
        ({"report": "cdr_compressed", "partition_end": "2026-03-01"}, "without partition"),
        (
            {"report": "cdr_compressed", "partition": "2026-03-02", "partition_end": "2026-03-01"},
            "lies before",
        ),
        ({"report": "cdr_compressed", "partition": 20260301}, "which is no text"),
        ({"report": "cdr", "site": 5}, "site is 5, which is no text"),
        ({"report": "cdr", "site": []}, "needs a site"),
        ({"report": "{{ r }}", "level": "country"}, "there is no level 'country'"),
        ({"report": 5}, "there is no report '5'"),
    ],
)
def test_wrong_arguments_fail_while_the_dag_is_parsed(arguments, says) -> None:
    with pytest.raises(InvalidArgument, match=says):
        CcaToObjectStorageOperator(task_id="t", destination="/x", **arguments)


def test_wrong_arguments_from_a_template_fail_at_run_time_without_retries(sim, run, day, tmp_path) -> None:
    operator = CcaToObjectStorageOperator(task_id="t", report="{{ r }}", destination=str(tmp_path))
    with pytest.raises(AirflowFailException, match="there is no report 'cdrs'"):
        run(operator, day, r="cdrs")


def test_space_around_the_destination_is_no_part_of_it(sim, run, day, tmp_path) -> None:
    """As in an Airflow Variable that was pasted with the end of its line."""
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", destination=f" {tmp_path}/ \n"
    )
    result = run(operator, day)
    assert result["manifest"] == f"{tmp_path}/cdr_compressed/creation_date={day}/_manifest.json"
    assert Path(result["manifest"]).exists()


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("", "set the Airflow Variable cca_storage"),
        ("None", "set the Airflow Variable cca_storage"),
        ("None/cca", "relative path"),
        ("some/folder", "relative path"),
        ("file://some/folder", "relative path"),
        ("/dev/null/x", "check that the destination exists"),
        ("foo://bucket/x", "the provider of its store is installed"),
    ],
)
def test_a_destination_that_cannot_be_used_says_what_to_do(sim, run, day, destination, says) -> None:
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination="{{ where }}")
    with pytest.raises(AirflowFailException, match=says):
        run(operator, day, where=destination)


@pytest.mark.parametrize("destination", ["", None, "some/folder", "file://some/folder"])
def test_a_destination_that_cannot_be_right_fails_while_the_dag_is_parsed(destination) -> None:
    with pytest.raises(InvalidArgument):
        CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=destination)


@pytest.mark.parametrize(
    ("report", "level", "partition"),
    [("cdr_compressed", None, lambda now: now.subtract(days=365).to_date_string())],
)
def test_a_partition_whose_files_are_gone_is_no_empty_success(
    sim, run, tmp_path, report, level, partition
) -> None:
    """On the day on which its files are deleted none is listed, and no manifest says that there were none."""
    last_day = partition(pendulum.now("UTC"))
    operator = CcaToObjectStorageOperator(task_id="t", report=report, level=level, destination=str(tmp_path))
    with pytest.raises(AirflowSkipException, match="whatever there was is gone"):
        run(operator, last_day, dag_run=SimpleNamespace(run_type="backfill"))
    assert tree(tmp_path) == {}


@pytest.mark.cca_simulator(days=366, sites=2, recovered=False)
def test_a_site_whose_files_are_gone_is_not_empty_because_another_has_files(sim, run, tmp_path) -> None:
    """On the day on which they are deleted, each at the hour of its creation."""
    day = sim.world.today - timedelta(days=365)
    gone, left = sim.world.sites
    for site, hours in ((gone, -1), (left, 1)):
        for file in sim.world.files("cdr", site, day, day):
            sim.world.replace(file, b"x", expires=sim.now() + timedelta(hours=hours))
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=[gone, left], destination=str(tmp_path)
    )
    run(operator, str(day))
    assert {key.split("/")[1] for key in tree(tmp_path)} == {f"site={left}"}


def test_a_date_from_a_template_is_skipped_in_a_backfill_too(sim, run, tmp_path) -> None:
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", partition="{{ ds }}", destination=str(tmp_path)
    )
    with pytest.raises(AirflowSkipException):
        run(operator, "2020-01-01", dag_run=SimpleNamespace(run_type="backfill"))


def test_broken_sites_and_broken_files_are_all_named(sim, run, day, tmp_path) -> None:
    first, second, _ = sim.world.sites
    sim.inject(Status(406), f"/v1/cdr/{first}$", times=None)
    sim.inject(Status(403, "File expired for download"), f"/v1/cdr/{second}/", times=None)
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=list(sim.world.sites), destination=str(tmp_path)
    )
    with pytest.raises(AirflowFailException, match=rf"{first}.*site={second}/"):
        run(operator, day)


def test_a_wrong_password_fails_in_one_line(sim, run, day, tmp_path) -> None:
    sim.accounts[sim.account] = "changed"
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    with pytest.raises(
        AirflowFailException,
        match=r"^Unauthorized: the login of .* was refused \(401\): check login and password",
    ):
        run(operator, day)


def test_an_unreachable_host_is_left_to_retries_with_a_clear_line(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(
        {"conn_type": "cca", "login": "a", "password": "b", "host": "127.0.0.1", "port": 9, "schema": "http"}
    ))  # fmt: skip
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    with pytest.raises(Exception, match=r"is 127\.0\.0\.1:9 right, and reachable from this worker\?"):
        run(operator, pendulum.now("UTC").to_date_string())


def test_files_that_fail_leave_the_others_landed_and_the_task_retryable(sim, run, day, tmp_path) -> None:
    sim.world.add("cdr_compressed", day, b"extra", name="extra.zip")
    bad = sim.truth("cdr_compressed", day, day)[0]
    sim.inject(WrongBytes(), f"/{bad.id}$", times=3)
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    with pytest.raises(PartlyLanded, match="1 of "):
        run(operator, day)
    assert run(operator, day)["downloaded"] == 1
    assert landed(tmp_path) == truth(sim, "cdr_compressed", day, day)


@pytest.mark.parametrize("link", ["http://[bad", "https://[::1", "//]"])
def test_a_link_that_is_no_url_holds_back_its_own_partition_alone(sim, run, day, tmp_path, link) -> None:
    before = pendulum.parse(day).subtract(days=1).to_date_string()
    one, *others = sim.world.sites
    (bad,) = sim.truth("cdr", day, day, site=one)

    def misprint(asked, answer):
        for item in answer.get("items", []):
            item.update({"downloadLink": link} if item.get("id") == bad.id else {})
        return answer

    sim.edit_answer = misprint
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr", site=[one, *others], destination=str(tmp_path), partition=before,
        partition_end=day,
    )  # fmt: skip
    with pytest.raises(AirflowFailException, match=rf"^PartlyLanded: 1 of .*{re.escape(link)}.* is no URL"):
        run(operator)
    assert landed(tmp_path) == truth(sim, "cdr", before, before, site=one).union(
        *(truth(sim, "cdr", before, day, site=site) for site in others)
    )


def test_an_expired_file_ends_the_task_without_retries(sim, run, day, tmp_path) -> None:
    sim.inject(Status(403, "File expired for download"), "download", times=None)
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    with pytest.raises(AirflowFailException, match="past its 365 days and gone"):
        run(operator, day)


def test_a_killed_task_ends_although_its_read_is_stalled(sim, run, day, tmp_path) -> None:
    sim.inject(Hang(after=10), "download", times=None)
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, operator, day)
        while not sim.count(call="list"):
            pass
        sim.wait_open()
        operator.on_kill()
        with pytest.raises(Closed):
            running.result(timeout=3)
    assert tree(tmp_path) == {}


def named(manifest: Path) -> set[str]:
    return {entry["md5"] for entry in json.loads(manifest.read_bytes())["files"]}


@pytest.mark.cca_simulator(days=10, files_per_day=3, recovered=False)
@pytest.mark.parametrize("created", ["03/01/2019T01:00:00+0000", "04/03/2019/2020T08:43:18+0000", None])
def test_a_file_lands_under_the_date_that_it_was_listed_for(sim, run, day, tmp_path, created) -> None:
    """Whatever its createdOn says, and if it says nothing that can be read."""

    def edit(asked, answer):
        for item in answer.get("items", ())[-1:]:
            item["createdOn"] = created
        return answer

    sim.edit_answer = edit
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=str(tmp_path))
    result = run(operator, day)
    folder = tmp_path / f"cdr_compressed/creation_date={day}"
    assert (result["files"], result["manifest"]) == (3, str(folder / "_manifest.json"))
    assert landed(tmp_path) == truth(sim, "cdr_compressed", day, day)
    entries = json.loads((folder / "_manifest.json").read_bytes())["files"]
    recorded = {entry["created_on"] for entry in entries}
    assert ("2019-03-01T01:00:00Z" if created == "03/01/2019T01:00:00+0000" else None) in recorded
    assert run(operator, day)["downloaded"] == 0


@pytest.mark.cca_simulator(days=40, quirks=False)
def test_a_date_of_a_range_that_cannot_be_listed_holds_back_itself_alone(sim, run, tmp_path) -> None:
    first, bad, last = (str(sim.world.today - timedelta(days=back)) for back in (30, 12, 1))
    spoilt = {file.id for file in sim.truth("cdr_compressed", bad, bad)}

    def edit(asked: Any, answer: dict[str, Any]) -> dict[str, Any]:
        items = [{**i, "checksum": None} if i.get("id") in spoilt else i for i in answer.get("items", ())]
        return {**answer, "items": items} if "items" in answer else answer

    sim.edit_answer = edit
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", partition=first, partition_end=last, destination=str(tmp_path)
    )
    with pytest.raises(AirflowFailException, match=rf"PartlyLanded: 1 of 30 .* cdr_compressed {bad}\."):
        run(operator)
    assert landed(tmp_path) == truth(sim, "cdr_compressed", first, last) - truth(
        sim, "cdr_compressed", bad, bad
    )
    assert not (tmp_path / f"cdr_compressed/creation_date={bad}").exists()


@pytest.mark.cca_simulator(days=30, sites=2)
@pytest.mark.parametrize("report", ["cdr_compressed", "cdr"])
def test_a_range_lands_though_its_last_date_is_still_being_made(sim, run, tmp_path, report) -> None:
    """And the next attempt lands that one."""
    first, last = (str(sim.world.today - timedelta(days=back)) for back in (9, 0))
    sites = {"site": sim.world.sites} if report == "cdr" else {}
    span = {"partition": first, "partition_end": last, **sites}
    operator = CcaToObjectStorageOperator(task_id="t", report=report, destination=str(tmp_path), **span)
    up_to_today = {"creationEndDate": sim.world.today.strftime("%m%d%Y")}
    sim.inject(StillProcessing(), Match(call=report, query=up_to_today), times=None)
    with pytest.raises(
        PartlyLanded, match=rf"could not be listed, the others were: {report}.* {last}\b"
    ) as told:
        run(operator)
    assert told.value.retryable
    names = {path.parent.name for path in tmp_path.rglob("_manifest.json")}
    assert names == {f"creation_date={sim.world.today - timedelta(days=back)}" for back in range(1, 10)}
    sim.faults.clear()
    assert run(operator)["partitions"] == 10 * max(len(sites and sim.world.sites), 1)


@pytest.mark.cca_simulator(days=365, recovered=False, quirks=False)
def test_a_range_whose_beginning_has_expired_lands_what_is_left(sim, run, tmp_path) -> None:
    """And its oldest dates, of which nothing is listed any more, get no manifests."""
    first, oldest, last = (str(sim.world.today - timedelta(days=back)) for back in (367, 365, 360))
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", partition=first, partition_end=last, destination=str(tmp_path)
    )
    assert run(operator)["partition"] == first
    assert not (tmp_path / f"cdr_compressed/creation_date={first}").exists()
    assert landed(tmp_path) == truth(sim, "cdr_compressed", oldest, last)


@pytest.mark.cca_simulator(days=366, recovered=False, quirks=False)
def test_a_range_of_which_one_date_is_left_is_told_as_a_range(sim, run, tmp_path) -> None:
    """Who asked for several dates reads `partition_end`, whatever has expired meanwhile."""
    sim.now = lambda: today().replace(hour=0)  # the files of the oldest day are still there
    first, oldest = (str(today().date() - timedelta(days=back)) for back in (366, 365))
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", partition=first, partition_end=oldest, destination=str(tmp_path)
    )
    told = run(operator)
    assert (told["partition"], told["partition_end"], told["partitions"]) == (first, oldest, 1)


def test_a_landing_ends_in_a_line_that_says_where_and_how_much(
    sim, run, day, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    operator = CcaToObjectStorageOperator(
        task_id="t", report="cdr_compressed", partition=day, destination=str(tmp_path)
    )
    size = in_units(run(operator)["bytes"])
    where = f"{tmp_path}/cdr_compressed/creation_date={day}"
    assert re.fullmatch(
        rf"Landed in {where}: 1 partition with 1 file, {size}; downloaded 1 file, {size} in \d+\.\d s "
        r"\(\d+\.\d MB/s\)",
        caplog.messages[-1],
    )
    run(operator)
    assert "; downloaded 0 files, 0 B in" in caplog.messages[-1]
