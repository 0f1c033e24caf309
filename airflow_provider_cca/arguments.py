"""What can be said of an operator's arguments while the DAG is parsed: those that are no templates."""

from __future__ import annotations

from typing import Any

from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.models import Partition
from airflow_provider_cca.reports import check_listing, report_named


def check_arguments(
    *,
    report: object,
    site: object = None,
    level: Any = None,
    by: object = "creation",
    partition: object = None,
    partition_end: object = None,
) -> None:
    """Raise InvalidArgument when plain values cannot be right; templates and XComs are left for the run."""
    if _open(report):
        return
    row = report_named(str(report))
    sites: list[Any] = list(site) if isinstance(site, list | tuple) else [site]
    if not any(_open(value) for value in (by, level, *sites)):
        for one in sites:
            check_listing(row, by=str(by), site=one, level=level)
    for value in (partition, partition_end):
        if value and not _open(value):
            Partition.parse(str(value), row.grain)
    if partition_end and not partition:
        raise InvalidArgument("partition_end is given without partition", argument="partition_end")


def _open(value: object) -> bool:
    """Whether the value is known only at run time."""
    return value is not None and (not isinstance(value, str) or "{{" in value or "{%" in value)
