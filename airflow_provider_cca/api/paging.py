"""From pages to a complete listing, or an error: never a part taken for the whole. No I/O of its own.

The server pages by `from` and `size`, may give fewer entries than asked for, and its files can change
while they are paged. So a pass over the pages counts only when every page told the same total and all
of it came, and in the end the first page and the last entries of the others are still in place; otherwise
the listing is read again.
Where `total` does not count what matches, two passes up to an empty page must give the same entries.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from threading import Lock
from typing import Any, Generic, TypeVar

from airflow_provider_cca.errors import (
    Forbidden,
    IncompleteListing,
    InvalidRequest,
    ServerFault,
    StillProcessing,
    UnexpectedAnswer,
    UnreadableAnswer,
)

PAGE_SIZE = 1000
"""The most entries that the server gives in one page (§3.5)."""

PASSES = 5
"""How often a listing is read that does not settle."""

MAX_ENTRIES = 200_000
"""About as many as 200 MB of memory hold; those of a year are 365 for each site or level."""

MAX_PAGES = 100_000

BEYOND_END = (Forbidden, InvalidRequest, ServerFault, StillProcessing, UnexpectedAnswer)
"""How servers refuse what lies behind the last entry. Other errors say nothing of the end."""

_KNOWN = {"total", "from", "size", "items"}

T = TypeVar("T")
Entry = Mapping[str, Any]
Fetch = Callable[[int, int], "Page"]
Map = Callable[[Callable[[int], "Page"], Iterable[int]], Iterator["Page"]]


@dataclass(frozen=True)
class Page:
    """One answer: the total that it tells, and the entries that it holds."""

    total: int
    items: Sequence[Any]

    @classmethod
    def from_api(cls, answer: Mapping[str, Any], what: str) -> Page:
        """Return the page in an answer; one without items, or an empty answer, is an empty page.

        Raises UnreadableAnswer unless `total` is a count and `items` a list of objects.
        """
        total, items = answer.get("total"), answer.get("items")
        if isinstance(total, str) and total.isascii() and total.isdigit():
            total = int(total[:18])
        if total is None and not items and answer.keys() <= _KNOWN:
            total = 0
        if not isinstance(total, int) or isinstance(total, bool) or total < 0:
            raise UnreadableAnswer(f"{what} was answered without a usable total")
        items = [] if items is None else items
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UnreadableAnswer(f"{what} was answered without a list of items")
        return cls(total, items)


class Totals:
    """What listings of a report have shown of their `total`."""

    def __init__(self) -> None:
        self.counts: bool | None = None
        """Whether it counts all that matches, not only the entries of a page; None while that is unknown."""
        self.asked_for_larger_page = False
        """Whether `exceeds_page` was asked; it is not asked again."""
        self.lock = Lock()
        self.proven_end = 0
        """The largest total behind which nothing followed. A total can be right up to some limit alone."""


class _Unsettled(Exception):
    """A pass whose pages do not fit together; `too_long` when it claims more than can be read."""

    def __init__(self, expected: int, received: int, *, too_long: bool = False) -> None:
        self.expected, self.received, self.too_long = expected, received, too_long


@dataclass(frozen=True)
class _Pass(Generic[T]):
    """The pages of one reading, in the order of their offsets, all of which told one total."""

    total: int
    pages: Sequence[Sequence[tuple[Hashable, T]]]

    @cached_property
    def entries(self) -> dict[Hashable, T]:
        """Each entry once, by what identifies it."""
        unique: dict[Hashable, T] = {}
        for identity, entry in chain.from_iterable(self.pages):
            unique.setdefault(identity, entry)
        return unique

    @cached_property
    def order(self) -> list[Hashable]:
        return _identities(chain.from_iterable(self.pages))

    def is_whole(self, before: _Pass[T] | None) -> bool:
        """Return whether it gives as many entries as its total: different ones, or the same ones twice over.

        Repeats can be what the server really lists twice; or entries moved between two pages, and others
        were missed. Then a pass over pages that end elsewhere does not give the very same.
        """
        if len(self.entries) == self.total:
            return True
        repeated = before is not None and before.order == self.order
        return repeated and len(self.order) == self.total and not _overlap(self.pages)


@dataclass
class Listing(Generic[T]):
    """A listing of the server, read page by page.

    :param fetch: Gives the page that starts at an offset, of at most so many entries.
    :param what: Names the listing in errors.
    :param pause: Called with the number of the failed pass before the next one.
    :param parse: Makes of an entry what is returned; called as its page comes in, while others are fetched.
    :param side_by_side: How several pages are fetched; the built-in `map` does one after the other.
    :param totals: What is known of this listing's totals, and is found out here.
    :param ignores_filter: Asks the server for a proof that its totals count what the filter leaves out.
    :param exceeds_page: Asks it for one that they count more than the entries of a page.
    :param check_total: Whether to check a total that is the length of the one page there is.
    """

    fetch: Fetch
    what: str
    pause: Callable[[int], None]
    parse: Callable[[Entry], T]
    side_by_side: Map = map
    totals: Totals = field(default_factory=Totals)
    ignores_filter: Callable[[], bool] = lambda: False
    exceeds_page: Callable[[], bool] = lambda: False
    check_total: bool = True

    def entries(self) -> list[T]:
        """Return all entries, each once, in the server's order.

        Raises IncompleteListing when the listing does not settle in 5 passes.
        """
        expected, received, size = 0, 0, PAGE_SIZE
        before: _Pass[T] | None = None
        for attempt in range(1, PASSES + 1):
            if attempt > 1:
                self.pause(attempt - 1)
            if self.totals.counts is False:
                return self._read_twice()
            too_long = False
            try:
                now = self._one_pass(size)
            except _Unsettled as signal:
                expected, received, too_long, before = signal.expected, signal.received, signal.too_long, None
            else:
                is_all = self._is_all(now, before, alone=len(now.pages) == 1 and size == PAGE_SIZE)
                if is_all:
                    return [*now.entries.values()]
                if is_all is False:
                    return self._read_twice(at_least=len(now.entries))
                expected, received, before = now.total, len(now.entries), now
                size = max(1, max(map(len, now.pages)) - 1) if size == PAGE_SIZE else PAGE_SIZE
            if received < expected and self._has_useless_total:
                return self._read_twice()
            if too_long:
                raise _too_long(self.what, expected, received)
        raise _incomplete(
            f"{self.what} says it has {expected} entries but gave {received}", expected, received
        )

    def _is_all(self, now: _Pass[T], before: _Pass[T] | None, *, alone: bool) -> bool | None:
        """Return whether nothing follows a pass; None where it did not give as many as its total says."""
        if alone and len(now.order) < PAGE_SIZE:
            return not (self.check_total and now.total) or self._ends_with_its_page(now.order)
        self.totals.counts = self.totals.counts or not alone or None
        return self._ends_with_its_total(now) if alone or now.is_whole(before) else None

    @cached_property
    def _has_useless_total(self) -> bool:
        useless = self.ignores_filter()
        if useless:
            self.totals.counts = False
        return useless

    def _ends_with_its_page(self, page: Sequence[Hashable]) -> bool:
        """Return whether nothing follows a page whose total is its length, which may be no more than that.

        Of several entries, a page of one tells; of a single one, what follows it. That is asked again and
        again while nothing has shown that totals count, since the next single entry may be the first of two.
        """
        totals = self.totals
        if len(page) == 1:
            with totals.lock:
                if totals.counts is None and not totals.asked_for_larger_page:
                    totals.asked_for_larger_page = True
                    totals.counts = self.exceeds_page() or None
            if totals.counts is None:
                return not self._continues(1, page)
        if totals.counts is None:
            first = self._page(0, 1)
            totals.counts = first.total == len(page) and len(first.items) == 1
        return totals.counts

    def _ends_with_its_total(self, now: _Pass[T]) -> bool:
        """Return whether nothing follows; a total may count pages, and be as many as the entries of some."""
        if now.total >= self.totals.proven_end:
            if self._continues(now.total, now.entries):
                self.totals.counts = False
                return False
            self.totals.proven_end = now.total
        return True

    def _continues(self, start: int, known: Container[Hashable]) -> bool:
        """Return whether an unknown entry stands at an offset; a server may refuse what is beyond the end."""
        try:
            page = self._page(start, 1)
        except BEYOND_END:
            return False
        return any(identity not in known for identity in _identities(page.items))

    def _read_twice(self, at_least: int = 0) -> list[T]:
        """Return the entries that two passes agree upon, whose pages end at different entries."""
        size, counts = PAGE_SIZE, []
        before: dict[Hashable, T] | None = None
        for attempt in range(1, PASSES + 1):
            found, longest = self._read_to_the_end(size)
            if before is not None and found.keys() == before.keys() and len(found) >= at_least:
                return list(found.values())
            if before is not None:
                self.pause(attempt)
            before, size = found, max(1, longest - 1) if size == PAGE_SIZE else PAGE_SIZE
            counts.append(len(found))
        gave = ", ".join(map(str, counts))
        raise _incomplete(
            f"{self.what}, whose total does not count what matches, gave {gave} entries, never the same ones",
            max(counts),
            min(counts),
        )

    def _read_to_the_end(self, size: int) -> tuple[dict[Hashable, T], int]:
        """Return the entries up to a page that brings no new ones, and the length of the longest page."""
        found: dict[Hashable, T] = {}
        start = longest = 0
        for _ in range(MAX_PAGES):
            page = self._page(start, size)
            known = len(found)
            for identity, entry in page.items:
                found.setdefault(identity, entry)
            if len(found) == known:
                return found, longest
            start, longest = start + len(page.items), max(longest, len(page.items))
        raise _too_long(self.what, len(found), longest)

    def _one_pass(self, size: int) -> _Pass[T]:
        first = self._page(0, size)
        total, step = first.total, len(first.items)
        if step > total or (total and not step):
            raise _Unsettled(total, step)
        if total > MAX_ENTRIES or total > step * MAX_PAGES:
            raise _Unsettled(total, step, too_long=True)
        found: dict[int, Sequence[Any]] = {0: first.items}
        gaps = [(step, total)] if step < total else []
        while gaps:
            if len(found) + len(gaps) > MAX_PAGES:
                raise _too_long(self.what, total, step)
            pages = self.side_by_side(lambda start: self._page(start, size), [start for start, _ in gaps])
            rests = [
                rest
                for (start, end), page in zip(gaps, pages, strict=True)
                for rest in _fill(found, page, start, end, total)
            ]
            # Pages can differ in length: what is left is asked for in steps of the longest one so far.
            step = max(map(len, found.values()))
            gaps = [(at, min(at + step, end)) for start, end in rests for at in range(start, end, step)]
        if len(found) > 1 and not (_begin_alike(first, self._page(0, size)) and self._stand(found)):
            # What left a page has moved all that follow up by one, and the total need not tell.
            raise _Unsettled(total, len({*_identities(chain.from_iterable(found.values()))}))
        return _Pass(total, [found[start] for start in sorted(found)])

    def _stand(self, found: Mapping[int, Sequence[tuple[Hashable, T]]]) -> bool:
        """Return whether the last entries of all pages between the first and the last are where they were."""
        last = {start + len(found[start]) - 1: found[start][-1] for start in sorted(found)[1:-1]}
        if not last:
            return True
        pages = self.side_by_side(lambda start: self._page(start, 1), last)
        return all(
            _identities(page.items)[:1] == [identity]
            for (identity, _), page in zip(last.values(), pages, strict=True)
        )

    def _page(self, start: int, size: int) -> Page:
        page = self.fetch(start, size)
        return replace(page, items=[(_identity(entry), self.parse(entry)) for entry in page.items])


def _fill(
    found: dict[int, Sequence[Any]], page: Page, start: int, end: int, total: int
) -> Iterator[tuple[int, int]]:
    """Put a page at its offset, and yield what it left open of its stretch."""
    again = start == len(found[0]) and _identities(page.items) == _identities(found[0])
    if page.total != total or not page.items or again:
        raise _Unsettled(max(page.total, total), sum(map(len, found.values())))
    found[start] = page.items
    if start + len(page.items) < end:
        yield start + len(page.items), end


def _incomplete(message: str, expected: int, received: int) -> IncompleteListing:
    return IncompleteListing(
        f"{message}, {PASSES} times over: try again later", expected=expected, received=received
    )


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
    """Return whether two pages from one offset tell one total, and the same entries as far as both go."""
    both = zip(_identities(one.items), _identities(other.items), strict=False)
    return one.total == other.total and bool(other.items) and all(first == second for first, second in both)


def _identities(page: Iterable[tuple[Hashable, Any]]) -> list[Hashable]:
    return [identity for identity, _ in page]


def _overlap(pages: Iterable[Iterable[tuple[Hashable, Any]]]) -> bool:
    """Return whether a page begins with an entry of the page before: the server ignores our offsets."""
    return any(second[0] in first for first, second in pairwise(map(_identities, pages)))
