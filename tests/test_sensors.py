"""The sensor and its trigger: the same outcome in every mode."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ConnectionResult

from airflow_provider_cca import sensors, triggers
from airflow_provider_cca.api.availability import FAILING_SECONDS
from airflow_provider_cca.errors import InvalidArgument, ServerFault
from airflow_provider_cca.integration import triggerer
from airflow_provider_cca.integration.compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_cca.integration.triggerer import MAX_THREADS, MOST_ASKING
from airflow_provider_cca.sensors import AIRFLOWS_MARGIN, CcaFilesSensor
from airflow_provider_cca.simulator import (
    Delay,
    Match,
    Simulator,
    Status,
    StillProcessing,
    TokenExpired,
    Trickle,
    Ways,
)
from airflow_provider_cca.triggers import CcaFilesTrigger

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow 3.1
    from airflow.exceptions import TaskDeferred

HOUR = 3600
INTERVAL = 300


class Clock:
    """The time of the sensor and its trigger, which passes only in their pauses."""

    def __init__(self) -> None:
        self.now = self.start = datetime.now(UTC).timestamp()
        self.pauses: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def passed(self) -> float:
        return self.now - self.start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sensors, "time", clock)
    monkeypatch.setattr(triggers, "time", clock)
    monkeypatch.setattr(asyncio, "sleep", clock.asleep)
    return clock


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
        except AirflowRescheduleException as rescheduled:
            if isinstance(sensors.time, Clock):
                sensors.time.sleep(rescheduled.reschedule_date.timestamp() - sensors.time.time())
        except TaskDeferred as deferred:
            wait = deferred.trigger.first_wait if isinstance(sensors.time, Clock) else first_wait
            event = fire(deferred.trigger, wait)
            return getattr(operator, deferred.method_name)(
                {"params": {}, "logical_date": None, **_run(day)}, event
            )


def _run(day: str) -> dict[str, Any]:
    return {"logical_date": pendulum.parse(day)}


class _TaskInstance:
    """As much of a task instance as a rescheduled sensor asks for: when its first process began."""

    def __init__(self) -> None:
        self.first: datetime | None = None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        before, self.first = self.first, self.first or datetime.fromtimestamp(sensors.time.time(), UTC)
        return before


HOW = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture(params=HOW)
def mode(request: pytest.FixtureRequest, run: Any) -> Any:
    """Runs a sensor in one of its modes."""

    def act(day: str, *, dag_run: Any = None, **arguments: Any) -> Any:
        instance = _TaskInstance()
        return outcome(
            sensor(**HOW[request.param], **arguments),
            lambda op, d: run(op, d, ti=instance, dag_run=dag_run),
            day,
        )

    act.name = request.param
    return act


@pytest.fixture
def today(sim: Simulator) -> str:
    return str(sim.world.today)


@pytest.fixture
def empty(sim: Simulator) -> None:
    """Lets the server list nothing, whatever it is asked for."""
    sim.edit_answer = lambda asked, answer: (
        {**answer, "total": 0, "items": []} if "items" in answer else answer
    )


def ago(days: int) -> str:
    return pendulum.now("UTC").subtract(days=days).to_date_string()


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


def test_an_empty_listing_of_a_date_that_is_over_ends_the_wait(empty, mode) -> None:
    """48 hours after its end in UTC, so that nobody's zone makes it young."""
    assert mode(ago(3), allow_empty=True) == {"report": "cdr_compressed", "partition": ago(3), "files": 0}
    with pytest.raises(AirflowSkipException, match=r"lists no file of it.*allow_empty=True"):
        mode(ago(3))


@pytest.mark.cca_simulator(sites=["acme"], days=30, ways=Ways(unknown_site="empty"))
def test_an_empty_listing_of_a_site_that_is_not_listed_is_not_believed(sim: Simulator, mode) -> None:
    with pytest.raises(AirflowFailException, match="'acne' is not one of the 1 sites of this account"):
        mode(ago(3), report="cdr", site="acne", allow_empty=True)


@pytest.mark.parametrize("days", [0, 1, 2])
def test_an_empty_listing_of_a_younger_date_is_not_believed(empty, clock, mode, days) -> None:
    with pytest.raises(AirflowSkipException, match="nothing was listed within 1:00:00"):
        mode(ago(days), allow_empty=True, poke_interval=INTERVAL, timeout=HOUR)
    assert clock.passed == HOUR


@pytest.mark.parametrize("allow_empty", [True, False])
def test_a_wait_in_which_nothing_is_listed_ends_skipped_and_says_what_comes_next(
    empty, clock, mode, today, allow_empty
) -> None:
    with pytest.raises(AirflowSkipException, match=r"There may be no files.*cca_reconcile .*records that"):
        mode(today, poke_interval=900, timeout=36 * HOUR, allow_empty=allow_empty)
    assert clock.passed == 36 * HOUR


def test_a_report_that_is_never_made_fails_at_the_timeout(sim: Simulator, clock, mode, today) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", times=None)
    with pytest.raises(AirflowSensorTimeout, match=r"generated.*within the timeout of 1 day, 12:00:00"):
        mode(today, poke_interval=900, timeout=36 * HOUR)
    assert clock.passed == 36 * HOUR


def test_soft_fail_skips_at_the_timeout(sim: Simulator, clock, mode, today) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", times=None)
    with pytest.raises(AirflowSkipException, match="within the timeout"):
        mode(today, poke_interval=INTERVAL, timeout=HOUR, soft_fail=True)


def test_files_that_are_listed_a_day_late_end_the_wait_which_says_by_how_much(
    sim: Simulator, clock, mode, today, said
) -> None:
    """A server whose dates lag behind UTC: the files of a date come up on the next one."""
    sim.inject(StillProcessing(), "cdr_compressed", times=30)
    assert mode(today, poke_interval=HOUR, timeout=36 * HOUR)["files"] > 0
    late = (
        clock.now
        - datetime.combine(sim.world.today + timedelta(days=1), datetime.min.time(), UTC).timestamp()
    )
    assert f"listed {late / HOUR:.1f} hours after the date had ended in UTC" in said()


def test_a_date_that_was_over_before_the_wait_says_nothing_of_a_lag(sim: Simulator, mode, day, said) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", times=1)
    assert mode(day)["files"] > 0
    assert "lag" not in said()


def test_a_total_that_counts_without_the_filter_is_no_file(sim: Simulator, clock, mode, today) -> None:
    sim.edit_answer = lambda asked, answer: (
        {**answer, "total": 133, "items": []} if "items" in answer else answer
    )
    with pytest.raises(AirflowSkipException, match="nothing was listed"):
        mode(today, poke_interval=INTERVAL, timeout=HOUR)


def test_files_are_counted_by_what_is_listed(sim: Simulator, mode, day) -> None:
    sim.edit_answer = lambda asked, answer: {**answer, "total": 133} if "items" in answer else answer
    assert mode(day)["files"] == len(sim.truth("cdr_compressed", day, day))


def test_odd_entries_count_as_listed(sim: Simulator, mode, day) -> None:
    sim.edit_answer = lambda asked, answer: (
        {**answer, "items": [{"id": None, "createdOn": "soon"}], "total": 1} if "items" in answer else answer
    )
    assert mode(day)["files"] == 1


@pytest.mark.parametrize("status", [404, 406, 204])
def test_a_date_whose_lack_of_files_is_a_refusal_is_waited_for(
    sim: Simulator, clock, mode, today, status
) -> None:
    """Other dates of the same report are answered, so that it cannot mean the arguments."""
    date = {"creationStartDate": f"{sim.world.today:%m%d%Y}"}
    sim.inject(Status(status), Match("cdr_compressed", query=date), times=None)
    with pytest.raises(AirflowSkipException, match="nothing was listed"):
        mode(today, poke_interval=INTERVAL, timeout=HOUR)


def test_a_fault_that_passes_is_not_the_end_of_the_wait(sim: Simulator, mode, day) -> None:
    sim.inject(Status(503), "cdr_compressed", times=5)
    assert mode(day)["files"] > 0


FAULTS = [Status(503), Status(500, retry_after=60), Status(200, body=b"<html>sorry</html>")]


@pytest.mark.parametrize("fault", FAULTS, ids=["503", "500", "html"])
@pytest.mark.parametrize("interval", [60, INTERVAL, 900])
def test_a_server_that_keeps_failing_ends_the_wait_without_retries(
    sim: Simulator, clock, mode, day, fault, interval, said
) -> None:
    """A rescheduled sensor forgets its failures, so that Airflow's retries are what counts them."""
    sim.inject(fault, "cdr_compressed", times=None)
    rescheduled = mode.name == "reschedule"
    ends = pytest.raises(Exception if rescheduled else AirflowFailException)
    with ends as ended:
        mode(day, poke_interval=interval, timeout=36 * HOUR)
    assert clock.passed <= FAILING_SECONDS < 45 * 60
    if not rescheduled:
        assert "the next run of cca_reconcile lands" in str(ended.value)
        assert "connection 'cca_default'" in str(ended.value)
        assert re.search(r"(?i)warning.*, and the wait ends at .* unless a check succeeds", said())


def test_a_host_that_refuses_connections_ends_the_wait_too(clock, mode, day, monkeypatch) -> None:
    connection = {"conn_type": "cca", "host": "127.0.0.1", "port": 9, "schema": "http"}
    connection |= {"login": "a", "password": "b"}
    monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9"):
        mode(day, poke_interval=INTERVAL, timeout=36 * HOUR)
    assert clock.passed <= FAILING_SECONDS


@pytest.mark.parametrize("fault", [Status(503), StillProcessing()], ids=["failing", "processing"])
def test_the_log_of_a_wait_that_fails_ends_in_one_line(sim: Simulator, clock, run, day, said, fault) -> None:
    sim.inject(fault, "cdr_compressed", times=None)
    operator = sensor(poke_interval=INTERVAL, timeout=HOUR)
    with pytest.raises((AirflowFailException, AirflowSensorTimeout)):
        run(operator, day)
    said()
    for callback in operator.on_failure_callback:
        callback({})
    assert said().count("the next run of cca_reconcile lands") == 1


def test_failures_that_are_interrupted_by_an_answer_do_not_add_up(sim: Simulator, clock, run, day) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", skip=6)
    sim.inject(Status(503), "cdr_compressed", times=12)
    assert outcome(sensor(deferrable=True, poke_interval=INTERVAL), run, day)["files"] > 0
    assert clock.passed == 13 * INTERVAL


def test_silent_fail_waits_on_while_the_server_fails(sim: Simulator, clock, mode, today) -> None:
    sim.inject(Status(503), "cdr_compressed", times=None)
    with pytest.raises(AirflowSensorTimeout, match="503"):
        mode(today, poke_interval=INTERVAL, timeout=3 * HOUR, silent_fail=True)
    assert clock.passed == 3 * HOUR


def test_the_timeout_counts_from_before_a_resume(sim: Simulator, clock, day) -> None:
    """An event of a trigger of an earlier version, which ends at a few failures also with silent_fail."""
    operator = sensor(deferrable=True, silent_fail=True, timeout=30, poke_interval=2)
    context = {"params": {}, **_run(day)}
    event = {**ServerFault("down", status=500).as_dict(), "looks": {"failed": 6}, "waited": 20.0}
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute_complete(context, event)
    assert deferred.value.timeout == timedelta(seconds=10) + AIRFLOWS_MARGIN
    with pytest.raises(AirflowSensorTimeout):
        operator.execute_complete(context, {**event, "waited": 29.0})


def test_a_trigger_that_is_made_anew_keeps_the_end_of_the_wait(sim: Simulator, clock, run, day) -> None:
    """As when the triggerer restarts, or hands it to another."""
    sim.inject(StillProcessing(), "cdr_compressed", times=None)
    with pytest.raises(TaskDeferred) as deferred:
        run(sensor(deferrable=True, poke_interval=INTERVAL, timeout=HOUR), day)
    clock.sleep(HOUR - 2 * INTERVAL)
    event = fire(deferred.value.trigger, INTERVAL)
    assert "generated" in event["timed_out"]
    assert clock.passed == HOUR


def test_exponential_backoff_doubles_the_time_waited(sim: Simulator, clock, mode, day) -> None:
    sim.inject(StillProcessing(), "cdr_compressed", times=6)
    mode(day, poke_interval=60, exponential_backoff=True, max_wait=timedelta(minutes=10))
    assert clock.pauses == pytest.approx([60, 60, 120, 240, 480, 600])


def test_a_server_that_wants_a_long_pause_does_not_end_the_wait(sim: Simulator, clock, mode, day) -> None:
    sim.inject(Status(503, retry_after=600), "cdr_compressed", times=1)
    assert mode(day, poke_interval=0)["files"] > 0
    assert clock.passed == 600


def test_never_fail_skips_whatever_happens(sim: Simulator, clock, mode, day) -> None:
    sim.inject(Status(503), "cdr_compressed", times=None)
    with pytest.raises(AirflowSkipException):
        mode(day, never_fail=True, poke_interval=INTERVAL)


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


@pytest.mark.parametrize("days", [365, 2000])
def test_a_date_whose_files_may_be_deleted_is_asked_for_and_not_waited_for(
    sim: Simulator, mode, days
) -> None:
    """None is listed, and none can come."""
    with pytest.raises(AirflowSkipException, match="older than the 365 days"):
        mode(ago(days))
    with pytest.raises(AirflowFailException, match="older than the 365 days"):
        mode(ago(days), partition=ago(days))
    assert sim.count(call="cdr_compressed") == 2


@pytest.mark.cca_simulator(days=400)
def test_files_that_the_server_still_lists_end_the_wait_however_old(sim: Simulator, mode) -> None:
    entry = {"id": "old"}
    sim.edit_answer = lambda asked, answer: (
        {**answer, "total": 1, "items": [entry]} if "items" in answer else answer
    )
    assert mode(ago(480))["files"] == 1


def test_a_date_to_come_is_not_waited_for(sim: Simulator, mode) -> None:
    with pytest.raises(AirflowSkipException, match="cannot be listed yet"):
        mode(ago(-3))
    with pytest.raises(AirflowFailException, match="cannot be listed yet"):
        mode(ago(-3), partition=ago(-3))
    assert sim.requests == []


def test_airflow_ends_a_deferral_after_the_trigger_would_have(sim: Simulator, run, day) -> None:
    sim.inject(StillProcessing(), "cdr_compressed")
    with pytest.raises(TaskDeferred) as deferred:
        run(sensor(deferrable=True, timeout=4711), day)
    over = deferred.value.timeout - timedelta(seconds=4711)
    assert timedelta(minutes=9) < over <= AIRFLOWS_MARGIN


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


def test_retry_after_is_longer_than_the_interval(sim: Simulator, clock, mode, day) -> None:
    sim.inject(StillProcessing(retry_after=90), "cdr_compressed")
    sim.inject(StillProcessing(), "cdr_compressed")
    mode(day, poke_interval=5)
    assert clock.pauses == [90, 5]


def test_a_wait_ends_when_its_next_check_would_come_after_the_timeout(
    sim: Simulator, clock, mode, today
) -> None:
    """To wait for the timeout would be in vain, and to check sooner against the server's wish."""
    sim.inject(StillProcessing(retry_after=90), "cdr_compressed", times=None)
    with pytest.raises(AirflowSensorTimeout):
        mode(today, poke_interval=5, timeout=100)
    assert clock.pauses == [90]


def test_the_trigger_asks_once_a_check(sim: Simulator, clock, day) -> None:
    """The next one is soon enough, and a thread that waits is one that others lack."""
    sim.inject(Status(503), "cdr_compressed", times=None)
    fire(CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day))
    assert sim.count(call="cdr_compressed") == len(clock.pauses) == 8


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


def test_the_triggers_row_holds_no_secret(sim: Simulator, clock, day) -> None:
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
        "poke_interval": 5,
        "first_wait": 0.0,
        "began": clock.now,
        "timeout": None,
        "exponential_backoff": False,
        "max_wait": None,
        "silent_fail": False,
        "failing_since": None,
    }


def test_a_trigger_that_an_earlier_version_stored_is_made_and_fires(sim: Simulator, day) -> None:
    row = {"cca_conn_id": "cca_default", "report": "cdr_compressed", "partition": day, "partition_end": None}
    row |= {"site": None, "level": None, "allow_empty": False, "poke_interval": 300.0, "first_wait": 0.0}
    assert fire(CcaFilesTrigger(**row))["files"] > 0


def test_a_missing_connection_ends_a_deferred_wait_with_its_line(sim: Simulator, day) -> None:
    event = fire(CcaFilesTrigger(cca_conn_id="nowhere", report="cdr_compressed", partition=day))
    assert event["error"] == "InvalidConnection"
    assert "there is no connection 'nowhere'" in event["message"]


def test_no_other_trigger_waits_while_many_servers_do_not_answer(sim: Simulator, day) -> None:
    """Those of other packages use the threads of asyncio."""
    free = threading.Event()

    def held(asked: Any, answer: Any) -> Any:
        if asked.kind == "list":
            free.wait(60)
        return answer

    async def both() -> int:
        trigger = CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day)
        checks = [asyncio.ensure_future(anext(trigger.run())) for _ in range(MAX_THREADS + 8)]
        while sim.count(call="token") == 0:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.to_thread(free.set), 30)
        return len(await asyncio.gather(*checks))

    sim.edit_answer = held
    assert asyncio.run(both()) == MAX_THREADS + 8


def test_a_check_that_is_not_answered_gives_its_thread_back(sim: Simulator, clock, day, monkeypatch) -> None:
    monkeypatch.setattr(triggers, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(triggerer, "MAX_THREADS", 1)
    sim.inject(Trickle(20), "cdr_compressed", times=1)
    event = fire(CcaFilesTrigger(cca_conn_id="cca_default", report="cdr_compressed", partition=day))
    assert event["looks"]["failed"] >= 1  # more on a machine that is busy
    assert event["looks"]["ready"] == 1


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


def test_what_is_secret_is_told_once_and_not_at_each_check(sim: Simulator, day, monkeypatch) -> None:
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


@pytest.mark.parametrize("sites", [["a", "b"], ("a", "b"), "['a', 'b']", '["a", "b"]'])
def test_a_list_of_sites_is_refused_while_the_dag_is_parsed(sites) -> None:
    with pytest.raises(InvalidArgument, match=r"got 2: map the task over them, as by .expand\(site=…\)"):
        sensor(report="cdr", site=sites)


@pytest.mark.parametrize("sites", [["a", "b"], "['a', 'b']"])
def test_a_list_of_sites_from_a_template_fails_without_retries(sim: Simulator, run, day, sites) -> None:
    operator = sensor(report="cdr", site="{{ sites }}")
    operator.site = sites
    with pytest.raises(AirflowFailException, match="site must be one name"):
        operator.execute({"params": {}, **_run(day)})


def test_a_site_that_is_a_number_under_native_rendering_is_its_text(sim: Simulator, day) -> None:
    operator = sensor(report="cdr", site="{{ params.site }}")
    operator.site = 12345
    with pytest.raises(AirflowFailException, match="'12345' is not one"):
        operator.execute({"params": {}, **_run(day)})


def test_the_connection_is_a_template(sim: Simulator, run, day) -> None:
    assert run(sensor(cca_conn_id="{{ 'cca_' ~ 'default' }}"), day)["files"] > 0
