"""How many connections may be open at once. Plain Python: no Airflow, no I/O.

The server counts connections per token and refuses the 21st (§3.1). Inside one process a count is enough.
But another process may use the same token, so the count starts low, grows while the server accepts, and
stops where it refuses: two processes share the 20 after a handful of refusals, without knowing each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Event

from airflow_provider_cca.errors import Closed

FIRST_LIMIT = 8
ANSWERS_PER_STEP = 4
"""How many answers the server must give before one more connection is tried."""

SECONDS_PER_STEP = 0.1
"""How long a thread waits for a slot before it tries one more connection."""

SECONDS_AFTER_REFUSAL = 30.0
"""How long the limit stays where a refusal left it."""


class Budget:
    """Slots for connections, shared by all threads of a process.

    :param most: Never more slots than these.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = min(FIRST_LIMIT, most)
        self.used = 0
        self._answers = 0
        self._grow_after = 0.0
        self._changed = Condition()

    @contextmanager
    def slot(self, closed: Event) -> Iterator[None]:
        """Hold one slot; wait for it while all are taken. Raises Closed when `closed` is set meanwhile."""
        with self._changed:
            while self.used >= self.limit and not closed.is_set():
                # Long bodies give few answers to grow by: then the waiting itself is the sign. Nobody
                # notifies when `closed` is set, either.
                if not self._changed.wait(SECONDS_PER_STEP):
                    self._grow()
            if closed.is_set():
                raise Closed("the client was closed")
            self.used += 1
        try:
            yield
        finally:
            with self._changed:
                self.used -= 1
                self._changed.notify()

    def accepted(self) -> None:
        """The server has answered a request: sooner or later there is room for one more."""
        with self._changed:
            self._answers += 1
            if self._answers % ANSWERS_PER_STEP == 0:
                self._grow()

    def _grow(self) -> None:
        if self.limit < self.most and time.monotonic() >= self._grow_after:
            self.limit += 1
            self._changed.notify()

    def refused(self, open_connections: int = 0) -> None:
        """The server has too many connections: the one that asks was one too many.

        :param open_connections: How many were open, idle ones included, which the server may count too. Where
            most of them were idle, those were too many, and not the ones in use.
        """
        with self._changed:
            counted = open_connections if open_connections > 2 * self.used else self.used
            self.limit = max(1, min(self.limit, counted - 1))
            self._grow_after = time.monotonic() + SECONDS_AFTER_REFUSAL
