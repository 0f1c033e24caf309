"""What totals count is asked of the server in few questions, and no refusal is taken for an answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_cca.api.paging import Page
from airflow_provider_cca.api.total_proofs import FirstOf, exceeds_page, ignores_filter, recent_partitions
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import InvalidRequest, ServerFault, Unauthorized
from airflow_provider_cca.reports import REPORTS

SCOPE = Scope(REPORTS["cdr_compressed"])
TODAY = datetime.now(UTC).date()
EVERY_DAY = {Partition(TODAY - timedelta(days=age)) for age in range(400)}


def server(
    dates: set[Partition], total: Callable[[int], int] = int, *, refuses_none: bool = False
) -> FirstOf:
    """Give a server with a file on each of these dates, and the total that it tells of so many files."""

    def first_of(first: Partition | None, last: Partition | None) -> Page:
        found = [date for date in dates if first is None or last is None or first <= date <= last]
        if refuses_none and not found:
            raise InvalidRequest("no files", status=404)
        return Page(total(len(found)), [{"id": 1}] if found else [])

    return first_of


@pytest.mark.parametrize("refuses_none", [False, True])
@pytest.mark.parametrize("days", [2, 5, 400])
def test_a_total_of_all_files_is_proven_whatever_a_server_says_of_none(days, refuses_none):
    """Also for a young account, whose older halves of the last month hold no files."""
    dates = {Partition(TODAY - timedelta(days=3 + age)) for age in range(days)}
    assert ignores_filter(server(dates, lambda found: 133, refuses_none=refuses_none), SCOPE)


@pytest.mark.parametrize("refuses_none", [False, True])
@pytest.mark.parametrize("dates", [EVERY_DAY, set()], ids=["a year", "no files"])
def test_a_total_that_counts_what_matches_is_never_held_to_ignore_the_filter(dates, refuses_none):
    assert not ignores_filter(server(dates, refuses_none=refuses_none), SCOPE)


def test_a_total_above_one_entry_of_a_page_of_one_exceeds_it():
    assert exceeds_page(server(EVERY_DAY), SCOPE, Partition(TODAY - timedelta(days=9)))
    assert exceeds_page(server(EVERY_DAY), SCOPE, None)


def test_a_total_that_is_the_length_of_the_page_does_not_exceed_it():
    assert not exceeds_page(server(EVERY_DAY, lambda found: min(found, 1)), SCOPE, None)


def test_no_date_is_asked_for_that_is_still_being_made():
    asked: list[Partition | None] = []

    def first_of(first: Partition | None, last: Partition | None) -> Page:
        asked.append(last)
        return Page(1, [{"id": 1}])

    exceeds_page(first_of, SCOPE, Partition(TODAY - timedelta(days=9)))
    assert asked == [recent_partitions(SCOPE)[-1]] == [Partition(TODAY - timedelta(days=3))]


@pytest.mark.parametrize(
    "proof", [ignores_filter, lambda first_of, scope: exceeds_page(first_of, scope, None)]
)
def test_a_server_that_fails_proves_nothing_and_a_refused_login_is_raised(proof):
    def fails(error: Exception) -> FirstOf:
        def first_of(first: Partition | None, last: Partition | None) -> Page:
            raise error

        return first_of

    assert not proof(fails(ServerFault("down", status=503)), SCOPE)
    with pytest.raises(Unauthorized):
        proof(fails(Unauthorized("refused")), SCOPE)
