"""List sites and files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_cca.core.listings import Window
from airflow_provider_cca.core.partition import Scope
from airflow_provider_cca.integration.arguments import check_arguments, site_name
from airflow_provider_cca.integration.requested_range import partitions_of_run
from airflow_provider_cca.operators.cca_operator import CcaOperator
from airflow_provider_cca.reports import report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.core.files import RemoteFile


log = logging.getLogger(__name__)


class CcaListSitesOperator(CcaOperator):
    """Return the names of all sites that the partner manages (§3.5.1)."""

    def execute(self, context: Context) -> list[str]:
        with self.connected() as client:
            return [site.name for site in client.sites()]


class CcaListFilesOperator(CcaOperator):
    """Return the files of a report as small dicts, for `CcaDownloadFilesOperator` or code of your own.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly" (templated).
    :param partition: Creation date YYYY-MM-DD, or month YYYY-MM, in UTC (templated); with
        by="meeting_end" the date on which meetings ended. None means the run's param `partition`, else its
        partition key, its logical date, or the date it runs after.
    :param partition_end: The last of a range, included (templated).
    :param by: "creation" (§3.5.4, §3.5.5, §3.6.1, §3.6.2); for "cdr" also "meeting_end" (§3.5.3), or "new"
        for the files that were never downloaded, which takes no partition (§3.5.2).
    :param site: The site, for report "cdr" (templated).
    :param level: "site", "customer" or "partner", for peak-port reports (templated).
    """

    template_fields: Sequence[str] = ("cca_conn_id", "report", "partition", "partition_end", "site", "level")

    def __init__(
        self,
        *,
        report: str,
        partition: str | None = None,
        partition_end: str | None = None,
        by: str = "creation",
        site: str | None = None,
        level: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.of_dag_file:
            check_arguments(
                report=report, site=site, level=level, by=by, partition=partition, partition_end=partition_end
            )
        self.report = report
        self.partition = partition
        self.partition_end = partition_end
        self.by = by
        self.site = site
        self.level = level

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with self.connected() as client:
            scope = Scope(report_named(self.report), site_name(self.site), self.level or None)
            files = self._files(client, scope, context)
        if not files:
            log.warning("The server lists no files of %s for what was asked (by=%r)", scope, self.by)
        return [file.as_dict() for file in files]

    def _files(self, client: CcaClient, scope: Scope, context: Context) -> Sequence[RemoteFile]:
        """Return the files; raise where it cannot be believed that there are none."""
        if self.by == "new":
            check_arguments(report=self.report, by=self.by, site=scope.site, partition=self.partition)
            files = client.list_files(scope, by=self.by)
            if not files:
                client.confirm_site(scope)
            return files
        asked = partitions_of_run(context, scope.report, self.partition, self.partition_end)
        asked.check_retention()
        if self.by == "creation":
            groups = self._listed(client, Window(scope, asked.first, asked.last))
            if not any(groups) and asked.last.fading(datetime.now(UTC)):
                asked.refuse_gone()
            return [file for group in groups for file in group]
        files = client.list_files(scope, asked.first, asked.last, self.by)
        if not files:
            client.confirm_empty(scope, asked.last)
        return files

    @staticmethod
    def _listed(client: CcaClient, window: Window) -> Iterable[Sequence[RemoteFile]]:
        """Return the files of each partition, the oldest first; raise the error of one that has none."""
        found = client.list_range(window)
        for error in found.failures.values():
            raise error
        return [found.files[partition] for partition in window.partitions]
