"""Stand-ins for our operators that do nothing, made of Airflow's standard provider.

With the import lines of our DAG files led here, the same files show what parsing costs without this package.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import Asset, Param

LEVELS = ("site", "customer", "partner")
REPORTS: dict[str, Any] = dict.fromkeys(("cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly"))
OURS = {"report", "level", "site", "destination", "cca_conn_id", "allow_empty"}


class CcaFilesSensor(TimeDeltaSensor):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(delta=timedelta(0), **_without_ours(kwargs))


class CcaToObjectStorageOperator(EmptyOperator):
    def __init__(
        self, *, report: str = "", destination: str = "", site: Any = None, level: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)


class CcaSiteListToObjectStorageOperator(CcaToObjectStorageOperator):
    pass


class CcaReconcileOperator(CcaToObjectStorageOperator):
    def __init__(
        self, *, lookback_days: Any, dry_run: Any, verify: Any, alarm_days: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)


class CcaListSitesOperator(EmptyOperator):
    pass


class Grain:
    MONTH = "month"


def partition_params(grain: str = "day") -> dict[str, Param]:
    names = ("partition", "partition_end")
    return {name: Param(None, type=["null", "string"], format="date", description=grain) for name in names}


def reports_param() -> Param:
    return Param(list(REPORTS), type="array", examples=list(REPORTS))


def range_params() -> dict[str, Param]:
    return {name: Param(None, type=["null", "string"], format="date") for name in ("from", "to")}


def within_retention(first: str, last: str) -> tuple[str, str]:
    return first, last


def cca_asset(report: str, level: str = "") -> Asset:
    return Asset(name=f"{report}/{level}", uri=f"x-empty://{report}/{level}")


def cca_partitions(report: str, level: str = "") -> Asset:
    return cca_asset(f"{report}/partitions", level)


def _without_ours(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in OURS}
