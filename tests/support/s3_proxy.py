"""A proxy before the S3 server: what the store was asked, and a store that fails when a test wants it to.

Signatures stay right, since the server checks them against the Host header, which is passed on as it came.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from urllib.parse import urlsplit

import pytest

from tests.support.s3 import S3Server

QUIET_SECONDS = 0.1
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


@dataclass
class StoreFault:
    """What happens to the first `times` requests whose "METHOD /bucket/key?query" has `match` in it.

    :param status: Answered without asking the store; 0 resets the connection instead.
    :param code: S3's name of the error.
    :param done: The store does what it was asked, and only its answer is lost.
    """

    match: str
    status: int = 0
    code: str = "InternalError"
    done: bool = False
    times: int | None = 1
    hits: int = 0

    def strikes(self, line: str) -> bool:
        if self.hits == self.times or not re.search(self.match, line):
            return False
        self.hits += 1
        return True


@dataclass
class Proxy:
    """Its state is plain and public: change it, then act, then look at `log`."""

    endpoint: str
    faults: list[StoreFault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    before: Callable[[str], object] = lambda line: None
    """Called with each whole request before the store is asked, on that request's own thread."""
    after: Callable[[str], object] = lambda line: None
    """Called when the store has answered and the client does not know it yet."""
    _open: int = 0
    _changed: Condition = field(default_factory=Condition)

    @contextmanager
    def passing(self, line: str) -> Iterator[None]:
        with self._changed:
            self.log.append(line)
            self._open += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Until the store has answered all that it was asked, whoever asked may be gone.

        What the dead have sent may still be on its way to us: so nothing may come for a moment, either.
        """
        with self._changed:
            news = True
            while news:
                if not self._changed.wait_for(lambda: not self._open, timeout):
                    raise TimeoutError(f"{self._open} requests are still open after {timeout} s")
                news = self._changed.wait(QUIET_SECONDS)

    def forget(self) -> None:
        """As if it had just been started."""
        self.faults, self.log = [], []
        self.before = self.after = lambda line: None


@pytest.fixture(scope="session")
def _proxy_server(s3: S3Server) -> Iterator[Proxy]:
    with serve(s3.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_PROXY", s3.connection(proxy.endpoint))
        yield proxy


@pytest.fixture
def s3_proxy(_proxy_server: Proxy) -> Iterator[Proxy]:
    """A proxy without faults; the connection `aws_proxy` leads through it."""
    _proxy_server.forget()
    yield _proxy_server
    _proxy_server.forget()


@contextmanager
def serve(upstream: str) -> Iterator[Proxy]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.upstream = urlsplit(upstream).netloc
    server.proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    upstream: str
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _pass_on(self) -> None:
        proxy, line = self.server.proxy, f"{self.command} {self.path}"
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        with proxy.passing(line):
            proxy.before(line)
            fault = next((fault for fault in proxy.faults if fault.strikes(line)), None)
            if fault is None or fault.done:
                answer = self._asked(body)
                proxy.after(line)
        if fault is None:
            self._answer(*answer)
        elif fault.status:
            self._answer(fault.status, [("content-type", "application/xml")], _error(fault))
        else:
            self._reset()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - http.server's names

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_ONE_HOP:
                    upstream.putheader(name, value)
            upstream.putheader("content-length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, HTTPException):
            return 502, [], b""
        finally:
            upstream.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_HOP or (
                self.command == "HEAD" and name.lower() == "content-length"
            ):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.connection.close()

    def log_message(self, *args: object) -> None:
        pass


def _error(fault: StoreFault) -> bytes:
    return f"<Error><Code>{fault.code}</Code><Message>as the test wants it</Message></Error>".encode()
