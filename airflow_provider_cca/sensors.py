"""Waiting until the server has a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_provider_cca.api.availability import Availability, AvailabilityCheck, Patience, utc
from airflow_provider_cca.errors import CcaError, OutsideRetention, TransientError
from airflow_provider_cca.events.metrics import count_looks
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.integration.arguments import CheckedArguments, check_arguments, is_open, site_name
from airflow_provider_cca.integration.compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
)
from airflow_provider_cca.integration.requested_range import Asked, partitions_of_run
from airflow_provider_cca.integration.task_failures import airflow_errors, log_last
from airflow_provider_cca.reports import report_named

ATTEMPTS_OF_A_PROCESS = 6
"""How often a rescheduled check asks before it fails: between two checks such a sensor forgets everything."""

AIRFLOWS_MARGIN = timedelta(minutes=10)
"""How long after the timeout Airflow ends a deferral itself, as when no triggerer runs. At the timeout the
trigger does, with a reason, and Airflow must not come before it."""


class CcaFilesSensor(CheckedArguments, BaseSensorOperator):
    """Wait until a partition of a report is listed without "still processing" (412, or a 403 that means it).

    An empty listing counts as "still processing" until 48 hours after the end of the date (UTC), and then as
    the answer. Returns {"report", "partition", "files"}. Errors that no waiting can cure end it at once, and
    a server that fails for 35 minutes does. When nothing is listed in the end, the task is skipped.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly" (templated).
    :param partition: Creation date YYYY-MM-DD, or month YYYY-MM, in UTC (templated). None means the run's
        param `partition`, else its partition key, its logical date, or the date it runs after.
    :param site: The site, for report "cdr" (templated).
    :param level: "site", "customer" or "partner", for peak-port reports (templated).
    :param allow_empty: Whether the wait is a success when it is known that there are no files.
    :param deferrable: Whether to wait in the triggerer, without holding a worker slot.
    :param cca_conn_id: The connection, of type `cca` (templated).
    """

    template_fields: Sequence[str] = ("report", "partition", "site", "level", "cca_conn_id")

    def __init__(
        self,
        *,
        report: str,
        partition: str | None = None,
        site: str | None = None,
        level: str | None = None,
        allow_empty: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cca_conn_id: str = "cca_default",
        poke_interval: timedelta | float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        if self.of_dag_file:
            if not is_open(site):
                site_name(site)
            check_arguments(report=report, site=site, level=level, partition=partition)
        self.report = report
        self.partition = partition
        self.site = site
        self.level = level
        self.allow_empty = allow_empty
        self.deferrable = deferrable
        self.cca_conn_id = cca_conn_id

    def execute(self, context: Context) -> Any:
        with self._as_users_want():
            patience = self._patience(self._began(context))
            while True:
                found = self._check(context)
                pause = patience.pause_after(found, time.time())
                if found.files is not None:
                    return self._finish(context, found.files, time.time() - patience.began)
                if found.error and self.reschedule and not self.silent_fail and not found.error.asks_for_long:
                    with airflow_errors(self):
                        raise found.error
                if pause is None:
                    self._end(context, found, patience.failing_since if patience.gives_up else None)
                level = logging.WARNING if found.error else logging.INFO
                self.log.log(level, "%s. %s", found.message, patience.plan(pause))
                self._pause(context, patience, pause)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take up after the trigger: its error is raised here, as what it was."""
        waited = event.get("waited") or 0.0
        self._count(event.get("looks") or {}, waited)
        with self._as_users_want():
            if "error" in event:
                error = CcaError.from_dict(event)
                if not isinstance(error, TransientError):
                    with airflow_errors(self), self._skips(context):
                        raise error
                found = Availability.failed(error)
                if self.silent_fail:
                    # Only a trigger that an earlier version has started ends at failing checks all the same.
                    patience = self._patience(time.time() - waited)
                    if (pause := patience.pause_after(found, time.time())) is not None:
                        self._pause(context, patience, pause)
                self._end(
                    context, found, None if self.silent_fail else event.get("failing_since") or time.time()
                )
            if "timed_out" in event:
                found = Availability(None, event["timed_out"], nothing_listed=event["nothing_listed"])
                self._end(context, found, None)
            return self._finish(context, event["files"], waited)

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once; raises the error of a check that fails."""
        found = self._check(context)
        if found.error:
            raise found.error
        if found.files is None:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, found.files, 0.0))

    def _check(self, context: Context) -> Availability:
        """Check once, and count it; raises what no waiting can cure as Airflow's error."""
        found = None
        try:
            with airflow_errors(self), self._skips(context):
                check = self._availability_check(context)
                attempts = ATTEMPTS_OF_A_PROCESS if self.reschedule else 1
                try:
                    with CcaHook(self.cca_conn_id, attempts).get_conn() as client:
                        found = check.check(client)
                except TransientError as error:
                    found = Availability.failed(error)
            return found
        finally:
            self._count({found.outcome if found else "failed": 1})

    def _count(self, checks: Mapping[str, int], waited: float = 0.0) -> None:
        count_looks(checks, waited, self.report, self.level)

    def _asked(self, context: Context) -> Asked:
        return partitions_of_run(context, report_named(self.report), self.partition)

    def _availability_check(self, context: Context) -> AvailabilityCheck:
        """Return what to ask for; raises what no waiting can cure."""
        asked, now = self._asked(context), _now()
        if not asked.last.begun(now):
            asked.refuse(f"{asked.last} cannot be listed yet: in UTC it is {now:%Y-%m-%d}")
        return AvailabilityCheck(
            report=self.report,
            partition=str(asked.first),
            partition_end=str(asked.last) if asked.last != asked.first else None,
            site=site_name(self.site),
            level=self.level or None,
        )

    @contextmanager
    def _skips(self, context: Context) -> Iterator[None]:
        """Skip what the server cannot have any more, unless somebody asked for it by hand."""
        try:
            yield
        except OutsideRetention as error:
            self._asked(context).refuse(str(error))

    def _began(self, context: Context) -> float:
        """Return when the wait began: a rescheduled one in an earlier process, or an earlier attempt."""
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        return first.timestamp() if first else time.time()

    def _patience(self, began: float) -> Patience:
        return Patience(
            poke_interval=self.poke_interval,
            began=began,
            timeout=self.timeout,
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait.total_seconds() if self.max_wait else None,
            silent_fail=self.silent_fail,
        )

    def _pause(self, context: Context, patience: Patience, pause: float) -> None:
        """Let the seconds pass until the next check, in the triggerer or here."""
        if self.deferrable:
            self._defer(context, patience, pause)
        self._count({}, pause)
        if self.reschedule:
            raise AirflowRescheduleException(_now() + timedelta(seconds=pause))  # type: ignore[no-untyped-call]
        time.sleep(pause)

    def _defer(self, context: Context, patience: Patience, pause: float) -> NoReturn:
        # The triggerer's base class is a fifth of what importing this module would cost.
        from airflow_provider_cca.triggers import CcaFilesTrigger

        left = timedelta(seconds=max(0.0, patience.began + self.timeout - time.time()))
        self.defer(
            trigger=CcaFilesTrigger(
                cca_conn_id=self.cca_conn_id,
                **asdict(self._availability_check(context)),
                **asdict(patience),
                first_wait=pause,
            ),
            method_name="execute_complete",
            # Airflow counts it from this deferral, and not from the first.
            timeout=left + AIRFLOWS_MARGIN,
        )

    def _finish(self, context: Context, files: int, waited: float) -> dict[str, Any]:
        """Return the result of a wait that has got its answer; skip when that is that there are no files."""
        check = self._availability_check(context)
        if not files and not self.allow_empty:
            message = f"{check}: the date has been over for 48 hours, and the server lists no file of it"
            self.log.warning("%s", message)
            raise AirflowSkipException(f"{message}. To go on without files, give allow_empty=True")
        now = _now()
        end = datetime.combine(check.last.last + timedelta(days=1), datetime.min.time(), UTC)
        if files and now - timedelta(seconds=waited) < end < now:
            self.log.warning(
                "%s: listed %.1f hours after the date had ended in UTC: by that much this server's dates lag",
                check,
                (now - end) / timedelta(hours=1),
            )
        return {"report": self.report, "partition": check.partition, "files": files}

    def _end(self, context: Context, found: Availability, failing_since: float | None) -> NoReturn:
        """End a wait that has got no answer, in every mode alike.

        AirflowSkipException when nothing is listed, AirflowSensorTimeout when the timeout came otherwise, and
        AirflowFailException when it is failing checks that end it; none of them is retried.
        """
        check, limit = self._availability_check(context), timedelta(seconds=self.timeout)
        if found.error and failing_since is not None:
            message = (
                f"{found.error}. Every check since {utc(failing_since)} has failed, so the wait ends. When "
                f"the server works again, the next run of cca_reconcile lands {check}; or clear this task"
            )
            with airflow_errors(self):
                raise type(found.error)(message, **{**vars(found.error), "retryable": False})
        if found.nothing_listed:
            message = (
                f"{check}: nothing was listed within {limit}, and the last check did not fail. There may be "
                "no files, or they come later: cca_reconcile lands them, or records that there are none when "
                "the date has been over for 48 hours"
            )
            self.log.warning("%s", message)
            raise AirflowSkipException(message)
        message = (
            f"{found.message}. No further check comes within the timeout of {limit}. When the report is "
            f"there, the next run of cca_reconcile lands {check}; or clear this task"
        )
        error = AirflowSensorTimeout(message)
        log_last(self, error)
        raise error

    @contextmanager
    def _as_users_want(self) -> Iterator[None]:
        """Skip where `soft_fail` and `never_fail` ask for it, as Airflow does in its other sensors."""
        try:
            yield
        except (AirflowFailException, AirflowSensorTimeout, CcaError) as error:
            if self.never_fail or (self.soft_fail and not isinstance(error, CcaError)):
                raise AirflowSkipException(str(error)) from error
            log_last(self, error)
            raise


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
