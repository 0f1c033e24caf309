"""Trying again: what, how often, how long between. Plain Python: no Airflow, no I/O."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TypeVar

from airflow_provider_cca.errors import LONGEST_RETRY_AFTER, Closed, TransientError

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAIT = 1.5 * LONGEST_RETRY_AFTER
"""Seconds that a call waits between all its attempts: a server that is down is reported within minutes."""


def pause(seconds: float, closed: Event) -> None:
    """Wait, unless `closed` is or gets set: then raise Closed. The only place where this package waits."""
    if closed.wait(seconds):
        raise Closed("the client was closed while it waited to try again")


class Repeats:
    """How often something was tried again; safe from several threads."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = Lock()

    def add(self) -> None:
        with self._lock:
            self.count += 1


@dataclass(frozen=True)
class Retry:
    """How a call is repeated when it fails with a TransientError.

    :param closed: Set by whoever wants all waiting to end.
    :param attempts: How often a call is made at the most; some errors allow fewer.
    :param first_wait: Seconds before the second attempt; doubles from then on, with jitter.
    :param longest_wait: Seconds.
    :param repeats: Counts the attempts after the first, of all calls.
    """

    closed: Event
    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    repeats: Repeats = field(default_factory=Repeats, compare=False)

    def call(self, function: Callable[[], T]) -> T:
        """The function's result; when attempts run out, its last error as itself."""
        attempt, waited = 1, 0.0
        while True:
            try:
                return function()
            except TransientError as error:
                most = min(self.attempts, error.most_attempts or self.attempts)
                seconds = self.wait_before(attempt + 1, error.retry_after)
                waited += seconds
                if attempt >= most or waited > MAX_WAIT or error.asks_for_long or self.closed.is_set():
                    raise
                log.info(
                    "Attempt %d of %d failed: %s. Next in %.1f s",
                    attempt,
                    most,
                    error,
                    seconds,
                )
            self.pause(seconds)
            self.repeats.add()
            attempt += 1

    def pause(self, seconds: float) -> None:
        """Wait; raises Closed as soon as `closed` is set."""
        pause(seconds, self.closed)

    def wait_before(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before this attempt: at least what the server wants, and never all callers at once."""
        backoff: float = min(self.first_wait * 2 ** (attempt - 2), self.longest_wait)
        jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        return max(jittered, (retry_after or 0) + jittered * bool(retry_after))
