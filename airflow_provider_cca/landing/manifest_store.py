"""The partitions' folders in a store: what lies in them, and their manifests. No Airflow, no HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import DestinationUnusable
from airflow_provider_cca.landing.layout import safe_name
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, SUPERSEDED_FOLDER, LandedFile, Manifest
from airflow_provider_cca.store.object_meta import ObjectMeta
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


@dataclass(frozen=True)
class Folder:
    """The folder of a partition, as it was looked at.

    :param path: Relative to the destination.
    :param manifest: None when there is none, or it is damaged.
    :param meta: Of the manifest's object, also of a damaged one; None when there is none.
    :param objects: All that lies in it, by name.
    :param spent: What lies in SUPERSEDED_FOLDER, looked at only when no manifest tells it.
    :param damaged: Keys of objects that were found to be gone, or other than their entries say.
    """

    path: str
    manifest: Manifest | None = None
    meta: ObjectMeta | None = None
    objects: Mapping[str, ObjectMeta] = field(default_factory=dict)
    spent: Mapping[str, ObjectMeta] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()


class ManifestStore:
    """Reads and commits the manifests of one store.

    :param retry: How often, and with what waits, the store is asked.
    :param verify: How hard to look at objects.
    """

    def __init__(self, store: Store, retry: Retry, verify: Verify = Verify.CHANGED) -> None:
        self.store, self.retry, self.verify = store, retry, verify

    def read(self, path: str, objects: Mapping[str, ObjectMeta] | None = None) -> Folder:
        """Look at a folder.

        Raises DestinationUnusable when there is a manifest that cannot be read: written anew, it would forget
        what earlier landings left.

        :param objects: What lies in it, when that has just been listed.
        """
        found = None
        if objects is None or MANIFEST_NAME in objects:
            found = self.retry.call(lambda: self.store.get(f"{path}/{MANIFEST_NAME}"))
        if objects is None:
            # After the manifest: an object that it names is never listed as missing because it came later.
            objects = self.retry.call(lambda: self.store.list(path))
        if found is None:
            return Folder(path, objects=objects)
        content, meta = found
        try:
            return Folder(path, _manifest_of(path, content), meta, objects)
        except ValueError as error:
            log.warning("%s/%s is damaged and counts as none: %s", path, MANIFEST_NAME, error)
        spent = self.retry.call(lambda: self.store.list(f"{path}/{SUPERSEDED_FOLDER}"))
        return Folder(path, None, meta, objects, spent)

    def is_intact(self, folder: Folder, entry: LandedFile, *, doubted: bool = False) -> bool:
        """Whether the object of an entry is there with the entry's content, as far as `verify` looks.

        :param doubted: Whether it is read unless the listing proves its MD5, as it was found damaged before.
        """
        found = folder.objects.get(entry.key)
        if found is None or found.size != entry.size or entry.key in folder.damaged:
            return False
        if found.md5 == entry.md5 or self.verify is Verify.SIZE:
            return True
        written = folder.meta.modified if folder.meta else 0.0
        is_read = doubted or self.verify is Verify.CONTENT or found.is_doubtful(entry.md5, written)
        if is_read and not self.has_content(f"{folder.path}/{entry.key}", entry.md5):
            log.warning("%s/%s is no longer what was landed", folder.path, entry.key)
            return False
        return True

    def has_content(self, key: str, md5: str) -> bool:
        """Read an object, and tell whether it has this MD5; one that is gone or cannot be read has not."""
        return self.md5(key) == md5

    def md5(self, key: str) -> str | None:
        """Read an object and return its MD5; None when it is gone or cannot be read."""
        try:
            return self.retry.call(lambda: self.store.md5(key))
        except DestinationUnusable as error:
            log.debug("%s", error)
            return None

    def commit(self, folder: Folder, manifest: Manifest) -> None:
        """Replace the manifest that was read; raises Changed when it is no longer that one."""
        self.store.put_if_unchanged(f"{folder.path}/{MANIFEST_NAME}", manifest.to_json(), folder.meta)


def _manifest_of(path: str, body: bytes) -> Manifest:
    """Raises ValueError as `Manifest.from_json`, and when it was copied from another folder."""
    manifest = Manifest.from_json(body)
    report, *parts = path.split("/")
    described = {f"{name}={safe_name(value)}" for name, value in manifest.partition.items()}
    if (report, {*parts}) != (manifest.report, described):
        raise ValueError(f"it is of {manifest.report} {dict(manifest.partition)}")
    return manifest
