"""Error reporters send the local variables of each frame of an error and its causes: no secret is there."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from sentry_sdk.serializer import serialize
from sentry_sdk.utils import event_from_exception

from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.hooks import CcaHook
from tests.support.wire import LOGIN, TOKEN, Request, serving

PASSWORD = "S3cr3t-Pass-Word"
SECRETS = (PASSWORD, TOKEN, "pr0xy-Pass-Word")


def answers(login: bytes = LOGIN, body: bytes = b"", status: int = 200, cut: int = 0):
    def speak(request: Request) -> None:
        if request.is_login:
            request.answer(login)
        elif cut:
            request.connection.sendall(
                f"HTTP/1.1 {status} X\r\nContent-Length: {cut}\r\n\r\n".encode() + body
            )
            request.connection.close()
        else:
            request.answer(body, status)

    return speak


def cut_login(request: Request) -> None:
    request.connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n" + LOGIN)
    request.connection.close()


SPEAKS = {
    "hangs up": lambda request: request.connection.close(),
    "401 at the login": lambda request: request.answer(PASSWORD.encode(), 401),
    "a login that breaks off": cut_login,
    "a login without a token": answers(b"{}"),
    "a login that is no header": answers(json.dumps({"accessToken": TOKEN + "\n"}).encode()),
    "a login of too many values": answers(LOGIN[:-1] + b',"x":[' + b"1," * 40_000 + b"1]}"),
    "a listing that breaks off": answers(body=b"{", cut=99),
    "500": answers(body=TOKEN.encode(), status=500),
    "401 always": answers(status=401),
    "no JSON": answers(body=b"<html>" + TOKEN.encode()),
    "a redirect": answers(status=302),
    "an entry without an id": answers(body=json.dumps({"total": 1, "items": [{"x": TOKEN}]}).encode()),
}
SENTRY = {"include_local_variables": True, "include_source_context": False, "max_value_length": 100_000}

EXTRAS = {"a bad timeout": {"read_timeout": "soon"}, "a bad number": {"max_connections": 99}}


def shown(error: BaseException) -> Iterator[str]:
    """All that the standard library, and Sentry, would show of an error."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    while trace:
        yield str(trace)
        for frame in trace.stack:
            yield from (f"{frame.name}: {name}={text}" for name, text in (frame.locals or {}).items())
        trace = trace.__cause__ or trace.__context__
    event, _ = event_from_exception(error, client_options=SENTRY)
    yield json.dumps(serialize(event), default=repr)


def leaks(error: BaseException) -> list[str]:
    return [text for text in shown(error) if any(secret in text for secret in SECRETS)]


def sites() -> None:
    """Ask for the sites through the hook, as a task does."""
    with CcaHook().get_conn() as client:
        client.sites()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, waits: list[float]):
    """Set the connection, in a frame of its own: it is the test that knows the password there."""

    def to(port: int, **extra: object) -> None:
        connection = {
            "conn_type": "cca", "host": "127.0.0.1", "port": port, "schema": "http", "login": "a",
            "password": PASSWORD, "extra": extra,
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))

    return to


@pytest.mark.parametrize("speak", SPEAKS.values(), ids=SPEAKS)
def test_neither_password_nor_token_is_in_the_frames_of_an_error(speak, connect) -> None:
    with serving(speak) as port:
        connect(port)
        with pytest.raises(CcaError) as caught:
            sites()
    assert leaks(caught.value) == []


@pytest.mark.parametrize("bad", EXTRAS.values(), ids=EXTRAS)
def test_a_connection_that_cannot_be_used_shows_no_password_in_its_frames(bad, connect) -> None:
    connect(1, proxy="http://u:pr0xy-Pass-Word@127.0.0.1:9", **bad)
    with pytest.raises(CcaError) as caught:
        sites()
    assert leaks(caught.value) == []


def test_a_task_that_is_ended_in_the_middle_of_a_request_shows_none(connect, monkeypatch) -> None:
    """Airflow raises its timeout from a signal handler, in whatever frame runs then."""

    class Ended(BaseException):
        pass

    def end(*args: object, **kwargs: object) -> None:
        raise Ended

    monkeypatch.setattr(HTTPConnection, "getresponse", end)
    with serving(answers()) as port:
        connect(port)
        with pytest.raises(Ended) as caught:
            sites()
    assert leaks(caught.value) == []
