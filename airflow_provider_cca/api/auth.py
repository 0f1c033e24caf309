"""The machine account of a connection in this process: its token, logins, and connection limit (§3.3)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.connection_limit import Budget
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import CcaError, Unauthorized

REFUSAL_HOLDS_SECONDS = 10.0

RENEWAL_MARGIN_SECONDS = 300.0

MAX_LIFETIME_SECONDS = 1e9


@dataclass
class Account:
    """One machine account in this process: its token, and its budget of connections.

    Shared by all clients of the same config, so that one process logs in once and never has more than
    `max_connections` answers open for its token.
    """

    budget: Budget
    lock: threading.Lock = field(default_factory=threading.Lock)
    current: Token | None = field(default=None, repr=False)
    renew_at: float = 0.0
    worked: Token | None = field(default=None, repr=False)
    """The last token that the server has accepted."""

    login_failed: CcaError | None = None
    failure_holds_until: float = 0.0

    def token(self, login: Callable[[], Token], refused: Token | None = None) -> Token:
        """Return the token, a new one if it nears its end or was `refused`: one thread logs in, others wait.

        They share its failure, too: an account may be locked after a few wrong passwords, and a server that
        does not answer would hold one thread after the other.
        """
        asked = time.monotonic()
        with self.lock:
            if (failed := self.login_failed) and asked < self.failure_holds_until:
                raise type(failed)(str(failed), **vars(failed))
            if self.current is None or self.current is refused or time.monotonic() >= self.renew_at:
                self.current = token = self._new(login)
                margin = min(RENEWAL_MARGIN_SECONDS, token.expires_in / 10)
                self.renew_at = time.monotonic() + token.expires_in - margin
            return self.current

    def forget_refusal(self) -> None:
        """Let the next login be tried at once: somebody asks for it by hand, after a refusal."""
        with self.lock:
            self.login_failed = None

    def _new(self, login: Callable[[], Token]) -> Token:
        self.current = self.login_failed = None
        try:
            return login()
        except CcaError as error:
            holds = REFUSAL_HOLDS_SECONDS if isinstance(error, Unauthorized) else 0.0
            self.login_failed, self.failure_holds_until = error, time.monotonic() + holds
            raise


_accounts: dict[CcaConfig, Account] = {}

_accounts_lock = threading.Lock()


def account_of(config: CcaConfig) -> Account:
    with _accounts_lock:
        return _accounts.setdefault(config, Account(Budget(config.max_connections)))


def forget_logins() -> None:
    """Drop every token of this process. A forked child calls it: a lock may have been held at the fork."""
    global _accounts_lock
    _accounts_lock = threading.Lock()
    _accounts.clear()


os.register_at_fork(after_in_child=forget_logins)


@dataclass(frozen=True)
class Token:
    """An access token, and how long the server will take it (§3.3)."""

    value: Secret[str]
    expires_in: float

    @classmethod
    def from_api(cls, answer: Mapping[str, Any]) -> Token | None:
        """Make one of the answer of POST /v1/oauth/token; None without a usable accessToken in it.

        Without a usable expiresIn, or with one in milliseconds, it serves until the server refuses it.
        """
        value = answer.get("accessToken")
        if not isinstance(value, str) or not value.strip() or not value.isascii() or not value.isprintable():
            return None
        try:
            said = answer.get("expiresIn")
            lifetime = 0.0 if isinstance(said, bool) else float(said or 0)
        except (TypeError, ValueError, OverflowError):
            lifetime = 0.0
        return cls(Secret(value.strip()), lifetime if 0 < lifetime < MAX_LIFETIME_SECONDS else float("inf"))
