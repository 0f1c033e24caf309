"""The sockets of a client end at once, whatever they are made of."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from urllib3.util.ssltransport import SSLTransport

from airflow_provider_cca.api.http_adapter import TrackingAdapter
from airflow_provider_cca.api.tls import Trust
from tests.support.strangers import self_signed


def test_a_read_through_the_tls_of_a_proxy_is_ended(tmp_path: Path) -> None:
    """TLS within TLS is no socket of Python's: it has no shutdown of its own."""
    certificate = self_signed(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    near, far = socket.socketpair()
    near.settimeout(10)
    adapter = TrackingAdapter(1, Trust())
    with near, far, ThreadPoolExecutor(2) as pool:
        peer = pool.submit(serving.wrap_socket, far, server_side=True)
        tunnel = SSLTransport(near, trusting, server_hostname="127.0.0.1")
        peer.result()
        adapter.sockets.add(tunnel)
        reading = pool.submit(tunnel.recv, 1)
        adapter.interrupt()
        assert not reading.exception(timeout=3) or isinstance(reading.exception(), OSError)
