"""What the operators share: the connection, how a killed task ends, and the destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from airflow_provider_cca.arguments import check_destination
from airflow_provider_cca.assets import announce, facts_of
from airflow_provider_cca.destinations import PUBLISHING_WORKERS, open_store
from airflow_provider_cca.extra_links import LandedFilesLink, ReportDocsLink
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.models import Partition, RemoteFile, Scope
from airflow_provider_cca.outcomes import airflow_errors

if TYPE_CHECKING:
    from airflow_provider_cca.client import CcaClient
    from airflow_provider_cca.landing import Landed
    from airflow_provider_cca.store import Store


class CcaOperator(BaseOperator):
    """What all operators of this package share: the connection, and how a killed task ends.

    :param cca_conn_id: The connection, of type `cca`.
    """

    _client: CcaClient | None = None

    def __init__(self, *, cca_conn_id: str = "cca_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cca_conn_id = cca_conn_id

    @contextmanager
    def connected(self) -> Iterator[CcaClient]:
        """A client for the time of the block, in which errors become what Airflow acts on."""
        with airflow_errors(), CcaHook(self.cca_conn_id).get_conn() as client:
            self._client = client
            try:
                yield client
            finally:
                self._client = None

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

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_destination(destination)
        self.destination = destination

    def store(self) -> Store:
        """The destination, opened; only at run time, since this asks for connections."""
        self.opened = open_store(self.destination)
        return self.opened

    def land(
        self, client: CcaClient, partitions: Mapping[tuple[Scope, Partition], list[RemoteFile]]
    ) -> list[Landed]:
        """Land these files, as many at a time as the connection allows."""
        from airflow_provider_cca.landing import Landing

        workers = client.config.max_connections + PUBLISHING_WORKERS
        landing = Landing(self.store(), client.download, client.session.retry, workers)
        return landing.land(partitions)

    def url(self, key: str) -> str:
        """Where a key of the store is, as ObjectStoragePath takes it."""
        return f"{str(self.destination).rstrip('/')}/{key}"

    def announce(self, context: Context, landed: Sequence[Landed]) -> None:
        """Say what has landed, in the events of the task's outlets and in its link."""
        facts = facts_of(str(self.destination), landed)
        announce(context, self.outlets, facts, landed)
        self.landed_at = facts["manifest"].rpartition("/")[0] if "manifest" in facts else facts["folder"]
