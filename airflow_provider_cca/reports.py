"""The reports of the API document in one table; everything else is generic over it.

Plain data: no Airflow, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from airflow_provider_cca.errors import InvalidArgument

LEVELS = ("site", "customer", "partner")
"""The levels of a peak-port file (§3.6.1, §3.6.2)."""

RETENTION_DAYS = 365
"""How long the server keeps a file after its creation (§3.1)."""

MAX_DOWNLOAD_ATTEMPTS = 999
"""How often the server lets one file be downloaded (§3.1)."""

MAX_CONNECTIONS = 20
"""How many connections the server allows one token (§3.1)."""


class Grain(Enum):
    """The stretch of creation time that one partition covers, as strptime sees it in arguments."""

    DAY = "%Y-%m-%d"
    MONTH = "%Y-%m"


@dataclass(frozen=True, eq=False)
class Report:
    """One row of the table; there is one object for each.

    :param name: What users write.
    :param section: Where the API document describes it.
    :param path: Its listing (of the site list: the file itself), below the API root.
    :param media_type: What its files are.
    :param needs: The argument it cannot be asked for without: "site", "level" or None.
    :param partition_key: The name of its partition folders in the store.
    :param dates: Way of listing -> (first, last) date parameter, None for a way without dates.
    :param generating_403: Whether 403 to its listing can mean "still generating".
    """

    name: str
    section: str
    path: str
    media_type: str
    grain: Grain = Grain.DAY
    needs: str | None = None
    partition_key: str = "creation_date"
    dates: Mapping[str, tuple[str, str] | None] = field(default_factory=dict)
    generating_403: bool = False


_CREATION_DAYS = {"creation": ("creationStartDate", "creationEndDate")}

REPORTS: Mapping[str, Report] = {
    report.name: report
    for report in (
        Report(
            "cdr",
            "§3.5.2-4, §3.5.6",
            "/v1/cdr/{site}",
            "text/csv",
            needs="site",
            dates={**_CREATION_DAYS, "meeting_end": ("startDate", "endDate"), "new": None},
        ),
        Report(
            "cdr_compressed",
            "§3.5.5, §3.5.7",
            "/v1/cdr/daily/compression/files",
            "application/zip",
            dates=_CREATION_DAYS,
            generating_403=True,
        ),
        Report(
            "peak_port_daily",
            "§3.6.1, §3.6.3",
            "/v1/peakport/daily",
            "text/csv",
            needs="level",
            dates=_CREATION_DAYS,
        ),
        Report(
            "peak_port_monthly",
            "§3.6.2, §3.6.3",
            "/v1/peakport/monthly",
            "text/csv",
            grain=Grain.MONTH,
            needs="level",
            partition_key="creation_month",
            dates={"creation": ("creationStartMonth", "creationEndMonth")},
        ),
        Report("site_list", "§3.7", "/v1/cca-site", "text/csv", partition_key="snapshot_date"),
    )
}


def report_named(name: str) -> Report:
    """The table's row; raises InvalidArgument that lists the names there are."""
    try:
        return REPORTS[name]
    except (KeyError, TypeError):
        raise InvalidArgument(
            f"there is no report {name!r}: use one of {', '.join(REPORTS)}", argument="report"
        ) from None


def check_listing(report: Report, *, by: str, site: str | None, level: str | None) -> None:
    """Raise InvalidArgument unless this report can be listed by these arguments."""
    if not report.dates:
        raise InvalidArgument(
            f"report {report.name} has no listing: land it with CcaSiteListToObjectStorageOperator",
            argument="report",
        )
    if by not in report.dates:
        raise InvalidArgument(
            f"report {report.name} cannot be listed by {by!r}: use {' or '.join(report.dates)}", argument="by"
        )
    for name, value in (("site", site), ("level", level)):
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(f"{name} is {value!r}, which is no text", argument=name)
        if value and report.needs != name:
            raise InvalidArgument(f"report {report.name} takes no {name}, but got {value!r}", argument=name)
        if report.needs == name and not value:
            raise InvalidArgument(f"report {report.name} needs a {name}: give {name}=…", argument=name)
    if level and level not in LEVELS:
        raise InvalidArgument(
            f"there is no level {level!r}: use one of {', '.join(LEVELS)}", argument="level"
        )
    if site in {".", ".."}:
        # They would vanish from the URL's path, and another call would be made than the one meant.
        raise InvalidArgument(f"{site!r} is not the name of a site", argument="site")
    if site and not site.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in site):
        raise InvalidArgument(
            f"{site!r} cannot be written in a URL, so it is no site's name", argument="site"
        )
