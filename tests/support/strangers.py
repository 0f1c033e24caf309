"""Servers on loopback that are no CCA: what a connection with a wrong host, port, proxy or bundle meets."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

Stranger = Callable[..., int]


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    """Starts a server that gives everybody one answer, also who takes it for a proxy; with `tls` behind a
    certificate that it has signed itself, and with `mutual` for who has it alone. Returns its port."""
    with ExitStack() as servers:

        def start(
            status: int = 200, body: str = "<html>Welcome!</html>", *, tls: bool = False, mutual: bool = False
        ) -> int:
            certificate = self_signed(tmp_path) if tls or mutual else None
            return servers.enter_context(serving(status, body.encode(), certificate, mutual=mutual))

        yield start


class Quiet(ThreadingHTTPServer):
    """Prints nothing about a client that breaks off, as one does that does not trust the certificate."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving(status: int, body: bytes, certificate: Path | None, *, mutual: bool = False) -> Iterator[int]:
    """A server on a port that the system picks, in a thread that ends with it."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_CONNECT = do_POST  # noqa: N815 - the name is the protocol's

        def log_message(self, *arguments: object) -> None:
            """Say nothing: what a test asks for is known."""

    with Quiet(("127.0.0.1", 0), Answer) as server:
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            if mutual:
                tls.verify_mode = ssl.CERT_REQUIRED
                tls.load_verify_locations(certificate)
            # The handshake is left to the request's thread: a client that refuses must not end the server.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def self_signed(folder: Path) -> Path:
    """A certificate for this machine that nobody vouches for, and its key, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    addresses = [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "127.0.0.2")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "self-signed.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return file


@pytest.fixture
def hanging_up() -> Iterator[int]:
    """The port of a server that says nothing: it reads a little, and hangs up."""

    class HangUp(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)

    with ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
        yield server.server_address[1]
        server.shutdown()
