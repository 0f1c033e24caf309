"""Waiting until the server has a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_provider_cca.api.availability import FAILED_LOOKS, Look, Sight
from airflow_provider_cca.errors import CcaError, OutsideRetention, TransientError
from airflow_provider_cca.events.metrics import count_looks
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.integration.arguments import check_arguments
from airflow_provider_cca.integration.compat import AirflowFailException, AirflowSkipException, conf
from airflow_provider_cca.integration.requested_range import Asked, partitions_of_run
from airflow_provider_cca.integration.task_failures import airflow_errors
from airflow_provider_cca.reports import report_named


class CcaFilesSensor(BaseSensorOperator):
    """Wait until a partition of a report is listed without "still processing" (412, or a 403 that means it).

    Returns {"report", "partition", "files"}. Errors that no waiting can cure end it at once.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly" (templated).
    :param partition: Creation date YYYY-MM-DD, or month YYYY-MM, in UTC (templated). None means the run's
        param `partition`, else its partition key, its logical date, or the date it runs after.
    :param site: The site, for report "cdr" (templated).
    :param level: "site", "customer" or "partner", for peak-port reports (templated).
    :param allow_empty: Whether a listing without files ends the wait.
    :param deferrable: Whether to wait in the triggerer, without holding a worker slot.
    """

    template_fields: Sequence[str] = ("report", "partition", "site", "level")

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
        check_arguments(report=report, site=site, level=level, partition=partition)
        self.report = report
        self.partition = partition
        self.site = site
        self.level = level
        self.allow_empty = allow_empty
        self.deferrable = deferrable
        self.cca_conn_id = cca_conn_id
        self._retry_after = 0.0
        self._failed_looks = 0

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        with self._as_users_want():
            done = self.poke(context)
            return done.xcom_value if done else self._defer_until_listed(self._look(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take up after the trigger: its error is raised here, as what it was."""
        self._count(event.get("looks") or {}, event.get("waited") or 0.0)
        with self._as_users_want():
            error = CcaError.from_dict(event) if "error" in event else None
            if isinstance(error, TransientError) and self.silent_fail:
                self.log.error("%s", error)
                self._defer_until_listed(self._look(context))
            if error:
                with airflow_errors(self), self._skips(context):
                    raise error
            return self._look(context).xcom(event["files"])

    def poke(self, context: Context) -> PokeReturnValue:
        with airflow_errors(self), self._skips(context):
            self._asked(context).check_retention()
            look = self._look(context)
            try:
                # Between two looks a rescheduled sensor forgets all: it tries again within the one.
                sight = self._sight(look, attempts=FAILED_LOOKS if self.reschedule else 1)
                self._failed_looks = 0
            except TransientError as error:
                self._failed_looks += 1
                if not error.asks_for_long and (self.reschedule or self._failed_looks >= FAILED_LOOKS):
                    raise
                sight = Sight(False, 0, str(error), error.retry_after)
        self.log.info("%s", sight.message)
        self._retry_after = sight.retry_after or 0.0
        return PokeReturnValue(sight.ready, look.xcom(sight.files))

    def _sight(self, look: Look, attempts: int) -> Sight:
        """One look, counted."""
        outcome = "failed"
        try:
            with CcaHook(self.cca_conn_id, attempts).get_conn() as client:
                sight = look.now(client)
            outcome = sight.outcome
            return sight
        finally:
            self._count({outcome: 1})

    def _count(self, looks: Mapping[str, int], waited: float = 0.0) -> None:
        count_looks(looks, waited, self.report, self.level)

    def _asked(self, context: Context) -> Asked:
        return partitions_of_run(context, report_named(self.report), self.partition)

    def _look(self, context: Context) -> Look:
        asked = self._asked(context)
        return Look(
            report=self.report,
            partition=str(asked.first),
            partition_end=str(asked.last) if asked.last != asked.first else None,
            site=self.site or None,
            level=self.level or None,
            allow_empty=self.allow_empty,
        )

    @contextmanager
    def _skips(self, context: Context) -> Iterator[None]:
        """Skip what the server cannot have any more, unless somebody asked for it by hand."""
        try:
            yield
        except OutsideRetention as error:
            self._asked(context).refuse(str(error))

    def _defer_until_listed(self, look: Look) -> NoReturn:
        # The triggerer's base class is a fifth of what importing this module would cost.
        from airflow_provider_cca.triggers import CcaFilesTrigger

        self.defer(
            trigger=CcaFilesTrigger(
                cca_conn_id=self.cca_conn_id,
                **asdict(look),
                poke_interval=self.poke_interval,
                first_wait=max(self.poke_interval, self._retry_after),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    @contextmanager
    def _as_users_want(self) -> Iterator[None]:
        """Skip where `soft_fail` and `never_fail` ask for it, as Airflow does in its other modes."""
        try:
            yield
        except (AirflowFailException, CcaError) as error:
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        # Airflow looks at the timeout between two looks only: no wish of the server goes beyond it.
        interval = max(interval, min(self._retry_after, self.timeout - run_duration()))
        self._count({}, interval)
        return interval
