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

ANSWERS_AFTER_503 = 40
"""The same after a 503, as long as that may be about connections."""

SECONDS_PER_STEP = 0.1
"""How long a thread waits for a slot before it tries one more connection."""

SECONDS_AFTER_REFUSAL = 30.0
"""How long the limit stays where a 429 left it, and after a 503 does not grow by waiting alone."""


class Budget:
    """Slots for connections, shared by all threads of a process.

    :param most: Never more slots than these.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = min(FIRST_LIMIT, most)
        self.used = 0
        self._answers, self._answers_per_step = 0, ANSWERS_PER_STEP
        self._refuses_one = False
        self._hold_until = self._grow_by_waiting_after = 0.0
        self._changed = Condition()

    @contextmanager
    def slot(self, closed: Event) -> Iterator[None]:
        """Hold one slot; wait for it while all are taken. Raises Closed when `closed` is set meanwhile."""
        with self._changed:
            while self.used >= self.limit and not closed.is_set():
                # Long bodies give few answers to grow by: then the waiting itself is the sign. Nobody
                # notifies when `closed` is set, either.
                if not self._changed.wait(SECONDS_PER_STEP):
                    self._grow(self._grow_by_waiting_after)
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
            if self._answers >= self._answers_per_step:
                self._answers = 0
                self._grow(self._hold_until)

    def _grow(self, after: float) -> None:
        if self.limit < self.most and time.monotonic() >= after:
            self.limit += 1
            self._changed.notify()

    def refused(self, open_connections: int = 0, *, certain: bool = True) -> None:
        """Take back a connection: the server has too many, and the one that asks was one too many.

        A 503 may also come from a server that fails now and then: one does that has refused the only
        connection, and with it the limit grows again as soon as answers come.

        :param certain: Whether the server says so (429), as against a 503.
        :param open_connections: How many were open, idle ones included, which the server may count too. Where
            most of them were idle, those were too many, and not the ones in use.
        """
        with self._changed:
            counted = open_connections if open_connections > 2 * self.used else self.used
            self.limit = max(1, min(self.limit, counted - 1))
            self._answers = 0
            self._grow_by_waiting_after = time.monotonic() + SECONDS_AFTER_REFUSAL
            if certain:
                self._hold_until = self._grow_by_waiting_after
                return
            self._refuses_one |= max(self.used, open_connections) <= 1
            self._answers_per_step = ANSWERS_PER_STEP if self._refuses_one else ANSWERS_AFTER_503
