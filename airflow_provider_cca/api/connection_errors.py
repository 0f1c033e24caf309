"""What it means that a call got no answer, and what to do about it, in one sentence. No Airflow, no I/O.

What requests and urllib3 raise tells a name that is not known from a port where nobody listens in its text
alone, wrapped several times: it is read here, and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

import requests
import urllib3

from airflow_provider_cca.api.config import PROXY_FORM, CcaConfig
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import CcaError, ConnectionFailed, InvalidConnection, Unreachable

FOREIGN = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, UnicodeError)
"""Whatever the HTTP library and the sockets below it raise; UnicodeError, at the password of a proxy."""

_UNKNOWN_NAME = re.compile("NameResolutionError|Failed to resolve")
_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")
_TIMED_OUT = re.compile("timed out|TimeoutError")
# How OpenSSL, in its versions, names what it meets.
_CERTIFICATE_FAULT = re.compile(
    r"CERTIFICATE_VERIFY_FAILED(?:\] certificate verify failed: (.+?)\.? \(_ssl)?"
)
_CERTIFICATE_WANTED = re.compile("CERTIFICATE_REQUIRED|certificate required")
_NO_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST")
_NO_COMMON_TLS = re.compile("HANDSHAKE_FAILURE|INSUFFICIENT_SECURITY|PROTOCOL")
_TLS_TO_HTTP = re.compile(r"BadStatusLine\(.?\\x1[56]\\x03")
"""A record of TLS, as an alert is, in the place of a status line."""

MAX_SLOW_ATTEMPTS = 3
"""How often a call is made whose answer does not come in time: each attempt takes as long as is allowed."""

_BROKEN_OFF = re.compile("EOF|RemoteDisconnected|[Rr]eset by peer|Broken pipe")


@dataclass(frozen=True)
class Way:
    """The way that a call takes.

    :param host: Whom it asks, and the port when it is not the usual one.
    :param proxy: URL of the proxy in between; false without one.
    """

    host: str
    proxy: Secret[str | None]
    config: CcaConfig

    def error(self, error: Exception, what: str) -> CcaError:
        """Our error for a foreign one.

        :param what: Names the call, as in "the listing of sites".
        """
        text = str(error)
        match error:
            case requests.exceptions.InvalidURL() | requests.exceptions.InvalidSchema() | UnicodeError() if (
                self.proxy
            ):
                return InvalidConnection(f"{what}: {self._setting} cannot be used: write it as {PROXY_FORM}")
            case requests.exceptions.InvalidURL() | requests.exceptions.InvalidSchema():
                return InvalidConnection(
                    f"{what}: the URL cannot be used; check host and port of the connection"
                )
            case urllib3.exceptions.LocationValueError():
                return InvalidConnection(f"{what}: {self.host} cannot be used as the name of a host")
            case requests.exceptions.ProxyError():
                return self._of_the_proxy(text, what)
            case requests.exceptions.SSLError() if fault := _CERTIFICATE_FAULT.search(text):
                return self._untrusted(self.host, fault[1], what)
            case requests.exceptions.SSLError() if _CERTIFICATE_WANTED.search(text):
                return InvalidConnection(
                    f"{what}: {self.host} wants a client certificate, of which the API knows nothing: check "
                    "host and port of the connection"
                )
            case OSError() if "TLS CA" in text:
                return InvalidConnection(f'{what}: {error}; check "verify" in the connection\'s extra')
        reason = self._reason(error, text)
        where = f"through {self._the_proxy}" if self.proxy else "from this worker"
        kind = Unreachable if _is_unreachable(error, text) else ConnectionFailed
        slow = {"most_attempts": MAX_SLOW_ATTEMPTS} if isinstance(error, requests.exceptions.Timeout) else {}
        return kind(
            f"{what} failed: {reason}; is {self.host} right, and reachable {where}?", reason=reason, **slow
        )

    def _reason(self, error: Exception, text: str) -> str:
        match error:
            case requests.exceptions.ConnectTimeout():
                return f"no connection within {self.config.connect_timeout:g} s"
            case requests.exceptions.ReadTimeout():
                return f"no byte within {self.config.read_timeout:g} s"
            case requests.exceptions.SSLError() if _NO_TLS.search(text):
                return "no TLS connection could be agreed on; a server without TLS takes schema http"
            case requests.exceptions.SSLError() if _NO_COMMON_TLS.search(text):
                return "no TLS connection could be agreed on; its TLS is too old, or it wants our certificate"
            case requests.exceptions.SSLError() if _BROKEN_OFF.search(text):
                return "it broke off while TLS was being agreed on, as where a client certificate is wanted"
            case requests.exceptions.ConnectionError() if _UNKNOWN_NAME.search(text):
                return "the host name is not known"
            case requests.exceptions.ConnectionError() if _TLS_TO_HTTP.search(text):
                return "it speaks TLS on this port, and was sent http: set schema to https"
            case requests.exceptions.ConnectionError() if "Connection refused" in text:
                return "nothing listens there"
            case requests.exceptions.ConnectionError() if _BROKEN_OFF.search(text):
                hint = ", perhaps as it wants schema https" if self.config.schema == "http" else ""
                return f"it broke off without an answer{hint}"
        return type(error).__name__

    @property
    def _setting(self) -> str:
        """Where the proxy is set: the environment's may be in either case."""
        if self.config.proxy:
            return '"proxy" in the connection\'s extra'
        return "https_proxy or http_proxy in the environment of this worker"

    @property
    def _the_proxy(self) -> str:
        return f"the proxy {_place(self.proxy.open() or '')}".strip()

    def _of_the_proxy(self, text: str, what: str) -> CcaError:
        proxy = self._the_proxy
        if status := _TUNNEL.search(text):
            return self._refused_by(proxy, int(status[1]), what)
        if fault := _CERTIFICATE_FAULT.search(text):
            return self._untrusted(proxy, fault[1], what)
        if _UNKNOWN_NAME.search(text):
            reason = f"the host name of {proxy} is not known"
        elif "Connection refused" in text:
            reason = f"nothing listens at {proxy}"
        elif _TIMED_OUT.search(text):
            reason = f"{proxy} does not answer within {self.config.connect_timeout:g} s"
        elif _NO_TLS.search(text) or _NO_COMMON_TLS.search(text):
            reason = f"no TLS connection to {proxy} could be agreed on; one without TLS is written http://"
        else:
            reason = f"{proxy} does not answer as one"
        return Unreachable(f"{what} failed: {reason}; check {self._setting}", reason=reason)

    def _refused_by(self, proxy: str, status: int, what: str) -> CcaError:
        if status in {401, 407}:  # 407 is the proxy's status, and some answer with a server's
            return InvalidConnection(
                f"{what}: {proxy} wants a name and password, or refuses those that it got ({status}): check "
                f"{self._setting}"
            )
        if status >= 500:
            reason = f"{proxy} gets no connection to {self.host} ({status})"
            return Unreachable(
                f"{what} failed: {reason}; is {self.host} right, and reachable from that proxy?",
                reason=reason,
            )
        return InvalidConnection(
            f"{what}: {proxy} refuses to connect to {self.host} ({status}): ask who runs it to allow that, "
            f"or check {self._setting}"
        )

    def _untrusted(self, whose: str, why: str | None, what: str) -> CcaError:
        because = f" ({printable(why)})" if why else ""
        return InvalidConnection(
            f"{what}: the TLS certificate of {whose} cannot be verified{because}; if your "
            'network has a CA of its own, set "verify" in the connection\'s extra to the path of its bundle'
        )


def _is_unreachable(error: Exception, text: str) -> bool:
    """Return whether no connection could be made, as against one that broke off or was not answered."""
    refused = _UNKNOWN_NAME.search(text) or "Connection refused" in text
    return isinstance(error, requests.exceptions.ConnectTimeout) or bool(refused)


def _place(proxy: str) -> str:
    """Host and port of a proxy, without the name and password that may be there too."""
    try:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    return f"{host}:{port}" if port else host
