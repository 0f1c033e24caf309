"""Land the site list (§3.7): verify it against its `Total:N` line, publish it, commit the manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from airflow_provider_cca.core.checksum import md5_and_size
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.timestamps import now_iso
from airflow_provider_cca.landing.commit import Transaction, Wanted
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import folder_of, snapshot_name
from airflow_provider_cca.landing.manifest import LandedFile
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore
from airflow_provider_cca.store.object_store import READ_BYTES

SPOOLED_BYTES = 4 * 1024 * 1024
"""So much of the list is held in memory; what is longer is held on disk."""


class Snapshot:
    """The site list as it is now, held until it has landed: a source for a transaction.

    The server says neither its size nor its MD5, so it is fetched before anything is known of it.
    """

    is_complete = True
    suffix = ""

    def __init__(
        self, name: str, fetch: Callable[[], Generator[bytes]], retry: Retry, held: IO[bytes]
    ) -> None:
        self.name, self._fetch, self._retry, self._held = name, fetch, retry, held

    def list_files(self, folder: Folder, is_intact: Callable[[LandedFile], bool]) -> list[Wanted]:
        md5, size = self._retry.call(self._hold)
        known = folder.manifest.files if folder.manifest else ()
        # The same list again is no news, so it keeps the time of the first.
        fetched_on = next((e.created_on for e in known if e.md5 == md5), None) or now_iso()
        return [Wanted(self.name, self.name, self.name, md5, size, md5, fetched_on, None, None)]

    def _hold(self) -> tuple[str, int]:
        """Fetch the list; returns its MD5 and size."""
        self._held.seek(0)
        self._held.truncate()
        with closing(self._fetch()) as chunks:
            return md5_and_size(chunks, self._held.write)

    def identify(self, entry: LandedFile) -> tuple[str, str]:
        return entry.id, entry.md5

    def chunks(self, wanted: Wanted) -> Generator[bytes]:
        self._held.seek(0)
        while chunk := self._held.read(READ_BYTES):
            yield chunk


def land_snapshot(
    manifests: ManifestStore,
    scope: Scope,
    day: Partition,
    fetch: Callable[[], Generator[bytes]],
    written_by: Mapping[str, Any] | None = None,
) -> Landed:
    """Land the site list of today. A second one on the same day supersedes the first.

    :param fetch: Gives the list; raises TruncatedSnapshot unless it is complete.
    """
    path, name = folder_of(scope, day), snapshot_name(day.first)
    with SpooledTemporaryFile(SPOOLED_BYTES, prefix="cca-") as held:
        source = Snapshot(name, fetch, manifests.retry, held)
        transaction = Transaction(manifests, path, {scope.report.partition_key: str(day)}, source, written_by)
        return transaction.landed((scope, day), transaction.run())
