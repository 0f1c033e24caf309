"""The calls of the API document (§3.3-3.7) as methods. No Airflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from airflow_provider_cca.api.allowed_hosts import followed
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.paging import PAGE_SIZE, Entry, Page, collect
from airflow_provider_cca.api.range_listing import listed
from airflow_provider_cca.api.session import Call, CcaSession
from airflow_provider_cca.api.site_list import whole
from airflow_provider_cca.core.files import RemoteFile, Site
from airflow_provider_cca.core.listings import Listed, Listing, Window
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.reports import REPORTS, check_listing

log = logging.getLogger(__name__)

T = TypeVar("T")


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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            # Threads may still be at work for the block that failed: they end now, not when they time out.
            self.session.abort()
        self.session.close()

    def abort(self) -> None:
        """End all calls that are under way in other threads, and refuse new ones: they raise Closed."""
        self.session.abort()

    def sites(self) -> list[Site]:
        """All sites that the partner manages (§3.5.1)."""
        call = Call(f"{self.config.api_root}/v1/cdr", "the listing of sites")
        return self._collect(call, Site.from_api)

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
    ) -> list[RemoteFile]:
        """All files of a report created (or of meetings that ended) from `first` to `last`, both included.

        :param by: "creation" (§3.5.4, §3.5.5, §3.6.1, §3.6.2); for cdr also "meeting_end" (§3.5.3), or
            "new" for the files never downloaded, which takes no dates (§3.5.2).

        Raises StillProcessing while the server generates them.
        """
        call = self._listing(scope, first, last or first, by)
        return self._collect(call, lambda entry: RemoteFile.from_api(entry, scope))

    def files_of_all(self, scopes: Sequence[Scope], files: Callable[[Scope], list[RemoteFile]]) -> Listing:
        """The files of several sites, asked for side by side; one that fails does not hold back the others.

        Raises what would fail for each of them alike: a login that is refused, or a client that is closed;
        and the error of one that is alone.

        :param files: Lists those of one, by this client.
        """
        listing = Listing()
        if len(scopes) == 1:
            listing.scopes, listing.files = list(scopes), files(scopes[0])
            return listing
        pool = ThreadPoolExecutor(self.config.max_connections, thread_name_prefix="cca-listing")
        try:
            asked = [(scope, pool.submit(files, scope)) for scope in scopes]
            for scope, answer in asked:
                listing.take(scope, answer)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return listing

    def list_range(self, window: Window) -> Listed:
        """List a range; partitions that are spoilt, or still being made, do not hold back the others.

        Raises what concerns the range as a whole.
        """
        return listed(self.files, window)

    def count(self, scope: Scope, first: Partition, last: Partition | None = None) -> int:
        """Count the entries of a listing, odd ones included, without parsing them.

        `total` alone decides nothing, since a server may count without the filter: it only says whether a
        further page is worth asking for, and a refusal of such a page is its end. Raises StillProcessing like
        `files`.
        """
        call = self._listing(scope, first, last or first, "creation")
        start, seen = 0, set[str]()
        while True:
            try:
                page, before = self._page(call, start, PAGE_SIZE), len(seen)
            except CcaError:
                if seen:
                    return len(seen)
                raise
            seen.update(map(repr, page.items))
            start += len(page.items)
            if start >= page.total or len(seen) == before:
                return len(seen)

    def download(self, file: RemoteFile) -> Generator[bytes]:
        """The body of a file in chunks (§3.5.6, §3.5.7, §3.6.3); one attempt, not verified.

        Raises HostNotAllowed before anything is sent when the link is no URL, or points to a host that is
        not allowed, and TransientError also in the middle of the body.
        """
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
            )
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
            f"the listing of {scope}",
            params=params,
            generating_403=report.generating_403,
        )

    def _collect(self, call: Call, parse: Callable[[Entry], T]) -> list[T]:
        return collect(
            lambda start: self._page(call, start, PAGE_SIZE),
            what=call.what,
            pause=self.session.retry.pause,
            parse=parse,
            side_by_side=self._side_by_side,
        )

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
        params = {"from": str(start), "size": str(size), **call.params}
        return self.session.get(replace(call, params=params), lambda answer: Page.from_api(answer, call.what))
