"""The sockets and the thread of a running simulator: uvicorn's HTTP protocol on an event loop of its own."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

BACKLOG = 2048
KEEP_ALIVE = 120
"""Seconds that an idle connection is kept: longer than clients pause, so that none meets a closing one."""

_PORT_TRIES = 20


class Server:
    """Serves one ASGI app on several addresses, from `start` until `stop`."""

    def __init__(
        self, app: Callable[..., Any], sockets: list[socket.socket], certificate: Path | None = None
    ) -> None:
        self._app = app
        self._sockets = sockets
        self._tls = _tls(certificate) if certificate else None
        self._ready = Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="cca-simulator", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Hung and half-sent answers are cut off; nothing is waited for."""
        self.call(self._stopping.set if self._stopping else lambda: None)
        self._thread.join()

    def call(self, function: Callable[[], Any]) -> None:
        """Have it called on the event loop."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whatever it is, start() raises it where it is seen
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        from uvicorn.server import ServerState

        state = ServerState()
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        make = _protocol_factory(self._app, state)
        servers = [
            await self._loop.create_server(make, sock=sock, backlog=BACKLOG, ssl=self._tls)
            for sock in self._sockets
        ]
        self._ready.set()
        await self._stopping.wait()
        for server in servers:
            server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=0.5)


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate)
    except OSError as error:
        raise OSError(f"{certificate} is no PEM file of a certificate and its key: {error}") from error
    return context


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _http_protocol() -> Any:
    try:
        from uvicorn.protocols.http import httptools_impl
    except ImportError:
        from uvicorn.protocols.http import h11_impl

        return h11_impl.H11Protocol
    return httptools_impl.HttpToolsProtocol


def _protocol_factory(app: Callable[..., Any], state: Any) -> Callable[[], asyncio.Protocol]:
    """uvicorn's protocol, which also tells the app its transport, so that faults are real ones of TCP."""
    from uvicorn.config import Config

    class Connection(_http_protocol()):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.app_state = {"transport": transport}
            self.access_log = False

        def eof_received(self) -> None:
            # A client that has hung up reads no more: what is still to be written could wait for good.
            self.transport.abort()

    config = Config(
        app, log_config=None, lifespan="off", ws="none", proxy_headers=False, timeout_keep_alive=KEEP_ALIVE
    )
    config.load()
    return lambda: Connection(config=config, server_state=state, app_state={})


def listen(hosts: list[str], port: int) -> list[socket.socket]:
    """A listening socket for each host, the first on `port`, the others on the same if it is free there.

    With port 0 one is looked for that is free on all. A host that this machine does not have is left out,
    except the first (127.0.0.2 is everywhere on Linux, but not on macOS).
    """
    for attempt in range(_PORT_TRIES):
        sockets = [_socket(hosts[0], port)]
        taken = sockets[0].getsockname()[1]
        last = port != 0 or attempt == _PORT_TRIES - 1
        try:
            for host in hosts[1:]:
                sockets += _second_socket(host, taken, other_port=last)
        except OSError:
            for sock in sockets:
                sock.close()
            if last:
                raise
        else:
            return sockets
    raise AssertionError("the last attempt returns or raises")


def _second_socket(host: str, port: int, *, other_port: bool) -> list[socket.socket]:
    try:
        return [_socket(host, port)]
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return []
        if error.errno != errno.EADDRINUSE or not other_port:
            raise
        return [_socket(host, 0)]


def _socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
