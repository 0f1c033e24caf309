"""Chunks in, verified objects at their keys, manifest last. Plain Python: no Airflow, no HTTP.

A partition is landed in four steps: see what is there, fetch what is missing or different, leave the
rest alone, and write the manifest when all of it is whole. Whatever dies in between, what is visible
under a key is whole, and the next landing takes up from there.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import repeat
from threading import Lock

from airflow_provider_cca.entries import StoredObject
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    PartlyLanded,
    StoreError,
    WrongChecksum,
    WrongSize,
)
from airflow_provider_cca.keys import assign_keys, folder_of, manifest_in
from airflow_provider_cca.manifest import MANIFEST_NAME, STRAYS_NAME, LandedFile, Manifest
from airflow_provider_cca.models import Partition, RemoteFile, Scope, iso
from airflow_provider_cca.progress import Progress
from airflow_provider_cca.retry import Retry
from airflow_provider_cca.store import Store

log = logging.getLogger(__name__)

Fetch = Callable[[RemoteFile], Generator[bytes]]
Files = Mapping[tuple[Scope, Partition], Sequence[RemoteFile]]
Sizes = Mapping[str, Mapping[str, int]]

MANY = 8
"""From so many partitions of a scope on, one listing of all its folders takes the place of one for each."""

MANY_TO_LOG = 20
"""More partitions than these are not logged one by one, unless at DEBUG."""


MOST_UNUSABLE = 3
"""Folders that may be unusable, one by one, before the destination as a whole counts as such."""


@dataclass(frozen=True)
class Landed:
    """What a landing did to one partition.

    :param manifest: Key of the manifest, relative to the destination.
    :param files: Files that the manifest names.
    :param bytes: Their bytes.
    :param downloaded: How many of them this landing had to download.
    :param written: Whether it wrote the manifest; if not, all was there already.
    """

    scope: Scope
    partition: Partition
    manifest: str
    files: int
    bytes: int
    downloaded: int
    written: bool = True


@dataclass
class _Plan:
    """One partition: what the listing wants, what the store has of it, and what became of it.

    :param asked: Whether it is to have a manifest even if it has none.
    :param strays: What was landed here while nobody asked for this partition.
    """

    scope: Scope
    partition: Partition
    folder: str
    asked: bool
    before: Manifest | None
    present: Mapping[str, int]
    wanted: list[tuple[RemoteFile, str]]
    strays: tuple[LandedFile, ...] = ()
    open: int = 0
    downloaded: int = 0
    failures: dict[str, CcaError] = field(default_factory=dict)
    landed: Landed | None = None

    @cached_property
    def known(self) -> dict[str, LandedFile]:
        """What the manifest held before, by key."""
        return {entry.key: entry for entry in self.before.files} if self.before else {}

    @cached_property
    def missing(self) -> list[tuple[RemoteFile, str]]:
        """What the manifest does not vouch for, or the store does not have in full."""
        return [(file, key) for file, key in self.wanted if not self._is_whole(file, key)]

    def _is_whole(self, file: RemoteFile, key: str) -> bool:
        known = self.known.get(key)
        vouched = known is not None and (known.size, known.md5) == (file.size, file.md5)
        return vouched and self.present.get(key) == file.size

    @property
    def record(self) -> str:
        """Where to say what has landed."""
        return MANIFEST_NAME if self.asked or self.before else STRAYS_NAME

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be done, as seen by names and sizes."""
        whole = all(self._is_whole(file, key) for file, key in self.wanted)
        return whole and self.before is not None and not self.is_news(self.entries())

    def is_news(self, entries: tuple[LandedFile, ...]) -> bool:
        """Whether the record is to be written to say this."""
        if self.downloaded:
            return True  # even if it says the same: an object that is newer than it is taken for changed
        if self.record == STRAYS_NAME:
            return not {*entries} <= {*self.strays}
        keys = {entry.key for entry in entries}
        unnamed = any(e.key not in keys and self.present.get(e.key) == e.size for e in self.strays)
        return unnamed or self.before is None or self.before.files != entries

    def entries(self) -> tuple[LandedFile, ...]:
        """What the manifest is to hold: what is wanted, and what earlier landings left here that the listing
        no longer names, as after its 365 days."""
        keys = {key for _, key in self.wanted}
        kept = [e for e in self.known.values() if e.key not in keys and self.present.get(e.key) == e.size]
        return _by_key((*kept, *(_entry(file, key) for file, key in self.wanted)))


Job = tuple[_Plan, RemoteFile | None, str]
"""A file to be fetched and its key; no file when there is none to be fetched in a partition."""


class _Jobs:
    """What is to be done, given out to one worker at a time."""

    def __init__(self, plans: Iterable[_Plan]) -> None:
        self._lock = Lock()
        self._given_out = self._all(plans)

    @staticmethod
    def _all(plans: Iterable[_Plan]) -> Generator[Job]:
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

    def done(self, plan: _Plan, *, downloaded: bool) -> bool:
        """Count a job of a plan; whether it was the last one."""
        with self._lock:
            plan.downloaded += downloaded
            plan.open -= 1
            return not plan.open

    def stop(self) -> None:
        """Give out no more."""
        with self._lock:
            self._given_out.close()


class Landing:
    """Lands files into one destination.

    :param store: The destination.
    :param fetch: Gives the body of a file; called again when the body was broken or wrong.
    :param retry: How often, and with what waits.
    :param workers: How many files at a time.
    :param progress: Counts what is fetched, and says now and then how far it is.
    """

    def __init__(
        self, store: Store, fetch: Fetch, retry: Retry, workers: int, progress: Progress | None = None
    ) -> None:
        self.store, self.fetch, self.retry, self.workers = store, fetch, retry, workers
        self.progress = progress or Progress()
        self.landed: list[Landed] = []
        """The partitions that are whole by now, in any order, also when others fail."""
        self._level = logging.INFO
        self._changed: Mapping[str, Set[str]] = {}
        self._unusable: set[str] = set()

    def land(
        self, partitions: Files, strays: Files | None = None, changed: Mapping[str, Set[str]] | None = None
    ) -> list[Landed]:
        """Land the files of each partition; its manifest is written as soon as the last of them is there.

        :param strays: Files of partitions that nobody asked for. They land as well, but a partition that has
            no manifest gets none by them: it would pass for finished. When it is asked for, it names them.
        :param changed: By folder, the keys of objects that are known to be no longer what was landed.

        Raises PartlyLanded when files failed: all the others have landed, and a partition with a failed
        file has no new manifest.
        """
        self._changed = changed or {}
        if len(partitions) > MANY_TO_LOG:
            self._level = logging.DEBUG
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="cca-landing")
        listed = self._listed(partitions)
        places = [*partitions.items(), *(strays or {}).items()]
        jobs = _Jobs(())
        try:
            asked = [place in partitions for place, _ in places]
            plans = list(pool.map(self._plan, places, asked, repeat(listed)))
            for plan in plans:
                self.progress.expect(len(plan.missing), sum(file.size for file, _ in plan.missing))
            jobs = _Jobs(plans)
            for worker in as_completed([pool.submit(self._work, jobs) for _ in range(self.workers)]):
                worker.result()
        except BaseException:
            jobs.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        if len(partitions) > MANY_TO_LOG:
            _log_sums(self.landed)
        _raise_failures(plans)
        return [plan.landed for plan in plans if plan.landed]

    def _listed(self, partitions: Iterable[tuple[Scope, Partition]]) -> Mapping[Scope, Sizes]:
        """What the store has of each scope of which many partitions are landed, by one listing for all."""
        count = Counter(scope for scope, _ in partitions)
        found = {scope: self._sizes_below(scope) for scope, n in count.items() if n >= MANY}
        return {scope: sizes for scope, sizes in found.items() if sizes is not None}

    def _sizes_below(self, scope: Scope) -> Sizes | None:
        """None when they cannot be listed together: then each folder is, and holds back itself alone."""
        try:
            return self.retry.call(partial(self.store.sizes_below, folder_of(scope)))
        except StoreError as error:
            log.warning("%s: its folders are listed one by one, as %s", scope, error)
            return None

    def _plan(
        self,
        place: tuple[tuple[Scope, Partition], Sequence[RemoteFile]],
        asked: bool,
        listed: Mapping[Scope, Sizes],
    ) -> _Plan:
        (scope, partition), files = place
        folder = folder_of(scope, partition)
        plan = _Plan(scope, partition, folder, asked, None, {}, [])
        with self._failures_kept(plan, MANIFEST_NAME):
            known = listed[scope].get(folder, {}) if scope in listed else None
            plan.before, plan.present = self._look(folder, known)
            self.store.sweep(folder, plan.present)
            plan.strays = self._strays(folder, plan.present)
            plan.present = _without(plan.present, self._changed.get(folder, ()))
            plan.wanted = assign_keys(files, (*plan.strays, *(plan.before.files if plan.before else ())))
            if plan.before and not plan.is_settled:
                plan.present = _without(plan.present, self._overwritten(folder, plan.before))
        return plan

    def _overwritten(self, folder: str, manifest: Manifest) -> set[str]:
        """Keys of objects that were written after their manifest, and are not what it says.

        A new manifest would be newer than they are, and nobody would look at them again.
        """
        objects = self.retry.call(lambda: self.store.objects_below(folder)).get(folder, {})
        written = objects[MANIFEST_NAME].modified if MANIFEST_NAME in objects else 0.0
        return {
            entry.key
            for entry in manifest.files
            if entry.key in objects
            and objects[entry.key].is_doubtful(entry.md5, written)
            and not self._holds(f"{folder}/{entry.key}", entry.md5)
        }

    def _look(
        self, folder: str, present: Mapping[str, int] | None = None
    ) -> tuple[Manifest | None, Mapping[str, int]]:
        """The manifest of a folder, and the sizes of what is there, unless that is known."""
        if present is None:
            present = self.retry.call(lambda: self.store.sizes(folder))
        return (self._manifest(folder) if MANIFEST_NAME in present else None), present

    def _strays(self, folder: str, present: Container[str]) -> tuple[LandedFile, ...]:
        record = self._manifest(folder, STRAYS_NAME) if STRAYS_NAME in present else None
        return record.files if record else ()

    def _manifest(self, folder: str, name: str = MANIFEST_NAME) -> Manifest | None:
        try:
            content = self.retry.call(lambda: self.store.read(f"{folder}/{name}"))
        except DestinationUnusable:
            # What cannot be read is not damaged: written anew, it would forget what earlier landings left.
            if name in self.retry.call(lambda: self.store.sizes(folder)):
                raise
            return None  # gone since it was listed
        try:
            return manifest_in(folder, content)
        except ValueError as error:
            log.warning("%s/%s is damaged and will be written anew: %s", folder, name, error)
            return None

    def _work(self, jobs: _Jobs) -> None:
        """Fetch files until there are no more. What stops every file is raised."""
        for plan, file, key in jobs:
            downloaded = False
            with self._failures_kept(plan, key):
                usable = plan.folder not in self._unusable
                downloaded = usable and file is not None and self._land_file(plan, file, key)
            if jobs.done(plan, downloaded=downloaded) and not plan.failures:
                with self._failures_kept(plan, MANIFEST_NAME):
                    plan.landed = self._finish(plan)
                    self.landed += [plan.landed] if plan.landed else []

    @contextmanager
    def _failures_kept(self, plan: _Plan, key: str) -> Iterator[None]:
        """Keep the error of one object for the end: it holds back its own partition alone.

        A folder that cannot be used is no worse, but from the fourth on it is the destination that cannot.
        """
        try:
            yield
        except Closed:
            raise
        except DestinationUnusable as error:
            self._unusable.add(plan.folder)
            if len(self._unusable) > MOST_UNUSABLE:
                raise
            plan.failures[f"{plan.folder}/{key}"] = error
        except CcaError as error:
            plan.failures[f"{plan.folder}/{key}"] = _without_traces(error)

    def _land_file(self, plan: _Plan, file: RemoteFile, name: str) -> bool:
        """Whether it had to be downloaded; a whole file that no manifest names yet is taken as it is."""
        key = f"{plan.folder}/{name}"
        if plan.present.get(name) == file.size and self._holds(key, file.md5):
            self.progress.spare(file.size)
            return False
        self.retry.call(lambda: self._transfer(file, key))
        return True

    def _holds(self, key: str, md5: str) -> bool:
        """Whether an object has this content; one that is gone since it was listed has none."""
        return self.retry.call(lambda: self._content(key)) == md5

    def _content(self, key: str) -> str | None:
        """The MD5 of an object; None when there is none that can be read."""
        try:
            return self.store.md5(key)
        except DestinationUnusable:
            return None

    def _transfer(self, file: RemoteFile, key: str) -> None:
        started = time.monotonic()
        with (
            self.store.writing(key, file.size) as target,
            closing(verified(self.fetch(file), file)) as chunks,
            self.progress.fetching(file) as count,
        ):
            for chunk in chunks:
                target.write(chunk)
                count(len(chunk))
            target.publish()
        log.debug("Landed %s: %d bytes in %.3f s", key, file.size, time.monotonic() - started)

    def _finish(self, plan: _Plan) -> Landed | None:
        record, entries = plan.record, plan.entries()
        written = plan.is_news(entries)
        if written:
            record, entries = self._write_record(plan, entries)
        if record == STRAYS_NAME:
            log.info("%s: %d files, for which nobody asked; no manifest", plan.folder, len(entries))
            return None
        size, key = sum(entry.size for entry in entries), f"{plan.folder}/{MANIFEST_NAME}"
        log.log(
            self._level,
            "%s %s: %d files, %d bytes, %d downloaded",
            plan.scope,
            plan.partition,
            len(entries),
            size,
            plan.downloaded,
        )
        return Landed(plan.scope, plan.partition, key, len(entries), size, plan.downloaded, written)

    def _write_record(self, plan: _Plan, ours: Sequence[LandedFile]) -> tuple[str, tuple[LandedFile, ...]]:
        """Write our entries, and those that another task has put there since we looked; where, and all."""
        with self.store.lock(plan.folder):
            record, entries = self.retry.call(partial(self._merge, plan, ours))
            # Where there are no locks, the partition may have been finished meanwhile.
            if record == STRAYS_NAME and MANIFEST_NAME in self.retry.call(
                lambda: self.store.sizes(plan.folder)
            ):
                record, entries = self.retry.call(partial(self._merge, plan, ours))
        return record, entries

    def _merge(self, plan: _Plan, ours: Sequence[LandedFile]) -> tuple[str, tuple[LandedFile, ...]]:
        """Raises StoreError when another task writes it meanwhile: then it is to be merged again."""
        objects = self.store.objects_below(plan.folder).get(plan.folder, {})
        manifest, present = self._look(plan.folder, {name: one.size for name, one in objects.items()})
        record = MANIFEST_NAME if MANIFEST_NAME in present else plan.record
        strays = {entry.key: entry for entry in self._strays(plan.folder, present)}
        theirs = {entry.key: entry for entry in manifest.files} if manifest else {}
        if record == STRAYS_NAME:
            theirs, strays = strays, {}
        true = {one.key: self._true(plan, one, theirs.get(one.key), present.get(one.key)) for one in ours}
        others = [e for e in theirs.values() if e.key not in true and present.get(e.key) == e.size]
        others += [
            e for e in strays.values() if not {e.key} & {*true, *theirs} and self._is_there(plan, e, present)
        ]
        write = partial(self._replace, plan, record, before=objects.get(record))
        if clashes := [one.key for one in ours if not _same_file(true[one.key], one)]:
            left = [entry for entry in theirs.values() if true.get(entry.key, entry)]
            if len(left) < len(theirs):
                write(left)
            raise StoreError(
                f"another task has put something else at {plan.folder}/{clashes[0]} meanwhile: land this "
                "partition again, in one task",
                most_attempts=1,
            )
        entries = _by_key((*filter(None, true.values()), *others))
        write(entries)
        return record, entries

    def _is_there(self, plan: _Plan, entry: LandedFile, present: Mapping[str, int]) -> bool:
        """Whether a stray is still what was landed: nobody has vouched for it since."""
        return (
            present.get(entry.key) == entry.size and self._content(f"{plan.folder}/{entry.key}") == entry.md5
        )

    def _replace(
        self, plan: _Plan, record: str, entries: Iterable[LandedFile], before: StoredObject | None
    ) -> None:
        content = manifest_of(plan.scope, plan.partition, entries).to_json()
        self.store.replace(f"{plan.folder}/{record}", content, before)

    def _true(
        self, plan: _Plan, ours: LandedFile, theirs: LandedFile | None, size: int | None
    ) -> LandedFile | None:
        """Our entry, or the one of another task that has landed another version of the file at its key since
        we looked: whichever says what the store holds. None when neither does.

        Also theirs when it is of another file of the same name, and None when ours has taken its place:
        neither must claim what the other has written over. The next landing chooses another key.
        """
        news = theirs is not None and theirs != plan.known.get(ours.key) and not _same_content(theirs, ours)
        if not news and (size == ours.size or not self.store.at_once):
            return ours
        content = self._content(f"{plan.folder}/{ours.key}")
        if theirs and content == theirs.md5:
            return theirs
        return ours if content == ours.md5 and _same_file(theirs or ours, ours) else None


def verified(chunks: Generator[bytes], file: RemoteFile) -> Generator[bytes]:
    """The same chunks; raises WrongSize or WrongChecksum unless they are the file that was listed.

    Too long a body is refused at its first byte too many, and its connection is given back at once.
    """
    digest, received = hashlib.md5(usedforsecurity=False), 0
    what = file.name or file.id
    with closing(chunks):
        for chunk in chunks:
            received += len(chunk)
            if received > file.size:
                break
            digest.update(chunk)
            yield chunk
    if received != file.size:
        raise WrongSize(
            f"{what} is listed with {file.size} bytes but came with "
            f"{'more' if received > file.size else received}: nothing of it was stored",
            expected=file.size,
            received=received,
        )
    if digest.hexdigest() != file.md5:
        raise WrongChecksum(
            f"{what} is listed with MD5 {file.md5} but came with {digest.hexdigest()}: "
            "nothing of it was stored",
            expected=file.md5,
            received=digest.hexdigest(),
        )


def _without_traces(error: CcaError) -> CcaError:
    """The error, without what its traces keep alive: a connection, and up to a part of a body."""
    one: BaseException | None = error
    while one:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _log_sums(landed: Sequence[Landed]) -> None:
    files, size, downloaded = (
        sum(getattr(one, fact) for one in landed) for fact in ("files", "bytes", "downloaded")
    )
    log.info("%d partitions: %d files, %d bytes, %d downloaded", len(landed), files, size, downloaded)


def manifest_of(scope: Scope, partition: Partition, entries: Iterable[LandedFile]) -> Manifest:
    """The manifest of a partition, written now."""
    facts = {scope.report.partition_key: str(partition), "site": scope.site, "level": scope.level}
    described = {name: value for name, value in facts.items() if value}
    return Manifest(scope.report.name, described, tuple(entries), iso(datetime.now(UTC)))


def _without(present: Mapping[str, int], keys: Collection[str]) -> Mapping[str, int]:
    return {name: size for name, size in present.items() if name not in keys} if keys else present


def _by_key(entries: Iterable[LandedFile]) -> tuple[LandedFile, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.key))


def _same_file(one: LandedFile | None, other: LandedFile) -> bool:
    return one is not None and (one.id, one.name) == (other.id, other.name)


def _same_content(one: LandedFile, other: LandedFile) -> bool:
    return _same_file(one, other) and (one.size, one.md5) == (other.size, other.md5)


def _entry(file: RemoteFile, key: str) -> LandedFile:
    expires_on = iso(file.expires_on) if file.expires_on else None
    return LandedFile(file.id, file.name, key, file.size, file.md5, iso(file.created_on), expires_on)


def _raise_failures(plans: Sequence[_Plan]) -> None:
    failures = {key: error for plan in plans for key, error in plan.failures.items()}
    if not failures:
        return
    first = next(iter(failures.values()))
    if all(isinstance(error, DestinationUnusable) for error in failures.values()) and not any(
        plan.landed for plan in plans
    ):
        raise first
    manifests = sum(key.endswith(f"/{MANIFEST_NAME}") for key in failures)
    wanted = sum(len(plan.wanted) for plan in plans) + manifests
    shown = "; ".join(f"{key}: {error}" for key, error in list(failures.items())[:3])
    raise PartlyLanded(
        f"{len(failures)} of {wanted} files could not be landed"
        f"{', the others were' if len(failures) < wanted else ''}. {shown}"
        + (f"; and {len(failures) - 3} more" if len(failures) > 3 else ""),
        failures={key: error.as_dict() for key, error in failures.items()},
        retryable=any(error.retryable for error in failures.values()),
    ) from first
