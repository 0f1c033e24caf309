"""The assets that landings update, so that other DAGs start from them, and the facts in their events.

A landing has two assets, since Airflow lets an event with a partition key start the DAGs of a
`PartitionedAssetTimetable` alone, and one without the key all others alone:

    schedule=[cca_asset("cdr_compressed")]                                          # any Airflow 3
    schedule=PartitionedAssetTimetable(assets=cca_partitions("cdr_compressed"))     # see docs/assets.md
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.reports import LEVELS, report_named

# Airflow takes an x- scheme as it is. About any other it asks all providers, which takes a third of a second.
SCHEME = "x-cca"

OF_PARTITIONS = "/partitions"


def cca_asset(report: str, *, level: str | None = None, site: str | None = None) -> Asset:
    """The files of a report in the store; each landing of any of its partitions updates it.

    Raises InvalidArgument when there is no such report, or none of that level.

    :param report: "cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly" or "site_list".
    :param level: "site", "customer" or "partner", for peak-port reports.
    :param site: For report "cdr", when each site has a task of its own; None means all sites alike.
    """
    return _asset(report, level, site, "")


def cca_partitions(report: str, *, level: str | None = None, site: str | None = None) -> Asset:
    """The same files partition by partition: an event for each, with its date or month as partition key.

    For `PartitionedAssetTimetable`; the keys need Airflow 3.3. Arguments and errors as for `cca_asset`.
    """
    return _asset(report, level, site, OF_PARTITIONS)


def cca_landings() -> AssetAlias:
    """The outlet of a task whose reports are known only when it runs.

    Through it the task updates `cca_asset` of each report and level of which it has written a manifest.
    An alias takes no partition keys, so it does not update `cca_partitions`.
    """
    return AssetAlias("cca/landings")


def _asset(report: str, level: str | None, site: str | None, end: str) -> Asset:
    row = report_named(report)
    for name, value in (("level", level), ("site", site)):
        if value and row.needs != name:
            raise InvalidArgument(f"report {report} takes no {name}, but got {value!r}", argument=name)
    if row.needs == "level" and level not in LEVELS:
        # One asset of all levels would be updated by no DAG, and whoever waits for it would wait for ever.
        raise InvalidArgument(
            f"report {report} has an asset for each level, not one for {level!r}: "
            f"use one of {', '.join(LEVELS)}",
            argument="level",
        )
    part = f"/level={level}" if level else f"/site={quote(site, safe='')}" if site else ""
    return Asset(name=f"cca/{report}{part}{end}", uri=f"{SCHEME}://{report}{part}{end}")
