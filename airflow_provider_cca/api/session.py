"""Authenticated GETs to a CCA server: token, connection limit, retries, redirects, refusals. No Airflow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_cca.api.allowed_hosts import check_link, followed, same_origin
from airflow_provider_cca.api.answers import Answer
from airflow_provider_cca.api.auth import Token, account_of
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.error_responses import (
    kind_of,
    message_of,
    refusal,
    retry_after_seconds,
    tells_why,
    without_token,
)
from airflow_provider_cca.api.http_adapter import Deadline
from airflow_provider_cca.api.login import log_in
from airflow_provider_cca.api.transport import Transport
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import CcaError, UnexpectedAnswer, UnreadableAnswer

T = TypeVar("T")

MAX_REDIRECTS = 5

MAX_RENEWALS = 5

TOO_MANY = (429, 503)
"""The document's status for too many connections, and that of a gateway, as nginx has for `limit_conn`."""

WANTS_TOKEN = (400, 401, 403, 404)
"""How a host refuses a download that comes without a token."""

REFUSES_TOKEN = (400, 401, 403)
"""How a storage refuses a token beside the signature in the URL."""


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

    @property
    def entries(self) -> int:
        """How many entries are asked for: bounds what is held of the answer."""
        return int(self.params.get("size") or 0)


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
        self._transport = Transport(config, lambda: self._account.budget.limit, self.closed)

    def get(self, call: Call, parse: Callable[[dict[str, Any]], T]) -> T:
        """What `parse` makes of the JSON object in the answer; tried again when that may help."""
        return self.retry.call(lambda: parse(self._read_json(call)))

    def stream(self, call: Call) -> Generator[bytes]:
        """The body in chunks of at most 256 KiB. One attempt: a body that breaks off cannot be taken back
        from whoever has its first half, so the reader starts again."""
        with self._answer(call) as answer:
            chunks = answer.chunks(self.config.min_speed)
            first = next(chunks, b"")
            is_listed = call.file and answer.header("Content-Length") == str(call.file.size)
            if not is_listed and (kind := kind_of(first[:4096])) and "HTML" in kind:
                host = urlsplit(answer.url).netloc
                raise UnreadableAnswer(f"{call.what} was answered by {host} with {kind}")
            if first:
                yield first
            yield from chunks

    def log_in_anew(self) -> None:
        """Log in although this process may have a token, or was refused just now: what either says of login
        and password is old."""
        self._account.forget_refusal()
        with self._account.budget.slot(self.closed):
            self._token(refused=self._account.current)

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def abort(self) -> None:
        """End whatever other threads are waiting for, at once: it raises Closed there."""
        self.closed.set()
        self._transport.interrupt()

    def _read_json(self, call: Call) -> dict[str, Any]:
        with self._answer(call) as answer:
            return answer.json_object(call.entries, self._without_token)

    def _without_token(self, body: bytes) -> bytes:
        worked = self._account.worked
        return without_token(body, worked.value) if worked else body

    @contextmanager
    def _answer(self, call: Call) -> Iterator[Answer]:
        """An answer with status 200, within the connection budget; every other one raises its error."""
        with self._account.budget.slot(self.closed), self._transport.deadline() as deadline:
            token = self._token()
            answer = self._get(call, token, deadline)
            for renewals in range(MAX_RENEWALS):
                # A fresh token is refused only to an account that may not read this: unless the token has
                # worked elsewhere, so that it is spent already.
                if answer.status != 401 or (renewals and self._account.worked is not token):
                    break
                answer.close()
                token = self._token(refused=token)
                answer = self._get(call, token, deadline)
            try:
                if answer.status in TOO_MANY:
                    self._account.budget.refused(self._transport.close_idle(), certain=answer.status == 429)
                if answer.status != 200:
                    raise self._refusal(answer, call, token)
                self._account.budget.accepted()
                self._account.worked = token
                yield answer
            finally:
                answer.close()

    def _get(self, call: Call, token: Token, deadline: Deadline) -> Answer:
        """Follow redirects by hand: each hop must be allowed to see the token.

        A download that is sent to another origin goes there without it, as in curl: a signed URL needs none,
        and some storages refuse one.
        """
        seconds = self.config.answer_seconds
        deadline.within(seconds, f"no whole answer within {seconds:g} s (answer_timeout)")
        url, params, shows_token = call.url, dict(call.params), True
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            answer = self._ask(call, url, params, token if shows_token else None, deadline)
            if call.file and answer.status in (REFUSES_TOKEN if shows_token else WANTS_TOKEN):
                answer = self._other_way(answer, call, url, None if shows_token else token, deadline)
            if not answer.is_redirect:
                return answer
            answer.close()
            url, params = followed(url, answer.header("location")), {}
            shows_token = not call.file or same_origin(url, call.url)
        raise UnexpectedAnswer(f"{call.what} is redirected more than {MAX_REDIRECTS} times", status=302)

    def _other_way(
        self, first: Answer, call: Call, url: str, token: Token | None, deadline: Deadline
    ) -> Answer:
        """Ask with the token where a download was refused without it, and without it where a signed URL was.

        Return the first answer where the second one only says that this way is the wrong one.
        """
        if not token and (not urlsplit(url).query or same_origin(url, self.config.api_root)):
            return first
        if tells_why(message_of(first.message_bytes(), ())):
            return first
        first.close()
        second = self._ask(call, url, {}, token, deadline)
        if second.status != (400 if token else 401):
            return second
        second.close()
        return first

    def _ask(
        self, call: Call, url: str, params: Mapping[str, str], token: Token | None, deadline: Deadline
    ) -> Answer:
        headers = {"Accept": call.accept, **({"Accept-Encoding": "identity"} if call.file else {})}
        secret = Secret(headers | {"Authorization": f"Bearer {token.value.open()}"} if token else headers)
        return self._transport.send("GET", url, call.what, deadline, headers=secret, params=params)

    def _check(self, url: str) -> None:
        check_link(
            url,
            own_host=self.config.host,
            download_hosts=self.config.download_hosts,
            may_go_plain=self.config.may_go_plain,
        )

    def _token(self, refused: Token | None = None) -> Token:
        token = self._account.token(lambda: log_in(self._transport), refused)
        if token is not self._announced:
            self._on_token(token.value.open())
            self._announced = token
        return token

    def _refusal(self, answer: Answer, call: Call, token: Token) -> CcaError:
        # What has another meaning than an error is not for a message: 206 holds a part of a file. The token
        # is the one that was sent, not the account's: another thread may have renewed that.
        secrets = (self.config.password, token.value)
        return refusal(
            answer.status,
            message_of(answer.message_bytes(), secrets) if answer.status >= 400 else "",
            what=call.what,
            retry_after=retry_after_seconds(answer.header("Retry-After"), datetime.now(UTC)),
            file=call.file,
            generating_403=call.generating_403,
            account_works=self._account.worked is not None,
        )
