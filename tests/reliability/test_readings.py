"""The package against servers that read the API document in other ways: all lands, or the run is red.

What ought to land is asked of the simulator's world, never of the package.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_cca.core import retry
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator,
    CcaListFilesOperator,
    CcaReconcileOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.sensors import CcaFilesSensor
from airflow_provider_cca.simulator import Simulator, TokenExpired, Ways
from tests.support.today import month_is_being_made

PACIFIC = ZoneInfo("America/Los_Angeles")
SITE = "meridian0001"
SCOPES = {
    "cdr": {"site": SITE},
    "cdr_compressed": {},
    "peak_port_daily": {"level": "customer"},
    "peak_port_monthly": {"level": "partner"},
}
DAILY = [report for report in SCOPES if report != "peak_port_monthly"]
MONTHLY = "peak_port_monthly"
LISTINGS_OF_ALL = 1 + 3 + 1 + 3 + 3
"""The sites, the files of each of three, the compressed ones, and three levels of two reports."""

REAL_PAUSE = retry.pause

every_report = pytest.mark.parametrize("report", SCOPES)
two_reports = pytest.mark.parametrize("report", ["cdr", "cdr_compressed"])


def reading(name: str, *, created_at: str = "07:24", world: dict[str, Any] | None = None, **ways: Any) -> Any:
    """A parameter that also makes the simulator read the document in that way."""
    options = {"days": 100, "sites": [SITE], "created_at": created_at, **(world or {})}
    mark = pytest.mark.cca_simulator(ways=Ways(**ways), **options)
    return pytest.param(Ways(**ways), id=name, marks=mark)


def readings(**values: Any) -> list[Any]:
    """One for each value of each setting."""
    return [reading(f"{name}={value}", **{name: value}) for name, each in values.items() for value in each]


@dataclass
class Bench:
    """Runs tasks, and remembers what each came to."""

    sim: Simulator
    run: Callable[..., Any]
    caplog: pytest.LogCaptureFixture
    root: Path
    report: str = "cdr_compressed"
    site: str = SITE
    red: list[BaseException] = field(default_factory=list)

    @property
    def scope(self) -> dict[str, str]:
        return {"site": self.site} if self.report == "cdr" else SCOPES[self.report]

    @property
    def today(self) -> date:
        return self.sim.world.today

    def window(self, count: int = 9) -> list[str]:
        """The newest partitions, the last of them today's."""
        if self.report == MONTHLY:
            return sorted({f"{self.today - timedelta(days=days):%Y-%m}" for days in range(65)})
        return [str(self.today - timedelta(days=days)) for days in reversed(range(count))]

    def truth(self, partition: str) -> set[tuple[str, str]]:
        """Name and MD5 of what the server means by the partition."""
        first, last = period(partition)
        return {(f.name, f.md5) for f in self.sim.truth(self.report, first, last, **self.scope)}

    def task(self, operator: Any, **arguments: Any) -> Any:
        """What the task returns; None when it is red. Green and empty-handed it must have warned."""
        self.caplog.clear()
        if "destination" in arguments:
            Path(arguments["destination"]).mkdir(parents=True, exist_ok=True)
        try:
            return self.run(operator(task_id="t", **arguments))
        except Exception as error:  # noqa: BLE001 - a run is red whatever the error is
            self.red.append(error)
            return None

    def land(self, first: str, last: str | None = None, root: Path | None = None, **scope: Any) -> Any:
        landed = self.task(
            CcaToObjectStorageOperator,
            report=self.report,
            destination=str(root or self.root),
            partition=first,
            partition_end=last,
            **(scope or self.scope),
        )
        assert landed is None or landed["files"] or self.warned(first), "a green nothing"
        return landed

    def reconcile(self, root: Path, days: int = 9) -> Any:
        return self.task(
            CcaReconcileOperator,
            report=self.report,
            destination=str(root),
            lookback_days=65 if self.report == MONTHLY else days - 1,
            alarm_days=None,
            level=self.scope.get("level"),
        )

    def hand_over(self, first: str, last: str | None, root: Path) -> Any:
        """List in one task, land in the next."""
        asked = {"report": self.report, "partition": first, "partition_end": last, **self.scope}
        files = self.task(CcaListFilesOperator, **asked)
        return files and self.task(CcaDownloadFilesOperator, files=files, destination=str(root))

    def poke(self, partition: str) -> bool:
        sensor = CcaFilesSensor(task_id="t", report=self.report, partition=partition, **self.scope)
        return bool(sensor.poke({"params": {}}))

    def warned(self, *words: str) -> bool:
        texts = [r.getMessage() for r in self.caplog.records if r.levelno >= logging.WARNING]
        return any(all(word in text for word in words) for text in texts)

    # What is in the store

    def landed(self, root: Path | None = None) -> dict[str, set[tuple[str, str]]]:
        """Name and MD5 of what each manifest names; every object is intact, and none is without an entry."""
        found = {}
        for path in self._folder(root or self.root).glob("creation_*/_manifest.json"):
            entries = json.loads(path.read_bytes())["files"]
            for entry in entries:
                content = (path.parent / entry["key"]).read_bytes()
                assert (len(content), md5(content).hexdigest()) == (entry["size"], entry["md5"])
            objects = {each.name for each in path.parent.iterdir() if not each.name.startswith(("_", "."))}
            assert objects == {entry["key"] for entry in entries}
            found[path.parent.name.partition("=")[2]] = {(e["name"], e["md5"]) for e in entries}
        return found

    def manifests(self, root: Path) -> dict[str, Any]:
        """What the manifests say, but for who wrote them and when."""
        told = {}
        for path in self._folder(root).glob("creation_*/_manifest.json"):
            manifest = json.loads(path.read_bytes())
            manifest = {k: v for k, v in manifest.items() if k not in ("written_at", "written_by")}
            for entry in manifest["files"]:
                entry.pop("landed_on", None)
            told[path.parent.name.partition("=")[2]] = manifest
        return told

    def states(self, root: Path) -> dict[str, str]:
        """The coverage's state of each partition of the scope."""
        rows = json.loads((root / "_coverage.json").read_bytes())["rows"]
        return {cell["partition"]: cell["state"] for row in rows for cell in row["partitions"]}

    def _folder(self, root: Path) -> Path:
        return root.joinpath(self.report, *(f"{name}={value}" for name, value in self.scope.items()))

    def check(self, partitions: list[str], root: Path | None = None) -> None:
        """What the server means by them has landed, and of those that are empty a manifest says so."""
        landed = self.landed(root)
        for partition in partitions:
            truth = self.truth(partition)
            if truth or is_settled(partition):
                assert landed.get(partition) == truth, partition
            else:
                assert partition not in landed, partition

    def check_right_or_red(self, partitions: list[str], root: Path | None = None) -> None:
        """No manifest says less than the server means, unless no manifest is there and a task was red."""
        landed = self.landed(root)
        for partition in partitions:
            if partition in landed or not self.red:
                assert landed.get(partition) == self.truth(partition), partition


def period(partition: str) -> tuple[date, date]:
    first = date.fromisoformat(partition if len(partition) > 7 else f"{partition}-01")
    if len(partition) > 7:
        return first, first
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def is_settled(partition: str) -> bool:
    """Whether it ended 48 hours ago: an empty answer is believed from then on."""
    end = datetime.combine(period(partition)[1] + timedelta(days=1), datetime.min.time(), UTC)
    return datetime.now(UTC) >= end + timedelta(hours=48)


@pytest.fixture
def bench(sim: Simulator, run: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "store").mkdir()
    yield Bench(sim, run, caplog, tmp_path / "store")


# Dates

DATES = [
    reading("created in UTC"),
    reading("just after midnight", created_at="00:00:05"),
    reading("just before midnight", created_at="23:50"),
    reading("created in US-Pacific", created_at="05:00", dates="pacific"),
    reading("in the name", dates="name"),
    reading("in the name, months of usage", dates="name", months="usage"),
    reading("the day after creation", days_off=1),
    reading("the day before creation", days_off=-1),
    reading("the day after the name", dates="name", days_off=1),
]


@every_report
@pytest.mark.parametrize("ways", DATES)
def test_daily_runs_a_range_and_reconcile_land_the_same_tree(bench: Bench, report: str, ways: Ways) -> None:
    """Under each reading of dates: what the server lists for a date, and a red run for a young one without
    files."""
    bench.report = report
    days = 31 if report == "cdr_compressed" and ways in (Ways(), Ways(dates="name")) else 9
    dates = bench.window(days)
    roots = [bench.root / name for name in ("daily", "range", "reconcile")]
    missing = [d for d in dates if not bench.truth(d) and not is_settled(d)]
    for day in dates:
        landed = bench.land(day, root=roots[0])
        assert (landed is None) is (day in missing), day
    assert (bench.land(dates[0], dates[-1], root=roots[1]) is None) is bool(missing)
    bench.reconcile(roots[2], days)
    for root in roots:
        bench.check(dates, root)
    told = [{d: m for d, m in bench.manifests(root).items() if d in dates} for root in roots]
    assert told[0] == told[1] == told[2]
    states = bench.states(roots[2])
    assert all(is_settled(day) for day, state in states.items() if state == "empty")
    assert all(states[day] == "landed" for day in dates if bench.truth(day))


@every_report
@pytest.mark.parametrize("ways", DATES)
def test_files_listed_by_one_task_land_by_the_next_under_the_date_that_was_asked_for(
    bench: Bench, report: str, ways: Ways
) -> None:
    bench.report = report
    dates = [day for day in bench.window() if bench.truth(day)]
    for root, ranges in (("one", [(d, None) for d in dates]), ("all", [(dates[0], dates[-1])])):
        for first, last in ranges:
            bench.hand_over(first, last, bench.root / root)
        landed = {day: files for day, files in bench.landed(bench.root / root).items() if files}
        between = bench.window()[bench.window().index(dates[0]) : bench.window().index(dates[-1]) + 1]
        assert landed == {day: bench.truth(day) for day in between if bench.truth(day)}
    assert not bench.red


@every_report
@pytest.mark.parametrize("ways", DATES)
def test_the_sensor_is_done_with_a_young_date_when_it_has_files(
    bench: Bench, report: str, ways: Ways
) -> None:
    bench.report = report
    young = [day for day in bench.window() if not is_settled(day)]
    assert [bench.poke(day) for day in young] == [bool(bench.truth(day)) for day in young]


@two_reports
@pytest.mark.cca_simulator(days=365, sites=[SITE], recovered=False, ways=Ways(dates="pacific"))
def test_the_dates_on_which_summer_time_begins_and_ends_hold_what_the_server_lists(
    bench: Bench, report: str
) -> None:
    """Where Pacific dates are meant, one date of the year lists two files, and one none."""
    bench.report = report
    created = [datetime.combine(bench.today - timedelta(days=n), time(7, 24), UTC) for n in range(359)]
    listed = Counter(moment.astimezone(PACIFIC).date() for moment in created)
    days = [bench.today - timedelta(days=n) for n in range(4, 357)]
    for number in (0, 2):
        (day,) = [day for day in days if listed[day] == number]
        dates = [str(day + timedelta(days=n)) for n in range(-3, 4)]
        for name in ("daily", "range"):
            for asked in [(d, None) for d in dates] if name == "daily" else [(dates[0], dates[-1])]:
                bench.land(*asked, root=bench.root / name)
            bench.check(dates, bench.root / name)
        assert len(bench.truth(str(day))) == number
        assert bench.manifests(bench.root / "daily") == bench.manifests(bench.root / "range")
    assert not bench.red


# While a report is being made

UNFINISHED = [
    reading(f"{way}, a range {spoilt}", unfinished=way, unfinished_range=over, world={"files_per_day": 2})
    for way in ("document", "412", "empty")
    for over, spoilt in (("all", "is spoilt"), ("date", "leaves it out"))
] + [reading("partial", unfinished="partial", unfinished_range="date", world={"files_per_day": 2})]


@pytest.mark.parametrize("report", DAILY)
@pytest.mark.parametrize("ways", UNFINISHED)
def test_a_date_that_is_being_made_holds_back_no_other_and_lands_when_it_is_done(
    bench: Bench, report: str, ways: Ways
) -> None:
    bench.report = report
    dates = bench.window()
    *done, newest = dates
    roots = [bench.root / name for name in ("daily", "range", "reconcile")]
    bench.sim.unfinished.add(date.fromisoformat(newest))
    listed_in_part = ways.unfinished == "partial" and len(bench.truth(newest)) > 1
    for root, asked in ((roots[0], (newest, None)), (roots[1], (dates[0], newest))):
        landed = bench.land(*asked, root=root)
        assert bool(landed) is listed_in_part
    bench.reconcile(roots[2])
    for root in roots[1:]:
        bench.check(done, root)
        if not listed_in_part:
            assert newest not in bench.landed(root)
    assert bench.poke(newest) is listed_in_part
    assert bench.states(roots[2]).get(newest) != "empty"
    bench.sim.unfinished.clear()
    assert bench.poke(newest)
    assert bench.land(newest, root=roots[0])
    assert bench.land(dates[0], newest, root=roots[1])
    bench.reconcile(roots[2])
    bench.check([newest], roots[0])
    for root in roots[1:]:
        bench.check(dates, root)


# Totals, pages, entries

PAGED = [
    reading(f"{name}={value}, pages of {cap}", page_cap=cap, **{name: value})
    for name, value, cap in (
        ("total", "right", 1),
        ("total", "unfiltered", 1),
        ("total", "unfiltered", 7),
        ("total", "text", 7),
        *(("beyond", value, 7) for value in ("null", "missing", "204", "404", "last")),
        ("order", "descending", 7),
    )
] + [
    reading("sizes of 1000 refused", largest_size=999),
    reading("sizes over 30 refused", largest_size=30),
    reading("larger sizes are 30", largest_size=500, larger_size="30"),
]

UNSETTLED = [
    reading(f"{name}={value}, pages of {cap}", page_cap=cap, **{name: value})
    for name, values in {"total": ("page", "moving"), "order": ("unstable", "swapping")}.items()
    for value in values
    for cap in (1, 7)
] + [
    # Nothing tells such a total from the right one of a list that breaks off.
    reading("unfiltered, nothing beyond", total="unfiltered", beyond="404", none="404", page_cap=7),
]

ENTRIES = readings(
    stamps=("iso", "fractions", "no_zone", "epoch", "epoch_ms", "pacific", "malformed"),
    expired_on=("malformed", "absent"),
    ids=("number", "shared"),
    login_status=("201",),
    token_type=("bearer", "BEARER"),
    expires_in=("ms", "text", "absent"),
)


@two_reports
@pytest.mark.parametrize("ways", PAGED)
def test_a_range_and_a_date_land_whole(bench: Bench, report: str, ways: Ways) -> None:
    bench.report = report
    dates = bench.window(12)
    bench.land(dates[3], root=bench.root / "date")
    bench.land(dates[0], dates[-1], root=bench.root / "range")
    assert not bench.red
    bench.check([dates[3]], bench.root / "date")
    bench.check(dates, bench.root / "range")


@pytest.mark.parametrize("ways", ENTRIES)
def test_what_nobody_needs_fails_nobody(bench: Bench, ways: Ways) -> None:
    dates = bench.window()
    bench.land(dates[3], root=bench.root / "date")
    bench.land(dates[0], dates[-1], root=bench.root / "range")
    assert not bench.red
    bench.check([dates[3]], bench.root / "date")
    bench.check(dates, bench.root / "range")


@two_reports
@pytest.mark.parametrize("ways", UNSETTLED)
def test_a_listing_that_does_not_settle_lands_whole_or_is_red(bench: Bench, report: str, ways: Ways) -> None:
    bench.report = report
    dates = bench.window(12)
    bench.land(dates[0], dates[-1])
    bench.check_right_or_red(dates)


@two_reports
@pytest.mark.parametrize("ways", [reading("total=unfiltered", total="unfiltered")])
def test_the_sensor_does_not_take_a_total_for_files(bench: Bench, report: str, ways: Ways) -> None:
    bench.report = report
    for file in bench.sim.listed(report, bench.scope.get("site"), bench.today, bench.today):
        bench.sim.world.remove(file)
    assert not bench.poke(str(bench.today))


# Nothing there


@two_reports
@pytest.mark.parametrize("ways", readings(none=("empty", "null", "missing", "204", "404", "406")))
def test_a_date_without_files_is_believed_when_it_is_over_and_not_before(
    bench: Bench, report: str, ways: Ways
) -> None:
    bench.report = report
    dates = bench.window()
    for day in (dates[2], dates[-1]):
        for file in bench.sim.listed(report, bench.scope.get("site"), *period(day)):
            bench.sim.world.remove(file)
    assert bench.land(dates[-1], root=bench.root / "daily") is None
    assert not bench.poke(dates[-1])
    assert bench.land(dates[2], root=bench.root / "daily")["files"] == 0
    assert bench.warned(dates[2])
    bench.check([dates[2], dates[-1]], bench.root / "daily")
    for name in ("range", "reconcile"):
        if name == "range":
            bench.land(dates[0], dates[-1], root=bench.root / name)
        else:
            bench.reconcile(bench.root / name)
        bench.check(dates, bench.root / name)


@pytest.mark.parametrize("ways", readings(unknown_site=("406", "404", "403", "empty")))
def test_a_site_that_the_account_does_not_have_is_red_and_named(
    bench: Bench, ways: Ways, tmp_path: Path
) -> None:
    bench.report = "cdr"
    dates = bench.window()
    for asked in ((dates[2], None), (dates[0], dates[4])):
        assert bench.land(*asked, site="misspelt") is None
        assert "misspelt" in str(bench.red[-1])
    assert not list(tmp_path.rglob("_manifest.json"))


@pytest.mark.parametrize(
    "ways",
    [
        reading(f"dates {dates}, unknown sites {way}", world={"sites": 3}, dates=dates, unknown_site=way)
        for dates in ("utc", "name")
        for way in ("406", "empty")
    ],
)
def test_a_site_of_a_batch_that_there_is_not_holds_back_no_other(bench: Bench, ways: Ways) -> None:
    bench.report = "cdr"
    dates = [day for day in bench.window() if bench.truth(day)]
    sites = [bench.sim.world.sites[0], "misspelt", *bench.sim.world.sites[1:]]
    assert bench.land(dates[0], dates[-1], site=sites) is None
    assert "misspelt" in str(bench.red[-1])
    for site in bench.sim.world.sites:
        bench.site = site
        bench.check(dates)
    assert not list(bench.root.rglob("site=misspelt"))


# Connections, links


@pytest.mark.parametrize("limit", [20, 15])
@pytest.mark.parametrize(
    "ways",
    [
        reading(
            f"{counted}, for each {per}, {hosts} hosts, {status}, Retry-After {after}",
            connections=counted,
            connections_per=per,
            too_many=status,
            retry_after=after,
            world={"files_per_day": 5, "download_hosts": [f"127.0.0.{2 + n}" for n in range(hosts)]},
        )
        for counted, per, hosts, status, after in (
            ("requests", "token", 1, "429", "absent"),
            ("open", "token", 1, "429", "absent"),
            ("open", "token", 3, "429", "seconds"),
            ("open", "account", 3, "429", "date"),
            ("open", "token", 3, "503", "absent"),
        )
    ],
)
def test_all_lands_after_few_refusals_where_idle_connections_count(
    bench: Bench, ways: Ways, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the server allows fewer than the document says, but then with more refusals."""
    # It is the server that ends connections: six attempts in a moment do not give a busy machine the time.
    monkeypatch.setattr(retry, "pause", REAL_PAUSE)
    bench.sim.max_connections = limit
    dates = bench.window(12)
    bench.land(dates[0], dates[-1])
    assert not bench.red
    bench.check(dates)
    assert bench.sim.count(status=int(ways.too_many)) <= (20 if limit == 20 else 60)


@two_reports
@pytest.mark.parametrize("ways", readings(storage=("400", "403")))
def test_a_storage_behind_a_redirect_is_not_sent_the_token(bench: Bench, report: str, ways: Ways) -> None:
    bench.report = report
    dates = bench.window(4)
    bench.land(dates[0], dates[-1])
    assert not bench.red
    bench.check(dates)
    assert [r.token for r in bench.sim.log(call="download") if "signature" in r.query and r.token] == []


@two_reports
@pytest.mark.parametrize(
    "ways",
    [
        reading(f"answered {status}", link_seconds=60, dead_link=status)
        for status in ("404", "410", "401", "403")
    ],
)
def test_links_that_die_between_the_listing_and_the_download_are_listed_anew(
    bench: Bench, report: str, ways: Ways
) -> None:
    """In the same task, by a landing and by a download of what another task has listed."""
    bench.report = report
    dates = bench.window(4)
    late = [timedelta(seconds=61)]

    def pause(asked: Any) -> None:
        if asked.kind == "download" and late:
            bench.sim.now.advance(late.pop())

    bench.sim.before_answer = pause
    bench.land(dates[0], dates[-1], root=bench.root / "landed")
    late.append(timedelta(seconds=61))
    bench.hand_over(dates[1], None, bench.root / "given")
    assert not bench.red
    bench.check(dates, bench.root / "landed")
    bench.check([dates[1]], bench.root / "given")


@two_reports
@pytest.mark.parametrize("ways", [reading("when listed again", link_listings=1)])
def test_links_that_the_next_listing_has_killed_are_listed_anew(
    bench: Bench, report: str, ways: Ways
) -> None:
    bench.report = report
    day = bench.window()[3]
    files = bench.task(CcaListFilesOperator, report=report, partition=day, **bench.scope)
    assert bench.poke(day)
    bench.task(CcaDownloadFilesOperator, files=files, destination=str(bench.root))
    assert not bench.red
    bench.check([day])


# Retention


@two_reports
@pytest.mark.cca_simulator(days=450, ways=Ways(retention_days=494))
def test_what_is_listed_lands_however_old_it_is(bench: Bench, report: str) -> None:
    bench.report = report
    days = [str(bench.today - timedelta(days=n)) for n in range(372, 362, -1)]
    bench.land(days[0], root=bench.root / "date")
    bench.land(days[0], days[-1], root=bench.root / "range")
    assert not bench.red
    bench.check(days[:1], bench.root / "date")
    bench.check(days, bench.root / "range")


@two_reports
@pytest.mark.cca_simulator(days=450)
def test_a_date_of_which_nothing_is_listed_any_more_lands_nothing(bench: Bench, report: str) -> None:
    bench.report = report
    day = str(bench.today - timedelta(days=370))
    assert bench.land(day) is None
    assert bench.landed() == {}


# Logins, the site list


@pytest.mark.parametrize("ways", readings(login_page=("401", "200")))
def test_a_token_that_is_refused_with_a_login_page_is_renewed_or_the_run_is_red(
    bench: Bench, ways: Ways
) -> None:
    (day,) = bench.window(4)[:1]
    bench.land(day, root=bench.root / "first")
    bench.sim.inject(TokenExpired(), "list")
    bench.land(day)
    bench.check_right_or_red([day])


@pytest.mark.parametrize(
    "ways",
    readings(
        site_list=("quoted", "comma", "semicolon", "crlf", "cr", "bom", "utf-16", "gzip"),
        site_list_total=("Total: {rows}", "total:{rows}", "Total:{rows} sites", "Total:{lines}", ""),
    ),
)
def test_a_site_list_lands_as_it_came_or_is_red(bench: Bench, ways: Ways) -> None:
    done = bench.task(CcaSiteListToObjectStorageOperator, destination=str(bench.root))
    assert bool(done) is not bool(bench.red)
    if done:
        (landed,) = bench.root.rglob("CCA_SITES_LIST_*.csv")
        (truth,) = bench.sim.truth("site_list")
        assert md5(landed.read_bytes()).hexdigest() == truth.md5
    assert done or not list(bench.root.rglob("_manifest.json"))


# What it costs


@every_report
@pytest.mark.parametrize("ways", [reading("created in UTC")])
def test_a_range_costs_at_most_two_requests_more_than_one(bench: Bench, report: str, ways: Ways) -> None:
    bench.report = report
    dates = bench.window()
    if not bench.truth(dates[-1]):
        dates.pop()  # a month of which nothing is there yet
    bench.land(dates[0], dates[-1])
    assert not bench.red
    assert bench.sim.count(call="list") <= 1 + 2


@pytest.mark.parametrize("ways", [reading("created in UTC", world={"sites": 3})])
def test_reconcile_costs_at_most_two_requests_more_for_each_report(bench: Bench, ways: Ways) -> None:
    arguments = {"report": list(SCOPES), "lookback_days": 20, "alarm_days": None}
    assert bench.task(CcaReconcileOperator, destination=str(bench.root), **arguments)
    most = LISTINGS_OF_ALL + 2 * len(SCOPES) + 2 + 9 * month_is_being_made(bench.sim)
    assert bench.sim.count(call="list") <= most


@pytest.mark.parametrize("report", DAILY)
@pytest.mark.parametrize("ways", [reading("412 or 403"), reading("empty", unfinished="empty")])
def test_a_newest_date_that_is_being_made_costs_few_requests_more(
    bench: Bench, report: str, ways: Ways
) -> None:
    """Three at most; where it empties the range, that without the young dates, and each of these alone."""
    bench.report = report
    dates = bench.window()
    bench.sim.unfinished.add(bench.today)
    bench.land(dates[0], dates[-1])
    asked = bench.sim.count(call="list") - bench.sim.count(call="sites")
    assert asked <= 1 + 2 + (4 if ways.unfinished == "empty" else 3)
