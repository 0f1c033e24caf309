"""Bring one folder to what its source lists: objects are written once, and one manifest is replaced.

Landings, parts of them, reconciliation, extraction and the site list are all this one transaction; its rules
are those of docs/protocol.md. No Airflow, no HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock
from typing import Any, Protocol

from airflow_provider_cca.core.checksum import md5_and_size
from airflow_provider_cca.core.partition import Place
from airflow_provider_cca.core.timestamps import now_iso
from airflow_provider_cca.errors import AlreadyExists, StoreError
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import folded, is_key, marked_keys, plain_names, safe_name
from airflow_provider_cca.landing.manifest import (
    MANIFEST_NAME,
    SUPERSEDED_FOLDER,
    LandedFile,
    Manifest,
    SupersededFile,
)
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore
from airflow_provider_cca.store.object_store import PART_BYTES

log = logging.getLogger(__name__)

ATTEMPTS = 6
"""So often a transaction begins anew, as another task has committed or an answer was lost."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that a source lists.

    :param origin: What it comes from: itself, by its id at the server; a member of a zip from that zip.
    :param mark: 32 hex digits that tell its content: its MD5; for a member, whose MD5 is not known before it
        is packed, that of the zip and its place in it.
    :param size: Bytes; None when they are not known before the body has come, and likewise `md5`.
    :param item: What the source itself knows it by.
    """

    origin: str
    id: str
    name: str
    mark: str
    size: int | None
    md5: str | None
    created_on: str | None
    expires_on: str | None
    item: Any = field(compare=False, repr=False)


class Source(Protocol):
    """What the files of a folder come from: the server, or the folder with the zips."""

    is_complete: bool
    """Whether it lists all files of the folder. What a part does not list is left as it is."""

    suffix: str
    """What the keys of its files have behind their names."""

    def list_files(self, folder: Folder, is_intact: Callable[[LandedFile], bool]) -> Sequence[Wanted]:
        """List the files now.

        :param folder: As it was looked at before.
        :param is_intact: Whether the object of an entry of its manifest is there as it says.
        """

    def identify(self, entry: LandedFile) -> tuple[str, str]:
        """Return origin and mark of an entry that it once listed."""

    def chunks(self, wanted: Wanted) -> Generator[bytes]:
        """Yield the body of a file; raises unless it is what was listed."""


@dataclass
class Job:
    """Files of one name and one content: they share an object.

    :param damaged: The entry that names them already, when its object is damaged or gone.
    """

    files: list[Wanted]
    damaged: LandedFile | None = None

    @property
    def file(self) -> Wanted:
        return self.files[0]


class _How(Enum):
    ADOPT = "the object is there"
    CREATE = "the key is free"
    HEAL = "the manifest names the key with this content, and its object is damaged or gone"


class Transaction:
    """One folder: look, list, place every file, commit, retire; again from the start on a conflict.

    `place` may be called from several threads; the rest by one at a time.

    :param partition: What the manifest says of it, such as {"creation_date": "2026-03-01"}.
    :param written_by: What the manifest says of who wrote it.
    """

    def __init__(
        self,
        manifests: ManifestStore,
        path: str,
        partition: Mapping[str, str],
        source: Source,
        written_by: Mapping[str, Any] | None = None,
    ) -> None:
        self.manifests, self.store, self.source = manifests, manifests.store, source
        self.path, self.partition, self.written_by = path, partition, written_by
        self.fetched = 0
        """Objects that had to be fetched, over all attempts."""
        self.written = False
        """Whether the manifest was replaced."""
        self.attempts = 0
        self._refused: StoreError | None = None
        self._lock = Lock()

    def run(self) -> Manifest:
        """Do all of it, one file after the other."""
        jobs = self.begin(self.manifests.read(self.path))
        while True:
            for job in jobs:
                self.place(job)
            if manifest := self.commit():
                return manifest
            jobs = self.begin(self.manifests.read(self.path))

    def landed(self, place: Place, manifest: Manifest) -> Landed:
        """Return what it has done, once it is committed."""
        key, files = f"{self.path}/{MANIFEST_NAME}", len(manifest.files)
        return Landed(*place, key, files, manifest.total_bytes, self.fetched, self.written)

    def begin(self, folder: Folder, listed: Sequence[Wanted] | None = None) -> list[Job]:
        """Plan an attempt; returns what has to be placed before `commit`.

        Raises StoreError after too many attempts.

        :param folder: As it was looked at before the source was listed: a file that the server revises in
            between would else be taken for older than what another task has committed.
        :param listed: What the source lists, when it was asked together with others.
        """
        self.attempts += 1
        if self.attempts > ATTEMPTS:
            raise StoreError(
                f"{self.store.path(self.path)} could not be committed in {ATTEMPTS} attempts: run this task "
                f"again. The last error: {self._refused}"
            ) from self._refused
        self._folder, self._healed = folder, False
        self._intact: dict[str, bool] = {}
        self._old = folder.manifest or Manifest("", {}, (), "")
        self._listed = self.source.list_files(folder, self._is_intact) if listed is None else listed
        self._entries: list[LandedFile] = []
        # Keys and their content. Those that this attempt gives are added: two workers never give one twice.
        self._bound = {folded(e.key): (e.key, self.source.identify(e)[1]) for e in self._old.files}
        spent = {folded(key) for key in (*folder.spent, *(e.key for e in self._old.superseded))}
        self._spent = spent - self._bound.keys()
        self._named = {e.key: e for e in self._old.files}
        self._objects = {folded(name): (name, meta) for name, meta in folder.objects.items()}
        self._marks: dict[str, set[str]] = {}
        return self._plan()

    def _plan(self) -> list[Job]:
        known = {(e.id, e.name, self.source.identify(e)[1]): e for e in self._old.files}
        jobs: dict[tuple[str, str], Job] = {}
        for wanted in sorted(self._listed, key=lambda w: (w.created_on or "", w.id, w.name, w.mark)):
            entry = known.get((wanted.id, wanted.name, wanted.mark))
            if entry and self._is_intact(entry):
                self._entries.append(self._entry(wanted, entry.key, entry.size, entry.md5, entry.landed_on))
            else:
                job = jobs.setdefault((self._name(wanted), wanted.mark), Job([]))
                job.files.append(wanted)
                job.damaged = job.damaged or entry
        for job in jobs.values():
            # In this order, so that tasks side by side give the same keys; workers would claim in any.
            if not job.damaged:
                next(key for key in self._candidates(job.file) if self._claim(job.file, key))
        return list(jobs.values())

    def _is_intact(self, entry: LandedFile) -> bool:
        if entry.key not in self._intact:
            self._intact[entry.key] = self.manifests.is_intact(self._folder, entry)
        return self._intact[entry.key]

    def _candidates(self, wanted: Wanted) -> Iterator[str]:
        """The keys that a file may have, in the order in which they are tried."""
        plain = safe_name(self._name(wanted))
        yield plain
        yield from marked_keys(plain, self._short(wanted))

    def _name(self, one: Wanted | LandedFile | SupersededFile) -> str:
        return f"{one.name or one.id}{self.source.suffix}"

    def _claim(self, wanted: Wanted, key: str) -> bool:
        """Whether the key is free for this content, or has it: then no other content gets it."""
        place, content = folded(key), (key, wanted.mark)
        with self._lock:
            return place not in self._spent and self._bound.setdefault(place, content) == content

    def place(self, job: Job) -> bool:
        """Give the files of a job their object: adopt what is there, or fetch it; returns whether it did."""
        tried, taken = set[str](), set[str]()
        placed = None
        while placed is None:
            placed = self.manifests.retry.call(lambda: self._place(job, tried, taken))
        key, size, md5, how = placed
        with self._lock:
            self.fetched += how is not _How.ADOPT
            self._healed |= how is _How.HEAL
            now = now_iso()
            self._entries += [self._entry(wanted, key, size, md5, now) for wanted in job.files]
        return how is not _How.ADOPT

    def _place(self, job: Job, tried: set[str], taken: set[str]) -> tuple[str, int, str, _How] | None:
        """Key, size and MD5 of the object of a job, and how it came there; None: fetch it once more.

        :param tried: Keys that an earlier try may have written, as the store's answer was lost.
        :param taken: Keys at which another task has put other content since the folder was looked at.
        """
        wanted = job.file
        keys = self._keys(job, taken)
        key, how = next(keys)
        if how is _How.ADOPT and (named := self._named.get(key)):
            return key, named.size, named.md5, how
        if wanted.md5 and (how is _How.ADOPT or (key in tried and self._holds(key, wanted.md5))):
            return key, wanted.size or 0, wanted.md5, how
        with (
            self.store.writing(f"{self.path}/{key}", wanted.size or 0, create=how is _How.CREATE) as target,
            closing(self.source.chunks(wanted)) as chunks,
        ):
            md5, size = md5_and_size(chunks, target.write)
            while how is not _How.ADOPT:
                named = self._named.get(key)
                # Another version of the library may have packed it: a key keeps the content of its entry.
                if named is None or named.md5 == md5:
                    tried.add(key)
                    try:
                        target.publish()
                        break
                    except AlreadyExists:
                        if self._holds(key, md5):
                            break
                taken.add(key)
                key, how = next(keys)
                if not target.aim(f"{self.path}/{key}", create=how is _How.CREATE):
                    return None
        return key, size, md5, how

    def _keys(self, job: Job, taken: set[str]) -> Iterator[tuple[str, _How]]:
        """Yield the keys that the object of a job may have, and what is to be done there."""
        if job.damaged and job.damaged.key not in taken:
            yield job.damaged.key, _How.HEAL
        wanted = job.file
        for key in self._candidates(wanted):
            if key in taken or (job.damaged and key == job.damaged.key) or not self._claim(wanted, key):
                continue
            name, meta = self._objects.get(folded(key), (key, None))
            if named := self._named.get(key):
                yield key, _How.ADOPT if self._is_intact(named) else _How.HEAL
            elif meta is None and self._may_be_overtaken(wanted, key):
                continue
            elif meta is None or wanted.md5 is None:
                # Of a member that is still to be packed nobody can tell whether this is it: the store says.
                yield key, _How.CREATE
            elif (
                name == key
                and meta.size == wanted.size
                and (meta.md5 == wanted.md5 or self._holds(key, wanted.md5))
            ):
                yield key, _How.ADOPT

    def _may_be_overtaken(self, wanted: Wanted, key: str) -> bool:
        """Whether another task may put other content at the key while this one is sent, and be written over.

        Under a key that tells its content there is no other.
        """
        is_large = (wanted.size or 0) > PART_BYTES and key == safe_name(self._name(wanted))
        can = self.store.capabilities() if is_large else None
        return can is not None and can.create and not can.create_in_parts

    def _short(self, wanted: Wanted) -> str:
        """8 digits of the mark; all 32 where other content has these 8."""
        if not self._marks:
            for mark in (
                *(self.source.identify(e)[1] for e in self._old.files),
                *(e.md5 for e in self._old.superseded),
                *(one.mark for one in self._listed),
            ):
                self._marks.setdefault(mark[:8], set()).add(mark)
        short = wanted.mark[:8]
        return short if self._marks[short] == {wanted.mark} else wanted.mark

    def _holds(self, key: str, md5: str) -> bool:
        return self.manifests.has_content(f"{self.path}/{key}", md5)

    def _entry(self, wanted: Wanted, key: str, size: int, md5: str, landed_on: str | None) -> LandedFile:
        return LandedFile(
            wanted.id, wanted.name, key, size, md5, wanted.created_on, wanted.expires_on, landed_on
        )

    def commit(self) -> Manifest | None:
        """Replace the manifest, unless it would say the same, and retire what it names as superseded.

        What killed writers left in the folder is removed, even when nothing is new: a local manifest may have
        got its name just before its writer was killed.

        Returns None when another task has committed since this one looked, or when the store's answer was
        lost: then begin again.
        """
        new, old = self._new(), self._folder.manifest
        is_news = old is None or (new.files, new.superseded) != (old.files, old.superseded) or self._healed
        if old is None and not self.source.is_complete and not new.files:
            is_news = False
        if is_news:
            try:
                self.manifests.commit(self._folder, new)
            except StoreError as error:
                log.info("%s is looked at again: %s", self.store.path(self.path), error)
                # Without a wait, many tasks in one folder would overtake each other until they give up.
                self._refused, retry = error, self.manifests.retry
                retry.pause(retry.wait_before(self.attempts + 1, error.retry_after))
                return None
            self.written = True
        self.store.sweep(self.path)
        self._retire(new)
        return new if is_news or old is None else old

    def _new(self) -> Manifest:
        origins = {wanted.origin for wanted in self._listed}
        kept = [e for e in self._old.files if self.source.identify(e)[0] not in origins]
        files = tuple(sorted({*kept, *self._entries}, key=lambda e: (e.key, e.id)))
        keys = {e.key for e in files}
        now = now_iso()
        gone = {e.key: e for e in self._forgotten(now)} | {
            e.key: SupersededFile(e.id, e.name, e.key, e.size, e.md5, now)
            for e in self._old.files
            if e.key not in keys
        }
        if self.source.is_complete:
            gone |= {e.key: e for e in self._orphans(keys, now)}
        superseded = (*self._old.superseded, *sorted(gone.values(), key=lambda e: e.key))
        report = self.path.partition("/")[0]
        return Manifest(report, self.partition, files, now, superseded, self.written_by)

    def _forgotten(self, now: str) -> Iterator[SupersededFile]:
        """What a lost manifest named as superseded. Unnamed, its keys would be given, and it written over."""
        for key, meta in self._folder.spent.items():
            hidden = f"{self.path}/{SUPERSEDED_FOLDER}/{key}"
            if is_key(key) and (md5 := self.manifests.md5(hidden)):
                yield SupersededFile("", key.removesuffix(self.source.suffix), key, meta.size, md5, now)

    def _orphans(self, keys: set[str], now: str) -> Iterator[SupersededFile]:
        """Objects that a task has left that died before it committed, and that are not what is listed now."""
        known, names = {*keys}, {safe_name(self._name(wanted)) for wanted in self._listed}
        entries: list[LandedFile | SupersededFile] = [*self._old.files, *self._old.superseded]
        for entry in entries:
            known.add(entry.key)
            names.add(safe_name(self._name(entry)))
        for key, meta in self._folder.objects.items():
            if key in known or not (ours := plain_names(key) & names):
                continue
            # Another task may have moved it meanwhile; then its manifest names it.
            if md5 := meta.md5 or self.manifests.md5(f"{self.path}/{key}"):
                name = min(ours).removesuffix(self.source.suffix)
                yield SupersededFile("", name, key, meta.size, md5, now)

    def _retire(self, manifest: Manifest) -> None:
        """Move superseded objects out of readers' way. What cannot be moved is left to the next landing."""
        keys = {e.key for e in manifest.files}
        for entry in manifest.superseded:
            meta = self._folder.objects.get(entry.key)
            if meta is None or entry.key in keys:
                continue
            try:
                # Another task may have put other content there since: the copy keeps that of the entry.
                known = meta._replace(size=entry.size, md5=entry.md5)
                hidden = f"{self.path}/{SUPERSEDED_FOLDER}/{entry.key}"
                self.store.retire(f"{self.path}/{entry.key}", hidden, known)
            except StoreError as error:
                log.warning("%s stays where it is until the next landing: %s", entry.key, error)
