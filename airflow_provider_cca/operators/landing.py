"""Land the files of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_cca.core.files import RemoteFile, by_partition
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import CcaError, InvalidArgument, PartlyLanded
from airflow_provider_cca.integration.arguments import check_arguments, is_open, listed, site_names
from airflow_provider_cca.integration.requested_range import Asked, partitions_of_run
from airflow_provider_cca.operators.cca_operator import CcaLandingOperator, summary
from airflow_provider_cca.reports import report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.core.listings import Listing
    from airflow_provider_cca.operators.extract import CcaExtractOperator as CcaExtractOperator
    from airflow_provider_cca.operators.reconcile import CcaReconcileOperator as CcaReconcileOperator


class CcaDownloadFilesOperator(CcaLandingOperator):
    """Land exactly the files given, each in the partition of its creation.

    Returns {"partitions", "files", "bytes", "downloaded"}: what the manifests of these partitions now hold.

    :param files: What `CcaListFilesOperator` returned, or a part of it (templated).
    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    """

    template_fields: Sequence[str] = ("cca_conn_id", "files", "destination")

    def __init__(self, *, files: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.of_dag_file and not is_open(files):
            self._parsed(files)
        self.files = files

    def execute(self, context: Context) -> dict[str, Any]:
        with self.connected() as client:
            landed = self.land(client, by_partition(self._parsed(self.files)), whole=False)
        self.announce(context, landed)
        return summary(landed)

    @staticmethod
    def _parsed(files: Any) -> list[RemoteFile]:
        files = listed(files, list, dict)
        if not all(isinstance(file, Mapping) for file in files):
            raise InvalidArgument(
                "files is not a list: give the output of CcaListFilesOperator, or a part of it",
                argument="files",
            )
        return list(dict.fromkeys(RemoteFile.from_dict(file) for file in files))


class CcaToObjectStorageOperator(CcaLandingOperator):
    """List and land the files of a report that were created on a date, in a month, or in a range of them.

    When it succeeds, every file that the API listed is in the store, its size and MD5 as listed, and the
    partition's `_manifest.json` names them all. Landing a partition again downloads only what is missing
    or different. Returns {"report", "partition", "files", "bytes", "downloaded", "manifest"}; for a range
    or several sites {"report", "partition", "partition_end", "partitions", "files", "bytes", "downloaded"}.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly" (templated).
    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    :param partition: Creation date YYYY-MM-DD, or month YYYY-MM, in UTC (templated). None means the run's
        param `partition`, else its partition key, its logical date, or the date it runs after.
    :param partition_end: The last of a range, included (templated). A range of which the server has deleted
        the beginning lands from the oldest date that it still has. Dates that cannot be listed, as the newest
        while they are being made, do not hold back the others: the task then fails and names them.
    :param site: The site, or a list of sites, for report "cdr" (templated). A site that fails does not hold
        back the others: they land, and the task then fails and names it.
    :param level: "site", "customer" or "partner", for peak-port reports (templated).
    """

    template_fields: Sequence[str] = (
        *("cca_conn_id", "report", "destination", "partition", "partition_end", "site", "level"),
    )

    def __init__(
        self,
        *,
        report: str,
        partition: str | None = None,
        partition_end: str | None = None,
        site: str | Sequence[str] | None = None,
        level: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.of_dag_file:
            check_arguments(
                report=report, site=site, level=level, partition=partition, partition_end=partition_end
            )
        self.report = report
        self.partition = partition
        self.partition_end = partition_end
        self.site = site
        self.level = level

    def execute(self, context: Context) -> dict[str, Any]:
        with self.connected() as client:
            report = report_named(self.report)
            wanted = partitions_of_run(context, report, self.partition, self.partition_end)
            asked = wanted.still_there()
            scopes = [Scope(report, site, self.level or None) for site in self._sites()]
            listing, spoilt = self._listed(client, scopes, asked)
            if not listing.scopes:
                listing.raise_failures()
            listed = by_partition(listing.files)
            # A partition without files gets a manifest too: it says that there were none.
            empty: dict[tuple[Scope, Partition], list[RemoteFile]] = {
                (scope, partition): []
                for scope in listing.scopes
                for partition in asked.first.until(asked.last)
                if asked.may_be_empty(scope, partition, listed)
            }
            inside = {place: files for place, files in listed.items() if place[1] in asked}
            partitions = {place: files for place, files in (empty | inside).items() if place not in spoilt}
            strays = {place: files for place, files in listed.items() if place not in partitions}
            failed = None
            try:
                landed = self.land(client, partitions, strays)
            except PartlyLanded as error:
                failed = error
            failed = _with_spoilt(spoilt, failed)
            listing.raise_failures(failed)
            if failed:
                raise failed
            if len(scopes) == 1 and asked.first == asked.last and not partitions:
                asked.refuse_gone()
        self.announce(context, landed)
        landed = [one for one in landed if (one.scope, one.partition) in partitions]
        facts = {"report": self.report, "partition": str(asked.first), **summary(landed)}
        if len(scopes) == 1 and wanted.first == wanted.last:
            del facts["partitions"]
            return {**facts, "manifest": self.url(landed[0].manifest)}
        return {**facts, "partition_end": str(asked.last)}

    @staticmethod
    def _listed(
        client: CcaClient, scopes: Sequence[Scope], asked: Asked
    ) -> tuple[Listing, dict[tuple[Scope, Partition], CcaError]]:
        """What was listed, and the partitions of a range that could not be: they do not hold back others."""
        from airflow_provider_cca.core.listings import Window

        spoilt: dict[tuple[Scope, Partition], CcaError] = {}

        def files(scope: Scope) -> list[RemoteFile]:
            window = Window(scope, asked.first, asked.last)
            found = client.list_range(window)
            if len(found.failures) == len(window.partitions):
                raise next(iter(found.failures.values()))
            spoilt.update({(scope, partition): one for partition, one in found.failures.items()})
            return [file for group in found.files.values() for file in group]

        return client.files_of_all(scopes, files), spoilt

    def _sites(self) -> Sequence[str | None]:
        return site_names(self.site) or [None]


def _with_spoilt(
    spoilt: Mapping[tuple[Scope, Partition], CcaError], failed: PartlyLanded | None
) -> PartlyLanded | None:
    """One error for the partitions that could not be listed, and for what could not be landed."""
    if not spoilt:
        return failed
    named = {f"{scope} {partition}": error for (scope, partition), error in spoilt.items()}
    return PartlyLanded(
        f"{len(named)} partitions could not be listed, the others were: {', '.join(list(named)[:20])}"
        f"{', …' if len(named) > 20 else ''}. The first: {next(iter(named.values()))}"
        f"{f'. {failed}' if failed else ''}",
        failures={name: error.as_dict() for name, error in named.items()}
        | (dict(failed.failures) if failed else {}),
        retryable=any(error.retryable for error in (*named.values(), *filter(None, [failed]))),
    )
