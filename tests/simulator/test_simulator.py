"""The simulator against the API document: every expectation here is written out from its text."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from urllib3.exceptions import ProtocolError

from airflow_provider_cca import simulator
from airflow_provider_cca.simulator import (
    ODD_SITES,
    BadJson,
    CutAfter,
    Delay,
    Hang,
    Match,
    NoLength,
    Redirect,
    Reset,
    Rule,
    Simulator,
    Status,
    StillProcessing,
    TokenExpired,
    Trickle,
    TruncatedJson,
    World,
    WrongBytes,
)

ROOT = Path(simulator.__file__).parents[2]
MARCH = {"creationStartDate": "03252019", "creationEndDate": "04232019"}
ONE_DAY = {"creationStartDate": "04012019", "creationEndDate": "04012019"}
COMPRESSED = "/v1/cdr/daily/compression/files"
SITE = "/v1/cdr/meridian0001"


class Api:
    """Plain requests with a token."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.session = requests.Session()
        self.login()

    def login(self) -> None:
        self.session.headers["Authorization"] = f"Bearer {token(self.sim).json()['accessToken']}"

    def get(self, path: str, **params: object) -> requests.Response:
        url = path if "://" in path else self.sim.api_root + path
        return self.session.get(url, params=params, timeout=10)

    def items(self, path: str, **params: object) -> list[dict]:
        answer = self.get(path, **{"size": 1000, **params})
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]


def token(sim: Simulator, name: str | None = None, password: str | None = None) -> requests.Response:
    body = {"accountName": name or sim.account, "accountPassword": password or sim.password}
    return requests.post(f"{sim.api_root}/v1/oauth/token", json=body, timeout=10)


def message(answer: requests.Response) -> str:
    return answer.json()["message"]


@pytest.fixture
def sim():
    with Simulator(seed=2, days=30, sites=3, today="2019-04-23").serve() as running:
        yield running


@pytest.fixture
def api(sim):
    made = Api(sim)
    with closing(made.session):
        yield made


# §3.3 Tokens


def test_a_token_is_answered_in_camel_case_with_its_seconds(sim):
    answer = token(sim).json()
    assert answer.keys() == {"tokenType", "accessToken", "expiresIn"}
    assert (answer["tokenType"], answer["expiresIn"]) == ("Bearer", 43199)


@pytest.mark.parametrize(("name", "password"), [(None, "wrong"), ("nobody", None)])
def test_a_wrong_password_or_name_is_401(sim, name, password):
    assert token(sim, name, password).status_code == 401


def test_a_login_that_is_no_json_is_406(sim):
    answer = requests.post(f"{sim.api_root}/v1/oauth/token", data="accountName=a", timeout=10)
    assert (answer.status_code, message(answer)) == (406, "Invalid parameter. Please check the parameter.")


@pytest.mark.parametrize("header", [None, "Bearer made-up", "Basic abc", "Bearer"])
def test_without_a_valid_token_every_call_is_401(sim, header):
    headers = {"Authorization": header} if header else {}
    for path in ("/v1/cdr", SITE, COMPRESSED, "/v1/peakport/daily", "/v1/peakport/files/x", "/v1/cca-site"):
        answer = requests.get(sim.api_root + path, headers=headers, timeout=10)
        assert (answer.status_code, message(answer)) == (401, "Unauthorized")


def test_a_token_ends_when_its_lifetime_is_over(sim, api):
    sim.now.advance(43198)
    assert api.get("/v1/cdr").status_code == 200
    sim.now.advance(2)
    assert api.get("/v1/cdr").status_code == 401


# §3.5.1 Sites


def test_the_sites_are_listed_with_their_last_update(api):
    answer = api.get("/v1/cdr").json()
    assert {name: answer[name] for name in ("total", "from", "size")} == {"total": 3, "from": 0, "size": 3}
    assert [item["siteName"] for item in answer["items"]] == ["meridian0001", "meridian0002", "meridian0003"]
    assert re.fullmatch(r"\d\d/\d\d/\d{4}T00:00:00\+0000", answer["items"][0]["lastSiteUpdate"])


# §3.1, §3.5.1: Paging


def test_a_page_holds_30_unless_asked_otherwise(sim):
    sim.world.sites = [f"site{n}" for n in range(70)]
    pages = [Api(sim).get("/v1/cdr", **{"from": start}).json() for start in (0, 30, 60, 90)]
    assert [(page["from"], page["size"], page["total"]) for page in pages] == [
        (0, 30, 70),
        (30, 30, 70),
        (60, 10, 70),
        (90, 0, 70),
    ]
    assert [item["siteName"] for page in pages for item in page["items"]] == sim.world.sites


def test_the_server_may_serve_fewer_than_asked(sim, api):
    sim.max_page_size = 7
    answer = api.get(COMPRESSED, size=1000, **MARCH).json()
    assert (answer["size"], len(answer["items"])) == (7, 7)
    assert answer["total"] >= 30


@pytest.mark.parametrize("bad", [{"size": 0}, {"size": 1001}, {"size": "x"}, {"from": -1}, {"from": "1.5"}])
def test_a_page_out_of_bounds_is_406(api, bad):
    for path, dates in (("/v1/cdr", {}), (SITE, {}), (COMPRESSED, MARCH)):
        assert api.get(path, **dates, **bad).status_code == 406


# §3.5.2 to §3.5.4 CDR files of one site


def test_a_new_cdr_file_has_its_link_under_a_and_its_name_in_the_metadata(sim, api):
    item = api.items(SITE)[-1]
    assert list(item) == [
        "id",
        "createdOn",
        "a",
        "fileSize",
        "checksum",
        "type",
        "expiredOn",
        "downloadAttempts",
        "metadata",
    ]
    assert item["a"] == f"http://127.0.0.2:{sim.port}/pcs/api/v1/cdr/meridian0001/{item['id']}"
    assert item["metadata"] == [
        {"key": "lastConferencaDate", "value": "04-22-2019"},
        {"key": "humanReadableFileName", "value": "meridian0001_CCA_SP_CDR_Daily_20190422.csv"},
    ]
    assert (item["type"], item["downloadAttempts"]) == ("daily", 0)


def test_a_downloaded_cdr_file_is_no_longer_new_but_still_archived(api):
    new = api.items(SITE)
    api.get(new[0]["a"])
    assert [item["id"] for item in api.items(SITE)] == [item["id"] for item in new[1:]]
    archived = api.items(SITE, **MARCH)
    assert [item["downloadAttempts"] for item in archived[:2]] == [1, 0]


def test_meeting_end_dates_and_creation_dates_are_a_day_apart(api):
    by_meeting = api.items(SITE, startDate="04012019", endDate="04012019")
    by_creation = api.items(SITE, creationStartDate="04022019", creationEndDate="04022019")
    assert by_meeting == by_creation
    assert by_meeting[0]["createdOn"].startswith("04/02/2019T07:24:")
    assert by_meeting[0]["metadata"][0]["value"] == "04-01-2019"
    assert "downloadLink" in by_meeting[0]


def test_one_end_of_the_range_is_enough_for_cdr_files(api):
    assert len(api.items(SITE, creationStartDate="04222019")) == 2
    assert len(api.items(SITE, endDate="03252019")) == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "monthly"},
        {"startDate": "2019-04-01"},
        {"startDate": "13012019"},
        {"endDate": "02302019"},
        {"creationStartDate": "0401201"},
        {"creationStartDate": "04022019", "creationEndDate": "04012019"},
        {"startDate": "04012019", "creationEndDate": "04022019"},
    ],
)
def test_a_wrong_type_or_date_is_406(api, bad):
    answer = api.get(SITE, **bad)
    assert (answer.status_code, message(answer)) == (406, "Invalid parameter. Please check the parameter.")


def test_an_unknown_site_is_406(api):
    assert api.get("/v1/cdr/nowhere").status_code == 406


def test_odd_site_names_work_when_they_are_percent_encoded():
    with Simulator(days=1, sites=ODD_SITES).serve() as sim:
        api = Api(sim)
        assert [item["siteName"] for item in api.items("/v1/cdr")] == list(ODD_SITES)
        for name in ODD_SITES:
            (item,) = api.items(f"/v1/cdr/{quote(name, safe='')}")
            body = api.get(item["a"])
            assert hashlib.md5(body.content).hexdigest() == item["checksum"]
            assert item["metadata"][1]["value"].startswith(f"{name}_CCA_SP_CDR_Daily_")


# §3.5.5 Compressed files


def test_a_compressed_file_is_listed_with_its_name_and_link(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    assert list(item) == [
        "id",
        "createdOn",
        "downloadLink",
        "fileSize",
        "fileName",
        "checksum",
        "type",
        "expiredOn",
        "downloadAttempts",
    ]
    assert item["fileName"] == "CCA_SP_CDR_Daily_20190331.zip"
    assert item["createdOn"].startswith("04/01/2019T07:24:")
    assert item["downloadLink"] == f"http://127.0.0.2:{sim.port}/pcs/api{COMPRESSED}/{item['id']}"


@pytest.mark.parametrize(
    "bad", [{}, {"creationStartDate": "04012019"}, {"creationEndDate": "04012019"}, {**MARCH, "size": 0}]
)
def test_compressed_files_need_both_dates(api, bad):
    answer = api.get(COMPRESSED, **bad)
    assert (answer.status_code, message(answer)) == (406, "Invalid site name or site id")


def test_some_days_have_a_recovered_file_and_some_of_these_share_a_name(api):
    with Simulator(days=300, sites=1, today="2019-04-23").serve() as sim:
        items = Api(sim).items(COMPRESSED, creationStartDate="01012018", creationEndDate="12312019")
        assert 310 < len(items) < 380
        assert len({item["id"] for item in items}) == len(items)
        assert len({item["fileName"] for item in items}) < len(items)


# §3.5.6, §3.5.7, §3.6.3 Downloads


def test_a_compressed_file_is_a_zip_of_every_sites_csv(api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    answer = api.get(item["downloadLink"])
    assert answer.headers["Content-Type"] == "application/zip"
    assert len(answer.content) == item["fileSize"]
    assert hashlib.md5(answer.content).hexdigest() == item["checksum"]
    inside = zipfile.ZipFile(io.BytesIO(answer.content))
    assert inside.testzip() is None
    assert inside.namelist() == [f"meridian000{n}_CCA_SP_CDR_Daily_20190331.csv" for n in (1, 2, 3)]
    (single,) = api.items(SITE, **ONE_DAY)
    assert inside.read(inside.namelist()[0]) == api.get(single["downloadLink"]).content


def test_both_forms_of_the_compressed_link_give_the_same_file(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    by_zip, by_files = api.get(f"/v1/cdr/zip/{item['id']}"), api.get(item["downloadLink"])
    assert by_zip.status_code == 200
    assert by_zip.content == by_files.content
    sim.zip_links = True
    assert api.items(COMPRESSED, **ONE_DAY)[0]["downloadLink"].endswith(f"/pcs/api/v1/cdr/zip/{item['id']}")


def test_unknown_ids_and_other_sites_ids_are_406(api):
    (item,) = api.items(SITE, **ONE_DAY)
    paths = [
        f"/v1/cdr/meridian0002/{item['id']}",
        f"/v1/cdr/nowhere/{item['id']}",
        f"{COMPRESSED}/{item['id']}",
        f"{SITE}/c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
        f"{COMPRESSED}/c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
        "/v1/peakport/files/not-a-uuid",
    ]
    for path in paths:
        answer = api.get(path)
        assert (answer.status_code, message(answer)) == (406, "Invalid site name or site id")


def test_a_file_gives_itself_999_times_and_then_403(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.world.attempts[item["id"]] = 998
    assert api.get(item["downloadLink"]).status_code == 200
    refused = api.get(item["downloadLink"])
    assert refused.status_code == 403
    assert message(refused) == "File download times exceeds the maximum File Download attempts"
    assert api.items(COMPRESSED, **ONE_DAY)[0]["downloadAttempts"] == 999


def test_after_365_days_a_file_is_neither_listed_nor_given(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.now.set(datetime(2020, 4, 2, tzinfo=UTC))
    api.login()
    assert api.items(COMPRESSED, **ONE_DAY) == []
    refused = api.get(item["downloadLink"])
    assert (refused.status_code, message(refused)) == (403, "File expired for download")


def test_a_world_of_400_days_lists_the_last_365():
    with Simulator(days=400, sites=1, today="2019-04-23", recovered=False).serve() as sim:
        items = Api(sim).items(COMPRESSED, creationStartDate="01012018", creationEndDate="12312019")
        assert len(items) == 365


def test_a_file_that_is_still_to_be_made_is_403(sim, api):
    late = sim.world.add("cdr_compressed", "2019-04-24", b"later")
    refused = api.get(f"{COMPRESSED}/{late.id}")
    assert refused.status_code == 403
    assert message(refused) == "File not available for download when daily generation in progress"
    sim.now.advance(timedelta(days=1))
    api.login()
    assert api.get(f"{COMPRESSED}/{late.id}").content == b"later"


# §3.6 Peak ports


@pytest.mark.parametrize("level", ["site", "customer", "partner"])
def test_daily_peak_port_files_are_named_by_their_level(sim, api, level):
    (item,) = api.items("/v1/peakport/daily", level=level, **ONE_DAY)
    assert item["fileName"] == f"Annuity_CCA_SP_Peak_Port_Usage_{level.title()}_Daily_20190331.csv"
    assert item["type"] == "daily"
    assert item["downloadLink"] == f"http://127.0.0.2:{sim.port}/pcs/api/v1/peakport/files/{item['id']}"
    body = api.get(item["downloadLink"])
    assert hashlib.md5(body.content).hexdigest() == item["checksum"]
    assert body.headers["Content-Type"] == "text/csv"


@pytest.mark.parametrize("level", ["site", "customer", "partner"])
def test_monthly_peak_port_files_are_made_early_in_the_month_after(api, level):
    months = {"creationStartMonth": "042019", "creationEndMonth": "042019"}
    (item,) = api.items("/v1/peakport/monthly", level=level, **months)
    assert item["fileName"] == f"Annuity_CCA_SP_Peak_Port_Usage_{level.title()}_Calendar_Monthly_201903.csv"
    assert item["type"] == "monthly"
    assert re.match(r"0?4/0[345]/2019T07:24:", item["createdOn"])
    body = api.get(item["downloadLink"])
    assert hashlib.md5(body.content).hexdigest() == item["checksum"]


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("daily", ONE_DAY),
        ("daily", {**ONE_DAY, "level": "Site"}),
        ("daily", {"level": "site"}),
        ("daily", {"level": "site", "creationStartDate": "042019", "creationEndDate": "042019"}),
        ("monthly", {"level": "site", **ONE_DAY}),
        ("monthly", {"level": "site", "creationStartMonth": "132019", "creationEndMonth": "132019"}),
        ("monthly", {"level": "site", "creationStartMonth": "042019", "creationEndMonth": "032019"}),
        ("monthly", {"level": "site", "creationStartMonth": "042019"}),
    ],
)
def test_peak_ports_need_a_level_and_a_range(api, path, bad):
    answer = api.get(f"/v1/peakport/{path}", **bad)
    assert (answer.status_code, message(answer)) == (406, "Invalid site name or site id")


# §3.7 The site list


def test_the_site_list_is_separated_by_pipes_and_ends_in_its_total(api):
    answer = api.get("/v1/cca-site")
    lines = answer.text.splitlines()
    assert lines[0] == (
        "SITENAME|SITEURL|SITEID|SITEUUID|SUBSCRIPTIONREFID|"
        "SUBSCRIPTIONSTARTTIME|SUBSCRIPTIONENDTIME|LASTSITEUPDATE"
    )
    assert len(lines) == 5
    assert lines[1].startswith("meridian0001|meridian0001.webex.com|")
    assert {line.count("|") for line in lines[:-1]} == {7}
    assert lines[-1] == "Total:3"
    assert answer.headers["Content-Type"] == "text/csv"
    assert "CCA_SITES_LIST_20190423.csv" in answer.headers["Content-Disposition"]


def test_the_site_list_can_lie_about_its_total(sim, api):
    sim.world.site_list_total = 9
    assert api.get("/v1/cca-site").text.splitlines()[-1] == "Total:9"


# §3.1 Twenty connections


def test_twenty_at_once_are_served_and_the_twenty_first_is_429(sim):
    api = Api(sim)
    sim.inject(Hang(), "sites", times=20)
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(Api.get, api, "/v1/cdr") for _ in range(20)]
        sim.wait_open(20)
        refused = api.get(COMPRESSED, **ONE_DAY)
        another = Api(sim).get("/v1/cdr")
        sim.release()
        served = [each.result().status_code for each in waiting]
    assert refused.status_code == 429
    assert message(refused) == (
        "Too many requests (the Peak Port file download threads cannot exceed the Max Concurrent Connection.)"
    )
    assert another.status_code == 200
    assert served == [200] * 20
    assert sim.peak_connections == 20


def test_a_client_with_exactly_twenty_never_meets_a_429(sim, api):
    links = [item["downloadLink"] for item in api.items(COMPRESSED, **MARCH)]
    value = api.session.headers["Authorization"]

    def load(_: int) -> set[int]:
        with requests.Session() as session:
            session.headers["Authorization"] = value
            return {session.get(link, timeout=10).status_code for link in links}

    with ThreadPoolExecutor(20) as pool:
        assert set.union(*pool.map(load, range(20))) == {200}
    assert sim.count(status=429) == 0
    assert sim.peak_connections <= 20


def test_a_client_that_hangs_up_gives_its_connection_back(sim, api):
    sim.max_connections = 1
    sim.inject(Hang(after=10), "download")
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    with api.session.get(item["downloadLink"], stream=True, timeout=10) as half:
        assert half.raw.read(10)
        assert api.get("/v1/cdr").status_code == 429
    sim.wait_idle()
    assert api.get("/v1/cdr").status_code == 200
    assert [line.complete for line in sim.log(call="download")] == [False]


# The world


def test_the_same_seed_gives_the_same_bytes_for_ever():
    world = World(seed=2, days=2, sites=2, today=date(2019, 4, 1))
    (file,) = world.files("cdr_compressed", first=date(2019, 4, 1))
    assert file.id == "c7db4da9-0625-f620-6876-0b90798364f3"
    assert (world.size(file), world.md5(file)) == (3557, "ac763ae7093418ce418c4e5331c01724")
    (csv,) = world.files("cdr", "meridian0001", date(2019, 4, 1))
    assert world.md5(csv) == "b4faebe4ed26cecca9d11069679ca40e"


def test_another_seed_is_another_world():
    first, second = (World(seed=seed, days=1, sites=1).files("cdr", "meridian0001")[0] for seed in (1, 2))
    assert first.id != second.id
    assert first.source.build() != second.source.build()


def test_an_id_given_out_before_a_restart_still_leads_to_its_file(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    with Simulator(seed=2, days=30, sites=3, today="2019-04-23").serve() as again:
        body = Api(again).get(f"{COMPRESSED}/{item['id']}")
        assert hashlib.md5(body.content).hexdigest() == item["checksum"]


def test_a_few_stamps_are_as_odd_as_in_the_document(sim):
    with Simulator(days=365, sites=1, today="2019-04-23").serve() as long:
        items = Api(long).items(COMPRESSED, creationStartDate="01012018", creationEndDate="12312019")
    usual = re.compile(r"\d\d/\d\d/\d{4}T\d\d:\d\d:\d\d\+0000")
    no_zero = [i["createdOn"] for i in items if not usual.fullmatch(i["createdOn"])]
    two_years = [i["expiredOn"] for i in items if not usual.fullmatch(i["expiredOn"])]
    assert no_zero
    assert all(re.fullmatch(r"\d/\d\d/\d{4}T07:\d\d:\d\d\+0000", text) for text in no_zero)
    assert two_years
    assert all(re.fullmatch(r"\d\d/\d\d/\d{4}/\d{4}T07:\d\d:\d\d\+0000", text) for text in two_years)


def test_ten_thousand_sites_and_400_days_cost_nothing_until_they_are_asked_for():
    with Simulator(days=400, sites=10_000).serve() as sim:
        api = Api(sim)
        assert api.get("/v1/cdr", size=1000, **{"from": 9000}).json()["size"] == 1000
        assert len(api.items("/v1/cdr/meridian9999")) == 365


@pytest.mark.parametrize("size", [10, 50_000, 300_000, 3_000_001])
def test_files_can_have_any_size(size):
    with Simulator(days=1, sites=1, file_size=size, recovered=False).serve() as sim:
        api, today = Api(sim), f"{sim.world.today:%m%d%Y}"
        items = api.items(COMPRESSED, creationStartDate=today, creationEndDate=today) + api.items(SITE)
        for item in items:
            body = api.get(item.get("downloadLink") or item["a"]).content
            assert len(body) == item["fileSize"]
            assert hashlib.md5(body).hexdigest() == item["checksum"]
        # Nothing smaller than its own frame is a zip.
        assert [item["fileSize"] for item in items][1:] == [size]
        if size > 1000:
            assert items[0]["fileSize"] == size


def test_many_files_a_day_are_paged_in_a_stable_order():
    with Simulator(days=1, sites=1, files_per_day=2500, file_size=2000, recovered=False).serve() as sim:
        api, today = Api(sim), f"{sim.world.today:%m%d%Y}"
        query = {"creationStartDate": today, "creationEndDate": today}
        pages = [api.items(COMPRESSED, **query, **{"from": start}) for start in (0, 1000, 2000)]
        assert [len(page) for page in pages] == [1000, 1000, 500]
        assert len({item["id"] for page in pages for item in page}) == 2500
        assert len({item["checksum"] for page in pages for item in page}) == 2500


def test_the_truth_is_what_is_listed(sim, api):
    items = api.items(COMPRESSED, **MARCH)
    truth = sim.truth("cdr_compressed")
    assert [(t.id, t.name, t.size, t.md5) for t in truth] == [
        (i["id"], i["fileName"], i["fileSize"], i["checksum"]) for i in items
    ]
    assert truth[0].creation_date == date(2019, 3, 25)
    assert [t.key for t in sim.truth("cdr", "2019-04-01", "2019-04-02", site="meridian0002")] == [
        "meridian0002",
        "meridian0002",
    ]
    assert len(sim.truth("peak_port_daily", "2019-04-01", level="site")) == 23
    assert len(sim.truth("peak_port_monthly", level="partner")) == 1


def test_the_site_lists_truth_is_its_content(sim, api):
    (truth,) = sim.truth("site_list")
    content = api.get("/v1/cca-site").content
    assert (truth.name, truth.size) == ("CCA_SITES_LIST_20190423.csv", len(content))
    assert truth.md5 == hashlib.md5(content).hexdigest()


# Changing the world


def test_files_can_be_added_with_any_name_and_declaration(sim, api):
    sim.world.add("cdr_compressed", "2019-04-01", b"hello", name="../evil\n.zip", size=-1, md5="no hash")
    sim.world.add("cdr_compressed", "2019-04-01", b"hello", id="twice", created_on="yesterday")
    sim.world.add("cdr_compressed", "2019-04-01", b"other", id="twice")
    items = {item["id"]: item for item in api.items(COMPRESSED, **ONE_DAY)}
    evil = next(item for item in items.values() if item["fileName"] == "../evil\n.zip")
    assert (evil["fileSize"], evil["checksum"]) == (-1, "no hash")
    assert api.get(evil["downloadLink"]).content == b"hello"
    assert [f.created_on for f in sim.world.added[1:]] == ["yesterday", "04/01/2019T07:24:00+0000"]
    assert [t.size for t in sim.truth("cdr_compressed", "2019-04-01", "2019-04-01") if t.id == "twice"] == [5]


def test_files_can_be_removed_and_replaced(sim, api):
    first, second = sim.world.files("cdr", "meridian0001")[:2]
    sim.world.remove(first)
    sim.world.replace(second, b"short", name="renamed.csv")
    items = api.items(SITE, **MARCH)
    assert first.id not in [item["id"] for item in items]
    assert api.get(f"{SITE}/{first.id}").status_code == 406
    (renamed,) = [item for item in items if item["id"] == second.id]
    assert renamed["metadata"][1]["value"] == "renamed.csv"
    assert renamed["fileSize"] == 5
    assert api.get(renamed["downloadLink"]).content == b"short"
    assert len(items) == 29


def test_a_hook_changes_the_world_while_it_is_being_paged(sim, api):
    def grow(asked):
        if asked.query.get("from") == "10":
            sim.world.add("cdr_compressed", "2019-04-01", b"new")

    sim.before_answer = grow
    totals = [api.get(COMPRESSED, size=10, **{"from": n}, **MARCH).json()["total"] for n in (0, 10, 20)]
    assert totals == [totals[0], totals[0] + 1, totals[0] + 1]


def test_an_answer_can_be_edited_before_it_leaves(sim, api):
    def lie(asked, document):
        return {**document, "total": 10**6} if asked.name == "cdr" else document

    sim.edit_answer = lie
    assert api.get(SITE).json()["total"] == 1_000_000
    assert api.get("/v1/cdr").json()["total"] == 3


def test_links_rotate_over_the_download_hosts(sim, api):
    sim.download_hosts = ["127.0.0.2", "localhost:1", "https://webex.com@evil.example"]
    links = [item["downloadLink"] for item in api.items(COMPRESSED, **MARCH)[:4]]
    assert [link.partition("/pcs/api")[0] for link in links] == [
        f"http://127.0.0.2:{sim.port}",
        "http://localhost:1",
        "https://webex.com@evil.example",
        f"http://127.0.0.2:{sim.port}",
    ]


def test_the_key_of_the_link_can_be_another(sim, api):
    sim.link_key = "link"
    assert "link" in api.items(SITE)[0]
    assert "link" in api.items(COMPRESSED, **ONE_DAY)[0]


# The log


def test_the_log_says_what_was_asked_and_never_the_password(sim, api):
    api.get("/v1/cdr", size=2)
    (line,) = sim.log("GET", "/v1/cdr")
    assert (line.call, line.status, line.query, line.account) == ("sites", 200, {"size": "2"}, sim.account)
    assert (line.token, line.host, line.complete) == (1, f"127.0.0.1:{sim.port}", True)
    assert line.sent > 50
    assert line.started <= line.ended
    assert sim.count("POST", "/v1/oauth/token") == 1
    assert sim.count(call="list") == 1
    assert sim.password not in repr(sim.requests)
    assert api.session.headers["Authorization"].split()[1] not in repr((sim.requests, sim.tokens.values()))


# Faults


def test_a_status_fault_strikes_so_many_times(sim, api):
    rule = sim.inject(Status(503, retry_after=2), "cdr_compressed", times=2)
    answers = [api.get(COMPRESSED, **ONE_DAY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["2", "2", None]
    assert rule.hits == 2
    assert [line.faults for line in sim.log(call="list")] == [("Status",), ("Status",), ()]


def test_faults_that_answer_come_one_after_the_other(sim, api):
    sim.inject(Status(500, body=b"oops", content_type="text/plain"))
    sim.inject(Status(502))
    assert [api.get("/v1/cdr").status_code for _ in range(3)] == [500, 502, 200]


def test_a_fault_strikes_only_what_it_matches(sim, api):
    sim.inject(Status(500), Match(call="cdr", query={"from": "30"}), times=None)
    sim.inject(Status(502), r"^/v1/cdr/meridian0002$", times=None)
    sim.inject(Status(504), Match(method="POST"), times=None)
    assert api.get(SITE).status_code == 200
    assert api.get(SITE, **{"from": 30}).status_code == 500
    assert api.get("/v1/cdr/meridian0002").status_code == 502
    assert token(sim).status_code == 504


def test_a_match_that_names_no_call_and_no_path_is_an_error(sim):
    with pytest.raises(ValueError, match="donwload"):
        sim.inject(Reset(), "donwload")


def test_a_fault_can_pass_some_and_strike_every_third(sim, api):
    sim.faults.append(Rule(Status(500), Match(call="sites"), times=2, skip=1, every=3))
    statuses = [api.get("/v1/cdr").status_code for _ in range(12)]
    assert statuses == [200, 200, 200, 500, 200, 200, 500, 200, 200, 200, 200, 200]


def test_delay_and_latency_come_before_the_answer(sim, api):
    sim.latency = 0.05
    sim.inject(Delay(0.1), "sites")
    assert api.get("/v1/cdr").elapsed >= timedelta(seconds=0.15)
    assert timedelta(seconds=0.05) <= api.get("/v1/cdr").elapsed
    assert token(sim).status_code == 200


@pytest.mark.parametrize(
    ("path", "params", "status", "words"),
    [
        (SITE, {}, 412, "The daily CDR report for this site is still processing, try again later."),
        (COMPRESSED, ONE_DAY, 403, "File not available for download when daily generation in progress"),
        (
            "/v1/peakport/daily",
            {"level": "site", **ONE_DAY},
            412,
            "File not available for download when daily generation in progress",
        ),
        (f"{COMPRESSED}/x", {}, 403, "File not available for download when daily generation in progress"),
        (f"{SITE}/x", {}, 403, "File not available for download when daily CDR generation in progress"),
        (
            "/v1/peakport/files/x",
            {},
            403,
            "Peak Port file not available for download when daily generation in progress",
        ),
    ],
)
def test_still_processing_is_412_or_403_by_the_call(sim, api, path, params, status, words):
    sim.inject(StillProcessing(retry_after=60))
    answer = api.get(path, **params)
    assert (answer.status_code, message(answer)) == (status, words)
    assert answer.headers["Retry-After"] == "60"


def test_still_processing_ends_at_its_time(sim, api):
    sim.inject(StillProcessing(until=sim.now() + timedelta(hours=1), status=412))
    assert [api.get(COMPRESSED, **ONE_DAY).status_code for _ in range(3)] == [412, 412, 412]
    sim.now.advance(3601)
    assert api.get(COMPRESSED, **ONE_DAY).status_code == 200


def test_still_processing_leaves_logins_and_sites_alone(sim, api):
    sim.inject(StillProcessing(), times=None)
    assert token(sim).status_code == 200
    assert api.get("/v1/cdr").status_code == 200


def test_a_token_expires_in_the_middle_and_another_works(sim, api):
    sim.inject(TokenExpired(), "sites")
    assert [api.get("/v1/cdr").status_code for _ in range(2)] == [401, 401]
    api.login()
    assert api.get("/v1/cdr").status_code == 200


def test_bad_and_truncated_json_come_with_status_200(sim, api):
    sim.inject(BadJson(), "sites")
    sim.inject(TruncatedJson(), "sites")
    for _ in range(2):
        answer = api.get("/v1/cdr")
        assert answer.status_code == 200
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
    assert api.get("/v1/cdr").json()["total"] == 3


def test_a_redirect_leads_to_where_it_says(sim, api):
    sim.inject(Redirect(f"http://127.0.0.2:{sim.port}{{path}}"), "sites")
    answer = api.get("/v1/cdr", size=2)
    assert answer.url == f"http://127.0.0.2:{sim.port}/pcs/api/v1/cdr?size=2"
    assert [line.host for line in sim.log(call="sites")] == [
        f"127.0.0.1:{sim.port}",
        f"127.0.0.2:{sim.port}",
    ]


def test_a_reset_comes_before_any_answer(sim, api):
    sim.inject(Reset(), "sites")
    with pytest.raises(requests.ConnectionError, match="reset"):
        api.get("/v1/cdr")
    assert api.get("/v1/cdr").status_code == 200
    assert sim.log(call="sites")[0].status == 0


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_gives_so_many_bytes_and_no_more(sim, api, reset):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.inject(CutAfter(1000, reset=reset), "download")
    with api.session.get(item["downloadLink"], stream=True, timeout=10) as answer:
        assert answer.headers["Content-Length"] == str(item["fileSize"])
        assert len(answer.raw.read(1000)) == 1000
        with pytest.raises(ProtocolError):
            answer.raw.read(1)
    sim.wait_idle()
    assert [(line.sent, line.complete) for line in sim.log(call="download")] == [(1000, False)]


def test_a_cut_is_always_before_the_end(sim, api):
    sim.inject(CutAfter(10**9), "sites")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        api.get("/v1/cdr")


def test_wrong_bytes_are_as_many_as_the_right_ones(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.inject(WrongBytes(), "download_compressed")
    wrong, right = (api.get(item["downloadLink"]).content for _ in range(2))
    assert len(wrong) == len(right) == item["fileSize"]
    assert sum(a != b for a, b in zip(wrong, right, strict=True)) == 1
    assert hashlib.md5(right).hexdigest() == item["checksum"]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_may_come_without_its_length(sim, api, chunked):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.inject(NoLength(chunked=chunked), "download")
    answer = api.get(item["downloadLink"])
    assert "Content-Length" not in answer.headers
    assert ("Transfer-Encoding" in answer.headers) is chunked
    assert hashlib.md5(answer.content).hexdigest() == item["checksum"]
    assert api.get(item["downloadLink"]).status_code == 200


def test_a_cut_of_a_body_that_ends_with_its_connection_looks_like_its_end(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.inject(NoLength(chunked=False), "download")
    sim.inject(CutAfter(100), "download")
    assert len(api.get(item["downloadLink"]).content) == 100


def test_a_hang_stalls_until_it_is_released(sim, api):
    (item,) = api.items(COMPRESSED, **ONE_DAY)
    sim.inject(Hang(after=100), "download", times=None)
    with pytest.raises(requests.ConnectionError):
        api.session.get(item["downloadLink"], timeout=0.2)
    sim.wait_idle()
    answer = api.session.get(item["downloadLink"], stream=True, timeout=10)
    assert len(answer.raw.read(100)) == 100
    sim.release()
    assert len(answer.raw.read()) == item["fileSize"] - 100


def test_a_trickle_takes_its_time(sim, api):
    sim.world.add("cdr_compressed", "2019-04-01", b"x" * 1000, id="slow")
    sim.inject(Trickle(5000), "download")
    with api.session.get(f"{sim.api_root}{COMPRESSED}/slow", stream=True, timeout=10) as answer:
        started = answer.elapsed
        assert len(answer.content) == 1000
    (line,) = sim.log(call="download")
    assert line.ended - line.started >= 0.15
    assert started < timedelta(seconds=0.15)


# Running


def test_what_hangs_does_not_keep_the_server_from_stopping():
    with Simulator(days=1).serve() as sim:
        api = Api(sim)
        sim.inject(Hang(), "sites")
        failed = []

        def ask():
            try:
                api.get("/v1/cdr")
            except requests.ConnectionError as error:
                failed.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        sim.wait_open()
    asking.join(timeout=1)
    assert len(failed) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sim.port), timeout=1)


def test_it_listens_on_loopback_alone():
    with pytest.raises(ValueError, match="loopback"):
        Simulator(host="0.0.0.0").start()


def test_an_exposed_one_listens_where_it_is_told_and_links_to_the_name_it_is_given():
    """As in a container: it listens on all addresses, and others know it by the name of its service."""
    with Simulator(host="0.0.0.0", download_hosts=["simulator"], exposed=True).serve() as sim:
        (file, *_) = sim.world.files("cdr_compressed")
        assert sim.link(file).startswith(f"http://simulator:{sim.port}/pcs/api/v1/")
        socket.create_connection(("127.0.0.1", sim.port), timeout=5).close()


def test_it_can_be_stopped_and_started_again(sim, api):
    sim.stop()
    sim.start()
    assert api.get("/v1/cdr").status_code == 200


def test_the_connection_has_what_airflow_needs(sim):
    assert json.loads(sim.connection_json) == {
        "conn_type": "cca",
        "host": "127.0.0.1",
        "port": sim.port,
        "schema": "http",
        "login": "simulated.machine.account",
        "password": "Simulated.Pass-word.4711",
        "extra": {"download_hosts": ["127.0.0.2"]},
    }


def python(*arguments: str, cwd: Path = ROOT, **options: object) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, **options)


def test_the_command_prints_where_it_is_and_ends_when_terminated():
    process = python(
        *("-m", "airflow_provider_cca.simulator", "--port", "0", "--days", "400", "--sites", "12"),
        *("--account", "me", "--password", "it's", "--odd-sites", "--today", "2019-04-23"),
    )
    line = process.stdout.readline()
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/pcs/api) AIRFLOW_CONN_CCA_DEFAULT=(.*)\n", line)
    shell = ["sh", "-c", f"printf %s {found[2]}"]
    connection = json.loads(subprocess.run(shell, capture_output=True, text=True, check=True).stdout)
    assert (connection["login"], connection["password"]) == ("me", "it's")
    body = {"accountName": "me", "accountPassword": "it's"}
    assert requests.post(f"{found[1]}/v1/oauth/token", json=body, timeout=10).status_code == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 0


def test_a_taken_port_is_said_in_one_line(sim):
    process = python("-m", "airflow_provider_cca.simulator", "--port", str(sim.port), stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors.startswith("The simulator cannot start: ")
    assert errors.count("\n") == 1


def test_it_loads_nothing_of_airflow_or_of_the_client():
    code = """
import sys
import airflow_provider_cca.simulator.pytest_plugin
assert not {"uvicorn", "airflow_provider_cca.simulator.world"} & set(sys.modules)
import airflow_provider_cca.simulator.__main__
from airflow_provider_cca.simulator import Simulator
with Simulator().serve():
    loaded = [name for name in sys.modules if name.startswith("airflow")]
ours = "airflow_provider_cca.simulator"
print([n for n in loaded if n != "airflow_provider_cca" and n != ours and not n.startswith(ours + ".")])
"""
    output, _ = python("-c", code).communicate(timeout=20)
    assert output == "[]\n"


def test_the_plugin_offers_a_simulator_and_sets_the_connection(tmp_path):
    (tmp_path / "test_users_own.py").write_text(
        """
import json, os, pytest

@pytest.mark.cca_simulator(days=2, sites=["a/b"], seed=3)
def test_marked(cca_simulator):
    assert cca_simulator.world.sites == ["a/b"]
    assert json.loads(os.environ["AIRFLOW_CONN_CCA_DEFAULT"])["port"] == cca_simulator.port

def test_unmarked(cca_simulator):
    assert len(cca_simulator.world.sites) == 3
"""
    )
    plugin = "airflow_provider_cca.simulator.pytest_plugin"
    process = python("-m", "pytest", "-q", "--strict-markers", "-p", plugin, cwd=tmp_path)
    output, _ = process.communicate(timeout=30)
    assert "2 passed" in output, output
