"""What all triggers on one event loop share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

from airflow_provider_cca.integration.compat import amask_secret

MASKING_SECONDS = 10.0
"""How long a thread of a trigger waits until its secret is masked."""

MOST_ASKING = 16
"""How many triggers ask Airflow for their connection at the same time."""

MAX_THREADS = 32
"""How many triggers ask a CCA server at the same time."""


class SharedByTriggers:
    """What all triggers on one event loop share."""

    _known: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, SharedByTriggers]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.asking = asyncio.Semaphore(MOST_ASKING)
        """A thousand that wake up at once would hold the loop for as long as all of them need to ask."""
        self.threads = ThreadPoolExecutor(MAX_THREADS, "cca-trigger")
        """asyncio's own pool has six threads: as many servers that do not answer would stop every trigger."""
        self._loop = ref(asyncio.get_running_loop())
        self._masked: set[int] = set()

    @classmethod
    def of_this_loop(cls) -> SharedByTriggers:
        return cls._known.setdefault(asyncio.get_running_loop(), cls())

    def mask(self, secret: Any) -> None:
        """From a thread; once, since each look of each trigger would else tell it again."""
        loop, known = self._loop(), hash(repr(secret))
        if loop and known not in self._masked:
            with suppress(TimeoutError):  # as when the loop is about to end
                asyncio.run_coroutine_threadsafe(amask_secret(secret), loop).result(MASKING_SECONDS)
                self._masked.add(known)
