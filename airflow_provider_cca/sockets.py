"""The open sockets of one client: counted, and shut when the task is killed. Plain Python: no Airflow."""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter


class TrackingAdapter(HTTPAdapter):
    """Knows its open sockets: to end reads that other threads are blocked in, and to keep them few.

    Files come from several hosts, and each host has a pool of idle connections; the server counts all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.interrupted = False
        self.connecting = 0
        self._lock = threading.Lock()
        super().__init__(pool_maxsize=most)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _TrackedConnection):
            bases = (_TrackedConnection, pool.ConnectionCls)
            pool.ConnectionCls = type("TrackedConnection", bases, {"adapter": self})
        return pool

    def open_sockets(self) -> list[socket.socket]:
        return [sock for sock in list(self.sockets) if sock.fileno() != -1]

    def make_room(self) -> None:
        """Close idle connections until one more is not one too many, and count it as on its way."""
        pools = self.poolmanager.pools
        with self._lock:
            for pool in [pools.get(key) for key in pools.keys()]:  # noqa: SIM118 - it does not iterate
                while pool is not None and len(self.open_sockets()) + self.connecting >= self.most:
                    connection = _idle(pool)
                    if connection is None:
                        break
                    connection.close()
            self.connecting += 1

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
    # TLS within the TLS of a proxy is urllib3's own wrapper, which cannot be shut, but holds what can be.
    with suppress(Exception):
        getattr(sock, "socket", sock).shutdown(socket.SHUT_RDWR)


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
        self.adapter.make_room()
        try:
            super().connect()  # type: ignore[misc]  # mixed into urllib3's connection classes
            self.adapter.sockets.add(self.sock)
        finally:
            self.adapter.connected()
        if self.adapter.interrupted:  # while it connected
            _shut(self.sock)
