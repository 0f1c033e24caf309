"""Proofs of what `total` counts, from pages of one entry each. No I/O of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from airflow_provider_cca.api.paging import Page
from airflow_provider_cca.core.failures import FATAL_FOR_ALL
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    InvalidRequest,
    ServerFault,
    StillProcessing,
    UnexpectedAnswer,
)
from airflow_provider_cca.reports import Grain

RECENT_DAYS = {Grain.DAY: 30, Grain.MONTH: 365}
"""How far back files are looked for that show that a scope can be listed."""

NO_DATE = date(9990, 1, 1)
"""A creation date that no file has."""

FirstOf = Callable[[Partition | None, Partition | None], Page]
"""Gives the first page of a listing from a partition to another, of one entry; without dates, of all."""


def recent_partitions(scope: Scope) -> list[Partition]:
    """Return recent partitions; a scope that can be listed has files in some of them, unless it is idle."""
    last, grain = datetime.now(UTC).date() - timedelta(days=3), scope.report.grain
    first = Partition.of(last - timedelta(days=RECENT_DAYS[grain]), grain)
    return [*first.until(Partition.of(last, grain))]


def exceeds_page(first_of: FirstOf, scope: Scope, last: Partition | None) -> bool:
    """Return whether a page of one entry tells a larger total: it is not the length of the page then."""
    first = last
    if last:
        grain, around = scope.report.grain, timedelta(days=RECENT_DAYS[scope.report.grain])
        first = Partition.of(last.first - around, grain)
        last = max(last, min(Partition.of(last.first + around, grain), recent_partitions(scope)[-1]))
    try:
        page = first_of(first, last)
    except FATAL_FOR_ALL:
        raise
    except CcaError:
        return False
    return page.total > len(page.items) == 1


def ignores_filter(first_of: FirstOf, scope: Scope) -> bool:
    """Return whether it is proven that totals of a scope count what the filter leaves out.

    It is by a total without entries of a date that no file has, or by those of two halves of a stretch that
    do not add up to that of both: a server may refuse to list nothing. Halves without files are left out:
    the account may be young.
    """
    no_date = Partition.of(NO_DATE, scope.report.grain)
    try:
        with suppress(InvalidRequest, UnexpectedAnswer, ServerFault, StillProcessing):
            none = first_of(no_date, no_date)
            if none.total and not none.items:
                return True
        known = recent_partitions(scope)
        while len(known) > 1:
            halves = known[: len(known) // 2], known[len(known) // 2 :]
            totals = [_total(first_of, half[0], half[-1]) for half in halves]
            if min(totals) > 0:
                return first_of(known[0], known[-1]).total < sum(totals)
            known = halves[totals[1] > 0]
    except FATAL_FOR_ALL:
        raise
    except CcaError:
        pass
    return False


def _total(first_of: FirstOf, first: Partition, last: Partition) -> int:
    try:
        return first_of(first, last).total
    except (InvalidRequest, UnexpectedAnswer):
        return 0  # how this server says that there are none
