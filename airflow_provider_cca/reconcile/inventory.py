"""What a store holds: one listing a report, the manifests, which objects are intact. No Airflow, no HTTP."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from airflow_provider_cca.coverage.comparison import Held
from airflow_provider_cca.errors import CcaError, Closed, DestinationUnusable
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore
from airflow_provider_cca.store.object_meta import ObjectMeta

log = logging.getLogger(__name__)


class Inventory:
    """What was found in a store, folder by folder.

    :param doubted: Folders whose objects are read unless the listing proves them: something there was found
        to have changed before, and nobody knows whether it has been put right.
    """

    def __init__(self, manifests: ManifestStore, doubted: Collection[str] = ()) -> None:
        self.manifests, self.doubted = manifests, {*doubted}
        self._objects: dict[str, Mapping[str, ObjectMeta]] = {}
        self._apart: list[str] = []

    def list_below(self, folder: str) -> None:
        """List all that lies below a folder, by one listing.

        When a folder below it cannot be used, each is listed by itself, when it is asked for.
        """
        store, retry = self.manifests.store, self.manifests.retry
        try:
            self._objects |= retry.call(lambda: store.list_below(folder))
        except DestinationUnusable as error:
            retry.call(lambda: store.list(folder))  # fails again, if it is this one
            log.warning("%s: its folders are listed one by one, as %s", folder, error)
            self._apart.append(f"{folder}/")

    def held(self, path: str, *, again: bool = False) -> Held:
        """The manifest of a partition, and which of its files are intact; or why that cannot be told.

        :param again: After a landing, which has verified what it wrote.
        """
        try:
            folder = self.folder(path, again=again)
            doubted = path in self.doubted and not again
            entries = folder.manifest.files if folder.manifest else ()
            intact = {e.key for e in entries if self.manifests.is_intact(folder, e, doubted=doubted)}
            damaged = frozenset(entry.key for entry in entries) - intact
            return Held(folder.manifest, frozenset(intact), folder=replace(folder, damaged=damaged))
        except Closed:
            raise
        except CcaError as error:
            log.warning("%s", error)
            return Held(error=error)

    def folder(self, path: str, *, again: bool = False) -> Folder:
        """The folder of a partition, as it was listed together with others."""
        alone = again or path.startswith((*self._apart,))
        return self.manifests.read(path, None if alone else self._objects.get(path, {}))
