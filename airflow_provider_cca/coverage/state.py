"""What has landed, what is missing, and how long it can still be had. Plain Python: no Airflow, no I/O.

A partition is covered when every file that the server lists for it is in the store in full and the
partition's manifest names it. What the manifest names and the server no longer lists has landed before,
as after its 365 days; when its object is gone as well, it is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.reports import RETENTION_DAYS

FileFacts = tuple[str, int]
"""Id and bytes of a file."""

FACTS = ("files", "landed", "lost", "bytes", "landed_bytes")
"""The fields of a Coverage that are sums."""

RETENTION = timedelta(days=RETENTION_DAYS)


class State(StrEnum):
    """What can be said of a partition."""

    LANDED = "landed"
    """Every file is in the store, and the manifest names it."""
    PARTLY = "partly"
    """Some of the files have landed, the others can."""
    MISSING = "missing"
    """There are files, and none has landed."""
    EMPTY = "empty"
    """The server has confirmed that there are no files, or a manifest says so."""
    LOST = "lost"
    """What has not landed can no longer be had."""
    UNKNOWN = "unknown"
    """Server or store could not be asked, or the server is still at work, or had deleted it all before."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """One partition of one scope, or the sum over several scopes.

    :param files: Files known of, from the server's listing, the manifest, or an earlier look.
    :param landed: Those of them that have landed.
    :param lost: Those of them that can no longer be had.
    :param missing_files: Id and bytes of each file that has not landed, and can; of one scope alone.
    :param lost_files: The same of each that can no longer be had.
    :param expires_on: Day (UTC) on which the first file that has not landed vanishes, else the first of all;
        None when nothing is known of any.
    """

    scope: Scope
    partition: Partition
    state: State
    files: int = 0
    landed: int = 0
    lost: int = 0
    bytes: int = 0
    landed_bytes: int = 0
    expires_on: date | None = None
    missing_files: tuple[FileFacts, ...] = ()
    lost_files: tuple[FileFacts, ...] = ()

    @property
    def missing(self) -> int:
        """Files that have not landed, and can."""
        return self.files - self.landed - self.lost

    def is_closed_by(self, ids: Collection[str]) -> bool:
        """Whether these ids are all that this gap lacks: new files do not make up for lost ones."""
        lacks = [id_ for id_, _ in (*self.missing_files, *self.lost_files)]
        if len(lacks) < self.missing + self.lost:
            # A folder that vanished with its manifest: the rows of the coverage know how many files it had.
            return len(ids) >= self.files
        return {*lacks} <= {*ids}

    def days_left(self, today: date) -> int | None:
        """Whole days until `expires_on`; None when there is nothing to be had."""
        if self.expires_on is None or self.state in {State.LOST, State.EMPTY}:
            return None
        return max((self.expires_on - today).days, 0)

    def aged(self, today: date) -> Coverage:
        """What an earlier look says today: what had not landed by its last day is lost."""
        if not self.missing or self.expires_on is None or self.expires_on >= today:
            return self
        lost = self.lost + self.missing
        return replace(
            self,
            state=state_of(self.files, self.landed, lost),
            lost=lost,
            missing_files=(),
            lost_files=(*self.lost_files, *self.missing_files),
        )


def summed(scope: Scope, coverages: Sequence[Coverage]) -> Coverage:
    """One partition of several sites in one figure; its state is the worst of theirs."""
    states = {one.state for one in coverages}
    sums = {name: sum(getattr(one, name) for one in coverages) for name in FACTS}
    missing = [one.expires_on for one in coverages if one.expires_on and one.missing]
    dates = missing or [one.expires_on for one in coverages if one.expires_on]
    return Coverage(
        scope,
        coverages[0].partition,
        _worst(states, landed=sums["landed"]),
        **sums,
        expires_on=min(dates, default=None),
    )


def by_deadline(coverages: Iterable[Coverage]) -> list[Coverage]:
    """Nearest deadline first; what has none last."""
    return sorted(coverages, key=lambda one: (one.expires_on or date.max, str(one.scope), one.partition))


def state_of(files: int, landed: int, lost: int) -> State:
    """Of one file or more."""
    if files - landed - lost:
        return State.PARTLY if landed else State.MISSING
    return State.LOST if lost else State.LANDED


def _worst(states: set[State], landed: int) -> State:
    """What can still be done something about comes before what cannot."""
    if states & {State.MISSING, State.PARTLY}:
        return State.PARTLY if landed else State.MISSING
    order = (State.LOST, State.UNKNOWN, State.LANDED, State.EMPTY)
    return next(state for state in order if state in states)
