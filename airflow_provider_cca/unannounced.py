"""What failed attempts have landed, and nobody was told of. Plain Python: no Airflow, no HTTP.

A host may drop the events of a task that fails, though some of its partitions have landed for good. They are
kept in the store, in an object of that task's own, until an attempt that succeeds announces them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_cca.errors import DestinationUnusable
from airflow_provider_cca.keys import folder_of
from airflow_provider_cca.manifest import MANIFEST_NAME
from airflow_provider_cca.models import Partition, Scope
from airflow_provider_cca.plans import Landed
from airflow_provider_cca.reports import report_named
from airflow_provider_cca.retry import Retry
from airflow_provider_cca.store import Store

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
        new = [one for one in landed if one.written]
        if new:
            self._write(merged(self._read(), new))

    def take(self) -> list[Landed]:
        """All of them; from then on there are none."""
        found = self._read()
        if found:
            self._write([])
        return found

    def _read(self) -> list[Landed]:
        try:
            return [_landed(one) for one in json.loads(self.retry.call(lambda: self.store.read(self.key)))]
        except DestinationUnusable:
            return []  # there is none, most of the time
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be used and is dropped: %r", self.store.path(self.key), error)
            return []

    def _write(self, landed: Iterable[Landed]) -> None:
        content = json.dumps([_as_dict(one) for one in landed]).encode()
        self.retry.call(lambda: self.store.write(self.key, content))


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
