"""What can be said of an operator's arguments while the DAG is parsed: those that are no templates."""

from __future__ import annotations

from typing import Any

from airflow_provider_cca.core.destination import Destination
from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.reports import LEVELS, check_listing, report_named


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
    for name, value in (("partition", partition), ("partition_end", partition_end)):
        if value is not None and not isinstance(value, str) and not is_open(value):
            raise InvalidArgument(f"{name} is {value!r}, which is no text", argument=name)
    if partition_end and not partition:
        raise InvalidArgument("partition_end is given without partition", argument="partition_end")
    if level and not is_open(level) and level not in LEVELS:
        raise InvalidArgument(
            f"there is no level {level!r}: use one of {', '.join(LEVELS)}", argument="level"
        )
    if is_open(report):
        return
    row = report_named(str(report))
    if not any(is_open(value) for value in (by, level, site)):
        for one in _each(site):
            check_listing(row, by=str(by), site=one, level=level)
    given = [Partition.parse(str(p), row.grain) for p in (partition, partition_end) if p and not is_open(p)]
    if by == "new" and partition:
        raise InvalidArgument('by="new" takes no partition', argument="partition")
    if given != sorted(given):
        raise InvalidArgument(
            f"partition_end {given[1]} lies before partition {given[0]}", argument="partition_end"
        )


def check_destination(destination: object, name: str = "destination") -> None:
    """Raise InvalidArgument when a plain destination, or a source, cannot be right."""
    if is_open(destination):
        return
    Destination.parse(destination, name)


def is_open(value: object) -> bool:
    """Whether the value is known only at run time: a template, an XCom, or something that holds one."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, list | tuple):
        return any(is_open(one) for one in value)
    return value is not None and not isinstance(value, str | int | float | bool | dict)


def _each(site: Any) -> list[Any]:
    """The sites that are meant; an empty list of them is no site."""
    return list(site) or [None] if isinstance(site, list | tuple) else [site]
