"""What is tried again, how often, and after how long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event

import pytest

from airflow_provider_cca.core.retry import MAX_WAIT, Retry, pause
from airflow_provider_cca.errors import (
    Closed,
    ConnectionFailed,
    FileExpired,
    InvalidRequest,
    ServerFault,
    StillProcessing,
    TooManyConnections,
    TransientError,
    Unauthorized,
    WrongChecksum,
    WrongSize,
)


def failing(times: int, error: Callable[[int], Exception]) -> tuple[Callable[[], str], list[int]]:
    """A function that fails so often and then succeeds, and the list of its calls."""
    calls: list[int] = []

    def function() -> str:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise error(len(calls))
        return "done"

    return function, calls


@pytest.fixture
def retry() -> Retry:
    return Retry(Event(), first_wait=0)


@pytest.mark.parametrize("times", [0, 1, 5])
def test_what_may_pass_is_tried_again(retry, times):
    function, calls = failing(times, lambda n: ConnectionFailed("broke off"))
    assert (retry.call(function), len(calls)) == ("done", times + 1)


def test_when_attempts_run_out_the_last_error_comes_as_itself(retry):
    function, calls = failing(99, lambda n: ServerFault(f"failure {n}", status=500))
    with pytest.raises(ServerFault, match="failure 6"):
        retry.call(function)
    assert len(calls) == 6


def test_the_pauses_that_a_server_wants_are_bounded_in_all(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(
        "airflow_provider_cca.core.retry.pause", lambda seconds, closed: waited.append(seconds)
    )
    function, _ = failing(99, lambda n: ServerFault("busy", status=503, retry_after=100.0))
    with pytest.raises(ServerFault):
        Retry(Event()).call(function)
    assert 100 <= sum(waited) <= MAX_WAIT


@pytest.mark.parametrize("kind", [WrongSize, WrongChecksum])
def test_a_body_that_is_wrong_is_fetched_three_times(retry, kind):
    function, calls = failing(99, lambda n: kind("not as listed"))
    with pytest.raises(kind):
        retry.call(function)
    assert len(calls) == 3


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_caller_may_want_fewer_attempts(attempts):
    function, calls = failing(99, lambda n: WrongSize("short"))
    with pytest.raises(WrongSize):
        Retry(Event(), attempts, first_wait=0).call(function)
    assert len(calls) == attempts


@pytest.mark.parametrize(
    "error",
    [
        StillProcessing("x"),
        InvalidRequest("x"),
        Unauthorized("x"),
        FileExpired("x"),
        Closed("x"),
        ValueError("x"),
    ],
)
def test_what_will_not_pass_shortly_is_raised_at_once(retry, error):
    function, calls = failing(99, lambda n: error)
    with pytest.raises(type(error)):
        retry.call(function)
    assert len(calls) == 1


@pytest.mark.parametrize(("seconds", "asked"), [(120.0, 2), (120.1, 1), (1e9, 1)])
def test_a_server_that_wants_more_than_two_minutes_gets_them_from_airflow(retry, waits, seconds, asked):
    function, calls = failing(1, lambda n: TooManyConnections("slower", retry_after=seconds))
    if asked == 1:
        with pytest.raises(TooManyConnections):
            retry.call(function)
    else:
        assert retry.call(function) == "done"
    assert (len(calls), waits) == (asked, [120.0] * (asked - 1))


def test_waits_double_up_to_the_longest_and_are_spread():
    retry = Retry(Event(), first_wait=0.5, longest_wait=30.0)
    for attempt, longest in [(2, 0.5), (3, 1.0), (4, 2.0), (7, 16.0), (8, 30.0), (50, 30.0)]:
        seconds = [retry.wait_before(attempt, None) for _ in range(50)]
        assert longest / 2 <= min(seconds) < max(seconds) <= longest


def test_the_server_is_never_asked_sooner_than_it_wants():
    retry = Retry(Event(), first_wait=0.5, longest_wait=30.0)
    seconds = [retry.wait_before(2, 17.0) for _ in range(50)]
    assert 17.0 < min(seconds) < max(seconds) <= 17.5


def test_a_call_that_is_closed_is_not_made_again():
    closed = Event()
    function, calls = failing(99, lambda n: closed.set() or ConnectionFailed("shut down"))
    with pytest.raises(ConnectionFailed):
        Retry(closed, first_wait=0).call(function)
    assert len(calls) == 1


def test_a_wait_ends_at_once_when_closed():
    closed = Event()
    closed.set()
    with pytest.raises(Closed):
        pause(3600, closed)


def test_a_wait_that_nobody_ends_passes():
    assert pause(0, Event()) is None


def test_the_log_says_which_attempt_failed_and_why(retry, caplog):
    caplog.set_level(logging.INFO, "airflow_provider_cca.core.retry")
    retry.call(failing(1, lambda n: WrongSize("a.zip came short"))[0])
    assert caplog.messages == ["Attempt 1 of 3 failed: a.zip came short. Next in 0.0 s"]


def test_an_error_of_no_limit_is_tried_as_often_as_the_caller_says():
    function, calls = failing(9, lambda n: TransientError("broke off"))
    assert Retry(Event(), attempts=10, first_wait=0).call(function) == "done"
    assert len(calls) == 10
