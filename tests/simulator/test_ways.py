"""Each way to read the API document, as a client meets it: written out from the document's examples."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, get_args, get_type_hints

import pytest
import requests

from airflow_provider_cca.simulator import Simulator, Ways

COMPRESSED = "/v1/cdr/daily/compression/files"
SITE = "/v1/cdr/meridian0001"
DAYS = {"creationStartDate": "04012019", "creationEndDate": "04022019"}
"""§3.5.5's own question."""


@contextmanager
def server(today: str = "2019-04-23", days: int = 40, **ways: Any):
    with Simulator(2, days, 3, today, recovered=False, quirks=False, ways=Ways(**ways)).serve() as sim:
        yield sim


def login(sim: Simulator, password: str | None = None) -> requests.Response:
    body = {"accountName": sim.account, "accountPassword": password or sim.password}
    return requests.post(f"{sim.api_root}/v1/oauth/token", json=body, timeout=10)


def session(sim: Simulator) -> requests.Session:
    made = requests.Session()
    made.headers["Authorization"] = f"Bearer {login(sim).json()['accessToken']}"
    return made


def get(sim: Simulator, path: str, client: requests.Session | None = None, **query: Any) -> requests.Response:
    url = path if "://" in path else sim.api_root + path
    return (client or session(sim)).get(url, params=query, timeout=10, allow_redirects=False)


def on(day: str) -> dict[str, str]:
    return {"creationStartDate": day, "creationEndDate": day}


@pytest.mark.parametrize(
    ("ways", "created", "named"),
    [
        ({}, "04/01", "20190331"),
        ({"dates": "name"}, "04/02", "20190401"),  # §3.5.4
        ({"dates": "pacific"}, "04/01", "20190331"),
        ({"days_off": 1}, "03/31", "20190330"),  # §3.5.5's stamps
        ({"dates": "name", "days_off": 1}, "04/01", "20190331"),  # §3.6.1's name
        ({"days_off": -1}, "04/02", "20190401"),
    ],
)
def test_the_creation_filter_means_the_date_that_the_way_says(ways, created, named):
    with server(**ways) as sim:
        (item,) = get(sim, COMPRESSED, **on("04012019")).json()["items"]
        assert (item["createdOn"][:5], item["fileName"][-12:-4]) == (created, named)
        assert sim.truth("cdr_compressed", "2019-04-01", "2019-04-01")[0].id == item["id"]


def test_pacific_dates_list_two_files_when_summer_time_ends_and_none_when_it_begins():
    with server("2019-11-20", 300, dates="pacific") as sim:
        client = session(sim)
        days = {
            day: len(get(sim, COMPRESSED, client, **on(day)).json()["items"])
            for day in ("03092019", "03102019", "11032019", "11042019")
        }
        assert days == {"03092019": 1, "03102019": 0, "11032019": 2, "11042019": 1}


def test_months_by_usage_are_those_in_the_names():
    months = {"creationStartMonth": "032019", "creationEndMonth": "032019", "level": "site"}
    for way, named in (("creation", "201902"), ("usage", "201903")):
        with server(months=way, days=80) as sim:
            (item,) = get(sim, "/v1/peakport/monthly", **months).json()["items"]
            assert item["fileName"].endswith(f"Calendar_Monthly_{named}.csv")


def test_files_can_be_created_just_before_midnight_and_stay_on_their_date():
    with Simulator(2, 9, 3, "2019-04-23", files_per_day=5, created_at="23:58").serve() as sim:
        (*_, last) = get(sim, COMPRESSED, **on("04222019")).json()["items"]
        assert last["createdOn"] == "04/22/2019T23:59:59+0000"


@pytest.mark.parametrize(
    ("ways", "of_the_date", "of_the_range"),
    [
        ({}, 403, 403),
        ({"unfinished": "412"}, 412, 412),
        ({"unfinished": "412", "unfinished_range": "date"}, 412, 3),
        ({"unfinished": "empty"}, 0, 0),
        ({"unfinished": "empty", "unfinished_range": "date"}, 0, 3),
        ({"unfinished": "partial"}, 1, 3),
        ({"unfinished": "partial", "unfinished_range": "date"}, 1, 4),
    ],
)
def test_an_unfinished_date_is_answered_as_the_way_says(ways, of_the_date, of_the_range):
    with Simulator(2, 9, 3, "2019-04-23", files_per_day=3, recovered=False, ways=Ways(**ways)).serve() as sim:
        sim.unfinished.add(date(2019, 4, 23))
        both = {"creationStartDate": "04222019", "creationEndDate": "04232019"}
        answers = [get(sim, COMPRESSED, **query) for query in (on("04232019"), both)]
        seen = [len(a.json()["items"]) if a.status_code == 200 else a.status_code for a in answers]
        assert seen == [of_the_date, of_the_range]
        assert len(get(sim, COMPRESSED, **on("04222019")).json()["items"]) == 3


@pytest.mark.parametrize(
    ("way", "totals"),
    [
        ("right", {2}),
        ("unfiltered", {40}),  # §3.6.1: 133 of one day
        ("page", {1}),
        ("text", {"2"}),
        ("moving", {2, 3}),
    ],
)
def test_the_total_counts_what_the_way_says(way, totals):
    with server(total=way) as sim:
        client = session(sim)
        assert {get(sim, COMPRESSED, client, size=1, **DAYS).json()["total"] for _ in range(3)} == totals


@pytest.mark.parametrize("setting", ["none", "beyond"])
@pytest.mark.parametrize("way", ["empty", "null", "missing", "204", "404"])
def test_a_page_without_entries_looks_as_the_way_says(setting, way):
    query = {**on("01012019"), "from": 0} if setting == "none" else {**DAYS, "from": 2}
    with server(**{setting: way}) as sim:
        answer = get(sim, COMPRESSED, **query)
        if way.isdigit():
            assert answer.status_code == int(way)
            assert way != "204" or answer.content == b""
        else:
            items = {"empty": [], "null": None}
            assert answer.json().get("items", "missing") == items.get(way, "missing")
            assert answer.json()["total"] == (0 if setting == "none" else 2)


def test_the_last_page_can_come_again_beyond_the_end():
    with server(beyond="last") as sim:
        client = session(sim)
        pages = [
            get(sim, COMPRESSED, client, size=1, **DAYS, **{"from": n}).json()["items"] for n in (1, 2, 99)
        ]
        assert len(pages[0]) == 1
        assert pages[0][0]["id"] == pages[1][0]["id"] == pages[2][0]["id"]


@pytest.mark.parametrize("way", ["406", "404", "403", "empty"])
def test_an_unknown_site_is_answered_as_the_way_says(way):
    with server(unknown_site=way) as sim:
        answer = get(sim, "/v1/cdr/nobody", **on("04012019"))
        assert answer.status_code == (200 if way == "empty" else int(way))


@pytest.mark.parametrize(
    ("ways", "seen"),
    [
        ({"page_cap": 7}, 7),
        ({"largest_size": 999}, 406),
        ({"largest_size": 9, "larger_size": "clamped"}, 9),
        ({"largest_size": 500, "larger_size": "30"}, 30),
    ],
)
def test_a_size_of_1000_is_taken_as_the_way_says(ways, seen):
    with server(**ways) as sim:
        query = {"creationStartDate": "03152019", "creationEndDate": "04222019", "size": 1000}
        answer = get(sim, COMPRESSED, **query)
        assert (answer.json()["size"] if answer.ok else answer.status_code) == seen


@pytest.mark.parametrize(("way", "alike"), [("descending", True), ("unstable", False), ("swapping", False)])
def test_the_order_of_entries_is_what_the_way_says(way, alike):
    with server(order=way) as sim:
        client = session(sim)
        query = {"creationStartDate": "03152019", "creationEndDate": "04222019", "size": 10}
        pages = [get(sim, COMPRESSED, client, **query).json()["items"] for _ in range(2)]
        assert (pages[0] == pages[1]) is alike
        whole = [
            [item["id"] for item in get(sim, COMPRESSED, client, **{**query, "size": 1000}).json()["items"]]
            for _ in range(2)
        ]
        assert sorted(whole[0]) == sorted(whole[1])
        assert way != "descending" or pages[0][0]["createdOn"] > pages[0][1]["createdOn"]


@pytest.mark.parametrize(
    ("ways", "statuses"),
    [
        ({}, [200, 200, 200]),
        ({"connections": "open"}, [200, 429, 200]),
        ({"connections": "open", "connections_per": "account"}, [200, 429, 429]),
        ({"connections": "open", "too_many": "503"}, [200, 503, 200]),
    ],
)
def test_idle_connections_count_where_the_way_says_so(ways, statuses):
    with server(**ways) as sim:
        sim.max_connections = 1
        first, other = session(sim), session(sim)
        second = requests.Session()
        second.headers["Authorization"] = first.headers["Authorization"]
        assert [get(sim, "/v1/cdr", each).status_code for each in (first, second, other)] == statuses
        for each in (first, second, other):
            each.close()
        until = time.monotonic() + 5
        while get(sim, "/v1/cdr", first).status_code != 200:  # the server has not seen them leave yet
            first.close()
            assert time.monotonic() < until


def test_idle_connections_can_count_for_each_host_alone():
    for over, status in (("all", 429), ("host", 200)):
        with server(connections="open", connections_over=over) as sim:
            sim.max_connections = 1
            client = session(sim)
            (item,) = get(sim, COMPRESSED, client, **on("04012019")).json()["items"]
            assert get(sim, item["downloadLink"], client).status_code == status


def test_one_too_many_can_say_when_to_come_again():
    for way in ("seconds", "date", "absent"):
        with server(connections="open", retry_after=way) as sim:
            sim.max_connections = 0
            header = get(sim, "/v1/cdr").headers.get("Retry-After")
            if way == "date":
                assert abs(parsedate_to_datetime(header) - datetime.now(UTC)) < timedelta(minutes=1)
            else:
                assert header == {"seconds": "1"}.get(way)


@pytest.mark.parametrize("way", ["400", "403"])
def test_a_storage_behind_a_redirect_gives_the_file_for_its_signature_alone(way):
    with server(storage=way) as sim:
        client = session(sim)
        (item,) = get(sim, COMPRESSED, client, **on("04012019")).json()["items"]
        moved = get(sim, item["downloadLink"], client)
        assert moved.status_code == 302
        signed = moved.headers["Location"]
        assert get(sim, signed, client).status_code == int(way)
        assert get(sim, signed[:-1], requests.Session()).status_code == 403
        assert len(get(sim, signed, requests.Session()).content) == item["fileSize"]
        assert signed.split("/")[2].split(":")[0] in sim.connection["extra"]["download_hosts"]


@pytest.mark.parametrize("way", ["404", "410", "401", "403"])
def test_links_die_with_time_or_with_the_next_listing(way):
    with server(link_seconds=60, link_listings=1, dead_link=way) as sim:
        client = session(sim)

        def link() -> str:
            return get(sim, COMPRESSED, client, **on("04012019")).json()["items"][0]["downloadLink"]

        old, new = link(), link()
        assert get(sim, old, client).status_code == int(way)
        assert get(sim, new, client).status_code == 200
        sim.now.advance(61)
        assert get(sim, new, client).status_code == int(way)
        assert get(sim, link(), client).status_code == 200


@pytest.mark.parametrize(
    ("way", "written"),
    [
        ("document", "04/01/2019T07:24:"),
        ("iso", "2019-04-01T07:24:"),
        ("fractions", "04/01/2019T07:24:"),
        ("no_zone", "04/01/2019T07:24:"),
        ("epoch", "15541034"),
        ("epoch_ms", "15541034"),
        ("pacific", "04/01/2019T00:24:"),
        ("malformed", "04/01/2018/2019T07:24:"),  # §3.6.2
    ],
)
def test_stamps_are_written_as_the_way_says(way, written):
    with server(stamps=way) as sim:
        (item,) = get(sim, COMPRESSED, **on("04012019")).json()["items"]
        assert str(item["createdOn"]).startswith(written)
        assert isinstance(item["createdOn"], int) is way.startswith("epoch")


def test_files_can_be_listed_and_given_beyond_a_year_and_say_so():
    with server(retention_days=494, days=450) as sim:
        client = session(sim)
        (item,) = get(sim, COMPRESSED, client, **on("02012018")).json()["items"]
        assert item["expiredOn"].startswith("06/10/2019")
        assert get(sim, item["downloadLink"], client).status_code == 200
    with server(days=450, expired_on="absent") as sim:
        client = session(sim)
        assert get(sim, COMPRESSED, client, **on("02012018")).json()["items"] == []
        assert "expiredOn" not in get(sim, COMPRESSED, client, **on("04012019")).json()["items"][0]


def test_ids_can_be_numbers_or_shared_by_two_files():
    with server(ids="number") as sim:
        assert isinstance(get(sim, COMPRESSED, **DAYS).json()["items"][0]["id"], int)
    with server(ids="shared") as sim:
        ids = [item["id"] for item in get(sim, COMPRESSED, **{**DAYS, "size": 1000}).json()["items"]]
        days = {"creationStartDate": "04012019", "creationEndDate": "04032019"}
        more = [item["id"] for item in get(sim, COMPRESSED, **days).json()["items"]]
        assert len(set(ids) | set(more)) == 2


@pytest.mark.parametrize("way", ["401", "200"])
def test_a_refused_login_can_be_a_login_page(way):
    with server(login_page=way) as sim:
        answer = login(sim, "wrong")
        assert (answer.status_code, answer.headers["Content-Type"]) == (int(way), "text/html")
        assert get(sim, "/v1/cdr", requests.Session()).status_code == int(way)


def test_a_login_is_answered_as_the_ways_say():
    ways = {"login_status": "201", "token_type": "bearer", "expires_in": "ms"}
    with server(**ways) as sim:
        answer = login(sim)
        assert (answer.status_code, answer.json()["tokenType"]) == (201, "bearer")
        assert answer.json()["expiresIn"] == 43_199_000
    with server(expires_in="text") as sim:
        assert login(sim).json()["expiresIn"] == "43199"
    with server(expires_in="absent") as sim:
        assert "expiresIn" not in login(sim).json()


@pytest.mark.parametrize(
    ("ways", "start", "end"),
    [
        ({}, b"SITENAME|SITEURL|", b"\nTotal:3\n"),
        ({"site_list": "quoted"}, b'"SITENAME"|"SITEURL"|', b"\nTotal:3\n"),
        ({"site_list": "comma"}, b"SITENAME,SITEURL,", b"\nTotal:3\n"),
        ({"site_list": "semicolon"}, b"SITENAME;SITEURL;", b"\nTotal:3\n"),
        ({"site_list": "crlf"}, b"SITENAME|", b"\r\nTotal:3\r\n"),
        ({"site_list": "cr"}, b"SITENAME|", b"\rTotal:3\r"),
        ({"site_list": "bom"}, b"\xef\xbb\xbfSITENAME|", b"\nTotal:3\n"),
        ({"site_list": "utf-16"}, b"\xff\xfeS\0", b"3\0\n\0"),
        ({"site_list_total": "Total : {lines} sites"}, b"SITENAME|", b"\nTotal : 4 sites\n"),
        ({"site_list_total": ""}, b"SITENAME|", b"T00:00:00+0000\n"),
    ],
)
def test_the_site_list_is_written_as_the_ways_say(ways, start, end):
    with server(**ways) as sim:
        content = get(sim, "/v1/cca-site").content
        assert content.startswith(start)
        assert content.endswith(end)
        (truth,) = sim.truth("site_list")
        assert truth.size == len(content)


def test_the_site_list_can_be_a_gzip_file():
    with server(site_list="gzip") as sim:
        assert gzip.decompress(get(sim, "/v1/cca-site").content).endswith(b"Total:3\n")


def test_a_way_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="dates must be one of utc, pacific, name, got 'local'"):
        Ways(dates="local")
    with pytest.raises(ValueError, match="'day' is no way; there are dates, "):
        Ways.parse(["day=1"])
    assert Ways.parse(["days_off=-1", "link_seconds=1.5", "total=page"]) == Ways(
        days_off=-1, link_seconds=1.5, total="page"
    )


def test_the_command_takes_ways():
    argv = ["--port", "0", "--way", "dates=name", "--way", "total=unfiltered", "--days", "5", "--today"]
    command = [sys.executable, "-m", "airflow_provider_cca.simulator", *argv, "2019-04-23"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            root, _, connection = running.stdout.readline().strip().partition(" ")
            settings = json.loads(connection.partition("=")[2].strip("'"))
            body = {"accountName": settings["login"], "accountPassword": settings["password"]}
            token = requests.post(f"{root}/v1/oauth/token", json=body, timeout=10).json()["accessToken"]
            page = requests.get(
                root + COMPRESSED,
                params=on("04222019"),
                headers={"Authorization": f"Bearer {token}"},
                timeout=10,
            ).json()
        finally:
            running.terminate()
    assert page["total"] > len(page["items"]) == 1
    assert page["items"][0]["fileName"].endswith("_20190422.zip")


def test_each_value_of_each_way_is_served():
    """A server reads no setting that it would fall over."""
    for name, kinds in get_type_hints(Ways).items():
        for value in get_args(kinds):
            with server(days=9, **{name: value}) as sim:
                sim.unfinished.add(date(2019, 4, 20))
                answers = [
                    get(sim, path, size=2, **on("04222019"))
                    for path in (COMPRESSED, SITE, "/v1/cdr", "/v1/cca-site")
                ]
                assert {answer.status_code for answer in answers} == {200}, (name, value)
