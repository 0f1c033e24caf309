"""What a store holds: one listing, the manifests, and whether objects are still what was landed.

Plain Python over a Store: no Airflow, no HTTP. Its cost does not depend on the size of files, unless their
content is to be read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum

from airflow_provider_cca.coverage import Held
from airflow_provider_cca.entries import StoredObject
from airflow_provider_cca.errors import DestinationUnusable
from airflow_provider_cca.manifest import MANIFEST_NAME, LandedFile, Manifest
from airflow_provider_cca.models import iso
from airflow_provider_cca.retry import Retry
from airflow_provider_cca.store import Store

log = logging.getLogger(__name__)


class Verify(StrEnum):
    """How hard to look whether an object is still what was landed."""

    SIZE = "size"
    """Its size alone, as the store lists it."""
    CHANGED = "changed"
    """Also its content, when it was written after its manifest, or the store lists another MD5 for it."""
    CONTENT = "content"
    """The content of every object whose MD5 the store's listing does not show."""


class Inventory:
    """What was found in a store, folder by folder.

    :param retry: How often, and with what waits, the store is asked.
    """

    def __init__(self, store: Store, retry: Retry, verify: Verify = Verify.CHANGED) -> None:
        self.store, self.retry, self.verify = store, retry, verify
        self._folders: dict[str, Mapping[str, StoredObject]] = {}
        self._changed: set[tuple[str, str]] = set()

    def look(self, folder: str) -> None:
        """List all that lies below a folder, by one listing."""
        self._folders |= self.retry.call(lambda: self.store.objects_below(folder))

    def look_again(self, folders: Iterable[str], pool: Executor) -> None:
        """List these folders anew, after a landing: what it wrote it has verified."""

        def sizes(folder: str) -> tuple[str, dict[str, StoredObject]]:
            found = self.retry.call(lambda: self.store.sizes(folder))
            return folder, {name: StoredObject(size) for name, size in found.items()}

        self._folders |= dict(pool.map(sizes, folders))

    def held(self, folder: str) -> Held:
        """The manifest of a partition, and which of its files are whole."""
        objects = self._folders.get(folder, {})
        manifest = self._manifest(folder) if MANIFEST_NAME in objects else None
        if manifest is None:
            return Held()
        written = objects[MANIFEST_NAME].modified
        whole = (entry.key for entry in manifest.files if self._is_whole(folder, entry, written))
        return Held(manifest, frozenset(whole))

    def withdraw(self, folder: str, keys: set[str]) -> None:
        """Take files out of a manifest that are not there as it says, so that they are landed anew.

        From then on nobody takes a changed object for what was landed. The object itself is left alone.
        """
        with self.store.lock(folder):
            self.retry.call(lambda: self._without(folder, keys))
        self._changed -= {(folder, key) for key in keys}

    def _without(self, folder: str, keys: set[str]) -> None:
        """Raises StoreError when another task writes the manifest meanwhile: then it is to be read again."""
        before = self.store.objects_below(folder).get(folder, {}).get(MANIFEST_NAME)
        manifest = self._manifest(folder) if before else None
        if manifest is None:
            return
        files = tuple(entry for entry in manifest.files if entry.key not in keys)
        content = replace(manifest, files=files, written_at=iso(datetime.now(UTC))).to_json()
        self.store.replace(f"{folder}/{MANIFEST_NAME}", content, before)

    def _manifest(self, folder: str) -> Manifest | None:
        try:
            return Manifest.from_json(self.retry.call(lambda: self.store.read(f"{folder}/{MANIFEST_NAME}")))
        except ValueError as error:
            # Damaged, or gone since it was listed, which is an error of usage and so a ValueError too.
            log.warning("The manifest of %s cannot be used: %s", folder, error)
            return None

    def _is_whole(self, folder: str, entry: LandedFile, written: float) -> bool:
        found = self._folders[folder].get(entry.key)
        if found is None or found.size != entry.size or (folder, entry.key) in self._changed:
            return False
        if not self._is_doubtful(entry, found, written) or self._md5(f"{folder}/{entry.key}") == entry.md5:
            return True
        log.warning("%s/%s is no longer what was landed", folder, entry.key)
        self._changed.add((folder, entry.key))
        return False

    def _is_doubtful(self, entry: LandedFile, found: StoredObject, written: float) -> bool:
        """Whether its content has to be read; what the listing says of it costs nothing."""
        if self.verify is Verify.SIZE or found.md5 == entry.md5:
            return False
        return self.verify is Verify.CONTENT or found.md5 is not None or found.modified > written

    def _md5(self, key: str) -> str | None:
        try:
            return self.retry.call(lambda: self.store.md5(key))
        except DestinationUnusable as error:
            log.warning("%s", error)
            return None
