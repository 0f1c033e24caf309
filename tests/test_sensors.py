"""The sensor and its trigger: the same outcome in every mode."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pendulum
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ConnectionResult

from airflow_provider_cca.api.availability import FAILED_LOOKS
from airflow_provider_cca.errors import ServerFault
from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException
from airflow_provider_cca.integration.triggerer import MOST_ASKING
from airflow_provider_cca.sensors import CcaFilesSensor
from airflow_provider_cca.simulator import Delay, Simulator, Status, StillProcessing, TokenExpired
from airflow_provider_cca.triggers import CcaFilesTrigger

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowRescheduleException, TaskDeferred


def sensor(**arguments: Any) -> CcaFilesSensor:
    return CcaFilesSensor(task_id="wait", **{"report": "cdr_compressed", "poke_interval": 0, **arguments})


def fire(trigger: CcaFilesTrigger, first_wait: float = 0.0) -> dict[str, Any]:
    """The event of a trigger, as Airflow would carry it through its database."""

    async def first() -> Any:
        trigger.first_wait = first_wait
        return (await anext(trigger.run())).payload

    path, arguments = trigger.serialize()
    assert path == "airflow_provider_cca.triggers.CcaFilesTrigger"
    trigger.__init__(**json.loads(json.dumps(arguments)))
    return json.loads(json.dumps(asyncio.run(first())))


def outcome(operator: CcaFilesSensor, run: Any, day: str, first_wait: float = 0.0) -> Any:
    """What the sensor returns, whatever mode it waits in."""
    while True:
        try:
            return run(operator, day)
        except AirflowRescheduleException:
            continue
        except TaskDeferred as deferred:
            event = fire(deferred.trigger, first_wait)
            return getattr(operator, deferred.method_name)(
                {"params": {}, "logical_date": None, **_run(day)}, event
            )


def _run(day: str) -> dict[str, Any]:
    return {"logical_date": pendulum.parse(day)}


class _TaskInstance:
    """As much of a task instance as a rescheduled sensor asks for."""

    @staticmethod
    def get_first_reschedule_date(context: Any) -> None:
        return None


@pytest.fixture(params=["poke", "reschedule", "deferrable"])
def mode(request: pytest.FixtureRequest, run: Any) -> Any:
    """Runs a sensor in one of its modes."""

    def act(day: str, **arguments: Any) -> Any:
        how = (
            {"deferrable": True}
            if request.param == "deferrable"
            else {"mode": request.param, "deferrable": False}
        )
        return outcome(sensor(**how, **arguments), lambda op, d: run(op, d, ti=_TaskInstance()), day)

    return act


def test_files_that_are_there_end_the_wait_at_once(sim: Simulator, mode, day) -> None:
    files = len(sim.truth("cdr_compressed", day, day))
    assert mode(day) == {"report": "cdr_compressed", "partition": day, "files": files}
    assert sim.count(call="cdr_compressed") == 1


def test_the_403_that_means_generating_is_waited_out(sim: Simulator, mode, day) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", times=3)
    assert mode(day)["files"] == len(sim.truth("cdr_compressed", day, day))
    assert sim.count(call="cdr_compressed") == 4


def test_the_412_of_peak_ports_is_waited_out(sim: Simulator, mode, day) -> None:
    sim.inject(StillProcessing(), "peak_port_daily", times=3)
    assert mode(day, report="peak_port_daily", level="site")["files"] == 1
    assert sim.count(status=412) == 3


def test_an_empty_listing_is_waited_out(sim: Simulator, mode, day) -> None:
    empty = {"total": 0, "from": 0, "size": 0, "items": []}
    sim.inject(Status(200, body=json.dumps(empty).encode()), "cdr_compressed", times=2)
    assert mode(day)["files"] > 0


def test_an_empty_listing_ends_the_wait_when_that_is_allowed(sim: Simulator, mode, day) -> None:
    sim.edit_answer = lambda asked, answer: (
        {**answer, "total": 0, "items": []} if "items" in answer else answer
    )
    assert mode(day, allow_empty=True) == {"report": "cdr_compressed", "partition": day, "files": 0}


def test_a_fault_that_passes_is_not_the_end_of_the_wait(sim: Simulator, mode, day) -> None:
    sim.inject(Status(503), "cdr_compressed", times=5)
    assert mode(day)["files"] > 0


def test_a_fault_that_repeats_ends_the_wait_as_itself(sim: Simulator, mode, day) -> None:
    sim.inject(Status(503), "cdr_compressed", times=None)
    with pytest.raises(ServerFault):
        mode(day)


def test_a_server_that_wants_a_long_pause_does_not_end_the_wait(
    sim: Simulator, mode, day, monkeypatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    sim.inject(Status(503, retry_after=600), "cdr_compressed", times=1)
    assert mode(day, poke_interval=0)["files"] > 0


def test_never_fail_skips_whatever_happens(sim: Simulator, mode, day) -> None:
    sim.inject(Status(503), "cdr_compressed", times=None)
    with pytest.raises(AirflowSkipException):
        mode(day, never_fail=True)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Status(406), r"finds a parameter invalid \(406\)"),
        (Status(403, "File expired for download"), "gone"),
        (TokenExpired(), "refuses a fresh token"),
    ],
)
def test_what_no_waiting_can_cure_ends_it_at_once(sim: Simulator, mode, day, fault, says) -> None:
    sim.inject(fault, "cdr_compressed", times=None)
    with pytest.raises(AirflowFailException, match=says):
        mode(day)


def test_what_comes_up_while_waiting_is_the_same_error(sim: Simulator, mode, day) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", times=1)
    sim.inject(Status(406), "cdr_compressed", times=None, skip=0)
    with pytest.raises(AirflowFailException, match="406"):
        mode(day)


def test_soft_fail_skips_instead(sim: Simulator, mode, day) -> None:
    sim.inject(Status(406), "cdr_compressed", times=None)
    with pytest.raises(AirflowSkipException):
        mode(day, soft_fail=True)


def test_a_date_outside_retention_is_skipped_in_a_scheduled_run(sim: Simulator, mode) -> None:
    with pytest.raises(AirflowSkipException, match="365 days"):
        mode("2020-01-01")
    assert sim.requests == []


def test_a_date_outside_retention_is_an_error_when_asked_for(sim: Simulator, mode, day) -> None:
    with pytest.raises(AirflowFailException, match="365 days"):
        mode(day, partition="2020-01-01")


def test_a_date_whose_files_are_vanishing_is_not_waited_for(sim: Simulator, mode) -> None:
    """The day on which its files are deleted: none is listed, and none can come."""
    last_day = pendulum.now("UTC").subtract(days=365).to_date_string()
    with pytest.raises(AirflowSkipException, match="has no files any more"):
        mode(last_day)
    with pytest.raises(AirflowFailException, match="has no files any more"):
        mode(last_day, partition=last_day)


def test_a_wait_that_is_deferred_has_the_sensors_timeout(sim: Simulator, run, day) -> None:
    sim.inject(StillProcessing(), "cdr_compressed")
    with pytest.raises(TaskDeferred) as deferred:
        run(sensor(deferrable=True, timeout=4711), day)
    assert deferred.value.timeout == timedelta(seconds=4711)


def test_the_trigger_does_not_look_again_at_once(sim: Simulator, run, day) -> None:
    sim.inject(StillProcessing(retry_after=90), "cdr_compressed")
    with pytest.raises(TaskDeferred) as deferred:
        run(sensor(deferrable=True, poke_interval=5), day)
    assert deferred.value.trigger.serialize()[1]["first_wait"] == 90


def test_a_range_is_waited_for_as_a_whole(sim: Simulator, run, day) -> None:
    """With the param partition_end, one look asks for all of it."""
    result = run(sensor(deferrable=False), params={"partition": day, "partition_end": day})
    assert result["files"] == len(sim.truth("cdr_compressed", day, day))
    first = pendulum.parse(day).subtract(days=4).to_date_string()
    result = run(sensor(deferrable=False), params={"partition": first, "partition_end": day})
    assert result["files"] == len(sim.truth("cdr_compressed", first, day))


def test_retry_after_is_longer_than_the_interval(sim: Simulator, run, day) -> None:
    sim.inject(StillProcessing(retry_after=90), "cdr_compressed")
    operator = sensor(deferrable=False, mode="reschedule", poke_interval=5)
    assert not operator.poke({"params": {}, **_run(day)}).is_done
    assert operator._get_next_poke_interval(0, lambda: 0.0, 1) == 90


def test_retry_after_does_not_reach_beyond_the_timeout(sim: Simulator, day) -> None:
    sim.inject(StillProcessing(retry_after=90), "cdr_compressed")
    operator = sensor(deferrable=False, poke_interval=5, timeout=100)
    operator.poke({"params": {}, **_run(day)})
    waits = [operator._get_next_poke_interval(0, partial(float, taken), 1) for taken in (0, 70, 99)]
    assert waits == [90, 30, 5]


def test_the_trigger_honours_retry_after_too(sim: Simulator, day, monkeypatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    sim.inject(StillProcessing(retry_after=90), "cdr_compressed")
    sim.inject(StillProcessing(), "cdr_compressed")
    fire(CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day, poke_interval=5))
    assert slept == [0.0, 90, 5]


def test_the_trigger_asks_once_a_look(sim: Simulator, day) -> None:
    """Its threads are shared with all other triggers, so it does not wait in one of them."""
    sim.inject(Status(503), "cdr_compressed", times=None)
    fire(CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day, poke_interval=0))
    assert sim.count(call="cdr_compressed") == FAILED_LOOKS


def test_the_loop_goes_on_while_the_server_is_slow(sim: Simulator, day) -> None:
    sim.inject(Delay(0.2), "cdr_compressed")
    trigger = CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day)

    async def both() -> int:
        event, ticks = asyncio.ensure_future(anext(trigger.run())), 0
        while not event.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    assert asyncio.run(both()) > 100


def test_the_triggers_row_holds_no_secret(sim: Simulator, day) -> None:
    trigger = CcaFilesTrigger(
        cca_conn_id="cca_default", report="cdr", partition=day, site="a", poke_interval=5
    )
    assert trigger.serialize()[1] == {
        "cca_conn_id": "cca_default",
        "report": "cdr",
        "partition": day,
        "partition_end": None,
        "site": "a",
        "level": None,
        "allow_empty": False,
        "poke_interval": 5,
        "first_wait": 0.0,
    }


def test_a_missing_connection_ends_a_deferred_wait_with_its_line(sim: Simulator, day) -> None:
    event = fire(CcaFilesTrigger(cca_conn_id="nowhere", report="cdr_compressed", partition=day))
    assert event["error"] == "InvalidConnection"
    assert "there is no connection 'nowhere'" in event["message"]


class Supervisor:
    """What a triggerer asks for connections. Those of 3.1 to 3.2.1 end when a thread asks it as well."""

    def __init__(self, connection: str) -> None:
        fields = json.loads(connection)
        self.connection = {"conn_id": "cca_default", **fields, "extra": json.dumps(fields["extra"])}
        self.asked: list[tuple[str, int]] = []
        self.masked: list[Any] = []

    def send(self, message: Any) -> None:
        self.asked.append((message.type, threading.get_ident()))
        self.masked += [message.value] if message.type == "MaskSecret" else []

    async def asend(self, message: Any) -> Any:
        self.send(message)
        return ConnectionResult(**self.connection) if message.type == "GetConnection" else None


def test_a_trigger_asks_airflow_on_the_event_loop_alone(sim: Simulator, day, monkeypatch) -> None:
    supervisor = Supervisor(sim.connection_json)
    monkeypatch.delenv("AIRFLOW_CONN_CCA_DEFAULT")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    event = fire(CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day))
    assert event["files"] > 0
    assert ("GetConnection", threading.get_ident()) in supervisor.asked
    assert {thread for _, thread in supervisor.asked} == {threading.get_ident()}
    assert all(secret in supervisor.masked for secret in (sim.password, *sim.tokens))


def test_what_is_secret_is_told_once_and_not_at_each_look(sim: Simulator, day, monkeypatch) -> None:
    supervisor = Supervisor(sim.connection_json)
    monkeypatch.delenv("AIRFLOW_CONN_CCA_DEFAULT")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    sim.inject(StillProcessing(), "list", times=3)
    event = fire(
        CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day, poke_interval=0.01)
    )
    assert (event["files"] > 0, sim.count(call="list")) == (True, 4)
    assert [supervisor.masked.count(token) for token in sim.tokens] == [1]


def test_triggers_that_wake_up_together_ask_a_few_at_a_time(sim: Simulator, day, monkeypatch) -> None:
    """So that no other trigger waits for all of them."""
    supervisor = Supervisor(sim.connection_json)
    asking: list[int] = [0]

    async def slowly(message: Any) -> Any:
        if message.type == "GetConnection":
            asking.append(asking[-1] + 1)
            await asyncio.sleep(0.01)
            asking.append(asking[-1] - 1)
        return await Supervisor.asend(supervisor, message)

    async def all_fire() -> list[Any]:
        trigger = CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day)
        return await asyncio.gather(*(anext(trigger.run()) for _ in range(40)))

    monkeypatch.delenv("AIRFLOW_CONN_CCA_DEFAULT")
    monkeypatch.setattr(supervisor, "asend", slowly)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    assert all(event.payload["files"] for event in asyncio.run(all_fire()))
    assert 1 < max(asking) <= MOST_ASKING


def test_a_site_list_is_nothing_to_wait_for() -> None:
    with pytest.raises(ValueError, match="has no listing"):
        sensor(report="site_list")
