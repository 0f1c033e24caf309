"""Many partitions by one request where that can be trusted, else partition by partition. No Airflow, no HTTP.

The files of a partition are those that the server lists for it alone. A range is a short cut that must prove
itself: whether it can be parted by `createdOn` depends on what the server means by a creation date.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from operator import ge
from threading import Lock
from typing import Protocol
from zoneinfo import ZoneInfo

from airflow_provider_cca.core.failures import FATAL_FOR_ALL
from airflow_provider_cca.core.files import RemoteFile, by_partition
from airflow_provider_cca.core.listings import Listed, Window
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    ConnectionFailed,
    MalformedListing,
    StillProcessing,
    TransientError,
    UnreadableAnswer,
)
from airflow_provider_cca.reports import Grain

NEWEST = (0, 1, 2, 4)
"""How many of the newest partitions are left out, step by step, when the server is still at work on some."""

NEWEST_EMPTY = 2
"""How many of the newest partitions that a range lists no file of, besides the oldest, are listed alone."""

MAX_FAILED_DATES = 20
"""So many partitions of a scope may fail, each after all attempts, before the rest is given up."""

MAX_FAILED_SCOPES = 20
"""So many scopes of a report may fail altogether before one of them succeeds, and the rest is given up."""


class Server(Protocol):
    """What a range listing asks the server for."""

    def files(
        self,
        scope: Scope,
        first: Partition | None = None,
        last: Partition | None = None,
        by: str = "creation",
        *,
        check_total: bool = True,
    ) -> list[RemoteFile]:
        """Return the files of a range, parted by createdOn."""
        ...

    def list_partition(self, scope: Scope, partition: Partition) -> list[RemoteFile]:
        """Return the files of a partition; raise where an empty listing of it cannot be believed."""
        ...

    def has_total(self, scope: Scope, first: Partition, last: Partition, total: int) -> bool | None:
        """Return whether a range holds so many files; None when totals do not tell that."""
        ...

    def submit(
        self, call: Callable[[Scope, Partition], list[RemoteFile]], scope: Scope, partition: Partition
    ) -> Future[list[RemoteFile]]:
        """Make a call in another thread."""
        ...


class RangeLister:
    """Lists ranges, and remembers what one client has found out about them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._can_be_parted: dict[str, bool] = {}
        """By report: whether ranges can be parted by createdOn."""
        self._shown: dict[str, _Traits] = {}
        """By report: the traits of the files that have shown it."""
        self._proving: defaultdict[str, Lock] = defaultdict(Lock)
        self._failed: dict[str, list[CcaError]] = {}
        """By report: the errors of scopes that failed altogether, while none has succeeded."""
        self._lock = Lock()

    def list_range(self, window: Window) -> Listed:
        """Return the files of each partition; one that fails, or is being made, holds back itself alone.

        Raises what concerns the window as a whole.
        """
        report = window.scope.report.name
        with self._lock:
            failed = self._failed.setdefault(report, [])
            if len(failed) >= MAX_FAILED_SCOPES:
                raise failed[-1]
        try:
            found = self._list(window)
        except TransientError as error:
            failed.append(error)
            raise
        errors = [*found.failures.values()]
        if len(errors) == len(window.partitions) and isinstance(errors[-1], TransientError):
            failed.append(errors[-1])
        else:
            with self._lock:
                self._failed[report] = []
        return found

    def can_part(self, windows: Iterable[Window]) -> bool:
        """Return whether ranges can be parted by createdOn, shown by the first of these that has files.

        True where none of them shows it, or one is not answered: the next may take as many minutes.
        """
        for window in windows:
            try:
                self.list_range(window)
            except FATAL_FOR_ALL:
                raise
            except ConnectionFailed:
                return True
            except CcaError:
                continue
            if window.scope.report.name in self._can_be_parted:
                return self._can_be_parted[window.scope.report.name]
        return True

    def _list(self, window: Window) -> Listed:
        scope, partitions = window.scope, window.partitions
        if len(partitions) == 1 or window.left_out or self._can_be_parted.get(scope.report.name) is False:
            return self._one_by_one(scope, partitions)
        busy: CcaError = StillProcessing(f"{scope} is still processing")
        for left_out in (n for n in NEWEST if n < len(partitions)):
            older, newest = _split(partitions, left_out)
            try:
                files = self.server.files(scope, older[0], older[-1], check_total=self._is_known(scope))
            except StillProcessing as error:
                busy = error
            except MalformedListing:
                return self._one_by_one(scope, partitions)
            except FATAL_FOR_ALL:
                raise
            except CcaError as error:
                return self._after_failure(scope, partitions, error)
            else:
                # Without it the others are listed: so it is the newest one that is being made.
                known = {newest[0]: busy} if left_out == 1 else {}
                return self._one_by_one(scope, newest, self._parted(scope, older, files), known)
        return self._after_failure(scope, partitions, busy)

    def _is_known(self, scope: Scope) -> bool:
        """Return whether ranges of this report have been proven: the proof checks a total, too."""
        return scope.report.name in self._can_be_parted

    def _after_failure(self, scope: Scope, partitions: Sequence[Partition], error: CcaError) -> Listed:
        """List a range partition by partition that failed as a whole: it may be too large, or hold a bad one.

        Raises when two of them fail as well, or one is not answered by the API at all: then so would all,
        each after all attempts.
        """
        failed: dict[Partition, CcaError] = {}
        for probe in (partitions[len(partitions) // 2], partitions[0]):
            try:
                self.server.list_partition(scope, probe)
            except (*FATAL_FOR_ALL, ConnectionFailed, UnreadableAnswer):
                raise
            except CcaError as alone:
                failed[probe] = alone
                if isinstance(error, StillProcessing) or not isinstance(alone, StillProcessing):
                    continue
            return self._one_by_one(scope, partitions, known=failed)
        raise next((one for one in failed.values() if not isinstance(one, StillProcessing)), error)

    def _parted(self, scope: Scope, partitions: Sequence[Partition], files: Sequence[RemoteFile]) -> Listed:
        """Part the files of a range by createdOn, or list its partitions alone where that cannot be trusted.

        While one partition is being made, the server may leave out files of others, and say no more. So a
        range is listed again without its young partitions when one of these has no file; and some of the
        settled ones that have none are listed alone; where none has any, the halves of the range, too.
        """
        groups = {partition: group for (_, partition), group in by_partition(files).items()}
        now = datetime.now(UTC)
        young = [partition for partition in partitions if not partition.is_settled(now)]
        if any(partition not in groups for partition in young):
            settled = partitions[: len(partitions) - len(young)]
            found = self._list(Window(scope, settled[0], settled[-1])) if settled else None
            return self._one_by_one(scope, young, found)
        # One or two files may be all that a page holds whose total is its own length.
        too_few = 0 < len(files) < 3 and not self._is_known(scope)
        # By which date the server lists a file shows in its name: without one nothing proves createdOn right.
        undated = sum(map(len, _by_distance(files).values())) < len(files)
        if too_few or undated or (files and not self._can_part(scope, partitions, files)):
            return self._one_by_one(scope, partitions)
        # Partitions that the server may have deleted are not probed: nobody believes an empty one of them.
        empty = [one for one in partitions if one not in groups and not one.fading(now)]
        probes = sorted({*empty[:1], *empty[-NEWEST_EMPTY:]})
        probed = self._one_by_one(scope, probes)
        halves = [] if files or len(probes) == len(empty) else [*_split(partitions, len(partitions) // 2)]
        if any(probed.files.values()) or any(self.server.files(scope, p[0], p[-1]) for p in halves):
            return self._one_by_one(scope, partitions)
        if probes and len(probed.failures) == len(probes):
            return Listed(groups, dict.fromkeys(empty, probed.failures[probes[-1]]))
        return Listed({p: groups.get(p, []) for p in partitions if p not in probed.failures}, probed.failures)

    def _one_by_one(
        self,
        scope: Scope,
        partitions: Sequence[Partition],
        others: Listed | None = None,
        known: dict[Partition, CcaError] | None = None,
    ) -> Listed:
        """List partitions side by side, each by itself.

        :param others: What has been listed already, to be returned with them.
        :param known: The errors of some, which are not asked for.
        """
        files = dict(others.files) if others else {}
        failures = {**(others.failures if others else {}), **(known or {})}
        failed: list[CcaError] = []

        def listed(scope: Scope, partition: Partition) -> list[RemoteFile]:
            if len(failed) >= MAX_FAILED_DATES:
                raise failed[-1]
            try:
                return self.server.list_partition(scope, partition)
            except TransientError as error:
                failed.append(error)
                raise

        asked = [(one, self.server.submit(listed, scope, one)) for one in partitions if one not in failures]
        try:
            for partition, answer in asked:
                try:
                    files[partition] = answer.result()
                except FATAL_FOR_ALL:
                    raise
                except CcaError as error:
                    failures[partition] = error
        finally:
            for _, answer in asked:
                answer.cancel()
        return Listed(files, failures)

    def _can_part(self, scope: Scope, partitions: Sequence[Partition], files: Sequence[RemoteFile]) -> bool:
        """Return whether createdOn tells under which partition each of these files is listed alone."""
        report = scope.report.name
        traits = _Traits.of(files)
        with self._proving[report]:
            can, shown = self._can_be_parted.get(report), self._shown.get(report)
            try:
                if any(not partitions[0] <= file.partition <= partitions[-1] for file in files):
                    can = False
                elif can is None or (can and (shown is None or not traits.are_shown_by(shown))):
                    can = self._is_proven(scope, partitions, files)
            except FATAL_FOR_ALL:
                raise
            except CcaError:
                return False  # this once: the server could not be asked
            self._shown[report] = traits.over(shown) if shown else traits
            self._can_be_parted[report] = can
            return can

    def _is_proven(self, scope: Scope, partitions: Sequence[Partition], files: Sequence[RemoteFile]) -> bool:
        """Return whether the server begins each partition where UTC does, which mostly takes two requests.

        A line is the moment at which it begins the next partition. It would draw another one first between
        the files that lie nearest to it: created soonest after the beginning of a partition, or latest before
        its end. And it may go by the date in a file's name: then it lists a file of the least distance alone,
        if that is what it counts by, but none of a larger distance on the same side of a line as createdOn.
        """
        earliest, latest = _nearest(files, _since_begin, _WEST), _nearest(files, _until_end, _EAST)
        by_distance = _by_distance(files)
        listed_alone, lines = earliest[0].partition, set[date]()
        if len(by_distance) > 1:
            least = min(by_distance)
            others = [file for distance in by_distance.keys() - {least} for file in by_distance[distance]]
            listed_alone = min(by_distance[least], key=_since_begin).partition
            # Before the first partition there is no other side.
            if later := [file for file in others if file.partition != partitions[0]]:
                lines.add(min(later, key=_since_begin).partition.first)
            elif not self._lists_alone(scope, others[0].partition, files):
                return False
        if not self._lists_alone(scope, listed_alone, files):
            return False
        # A line lies up to 12 hours later, or 14 hours earlier, as those of the world's zones do.
        lines |= {
            file.partition.first
            for file in earliest
            if file.partition != listed_alone and _since_begin(file) < timedelta(hours=12)
        }
        # One line is asked for in any case: it shows that the total of the range counts.
        lines |= {
            file.partition.last + timedelta(days=1)
            for file in latest
            if _until_end(file) < timedelta(hours=14) or not (lines or file is not latest[0])
        }
        return all(self._draws_line(scope, partitions, files, line) for line in sorted(lines))

    def _draws_line(
        self, scope: Scope, partitions: Sequence[Partition], files: Sequence[RemoteFile], line: date
    ) -> bool:
        """Return whether as many files lie on one side of a line, the side of most, as by createdOn."""
        before = [partition for partition in partitions if partition.first < line]
        after = partitions[len(before) :]
        side = max(before, after, key=lambda side: sum(file.partition in side for file in files))
        expected = [file for file in files if side[0] <= file.partition <= side[-1]]
        same = self.server.has_total(scope, side[0], side[-1], len(expected))
        if same is not None:
            return same
        return _identities(self.server.files(scope, side[0], side[-1])) == _identities(expected)

    def _lists_alone(self, scope: Scope, partition: Partition, files: Iterable[RemoteFile]) -> bool:
        listed = self.server.files(scope, partition, partition, check_total=False)
        return _identities(listed) == _identities(file for file in files if file.partition == partition)


@dataclass(frozen=True)
class _Traits:
    """What of the files of a range tells whether ranges can be parted by createdOn.

    :param distances: From the dates in their names to their creation, in partitions.
    :param margins: Quarters of an hour from the beginning of a partition to the earliest creation, and from
        the latest one to its end, by each clock.
    """

    distances: frozenset[int]
    margins: tuple[int, ...]

    @classmethod
    def of(cls, files: Sequence[RemoteFile]) -> _Traits:
        return cls(
            frozenset(_by_distance(files)),
            tuple(
                min(distance(file, clock) for file in files) // _STEP
                for distance, clocks in ((_since_begin, _WEST), (_until_end, _EAST))
                for clock in clocks
            ),
        )

    def are_shown_by(self, shown: _Traits) -> bool:
        """Return whether other files, by which ranges could be parted, have shown the same of these.

        Two distances show that the date in a name is not what a file is listed by.
        """
        named = len(shown.distances) > 1 or self.distances <= shown.distances
        return named and all(map(ge, self.margins, shown.margins))

    def over(self, shown: _Traits) -> _Traits:
        """Return the traits of both."""
        return _Traits(self.distances | shown.distances, tuple(map(min, self.margins, shown.margins)))


def _by_distance(files: Iterable[RemoteFile]) -> dict[int, list[RemoteFile]]:
    """Return the files whose names have a date, by how many partitions that lies before the creation."""
    found: defaultdict[int, list[RemoteFile]] = defaultdict(list)
    for file in files:
        # The last one: names may begin with that of a site.
        if matches := re.findall(r"(?<!\d)(20\d\d)([01]\d)([0-3]\d)?(?!\d)", file.name):
            with suppress(ValueError):
                year, month, day = (int(part or 1) for part in matches[-1])
                found[_distance(file.partition, date(year, month, day))].append(file)
    return found


def _distance(partition: Partition, named: date) -> int:
    """Return how many partitions lie between a date and one of these."""
    if partition.grain is Grain.DAY:
        return (partition.first - named).days
    return (partition.first.year - named.year) * 12 + partition.first.month - named.month


def _split(partitions: Sequence[Partition], newest: int) -> tuple[Sequence[Partition], Sequence[Partition]]:
    return partitions[: len(partitions) - newest], partitions[len(partitions) - newest :]


def _identities(files: Iterable[RemoteFile]) -> set[tuple[str, str, str]]:
    return {(file.id, file.name, file.md5) for file in files}


_WEST = (None, ZoneInfo("America/Los_Angeles"))
_EAST = (None, ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Sydney"))
"""Tell when clocks go an hour ahead, if ever: in such a zone the line lies an hour earlier then."""

_STEP = timedelta(minutes=15)
"""What the world's zones differ by."""


def _nearest(
    files: Sequence[RemoteFile], distance: Callable[..., timedelta], clocks: Sequence[ZoneInfo | None]
) -> list[RemoteFile]:
    """Return the files that are nearest to a line between partitions: one, unless the clocks disagree."""
    nearest = {clock: min(files, key=lambda file: distance(file, clock)) for clock in clocks}
    steps = {clock: distance(file, clock) // _STEP for clock, file in nearest.items()}
    for file in nearest.values():
        if all(distance(file, clock) // _STEP <= steps[clock] for clock in clocks):
            return [file]
    return [*dict.fromkeys(nearest.values())]


def _since_begin(file: RemoteFile, clock: ZoneInfo | None = None) -> timedelta:
    return _wall_clock(file, clock) - datetime.combine(file.partition.first, time.min)


def _until_end(file: RemoteFile, clock: ZoneInfo | None = None) -> timedelta:
    return datetime.combine(file.partition.last, time.max) - _wall_clock(file, clock)


def _wall_clock(file: RemoteFile, clock: ZoneInfo | None) -> datetime:
    # A range in which one cannot be read is malformed, and not parted.
    created = file.created_on or datetime.combine(file.partition.first, time.min, UTC)
    return created.replace(tzinfo=None) + (
        created.astimezone(clock).dst() or timedelta() if clock else timedelta()
    )
