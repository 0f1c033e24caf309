"""How to reach a CCA server: one frozen value. Plain Python: no Airflow, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from airflow_provider_cca.api.allowed_hosts import is_host, is_loopback
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.secret import Secret, secret_text
from airflow_provider_cca.errors import InvalidConnection
from airflow_provider_cca.reports import MAX_CONNECTIONS

DEFAULT_HOST = "pcsprod.webex.com"
DEFAULT_DOWNLOAD_HOSTS = ("webex.com",)
PROXY_FORM = (
    "http://host:port, or http://name:password@host:port with %-codes for special characters in the two"
)
MAX_PORT = 65_535
MIN_SPEED = 1
MAX_SPEED = 1024 * 1024
MAX_TIMEOUT = 86_400
"""Seconds; sockets refuse much longer ones, and infinity, with an OverflowError."""


@dataclass(frozen=True)
class CcaConfig:
    """Everything that a connection says.

    :param account: Name of the API machine account (§3.3).
    :param password: Its password; a str becomes a secret.
    :param download_hosts: Hosts, or suffixes of hosts, that may be sent the token besides `host`.
    :param allow_http: Whether the token may go over plain http to other hosts than loopback.
    :param verify: Whether to check TLS certificates, or the path of a CA bundle to check them with.
    :param proxy: http or https URL of a proxy, perhaps with a name and a password; None means what the
        environment says.
    :param max_connections: 1 to 20, counted over all threads of this process.
    :param connect_timeout: Seconds.
    :param read_timeout: Seconds without a byte.
    :param answer_timeout: Seconds in which a login or a page of a listing must have come to its end, with all
        redirects; None means twice the read timeout.
    :param min_speed: KiB/s that a download must bring over a minute.
    """

    account: str
    password: Secret[str]
    host: str = DEFAULT_HOST
    schema: str = "https"
    port: int | None = None
    download_hosts: tuple[str, ...] = DEFAULT_DOWNLOAD_HOSTS
    allow_http: bool = False
    verify: bool | str = True
    proxy: Secret[str] | None = None  # may hold a password of its own
    max_connections: int = MAX_CONNECTIONS
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    answer_timeout: float | None = None
    min_speed: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "password", secret_text(self.password))
        if self.proxy is not None:
            object.__setattr__(self, "proxy", secret_text(self.proxy))
        if not self.account or not self.password:
            raise InvalidConnection(
                "the connection has no login or no password: set both to the machine account's (§3.3)"
            )
        if not is_host(self.host):
            # A password may stand before the @ of a URL that was pasted here.
            host = printable(self.host.rpartition("@")[2])
            raise InvalidConnection(
                f"host {host!r} is not the name of a host: give the name alone, "
                "without scheme or path; the port has a field of its own"
            )
        if self.schema not in {"https", "http"}:
            raise InvalidConnection(f"schema {self.schema!r} cannot be used: set it to https")
        if self.port is not None and not 1 <= self.port <= MAX_PORT:
            raise InvalidConnection(f"port {self.port} is none: give 1 to {MAX_PORT}")
        if self.proxy is not None and (fault := _fault_of_proxy(self.proxy.open())):
            # Not what it is: it may hold a password, and not where one is looked for.
            raise InvalidConnection(f"proxy {fault}: write it as {PROXY_FORM}")
        if self.schema == "http" and not self.may_go_plain(self.host):
            way = " through a proxy" if is_loopback(self.host) else ""
            raise InvalidConnection(
                f"http to {self.host}{way} would send the password unencrypted: set schema to https, or "
                '"allow_http": true in the extra'
            )
        if not 1 <= self.max_connections <= MAX_CONNECTIONS:
            raise InvalidConnection(
                f"max_connections is {self.max_connections}: the server allows 1 to {MAX_CONNECTIONS} (§3.1)"
            )
        for name in ("connect_timeout", "read_timeout", "answer_timeout"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) <= MAX_TIMEOUT:
                raise InvalidConnection(
                    f"{name} is {getattr(self, name)}: give seconds, more than 0 and at most {MAX_TIMEOUT}"
                )

        if not MIN_SPEED <= self.min_speed <= MAX_SPEED:
            raise InvalidConnection(
                f"min_speed is {self.min_speed}: give KiB/s, at least {MIN_SPEED} and at most {MAX_SPEED}"
            )

    @property
    def answer_seconds(self) -> float:
        return self.answer_timeout or 2 * self.read_timeout

    def may_go_plain(self, host: str) -> bool:
        """Whether http to this host leaves no machine, or is allowed to.

        A proxy of the connection is taken to loopback too; on another machine it would be sent the password.
        """
        proxy = urlsplit(self.proxy.open()).hostname if self.proxy else None
        return self.allow_http or (is_loopback(host) and (proxy is None or is_loopback(proxy)))

    @property
    def api_root(self) -> str:
        """The URL below which the calls of §3.4 live."""
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return f"{self.schema}://{host}{f':{self.port}' if self.port else ''}/pcs/api"


def _fault_of_proxy(url: str) -> str | None:
    """What is wrong with the URL of a proxy, in words that repeat nothing of it; None when nothing is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        # They travel in a header.
        (unquote(parts.username or "") + unquote(parts.password or "")).encode("latin-1")
    except ValueError:
        return "is no URL of which a host, a port and a password can be read"
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "holds a space"
    if parts.scheme not in {"http", "https"}:
        return "does not begin with http:// or https://"
    if not host or not is_host(host):
        return "names no host"
    if port == 0 or parts.netloc.endswith(":"):
        return f"has no port of 1 to {MAX_PORT} behind its colon"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return "goes on behind host and port"
    return None
