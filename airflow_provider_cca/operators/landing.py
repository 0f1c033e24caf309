"""Land the files of a report."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_cca.core.failures import partly_landed
from airflow_provider_cca.core.partition import Place, Scope
from airflow_provider_cca.errors import CcaError, InvalidArgument, PartlyLanded
from airflow_provider_cca.integration.arguments import check_arguments, is_open, listed, site_names
from airflow_provider_cca.integration.requested_range import partitions_of_run
from airflow_provider_cca.operators.cca_operator import CcaLandingOperator, summary
from airflow_provider_cca.reports import report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.core.files import RemoteFile
    from airflow_provider_cca.core.listings import Window


log = logging.getLogger(__name__)

Failures = Mapping[Place, CcaError]


class CcaDownloadFilesOperator(CcaLandingOperator):
    """Land exactly the files given, each in the partition that it was listed under.

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
        # Imported when the task runs: every parse of a DAG file would pay for it.
        from airflow_provider_cca.core.files import by_partition

        with self.connected() as client:
            files = by_partition(self._parsed(self.files))
            if not files:
                log.warning("No files were given: nothing lands, and no manifest says that there are none")
            landed = self.land(client, self.lander(client, context), files, list_again=None)
        self.announce(context, landed)
        return summary(landed)

    @staticmethod
    def _parsed(files: Any) -> list[RemoteFile]:
        from airflow_provider_cca.core.files import RemoteFile

        files = listed(files, list, dict)
        if not all(isinstance(file, Mapping) for file in files):
            raise InvalidArgument(
                "files is not a list: give the output of CcaListFilesOperator, or a part of it",
                argument="files",
            )
        return list(dict.fromkeys(RemoteFile.from_dict(file) for file in files))


class CcaToObjectStorageOperator(CcaLandingOperator):
    """List and land the files of a report that the server lists for a date, a month, or a range of them.

    When it succeeds, every file that the API listed is in the store, its size and MD5 as listed, and the
    partition's `_manifest.json` names them all. Landing a partition again downloads only what is missing
    or different. A partition without files gets a manifest that says so once it ended 48 hours ago; until
    then the task fails with NotYetListed, which is retried. Returns {"report", "partition", "files", "bytes",
    "downloaded", "manifest"}; for a range or several sites {"report", "partition", "partition_end",
    "partitions", "files", "bytes", "downloaded"}.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly" (templated).
    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    :param partition: Creation date YYYY-MM-DD, or month YYYY-MM, in UTC (templated). None means the run's
        param `partition`, else its partition key, its logical date, or the date it runs after.
    :param partition_end: The last of a range, included (templated). Dates that cannot be listed, as the
        newest while they are being made, do not hold back the others: the task then fails and names them.
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
        from airflow_provider_cca.core.listings import Window

        with self.connected() as client:
            report = report_named(self.report)
            asked = partitions_of_run(context, report, self.partition, self.partition_end)
            asked.check_retention()
            scopes = [Scope(report, site, self.level or None) for site in self._sites()]
            windows = [Window(scope, asked.first, asked.last) for scope in scopes]
            lander = self.lander(client, context)
            # Before the server is asked: a file that it revises in between would pass for older than it is.
            folders = lander.look([(one.scope, partition) for one in windows for partition in one.partitions])
            files, failures = _listed(client, windows)
            landed, failed = [], None
            try:
                landed = self.land(client, lander, files, client.list_partition, folders)
            except PartlyLanded as error:
                failed = error
            _raise_failures(failures, len(files) + len(failures), failed)
            if not landed:
                asked.refuse_gone()
        self.announce(context, landed)
        facts = {"report": self.report, "partition": str(asked.first), **summary(landed)}
        if len(scopes) == 1 and asked.first == asked.last:
            del facts["partitions"]
            return {**facts, "manifest": self.url(landed[0].manifest)}
        return {**facts, "partition_end": str(asked.last)}

    def _sites(self) -> Sequence[str | None]:
        return site_names(self.site) or [None]


def _listed(
    client: CcaClient, windows: Iterable[Window]
) -> tuple[dict[Place, Sequence[RemoteFile]], Failures]:
    """Return the files of each partition that is to have a manifest, and the errors of the others.

    One without files is to have a manifest too, which says that there were none: but not one that is so old
    that the server may have deleted them. Raises the error of a window that is alone, and failed as a whole.
    """
    files: dict[Place, Sequence[RemoteFile]] = {}
    failures: dict[Place, CcaError] = {}
    for window, found in client.list_ranges(windows):
        failures |= {(window.scope, partition): error for partition, error in found.failures.items()}
        files |= {(window.scope, partition): group for partition, group in found.files.items()}
    scopes = {scope for scope, _ in failures}
    if not files and len(scopes) == 1:
        raise next(iter(failures.values()))
    now = datetime.now(UTC)
    empty = [place for place, group in files.items() if not group]
    if none := [place for place in empty if not place[1].fading(now)]:
        log.warning("The server lists no files, and the manifests say so, of %s", _names(none))
    gone = {place for place in empty if place[1].fading(now)}
    return {place: group for place, group in files.items() if place not in gone}, failures


def _raise_failures(failures: Failures, asked: int, failed: PartlyLanded | None) -> None:
    """Raise one error for what could not be listed, and for what could not be landed, if there is any.

    :param asked: How many partitions were asked for.
    """
    if not failures:
        if failed:
            raise failed
        return
    first, others = next(iter(failures.values())), ", the others were" if len(failures) < asked else ""
    raise partly_landed(
        f"{len(failures)} of {asked} could not be listed{others}: {_names(failures)}. The first: {first}",
        {f"{scope} {partition}": error for (scope, partition), error in failures.items()},
        failed,
    ) from first


def _names(places: Iterable[Place]) -> str:
    names = [f"{scope} {partition}" for scope, partition in places]
    return f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
