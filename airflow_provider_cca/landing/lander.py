"""Chunks in, verified objects at their keys, manifest last. Plain Python: no Airflow, no HTTP.

A partition is landed in four steps: see what is there, fetch what is missing or different, leave the
rest alone, and write the manifest when all of it is whole. Whatever dies in between, what is visible
under a key is whole, and the next landing takes up from there.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from functools import partial
from itertools import repeat

from airflow_provider_cca.core.checksum import verified
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    PartlyLanded,
    StoreError,
)
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import assign_keys, folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile
from airflow_provider_cca.landing.manifest_store import Records
from airflow_provider_cca.landing.plan import Jobs, Plan
from airflow_provider_cca.landing.progress import Progress
from airflow_provider_cca.store.object_meta import StoredObject
from airflow_provider_cca.store.object_store import Store

log = logging.getLogger(__name__)

Fetch = Callable[[RemoteFile], Generator[bytes]]

Files = Mapping[tuple[Scope, Partition], Sequence[RemoteFile]]

Sizes = Mapping[str, Mapping[str, int]]

MANY = 8
"""From so many partitions of a scope on, one listing of all its folders takes the place of one for each."""

MANY_TO_LOG = 20
"""More partitions than these are not logged one by one, unless at DEBUG."""

MOST_UNUSABLE = 3
"""Folders that may be unusable, one by one, before the destination as a whole counts as such; and so many may
fail to be looked at before the store counts as down."""


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
        self.records = Records(store, retry)
        self.progress = progress or Progress()
        self.landed: list[Landed] = []
        """The partitions that are whole by now, in any order, also when others fail."""
        self._level = logging.INFO
        self._changed: Mapping[str, Set[str]] = {}
        self._whole = True
        self._unusable: set[str] = set()
        self._unseen: set[str] = set()

    def land(
        self,
        partitions: Files,
        changed: Mapping[str, Set[str]] | None = None,
        *,
        whole: bool = True,
    ) -> list[Landed]:
        """Land the files of each partition; its manifest is written as soon as the last of them is there.

        :param changed: By folder, the keys of objects that are known to be no longer what was landed.
        :param whole: Whether the files of each partition are all that are listed of it. What a part does not
            have stays in the manifest, even if it is gone from the store.

        Raises PartlyLanded when files failed: all the others have landed, and a partition with a failed
        file has no new manifest.
        """
        self._changed, self._whole = changed or {}, whole
        if len(partitions) > MANY_TO_LOG:
            self._level = logging.DEBUG
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="cca-landing")
        listed = self._listed(partitions)
        jobs = Jobs(())
        try:
            plans = list(pool.map(self._plan, partitions.items(), repeat(listed)))
            self.landed += [plan.landed for plan in plans if plan.landed]
            todo = [plan for plan in plans if not plan.landed]
            for plan in todo:
                self.progress.expect(len(plan.missing), sum(file.size for file, _ in plan.missing))
            jobs = Jobs(todo)
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
        except (DestinationUnusable, StoreError) as error:
            log.warning("%s: its folders are listed one by one, as %s", scope, error)
            return None

    def _plan(
        self,
        place: tuple[tuple[Scope, Partition], Sequence[RemoteFile]],
        listed: Mapping[Scope, Sizes],
    ) -> Plan:
        (scope, partition), files = place
        folder = folder_of(scope, partition)
        plan = Plan(scope, partition, folder, self._whole, None, {}, [])
        with self._failures_kept(plan, MANIFEST_NAME, self._unseen):
            known = listed[scope].get(folder, {}) if scope in listed else None
            plan.before, plan.present = self.records.look(folder, known)
            self.store.sweep(folder, plan.present)
            plan.present = _without(plan.present, self._changed.get(folder, ()))
            plan.wanted = assign_keys(files, plan.before.files if plan.before else ())
            if plan.before and plan.is_settled:
                plan.landed = self._landed(plan, plan.before.files)
            elif plan.before:
                plan.present = _without(plan.present, self.records.overwritten(plan, plan.before))
        return plan

    def _work(self, jobs: Jobs) -> None:
        """Fetch files until there are no more. What stops every file is raised."""
        for plan, file, key in jobs:
            downloaded = False
            with self._failures_kept(plan, key):
                usable = plan.folder not in self._unusable
                downloaded = usable and file is not None and self._land_file(plan, file, key)
            if jobs.done(plan, downloaded=downloaded) and not plan.failures:
                with self._failures_kept(plan, MANIFEST_NAME):
                    plan.landed = self._finish(plan)
                    self.landed.append(plan.landed)

    @contextmanager
    def _failures_kept(self, plan: Plan, key: str, unseen: set[str] | None = None) -> Iterator[None]:
        """Keep the error of one object for the end: it holds back its own partition alone.

        A folder that cannot be used is no worse, but from the fourth on it is the destination that cannot.

        :param unseen: While folders are looked at, those where the store failed: the fourth raises as well.
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
            if unseen is not None and isinstance(error, StoreError):
                unseen.add(plan.folder)
                if len(unseen) > MOST_UNUSABLE:
                    raise
            plan.failures[f"{plan.folder}/{key}"] = _without_traces(error)

    def _land_file(self, plan: Plan, file: RemoteFile, name: str) -> bool:
        """Whether it had to be downloaded; a whole file that no manifest names yet is taken as it is."""
        key, now = f"{plan.folder}/{name}", time.time()
        if plan.present.get(name) == file.size and self.records.holds(key, file.md5):
            plan.seen[name] = StoredObject(file.size, now)
            self.progress.spare(file.size)
            return False
        plan.seen[name] = self.retry.call(lambda: self._transfer(file, key))
        return True

    def _transfer(self, file: RemoteFile, key: str) -> StoredObject:
        started = time.monotonic()
        with (
            self.store.writing(key, file.size) as target,
            closing(verified(self.fetch(file), file)) as chunks,
            self.progress.fetching(file) as count,
        ):
            for chunk in chunks:
                target.write(chunk)
                count(len(chunk))
            published = target.publish()
        log.debug("Landed %s: %d bytes in %.3f s", key, file.size, time.monotonic() - started)
        return published

    def _finish(self, plan: Plan) -> Landed:
        entries = plan.entries()
        written = plan.is_news(entries)
        if written:
            entries = self.records.write(plan, entries)
        return self._landed(plan, entries, written=written)

    def _landed(self, plan: Plan, entries: Sequence[LandedFile], *, written: bool = False) -> Landed:
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


def _without(present: Mapping[str, int], keys: Collection[str]) -> Mapping[str, int]:
    return {name: size for name, size in present.items() if name not in keys} if keys else present


def _raise_failures(plans: Sequence[Plan]) -> None:
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
