"""The calls of the API document (§3.3-3.7) as methods. No Airflow."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from airflow_provider_cca.api.allowed_hosts import followed
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.link_renewal import LinkRenewal
from airflow_provider_cca.api.paging import BEYOND_END, Entry, Listing, Page, Totals
from airflow_provider_cca.api.range_listing import RangeLister
from airflow_provider_cca.api.session import Call, CcaSession
from airflow_provider_cca.api.site_list import whole
from airflow_provider_cca.api.total_proofs import (
    RECENT_DAYS,
    exceeds_page,
    ignores_filter,
    recent_partitions,
)
from airflow_provider_cca.core.failures import FATAL_FOR_ALL
from airflow_provider_cca.core.files import RemoteFile, Site
from airflow_provider_cca.core.listings import Listed, Window
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.errors import (
    CcaError,
    InvalidArgument,
    InvalidRequest,
    NotYetListed,
    UnexpectedAnswer,
)
from airflow_provider_cca.reports import REPORTS, check_listing

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGE_SIZES = (1000, 500, 100, 30)
"""How many entries are asked for at a time: §3.5 allows 1000; fewer for a server that refuses so many."""


class CcaClient:
    """A CCA server, as one machine account sees it. Safe to use from several threads.

    :param config: How to reach it.
    :param on_token: Told each token before its first use, so that a host can mask it in its logs.
    :param attempts: How often a listing is asked for when that fails in a way that may pass.
    """

    def __init__(
        self, config: CcaConfig, on_token: Callable[[str], None] | None = None, attempts: int = 6
    ) -> None:
        self.config = config
        self.session = CcaSession(config, on_token, attempts)
        self._lock = Lock()
        self._page_size = PAGE_SIZES[0]
        self._totals: dict[tuple[str, ...], Totals] = {}
        self._has_recent: dict[Scope, bool] = {}
        self._site_names: set[str] | None = None
        self._listed_sites: set[str | None] = set()
        self._told_of_stamps = False
        self._ranges = RangeLister(self)
        self._renewal = LinkRenewal(self._download, self.files)
        self._listing_pool = ThreadPoolExecutor(config.max_connections, "cca-partition")
        self._header_counted: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            # Threads may still be at work for the block that failed: they end now, not when they time out.
            self.session.abort()
        self._listing_pool.shutdown(wait=False, cancel_futures=True)
        self.session.close()

    def abort(self) -> None:
        """End all calls that are under way in other threads, and refuse new ones: they raise Closed."""
        self.session.abort()

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        """Make a call in another thread, of which there are as many as connections."""
        return self._listing_pool.submit(call, *arguments)

    def sites(self) -> list[Site]:
        """All sites that the partner manages (§3.5.1)."""
        call = Call(f"{self.config.api_root}/v1/cdr", "the listing of sites")
        try:
            return self._paged(call, Site.from_api).entries()
        except InvalidRequest:
            # It has no other parameter that could be wrong.
            if not self._accepts_pages(call):
                raise
            return self._paged(call, Site.from_api).entries()

    def first_site(self) -> tuple[int, Site | None]:
        """How many sites there are, and one of them: the cheapest call that shows that all is well."""
        call = Call(f"{self.config.api_root}/v1/cdr", "the listing of sites")
        page = self._page(call, 0, 1)
        return page.total, Site.from_api(page.items[0]) if page.items else None

    def files(
        self,
        scope: Scope,
        first: Partition | None = None,
        last: Partition | None = None,
        by: str = "creation",
        *,
        check_total: bool = True,
    ) -> list[RemoteFile]:
        """Return what the server lists of a report from `first` to `last`, both included.

        An empty list says nothing of whether there are no files, or none yet: see `list_partition`. The files
        of a range are told by createdOn, which need not be how the server parts them: see `list_range`.

        :param by: "creation" (§3.5.4, §3.5.5, §3.6.1, §3.6.2); for cdr also "meeting_end" (§3.5.3), or
            "new" for the files never downloaded, which takes no dates (§3.5.2).
        :param check_total: Whether a total that is the length of the page is to be checked by a request.

        Raises StillProcessing while the server generates them.
        """

        def first_of(first: Partition | None, last: Partition | None) -> Page:
            return self._page(self._listing(scope, first, last, by), 0, 1)

        call = self._listing(scope, first, last or first, by)
        alone = first if by == "creation" and first == (last or first) else None
        files = self._paged(
            call,
            lambda entry: RemoteFile.from_api(entry, scope, alone),
            totals=self._totals_of(scope, by),
            ignores_filter=partial(ignores_filter, first_of, scope),
            exceeds_page=partial(exceeds_page, first_of, scope, last or first),
            check_total=check_total,
        ).entries()
        if files:
            self._listed_sites.add(scope.site)
        self._tell_of_stamps(files)
        return files

    def list_files(
        self,
        scope: Scope,
        first: Partition | None = None,
        last: Partition | None = None,
        by: str = "creation",
    ) -> list[RemoteFile]:
        """Return what `files` does, also where the server says by 404 or 406 that there are none."""
        size = self._page_size
        try:
            return self.files(scope, first, last, by)
        except (InvalidRequest, UnexpectedAnswer) as error:
            self._confirm_none(scope, error)
        # It may have been the size of the page that was refused.
        return self.list_files(scope, first, last, by) if self._page_size != size else []

    def list_partition(self, scope: Scope, partition: Partition) -> list[RemoteFile]:
        """Return the files of a partition; an empty list only where it is believed that there are none.

        Raises StillProcessing while the server generates them, its kind NotYetListed when nothing is listed
        and the partition ended less than 48 hours ago, and InvalidArgument for a site that there is not.
        """
        files = self.list_files(scope, partition)
        if not files:
            self.confirm_empty(scope, partition)
        return files

    def confirm_empty(self, scope: Scope, partition: Partition) -> None:
        """Raise unless a partition can be believed to have no files, though nothing is listed for it.

        InvalidArgument when its site is not in the list of sites (§3.5.1); NotYetListed when it ended less
        than 48 hours ago.
        """
        self.confirm_site(scope)
        if not partition.is_settled(datetime.now(UTC)):
            raise NotYetListed(
                f"{scope} {partition}: the server lists no file. It ended less than 48 hours ago, so files "
                "may still come: try again later"
            )

    def confirm_site(self, scope: Scope) -> None:
        """Raise InvalidArgument unless files of this site, or the site itself (§3.5.1), have been listed."""
        if scope.site is None or scope.site in self._listed_sites:
            return
        with self._lock:
            if self._site_names is None:
                self._site_names = {site.name.casefold() for site in self.sites()}
        if scope.site.casefold() not in self._site_names:
            raise InvalidArgument(
                f"site {scope.site!r} is not one of the {len(self._site_names)} sites of this account, and "
                "no file of it is listed: check its name; CcaListSitesOperator lists all sites",
                argument="site",
            )

    def has_total(self, scope: Scope, first: Partition, last: Partition, total: int) -> bool | None:
        """Return whether a range holds so many files, by one small request; None if totals do not tell it."""
        totals = self._totals_of(scope)
        if totals.counts is False or (total == 1 and not totals.counts):
            return None  # of one entry, that of the page is the same
        page = self._page(self._listing(scope, first, last, "creation"), 0, 1)
        if total > 1 and len(page.items) == 1:
            totals.counts = page.total == total or page.total > 1
        return page.total == total

    def list_range(self, window: Window) -> Listed:
        """Return the files of each partition of a range; one that fails holds back itself alone.

        Raises what concerns the range as a whole.
        """
        return self._ranges.list_range(window)

    def can_part_ranges(self, windows: Iterable[Window]) -> bool:
        """Return whether ranges can be parted by createdOn, shown by the first of these that has files."""
        return self._ranges.can_part(windows)

    def list_ranges(self, windows: Iterable[Window]) -> Iterator[tuple[Window, Listed]]:
        """Yield the files of several ranges, listed side by side, in their order.

        Only a few are asked for ahead, so that no year of all sites is held at once. One that fails as a
        whole does not hold back the others. Raises what would fail for each alike, as a refused login.
        """
        pool = ThreadPoolExecutor(self.config.max_connections, "cca-listing")
        ahead: deque[tuple[Window, Future[Listed]]] = deque()
        try:
            for window in windows:
                ahead.append((window, pool.submit(self.list_range, window)))
                if len(ahead) > self.config.max_connections:
                    yield _answered(*ahead.popleft())
            while ahead:
                yield _answered(*ahead.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def count(self, scope: Scope, first: Partition, last: Partition | None = None) -> int:
        """Count the entries of a listing, odd ones included, without parsing them.

        `total` alone decides nothing, since a server may count without the filter: it only says whether a
        further page is worth asking for, and a refusal of such a page is its end. Returns 0 also where the
        server says by 404 or 406 that there are none: see `confirm_empty` for what that means. Raises
        StillProcessing like `files`, and what tells nothing of the end, as a connection that breaks.
        """
        call = self._listing(scope, first, last or first, "creation")
        start, seen = 0, set[str]()
        while True:
            try:
                page, before = self._page(call, start, self._page_size), len(seen)
            except BEYOND_END as error:
                if not seen and isinstance(error, InvalidRequest | UnexpectedAnswer):
                    self._confirm_none(scope, error)
                elif not seen:
                    raise
                return len(seen)
            seen.update(map(repr, page.items))
            start += len(page.items)
            if start >= page.total or len(seen) == before:
                return len(seen)

    def download(self, file: RemoteFile) -> Generator[bytes]:
        """Yield the body of a file in chunks (§3.5.6, §3.5.7, §3.6.3); one attempt, not verified.

        A link that has died is listed anew, once a file and attempt.

        Raises HostNotAllowed before anything is sent when the link is no URL, or points to a host that is
        not allowed, and TransientError also in the middle of the body.
        """
        yield from self._renewal.download(file)

    def _download(self, file: RemoteFile) -> Generator[bytes]:
        # A link without a host would be the API's own.
        link = followed(f"{self.config.api_root}/", file.link.strip().replace(" ", "%20"))
        return self.session.stream(
            Call(
                link,
                f"the download of {file.name or file.id}",
                accept=file.scope.report.media_type,
                file=file,
                generating_403=True,
            )
        )

    def site_list(self) -> Generator[bytes]:
        """The list of all active sites as CSV, in chunks (§3.7); one attempt.

        Raises TruncatedSnapshot at its end unless its `Total:N` counts its rows.
        """
        report = REPORTS["site_list"]
        return whole(
            self.session.stream(
                Call(f"{self.config.api_root}{report.path}", "the site list", accept=report.media_type)
            ),
            self._header_counted,
        )

    def _listing(self, scope: Scope, first: Partition | None, last: Partition | None, by: str) -> Call:
        report = scope.report
        check_listing(report, by=by, site=scope.site, level=scope.level)
        params = {"level": scope.level} if scope.level else {}
        if (names := report.dates[by]) and first and last:
            params |= dict(zip(names, (first.api, last.api), strict=True))
        if report.name == "cdr":
            params["type"] = "daily"
        return Call(
            self.config.api_root + report.path.format(site=quote(scope.site or "", safe="")),
            f"the listing of {scope}{_dates(first, last)}",
            params=params,
            generating_403=report.generating_403,
        )

    def _totals_of(self, scope: Scope, by: str = "creation") -> Totals:
        """Return what is known of the totals of a report."""
        return self._totals.setdefault((scope.report.name, by), Totals())

    def _confirm_none(self, scope: Scope, error: InvalidRequest | UnexpectedAnswer) -> None:
        """Raise the error of a listing, unless it is how this server says that there are no files.

        It is when other dates of the scope are listed: then its site or level is right.
        """
        status = getattr(error, "status", 406)
        if status not in {404, 406}:
            raise error
        with self._lock:
            if scope not in self._has_recent:
                self._has_recent[scope] = self._has_recent_files(scope)
        if self._has_recent[scope]:
            return
        try:
            self.confirm_site(scope)
        except InvalidArgument as unknown:
            raise unknown from error
        except (InvalidRequest, UnexpectedAnswer):
            pass  # of the list of sites, which says nothing of this one
        named = f"{scope.report.needs} {scope.site or scope.level!r}" if scope.report.needs else "the account"
        raise type(error)(
            f"{error} Either {named} cannot be listed, or this is the server's way to say that there are no "
            f"files: none is listed for the last {RECENT_DAYS[scope.report.grain]} days either",
            **vars(error),
        ) from error

    def _has_recent_files(self, scope: Scope) -> bool:
        known = recent_partitions(scope)
        try:
            call = self._listing(scope, known[0], known[-1], "creation")
            return bool(self._page(call, 0, 1).items) and self._accepts_pages(call)
        except (InvalidRequest, UnexpectedAnswer):
            return False

    def _accepts_pages(self, call: Call) -> bool:
        """Return whether the server gives pages of some size of a listing of which it gives a page of one.

        It is remembered, if it is less than the 1000 entries of §3.5.
        """
        for size in [size for size in PAGE_SIZES if size <= self._page_size]:
            try:
                self._get_page(call, 0, size)
            except InvalidRequest:
                continue
            if size != self._page_size:
                log.warning(
                    "%s refuses %d entries at a time: %d are asked for", call.what, PAGE_SIZES[0], size
                )
            self._page_size = size
            return True
        return False

    def _tell_of_stamps(self, files: Iterable[RemoteFile]) -> None:
        """Warn once that creation stamps cannot be read, which concerns nothing but what is recorded."""
        if not self._told_of_stamps and (odd := next((f for f in files if f.created_on is None), None)):
            self._told_of_stamps = True
            log.warning(
                "The createdOn of %s %s, and perhaps of others, cannot be read; it is recorded as null",
                *(odd.scope, printable(odd.name or odd.id)),
            )

    def _paged(self, call: Call, parse: Callable[[Entry], T], **options: Any) -> Listing[T]:
        pause, fetch = self.session.retry.pause, partial(self._page, call)
        return Listing(fetch, call.what, pause, parse, self._side_by_side, **options)

    def _side_by_side(self, fetch: Callable[[int], Page], offsets: Iterable[int]) -> Iterator[Page]:
        starts = list(offsets)
        if len(starts) == 1:
            yield fetch(starts[0])
            return
        pool = ThreadPoolExecutor(min(len(starts), self.config.max_connections), "cca-paging")
        try:
            yield from pool.map(fetch, starts)
        finally:
            # Whoever stops, as at a page that does not fit or when the task is killed, waits for none.
            pool.shutdown(wait=False, cancel_futures=True)

    def _page(self, call: Call, start: int, size: int) -> Page:
        """Return one page; an empty one where the server has none, or no more, however it says so."""
        try:
            return self._get_page(call, start, size)
        except UnexpectedAnswer as error:
            if error.status == 204 or (start and error.status in {400, 404, 416}):
                return Page(0, [])
            raise
        except InvalidRequest:
            if start:
                return Page(0, [])
            raise

    def _get_page(self, call: Call, start: int, size: int) -> Page:
        params = {"from": str(start), "size": str(min(size, self._page_size)), **call.params}
        return self.session.get(replace(call, params=params), lambda answer: Page.from_api(answer, call.what))


def _dates(first: Partition | None, last: Partition | None) -> str:
    return f" {first}" if first == last and first else f" {first} to {last}" if first else ""


def _answered(window: Window, answer: Future[Listed]) -> tuple[Window, Listed]:
    try:
        return window, answer.result()
    except FATAL_FOR_ALL:
        raise
    except CcaError as error:
        log.warning("%s", error)
        return window, Listed({}, dict.fromkeys(window.partitions, error))
