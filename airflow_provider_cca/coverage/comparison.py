"""One partition: what the server lists, beside what the store holds. Pure: no Airflow, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Place, Scope
from airflow_provider_cca.coverage.state import RETENTION, Coverage, State, state_of
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.landing.manifest import LandedFile, Manifest


@dataclass(frozen=True)
class Held:
    """What the store holds of a partition.

    :param manifest: None when there is none, or it is damaged.
    :param whole: Keys that the manifest names and that are there as it says.
    :param error: Why nothing can be said of it, if the store did not let itself be read.
    :param folder: As it was looked at; only a landing knows what it is.
    """

    manifest: Manifest | None = None
    whole: frozenset[str] = frozenset()
    error: CcaError | None = None
    folder: Any = None

    @property
    def files(self) -> Sequence[LandedFile]:
        return self.manifest.files if self.manifest else ()


class _File(NamedTuple):
    """A file that the server or the manifest names.

    :param is_lost: Whether it has not landed, and can no longer be had.
    """

    id: str
    size: int
    has_landed: bool
    is_lost: bool
    expires_on: date | None


@dataclass(frozen=True)
class Comparison:
    """One partition: what the server lists, beside what the store holds.

    :param listed: None when the server, or the store, could not be asked.
    :param refused: Files that are listed, and that the server never gives again.
    """

    scope: Scope
    partition: Partition
    listed: Sequence[RemoteFile] | None
    held: Held
    now: datetime
    refused: frozenset[RemoteFile] = frozenset()

    @property
    def place(self) -> Place:
        return self.scope, self.partition

    def coverage(self, before: Coverage | None = None) -> Coverage:
        """How far the partition has landed.

        :param before: What an earlier look found. What it lacked and nobody names any more is lost; but what
            was missing, and the server has taken back before its time, is no more.
        """
        files = [*self._files({id_ for id_, _ in before.lost_files} if before else set())]
        if before:
            files += self._remembered(before, {file.id for file in files})
        missing = [f for f in files if not f.has_landed and not f.is_lost]
        lost = [f for f in files if f.is_lost]
        dates = [f.expires_on for f in missing or lost or files if f.expires_on]
        found = Coverage(
            self.scope,
            self.partition,
            State.UNKNOWN,
            files=len(files),
            landed=len(files) - len(missing) - len(lost),
            lost=len(lost),
            bytes=sum(f.size for f in files),
            landed_bytes=sum(f.size for f in files if f.has_landed),
            expires_on=min(dates, default=None),
            missing_files=tuple((f.id, f.size) for f in missing),
            lost_files=tuple((f.id, f.size) for f in lost if f.id),
        )
        return replace(found, state=self._state(found))

    def needs_landing(self) -> bool:
        """Whether a landing can better it: with files, or with a manifest that says that there are none."""
        if self.listed is None:
            return False
        if self.listed:
            return any(not landed and file not in self.refused for file, landed in self._pairs)
        return self.held.manifest is None and self._is_known_to_be_empty

    @property
    def to_land(self) -> list[RemoteFile]:
        """What a landing is to be given: all that has landed or can."""
        return [file for file, landed in self._pairs if landed or file not in self.refused]

    def with_refused(self, ids: Set[str], held: Held) -> Comparison:
        """The same partition after a landing, of which the server has refused the files with these ids."""
        refused = {file for file in self.listed or () if file.id in ids}
        return replace(self, held=held, refused=self.refused | refused)

    @cached_property
    def _pairs(self) -> list[tuple[RemoteFile, bool]]:
        """Each listed file, and whether it has landed."""
        intact = {(e.id, e.name, e.md5, e.size) for e in self.held.files if e.key in self.held.whole}
        return [(file, (file.id, file.name, file.md5, file.size) in intact) for file in self.listed or ()]

    def _files(self, lost_before: Set[str]) -> Iterator[_File]:
        """All that the server or the manifest names.

        :param lost_before: Ids. That they are still lost is not for the server alone to say.
        """
        listed = set()
        for file, landed in self._pairs:
            listed.add(file.id)
            created_on = file.created_on.date() if file.created_on else self.partition.first
            expires_on = file.expires_on.date() if file.expires_on else created_on + RETENTION
            yield _File(file.id, file.size, landed, not landed and file in self.refused, expires_on)
        for entry in self.held.files:
            if entry.id not in listed:
                intact = entry.key in self.held.whole
                lost = not intact and (self.listed is not None or entry.id in lost_before)
                yield _File(entry.id, entry.size, intact, lost, _expiry(entry))

    def _remembered(self, before: Coverage, named: Set[str]) -> Iterator[_File]:
        """What an earlier look knew of, and neither server nor manifest names any more."""
        for id_, size in before.lost_files:
            if id_ not in named:
                yield _File(id_, size, False, True, before.expires_on)
        has_vanished = self.listed is not None and self.partition.fading(self.now)
        for id_, size in before.missing_files if has_vanished or self.listed is None else ():
            if id_ not in named:
                yield _File(id_, size, False, has_vanished, before.expires_on)
        unnamed = before.lost - len(before.lost_files)
        if unnamed > 0 and not before.is_closed_by(named):
            size = before.bytes - before.landed_bytes - sum(size for _, size in before.lost_files)
            yield _File("", max(size, 0), False, True, before.expires_on)
            yield from [_File("", 0, False, True, before.expires_on)] * (unnamed - 1)

    def _state(self, found: Coverage) -> State:
        if self.listed is None:
            return State.UNKNOWN
        if found.files:
            return state_of(found.files, found.landed, found.lost)
        return State.EMPTY if self.held.manifest or self._is_known_to_be_empty else State.UNKNOWN

    @property
    def _is_known_to_be_empty(self) -> bool:
        """Whether a listing without files is believed: the date is neither too young nor too old for that."""
        return self.partition.is_settled(self.now) and not self.partition.fading(self.now)


def _expiry(entry: LandedFile) -> date | None:
    try:
        if entry.expires_on:
            return date.fromisoformat(entry.expires_on[:10])
        return date.fromisoformat(entry.created_on[:10]) + RETENTION if entry.created_on else None
    except (ValueError, OverflowError):
        return None
