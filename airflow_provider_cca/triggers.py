"""Waiting for a report without holding a worker, and watching for new ones."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_cca.api.availability import FAILED_LOOKS, Look, Sight
from airflow_provider_cca.core.partition import newest_partitions
from airflow_provider_cca.errors import CcaError, InvalidArgument, TransientError
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.integration.arguments import check_arguments, is_open
from airflow_provider_cca.reports import Grain, report_named

MOST_LOOKBACK = {Grain.DAY: 31, Grain.MONTH: 12}
"""How many partitions a watcher may look at; the files of all of them are still there."""

LONGEST_PAUSE = 3600.0
"""Seconds up to which the pause of a watcher grows while its looks fail."""


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
        self.cca_conn_id = cca_conn_id
        self.look = Look(report, partition, partition_end, site, level, allow_empty)
        self.poke_interval = poke_interval
        self.first_wait = first_wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_cca.triggers.CcaFilesTrigger",
            {
                "cca_conn_id": self.cca_conn_id,
                **asdict(self.look),
                "poke_interval": self.poke_interval,
                "first_wait": self.first_wait,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        looks: Counter[str] = Counter()
        failed, waited, wait = 0, 0.0, self.first_wait
        while True:
            await asyncio.sleep(wait)
            waited, wait = waited + wait, self.poke_interval
            try:
                sight = await _sight(self.cca_conn_id, self.look)
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


class CcaNewPartitionTrigger(BaseEventTrigger):
    """For an AssetWatcher: fires for each partition of a report that appears on the server.

    A partition has appeared when its listing has a file and is not "still processing". The payload of the
    event is {"report", "partition", "files"}, and "site" or "level" where there is one.

    It fires once for each partition as long as it runs, at most once a look. Of an earlier life it knows
    nothing: when the triggerer starts again, or hands it to another, it fires anew for the partitions of its
    lookback. So each partition comes at least once, unless nobody watched for longer than the lookback. A
    fault never ends it, since nobody would start it again: it logs it, and looks again after a pause that
    grows up to an hour.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly".
    :param site: The site, for report "cdr".
    :param level: "site", "customer" or "partner", for peak-port reports.
    :param lookback: How many partitions to look at, the one of today in UTC included: 1 to 31 days, or 1 to
        12 months. Those that were there before the first look count as new.
    :param poke_interval: Seconds between two looks; the server's Retry-After can make it longer.
    :param cca_conn_id: The connection, of type `cca`.

    Raises InvalidArgument for what cannot be watched, and for templates: nothing renders a watcher's
    arguments.
    """

    def __init__(
        self,
        *,
        report: str,
        site: str | None = None,
        level: str | None = None,
        lookback: int = 3,
        poke_interval: timedelta | float = 300.0,
        cca_conn_id: str = "cca_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        _check_plain(report=report, site=site, level=level, cca_conn_id=cca_conn_id)
        check_arguments(report=report, site=site, level=level)
        self.grain = report_named(report).grain
        most = MOST_LOOKBACK[self.grain]
        if isinstance(lookback, bool) or not isinstance(lookback, int) or not 1 <= lookback <= most:
            raise InvalidArgument(
                f"lookback is {lookback!r}: give 1 to {most} for {report}", argument="lookback"
            )
        self.report, self.site, self.level = report, site, level
        self.lookback, self.poke_interval, self.cca_conn_id = lookback, _seconds(poke_interval), cca_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("report", "site", "level", "lookback", "poke_interval", "cca_conn_id")
        return (
            "airflow_provider_cca.triggers.CcaNewPartitionTrigger",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        fired: set[str] = set()
        failures: Counter[str] = Counter()
        failed = 0
        while True:
            wait = self.poke_interval
            window = [str(partition) for partition in newest_partitions(self.grain, self.lookback)]
            fired.intersection_update(window)
            try:
                # One that the server cannot answer for comes last, or the others would wait for it for ever.
                for partition in sorted(window, key=failures.__getitem__):
                    if partition in fired:
                        continue
                    sight = await _sight(self.cca_conn_id, self._look(partition))
                    wait = max(wait, sight.retry_after or 0)
                    self.log.info("%s", sight.message)
                    if sight.ready:
                        fired.add(partition)
                        yield TriggerEvent(self._payload(partition, sight.files))  # type: ignore[no-untyped-call]
                        # Of two events within moments Airflow can keep the second until a third comes.
                        break
                failed = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the watch
                failed += 1
                failures[partition] += 1
                wait = self._pause(failed, error)
            await asyncio.sleep(wait)

    def _look(self, partition: str) -> Look:
        return Look(self.report, partition, None, self.site, self.level, allow_empty=False)

    def _payload(self, partition: str, files: int) -> dict[str, Any]:
        scope = {name: value for name, value in (("site", self.site), ("level", self.level)) if value}
        return {"report": self.report, **scope, "partition": partition, "files": files}

    def _pause(self, failed: int, error: Exception) -> float:
        """Seconds until the next look: longer after each that fails, and as long as the server wants."""
        grown = min(self.poke_interval * 2 ** min(failed, 20), max(self.poke_interval, LONGEST_PAUSE))
        wait: float = max(grown, getattr(error, "retry_after", None) or 0)
        # What passes is a matter of course; for the rest somebody must do something.
        level = logging.WARNING if isinstance(error, TransientError) else logging.ERROR
        self.log.log(level, "%s: look %d in a row that failed. Next look in %g s", error, failed, wait)
        return wait


async def _sight(cca_conn_id: str, look: Look) -> Sight:
    """Look from an event loop, which is shared with every other trigger: the server is asked in a thread, and
    once, since waits would hold one of the few threads that they share as well."""

    def ask() -> Sight:
        with connect() as client:
            return look.now(client)

    connect = await CcaHook(cca_conn_id, attempts=1).aget_conn()
    return await asyncio.to_thread(ask)


def _check_plain(**arguments: object) -> None:
    """Raise InvalidArgument for what is no text, or a template: the watch would ask for it as it stands."""
    for name, value in arguments.items():
        optional = value is None and name in {"site", "level"}
        if not optional and (not isinstance(value, str) or is_open(value)):
            raise InvalidArgument(
                f"{name} is {value!r}: give plain text, as nothing renders the arguments of a watcher",
                argument=name,
            )


def _seconds(interval: object) -> float:
    """One number for one interval: Airflow tells triggers apart by their arguments as JSON."""
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    # No bound that anybody meets; but it leaves out what is infinite or not a number.
    most = timedelta.max.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= most:
        raise InvalidArgument(
            f"poke_interval is {interval!r}: give a number of seconds above 0, or a timedelta",
            argument="poke_interval",
        )
    return float(seconds)


def _event(payload: dict[str, Any], looks: Counter[str], waited: float) -> TriggerEvent:
    return TriggerEvent({**payload, "looks": dict(looks), "waited": waited})  # type: ignore[no-untyped-call]
