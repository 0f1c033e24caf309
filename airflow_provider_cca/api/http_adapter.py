"""The open sockets of one client: counted, and shut when the task is killed. Plain Python: no Airflow."""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter

from airflow_provider_cca.api.tls import Trust


class TrackingAdapter(HTTPAdapter):
    """Knows its open sockets: to end reads that other threads are blocked in, and to keep them few.

    Files come from several hosts, and each host has a pool of idle connections; the server counts all.

    :param most: Connections that may be open at the same time.
    :param trust: Whose certificates are accepted, from servers and from proxies.
    """

    def __init__(self, most: int, trust: Trust) -> None:
        self.most, self.trust = most, trust
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.interrupted = False
        self.connecting = 0
        self._lock = threading.Lock()
        super().__init__(pool_maxsize=most)

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
