"""The site list into the store (§3.7): its own `Total:N` vouches, manifest last. No Airflow, no HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import folder_of, snapshot_name
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile
from airflow_provider_cca.landing.manifest_store import manifest_of
from airflow_provider_cca.store.object_store import Store


def land_snapshot(
    store: Store, scope: Scope, day: Partition, fetch: Callable[[], Generator[bytes]], retry: Retry
) -> Landed:
    """Land the site list of today, which has no listing to be compared with: its own `Total:N` vouches.

    A second snapshot on the same day takes the place of the first. Of two that land at once the manifest
    names the one that is there in the end.
    """
    folder, name = folder_of(scope, day), snapshot_name(day.first)
    store.sweep(folder, retry.call(lambda: store.sizes(folder)))

    def transfer() -> LandedFile:
        with store.writing(f"{folder}/{name}", 0) as target, closing(fetch()) as chunks:
            size, digest = _summed(chunks, target.write)
            target.publish()
        return LandedFile(name, name, name, size, digest, iso(datetime.now(UTC)), None)

    entry = retry.call(transfer)
    with store.lock(folder):
        entry = retry.call(lambda: _commit_snapshot(store, scope, day, entry))
    return Landed(scope, day, f"{folder}/{MANIFEST_NAME}", 1, entry.size, 1)


def _commit_snapshot(store: Store, scope: Scope, day: Partition, ours: LandedFile) -> LandedFile:
    """Write the manifest of the snapshot that is there, ours or another task's, and give its entry.

    Raises StoreError when another task writes it meanwhile: then it is to be looked at again.
    """
    folder = folder_of(scope, day)
    objects = store.objects_below(folder).get(folder, {})
    found, entry = objects.get(ours.key), ours
    if found is None or (found.size, found.md5) != (ours.size, ours.md5):
        size, digest = _summed(store.chunks(f"{folder}/{ours.key}"))
        entry = replace(ours, size=size, md5=digest)
    content = manifest_of(scope, day, [entry]).to_json()
    store.replace(f"{folder}/{MANIFEST_NAME}", content, objects.get(MANIFEST_NAME))
    return entry


def _summed(
    chunks: Iterable[bytes], write: Callable[[bytes], object] = lambda chunk: None
) -> tuple[int, str]:
    """Bytes and MD5 of what goes by."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        write(chunk)
    return size, digest.hexdigest()
