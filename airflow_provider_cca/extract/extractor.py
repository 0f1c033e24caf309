"""Extract landed zips to one gzip-compressed object a member, by the transaction of a landing.

In the manifest a member's `id` is `{id of the zip}/{MD5 of the zip}/{position in the zip}`, which tells what
has been extracted already: such a zip is not opened again. No Airflow, no HTTP.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from airflow_provider_cca.core.checksum import md5_and_size
from airflow_provider_cca.core.failures import first_of, partly_landed
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    NotLanded,
    WrongChecksum,
)
from airflow_provider_cca.extract.zip_reader import Archive, Limits, Member, gzipped
from airflow_provider_cca.landing.commit import Job, Transaction, Wanted
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore
from airflow_provider_cca.reports import REPORTS
from airflow_provider_cca.store.object_store import READ_BYTES, Store
from airflow_provider_cca.store.refusals import is_absent

log = logging.getLogger(__name__)

ZIPS = REPORTS["cdr_compressed"]
EXTRACTED = "cdr_csv"
"""What the manifest calls its report, and the folder below the destination."""

WORKERS = 4
"""Members at a time: packing is work for a core, and a small object costs its store's answer time."""


@dataclass(frozen=True)
class Extracted:
    """What there is of one partition.

    :param manifest: Key of the manifest, relative to the destination.
    :param members: Objects that the manifest names.
    :param bytes: Their bytes, compressed.
    :param written: How many of them were made this time.
    """

    partition: Partition
    manifest: str
    members: int
    bytes: int
    written: int


class Members:
    """The members of the zips that have landed in one folder: a source for a transaction.

    :param zips: The manifests of the store where the zips landed.
    :param opened: Closes the zips that were opened.
    """

    is_complete = True
    suffix = ".gz"

    def __init__(
        self,
        zips: ManifestStore,
        partition: Partition,
        limits: Limits,
        opened: ExitStack,
        failures: dict[str, CcaError],
    ) -> None:
        self.zips, self.partition, self.limits = zips, partition, limits
        self._path = folder_of(Scope(ZIPS), partition)
        self._opened, self._failures = opened, failures
        self._ids: dict[str, str] = {}
        """By key of the zip, which stood in the place of its id in manifests of earlier versions."""

    def list_files(self, folder: Folder, is_intact: Callable[[LandedFile], bool]) -> list[Wanted]:
        """List the members of all zips, oldest first. One that cannot be read is set aside as a failure."""
        self._opened.close()
        made = defaultdict(list)
        for entry in folder.manifest.files if folder.manifest else ():
            made[entry.id.rpartition("/")[0]].append(entry)
        found: list[Wanted] = []
        for zip_ in self._landed():
            entries = made[f"{zip_.id}/{zip_.md5}"]
            # The manifest was written when all of them were there.
            if entries and all(map(is_intact, entries)):
                found += [self._wanted(zip_, entry.id, entry.name, None) for entry in entries]
                continue
            with _set_aside(self._failures, f"{folder.path}: {zip_.key}"):
                archive = self._open(zip_)
                for member in archive.members:
                    id_ = f"{zip_.id}/{zip_.md5}/{member.position}"
                    found.append(self._wanted(zip_, id_, member.name, (archive, member)))
        return found

    def identify(self, entry: LandedFile) -> tuple[str, str]:
        """Return the id of the zip, and what stands for the content of the member."""
        zip_ = entry.id.rsplit("/", 2)[0]
        return self._ids.get(zip_, zip_), _mark(entry.id)

    def chunks(self, wanted: Wanted) -> Generator[bytes]:
        archive, member = wanted.item
        for chunk in gzipped(archive.chunks(member)):
            if self.zips.retry.closed.is_set():
                raise Closed("the task was killed while it extracted")
            yield chunk

    @staticmethod
    def _wanted(zip_: LandedFile, id_: str, name: str, item: tuple[Archive, Member] | None) -> Wanted:
        return Wanted(zip_.id, id_, name, _mark(id_), None, None, zip_.created_on, None, item)

    def _landed(self) -> Sequence[LandedFile]:
        """The zips that the manifest names; raises NotLanded unless all are there."""
        place, again = self.zips.store.path(self._path), f"land {ZIPS.name} of {self.partition}"
        folder = self.zips.read(self._path)
        if folder.manifest is None:
            damaged = folder.meta is not None
            raise NotLanded(
                f"the {MANIFEST_NAME} of {place} is damaged: {again} again"
                if damaged
                else f"{place} has no {MANIFEST_NAME}: {again} first"
            )
        self._ids = {one.key: one.id for one in folder.manifest.superseded}
        self._ids |= {one.key: one.id for one in folder.manifest.files}
        for file in folder.manifest.files:
            found = folder.objects.get(file.key)
            if found is None or found.size != file.size:
                has = f"has {found.size}" if found else "is gone"
                raise NotLanded(f"{place}/{file.key} should have {file.size} bytes and {has}: {again} again")
        return sorted(folder.manifest.files, key=lambda file: (file.created_on or "", file.key))

    def _open(self, zip_: LandedFile) -> Archive:
        key = f"{self._path}/{zip_.key}"
        try:
            file = self.zips.retry.call(lambda: self._opened.enter_context(self.zips.store.reading(key)))
        except DestinationUnusable as error:
            if not is_absent(error.__cause__):
                raise
            raise NotLanded(
                f"{self.zips.store.path(key)} is gone since its {MANIFEST_NAME} was read: the partition has "
                "landed again meanwhile, extract it again"
            ) from error
        # The same open file is verified and extracted: nobody can exchange it in between.
        received, _ = md5_and_size(iter(lambda: file.read(READ_BYTES), b""))
        if received != zip_.md5:
            raise WrongChecksum(
                f"{self.zips.store.path(key)} landed with MD5 {zip_.md5} but now has {received}: nothing of "
                "it was extracted; remove it and land the partition again",
                expected=zip_.md5,
                received=received,
            )
        return Archive(file, zip_.key, self.limits)


def _mark(id_: str) -> str:
    """Hex digits that tell a member's content, from the MD5 of its zip and its place there."""
    return hashlib.md5(id_.split("/", id_.count("/") - 1)[-1].encode(), usedforsecurity=False).hexdigest()


class Extractor:
    """Extracts partitions of `cdr_compressed` from one place into `cdr_csv` of another, or of the same.

    :param target: Where `cdr_csv/creation_date=…` goes.
    :param retry: How often, when a store fails; its `closed` ends the work.
    """

    def __init__(
        self, target: Store, limits: Limits, retry: Retry, written_by: Mapping[str, object] | None = None
    ) -> None:
        self.target, self.limits, self.retry = ManifestStore(target, retry), limits, retry
        self.written_by = written_by

    def extract(self, partitions: Iterable[tuple[Store, Partition]]) -> list[Extracted]:
        """Extract each partition, given with the store where it landed, and commit its manifest.

        A zip that fails does not hold back the others. Raises its own error when it is the only one, else
        PartlyLanded; a partition with a failed zip is as it was.
        """
        failures: dict[str, CcaError] = {}
        done = []
        for source, partition in partitions:
            with _set_aside(failures, f"{ZIPS.partition_key}={partition}"):
                done += self._partition(source, partition, failures)
        _raise_failures(failures)
        return done

    def _partition(
        self, source: Store, partition: Partition, failures: dict[str, CcaError]
    ) -> list[Extracted]:
        """What was extracted; nothing when a zip failed."""
        path, failed = f"{EXTRACTED}/{ZIPS.partition_key}={partition}", len(failures)
        with ExitStack() as opened:
            members = Members(ManifestStore(source, self.retry), partition, self.limits, opened, failures)
            transaction = Transaction(
                self.target, path, {ZIPS.partition_key: str(partition)}, members, self.written_by
            )
            manifest = None
            while manifest is None:
                folder = self.target.read(path)
                self._place_all(transaction, transaction.begin(folder), path, failures)
                if len(failures) > failed:
                    return []
                manifest = transaction.commit()
        size, count = manifest.total_bytes, len(manifest.files)
        log.info(
            "%s %s: %d members, %d bytes, %d written", EXTRACTED, partition, count, size, transaction.fetched
        )
        return [Extracted(partition, f"{path}/{MANIFEST_NAME}", count, size, transaction.fetched)]

    def _place_all(
        self, transaction: Transaction, jobs: Sequence[Job], path: str, failures: dict[str, CcaError]
    ) -> None:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="cca-extracting") as pool:
            try:
                placed = [(job, pool.submit(transaction.place, job)) for job in jobs]
                for job, future in placed:
                    with _set_aside(failures, f"{path}: {job.file.name}"):
                        future.result()
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, CcaError):
                    self.retry.closed.set()  # else a member of gigabytes would hold up whoever ends this
                raise


@contextmanager
def _set_aside(failures: dict[str, CcaError], what: str) -> Iterator[None]:
    """Keep an error for the end; what would stop every zip is raised at once."""
    try:
        yield
    except (DestinationUnusable, Closed):
        raise
    except CcaError as error:
        failures[what] = error


def _raise_failures(failures: Mapping[str, CcaError]) -> None:
    errors = list(failures.values())
    if len(errors) == 1:
        raise errors[0]
    if errors:
        shown = first_of(map(str, errors))
        raise partly_landed(
            f"{len(errors)} zips or members could not be extracted, all others were. {shown}", failures
        ) from errors[0]
