"""Land the files of many partitions side by side, each by one transaction. No Airflow, no HTTP."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_cca.core.checksum import verified
from airflow_provider_cca.core.failures import first_of, partly_landed
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Place, Scope
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    StoreError,
    TransientError,
)
from airflow_provider_cca.landing.commit import Job, Transaction, Wanted
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore
from airflow_provider_cca.landing.progress import Progress
from airflow_provider_cca.store.object_meta import ObjectMeta

log = logging.getLogger(__name__)

Fetch = Callable[[RemoteFile], Generator[bytes]]
ListAgain = Callable[[Scope, Partition], Sequence[RemoteFile]]

MANY = 8
"""From so many partitions of a scope on, one listing of all its folders takes the place of one for each."""

MANY_TO_LOG = 20
"""More partitions than these are not logged one by one, unless at DEBUG."""

MAX_UNUSABLE = 3
"""Folders that may be unusable, one by one, before the destination as a whole counts as such; and so many may
fail to be looked at before the store counts as down."""


GIVE_UP_SECONDS = 120.0
"""How long all downloads from a host may fail before the rest of its files is given up for this time."""


class ServerFiles:
    """The files of one partition at the server: a source for a transaction.

    :param list_again: Lists the partition; None when the files were given, and are what they are.
    """

    suffix = ""

    def __init__(
        self,
        place: Place,
        files: Sequence[RemoteFile],
        list_again: ListAgain | None,
        fetch: Fetch,
        progress: Progress,
    ) -> None:
        self.place, self.files, self.list_again = place, files, list_again
        self.is_complete = list_again is not None
        self._fetch, self._progress = fetch, progress

    def list_files(self, folder: Folder, is_intact: Callable[[LandedFile], bool]) -> list[Wanted]:
        if self.list_again:
            self.files = self.list_again(*self.place)
        return self.listed()

    def listed(self) -> list[Wanted]:
        """The files, as they were listed last."""
        return [self._wanted(file) for file in self.files]

    def identify(self, entry: LandedFile) -> tuple[str, str]:
        return self._origin(entry), entry.md5

    def _origin(self, file: RemoteFile | LandedFile) -> str:
        """The id; in a part also the name, as the file that shares an id with it may be in another part."""
        return file.id if self.is_complete else f"{file.id}/{file.name}"

    def _wanted(self, file: RemoteFile) -> Wanted:
        created_on, expires_on = (iso(one) if one else None for one in (file.created_on, file.expires_on))
        return Wanted(
            *(self._origin(file), file.id, file.name, file.md5, file.size, file.md5),
            *(created_on, expires_on, file),
        )

    def chunks(self, wanted: Wanted) -> Generator[bytes]:
        file: RemoteFile = wanted.item
        with closing(verified(self._fetch(file), file)) as chunks, self._progress.fetching(file) as count:
            for chunk in chunks:
                yield chunk
                count(len(chunk))


def _host(file: RemoteFile) -> str:
    try:
        return urlsplit(file.link).netloc
    except ValueError:
        return ""


@dataclass
class _Partition:
    """One partition on its way, and what became of it."""

    place: Place
    path: str
    wanted: int
    transaction: Transaction | None = None
    jobs: list[Job] = field(default_factory=list)
    left: int = 0
    failures: dict[str, CcaError] = field(default_factory=dict)
    landed: Landed | None = None


class Lander:
    """Lands files into one destination.

    :param fetch: Gives the body of a file; called again when the body was broken or wrong.
    :param workers: How many files at a time.
    :param progress: Counts what is fetched, and says now and then how far it is.
    :param written_by: What manifests say of who wrote them.
    """

    def __init__(
        self,
        manifests: ManifestStore,
        fetch: Fetch,
        workers: int,
        progress: Progress | None = None,
        written_by: Mapping[str, Any] | None = None,
    ) -> None:
        self.manifests, self.fetch, self.workers, self.written_by = manifests, fetch, workers, written_by
        self.progress = progress or Progress()
        self.landed: list[Landed] = []
        """The partitions that have landed by now, in any order, also when others fail."""
        self.failed: dict[str, CcaError] = {}
        """The errors of files that could not be had, by id."""
        self._lock = Lock()
        self._unusable: set[str] = set()
        self._unseen: set[str] = set()
        self._failing: dict[str, tuple[float, CcaError]] = {}
        """Host -> since when all its downloads have failed, and how."""

    def look(self, places: Collection[Place]) -> dict[Place, Folder | CcaError]:
        """Look at the folders of partitions. It comes before the server lists them (docs/protocol.md).

        Raises when too many folders cannot be used, or the store is down.
        """
        listed = self._listed(places)

        def look(place: Place) -> Folder | CcaError:
            path = folder_of(*place)
            known = listed[place[0]].get(path, {}) if place[0] in listed else None
            failures: dict[str, CcaError] = {}
            with self._kept(path, MANIFEST_NAME, failures, self._unseen):
                return self.manifests.read(path, known)
            return next(iter(failures.values()))

        with _pool(self.workers) as pool:
            return dict(zip(places, pool.map(look, places), strict=True))

    def _listed(self, places: Collection[Place]) -> dict[Scope, dict[str, dict[str, ObjectMeta]]]:
        """What lies below each scope of which many partitions are landed, by one listing for all."""
        listed: dict[Scope, dict[str, dict[str, ObjectMeta]]] = {}
        for scope, number in Counter(scope for scope, _ in places).items():
            if number < MANY:
                continue
            try:
                listed[scope] = self.manifests.retry.call(
                    partial(self.manifests.store.list_below, folder_of(scope))
                )
            except (DestinationUnusable, StoreError) as error:
                log.warning("%s: its folders are listed one by one, as %s", scope, error)
        return listed

    def land(
        self,
        partitions: Mapping[Place, Sequence[RemoteFile]],
        list_again: ListAgain | None,
        folders: Mapping[Place, Folder | CcaError] | None = None,
    ) -> list[Landed]:
        """Land the files of each partition; its manifest is committed as soon as the last of them is there.

        Raises PartlyLanded when files failed: all others have landed, and a partition with a failed file is
        as it was.

        :param list_again: Lists one partition, after a conflict with another task. None when the files are a
            part of what the server lists: then what the manifest names besides stays named.
        :param folders: What `look` found before these were listed.
        """
        folders = folders or self.look(partitions)
        work = [_Partition(place, folder_of(*place), len(files)) for place, files in partitions.items()]
        with _pool(self.workers) as pool:
            begin = partial(self._begin, partitions, list_again, folders)
            jobs = _Jobs([*pool.map(begin, work)])
            try:
                for worker in as_completed([pool.submit(self._work, jobs) for _ in range(self.workers)]):
                    worker.result()
            except BaseException:
                jobs.stop()
                raise
        _log(self.landed)
        _raise_failures(work)
        return [one.landed for one in work if one.landed]

    def _begin(
        self,
        partitions: Mapping[Place, Sequence[RemoteFile]],
        list_again: ListAgain | None,
        folders: Mapping[Place, Folder | CcaError],
        one: _Partition,
    ) -> _Partition:
        folder = folders[one.place]
        if isinstance(folder, CcaError):
            one.failures[f"{one.path}/{MANIFEST_NAME}"] = folder
            return one
        scope, partition = one.place
        source = ServerFiles(one.place, partitions[one.place], list_again, self.fetch, self.progress)
        described = {scope.report.partition_key: str(partition), "site": scope.site, "level": scope.level}
        transaction = Transaction(
            self.manifests,
            one.path,
            {name: value for name, value in described.items() if value},
            source,
            self.written_by,
        )
        with self._kept(one.path, MANIFEST_NAME, one.failures, self._unseen):
            jobs = transaction.begin(folder, source.listed())
            self.progress.expect(len(jobs), sum(job.file.size or 0 for job in jobs))
            if jobs:
                one.transaction, one.jobs, one.left = transaction, jobs, len(jobs)
            else:
                self._finish(one, transaction)
        return one

    def _work(self, jobs: _Jobs) -> None:
        """Place files until there are no more. What stops every file is raised."""
        for one, job in jobs:
            transaction = one.transaction
            if transaction is None:
                continue
            with self._kept(one.path, job.file.name or job.file.id, one.failures):
                self._place(one, job, transaction)
            if jobs.done(one) and not one.failures:
                with self._kept(one.path, MANIFEST_NAME, one.failures):
                    self._finish(one, transaction)

    def _place(self, one: _Partition, job: Job, transaction: Transaction) -> None:
        if one.path in self._unusable:
            return
        host, started = _host(job.file.item), monotonic()
        try:
            failing_since, failure = self._failing.get(host, (started, None))
            if failure and started - failing_since > GIVE_UP_SECONDS:
                raise failure
            if transaction.place(job):
                self._failing.pop(host, None)
            else:
                self.progress.spare(job.file.size or 0)
        except CcaError as error:
            if isinstance(error, TransientError) and not isinstance(error, StoreError):
                self._failing.setdefault(host, (started, error))
            self.failed |= {wanted.id: error for wanted in job.files}
            raise

    def _finish(self, one: _Partition, transaction: Transaction) -> None:
        one.landed = transaction.landed(one.place, transaction.commit() or transaction.run())
        # Else the plans of a year of many sites would be held to the end.
        one.transaction, one.jobs = None, []
        with self._lock:
            self.landed.append(one.landed)

    @contextmanager
    def _kept(
        self, path: str, name: str, failures: dict[str, CcaError], unseen: set[str] | None = None
    ) -> Iterator[None]:
        """Keep the error of one object for the end: it holds back its own partition alone.

        A folder that cannot be used is no worse, but from the fourth on it is the destination that cannot.

        :param unseen: While folders are looked at, those where the store failed: the fourth raises as well.
        """
        try:
            yield
        except Closed:
            raise
        except DestinationUnusable as error:
            self._unusable.add(path)
            if len(self._unusable) > MAX_UNUSABLE:
                raise
            failures[f"{path}/{name}"] = error
        except CcaError as error:
            if unseen is not None and isinstance(error, StoreError):
                unseen.add(path)
                if len(unseen) > MAX_UNUSABLE:
                    raise
            failures[f"{path}/{name}"] = _without_traces(error)


class _Jobs:
    """The jobs of all partitions, given out to one worker at a time."""

    def __init__(self, partitions: Sequence[_Partition]) -> None:
        self._lock = Lock()
        self._given_out = ((one, job) for one in partitions for job in one.jobs)

    def __iter__(self) -> Iterator[tuple[_Partition, Job]]:
        return self

    def __next__(self) -> tuple[_Partition, Job]:
        with self._lock:
            return next(self._given_out)

    def done(self, one: _Partition) -> bool:
        """Count a job of a partition; whether it was the last one."""
        with self._lock:
            one.left -= 1
            return not one.left

    def stop(self) -> None:
        """Give out no more."""
        with self._lock:
            self._given_out.close()


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that nobody waits for when the block fails, as when the task is killed."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="cca-landing")
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _without_traces(error: CcaError) -> CcaError:
    """The error, without what its traces keep alive: a connection, and up to a part of a body."""
    one: BaseException | None = error
    while one:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _log(landed: Sequence[Landed]) -> None:
    level = logging.DEBUG if len(landed) > MANY_TO_LOG else logging.INFO
    for one in landed:
        log.log(
            level,
            "%s %s: %d files, %d bytes, %d downloaded",
            *(one.scope, one.partition, one.files, one.bytes, one.downloaded),
        )
    if len(landed) > MANY_TO_LOG:
        sums = (sum(getattr(one, fact) for one in landed) for fact in ("files", "bytes", "downloaded"))
        log.info("%d partitions: %d files, %d bytes, %d downloaded", len(landed), *sums)


def _raise_failures(work: Sequence[_Partition]) -> None:
    failures = {key: error for one in work for key, error in one.failures.items()}
    if not failures:
        return
    first = next(iter(failures.values()))
    if all(isinstance(error, DestinationUnusable) for error in failures.values()) and not any(
        one.landed for one in work
    ):
        raise first
    # Without its manifest no file of a partition has landed.
    failed = sum(max(1, one.wanted) if _has_no_manifest(one) else len(one.failures) for one in work)
    wanted = sum(max(1, one.wanted) if _has_no_manifest(one) else one.wanted for one in work)
    others = ", the others were" if failed < wanted else ""
    shown = first_of(f"{key}: {error}" for key, error in failures.items())
    raise partly_landed(
        f"{failed} of {wanted} files could not be landed{others}. {shown}", failures
    ) from first


def _has_no_manifest(one: _Partition) -> bool:
    return f"{one.path}/{MANIFEST_NAME}" in one.failures
