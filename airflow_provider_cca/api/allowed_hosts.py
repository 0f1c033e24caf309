"""Which URL may be sent the token. Plain Python: no Airflow, no I/O.

The listing tells where a file is (§3.2: hosts are given dynamically), so a wrong or forged answer could
send the token anywhere. Nothing is sent before its URL passed here, redirects included.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from urllib.parse import urljoin, urlsplit

from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.errors import HostNotAllowed

# Where URL parsers disagree about the host, there is nothing to be allowed.
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")
_NAME = re.compile(r"\w[\w-]*(\.\w[\w-]*)*\.?", re.ASCII)
_HOST_AND_PORT = re.compile(rf"({_NAME.pattern}|\[[0-9a-fA-F:.]+\])(:\d*)?", re.ASCII)
_LIKE_AN_ADDRESS = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)|.*:.*", re.ASCII)


def check_link(
    url: str, *, own_host: str, download_hosts: Sequence[str], may_go_plain: Callable[[str], bool]
) -> None:
    """Raise HostNotAllowed unless the token may go to this URL.

    Allowed are https URLs (and http ones to the hosts that `may_go_plain` names) whose host is
    `own_host`, is in `download_hosts`, or ends in a dot and one of those.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or not _HOST_AND_PORT.fullmatch(parts.netloc) or _AMBIGUOUS.search(url):
        raise HostNotAllowed(f"the link {_shown(url)} is no plain URL: the token is not sent there")
    if parts.scheme not in {"https", "http"} or (parts.scheme == "http" and not may_go_plain(host)):
        raise HostNotAllowed(
            f"the link {_shown(url)} is not https, so the token is not sent there; if your server really "
            'has no TLS, set "allow_http": true in the connection\'s extra',
            host=host,
        )
    if not any(_covers(allowed, host) for allowed in (own_host, *download_hosts)):
        raise HostNotAllowed(
            f"the link points to {printable(host)}, which may not be sent the token; if it is one of Cisco's "
            f'download hosts, add it to "download_hosts" in the connection\'s extra (now '
            f"{', '.join(download_hosts)})",
            host=host,
        )


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.hostname, first.port) == (second.scheme, second.hostname, second.port)


def followed(base: str, link: str) -> str:
    """The URL to which a link leads that stands at `base`; raises HostNotAllowed when it is no URL."""
    try:
        return urljoin(base, link)
    except ValueError:
        raise HostNotAllowed(f"the link {_shown(link)} is no URL: the token is not sent there") from None


def origin(url: str) -> str:
    """Scheme and host of a URL, for a message: no path, and nobody's name; "" when it is no plain URL."""
    try:
        parts = urlsplit(url)
        plain = parts.hostname and is_host(parts.hostname)
    except ValueError:
        return ""
    return printable(f"{parts.scheme}://{parts.hostname}") if plain else ""


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


def is_host(text: str) -> bool:
    """Whether this is the name or address of a host, and nothing more."""
    try:
        return bool(_NAME.fullmatch(text) or ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return False


def _covers(allowed: str, host: str) -> bool:
    allowed, host = allowed.lower().strip(".[]"), host.rstrip(".")
    return bool(allowed) and (
        host == allowed or (host.endswith("." + allowed) and not _LIKE_AN_ADDRESS.fullmatch(host))
    )


def _shown(url: str) -> str:
    """The URL without its query, user and anything unprintable, for an error message."""
    text = re.sub(r"//[^/]*@", "//…@", url.partition("?")[0])
    return repr(printable(text, 200))
