"""One request over the wire, and its answer: proxies, timeouts, foreign errors. No Airflow.

Whatever requests or urllib3 raises, while connecting or in the middle of a body, leaves here as one of our
errors, and without the frames below: their variables hold the password and the token.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from airflow_provider_cca.api.allowed_hosts import is_loopback
from airflow_provider_cca.api.answers import Answer
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.connection_errors import FOREIGN, MAX_SLOW_ATTEMPTS, Way
from airflow_provider_cca.api.http_adapter import Deadline, TrackingAdapter
from airflow_provider_cca.api.tls import Trust
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import CcaError, Closed, ConnectionFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


class _FollowingNothing(requests.Session):
    """Even with allow_redirects=False, requests reads the whole body of a redirect, and fails at a Location
    that is no URL, to prepare the next request."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Transport:
    """The connections of one client.

    Raises InvalidConnection when there is no CA bundle where the connection, or the environment, says.

    :param limit: Gives how many connections the server has room for at present.
    :param closed: Set when all calls are to end.
    """

    def __init__(self, config: CcaConfig, limit: Callable[[], int], closed: threading.Event) -> None:
        self.config, self.closed = config, closed
        trust = Trust.of(config.verify)
        self.adapter = TrackingAdapter(config.max_connections, trust, limit)
        self._requests = _FollowingNothing()
        # The environment is read here, once: requests would do so at each request, and put an entry of
        # .netrc in the place of the token.
        self._requests.trust_env = False
        self._requests.verify = trust.verify
        self._environment_proxies: dict[str, Secret[dict[str, str]]] = {}
        self._requests.mount("https://", self.adapter)
        self._requests.mount("http://", self.adapter)
        self._requests.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # The document asks for these two on every call, also on those without a body. One gzip is what
        # `Answer` can undo.
        self._requests.headers.update(
            {"Content-Type": "application/json", "Cache-Control": "no-cache", "Accept-Encoding": "gzip"}
        )

    def deadline(self) -> AbstractContextManager[Deadline]:
        """Hold the deadline of a call, from its first byte to the last of its answer."""
        return self.adapter.deadline()

    def send(
        self,
        method: str,
        url: str,
        what: str,
        deadline: Deadline,
        *,
        headers: Secret[dict[str, str]],
        params: Mapping[str, str] | None = None,
        json: Secret[dict[str, Any]] | None = None,
    ) -> Answer:
        """Send a request, and return the answer before its body. Follows no redirect."""
        started = time.monotonic()
        guard = _Guard(self, deadline, url, what)
        response = guard.call(
            lambda: self._requests.request(
                method,
                url,
                params=params,
                headers=headers.open(),
                json=json.open() if json else None,
                stream=True,
                allow_redirects=False,
                timeout=(self.config.connect_timeout, self.config.read_timeout),
                proxies=self.proxies(url).open(),
            )
        )
        log.debug(
            "%s %s: %d in %.3f s",
            method,
            printable(urlsplit(url).path),
            response.status_code,
            time.monotonic() - started,
        )
        return Answer(response, what, guard.call, deadline)

    def proxies(self, url: str) -> Secret[dict[str, str]]:
        """Return the proxies for a URL: the connection's, else the environment's, which loopback never takes.

        Plain http to this machine would leave it through a proxy.
        """
        if self.config.proxy:
            return Secret({"http": self.config.proxy.open(), "https": self.config.proxy.open()})
        parts = urlsplit(url)
        if is_loopback(parts.hostname or ""):
            return Secret({})
        if parts.netloc not in self._environment_proxies:
            self._environment_proxies[parts.netloc] = Secret(requests.utils.get_environ_proxies(url))
        return self._environment_proxies[parts.netloc]

    def close_idle(self) -> int:
        """Close the idle connections, and return how many were open before, those in use included."""
        return self.adapter.close_idle()

    def close(self) -> None:
        """Give the connections back."""
        self._requests.close()

    def interrupt(self) -> None:
        """End at once whatever other threads are waiting for."""
        self.adapter.interrupt()

    def way(self, url: str) -> Way:
        """Return the way of a call to this URL, for errors."""
        proxy = Secret(requests.utils.select_proxy(url, self.proxies(url).open()))
        return Way(urlsplit(url).netloc, proxy, self.config)


class _Guard:
    """The one seam at which foreign errors become ours.

    :param what: Names the call in errors.
    """

    def __init__(self, transport: Transport, deadline: Deadline, url: str, what: str) -> None:
        self.transport, self.deadline, self.url, self.what = transport, deadline, url, what

    def call(self, function: Callable[[], T]) -> T:
        """Return what the function returns. Raises our errors for foreign ones, never chained to them."""
        try:
            result = function()
        except FOREIGN as error:
            ours = self._translated(error)
        except CcaError as error:
            ours = error.with_traceback(None)  # it came through the frames of requests
        except BaseException as error:
            _forget_locals(error)  # Airflow ends a task that takes too long in the middle of a read
            raise
        else:
            if not self.deadline.expired:
                return result
            ours = self._too_slow()  # a body without a length seems to have ended
        raise ours

    def _translated(self, error: Exception) -> CcaError:
        if self.transport.closed.is_set():
            return Closed(f"{self.what} was stopped")
        if self.deadline.expired:
            return self._too_slow()
        if not isinstance(error, requests.exceptions.InvalidURL):  # may be that of a proxy, with its password
            log.debug("%s: %s: %s", self.what, type(error).__name__, printable(_without_query(str(error))))
        return self.transport.way(self.url).error(error, self.what)

    def _too_slow(self) -> CcaError:
        host = urlsplit(self.url).netloc
        return ConnectionFailed(
            f"{self.what} failed: {self.deadline.reason}; is {host} overloaded, or the network slow?",
            reason=self.deadline.reason,
            most_attempts=MAX_SLOW_ATTEMPTS,
        )


def _without_query(text: str) -> str:
    """Return a text without the queries and users of its URLs, which may hold a signature or a password."""
    return re.sub(r"\?[^\s'\")]+", "?…", re.sub(r"//[^/\s]*@", "//…@", text))


def _forget_locals(error: BaseException | None) -> None:
    """Empty the frames of an error and of its causes, as far as they have ended."""
    seen: set[int] = set()
    while error and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
