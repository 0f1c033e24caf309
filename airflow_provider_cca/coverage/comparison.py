"""One partition: what the server lists, beside what the store holds. Pure: no Airflow, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import NamedTuple

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.coverage.state import RETENTION, Coverage, State, state_of
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.landing.layout import assign_keys, folder_of
from airflow_provider_cca.landing.manifest import LandedFile, Manifest


@dataclass(frozen=True)
class Held:
    """What the store holds of a partition.

    :param manifest: None when there is none, or it is damaged.
    :param whole: Keys that the manifest names and that are there as it says.
    :param error: Why nothing can be said of it, if the store did not let itself be read.
    :param folder: As it was looked at, for a landing.
    """

    manifest: Manifest | None = None
    whole: frozenset[str] = frozenset()
    error: CcaError | None = None
    folder: Any = None

    @property
    def files(self) -> Sequence[LandedFile]:
        return self.manifest.files if self.manifest else ()


class _File(NamedTuple):
    id: str
    size: int
    landed: bool
    lost: bool
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
    def folder(self) -> str:
        return folder_of(self.scope, self.partition)

    def coverage(self, before: Coverage | None = None) -> Coverage:
        """How far the partition has landed.

        :param before: What an earlier look found; files that it knew of and nobody names any more are lost.
        """
        files = list(self._files({id_ for id_, _ in before.lost_files} if before else set()))
        found = Coverage(
            self.scope,
            self.partition,
            State.UNKNOWN,
            files=len(files),
            landed=sum(f.landed for f in files),
            lost=sum(f.lost for f in files),
            bytes=sum(f.size for f in files),
            landed_bytes=sum(f.size for f in files if f.landed),
            expires_on=_first_expiry(files),
            lost_files=tuple((f.id, f.size) for f in files if f.lost),
        )
        if before:
            found = self._remembering(found, before, [(f.id, f.size) for f in files])
        return replace(found, state=self._state(found))

    def needs_landing(self) -> bool:
        """Whether a landing can better it: with files, or with a manifest that says that there are none."""
        if self.listed is None:
            return False
        if self.listed:
            return any(not landed and file not in self.refused for (file, _), landed in self._pairs)
        return self.held.manifest is None and self._is_over and not self.partition.fading(self.now)

    @property
    def to_land(self) -> list[RemoteFile]:
        """What a landing is to be given: all that has landed or can."""
        return [file for (file, _), landed in self._pairs if landed or file not in self.refused]

    def with_refused(self, keys: Set[str], held: Held) -> Comparison:
        """The same partition after a landing, of which the server has refused the files with these keys."""
        refused = {file for (file, key), _ in self._pairs if f"{self.folder}/{key}" in keys}
        return replace(self, held=held, refused=self.refused | refused)

    def broken(self) -> set[str]:
        """Keys that the manifest names wrongly, and a landing can put right."""
        keys = {key for (_, key), landed in self._pairs if not landed}
        return {entry.key for entry in self.held.files if entry.key in keys - self.held.whole}

    @cached_property
    def _pairs(self) -> list[tuple[tuple[RemoteFile, str], bool]]:
        """Each listed file with its key, and whether it has landed."""
        known = {entry.key: entry for entry in self.held.files}

        def landed(file: RemoteFile, key: str) -> bool:
            entry = known.get(key)
            same = entry is not None and (entry.size, entry.md5) == (file.size, file.md5)
            return same and key in self.held.whole

        return [(pair, landed(*pair)) for pair in assign_keys(self.listed or (), self.held.files)]

    def _files(self, lost_before: Set[str]) -> Iterator[_File]:
        """All that the server or the manifest names.

        :param lost_before: Ids. That they are still lost is not for the server alone to say.
        """
        for (file, _), landed in self._pairs:
            lost = not landed and file in self.refused
            yield _File(
                file.id, file.size, landed, lost, (file.expires_on or file.created_on + RETENTION).date()
            )
        listed = {key for (_, key), _ in self._pairs}
        for entry in self.held.files:
            if entry.key not in listed:
                whole = entry.key in self.held.whole
                gone = not whole and (self.listed is not None or entry.id in lost_before)
                yield _File(entry.id, entry.size, whole, gone, _expiry(entry))

    def _remembering(self, found: Coverage, before: Coverage, named: Sequence[tuple[str, int]]) -> Coverage:
        """With the files that an earlier look knew of, and neither server nor manifest names any more.

        :param named: Id and bytes of all that they name. Those of a loss among them have been judged anew.
        """
        ids = {id_ for id_, _ in named}
        gone = tuple(file for file in before.lost_files if file[0] not in ids)
        before = _without(before, gone)
        lost = 0 if before.is_closed_by(named) else before.lost_unnamed
        hidden = max(before.files - found.files, lost)
        if self.listed is not None:
            # The server may take files back in time; what was lost stays so.
            hidden = lost = hidden if self.partition.fading(self.now) else lost
        if not gone and not hidden:
            return found
        size = max(before.bytes, found.bytes + _unnamed_bytes(before)) if hidden else found.bytes
        return replace(
            found,
            files=found.files + hidden + len(gone),
            lost=found.lost + lost + len(gone),
            bytes=size + sum(size for _, size in gone),
            expires_on=found.expires_on if found.missing else before.expires_on,
            lost_files=(*found.lost_files, *gone),
        )

    def _state(self, found: Coverage) -> State:
        if self.listed is None:
            return State.UNKNOWN
        if found.files:
            return state_of(found.files, found.landed, found.lost)
        if self.held.manifest or (self._is_over and not self.partition.fading(self.now)):
            return State.EMPTY
        return State.UNKNOWN

    @property
    def _is_over(self) -> bool:
        """Whether the server can create no more files of this partition, but for recovered ones."""
        return self.partition.last < self.now.astimezone(UTC).date()


def _without(one: Coverage, lost_files: Sequence[tuple[str, int]]) -> Coverage:
    return replace(
        one,
        files=one.files - len(lost_files),
        lost=one.lost - len(lost_files),
        bytes=one.bytes - sum(size for _, size in lost_files),
        lost_files=tuple(file for file in one.lost_files if file not in lost_files),
    )


def _unnamed_bytes(one: Coverage) -> int:
    """Of its lost files without names, where they can be told from those that are missing."""
    return 0 if one.missing else one.bytes - one.landed_bytes - sum(size for _, size in one.lost_files)


def _first_expiry(files: Sequence[_File]) -> date | None:
    """Of those that can still be landed; else of those that are lost, else of all."""
    missing = [f.expires_on for f in files if f.expires_on and not f.landed and not f.lost]
    lost = [f.expires_on for f in files if f.expires_on and f.lost]
    return min(missing or lost or [f.expires_on for f in files if f.expires_on], default=None)


def _expiry(entry: LandedFile) -> date | None:
    try:
        if entry.expires_on:
            return date.fromisoformat(entry.expires_on[:10])
        return date.fromisoformat(entry.created_on[:10]) + RETENTION
    except (ValueError, OverflowError):
        return None
