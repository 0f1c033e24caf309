"""What the operators share: the connection, how a killed task ends, and the destination."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from airflow_provider_cca.assets import cca_landings
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.events import lineage, metrics
from airflow_provider_cca.events.asset_events import announce, announce_each, facts_of
from airflow_provider_cca.extra_links import LandedFilesLink, ReportDocsLink
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.integration.arguments import CheckedArguments, check_destination
from airflow_provider_cca.integration.destination import PUBLISHING_WORKERS, open_store
from airflow_provider_cca.integration.requested_range import written_by
from airflow_provider_cca.integration.task_failures import airflow_errors

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.core.files import RemoteFile
    from airflow_provider_cca.core.partition import Place
    from airflow_provider_cca.events.outbox import Unannounced
    from airflow_provider_cca.landing.landed import Landed
    from airflow_provider_cca.landing.lander import Lander, ListAgain
    from airflow_provider_cca.landing.manifest_store import Folder, Verify
    from airflow_provider_cca.landing.progress import Amount
    from airflow_provider_cca.store.object_store import Store

log = logging.getLogger(__name__)

ATTEMPTS_TO_KEEP = 5
"""So often the parts of a mapped task, which may all fail at once, try to write what they share: in 8 s."""


class CcaOperator(CheckedArguments, BaseOperator):
    """What all operators of this package share: the connection, and how a killed task ends.

    :param cca_conn_id: The connection, of type `cca` (templated).
    """

    template_fields: Sequence[str] = ("cca_conn_id",)

    _client: CcaClient | None = None
    _began = 0.0

    def __init__(self, *, cca_conn_id: str = "cca_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cca_conn_id = cca_conn_id

    @contextmanager
    def connected(self) -> Iterator[CcaClient]:
        """A client for the time of the block, in which errors become what Airflow acts on."""
        self._began = time.monotonic()
        with airflow_errors(self), CcaHook(self.cca_conn_id).get_conn() as client:
            self._client = client
            try:
                yield client
            finally:
                self._client = None
                about = {name: getattr(self, name, None) for name in ("report", "level")}
                tags = {name: value for name, value in about.items() if isinstance(value, str)}
                metrics.count(metrics.RETRIES, client.session.retry.repeats.count, **tags)

    def on_kill(self) -> None:
        # Airflow's handler only calls this: without it a read that stalls would outlive the task.
        if self._client:
            self._client.abort()


class CcaLandingOperator(CcaOperator):
    """What the operators share that write into a store.

    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    """

    operator_extra_links = (LandedFilesLink(), ReportDocsLink())

    # For the links: the store that was opened, and the folder of what has landed in it.
    opened: Store | None = None
    landed_at: str | None = None
    _lineage: dict[str, Any] | None = None
    _landed: Sequence[Landed] = ()

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.of_dag_file:
            check_destination(destination)
        self.destination = destination

    @contextmanager
    def connected(self) -> Iterator[CcaClient]:
        """The same; what has landed although the block fails is kept for the next attempt to announce."""
        try:
            with super().connected() as client:
                yield client
        except BaseException:
            self._keep_for_later()
            raise

    def store(self) -> Store:
        """The destination, opened; only at run time, since this asks for connections."""
        self.opened = open_store(self.destination)
        return self.opened

    def lander(self, client: CcaClient, context: Context, verify: Verify | None = None) -> Lander:
        """What lands files into the destination, as many at a time as the connection allows."""
        from airflow_provider_cca.landing.lander import Lander
        from airflow_provider_cca.landing.manifest_store import ManifestStore, Verify

        manifests = ManifestStore(self.store(), client.session.retry, verify or Verify.CHANGED)
        workers = client.config.max_connections + PUBLISHING_WORKERS
        return Lander(manifests, client.download, workers, written_by=written_by(context))

    def land(
        self,
        client: CcaClient,
        lander: Lander,
        partitions: Mapping[Place, Sequence[RemoteFile]],
        list_again: ListAgain | None,
        folders: Mapping[Place, Folder | CcaError] | None = None,
    ) -> list[Landed]:
        """Land these files, and let metrics and lineage know; arguments as for `Lander.land`."""
        self._began = time.monotonic()
        try:
            return lander.land(partitions, list_again, folders)
        finally:
            self._tell(client, lander.landed, lander.progress.downloaded)

    def _tell(
        self,
        client: CcaClient,
        landed: Sequence[Landed],
        downloaded: Mapping[tuple[str, str | None], Amount],
    ) -> None:
        """Let Airflow's metrics know of a landing, and OpenLineage when it asks."""
        self._landed = landed
        self._say_what_landed(landed, downloaded)
        _count_landing(landed, downloaded)
        config = client.config
        source = f"cca://{config.host}{f':{config.port}' if config.port else ''}"
        self._lineage = lineage.facts_of(source, str(self.destination), landed)

    def _say_what_landed(
        self, landed: Sequence[Landed], downloaded: Mapping[tuple[str, str | None], Amount]
    ) -> None:
        """Log one line: where it landed, how much there is, how much of it was downloaded and how fast."""
        from airflow_provider_cca.landing.progress import counted, in_units

        seconds = time.monotonic() - self._began
        amounts = list(downloaded.values())
        if not landed and not amounts:
            return
        size = sum(one.bytes for one in amounts)
        log.info(
            "Landed in %s: %s with %s, %s; downloaded %s, %s in %.1f s (%.1f MB/s)",
            self.url(landed[0].manifest).rpartition("/")[0] if len(landed) == 1 else self.destination,
            *(counted(len(landed), "partition"), counted(sum(one.files for one in landed), "file")),
            in_units(sum(one.bytes for one in landed)),
            *(counted(sum(one.files for one in amounts), "file"), in_units(size)),
            *(seconds, size / 1e6 / max(seconds, 0.001)),
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """What landed; also of a task that failed after some of it had."""
        return lineage.facets_of(self._lineage or {})

    def url(self, key: str) -> str:
        """Where a key of the store is, as ObjectStoragePath takes it."""
        return f"{str(self.destination).strip().rstrip('/')}/{key}"

    def announce(self, context: Context, landed: Sequence[Landed]) -> None:
        """Say what has landed, in the events of the task's outlets and in its link."""
        facts = facts_of(str(self.destination), landed)
        announce(context, self.outlets, str(self.destination), landed)
        self.announce_each(context, landed)
        self.landed_at = facts["manifest"].rpartition("/")[0] if "manifest" in facts else facts["folder"]

    def announce_each(self, context: Context, landed: Sequence[Landed]) -> None:
        """Update the asset of each report and level, also for what earlier attempts landed that failed."""
        from airflow_provider_cca.events.outbox import merged

        everything = merged(self._taken(), landed)
        announce_each(context, self.outlets, str(self.destination), everything)

    def _taken(self) -> list[Landed]:
        """What earlier attempts landed; none of it when the store fails: all of this has landed, and the next
        attempt, which finds it there, would announce nothing."""
        kept = self._unannounced()
        try:
            return kept.take() if kept else []
        except CcaError as error:
            log.warning("What earlier attempts have landed is left to a later run to announce: %s", error)
            return []

    def _keep_for_later(self) -> None:
        """Airflow drops the events of an attempt that fails, and the next one finds all of this landed."""
        kept = self._unannounced() if self._landed else None
        try:
            if kept:
                kept.add(self._landed)
        except CcaError as error:
            log.warning("No event will tell of what this attempt has landed: %s", error)

    def _unannounced(self) -> Unannounced | None:
        """Of this task; None when it announces no reports one by one."""
        from airflow_provider_cca.core.retry import Retry
        from airflow_provider_cca.events.outbox import Unannounced
        from airflow_provider_cca.landing.layout import safe_name

        if cca_landings() not in self.outlets or not self.opened:
            return None
        name = safe_name(f"{self.dag_id}.{self.task_id}")
        return Unannounced(self.opened, Retry(Event(), attempts=ATTEMPTS_TO_KEEP), name)


def _count_landing(landed: Sequence[Landed], downloaded: Mapping[tuple[str, str | None], Amount]) -> None:
    """The partitions that a landing left whole, and what it had to fetch; by report and level."""
    sums: Counter[tuple[str, str, str | None]] = Counter()
    for one in landed:
        kind = one.scope.report.name, one.scope.level
        sums[metrics.PARTITIONS_LANDED, *kind] += 1
        sums[metrics.FILES_LANDED, *kind] += one.files
        sums[metrics.BYTES_LANDED, *kind] += one.bytes
    # A list: threads of a landing that was ended may still be counting.
    for kind, amount in list(downloaded.items()):
        sums[metrics.FILES_DOWNLOADED, *kind] += amount.files
        sums[metrics.BYTES_DOWNLOADED, *kind] += amount.bytes
    for (name, report, level), number in sums.items():
        metrics.count(name, number, report=report, level=level)


def summary(landed: Sequence[Landed]) -> dict[str, Any]:
    """What XCom gets to know of a landing: counts alone."""
    return {
        "partitions": len(landed),
        "files": sum(one.files for one in landed),
        "bytes": sum(one.bytes for one in landed),
        "downloaded": sum(one.downloaded for one in landed),
    }
