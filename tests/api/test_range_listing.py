"""A range lists what its dates list alone, whatever the server means by a creation date, or says why not."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.range_listing import RangeLister
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.listings import Window
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedListing,
    NotYetListed,
    ServerFault,
    StillProcessing,
    UnexpectedAnswer,
    UnreadableAnswer,
)
from airflow_provider_cca.reports import REPORTS, Grain

ZIPS, CDR = Scope(REPORTS["cdr_compressed"]), Scope(REPORTS["cdr"], site="acme")
MONTHLY = Scope(REPORTS["peak_port_monthly"], level="site")
TODAY = datetime.now(UTC).date()

ZONES = {"Pacific": ZoneInfo("America/Los_Angeles"), "+8": ZoneInfo("Asia/Shanghai")}

Json = dict[str, Any]


def days_ago(days: int) -> Partition:
    return Partition(TODAY - timedelta(days=days))


@dataclass
class Server:
    """A CCA of one report, in which every file has an id, a creation time, and the date it is listed under.

    `answer` may look at the dates and the start that were asked for, and answer something else: a status,
    or the JSON.
    """

    created: list[datetime] = field(default_factory=list)
    listed_under: Callable[[datetime], date] = lambda moment: moment.date()
    stamp: Callable[[datetime], Any] = lambda moment: f"{moment:%m/%d/%YT%H:%M:%S+0000}"
    answer: Callable[[date, date, int, Json], Json | int | bytes] = lambda first, last, start, page: page
    sites: tuple[str, ...] = ("acme",)
    asked: list[tuple[date, date]] = field(default_factory=list)
    config: CcaConfig | None = None

    def page(self, query: dict[str, str]) -> Json | int | bytes:
        start, size = int(query["from"]), int(query["size"])
        names = [name for name in query if name.endswith(("StartDate", "EndDate", "StartMonth", "EndMonth"))]
        form = "%m%Y" if "Month" in names[0] else "%m%d%Y"
        first, last = (datetime.strptime(query[name], form).date() for name in names)
        self.asked.append((first, last))
        under = self.listed_under
        if form == "%m%Y":
            under = lambda moment: self.listed_under(moment).replace(day=1)  # noqa: E731
        found = [
            self.item(n, moment) for n, moment in enumerate(self.created) if first <= under(moment) <= last
        ]
        items = found[start : start + size]
        page = {"total": len(found), "from": start, "size": len(items), "items": items}
        return self.answer(first, last, start, page)

    def item(self, number: int, created: datetime) -> Json:
        name = f"CDR_{created - timedelta(days=1):%Y%m%d}_{number}.zip"
        return {
            "id": f"file-{number}", "createdOn": self.stamp(created), "downloadLink": "http://127.0.0.1/x",
            "fileSize": 1, "fileName": name, "checksum": f"{number:032x}", "downloadAttempts": 0,
        }  # fmt: skip

    def listing_of_sites(self) -> Json:
        return {"total": len(self.sites), "items": [{"siteName": name} for name in self.sites]}


@pytest.fixture
def serve() -> Iterator[Callable[[Server], CcaClient]]:
    running: list[tuple[ThreadingHTTPServer, CcaClient]] = []

    def start(server: Server) -> CcaClient:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None: ...

            def send(self, answer: Json | int | bytes) -> None:
                status = answer if isinstance(answer, int) else 200
                body = (
                    answer
                    if isinstance(answer, bytes)
                    else json.dumps({} if status != 200 else answer).encode()
                )
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send({"tokenType": "Bearer", "accessToken": "t", "expiresIn": 43199})

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                self.send(server.listing_of_sites() if url.path.endswith("/v1/cdr") else server.page(query))

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=http.serve_forever, daemon=True).start()
        config = CcaConfig(account="a", password="p", host="127.0.0.1", port=http.server_port, schema="http")
        running.append((http, CcaClient(config)))
        return running[-1][1]

    yield start
    for http, client in running:
        client.__exit__(None, None, None)
        http.shutdown()
        http.server_close()


def daily(days: int, hours: tuple[int, ...] = (7,), until: int = 0) -> list[datetime]:
    """Files created on each of the last days, up to some days ago."""
    return [
        datetime.combine(TODAY - timedelta(days=back), time(hour, 24), UTC)
        for back in range(days, until - 1, -1)
        for hour in hours
    ]


READINGS: dict[str, Callable[[datetime], date]] = {
    "UTC": lambda moment: moment.date(),
    "the day before": lambda moment: moment.date() - timedelta(days=1),
    "the day after": lambda moment: moment.date() + timedelta(days=1),
    "the second day before": lambda moment: moment.date() - timedelta(days=2),
    **{name: lambda moment, zone=zone: moment.astimezone(zone).date() for name, zone in ZONES.items()},
}


@pytest.mark.parametrize("days", [400, 40, 6])
@pytest.mark.parametrize("hours", [(7,), (0, 7, 15, 23)])
@pytest.mark.parametrize("reading", READINGS)
def test_a_range_lists_what_its_dates_list_alone(serve, reading, hours, days) -> None:
    server = Server(daily(days, hours), READINGS[reading])
    client = serve(server)
    first, last = days_ago(min(days, 365)), days_ago(3)
    found = client.list_range(Window(ZIPS, first, last))
    expected: dict[Partition, set[str]] = {partition: set() for partition in first.until(last)}
    for number, moment in enumerate(server.created):
        if (partition := Partition(READINGS[reading](moment))) in expected:
            expected[partition].add(f"file-{number}")
    assert {partition: {file.id for file in files} for partition, files in found.files.items()} == expected
    assert not found.failures
    assert all(file.partition == partition for partition, files in found.files.items() for file in files)
    if reading == "UTC" and len(server.created) <= 1000:
        assert len(server.asked) == 3


@dataclass
class Listings:
    """What a range listing asks: files of one report, which are listed under dates of a zone."""

    files_by_date: dict[Partition, list[RemoteFile]]
    requests: int = 0

    def files(self, scope, first, last, by="creation", *, check_total=True) -> list[RemoteFile]:
        self.requests += 1
        found = [file for p in first.until(last) for file in self.files_by_date.get(p, [])]
        return [
            replace(file, partition=first if first == last else Partition(file.created_on.date()))
            for file in found
        ]

    def list_partition(self, scope, partition) -> list[RemoteFile]:
        return self.files(scope, partition, partition)

    def has_total(self, scope, first, last, total) -> bool:
        return len(self.files(scope, first, last)) == total

    def submit(self, call, *arguments) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_result(call(*arguments))
        return answer


ZONES_OF_THE_WORLD = (
    *("America/Los_Angeles", "America/Phoenix", "America/New_York", "America/Sao_Paulo", "UTC"),
    *("Europe/London", "Europe/Berlin", "Asia/Kolkata", "Asia/Shanghai", "Australia/Sydney"),
)
ALL_READINGS: dict[str, Callable[[datetime, date], date]] = {
    **{
        zone: lambda moment, named, zone=zone: moment.astimezone(ZoneInfo(zone)).date()
        for zone in ZONES_OF_THE_WORLD
    },
    "the name": lambda moment, named: named,
    "the day after the name": lambda moment, named: named + timedelta(days=1),
}
"""What the server lists a file by that was created at a moment and has a date in its name."""

AUTUMN = (TODAY - date(2026, 10, 27)).days
"""Days since one between the last Sunday of October and the first one of November."""

MORNING = (7 * 60 + 24, 1)
NONE = [None] * 5


@settings(max_examples=400)
@given(
    reading=st.sampled_from([*ALL_READINGS]),
    begin=st.integers(40, 350),
    made=st.lists(
        st.none() | st.tuples(st.integers(0, 24 * 60 - 1), st.sampled_from([1, 1, 1, 0, 3])),
        min_size=20,
        max_size=60,
    ),
)
# In Berlin the clocks go back a week sooner than in California: from then on its day ends an hour later.
@example("Europe/Berlin", AUTUMN, [(22 * 60 + 55, 1), *[MORNING] * 13, (23 * 60 + 44, 1), MORNING])
# In Phoenix they never change: the earliest file is the one that is earliest by UTC.
@example("America/Phoenix", AUTUMN, [(540, 1), (380, 1), *[(540, 1)] * 13, (430, 1)])
# In India the line lies in the middle of an hour.
@example("Asia/Kolkata", 60, [*[(18 * 60 + 10, 1)] * 10, (18 * 60 + 40, 1), *[MORNING] * 5])
# A file that is alone for days around, named after its own date, does not show that names count for nothing.
@example("the name", 60, [MORNING] + [(16 * 60 + 30, 1)] * 3 + NONE + [(16 * 60 + 30, 0)] + NONE)
def test_a_range_is_parted_as_the_server_lists_its_dates_whatever_it_goes_by(
    reading: str, begin: int, made: list[tuple[int, int] | None]
) -> None:
    """Each day a file is made at a minute, and named after a date some days before it; or none."""
    by_date: defaultdict[Partition, list[RemoteFile]] = defaultdict(list)
    for day, one in enumerate(made):
        if one is not None:
            minute, distance = one
            created = datetime.combine(TODAY, time(), UTC) + timedelta(days=day - begin, minutes=minute)
            named = created.date() - timedelta(days=distance)
            partition = Partition(ALL_READINGS[reading](created, named))
            by_date[partition].append(
                RemoteFile(
                    *(str(day), f"acme202001_CDR_{named:%Y%m%d}.zip", "", 1, f"{day:032x}"),
                    *(created, None, 0, ZIPS, partition),
                )
            )
    first, last = days_ago(begin), days_ago(begin - len(made) + 1)
    assume(last.is_settled(datetime.now(UTC)))
    found = RangeLister(Listings(by_date)).list_range(Window(ZIPS, first, last)).files
    assert {p: sorted(f.id for f in files) for p, files in found.items()} == {
        p: sorted(f.id for f in by_date.get(p, [])) for p in first.until(last)
    }


@pytest.mark.parametrize("lag", [0, 1])
def test_months_are_parted_as_the_server_does(serve, lag) -> None:
    created = [datetime(TODAY.year - 1, month, 3, 7, tzinfo=UTC) for month in range(1, 13)]
    before = lambda moment: (moment.replace(day=1) - timedelta(days=1)).date() if lag else moment.date()  # noqa: E731
    client = serve(Server(created, before))
    first, last = (
        Partition(date(TODAY.year - 1, 1, 1), Grain.MONTH),
        Partition(date(TODAY.year - 1, 11, 1), Grain.MONTH),
    )
    found = client.list_range(Window(MONTHLY, first, last))
    names = {str(partition): [file.id for file in files] for partition, files in found.files.items()}
    assert names == {f"{TODAY.year - 1}-{month:02}": [f"file-{month - 1 + lag}"] for month in range(1, 12)}


def test_a_total_that_is_the_length_of_a_page_of_two_is_not_taken_for_that_of_a_range(serve) -> None:
    """Nor where the line that would show it has one file on its larger side."""
    at = [(20, 23), (19, 1), *((day, 7) for day in range(15, 8, -1))]
    created = [datetime.combine(TODAY - timedelta(days=day), time(hour), UTC) for day, hour in at]
    server = Server(created)
    server.answer = lambda first, last, start, page: {
        **page,
        "items": page["items"][:2],
        "total": len(page["items"][:2]),
    }
    found = serve(server).list_range(Window(ZIPS, days_ago(22), days_ago(3)))
    assert sum(map(len, found.files.values())) == len(created)


def test_what_a_range_has_proven_is_not_asked_again(serve) -> None:
    server = Server(daily(40, until=3))
    client = serve(server)
    for _ in range(3):
        assert len(client.list_range(Window(ZIPS, days_ago(30), days_ago(3))).files) == 28
    assert len(server.asked) == 5


def test_an_unreadable_creation_stamp_costs_a_range_nothing_but_requests(serve) -> None:
    odd = datetime.combine(TODAY - timedelta(days=5), time(7, 24), UTC)
    server = Server(
        daily(10, until=3), stamp=lambda moment: "04/03/2019/2020T08:43:18+0000" if moment == odd else ""
    )
    found = serve(server).list_range(Window(ZIPS, days_ago(10), days_ago(3)))
    assert [len(files) for _, files in sorted(found.files.items())] == [1] * 8
    assert {file.created_on for files in found.files.values() for file in files} == {None}


@pytest.mark.parametrize(
    "stamp",
    [lambda m: f"{m:%Y-%m-%dT%H:%M:%S}", lambda m: int(m.timestamp()), lambda m: int(m.timestamp()) * 1000],
)
def test_other_forms_of_stamps_part_a_range(serve, stamp) -> None:
    server = Server(daily(10, until=3), stamp=stamp)
    assert len(serve(server).list_range(Window(ZIPS, days_ago(10), days_ago(3))).files) == 8
    assert len(server.asked) == 3


# Still processing


@pytest.mark.parametrize(
    ("busy", "requests"),
    [((), 3), ((0,), 4), ((1,), 7), ((0, 1), 7), ((3,), 10), ((0, 3), 10), ((20,), 87), ((19,), 87)],
)
def test_dates_that_are_being_made_do_not_hold_back_the_others(serve, busy, requests) -> None:
    server = Server(daily(39))
    dates = {TODAY - timedelta(days=back) for back in busy}
    server.answer = lambda first, last, start, page: 412 if any(first <= d <= last for d in dates) else page
    found = serve(server).list_range(Window(ZIPS, days_ago(39), days_ago(0)))
    assert {partition.first for partition in found.failures} == dates
    assert all(type(error) is StillProcessing for error in found.failures.values())
    assert sum(map(len, found.files.values())) == 40 - len(busy)
    assert len(server.asked) <= requests


def test_a_server_that_makes_all_dates_is_asked_a_few_times_only(serve) -> None:
    server = Server(daily(39), answer=lambda first, last, start, page: 412)
    with pytest.raises(StillProcessing):
        serve(server).list_range(Window(ZIPS, days_ago(39), days_ago(0)))
    assert len(server.asked) == 6


# Nothing is listed


def test_an_empty_date_is_believed_48_hours_after_its_end(serve) -> None:
    client = serve(Server())
    assert client.list_partition(ZIPS, days_ago(3)) == []
    for days in (2, 1, 0):
        with pytest.raises(NotYetListed, match="less than 48 hours ago"):
            client.list_partition(ZIPS, days_ago(days))


def test_a_young_date_without_files_is_no_empty_one_in_a_range_either(serve) -> None:
    found = serve(Server(daily(20, until=2))).list_range(Window(ZIPS, days_ago(20), days_ago(0)))
    assert set(found.failures) == {days_ago(1), days_ago(0)}
    assert set(found.files) == {days_ago(days) for days in range(2, 21)}
    assert {type(error) for error in found.failures.values()} == {NotYetListed}


def test_a_date_that_is_being_made_does_not_empty_the_range_that_it_lies_in(serve) -> None:
    server = Server(daily(20))
    server.answer = lambda first, last, start, page: {"total": 0, "items": []} if last >= TODAY else page
    found = serve(server).list_range(Window(ZIPS, days_ago(20), days_ago(0)))
    assert set(found.failures) == {days_ago(0)}
    assert all(len(files) == 1 for files in found.files.values())
    assert len(found.files) == 20


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("busy", [0, 5])
def test_a_range_of_which_older_files_are_left_out_while_one_date_is_made_is_not_believed(
    serve, busy, descending
) -> None:
    """The server lists half of the files of a range that holds that date, and says no more."""
    server = Server(daily(20, hours=(7, 8)))

    def half(first: date, last: date, start: int, page: Json) -> Json:
        if first == last or not first <= TODAY - timedelta(days=busy) <= last:
            return page
        items = page["items"][::-1] if descending else page["items"]
        items = items[: len(items) // 2]
        return {"total": len(items), "items": items}

    client = serve(server)
    client.list_range(Window(ZIPS, days_ago(20), days_ago(0)))
    server.answer = half
    found = client.list_range(Window(ZIPS, days_ago(20), days_ago(0)))
    assert [len(files) for _, files in sorted(found.files.items())] == [2] * 21
    assert not found.failures


def test_a_long_range_with_dates_without_files_costs_seven_requests_more(serve) -> None:
    """One without the young dates, three of these, and three of the settled ones without files."""
    server = Server(
        [
            moment
            for moment in daily(300, until=1)
            if moment.weekday() < 5 or moment.date() > TODAY - timedelta(days=3)
        ]
    )
    found = serve(server).list_range(Window(ZIPS, days_ago(300), days_ago(0)))
    assert set(found.failures) == {days_ago(0)}
    assert sum(map(len, found.files.values())) == len(server.created)
    assert len(server.asked) == 1 + 2 + 7


def test_files_without_a_date_in_their_names_are_listed_date_by_date(serve) -> None:
    """One may have been recovered: the server lists it by a date that nothing of it shows."""
    server = Server(daily(30, until=3))
    late = server.created[-2]
    server.listed_under = lambda moment: moment.date() - timedelta(days=7 * (moment == late))
    real = server.item
    server.item = lambda n, moment: {**real(n, moment), "fileName": f"{n}.zip"}  # type: ignore[method-assign]
    found = serve(server).list_range(Window(ZIPS, days_ago(30), days_ago(3)))
    number = server.created.index(late)
    under = Partition(late.date() - timedelta(days=7))
    assert f"file-{number}" in {file.id for file in found.files[under]}


def test_one_scope_with_usual_names_does_not_vouch_for_another_with_recovered_files(serve) -> None:
    """Files are listed under the day after the one in their names; a recovered one has an older date."""
    created = daily(20, until=3)
    server = Server(created)
    named = {moment: moment.date() - timedelta(days=1) for moment in created}
    server.listed_under = lambda moment: named[moment] + timedelta(days=1)
    real = server.item
    server.item = lambda n, moment: {**real(n, moment), "fileName": f"CCA_{named[moment]:%Y%m%d}.csv"}  # type: ignore[method-assign]
    client = serve(server)
    assert len(client.list_range(Window(CDR, days_ago(20), days_ago(3))).files) == 18
    late = datetime.combine(TODAY - timedelta(days=6), time(7, 30), UTC)
    named[late] = TODAY - timedelta(days=12)
    server.created.append(late)
    server.asked.clear()
    found = client.list_range(Window(Scope(REPORTS["cdr"], site="other"), days_ago(20), days_ago(3)))
    assert {partition: len(files) for partition, files in found.files.items()} == {
        days_ago(days): 2 if days == 11 else 1 for days in range(3, 21)
    }


def test_one_scope_created_by_day_does_not_vouch_for_another_created_by_night(serve) -> None:
    """At 15:24 UTC it is the same date in US/Pacific, at 03:24 the day before."""
    server = Server(daily(20, hours=(15,), until=3), READINGS["Pacific"])
    client = serve(server)
    assert len(client.list_range(Window(CDR, days_ago(20), days_ago(3))).files) == 18
    server.created = daily(20, hours=(3, 15), until=3)[1:]
    found = client.list_range(Window(Scope(REPORTS["cdr"], site="other"), days_ago(20), days_ago(3)))
    assert [len(files) for _, files in sorted(found.files.items())] == [2] * 17 + [1]
    under = {partition: {file.created_on for file in files} for partition, files in found.files.items()}
    assert all(
        READINGS["Pacific"](m) == partition.first for partition, moments in under.items() for m in moments
    )


def test_a_range_that_an_older_date_empties_while_it_is_made_is_not_believed(serve) -> None:
    """Nor where the first and the last dates truly have no files."""
    server = Server(daily(25, until=8))
    busy = TODAY - timedelta(days=9)
    server.answer = lambda first, last, start, page: (
        {"total": 0, "items": []} if first < last and first <= busy <= last else page
    )
    found = serve(server).list_range(Window(ZIPS, days_ago(30), days_ago(3)))
    assert sum(map(len, found.files.values())) == 18


def test_a_refusal_is_not_judged_by_other_dates_while_these_cannot_be_listed(serve) -> None:
    """It would end the task for good, though a later attempt succeeds."""
    server = Server(daily(30, until=8))
    server.answer = lambda first, last, start, page: 406 if first == last else 412
    with pytest.raises(StillProcessing):
        serve(server).list_partition(ZIPS, days_ago(5))


@pytest.mark.parametrize("status", [404, 406])
def test_a_range_of_young_dates_that_is_refused_for_having_no_files_waits_for_them(serve, status) -> None:
    server = Server(daily(30, until=5))
    server.answer = lambda first, last, start, page: page if page["items"] else status
    found = serve(server).list_range(Window(ZIPS, days_ago(2), days_ago(0)))
    assert {type(error) for error in found.failures.values()} == {NotYetListed}


@pytest.mark.parametrize("status", [204, 404, 406])
def test_a_total_without_the_filter_and_a_refusal_of_nothing_land_all(serve, status) -> None:
    server = Server(daily(30, until=3))
    server.answer = lambda first, last, start, page: {**page, "total": 133} if page["items"] else status
    client = serve(server)
    assert [file.id for file in client.list_partition(ZIPS, days_ago(5))] == ["file-25"]
    found = client.list_range(Window(ZIPS, days_ago(20), days_ago(3)))
    assert [len(files) for _, files in sorted(found.files.items())] == [1] * 18


@pytest.mark.parametrize("none", [204, {}, {"total": 0}, {"total": 0, "items": None}])
def test_no_files_may_be_said_in_many_ways(serve, none) -> None:
    client = serve(Server(answer=lambda first, last, start, page: none))
    assert client.list_partition(ZIPS, days_ago(3)) == []
    with pytest.raises(NotYetListed):
        client.list_partition(ZIPS, days_ago(0))


@pytest.mark.parametrize("status", [404, 406])
def test_a_refusal_of_an_empty_date_means_none_where_other_dates_are_listed(serve, status) -> None:
    server = Server(daily(30, until=8))
    server.answer = lambda first, last, start, page: page if page["items"] else status
    client = serve(server)
    assert client.list_partition(ZIPS, days_ago(5)) == []
    with pytest.raises(NotYetListed):
        client.list_partition(ZIPS, days_ago(0))
    found = client.list_range(Window(ZIPS, days_ago(12), days_ago(3)))
    assert [len(files) for _, files in sorted(found.files.items())] == [1] * 5 + [0] * 5


@pytest.mark.parametrize(("status", "kind"), [(404, UnexpectedAnswer), (406, InvalidRequest)])
def test_a_refusal_of_everything_is_an_error_that_says_both_meanings(serve, status, kind) -> None:
    server = Server(answer=lambda first, last, start, page: status)
    client = serve(server)
    with pytest.raises(kind, match=rf"{status}.*cannot be listed, or this is the server's way to say"):
        client.list_partition(ZIPS, days_ago(5))
    assert len(server.asked) <= 3
    with pytest.raises(kind, match="cannot be listed, or"):
        client.list_range(Window(ZIPS, days_ago(60), days_ago(3)))
    assert len(server.asked) <= 6


def test_a_range_that_is_refused_for_its_length_is_listed_date_by_date(serve) -> None:
    server = Server(daily(60, until=3))
    server.answer = lambda first, last, start, page: page if (last - first).days <= 31 else 406
    found = serve(server).list_range(Window(ZIPS, days_ago(60), days_ago(3)))
    assert sum(map(len, found.files.values())) == 58


def test_an_unknown_site_is_an_error_that_names_it_however_young_the_date(serve) -> None:
    client = serve(Server())
    for days in (0, 5):
        with pytest.raises(InvalidArgument, match="'acne' is not one of the 1 sites of this account"):
            client.list_partition(Scope(REPORTS["cdr"], site="acne"), days_ago(days))
    assert client.list_partition(CDR, days_ago(5)) == []


def test_a_page_of_1000_that_is_refused_becomes_a_smaller_one(serve) -> None:
    server = Server(daily(30, until=3))
    real = server.page
    server.page = lambda query: real(query) if int(query["size"]) <= 100 else 406  # type: ignore[method-assign]
    found = serve(server).list_range(Window(ZIPS, days_ago(30), days_ago(3)))
    assert sum(map(len, found.files.values())) == 28


def test_a_page_of_1000_that_is_refused_and_a_date_without_files_that_is_not_found(serve) -> None:
    server = Server(daily(30, until=8))
    real = server.page
    server.answer = lambda first, last, start, page: page if page["items"] else 404
    server.page = lambda query: real(query) if int(query["size"]) <= 100 else 406  # type: ignore[method-assign]
    assert serve(server).list_partition(ZIPS, days_ago(5)) == []


# What fails


def test_a_date_with_a_malformed_entry_holds_back_itself_alone(serve) -> None:
    server = Server(daily(30, until=3))
    real = server.item
    server.item = lambda n, created: {**real(n, created), "checksum": None if n == 7 else "0" * 32}  # type: ignore[method-assign]
    found = serve(server).list_range(Window(ZIPS, days_ago(30), days_ago(3)))
    assert {partition: type(error) for partition, error in found.failures.items()} == {
        days_ago(23): MalformedListing
    }
    assert len(found.files) == 27


@pytest.mark.parametrize("broken", [500, b"<html>sorry</html>"])
def test_a_range_that_is_too_large_for_the_server_is_listed_date_by_date(serve, broken) -> None:
    server = Server(daily(30, until=3))
    server.answer = lambda first, last, start, page: page if last == first else broken
    found = serve(server).list_range(Window(ZIPS, days_ago(30), days_ago(3)))
    assert sum(map(len, found.files.values())) == 28


def test_a_server_that_fails_for_two_dates_too_is_given_up(serve) -> None:
    server = Server(answer=lambda first, last, start, page: 500)
    with pytest.raises(ServerFault):
        serve(server).list_range(Window(ZIPS, days_ago(30), days_ago(3)))
    assert len(server.asked) == 18


@pytest.mark.parametrize("bad", [9, 6, 3], ids=["first", "in the middle", "last"])
@pytest.mark.parametrize("status", [500, 403])
def test_a_date_whose_listing_fails_holds_back_itself_alone(serve, status, bad) -> None:
    broken = days_ago(bad).first
    server = Server(
        daily(9, until=3), answer=lambda first, last, start, page: status if first <= broken <= last else page
    )
    found = serve(server).list_range(Window(CDR, days_ago(9), days_ago(3)))
    assert {*found.failures} == {days_ago(bad)}
    assert len(found.files) == 6


def test_a_server_that_fails_for_many_scopes_is_not_asked_for_all_of_them(serve) -> None:
    server = Server(answer=lambda first, last, start, page: 500)
    client = serve(server)
    windows = [Window(Scope(REPORTS["cdr"], site=f"s{n}"), days_ago(9), days_ago(3)) for n in range(200)]
    assert all(isinstance(found.error, ServerFault) for _, found in client.list_ranges(windows))
    assert len(server.asked) <= 18 * 60


def test_one_scope_that_fails_does_not_hold_back_the_others(serve) -> None:
    server = Server(daily(9, until=3))
    client = serve(server)
    real, count = server.page, itertools.count()
    server.page = lambda query: 500 if next(count) < 18 else real(query)  # type: ignore[method-assign]
    broken = client.list_ranges([Window(CDR, days_ago(9), days_ago(3))])
    assert isinstance(next(broken)[1].error, ServerFault)
    assert len(client.list_range(Window(CDR, days_ago(9), days_ago(3))).files) == 7


def test_a_count_does_not_end_where_a_page_cannot_be_read(serve) -> None:
    """What a sensor gives as the number of files is that of all, or an error."""

    def answer(first: date, last: date, start: int, page: Json) -> Json | bytes:
        return b"<html>sorry</html>" if start else {**page, "items": page["items"][:2]}

    server = Server([moment for moment in daily(4, until=4) for _ in range(3)], answer=answer)
    with pytest.raises(UnreadableAnswer):
        serve(server).count(CDR, days_ago(4))
