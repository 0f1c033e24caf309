"""From landed zips to one gzip-compressed object a member, manifest last. Plain Python: no Airflow, no HTTP.

A partition is unpacked as it is landed: see what is there, make what is missing or has changed, leave the
rest alone, and write the manifest when all of it is whole. In the manifest a member's `id` is
`{key of the zip}/{MD5 of the zip}/{position in the zip}`, which tells what has been unpacked already.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import IO

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    NotLanded,
    PartlyLanded,
    WrongChecksum,
)
from airflow_provider_cca.extract.zip_reader import Archive, Limits, Member, gzipped
from airflow_provider_cca.landing.layout import assign_keys, folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile, Manifest
from airflow_provider_cca.landing.manifest_store import manifest_in
from airflow_provider_cca.reports import REPORTS
from airflow_provider_cca.store.object_store import READ_BYTES, Store

log = logging.getLogger(__name__)

ZIPS = REPORTS["cdr_compressed"]
UNPACKED = "cdr_csv"
"""What the manifest calls its report, and the folder below the destination."""

SUFFIX = ".gz"
WORKERS = 4
"""Members at a time: packing is work for a core, and a small object costs its store's answer time."""


@dataclass(frozen=True)
class Unpacked:
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


@dataclass(frozen=True)
class _Named:
    """A member as `assign_keys` sees it: its namesake in a newer version of the zip is its successor."""

    id: str
    name: str
    md5: str
    created_on: str | None
    member: Member


@dataclass(frozen=True)
class _Folder:
    """A partition below the destination, as it was found."""

    partition: Partition
    manifest: Manifest | None
    present: Mapping[str, int]

    @property
    def key(self) -> str:
        return _folder(self.partition)

    def entries(self) -> list[LandedFile]:
        return list(self.manifest.files) if self.manifest else []

    def whole(self, zip_: LandedFile) -> list[LandedFile]:
        """The members of this very zip that are there in full."""
        return [
            entry
            for entry in self.entries()
            if _origin(entry)[:2] == (zip_.key, zip_.md5) and self.present.get(entry.key) == entry.size
        ]

    def has_all(self, zip_: LandedFile) -> bool:
        """Whether nothing is to be done for this zip: the manifest was written when all of it was there."""
        named = [entry for entry in self.entries() if _origin(entry)[:2] == (zip_.key, zip_.md5)]
        return bool(named) and len(named) == len(self.whole(zip_))


class Unpacking:
    """Unpacks partitions of `cdr_compressed` from one place into `cdr_csv` of another, or of the same.

    :param target: Where `cdr_csv/creation_date=…` goes.
    :param retry: How often, when a store fails; its `closed` ends the work.
    """

    def __init__(self, target: Store, limits: Limits, retry: Retry) -> None:
        self.target, self.limits, self.retry = target, limits, retry

    def unpack(self, partitions: Iterable[tuple[Store, Partition]]) -> list[Unpacked]:
        """Unpack each partition, given with the store where it landed, and write its manifest.

        A zip that fails does not hold back the others. Raises its own error when it is the only one, else
        PartlyLanded; a partition with a failed zip has no new manifest.
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
    ) -> list[Unpacked]:
        """What was unpacked; nothing when a zip failed."""
        zips = self._landed(source, partition)
        before = self._look(partition)
        self.target.sweep(before.key, before.present)
        entries: list[LandedFile] = []
        failed = len(failures)
        written = 0
        held_back = self._check(source, before, zips, failures)
        for zip_ in zips:
            if zip_.key in held_back:
                continue
            with _set_aside(failures, f"{before.key}: {zip_.key}"):
                made = before.whole(zip_)
                if not before.has_all(zip_):
                    kept, made = len(made), self._zip(source, zip_, before, entries)
                    written += len(made) - kept
                entries += made
        if len(failures) > failed:
            return []
        files = self._publish(partition, zips, entries)
        size = sum(entry.size for entry in files)
        log.info("%s %s: %d members, %d bytes, %d written", UNPACKED, partition, len(files), size, written)
        return [Unpacked(partition, f"{before.key}/{MANIFEST_NAME}", len(files), size, written)]

    def _landed(self, source: Store, partition: Partition) -> list[LandedFile]:
        """The zips that the source's manifest names, oldest first; raises NotLanded unless all are there."""
        folder = folder_of(Scope(ZIPS), partition)
        place = source.path(folder)
        present = self.retry.call(lambda: source.sizes(folder))
        if MANIFEST_NAME not in present:
            raise NotLanded(f"{place} has no {MANIFEST_NAME}: land {ZIPS.name} of {partition} first")
        body = self.retry.call(lambda: source.read(f"{folder}/{MANIFEST_NAME}"))
        try:
            manifest = manifest_in(folder, body)
        except ValueError as error:
            raise NotLanded(
                f"the manifest of {place} is damaged ({error}): land {ZIPS.name} of {partition} again"
            ) from error
        for file in manifest.files:
            if present.get(file.key) != file.size:
                raise NotLanded(
                    f"{place}/{file.key} should have {file.size} bytes and "
                    f"{'has ' + str(present[file.key]) if file.key in present else 'is gone'}: "
                    f"land {ZIPS.name} of {partition} again"
                )
        return sorted(manifest.files, key=lambda file: (file.created_on or "", file.key))

    def _look(self, partition: Partition) -> _Folder:
        folder = _folder(partition)
        present = self.retry.call(lambda: self.target.sizes(folder))
        manifest = None
        if MANIFEST_NAME in present:
            body = self.retry.call(lambda: self.target.read(f"{folder}/{MANIFEST_NAME}"))
            try:
                manifest = Manifest.from_json(body)
            except ValueError as error:
                log.warning("The manifest of %s is damaged and will be written anew: %s", folder, error)
        return _Folder(partition, manifest, present)

    def _zip(
        self, source: Store, zip_: LandedFile, before: _Folder, others: Sequence[LandedFile]
    ) -> list[LandedFile]:
        """All members of a zip, those made that are not there yet.

        :param others: What this run has of other zips already, so that no key is given twice.
        """
        with self._opened(source, zip_, before.partition) as archive:
            there = {entry.id: entry for entry in before.whole(zip_)}
            keyed = _keyed(archive, zip_, [*before.entries(), *others])
            missing = [(m, name) for m, name in keyed if _id(zip_, m) not in there]
            made = self._write_all(archive, zip_, before.key, missing)
        return [*there.values(), *made]

    @contextmanager
    def _opened(self, source: Store, zip_: LandedFile, partition: Partition) -> Iterator[Archive]:
        key = f"{folder_of(Scope(ZIPS), partition)}/{zip_.key}"
        with ExitStack() as stack:
            file = self.retry.call(lambda: stack.enter_context(source.reading(key)))
            # The same open file is verified and unpacked: nobody can exchange it in between.
            received = _md5(file)
            if received != zip_.md5:
                raise WrongChecksum(
                    f"{source.path(key)} landed with MD5 {zip_.md5} but now has {received}: nothing of "
                    "it was unpacked; remove it and land the partition again",
                    expected=zip_.md5,
                    received=received,
                )
            yield Archive(file, zip_.key, self.limits)

    def _check(
        self, source: Store, before: _Folder, zips: Sequence[LandedFile], failures: dict[str, CcaError]
    ) -> Set[str]:
        """Keys of revised zips that may not take the place of their older versions yet, as a zip is damaged.

        The manifest that is there still names these, and gets no successor as long as one zip fails.
        """
        todo = [zip_ for zip_ in zips if not before.has_all(zip_)]
        unpacked = {key: md5 for key, md5, _ in map(_origin, before.entries())}
        revised = {zip_.key for zip_ in todo if unpacked.get(zip_.key, zip_.md5) != zip_.md5}
        if not revised:
            return revised
        failed = len(failures)
        for zip_ in todo:
            with (
                _set_aside(failures, f"{before.key}: {zip_.key}"),
                self._opened(source, zip_, before.partition) as archive,
            ):
                for member in archive.members:
                    with closing(archive.chunks(member)) as chunks:
                        for _ in chunks:
                            self._go_on()
        return revised if len(failures) > failed else set()

    def _go_on(self) -> None:
        if self.retry.closed.is_set():
            raise Closed("the task was killed while it unpacked")

    def _write_all(
        self, archive: Archive, zip_: LandedFile, folder: str, members: Sequence[tuple[Member, str]]
    ) -> list[LandedFile]:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="cca-unpacking") as pool:
            try:
                write = partial(self._write, archive, zip_, folder)
                futures = [pool.submit(self.retry.call, partial(write, *each)) for each in members]
                return [future.result() for future in futures]
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, CcaError):
                    self.retry.closed.set()  # else a member of gigabytes would hold up whoever ends this
                raise

    def _write(self, archive: Archive, zip_: LandedFile, folder: str, member: Member, key: str) -> LandedFile:
        digest, size = hashlib.md5(usedforsecurity=False), 0
        with (
            self.target.writing(f"{folder}/{key}", member.size) as target,
            closing(archive.chunks(member)) as chunks,
        ):
            for chunk in gzipped(chunks):
                self._go_on()
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
            # All chunks have come, so the member's CRC is right.
            target.publish()
        return LandedFile(
            _id(zip_, member), member.name, key, size, digest.hexdigest(), zip_.created_on, None
        )

    def _publish(
        self, partition: Partition, zips: Sequence[LandedFile], ours: Sequence[LandedFile]
    ) -> tuple[LandedFile, ...]:
        """Write our entries, and those of zips that the source no longer names, or names since we looked."""
        with self.target.lock(_folder(partition)):
            now = self._look(partition)
            taken = {entry.key for entry in ours}
            # A zip of which something is missing leaves the manifest as a whole, which else would claim all.
            without = {zip_.key for zip_ in zips} | {
                _origin(entry)[0]
                for entry in now.entries()
                if entry.key in taken or now.present.get(entry.key) != entry.size
            }
            theirs = [entry for entry in now.entries() if _origin(entry)[0] not in without]
            files = tuple(sorted((*ours, *theirs), key=lambda entry: entry.key))
            if now.manifest is None or now.manifest.files != files:
                described = {ZIPS.partition_key: str(partition)}
                content = Manifest(UNPACKED, described, files, iso(datetime.now(UTC))).to_json()
                self.retry.call(lambda: self.target.write(f"{now.key}/{MANIFEST_NAME}", content))
        return files


def _folder(partition: Partition) -> str:
    return f"{UNPACKED}/{ZIPS.partition_key}={partition}"


def _md5(file: IO[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _id(zip_: LandedFile, member: Member) -> str:
    return f"{zip_.key}/{zip_.md5}/{member.position}"


def _origin(entry: LandedFile) -> tuple[str, str, str]:
    """Key and MD5 of the zip, and the position in it."""
    key, md5, position = ["", "", *entry.id.rsplit("/", 2)][-3:]
    return key, md5, position


def _keyed(archive: Archive, zip_: LandedFile, entries: Iterable[LandedFile]) -> list[tuple[Member, str]]:
    """A key for each member, in the order of the zip; see `assign_keys`."""
    named = [
        _Named(zip_.key, m.name, f"{zip_.md5}/{m.position}", zip_.created_on, m) for m in archive.members
    ]
    keyed = assign_keys(named, map(_as_known, entries))
    return sorted(((one.member, key + SUFFIX) for one, key in keyed), key=lambda each: each[0].position)


def _as_known(entry: LandedFile) -> LandedFile:
    """An entry as the _Named of its member would look."""
    zip_key, md5, position = _origin(entry)
    return replace(entry, id=zip_key, md5=f"{md5}/{position}", key=entry.key.removesuffix(SUFFIX))


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
        shown = "; ".join(str(error) for error in errors[:3])
        raise PartlyLanded(
            f"{len(errors)} zips could not be unpacked, all others were. {shown}"
            + (f"; and {len(errors) - 3} more" if len(errors) > 3 else ""),
            failures={what: error.as_dict() for what, error in failures.items()},
            retryable=any(error.retryable for error in errors),
        ) from errors[0]
