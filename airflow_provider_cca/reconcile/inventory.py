"""What a store holds: one listing, the manifests, and whether objects are still what was landed.

Plain Python over a Store: no Airflow, no HTTP. Its cost does not depend on the size of files, unless their
content is to be read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from enum import StrEnum

from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.coverage.comparison import Held
from airflow_provider_cca.errors import CcaError, Closed, DestinationUnusable
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile
from airflow_provider_cca.landing.manifest_store import Records
from airflow_provider_cca.store.object_meta import StoredObject
from airflow_provider_cca.store.object_store import Store

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
    :param doubted: Folders whose objects are read whatever `verify` says, unless it is SIZE: something there
        was found to have changed before, and nobody knows whether it has been put right.
    """

    def __init__(
        self, store: Store, retry: Retry, verify: Verify = Verify.CHANGED, doubted: Collection[str] = ()
    ) -> None:
        self.store, self.retry, self.verify, self.doubted = store, retry, verify, doubted
        self.records = Records(store, retry)
        self._folders: dict[str, Mapping[str, StoredObject]] = {}
        self._apart: list[str] = []
        self._changed: set[tuple[str, str]] = set()

    def look(self, folder: str) -> None:
        """List all that lies below a folder, by one listing.

        When a folder below it cannot be used, each is listed by itself, when it is asked for.
        """
        try:
            self._folders |= self._listed(folder)
        except DestinationUnusable as error:
            self.retry.call(lambda: self.store.sizes(folder))  # fails again, if it is this one
            log.warning("%s: its folders are listed one by one, as %s", folder, error)
            self._apart.append(f"{folder}/")

    def _listed(self, folder: str) -> dict[str, dict[str, StoredObject]]:
        return self.retry.call(lambda: self.store.objects_below(folder))

    def held(self, folder: str, *, again: bool = False) -> Held:
        """The manifest of a partition, and which of its files are whole; or why that cannot be told.

        :param again: After a landing, which has verified what it wrote.
        """
        try:
            if again:
                sizes = self.retry.call(lambda: self.store.sizes(folder))
                self._folders[folder] = {name: StoredObject(size) for name, size in sizes.items()}
            return self._held(folder)
        except Closed:
            raise
        except CcaError as error:
            log.warning("%s", error)
            return Held(error=error)

    def _held(self, folder: str) -> Held:
        if folder not in self._folders and folder.startswith((*self._apart,)):
            self._folders[folder] = self._listed(folder).get(folder, {})
        objects = self._folders.get(folder, {})
        manifest = self.records.manifest(folder) if MANIFEST_NAME in objects else None
        if manifest is None:
            return Held()
        written = objects[MANIFEST_NAME].modified
        whole = (entry.key for entry in manifest.files if self._is_whole(folder, entry, written))
        return Held(manifest, frozenset(whole))

    def trust(self, folder: str) -> None:
        """Forget what had changed there: a landing has put it right since."""
        self._changed = {(inside, key) for inside, key in self._changed if inside != folder}

    def _is_whole(self, folder: str, entry: LandedFile, written: float) -> bool:
        found = self._folders[folder].get(entry.key)
        if found is None or found.size != entry.size or (folder, entry.key) in self._changed:
            return False
        if (
            not self._is_doubtful(folder, entry, found, written)
            or self._md5(f"{folder}/{entry.key}") == entry.md5
        ):
            return True
        log.warning("%s/%s is no longer what was landed", folder, entry.key)
        self._changed.add((folder, entry.key))
        return False

    def _is_doubtful(self, folder: str, entry: LandedFile, found: StoredObject, written: float) -> bool:
        """Whether its content has to be read; what the listing says of it costs nothing."""
        if self.verify is Verify.SIZE or found.md5 == entry.md5:
            return False
        if self.verify is Verify.CONTENT or folder in self.doubted:
            return True
        return found.is_doubtful(entry.md5, written)

    def _md5(self, key: str) -> str | None:
        try:
            return self.retry.call(lambda: self.store.md5(key))
        except DestinationUnusable as error:
            log.warning("%s", error)
            return None
