"""Waiting until the server has a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf
from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from airflow_provider_cca.arguments import check_arguments
from airflow_provider_cca.errors import CcaError, OutsideRetention
from airflow_provider_cca.hooks import airflow_errors
from airflow_provider_cca.reports import report_named
from airflow_provider_cca.runs import Asked, partitions_of_run
from airflow_provider_cca.triggers import CcaFilesTrigger, Look


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

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        try:
            done = self.poke(context)
        except AirflowFailException as error:
            raise self._as_users_want(error) from error
        return done.xcom_value if done else self._defer_until_listed(self._look(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take up after the trigger: its error is raised here, as what it was."""
        if "error" in event:
            with airflow_errors(), self._skips(context):
                raise CcaError.from_dict(event)
        return self._look(context).xcom(event["files"])

    def poke(self, context: Context) -> PokeReturnValue:
        with airflow_errors(), self._skips(context):
            self._asked(context).check_retention()
            look = self._look(context)
            sight = look.now(attempts=6)
        self.log.info("%s", sight.message)
        self._retry_after = sight.retry_after or 0.0
        return PokeReturnValue(sight.ready, look.xcom(sight.files))

    def _asked(self, context: Context) -> Asked:
        return partitions_of_run(context, report_named(self.report), self.partition)

    def _look(self, context: Context) -> Look:
        asked = self._asked(context)
        return Look(
            cca_conn_id=self.cca_conn_id,
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
        self.defer(
            trigger=CcaFilesTrigger(
                **asdict(look),
                poke_interval=self.poke_interval,
                first_wait=max(self.poke_interval, self._retry_after),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def _as_users_want(self, error: Exception) -> Exception:
        """The same error, or the skip that `soft_fail` and `never_fail` ask for."""
        return AirflowSkipException(str(error)) if self.soft_fail or self.never_fail else error

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return max(interval, self._retry_after)
