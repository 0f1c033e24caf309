"""The open sockets of one client: counted, and shut in time. Plain Python: no Airflow."""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter

from airflow_provider_cca.api.tls import Trust

TICK_SECONDS = 0.5
"""How long the watchdog sleeps at most: a deadline that is set meanwhile is met that much late."""


class Deadline:
    """The time by which what a thread has asked for must have come.

    No timeout of a socket can hold it: those begin anew with each byte. So a watchdog shuts the socket, in
    whatever the thread is then: the handshake, the answer of a proxy, the headers, or the body.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self.expired = False
        self.reason = ""
        self.connection: Any = None
        self.sock: Any = None

    def within(self, seconds: float, reason: str) -> None:
        """Begin anew: the next bytes must have come in `seconds`.

        :param reason: What is to be said when they have not.
        """
        self.due, self.reason = time.monotonic() + seconds, reason

    def pause(self) -> None:
        """Let time pass that is not the server's."""
        self.due = math.inf

    def enforce(self) -> None:
        """Shut the connection if the time is up."""
        if self.expired or time.monotonic() >= self.due:
            self.expired = True
            # While it connects only the connection knows its socket; and where the end of the answer is that
            # of the connection, http.client takes the socket from it before the body is read.
            for sock in (self.sock, getattr(self.connection, "sock", None)):
                _shut(sock)


class TrackingAdapter(HTTPAdapter):
    """Knows its open sockets: to end reads that other threads are blocked in, and to keep them few.

    Files come from several hosts, and each host has a pool of idle connections; the server counts all.

    :param most: Connections that may be open at the same time.
    :param trust: Whose certificates are accepted, from servers and from proxies.
    :param limit: Gives how many of those the server has room for at present.
    """

    def __init__(self, most: int, trust: Trust, limit: Callable[[], int] | None = None) -> None:
        self.trust, self.limit = trust, limit or (lambda: most)
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.interrupted = False
        self.connecting = 0
        self.asking = threading.local()
        self._lock = threading.Lock()
        self._deadlines: set[Deadline] = set()
        self._watching = False
        super().__init__(pool_maxsize=most)

    @contextmanager
    def deadline(self) -> Iterator[Deadline]:
        """Watch over what this thread asks for, and over the body of the answer wherever it is read."""
        deadline = Deadline()
        outer = getattr(self.asking, "deadline", None)
        self.asking.deadline = deadline
        with self._lock:
            self._deadlines.add(deadline)
            if not self._watching:
                threading.Thread(target=self._watch, name="cca-watchdog", daemon=True).start()
                self._watching = True
        try:
            yield deadline
        finally:
            self.asking.deadline = outer
            with self._lock:
                self._deadlines.discard(deadline)

    def _watch(self) -> None:
        sleep = threading.Event().wait
        while True:
            with self._lock:
                deadlines = list(self._deadlines)
                if not deadlines:
                    self._watching = False
                    return
                # Again and again: what was expired while it connected has its socket only now.
                for deadline in deadlines:
                    deadline.enforce()
            nearest = min(deadline.due for deadline in deadlines) - time.monotonic()
            sleep(min(max(nearest, 0.02), TICK_SECONDS))

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.url.startswith("https:"):
            self.trust.context()  # whose errors requests would take for those of the URL
        pool: Any = super().get_connection_with_tls_context(request, *args, **kwargs)
        if not issubclass(pool.ConnectionCls, _TrackedConnection):
            bases = (_TrackedConnection, pool.ConnectionCls)
            pool.ConnectionCls = type("TrackedConnection", bases, {"adapter": self})
        return pool

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host, tls = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] == "https" and (context := self.trust.context()):
            tls = {"cert_reqs": "CERT_REQUIRED", "ssl_context": context}
        return host, tls

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing more to set: else each connection would read all certificates again."""

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self.trust.context()
        return super().proxy_manager_for(proxy, **kwargs)

    def open_sockets(self) -> list[socket.socket]:
        return [sock for sock in list(self.sockets) if sock.fileno() != -1]

    def make_room(self) -> None:
        """Close idle connections until one more is not one too many, and count it as on its way."""
        with self._lock:
            self._close_idle(keep=self.limit() - self.connecting - 1)
            self.connecting += 1

    def close_idle(self) -> int:
        """Close all idle connections, which a server may count too, and return how many were open."""
        with self._lock:
            before = len(self.open_sockets())
            self._close_idle(keep=0)
        return before

    def _close_idle(self, keep: int) -> None:
        """Close idle connections until `keep` sockets are left open, or no idle one is."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for pool in [manager.pools.get(key) for key in manager.pools.keys()]:  # noqa: SIM118 - no iterator
                while pool is not None and len(self.open_sockets()) > keep and (idle := _idle(pool)):
                    idle.close()

    def connected(self) -> None:
        """The connection that `make_room` counted is open, or failed."""
        with self._lock:
            self.connecting -= 1

    def interrupt(self) -> None:
        self.interrupted = True
        for sock in self.open_sockets():
            _shut(sock)


def _shut(sock: Any) -> None:
    """End what others read from it. Never raises: whoever shuts has an error of their own to tell."""
    # TLS within the TLS of a proxy is urllib3's own wrapper, which cannot be shut, but holds what can be. And
    # shutdown of an SSLSocket makes a plain socket of it, under whoever reads from it.
    with suppress(Exception):
        socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)


def _idle(pool: Any) -> Any:
    """An open connection that nobody uses, taken out of its pool; None when there is none."""
    for _ in range(pool.pool.qsize() if pool.pool else 0):
        with suppress(queue.Empty):
            connection = pool.pool.get_nowait()
            with suppress(queue.Full):
                pool.pool.put_nowait(None)  # the place in the pool stays
            if connection is not None and connection.sock is not None:
                return connection
    return None


class _TrackedConnection:
    adapter: TrackingAdapter
    sock: socket.socket

    def connect(self) -> None:
        self._watched()
        self.adapter.make_room()
        try:
            super().connect()  # type: ignore[misc]  # mixed into urllib3's connection classes
            self.adapter.sockets.add(self.sock)
        finally:
            self.adapter.connected()
        if self.adapter.interrupted:  # while it connected
            _shut(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._watched()
        super().request(*args, **kwargs)  # type: ignore[misc]
        self._watched()

    def _watched(self) -> None:
        if deadline := getattr(self.adapter.asking, "deadline", None):
            deadline.connection, deadline.sock = self, self.sock
