"""Waiting for a report without holding a worker, and watching for new ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_cca.api.availability import Availability, AvailabilityCheck, Patience
from airflow_provider_cca.core.partition import newest_partitions
from airflow_provider_cca.errors import CcaError, ConnectionFailed, InvalidArgument, TransientError
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.integration.arguments import check_arguments, is_open
from airflow_provider_cca.integration.triggerer import SharedByTriggers
from airflow_provider_cca.reports import Grain, report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient

MOST_LOOKBACK = {Grain.DAY: 31, Grain.MONTH: 12}
"""How many partitions a watcher may watch; the files of all of them are still there."""

LONGEST_PAUSE = 3600.0
"""Seconds up to which the pause of a watcher grows while its checks fail."""

CHECK_SECONDS = 120.0
"""How long a check may take, the wait for a thread included: no server holds a thread for ever."""


class CcaFilesTrigger(BaseTrigger):
    """Fires when a partition of a report is listed, when it never will be, or when the wait ends.

    Its event is a dict: {"files": n}, {"timed_out": the last message, "nothing_listed": bool}, or an error as
    `CcaError.as_dict` gives it with {"failing_since": seconds since the epoch, or None}; and always {"looks":
    how often it checked, by outcome, "waited": seconds}. Airflow keeps it, and these parameters, in the
    metadata database: there is no secret among them, and those that a newer version has added have defaults.

    :param poke_interval: Seconds between two checks; the server's Retry-After can make it longer.
    :param first_wait: Seconds before the first check, as the task has just made one.
    :param allow_empty: Ignored: {"files": 0} is left to the sensor to judge.
    :param began: When the wait began, in seconds since the epoch; None means now.
    :param timeout: Seconds since then after which it ends; None leaves that to Airflow.
    :param exponential_backoff: Whether the interval grows, up to `max_wait` seconds.
    :param silent_fail: Whether failing checks do not end the wait before its timeout.
    :param failing_since: When the check of the task failed, if it did, in seconds since the epoch.
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
        began: float | None = None,
        timeout: float | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        failing_since: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cca_conn_id = cca_conn_id
        self.check = AvailabilityCheck(report, partition, partition_end, site, level)
        self.patience = Patience(
            poke_interval,
            time.time() if began is None else began,
            timeout,
            exponential_backoff,
            max_wait,
            silent_fail,
            failing_since,
        )
        self.first_wait = first_wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_cca.triggers.CcaFilesTrigger",
            {
                "cca_conn_id": self.cca_conn_id,
                **asdict(self.check),
                **asdict(self.patience),
                "first_wait": self.first_wait,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        checks: Counter[str] = Counter()
        waited, pause = 0.0, self.first_wait
        while True:
            await asyncio.sleep(pause)
            waited += pause
            found: Availability | CcaError
            try:
                found = await _availability(self.cca_conn_id, self.check)
            except TransientError as error:
                found = Availability.failed(error)
            except CcaError as error:
                yield _event(error.as_dict(), checks + Counter(failed=1), waited)
                return
            checks[found.outcome] += 1
            next_pause = self.patience.pause_after(found, time.time())
            if found.files is not None or next_pause is None:
                yield _event(self._outcome(found), checks, waited)
                return
            pause = next_pause
            log_level = logging.WARNING if found.error else logging.INFO
            self.log.log(log_level, "%s. %s", found.message, self.patience.plan(pause))

    def _outcome(self, found: Availability) -> dict[str, Any]:
        if found.files is not None:
            return {"files": found.files}
        if found.error and self.patience.gives_up:
            return {**found.error.as_dict(), "failing_since": self.patience.failing_since}
        return {"timed_out": found.message, "nothing_listed": found.nothing_listed}


class CcaNewPartitionTrigger(BaseEventTrigger):
    """For an AssetWatcher: fires for each partition of a report that appears on the server.

    A partition has appeared when its listing has a file and is not "still processing". The payload of the
    event is {"report", "partition", "files"}, and "site" or "level" where there is one.

    It fires once for each partition as long as it runs, at most once a check. Of an earlier life it knows
    nothing: when the triggerer starts again, or hands it to another, it fires anew for the partitions of its
    lookback. So each partition comes at least once, unless nobody watched for longer than the lookback. A
    fault never ends it, since nobody would start it again: it logs it, and checks again after a pause that
    grows up to an hour.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly".
    :param site: The site, for report "cdr".
    :param level: "site", "customer" or "partner", for peak-port reports.
    :param lookback: How many partitions to watch, the one of today in UTC included: 1 to 31 days, or 1 to
        12 months. Those that were there before the first check count as new.
    :param poke_interval: Seconds between two checks; the server's Retry-After can make it longer.
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
                    check = AvailabilityCheck(self.report, partition, None, self.site, self.level)
                    found = await _availability(self.cca_conn_id, check)
                    wait = max(wait, found.retry_after or 0)
                    self.log.info("%s", found.message)
                    if found.files:
                        fired.add(partition)
                        yield TriggerEvent(self._payload(partition, found.files))  # type: ignore[no-untyped-call]
                        # Of two events within moments Airflow can keep the second until a third comes.
                        break
                failed = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the watch
                failed += 1
                failures[partition] += 1
                wait = self._pause(failed, error)
            await asyncio.sleep(wait)

    def _payload(self, partition: str, files: int) -> dict[str, Any]:
        scope = {name: value for name, value in (("site", self.site), ("level", self.level)) if value}
        return {"report": self.report, **scope, "partition": partition, "files": files}

    def _pause(self, failed: int, error: Exception) -> float:
        """Return the seconds until the next check: more after each failure, at least as the server wants."""
        grown = min(self.poke_interval * 2 ** min(failed, 20), max(self.poke_interval, LONGEST_PAUSE))
        wait: float = max(grown, getattr(error, "retry_after", None) or 0)
        # What passes is a matter of course; for the rest somebody must do something.
        level = logging.WARNING if isinstance(error, TransientError) else logging.ERROR
        self.log.log(level, "%s: check %d in a row that failed. Next check in %g s", error, failed, wait)
        return wait


async def _availability(cca_conn_id: str, check: AvailabilityCheck) -> Availability:
    """Check once, in a thread of the triggers' own pool: the event loop is shared with every other trigger.

    Raises ConnectionFailed after CHECK_SECONDS, and ends the thread's work then, as when the trigger is
    cancelled.
    """
    connect = await CcaHook(cca_conn_id, attempts=1).aget_conn()
    clients: list[CcaClient] = []

    def ask() -> Availability:
        with connect() as client:
            clients.append(client)
            return check.check(client)

    asking = asyncio.get_running_loop().run_in_executor(SharedByTriggers.of_this_loop().threads, ask)
    try:
        return await asyncio.wait_for(asking, CHECK_SECONDS)
    except TimeoutError:
        raise ConnectionFailed(
            f"{check}: the check was not answered in full within {CHECK_SECONDS:g} s"
        ) from None
    finally:
        # After an answer this does nothing; else the thread would be held for as long as the server likes.
        for client in clients:
            client.abort()


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


def _event(payload: dict[str, Any], checks: Counter[str], waited: float) -> TriggerEvent:
    return TriggerEvent({**payload, "looks": dict(checks), "waited": waited})  # type: ignore[no-untyped-call]
