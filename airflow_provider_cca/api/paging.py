"""From pages to a whole listing, or an error: never a part taken for the whole. No I/O of its own.

The server pages by `from` and `size`, may give fewer entries than asked for, and its files can change
while they are paged. So a pass over the pages counts only when every page told the same total and all
of it came, and the first page is still the same at the end; otherwise the listing is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, TypeVar

from airflow_provider_cca.errors import IncompleteListing, UnreadableAnswer

PAGE_SIZE = 1000
"""The most entries that the server gives in one page (§3.5)."""

PASSES = 5
MAX_ENTRIES = 200_000
"""About as many as 200 MB of memory hold; those of a year are 365 for each site or level."""
MAX_PAGES = 100_000

T = TypeVar("T")
Entry = Mapping[str, Any]
Map = Callable[[Callable[[int], "Page"], Iterable[int]], Iterator["Page"]]


@dataclass(frozen=True)
class Page:
    """One answer: the total that it tells, and the entries that it holds."""

    total: int
    items: Sequence[Any]

    @classmethod
    def from_api(cls, answer: Mapping[str, Any], what: str) -> Page:
        """Raises UnreadableAnswer unless `total` is a count and `items` a list of objects."""
        total, items = answer.get("total"), answer.get("items")
        if isinstance(total, str) and total.isascii() and total.isdigit():
            total = int(total[:18])
        if not isinstance(total, int) or isinstance(total, bool) or total < 0:
            raise UnreadableAnswer(f"{what} was answered without a usable total")
        if items is None and total == 0:
            items = []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UnreadableAnswer(f"{what} was answered without a list of items")
        return cls(total, items)


class _Unsettled(Exception):
    def __init__(self, expected: int, received: int) -> None:
        self.expected, self.received = expected, received


def collect(
    fetch: Callable[[int], Page],
    *,
    what: str,
    pause: Callable[[int], None],
    parse: Callable[[Entry], T],
    side_by_side: Map = map,
) -> list[T]:
    """All entries of a listing, each once, in the server's order.

    :param fetch: Gives the page that starts at an offset.
    :param parse: Makes of an entry what is returned; called as its page comes in, while others are fetched.
    :param what: Names the listing in errors.
    :param pause: Called with the number of the failed pass before the next one.
    :param side_by_side: How several pages are fetched; the built-in `map` does one after the other.

    Raises IncompleteListing when the listing does not settle in 5 passes.
    """

    def read(start: int) -> Page:
        page = fetch(start)
        return replace(page, items=[(_identity(entry), parse(entry)) for entry in page.items])

    expected, received = 0, 0
    before: list[list[Hashable]] | None = None
    for attempt in range(1, PASSES + 1):
        if attempt > 1:
            pause(attempt - 1)
        try:
            total, pages = _one_pass(read, what, side_by_side)
        except _Unsettled as signal:
            expected, received, before = signal.expected, signal.received, None
            continue
        unique: dict[Hashable, T] = {}
        for identity, entry in chain.from_iterable(pages):
            unique.setdefault(identity, entry)
        now = [_identities(page) for page in pages]
        if len(unique) == total or len(pages) == 1 or _is_stable(now, before, total):
            return list(unique.values())
        expected, received, before = total, len(unique), now
    raise IncompleteListing(
        f"{what} says it has {expected} entries but gave {received}, {PASSES} times over: try again later",
        expected=expected,
        received=received,
    )


def _one_pass(fetch: Callable[[int], Page], what: str, side_by_side: Map) -> tuple[int, list[Sequence[Any]]]:
    """The total, and the entries of all pages in the order of their offsets."""
    first = fetch(0)
    total, step = first.total, len(first.items)
    if step > total or (total and not step):
        raise _Unsettled(total, step)
    if total > MAX_ENTRIES or total > step * MAX_PAGES:
        raise _too_long(what, total, step)
    found: dict[int, Sequence[Any]] = {0: first.items}
    gaps = [(step, total)] if step < total else []
    while gaps:
        if len(found) + len(gaps) > MAX_PAGES:
            raise _too_long(what, total, step)
        pages = side_by_side(fetch, [start for start, _ in gaps])
        rests = [
            rest
            for (start, end), page in zip(gaps, pages, strict=True)
            for rest in _fill(found, page, start, end, total)
        ]
        # Pages can differ in length: what is left is asked for in steps of the longest one so far.
        step = max(map(len, found.values()))
        gaps = [(at, min(at + step, end)) for start, end in rests for at in range(start, end, step)]
    if len(found) > 1 and not _begin_alike(first, fetch(0)):
        # What left the first page has moved all others up by one, and the total need not tell.
        raise _Unsettled(total, total)
    return total, [found[start] for start in sorted(found)]


def _fill(
    found: dict[int, Sequence[Any]], page: Page, start: int, end: int, total: int
) -> Iterator[tuple[int, int]]:
    """Put a page at its offset, and yield what it left open of its stretch."""
    if page.total != total or not page.items:
        raise _Unsettled(page.total, sum(map(len, found.values())))
    found[start] = page.items
    if start + len(page.items) < end:
        yield start + len(page.items), end


def _too_long(what: str, total: int, step: int) -> IncompleteListing:
    return IncompleteListing(
        f"{what} claims {total} entries in pages of {step} or less, more than can be true: narrow the dates",
        expected=total,
        received=step,
    )


def _identity(entry: Entry) -> tuple[Hashable, ...]:
    """Equal for repeats. Two files can share an id in this API, so more than that counts."""
    checksum = entry.get("checksum")
    return (
        *(_hashable(entry.get(name)) for name in ("id", "fileName", "siteName", "metadata", "createdOn")),
        checksum.lower() if isinstance(checksum, str) else _hashable(checksum),
    )


def _hashable(value: Any) -> Hashable:
    return value if isinstance(value, str | int | float | None) else repr(value)


def _begin_alike(one: Page, other: Page) -> bool:
    """Whether two looks at one offset saw the same entries, as far as both go."""
    both = zip(_identities(one.items), _identities(other.items), strict=False)
    return all(first == second for first, second in both)


def _identities(page: Iterable[tuple[Hashable, Any]]) -> list[Hashable]:
    return [identity for identity, _ in page]


def _is_stable(now: Sequence[Sequence[Hashable]], before: object, total: int) -> bool:
    """Whether repeats can be taken for what the server really lists twice.

    They mean that entries moved between two pages, and others may have been missed: unless the pass before
    gave the very same ones.
    """
    return now == before and sum(map(len, now)) == total and not _overlap(now)


def _overlap(pages: Sequence[Sequence[Hashable]]) -> bool:
    """Whether a page begins with what the one before it held: the server pages by offsets of its own."""
    return any(second[0] in first for first, second in pairwise(pages))
