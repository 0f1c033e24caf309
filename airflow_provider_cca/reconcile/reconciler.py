"""Compare what the server lists with what the store holds, and land what is missing or different.

Plain Python: no Airflow, no HTTP. One look takes one listing of the server for each scope and one listing of
the store for each report; a landing then concerns what is not whole alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import Event

from airflow_provider_cca.core.listings import Listed, ListRanges, Window
from airflow_provider_cca.core.partition import Partition, Place, Scope
from airflow_provider_cca.coverage.comparison import Comparison, Held
from airflow_provider_cca.coverage.document import Snapshot, calendar_of
from airflow_provider_cca.coverage.state import Coverage, State
from airflow_provider_cca.errors import (
    AttemptsExhausted,
    CcaError,
    Closed,
    FileExpired,
    NotYetListed,
    StoreError,
)
from airflow_provider_cca.landing.lander import Lander, ListAgain
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.reconcile.inventory import Inventory
from airflow_provider_cca.reports import MAX_DOWNLOAD_ATTEMPTS

log = logging.getLogger(__name__)


PERMANENTLY_REFUSED = (AttemptsExhausted, FileExpired)


class Reconciler:
    """One comparison of a server with a store, and what it takes to make the store complete.

    :param list_ranges: Lists the files of scopes on the server, side by side.
    :param lander: Lands what is missing.
    :param before: What an earlier run found.
    """

    def __init__(
        self,
        inventory: Inventory,
        list_ranges: ListRanges,
        lander: Lander,
        before: Snapshot,
    ) -> None:
        self.inventory, self.list_ranges, self.lander = inventory, list_ranges, lander
        self.retry, self.workers = lander.manifests.retry, lander.workers
        self.before = before
        self.now = datetime.now(UTC)
        self.coverages: dict[Place, Coverage] = {}
        self.complete = 0
        """Partitions that had landed before anything was landed."""
        self.failures: dict[str, CcaError] = {}
        """What could not be listed, and why."""
        self._open: dict[Place, Comparison] = {}
        self._held: dict[Scope, list[Held]] = {}

    def compare(self, windows: Sequence[Window]) -> None:
        """Compare; raises what would fail for every scope alike."""
        reading = ThreadPoolExecutor(self.workers, thread_name_prefix="cca-inventory")
        try:
            unseen = self._list_store(windows)
            for window in windows:
                if error := unseen.get(window.scope.report.name):
                    self._held[window.scope] = [Held(error=error)] * len(window.partitions)
                    self._compare(window, Listed({}, dict.fromkeys(window.partitions, error)))
            seen = [window for window in windows if window.scope.report.name not in unseen]
            for window, found in self.list_ranges(self._looked(seen, reading)):
                self._keep_failures(window.scope, found)
                self._compare(window, found)
        finally:
            reading.shutdown(wait=False, cancel_futures=True)
        self.complete = sum(one.state is State.LANDED for one in self.coverages.values())

    def _looked(self, windows: Iterable[Window], pool: Executor) -> Iterator[Window]:
        """Look at the folders of each window before it is listed (docs/protocol.md, rule 6)."""
        for window in windows:
            folders = [folder_of(window.scope, partition) for partition in window.partitions]
            self._held[window.scope] = [*pool.map(self.inventory.held, folders)]
            yield window

    def _list_store(self, windows: Iterable[Window]) -> dict[str, CcaError]:
        """What of it could not be listed, by report."""
        unseen: dict[str, CcaError] = {}
        for report in dict.fromkeys(window.scope.report.name for window in windows):
            try:
                self.inventory.list_below(report)
            except Closed:
                raise
            except CcaError as error:
                log.warning("%s", error)
                unseen[report] = self.failures[f"{report} in the store"] = error
        return unseen

    def land_missing(self, list_again: ListAgain) -> None:
        """Land what is missing or different, nearest deadline first, and compare it again.

        Raises PartlyLanded and others as a landing does, when all that could be landed has been.

        :param list_again: Lists one partition, after a conflict with another task.
        """
        wanted = [one for one in self._open.values() if one.needs_landing()]
        wanted.sort(key=self._urgency)
        if not wanted:
            return
        refused: Set[str] = frozenset()
        try:
            self.lander.land(
                {one.place: one.to_land for one in wanted},
                list_again,
                {one.place: one.held.folder for one in wanted},
            )
        except Closed:
            raise
        except CcaError:
            refused = {
                id_ for id_, error in self.lander.failed.items() if isinstance(error, PERMANENTLY_REFUSED)
            }
            raise
        finally:
            if not self.retry.closed.is_set():
                self._compare_again(wanted, refused)

    def came_back(self) -> list[Coverage]:
        """Gaps outside of this run's windows that the store has no more.

        Another task has landed their files meanwhile, or somebody has put them back with their manifests.
        None of the rest when the store fails: they stay known, and can wait.
        """
        gaps = [gap for place, gap in self.before.gaps.items() if place not in self.coverages]
        down = Event()

        def is_closed(gap: Coverage) -> bool:
            if down.is_set():
                return False
            held = self.inventory.held(folder_of(gap.scope, gap.partition))
            if isinstance(held.error, StoreError):
                down.set()
            return gap.aged(self.now.date()).is_closed_by(
                {entry.id for entry in held.files if entry.key in held.whole}
            )

        with ThreadPoolExecutor(self.workers, thread_name_prefix="cca-inventory") as pool:
            return [gap for gap, closed in zip(gaps, pool.map(is_closed, gaps), strict=True) if closed]

    def without(self, back: Iterable[Coverage], before: Snapshot) -> Snapshot:
        """What was known, without gaps that came back, unless another run has found otherwise meanwhile."""
        whole = [
            replace(
                gap,
                state=State.LANDED,
                landed=gap.files,
                lost=0,
                landed_bytes=gap.bytes,
                missing_files=(),
                lost_files=(),
            )
            for gap in back
            if before.gaps.get((gap.scope, gap.partition)) == gap
        ]
        places = {(one.scope, one.partition) for one in whole}
        return Snapshot.of(whole).over(before, places, self.now.date(), all_sites=False)

    def _keep_failures(self, scope: Scope, found: Listed) -> None:
        """Keep what failed for the end; that files of a young date may still come is no failure."""
        failed = {f"{scope} {partition}": error for partition, error in found.failures.items()}
        if found.error:
            failed = {str(scope): found.error}
        self.failures |= {what: e for what, e in failed.items() if not isinstance(e, NotYetListed)}

    def _compare(self, window: Window, found: Listed) -> None:
        for partition, held in zip(window.partitions, self._held.pop(window.scope), strict=True):
            listed = found.files.get(partition)
            if held.error:
                self.failures[f"{window.scope} {partition} in the store"] = held.error
                listed = None
            before = self.before.gaps.get((window.scope, partition))
            too_often = [f for f in listed or () if f.download_attempts >= MAX_DOWNLOAD_ATTEMPTS]
            refused = frozenset(too_often if before and before.lost else ())
            self._classify(Comparison(window.scope, partition, listed, held, self.now, refused))

    def _classify(self, one: Comparison) -> None:
        place = one.place
        # After a landing, what it has forgotten is still known from the look before it.
        found = one.coverage(self.coverages.get(place) or self.before.gaps.get(place))
        if found.state is State.UNKNOWN and one.listed is not None and one.partition.fading(self.now):
            # The server may have deleted it before anybody looked: then there is nothing to be said.
            if verdict := self._gone(one, found):
                self.coverages[place] = verdict
            return
        self.coverages[place] = found
        if one.needs_landing():
            self._open[place] = one

    def _gone(self, one: Comparison, found: Coverage) -> Coverage | None:
        """What is to be said of a partition that neither server nor store names, and an earlier look did."""
        row = self.before.rows.get(calendar_of(one.scope))
        known = row.cells.get(one.partition) if row else None
        # A date of several sites does not say what of it was this one's.
        if row is None or known is None or not known.landed or (row.sites or 1) > 1:
            return None
        if self.inventory.folder(folder_of(*one.place)).objects:
            return found  # objects without a manifest: nobody knows whether they are whole
        return replace(known, scope=one.scope, state=State.LOST, landed=0, landed_bytes=0, lost=known.files)

    def _urgency(self, one: Comparison) -> tuple[bool, str, Partition, str]:
        """What has no files can wait; else by the day on which it vanishes."""
        found = self.coverages[one.place]
        return not found.missing, str(found.expires_on), one.partition, str(one.scope)

    def _compare_again(self, wanted: Sequence[Comparison], refused: Set[str]) -> None:
        folders = [folder_of(*one.place) for one in wanted]
        with ThreadPoolExecutor(self.workers) as pool:
            held_now = pool.map(partial(self.inventory.held, again=True), folders)
            for one, held in zip(wanted, held_now, strict=True):
                if held.error:
                    # What the look before the landing has found stays, but is not known to be so any more.
                    self.failures[f"{one.scope} {one.partition} in the store"] = held.error
                    self.coverages[one.place] = replace(self.coverages[one.place], state=State.UNKNOWN)
                else:
                    self._classify(one.with_refused(refused, held))


def counts(done: Reconciler) -> dict[str, int]:
    """What a run found and did, in partitions, files and bytes."""
    found = list(done.coverages.values())
    states = Counter(one.state for one in found)
    return {
        "complete": done.complete,
        "healed": states[State.LANDED] - done.complete,
        "still_missing": sum(bool(one.missing) for one in found),
        "lost": states[State.LOST],
        "empty": states[State.EMPTY],
        "unknown": states[State.UNKNOWN],
        "files": sum(one.landed for one in found),
        "bytes": sum(one.landed_bytes for one in found),
        "downloaded": sum(one.downloaded for one in done.lander.landed),
    }
