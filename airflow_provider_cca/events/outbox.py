"""What failed attempts have landed, and nobody was told of. Plain Python: no Airflow, no HTTP.

A host may drop the events of a task that fails, though some of its partitions have landed for good. They are
kept in the store, in an object of that task's own, until an attempt that succeeds announces them. The parts
of a mapped task share it, since a later run may be parted otherwise.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.landing.landed import Landed
from airflow_provider_cca.landing.layout import folder_of
from airflow_provider_cca.landing.manifest import MANIFEST_NAME
from airflow_provider_cca.reports import report_named
from airflow_provider_cca.store.object_meta import ObjectMeta
from airflow_provider_cca.store.object_store import Store

log = logging.getLogger(__name__)

FOLDER = "_unannounced"


class Unannounced:
    """The list of one task.

    :param name: Of its object in `_unannounced/`.
    """

    def __init__(self, store: Store, retry: Retry, name: str) -> None:
        self.store, self.retry = store, retry
        self.key = f"{FOLDER}/{name}.json"

    def add(self, landed: Iterable[Landed]) -> None:
        """Keep these too, unless their manifest had been there already."""
        if new := [one for one in landed if one.written]:
            self._change(lambda kept: merged(kept, new))

    def take(self) -> list[Landed]:
        """All of them; from then on there are none."""
        if not self.retry.call(self._kept)[0]:
            return []  # most of the time; a lock would make the folder
        found: list[Landed] = []

        def taken(kept: Sequence[Landed]) -> list[Landed]:
            # An attempt to empty it may have done so, and failed all the same.
            found[:] = merged(found, kept)
            return []

        self._change(taken)
        return found

    def _change(self, change: Callable[[Sequence[Landed]], list[Landed]]) -> None:
        """Read, change and write; once more when another part of the task has written it meanwhile."""

        def changed() -> None:
            kept, stored = self._kept()
            content = json.dumps([_as_dict(one) for one in change(kept)]).encode()
            self.store.put_if_unchanged(self.key, content, stored)

        self.retry.call(changed)

    def _kept(self) -> tuple[list[Landed], ObjectMeta | None]:
        found = self.store.get(self.key)
        if found is None:
            return [], None
        content, stored = found
        try:
            return [_landed(one) for one in json.loads(content)], stored
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be used and is dropped: %r", self.store.path(self.key), error)
            return [], stored


def merged(earlier: Iterable[Landed], later: Iterable[Landed]) -> list[Landed]:
    """Each partition once: as it landed last, unless that landing found all of it there."""
    found = {(one.scope, one.partition): one for one in earlier}
    for one in later:
        place = one.scope, one.partition
        if one.written or place not in found:
            found[place] = one
    return list(found.values())


def _as_dict(one: Landed) -> dict[str, Any]:
    scope = {"report": one.scope.report.name, "site": one.scope.site, "level": one.scope.level}
    facts = {"files": one.files, "bytes": one.bytes, "downloaded": one.downloaded}
    return {**scope, "partition": str(one.partition), **facts}


def _landed(data: Mapping[str, Any]) -> Landed:
    scope = Scope(report_named(data["report"]), data["site"], data["level"])
    partition = Partition.parse(data["partition"], scope.report.grain)
    files, size, downloaded = (int(data[name]) for name in ("files", "bytes", "downloaded"))
    key = f"{folder_of(scope, partition)}/{MANIFEST_NAME}"
    return Landed(scope, partition, key, files, size, downloaded)
