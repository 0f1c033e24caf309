"""Requests over the wire: each ends in time, whoever is slow, and with an error that says why."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path

import pytest

from airflow_provider_cca.api import answers
from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Scope
from airflow_provider_cca.errors import CcaError, ConnectionFailed, InvalidConnection, ServerFault
from airflow_provider_cca.reports import REPORTS
from tests.support.strangers import self_signed
from tests.support.wire import LOGIN, Request, config_of, serving

OK = b"HTTP/1.1 200 OK\r\n"
LONG = OK + b"Content-Length: 60000000\r\n"
EMPTY_GZIP = gzip.compress(b"", mtime=0)

TRICKLES = {
    "the body": (LONG + b"\r\n", b" "),
    "the headers": (OK, b"X: y\r\n"),
    "one header": (OK, b"x"),
    "the status line": (b"H", b"T"),
    "answers to come": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a body without length": (OK + b"Connection: close\r\n\r\n", b" "),
    "gzip of nothing": (LONG + b"Content-Encoding: gzip\r\n\r\n", EMPTY_GZIP),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /pcs/api/else\r\nContent-Length: 9999\r\n", b"X: y\r\n"),
}


def failure(config: CcaConfig) -> CcaError:
    """What asking for the sites ends in, within half a minute."""
    with CcaClient(config, attempts=1) as client, ThreadPoolExecutor(1) as pool:
        error = pool.submit(client.sites).exception(timeout=30)
    assert isinstance(error, CcaError)
    return error


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("at_login", [False, True])
@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=TRICKLES)
def test_an_answer_that_trickles_has_a_deadline_as_a_whole(
    trickle: tuple[bytes, bytes], at_login: bool, tls: bool, tmp_path: Path
) -> None:
    def speak(request: Request) -> None:
        if request.is_login == at_login:
            request.trickle(*trickle)
        else:
            request.answer(LOGIN)

    certificate = self_signed(tmp_path) if tls else None
    with serving(speak, certificate) as port:
        how = {"schema": "https", "verify": str(certificate)} if tls else {}
        error = failure(config_of(port, answer_timeout=0.3, **how))
    assert isinstance(error, ConnectionFailed)
    assert "no whole answer within 0.3 s (answer_timeout)" in str(error)


def test_an_error_whose_message_trickles_is_told_without_it() -> None:
    def speak(request: Request) -> None:
        if request.is_login:
            request.answer(LOGIN)
        else:
            request.trickle(b"HTTP/1.1 500 X\r\nContent-Length: 99999\r\n\r\n", b" ")

    with serving(speak) as port:
        assert isinstance(failure(config_of(port, answer_timeout=0.3)), ServerFault)


def test_a_proxy_that_trickles_its_answer_has_a_deadline_too() -> None:
    with serving(lambda request: request.trickle(b"HTTP/1.1 200 Connected\r\n", b"X: y\r\n")) as port:
        error = failure(
            CcaConfig("a", "b", host="cca.example", proxy=f"http://127.0.0.1:{port}", answer_timeout=0.3)
        )
    assert "answer_timeout" in str(error)


def test_the_answer_timeout_follows_the_read_timeout() -> None:
    assert CcaConfig("a", "b", read_timeout=1).answer_seconds == 2
    assert CcaConfig("a", "b", read_timeout=1, answer_timeout=30).answer_seconds == 30


def file_at(port: int) -> RemoteFile:
    item = {
        "id": "1", "createdOn": "03/31/2019T07:24:24+0000", "downloadLink": f"http://127.0.0.1:{port}/f",
        "fileSize": 3, "fileName": "a.zip", "checksum": "0" * 32, "expiredOn": "03/31/2090T07:43:18+0000",
    }  # fmt: skip
    return RemoteFile.from_api(item, Scope(REPORTS["cdr_compressed"]))


@pytest.mark.parametrize("body", [b"x", EMPTY_GZIP])
def test_a_download_that_is_too_slow_over_a_minute_is_ended(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "SPEED_WINDOW_SECONDS", 0.3)
    coding = b"Content-Encoding: gzip\r\n" if body == EMPTY_GZIP else b""

    def speak(request: Request) -> None:
        if request.is_login:
            request.answer(LOGIN)
        else:
            request.trickle(LONG + coding + b"\r\n", body)

    with serving(speak) as port, CcaClient(config_of(port)) as client, ThreadPoolExecutor(1) as pool:
        error = pool.submit(lambda: list(client.download(file_at(port)))).exception(timeout=30)
    assert isinstance(error, ConnectionFailed)
    assert "less than 4 KiB/s came over a minute (min_speed)" in str(error)
    assert error.most_attempts == 3


def test_the_time_that_a_reader_takes_is_not_the_servers() -> None:
    def speak(request: Request) -> None:
        request.answer(LOGIN if request.is_login else bytes(1 << 20))

    with serving(speak) as port, CcaClient(config_of(port)) as client:
        chunks = client.download(file_at(port))
        next(chunks)
        (deadline,) = client.session._transport.adapter._deadlines
        assert deadline.due == inf
        assert sum(map(len, chunks)) < 1 << 20


def test_http_at_a_port_of_tls_is_said_to_be_that(tmp_path: Path) -> None:
    with serving(lambda request: None, self_signed(tmp_path)) as port:
        assert "schema https" in str(failure(config_of(port)))


@pytest.mark.parametrize("status", [401, 407])
def test_a_proxy_that_refuses_its_password_is_said_to(status: int) -> None:
    with serving(lambda request: request.answer(b"no", status)) as port:
        error = failure(CcaConfig("a", "b", host="cca.example", proxy=f"http://u:wr0ng@127.0.0.1:{port}"))
    assert isinstance(error, InvalidConnection)
    assert f"wants a name and password, or refuses those that it got ({status})" in str(error)
    assert "wr0ng" not in str(error)


def test_loopback_takes_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http is allowed there because it leaves no machine."""
    proxied: list[str] = []

    def proxy(request: Request) -> None:
        proxied.append(request.path)
        request.answer(b"{}")

    def speak(request: Request) -> None:
        request.answer(LOGIN if request.is_login else b'{"total": 0, "items": []}')

    with serving(speak) as port, serving(proxy) as elsewhere:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{elsewhere}")
        monkeypatch.delenv("no_proxy", raising=False)
        with CcaClient(config_of(port)) as client:
            assert client.sites() == []
    assert proxied == []


def test_plain_http_to_loopback_through_a_proxy_elsewhere_has_to_be_allowed() -> None:
    with pytest.raises(
        InvalidConnection, match=r"http to 127\.0\.0\.1 through a proxy would send the password"
    ):
        config_of(80, proxy="http://proxy.example:3128")
    assert config_of(80, proxy="http://127.0.0.2:3128").may_go_plain("localhost")
    assert config_of(80, proxy="http://proxy.example:3128", allow_http=True).may_go_plain("127.0.0.1")
