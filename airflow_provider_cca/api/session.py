"""Authenticated GETs to a CCA server: login, connection budget, retries, errors. No Airflow.

This module, `faults`, `tls`, `sockets` and `client` are the only ones that know HTTP. Whatever requests or
urllib3 raises, while connecting or in the middle of a body, leaves here as one of our errors.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import requests

from airflow_provider_cca.api.allowed_hosts import check_link, followed, origin
from airflow_provider_cca.api.auth import Token, account_of
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.connection_errors import FOREIGN, Way
from airflow_provider_cca.api.error_responses import MAX_BYTES, message_of, refusal, retry_after_seconds
from airflow_provider_cca.api.http_adapter import TrackingAdapter
from airflow_provider_cca.api.tls import Trust
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    HostNotAllowed,
    Unauthorized,
    UnexpectedAnswer,
    UnreadableAnswer,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024

MAX_JSON_BYTES = 64 * 1024 * 1024

MAX_REDIRECTS = 5

MAX_RENEWALS = 5


@dataclass(frozen=True)
class Call:
    """One GET, and how its refusals are to be read.

    :param what: Names it in errors and logs.
    :param file: The file, when it is a download.
    :param generating_403: Whether a bare 403 means "still generating" here.
    """

    url: str
    what: str
    accept: str = "application/json"
    params: Mapping[str, str] = field(default_factory=dict)
    file: RemoteFile | None = None
    generating_403: bool = False


class _FollowingNothing(requests.Session):
    """Even with allow_redirects=False, requests reads the whole body of a redirect, and fails at a Location
    that is no URL, to prepare the next request."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class CcaSession:
    """The authenticated connection of one client.

    Raises InvalidConnection when there is no CA bundle where the connection, or the environment, says.

    :param on_token: Told each token before its first use, so that a host can mask it in its logs.
    :param attempts: How often a call is made when it fails in a way that may pass.
    """

    def __init__(
        self, config: CcaConfig, on_token: Callable[[str], None] | None = None, attempts: int = 6
    ) -> None:
        self.config = config
        self.closed = threading.Event()
        self.retry = Retry(self.closed, attempts)
        self._on_token = on_token or (lambda token: None)
        self._announced: Token | None = None
        self._account = account_of(config)
        trust = Trust.of(config.verify)
        self._adapter = TrackingAdapter(config.max_connections, trust)
        self._requests = _FollowingNothing()
        # The environment is read here, once: requests would do so at each request, and put an entry of
        # .netrc in the place of the token.
        self._requests.trust_env = False
        self._requests.verify = trust.verify
        self._environment_proxies: dict[str, dict[str, str]] = {}
        self._requests.mount("https://", self._adapter)
        self._requests.mount("http://", self._adapter)
        self._requests.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # The document asks for these two on every call, also on those without a body.
        self._requests.headers.update({"Content-Type": "application/json", "Cache-Control": "no-cache"})

    def get(self, call: Call, parse: Callable[[dict[str, Any]], T]) -> T:
        """What `parse` makes of the JSON object in the answer; tried again when that may help."""
        return self.retry.call(lambda: parse(self._read_json(call)))

    def stream(self, call: Call) -> Generator[bytes]:
        """The body in chunks of at most 256 KiB. One attempt: a body that breaks off cannot be taken back
        from whoever has its first half, so the reader starts again."""
        with self._answer(call) as response:
            chunks = response.iter_content(CHUNK_BYTES)
            while True:
                with self._translated(call.what, response.url):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk

    def log_in_anew(self) -> None:
        """Log in although this process may have a token, or was refused just now: what either says of login
        and password is old."""
        self._account.forget_refusal()
        with self._account.budget.slot(self.closed):
            self._token(refused=self._account.current)

    def close(self) -> None:
        """Give the connections back."""
        self._requests.close()

    def abort(self) -> None:
        """End whatever other threads are waiting for, at once: it raises Closed there."""
        self.closed.set()
        self._adapter.interrupt()

    def _read_json(self, call: Call) -> dict[str, Any]:
        with self._answer(call) as response, self._translated(call.what, response.url):
            return _json_object(response, call.what)

    @contextmanager
    def _answer(self, call: Call) -> Iterator[requests.Response]:
        """An answer with status 200, within the connection budget; every other one raises its error."""
        with self._account.budget.slot(self.closed):
            token = self._token()
            response = self._get(call, token)
            for renewals in range(MAX_RENEWALS):
                # A fresh token is refused only to an account that may not read this: unless the token has
                # worked elsewhere, so that it is spent already.
                if response.status_code != 401 or (renewals and self._account.worked is not token):
                    break
                response.close()
                token = self._token(refused=token)
                response = self._get(call, token)
            try:
                if response.status_code == 429:
                    self._account.budget.refused()
                if response.status_code != 200:
                    raise self._refusal(response, call)
                self._account.budget.accepted()
                self._account.worked = token
                yield response
            finally:
                response.close()

    def _get(self, call: Call, token: Token) -> requests.Response:
        """Follow redirects by hand: each hop must be allowed to see the token."""
        url, params = call.url, dict(call.params)
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            response = self._send(
                "GET",
                url,
                call.what,
                params=params,
                headers={
                    "Accept": call.accept,
                    "Authorization": f"Bearer {token.value}",
                    **({"Accept-Encoding": "identity"} if call.file else {}),
                },
            )
            if not response.is_redirect:
                return response
            response.close()
            url, params = followed(url, response.headers["location"]), {}
        raise UnexpectedAnswer(f"{call.what} is redirected more than {MAX_REDIRECTS} times", status=302)

    def _send(self, method: str, url: str, what: str, **kwargs: Any) -> requests.Response:
        started = time.monotonic()
        with self._translated(what, url):
            response = self._requests.request(
                method,
                url,
                stream=True,
                allow_redirects=False,
                timeout=(self.config.connect_timeout, self.config.read_timeout),
                proxies=self._proxies(urlsplit(url)),
                **kwargs,
            )
        log.debug(
            "%s %s: %d in %.3f s",
            method,
            urlsplit(url).path,
            response.status_code,
            time.monotonic() - started,
        )
        return response

    def _proxies(self, url: SplitResult) -> dict[str, str]:
        if self.config.proxy:
            return {"http": self.config.proxy, "https": self.config.proxy}
        if url.netloc not in self._environment_proxies:
            self._environment_proxies[url.netloc] = requests.utils.get_environ_proxies(url.geturl())
        return self._environment_proxies[url.netloc]

    def _check(self, url: str) -> None:
        check_link(
            url,
            own_host=self.config.host,
            download_hosts=self.config.download_hosts,
            allow_http=self.config.allow_http,
        )

    def _token(self, refused: Token | None = None) -> Token:
        token = self._account.token(self._log_in, refused)
        if token is not self._announced:
            self._on_token(token.value)
            self._announced = token
        return token

    def _log_in(self) -> Token:
        """POST /v1/oauth/token (§3.3). A redirect is not followed: it would take the password elsewhere."""
        what = f"the login of {self.config.account}"
        body = {"accountName": self.config.account, "accountPassword": self.config.password}
        response = self._send("POST", f"{self.config.api_root}/v1/oauth/token", what, json=body)
        try:
            if response.status_code != 200:
                raise self._login_refusal(response, what)
            with self._translated(what, response.url):
                return Token.from_api(_json_object(response, what))
        finally:
            response.close()

    def _login_refusal(self, response: requests.Response, what: str) -> CcaError:
        status = response.status_code
        if status in {400, 401, 403, 406}:
            return Unauthorized(
                f"{what} was refused ({status}): check login and password of the connection"
                f"{self._said(response)}"
            )
        if response.is_redirect:
            return UnexpectedAnswer(
                f"{what} is redirected{_leads_to(response)} ({status}), and the password is not sent there: "
                "check host and schema of the connection",
                status=status,
            )
        return self._refusal(response, Call(self.config.api_root, what))

    def _refusal(self, response: requests.Response, call: Call) -> CcaError:
        return refusal(
            response.status_code,
            self._message(response),
            what=call.what,
            retry_after=retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC)),
            file=call.file,
            generating_403=call.generating_403,
            account_works=self._account.worked is not None,
        )

    def _said(self, response: requests.Response) -> str:
        message = self._message(response)
        return f'. The server says: "{message}"' if message else ""

    def _message(self, response: requests.Response) -> str:
        """What the server says in an error's body. What has another meaning is not for a message: a login
        that succeeds holds the token, and a download its file."""
        if response.status_code < 400:
            return ""
        try:
            with self._translated("an error message", response.url):
                body = response.raw.read(MAX_BYTES, decode_content=True)
        except CcaError:
            return ""
        # Not the account's present token: another thread may have renewed it since this request was sent.
        sent = (response.request.headers.get("Authorization") or "").removeprefix("Bearer ")
        return message_of(body, (self.config.password, sent))

    @contextmanager
    def _translated(self, what: str, url: str) -> Iterator[None]:
        """The one seam at which foreign errors become ours."""
        try:
            yield
        except FOREIGN as error:
            if self.closed.is_set():
                raise Closed(f"{what} was stopped") from error
            proxy = requests.utils.select_proxy(url, self._proxies(urlsplit(url)))
            ours = Way(urlsplit(url).netloc, proxy, self.config).error(error, what)
            # The URL that cannot be used may be that of a proxy, with its password.
            raise ours from (None if isinstance(error, requests.exceptions.InvalidURL) else error)


def _leads_to(response: requests.Response) -> str:
    try:
        to = origin(followed(response.url, response.headers["location"]))
    except HostNotAllowed:
        to = ""
    return f" to {to}" if to else ""


def _json_object(response: requests.Response, what: str) -> dict[str, Any]:
    body = response.raw.read(MAX_JSON_BYTES + 1, decode_content=True)
    if len(body) > MAX_JSON_BYTES:
        raise UnreadableAnswer(f"{what} was answered with more than {MAX_JSON_BYTES >> 20} MiB of JSON")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"{what} was answered with {len(body)} bytes that are not JSON") from error
    if not isinstance(answer, dict):
        raise UnreadableAnswer(f"{what} was answered with JSON that is no object")
    return answer
