"""What is to be landed in each partition: what the listing wants, beside what the store has. No I/O."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.manifest import LandedFile, Manifest, by_key
from airflow_provider_cca.store.object_meta import StoredObject


@dataclass
class Plan:
    """One partition: what the listing wants, what the store has of it, and what became of it.

    :param whole: Whether what is wanted is all that is listed of it, and not a part.
    """

    scope: Scope
    partition: Partition
    folder: str
    whole: bool
    before: Manifest | None
    present: Mapping[str, int]
    wanted: list[tuple[RemoteFile, str]]
    open: int = 0
    downloaded: int = 0
    failures: dict[str, CcaError] = field(default_factory=dict)
    landed: Landed | None = None
    seen: dict[str, StoredObject] = field(default_factory=dict)
    """By key, objects whose content this landing has verified, as they were then."""

    @cached_property
    def known(self) -> dict[str, LandedFile]:
        """What the manifest held before, by key."""
        return {entry.key: entry for entry in self.before.files} if self.before else {}

    @cached_property
    def keys(self) -> set[str]:
        """Of what is wanted."""
        return {key for _, key in self.wanted}

    @cached_property
    def missing(self) -> list[tuple[RemoteFile, str]]:
        """What the manifest does not vouch for, or the store does not have in full."""
        return [(file, key) for file, key in self.wanted if not self._is_whole(file, key)]

    def _is_whole(self, file: RemoteFile, key: str) -> bool:
        known = self.known.get(key)
        vouched = known is not None and (known.size, known.md5) == (file.size, file.md5)
        return vouched and self.present.get(key) == file.size

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be done, as seen by names and sizes."""
        whole = all(self._is_whole(file, key) for file, key in self.wanted)
        return whole and self.before is not None and not self.is_news(self.entries())

    def is_news(self, entries: tuple[LandedFile, ...]) -> bool:
        """Whether the manifest is to be written to say this."""
        # When something was downloaded, even if it says the same: an object that is newer than it is taken
        # for changed.
        return bool(self.downloaded) or self.before is None or self.before.files != entries

    def keeps(self, entry: LandedFile, present: Mapping[str, int]) -> bool:
        """Whether the manifest goes on naming a file that is not wanted.

        Who was given a part does not know whether the others are listed: one that is gone from the store
        stays named, so that a reader fails and `cca_reconcile` lands it again.
        """
        return not self.whole or present.get(entry.key) == entry.size

    def entries(self) -> tuple[LandedFile, ...]:
        """What the manifest is to hold: what is wanted, and what earlier landings left here that the listing
        no longer names, as after its 365 days."""
        kept = [e for e in self.known.values() if e.key not in self.keys and self.keeps(e, self.present)]
        return by_key((*kept, *(_entry(file, key) for file, key in self.wanted)))


Job = tuple[Plan, RemoteFile | None, str]
"""A file to be fetched and its key; no file when there is none to be fetched in a partition."""


class Jobs:
    """What is to be done, given out to one worker at a time."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._lock = Lock()
        self._given_out = self._all(plans)

    @staticmethod
    def _all(plans: Iterable[Plan]) -> Generator[Job]:
        for plan in plans:
            plan.open = len(plan.missing) or 1
            if not plan.missing:
                yield plan, None, ""
            for file, key in plan.missing:
                yield plan, file, key

    def __iter__(self) -> Iterator[Job]:
        return self

    def __next__(self) -> Job:
        with self._lock:
            return next(self._given_out)

    def done(self, plan: Plan, *, downloaded: bool) -> bool:
        """Count a job of a plan; whether it was the last one."""
        with self._lock:
            plan.downloaded += downloaded
            plan.open -= 1
            return not plan.open

    def stop(self) -> None:
        """Give out no more."""
        with self._lock:
            self._given_out.close()


def _entry(file: RemoteFile, key: str) -> LandedFile:
    created_on, expires_on = (iso(one) if one else None for one in (file.created_on, file.expires_on))
    return LandedFile(file.id, file.name, key, file.size, file.md5, created_on, expires_on)
