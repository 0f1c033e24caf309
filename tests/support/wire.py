"""Servers on loopback that say byte for byte what a test wants, and the connection to them."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

from airflow_provider_cca.api.config import CcaConfig

Speak = Callable[["Request"], None]

TOKEN = "T0ken-of-the-account-0123456789"

LOGIN = json.dumps({"tokenType": "Bearer", "accessToken": TOKEN, "expiresIn": 43199}).encode()


class Request:
    """One request, as it came, and how to answer it."""

    def __init__(self, head: bytes, connection: socket.socket, stopped: Event) -> None:
        self.head, self.connection, self.stopped = head.decode("latin-1"), connection, stopped
        self.path = self.head.split(" ")[1]
        self.is_login = self.path.endswith("/oauth/token")
        lines = self.head.split("\r\n")[1:]
        self.headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def trickle(self, start: bytes, piece: bytes) -> None:
        """Send the start, and then the piece again and again, until the client hangs up."""
        with suppress(OSError):
            self.connection.sendall(start)
            while not self.stopped.wait(0.02):
                self.connection.sendall(piece)
        self.connection.close()


@contextmanager
def serving(speak: Speak, certificate: Path | None = None) -> Iterator[int]:
    """A server that reads requests and lets `speak` answer them; gives its port."""
    stopped = Event()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        tls.load_cert_chain(certificate)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                connection = self.request
                if certificate:
                    connection = tls.wrap_socket(connection, server_side=True)
                while (head := _head(connection)) and not stopped.is_set():
                    speak(Request(head, connection, stopped))

    class Server(ThreadingTCPServer):
        daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server.server_address[1]
        finally:
            stopped.set()
            server.shutdown()


def _head(connection: socket.socket) -> bytes:
    """Read one request with its body, and return its head; b"" when the client has hung up."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head


def config_of(port: int, **fields: object) -> CcaConfig:
    """The connection to a server on this port."""
    return CcaConfig(
        "a", "S3cr3t-Pass-Word", **{"host": "127.0.0.1", "schema": "http", "port": port, **fields}
    )
