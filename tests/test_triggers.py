"""The trigger of an asset watcher: each new partition once, whatever the server does meanwhile."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.simulator import Match, Simulator, Status, StillProcessing
from airflow_provider_cca.triggers import LONGEST_PAUSE, CcaNewPartitionTrigger
from tests.support.today import newest_whole_month

REPORT = "cdr_compressed"


class Enough(BaseException):
    """Ends a watch that would never end."""


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    naps = Naps()
    monkeypatch.setattr(asyncio, "sleep", naps.sleep)
    return naps


class Naps:
    """The pauses of a watch, which take no time; what is planned for one happens in it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.plans: Iterator[Any] = iter(())

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        plan = next(self.plans, None)
        if plan is None:
            raise Enough
        plan()

    def watch(self, trigger: CcaNewPartitionTrigger, *plans: Any) -> list[dict[str, Any]]:
        """The payloads of a life of the trigger, which goes through Airflow's database before it begins."""
        self.plans = iter(plans)
        path, arguments = trigger.serialize()
        assert path == "airflow_provider_cca.triggers.CcaNewPartitionTrigger"
        again = CcaNewPartitionTrigger(**json.loads(json.dumps(arguments)))
        payloads: list[dict[str, Any]] = []

        async def live() -> None:
            async for event in again.run():
                payloads.append(json.loads(json.dumps(event.payload)))

        with suppress(Enough):
            asyncio.run(live())
        return payloads


def nothing() -> None:
    pass


def watcher(**arguments: Any) -> CcaNewPartitionTrigger:
    return CcaNewPartitionTrigger(**{"report": REPORT, "poke_interval": 60, **arguments})


@pytest.fixture
def days(sim: Simulator) -> list[str]:
    """The last three creation dates."""
    return [str(sim.world.today - timedelta(days=back)) for back in (2, 1, 0)]


def test_each_partition_of_the_lookback_is_told_once_oldest_first(sim: Simulator, naps: Naps, days) -> None:
    payloads = naps.watch(watcher(), nothing, nothing, nothing)
    assert payloads == [
        {"report": REPORT, "partition": day, "files": len(sim.truth(REPORT, day, day))} for day in days
    ]
    assert sim.count(call=REPORT) == 3
    assert naps.seconds == [60, 60, 60, 60]


def test_each_check_tells_one_at_most(sim: Simulator, naps: Naps, days) -> None:
    """Airflow can keep the second of two events within moments until a third comes."""
    assert [payload["partition"] for payload in naps.watch(watcher())] == days[:1]
    assert [payload["partition"] for payload in naps.watch(watcher(), nothing)] == days[:2]


def test_a_partition_is_told_when_it_appears(sim: Simulator, naps: Naps, days) -> None:
    *_, newest = days
    rule = sim.inject(StillProcessing(), REPORT, times=None)
    payloads = naps.watch(watcher(lookback=1), nothing, lambda: sim.faults.remove(rule), nothing)
    assert [payload["partition"] for payload in payloads] == [newest]
    assert naps.seconds == [60] * 4


def test_a_partition_without_files_has_not_appeared(sim: Simulator, naps: Naps) -> None:
    sim.edit_answer = lambda asked, answer: (
        {**answer, "total": 0, "items": []} if "items" in answer else answer
    )
    assert naps.watch(watcher(), nothing) == []


def test_one_that_is_still_processing_holds_back_no_other(sim: Simulator, naps: Naps, days) -> None:
    sim.inject(StillProcessing(), REPORT, times=1)
    payloads = naps.watch(watcher(), nothing, nothing)
    assert [payload["partition"] for payload in payloads] == [days[1], days[0], days[2]]


def test_one_that_the_server_cannot_answer_for_holds_back_no_other(sim: Simulator, naps: Naps, days) -> None:
    oldest = (sim.world.today - timedelta(days=2)).strftime("%m%d%Y")
    sim.inject(Status(500), Match(REPORT, query={"creationStartDate": oldest}), times=None)
    payloads = naps.watch(watcher(), *[nothing] * 5)
    assert [payload["partition"] for payload in payloads] == [days[1], days[2]]


def test_a_life_after_a_restart_tells_the_lookback_again(sim: Simulator, naps: Naps) -> None:
    lives = [naps.watch(watcher(lookback=2), nothing) for _ in range(2)]
    assert lives[0] == lives[1]
    assert len(lives[0]) == 2


def test_it_is_never_faster_than_retry_after(sim: Simulator, naps: Naps) -> None:
    sim.inject(StillProcessing(retry_after=90), REPORT)
    sim.inject(Status(503, retry_after=700), REPORT, skip=0)
    naps.watch(watcher(lookback=1), nothing)
    assert naps.seconds == [90, 700]


def test_faults_never_end_it_and_its_pauses_grow_to_an_hour(sim: Simulator, naps: Naps, days, said) -> None:
    rule = sim.inject(Status(503), REPORT, times=None)
    payloads = naps.watch(watcher(), *[nothing] * 19, lambda: sim.faults.remove(rule), nothing, nothing)
    assert naps.seconds[:7] == [120, 240, 480, 960, 1920, 3600, 3600]
    assert naps.seconds[19:] == [LONGEST_PAUSE, 60, 60, 60]
    assert sorted(payload["partition"] for payload in payloads) == days
    assert said().count("that failed. Next check in") == 20


@pytest.mark.parametrize("fault", [Status(406), Status(401), Status(403, "File expired for download")])
def test_not_even_what_somebody_must_cure_ends_it(sim: Simulator, naps: Naps, days, said, fault) -> None:
    rule = sim.inject(fault, REPORT, times=None)
    payloads = naps.watch(watcher(), nothing, lambda: sim.faults.remove(rule), nothing, nothing)
    assert sorted(payload["partition"] for payload in payloads) == days
    assert said().count("that failed. Next check in") == 2


def test_a_missing_connection_does_not_end_it(sim: Simulator, naps: Naps) -> None:
    assert naps.watch(watcher(cca_conn_id="nowhere"), nothing, nothing) == []
    assert naps.seconds == [120, 240, 480]


def test_what_was_told_before_a_fault_is_not_told_again(sim: Simulator, naps: Naps, days) -> None:
    sim.inject(Status(503), REPORT, skip=1)
    payloads = naps.watch(watcher(), *[nothing] * 3)
    assert sorted(payload["partition"] for payload in payloads) == days
    assert naps.seconds == [60, 120, 60, 60]


def test_a_long_interval_is_not_made_shorter_by_faults(sim: Simulator, naps: Naps) -> None:
    sim.inject(Status(503), REPORT, times=None)
    naps.watch(watcher(poke_interval=7200), nothing)
    assert naps.seconds == [7200, 7200]


def test_the_loop_is_free_while_it_asks(sim: Simulator) -> None:
    async def both() -> int:
        event, ticks = asyncio.ensure_future(anext(watcher().run())), 0
        while not event.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    assert asyncio.run(both()) > 10


@pytest.mark.parametrize("scope", [{"report": "cdr", "site": "meridian0001"}, {"level": "customer"}])
def test_the_payload_names_the_site_or_the_level(sim: Simulator, naps: Naps, scope) -> None:
    arguments = {"report": "peak_port_daily", **scope}
    payload, *_ = naps.watch(watcher(**arguments))
    assert payload.items() >= arguments.items()


@pytest.mark.cca_simulator(days=70)
def test_months_are_told_as_months(sim: Simulator, naps: Naps) -> None:
    payload, *_ = naps.watch(watcher(report="peak_port_monthly", level="partner", lookback=2))
    assert payload["partition"] == f"{newest_whole_month():%Y-%m}"


def test_airflow_takes_equal_triggers_for_one_and_different_ones_for_two() -> None:
    def identity(**arguments: Any) -> int:
        return BaseEventTrigger.hash(*watcher(**arguments).serialize())

    same = [{"poke_interval": value} for value in (300, 300.0, timedelta(minutes=5))]
    assert len({identity(**arguments) for arguments in same}) == 1
    different = [{"poke_interval": 60}, {"lookback": 4}, {"report": "peak_port_daily", "level": "site"}]
    assert len({identity(**arguments) for arguments in (same[0], *different)}) == 4


def test_its_row_holds_no_secret() -> None:
    assert watcher(site=None).serialize()[1] == {
        "report": REPORT,
        "site": None,
        "level": None,
        "lookback": 3,
        "poke_interval": 60.0,
        "cca_conn_id": "cca_default",
    }


def test_an_asset_can_be_watched_by_it() -> None:
    asset = Asset("upstream", watchers=[AssetWatcher(name="new files", trigger=watcher())])
    assert isinstance(asset.watchers[0].trigger, CcaNewPartitionTrigger)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"report": "site_list"}, "has no listing"),
        ({"report": "cdr"}, "needs a site"),
        ({"lookback": 0}, "lookback is 0: give 1 to 31"),
        ({"report": "peak_port_monthly", "level": "site", "lookback": 13}, "lookback is 13: give 1 to 12"),
        ({"lookback": True}, "lookback is True: give 1 to 31"),
        ({"lookback": 2.0}, "lookback is 2.0"),
        *(
            ({"poke_interval": value}, re.escape(f"poke_interval is {value!r}: give a number of seconds"))
            for value in (0, -1, math.nan, math.inf, "300", "{{ 5 }}", None, True, 10**400, timedelta(0))
        ),
        *(
            ({"report": "cdr", "site": "a", **given}, "as nothing renders the arguments of a watcher")
            for given in (
                {"site": "{{ var.value.site }}"},
                {"site": ["a", "b"]},
                {"report": "{% raw %}"},
                {"report": None},
                {"level": 3},
                {"cca_conn_id": "{{ conn }}"},
            )
        ),
    ],
)
def test_what_cannot_be_watched_is_refused_while_parsing(arguments, says) -> None:
    with pytest.raises(InvalidArgument, match=says):
        watcher(**arguments)
