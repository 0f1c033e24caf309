"""A listing is whole or an error, however the server pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from airflow_provider_cca.api.paging import Entry, Listing, Page, Totals
from airflow_provider_cca.errors import (
    ConnectionFailed,
    IncompleteListing,
    MalformedListing,
    ServerFault,
    UnreadableAnswer,
)


def entries(count: int, first: int = 0) -> list[Entry]:
    return [{"id": f"file-{n}", "fileName": f"{n}.csv"} for n in range(first, first + count)]


class Server:
    """Answers from `items`, at most `size` at a time, with the total it is told to tell."""

    def __init__(self, items: Sequence[Entry], size: int = 7, total: int | None = None) -> None:
        self.items, self.size, self.total = list(items), size, total
        self.asked: list[int] = []
        self.before_answer: Callable[[int], None] = lambda request: None

    def page(self, start: int, size: int) -> Page:
        self.before_answer(len(self.asked))
        self.asked.append(start)
        total = len(self.items) if self.total is None else self.total
        return Page(total, self.items[start : start + min(size, self.size)])


def collected(fetch: Callable[[int, int], Page]) -> tuple[list[Entry], list[int]]:
    pauses: list[int] = []
    return collect(fetch, pause=pauses.append), pauses


def collect(fetch: Callable[[int, int], Page], **options: Any) -> list[Entry]:
    told = {"what": "the listing of cdr", "pause": lambda number: None, "parse": dict, **options}
    return Listing(fetch, **told).entries()


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14, 133])
def test_all_entries_come_once_and_in_order(count, size):
    server = Server(entries(count), size)
    assert collected(server.page) == (entries(count), [])
    pages = max(1, -(-count // size))
    # The first of several is asked for again in the end, the last entry of those between, and what follows
    # the last; of one alone, whether its total is its own length.
    assert len(server.asked) == pages + (pages if pages > 1 else count > 0)


def test_the_reader_advances_by_what_came_when_pages_shrink():
    server = Server(entries(50))
    server.before_answer = lambda request: setattr(server, "size", [7, 3, 5, 1][request % 4])
    assert collected(server.page)[0] == entries(50)


def test_the_reader_advances_by_what_came_when_pages_grow():
    server = Server(entries(50))
    server.before_answer = lambda request: setattr(server, "size", 7 + request)
    assert collected(server.page)[0] == entries(50)


def test_pages_may_be_fetched_side_by_side():
    server = Server(entries(50))
    backwards = lambda fetch, starts: reversed([fetch(s) for s in reversed(list(starts))])  # noqa: E731
    found = collect(server.page, side_by_side=backwards)
    assert found == entries(50)


def test_a_listing_that_grows_while_it_is_paged_is_read_again():
    server = Server(entries(20))
    server.before_answer = lambda request: server.items.insert(0, {"id": "new"}) if request == 1 else None
    assert collected(server.page) == ([{"id": "new"}, *entries(20)], [1])


def test_a_listing_that_shrinks_while_it_is_paged_is_read_again():
    server = Server(entries(20))
    server.before_answer = lambda request: server.items.pop(0) if request == 1 else None
    assert collected(server.page) == (entries(19, first=1), [1])


def test_entries_that_move_under_an_unmoved_total_are_read_again():
    server = Server(entries(14))

    def move(request: int) -> None:
        if request == 1:
            server.items = [{"id": "new"}, *entries(13)]

    server.before_answer = move
    assert collected(server.page) == ([{"id": "new"}, *entries(13)], [1])


def test_a_file_that_leaves_the_first_page_for_the_end_hides_none_of_the_others():
    """As one that is made anew meanwhile: no total tells of it, and no entry comes twice."""
    server = Server(entries(21))
    moved = [*entries(20, first=1), {"id": "file-0", "fileName": "0.csv", "checksum": "revised"}]
    server.before_answer = lambda request: setattr(server, "items", moved) if request == 1 else None
    assert collected(server.page) == (moved, [1])


def test_a_file_listed_for_two_days_is_two_files():
    items = [{"id": "1", "fileName": "a.csv", "createdOn": f"1{day}/01/2026 00:00:00"} for day in range(2)]
    assert collected(Server(items).page) == (items, [])


def test_a_listing_that_never_settles_is_an_error_after_five_passes():
    server = Server(entries(20))
    server.before_answer = lambda request: server.items.append({"id": f"new-{request}"})
    with pytest.raises(IncompleteListing):
        collected(server.page)
    assert len(server.asked) == 10


@pytest.mark.parametrize("total", [1, 13, 15, 1000, 10**6])
def test_a_total_that_lies_is_an_error_and_never_a_part(total):
    server = Server(entries(14), total=total)
    with pytest.raises(IncompleteListing) as caught:
        collected(server.page)
    assert caught.value.expected != caught.value.received
    assert len(server.asked) <= 20


def test_an_empty_page_ends_the_pass():
    server = Server([], total=14)
    with pytest.raises(IncompleteListing) as caught:
        collected(server.page)
    assert (caught.value.expected, caught.value.received, server.asked) == (14, 0, [0] * 5)


def test_a_server_that_ignores_from_is_never_taken_for_complete():
    with pytest.raises(IncompleteListing) as caught:
        collected(lambda start, size: Page(14, entries(7)))
    assert (caught.value.expected, caught.value.received) == (14, 7)


def test_a_server_whose_pages_always_overlap_is_never_taken_for_complete():
    with pytest.raises(IncompleteListing):
        collected(lambda start, size: Page(14, entries(7, first=max(0, start - 1))))


def test_an_entry_that_the_server_really_lists_twice_comes_once():
    """The same repeat in two passes, and not where two pages meet: nothing moved."""
    listed = [*entries(4), *entries(1, first=2), *entries(16, first=4)]
    assert collected(Server(listed, size=7).page)[0] == entries(20)


def test_a_short_first_page_does_not_make_all_others_short():
    """One entry, then pages of 1000: six requests, not two thousand."""
    server = Server(entries(2000), size=1000)
    asked = []

    def page(start, size):
        asked.append(start)
        return Page(2000, server.page(start, size).items[: 1 if start == 0 else 1000])

    assert len(collected(page)[0]) == 2000
    assert len(asked) <= 6


def test_entries_that_one_single_answer_repeats_come_once():
    doubled = [*entries(3), *entries(2)]
    assert collected(Server(doubled, size=1000).page)[0] == entries(3)


@pytest.mark.parametrize(
    "other", [{"fileName": "b.csv"}, {"checksum": "0" * 32}, {"metadata": [{"key": "n"}]}]
)
@pytest.mark.parametrize("size", [1, 7])
def test_two_files_that_share_an_id_are_two_files(other, size):
    first = {"id": "same", "fileName": "a.csv", "checksum": "f" * 32}
    both = [first, {**first, **other}]
    assert collected(Server(both, size).page)[0] == both


def test_entries_without_an_id_are_kept_for_their_reader_to_refuse():
    sites = [{"siteName": "a"}, {"siteName": "b"}, {"what": 1}]
    assert collected(Server(sites).page)[0] == sites


@pytest.mark.parametrize("total", [10_000_001, 10**18])
def test_a_total_beyond_belief_is_refused_after_one_request(total):
    server = Server(entries(1000), size=1000, total=total)
    with pytest.raises(IncompleteListing, match="more than can be true"):
        collected(server.page)
    assert server.asked == [0]


def test_pages_without_end_are_given_up_after_a_bounded_number_of_requests():
    asked: list[int] = []

    def drip(start: int, size: int) -> Page:
        asked.append(start)
        return Page(10_000_000, entries(1000 if start == 0 else 1))

    with pytest.raises(IncompleteListing, match="more than can be true"):
        collected(drip)
    assert len(asked) <= 100_000


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        ({"total": 2, "items": [{"id": 1}, {"id": 2}]}, Page(2, [{"id": 1}, {"id": 2}])),
        ({"total": "2", "items": [{}, {}]}, Page(2, [{}, {}])),
        ({"total": 0, "items": []}, Page(0, [])),
        ({"total": 0}, Page(0, [])),
        ({"total": 0, "items": None}, Page(0, [])),
        ({"total": 3, "items": None}, Page(3, [])),
        ({"items": []}, Page(0, [])),
        ({"from": 0, "size": 0}, Page(0, [])),
        ({}, Page(0, [])),
    ],
)
def test_an_answer_is_read_as_a_page(answer, page):
    assert Page.from_api(answer, "x") == page


@pytest.mark.parametrize("total", [-1, 1.5, True, "", "-1", "two", "²", [], {}, "1e3"])
def test_an_answer_without_a_usable_total_is_unreadable(total):
    with pytest.raises(UnreadableAnswer, match="the listing of cdr"):
        Page.from_api({"total": total, "items": []}, "the listing of cdr")


@pytest.mark.parametrize("answer", [{"message": "sorry"}, {"items": [{"id": 1}]}, {"data": {"items": []}}])
def test_an_answer_of_another_form_is_no_empty_page(answer):
    with pytest.raises(UnreadableAnswer, match="the listing of cdr"):
        Page.from_api(answer, "the listing of cdr")


@pytest.mark.parametrize("items", [{}, "items", 5, [None], [{"id": 1}, "x"], [[]]])
def test_an_answer_without_a_list_of_entries_is_unreadable(items):
    with pytest.raises(UnreadableAnswer, match="the listing of cdr"):
        Page.from_api({"total": 3, "items": items}, "the listing of cdr")


# Totals that do not count what matches


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 14, 50])
def test_a_total_of_all_files_is_recognised_and_the_listing_read_to_its_end_twice(count, size):
    server = Server(entries(count), size, total=133)
    proof = lambda: True  # noqa: E731
    found = collect(server.page, ignores_filter=proof)
    assert found == entries(count)


def test_a_listing_that_is_short_of_a_total_that_counts_stays_an_error():
    server = Server(entries(2), total=133)
    totals = Totals()
    with pytest.raises(IncompleteListing, match="133 entries but gave 2"):
        collect(server.page, totals=totals)


@pytest.mark.parametrize(("proven", "times"), [(True, 1), (False, 3)])
def test_a_proof_that_totals_ignore_the_filter_is_kept_and_sought_once_a_listing(proven, times):
    """Another listing of the report may show what this one does not, as of a site with files."""
    server, asked, totals = Server(entries(2), total=133), [], Totals()
    for _ in range(3):
        with suppress(IncompleteListing):
            collect(
                server.page,
                totals=totals,
                ignores_filter=lambda: asked.append(1) or proven,
            )
    assert len(asked) == times


def test_a_total_of_a_large_account_is_recognised_too():
    server = Server(entries(1), total=109_500)
    found = collect(server.page, ignores_filter=lambda: True)
    assert found == entries(1)


@pytest.mark.parametrize(("count", "cap"), [(8, 2), (98, 7), (4, 2)])
def test_a_total_of_pages_hides_no_entry(count, cap):
    listed = entries(count)

    def page(start: int, size: int) -> Page:
        step = min(size, cap)
        return Page(-(-count // step), listed[start : start + step])

    try:
        assert collected(page)[0] == listed
    except IncompleteListing:
        assert count == 4  # two pages and two entries are one page that says that it is whole


def test_single_entries_are_checked_until_a_total_has_counted_more_than_its_page():
    totals = Totals()
    listings = [entries(1), entries(1), entries(2)]

    def page(listed: list[Entry], start: int, asked: int) -> Page:
        return Page(len(listed[start : start + 1]), listed[start : start + 1])

    found = [
        collect(
            partial(page, listed),
            totals=totals,
        )
        for listed in listings
    ]
    assert found == listings


def test_one_larger_total_ends_the_checks_of_single_entries():
    totals, servers = Totals(), [Server(entries(1)) for _ in range(5)]
    for server in servers:
        collect(
            server.page,
            totals=totals,
            exceeds_page=lambda: True,
        )
    assert [len(server.asked) for server in servers] == [1, 1, 1, 1, 1]


def test_a_server_that_refuses_what_lies_beyond_the_end_has_given_all():
    def page(start: int, size: int) -> Page:
        if start:
            raise ServerFault("index out of bounds", status=500)
        return Page(1, entries(1))

    assert collected(page)[0] == entries(1)


def test_the_last_page_again_is_not_asked_for_as_often_as_a_total_says():
    asked = []

    def page(start: int, size: int) -> Page:
        asked.append(start)
        return Page(20_000, entries(1))

    with pytest.raises(IncompleteListing):
        collected(page)
    assert len(asked) <= 20


@pytest.mark.parametrize("size", [1, 5, 7, 10])
def test_a_total_that_is_the_length_of_its_page_hides_no_entry(size):
    """And so that a total in pages of at most `size` looks like that of a complete listing."""
    listed = entries(56)

    def page(start: int, asked: int) -> Page:
        items = listed[start : start + min(asked, size)]
        return Page(len(items), items)

    assert collected(page)[0] == listed


def test_entries_that_were_there_and_then_are_not_are_no_empty_listing():
    """Two passes agree that there are none, after a page of two."""
    pages = iter([Page(2, entries(2))])
    with pytest.raises(IncompleteListing):
        collected(lambda start, size: next(pages, Page(1, [])))


@pytest.mark.parametrize("beyond", [[], "the last page again"])
def test_a_listing_without_a_total_ends_where_no_new_entry_comes(beyond):
    listed = entries(14)

    def page(start: int, size: int) -> Page:
        return Page(133, listed[start : start + min(7, size)] or (listed[-7:] if beyond else []))

    proof = lambda: True  # noqa: E731
    assert collect(page, ignores_filter=proof) == listed


@pytest.mark.parametrize("total", [56, 133])
@pytest.mark.parametrize("period", [2, 3])
def test_entries_that_swap_at_each_request_end_in_an_error_or_in_all_of_them(total, period):
    listed, requests = entries(56), []

    def page(start: int, size: int) -> Page:
        requests.append(start)
        order = [*listed]
        if len(requests) % period == 0:
            for at in range(9, 50, 10):
                order[at], order[at + 1] = order[at + 1], order[at]
        return Page(total, order[start : start + min(size, 10)])

    try:
        found = collect(page, ignores_filter=lambda: total == 133)
    except IncompleteListing:
        return
    assert sorted(found, key=str) == sorted(listed, key=str)


# What moves, or fails, behind the pages that came


def answers(pages: dict[tuple[int, int], list[Page | Exception]]) -> Callable[[int, int], Page]:
    """Give a server that answers what is said for each offset and size, the last of it again and again."""

    def page(start: int, size: int) -> Page:
        said = pages[start, 1 if size == 1 else 1000]
        answer = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return page


def test_an_entry_that_moves_behind_the_second_page_hides_no_other():
    """As one that is revised while the third page is on its way."""
    server = Server(entries(7), size=2)
    revised = {**server.items[2], "checksum": "revised"}

    def move(request: int) -> None:
        if request == 2:
            server.items = [*server.items[:2], *server.items[3:], revised]

    server.before_answer = move
    assert collected(server.page) == (server.items, [1])


def test_a_first_page_that_is_gone_at_the_end_settles_nothing():
    server = Server(entries(5), size=2)

    def move(request: int) -> None:
        if request == 1:
            server.items = [*entries(4, first=1), {"id": "new"}]

    def page(start: int, size: int) -> Page:
        given = server.page(start, size)
        return Page(0, []) if len(server.asked) == 4 else given

    server.before_answer = move
    assert collected(page)[0] == server.items


@pytest.mark.parametrize(
    ("limit", "few", "many"), [(10_000, 1500, 12_000), (1000, 2, 3000), (1000, 1000, 1001)]
)
def test_a_total_that_is_right_up_to_a_limit_hides_nothing_beyond_it(limit, few, many):
    totals = Totals()
    for count in (few, many):
        server = Server(entries(count), size=1000, total=min(count, limit))
        assert collect(server.page, totals=totals) == entries(count)


@pytest.mark.parametrize("error", [ConnectionFailed("x"), UnreadableAnswer("x"), MalformedListing("x")])
def test_what_cannot_be_read_behind_the_last_entry_is_not_taken_for_the_end(error):
    """A connection that breaks says nothing, and an entry that is malformed says that more follows."""
    alone = answers({(0, 1000): [Page(1, entries(1))], (1, 1): [error]})
    several = {0: entries(2), 2: entries(2, first=2)}
    pages = {(at, 1000): [Page(4, items)] for at, items in several.items()}
    for page in (alone, answers({**pages, (4, 1): [error]})):
        with pytest.raises(type(error)):
            collect(page)
