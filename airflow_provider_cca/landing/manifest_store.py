"""The manifests in a store, and how tasks that end at the same time share them. No Airflow, no HTTP.

A manifest names what is there. So it is written on the condition that nobody has written it since it was
read, and whoever comes second reads it again, and adds to it what it has landed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.errors import DestinationUnusable, StoreError
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile, Manifest, by_key
from airflow_provider_cca.landing.plan import Plan
from airflow_provider_cca.reports import report_named
from airflow_provider_cca.store.object_meta import StoredObject
from airflow_provider_cca.store.object_store import Store

log = logging.getLogger(__name__)


class Records:
    """What is said of partitions in one store.

    :param retry: How often, and with what waits, the store is asked.
    """

    def __init__(self, store: Store, retry: Retry) -> None:
        self.store, self.retry = store, retry

    def overwritten(self, plan: Plan, manifest: Manifest) -> set[str]:
        """Keys of objects that were written after their manifest, and are not what it says.

        A new manifest would be newer than they are, and nobody would look at them again.
        """
        objects = self.retry.call(lambda: self.store.objects_below(plan.folder)).get(plan.folder, {})
        written, wrong = _written(objects), set()
        for entry in manifest.files:
            found = objects.get(entry.key)
            if found is None or not found.is_doubtful(entry.md5, written):
                continue
            if self.holds(f"{plan.folder}/{entry.key}", entry.md5):
                plan.seen[entry.key] = found
            else:
                wrong.add(entry.key)
        return wrong

    def look(
        self, folder: str, present: Mapping[str, int] | None = None
    ) -> tuple[Manifest | None, Mapping[str, int]]:
        """The manifest of a folder, and the sizes of what is there, unless that is known."""
        if present is None:
            present = self.retry.call(lambda: self.store.sizes(folder))
        return (self.manifest(folder) if MANIFEST_NAME in present else None), present

    def manifest(self, folder: str) -> Manifest | None:
        """None when it is damaged, or gone since it was listed; raises DestinationUnusable when it cannot be
        read."""
        try:
            content = self.retry.call(lambda: self.store.read(f"{folder}/{MANIFEST_NAME}"))
        except DestinationUnusable:
            # What cannot be read is not damaged: written anew, it would forget what earlier landings left.
            if MANIFEST_NAME in self.retry.call(lambda: self.store.sizes(folder)):
                raise
            return None  # gone since it was listed
        try:
            return manifest_in(folder, content)
        except ValueError as error:
            log.warning("%s/%s is damaged and counts as none: %s", folder, MANIFEST_NAME, error)
            return None

    def holds(self, key: str, md5: str) -> bool:
        """Whether an object has this content; one that is gone since it was listed has none."""
        return self.retry.call(lambda: self._content(key)) == md5

    def _content(self, key: str) -> str | None:
        """The MD5 of an object; None when there is none that can be read."""
        try:
            return self.store.md5(key)
        except DestinationUnusable:
            return None

    def write(self, plan: Plan, ours: Sequence[LandedFile]) -> tuple[LandedFile, ...]:
        """Write our entries, and those that another task has put there since we looked; return all."""
        # Tried again as a whole, under the folder's lock: what it reads is not tried again within that.
        merge = partial(Records(self.store, replace(self.retry, attempts=1))._merge, plan, ours)
        with self.store.lock(plan.folder):
            return self.retry.call(merge)

    def _merge(self, plan: Plan, ours: Sequence[LandedFile]) -> tuple[LandedFile, ...]:
        """Raises StoreError when another task writes it meanwhile: then it is to be merged again."""
        objects = self.store.objects_below(plan.folder).get(plan.folder, {})
        manifest, present = self.look(plan.folder, {name: one.size for name, one in objects.items()})
        theirs = {entry.key: entry for entry in manifest.files} if manifest else {}
        if manifest and not plan.whole:
            # What was known when we looked, and another task has found to be gone since, is not ours to name.
            ours = [one for one in ours if one.key in plan.keys or one.key in theirs]
        true = {one.key: self._true(plan, one, theirs.get(one.key), objects) for one in ours}
        others = [e for e in theirs.values() if e.key not in true and plan.keeps(e, present)]
        write = partial(self._replace, plan, before=objects.get(MANIFEST_NAME))
        if clashes := [one.key for one in ours if not _same_file(true[one.key], one)]:
            left = [*filter(None, (true.get(entry.key, entry) for entry in theirs.values()))]
            if left != [*theirs.values()]:
                write(left)
            raise StoreError(
                f"another task has put something else at {plan.folder}/{clashes[0]} meanwhile: land this "
                "partition again, in one task",
                most_attempts=1,
            )
        entries = by_key((*filter(None, true.values()), *others))
        write(entries)
        return entries

    def _replace(self, plan: Plan, entries: Iterable[LandedFile], before: StoredObject | None) -> None:
        content = manifest_of(plan.scope, plan.partition, entries).to_json()
        self.store.replace(f"{plan.folder}/{MANIFEST_NAME}", content, before)

    def _true(
        self, plan: Plan, ours: LandedFile, theirs: LandedFile | None, objects: Mapping[str, StoredObject]
    ) -> LandedFile | None:
        """Our entry, or the one of another task that has landed another version of the file at its key since
        we looked: whichever says what the store holds. None when neither does.

        Also theirs when it is of another file of the same name, and None when ours has taken its place:
        neither must claim what the other has written over. The next landing chooses another key.
        """
        news = theirs not in (None, plan.known.get(ours.key)) and not _same_content(theirs, ours)
        if not news and not self._is_doubtful(plan, ours, theirs, objects):
            return ours
        content = self._content(f"{plan.folder}/{ours.key}")
        if theirs and content == theirs.md5:
            return theirs
        return ours if content == ours.md5 and _same_file(theirs or ours, ours) else None

    def _is_doubtful(
        self, plan: Plan, ours: LandedFile, theirs: LandedFile | None, objects: Mapping[str, StoredObject]
    ) -> bool:
        """Whether another task may have written over an object without saying so: it may have failed since.

        What we have not landed is vouched for by the manifest that is there, as long as it says the same.
        """
        found = objects.get(ours.key)
        if not plan.whole and ours.key not in plan.keys:
            return False  # it stays named, whatever became of it
        if found is None or found.size != ours.size:
            return self.store.at_once
        if seen := plan.seen.get(ours.key):
            return found.may_differ(ours.md5, seen)
        vouched = theirs is not None and theirs.md5 == ours.md5
        return found.is_doubtful(ours.md5, _written(objects) if vouched else 0.0)


def _written(objects: Mapping[str, StoredObject]) -> float:
    """When the manifest among these was written, by the store's clock."""
    return objects[MANIFEST_NAME].modified if MANIFEST_NAME in objects else 0.0


def manifest_of(scope: Scope, partition: Partition, entries: Iterable[LandedFile]) -> Manifest:
    """The manifest of a partition, written now."""
    facts = {scope.report.partition_key: str(partition), "site": scope.site, "level": scope.level}
    described = {name: value for name, value in facts.items() if value}
    return Manifest(scope.report.name, described, tuple(entries), iso(datetime.now(UTC)))


def _same_file(one: LandedFile | None, other: LandedFile) -> bool:
    return one is not None and (one.id, one.name) == (other.id, other.name)


def _same_content(one: LandedFile | None, other: LandedFile) -> bool:
    return one is not None and _same_file(one, other) and (one.size, one.md5) == (other.size, other.md5)


def manifest_in(folder: str, body: bytes) -> Manifest:
    """Raises ValueError as `Manifest.from_json`, and when it was copied from another folder."""
    manifest = Manifest.from_json(body)
    if not _belongs(manifest, folder):
        raise ValueError(f"it is of {manifest.report} {dict(manifest.partition)}")
    return manifest


def _belongs(manifest: Manifest, folder: str) -> bool:
    try:
        report = report_named(manifest.report)
        scope = Scope(report, manifest.partition.get("site"), manifest.partition.get("level"))
        # As a text: to parse the date of each manifest of a year would take as long as to read it.
        partition = f"{report.partition_key}={manifest.partition[report.partition_key]}"
        return f"{folder_of(scope)}/{partition}" == folder
    except (KeyError, TypeError, ValueError):
        return False
