"""Waiting for a report without holding a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cca.errors import CcaError, TransientError
from airflow_provider_cca.looks import FAILED_LOOKS, Look


class CcaFilesTrigger(BaseTrigger):
    """Fires when a partition of a report is listed, or when it never will be.

    Its event is a dict: {"files": n} or an error as `CcaError.as_dict` gives it, with {"looks": how often
    it looked, by outcome, "waited": seconds}. Airflow keeps it, and these parameters, in the metadata
    database: there is no secret among them.

    :param poke_interval: Seconds between two looks; the server's Retry-After can make it longer.
    :param first_wait: Seconds before the first look, as somebody has just looked.
    """

    def __init__(
        self,
        *,
        cca_conn_id: str,
        report: str,
        partition: str,
        partition_end: str | None = None,
        site: str | None = None,
        level: str | None = None,
        allow_empty: bool = False,
        poke_interval: float = 300.0,
        first_wait: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.look = Look(cca_conn_id, report, partition, partition_end, site, level, allow_empty)
        self.poke_interval = poke_interval
        self.first_wait = first_wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_cca.triggers.CcaFilesTrigger",
            {**asdict(self.look), "poke_interval": self.poke_interval, "first_wait": self.first_wait},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        looks: Counter[str] = Counter()
        failed, waited, wait = 0, 0.0, self.first_wait
        while True:
            await asyncio.sleep(wait)
            waited, wait = waited + wait, self.poke_interval
            try:
                # In a thread: the loop is shared with every other trigger. One attempt: its waits would
                # hold one of the few threads that they share as well.
                sight = await asyncio.to_thread(self.look.now, 1)
            except CcaError as error:
                failed += 1
                looks["failed"] += 1
                if not isinstance(error, TransientError) or failed >= FAILED_LOOKS:
                    yield _event(error.as_dict(), looks, waited)
                    return
                self.log.info("Look %d of %d failed: %s", failed, FAILED_LOOKS, error)
                wait = max(wait, error.retry_after or 0)
            else:
                looks[sight.outcome] += 1
                if sight.ready:
                    yield _event({"files": sight.files}, looks, waited)
                    return
                failed = 0
                self.log.info("%s. Next look in %g s", sight.message, max(wait, sight.retry_after or 0))
                wait = max(wait, sight.retry_after or 0)


def _event(payload: dict[str, Any], looks: Counter[str], waited: float) -> TriggerEvent:
    return TriggerEvent({**payload, "looks": dict(looks), "waited": waited})  # type: ignore[no-untyped-call]
