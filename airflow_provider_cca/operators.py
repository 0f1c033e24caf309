"""List, download and land the files of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_cca.arguments import check_arguments, is_open
from airflow_provider_cca.errors import CcaError, InvalidArgument, PartlyLanded
from airflow_provider_cca.models import Partition, RemoteFile, Scope, by_partition
from airflow_provider_cca.reports import REPORTS, report_named
from airflow_provider_cca.runs import Asked, partitions_of_run, run_type
from airflow_provider_cca.tasks import CcaLandingOperator, CcaOperator

if TYPE_CHECKING:
    from airflow_provider_cca.client import CcaClient, Listing
    from airflow_provider_cca.extracting import CcaExtractOperator as CcaExtractOperator
    from airflow_provider_cca.plans import Landed
    from airflow_provider_cca.reconciling import CcaReconcileOperator as CcaReconcileOperator

__all__ = [
    "CcaDownloadFilesOperator",
    "CcaExtractOperator",
    "CcaListFilesOperator",
    "CcaListSitesOperator",
    "CcaReconcileOperator",
    "CcaSiteListToObjectStorageOperator",
    "CcaToObjectStorageOperator",
]

ELSEWHERE = {"CcaExtractOperator": "extracting", "CcaReconcileOperator": "reconciling"}
"""Operators with a module of their own."""


def __getattr__(name: str) -> Any:
    # When asked for: most DAGs use neither, and would take a fifth longer to be parsed.
    if name not in ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"airflow_provider_cca.{ELSEWHERE[name]}"), name)


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

    template_fields: Sequence[str] = ("report", "partition", "partition_end", "site", "level")

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
            scope = Scope(report_named(self.report), self.site or None, self.level or None)
            if self.by == "new":
                return [file.as_dict() for file in client.files(scope, by=self.by)]
            asked = partitions_of_run(context, scope.report, self.partition, self.partition_end)
            if self.by == "creation":
                asked.check_retention()
            files = client.files(scope, asked.first, asked.last, self.by)
            if self.by == "creation":
                asked.may_be_empty(scope, asked.first, by_partition(files))
            return [file.as_dict() for file in files]


class CcaDownloadFilesOperator(CcaLandingOperator):
    """Land exactly the files given, each in the partition of its creation.

    Returns {"partitions", "files", "bytes", "downloaded"}: what the manifests of these partitions now hold.

    :param files: What `CcaListFilesOperator` returned, or a part of it (templated).
    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    """

    template_fields: Sequence[str] = ("files", "destination")

    def __init__(self, *, files: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_open(files):
            self._parsed(files)
        self.files = files

    def execute(self, context: Context) -> dict[str, Any]:
        with self.connected() as client:
            landed = self.land(client, by_partition(self._parsed(self.files)), whole=False)
        self.announce(context, landed)
        return summary(landed)

    @staticmethod
    def _parsed(files: Any) -> list[RemoteFile]:
        if isinstance(files, str):
            try:
                files = json.loads(files)
            except ValueError:
                files = None
        if isinstance(files, str | Mapping) or not hasattr(files, "__iter__"):
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

    template_fields: Sequence[str] = ("report", "destination", "partition", "partition_end", "site", "level")

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
        from airflow_provider_cca.windows import Window, listed

        spoilt: dict[tuple[Scope, Partition], CcaError] = {}

        def files(scope: Scope) -> list[RemoteFile]:
            window = Window(scope, asked.first, asked.last)
            found = listed(client.files, window)
            if len(found.failures) == len(window.partitions):
                raise next(iter(found.failures.values()))
            spoilt.update({(scope, partition): one for partition, one in found.failures.items()})
            return [file for group in found.files.values() for file in group]

        return client.files_of_all(scopes, files), spoilt

    def _sites(self) -> Sequence[str | None]:
        if self.site is None or isinstance(self.site, str):
            return [self.site or None]
        return list(dict.fromkeys(self.site)) or [None]


class CcaSiteListToObjectStorageOperator(CcaLandingOperator):
    """Land today's list of all active sites (§3.7), under the UTC date on which it is fetched.

    The API has no history of it: a past `snapshot_date` is an error, and a backfilled run of a past date
    is skipped. Returns {"report", "partition", "files", "bytes", "downloaded", "manifest"}.

    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    :param snapshot_date: Today as YYYY-MM-DD, for those who want to say it (templated).
    """

    template_fields: Sequence[str] = ("destination", "snapshot_date")
    report = "site_list"

    def __init__(self, *, snapshot_date: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_arguments(report="cdr_compressed", partition=snapshot_date)
        self.snapshot_date = snapshot_date

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_cca.landing_sites import land_snapshot
        from airflow_provider_cca.progress import Amount

        with self.connected() as client:
            report = REPORTS["site_list"]
            today = Partition.of(datetime.now(UTC), report.grain)
            self._refuse_other_days(context, today)
            landed = land_snapshot(self.store(), Scope(report), today, client.site_list, client.session.retry)
            self._tell(client, [landed], {(report.name, None): Amount(landed.downloaded, landed.bytes)})
        self.announce(context, [landed])
        facts = {"report": report.name, "partition": str(today), **summary([landed])}
        del facts["partitions"]
        return {**facts, "manifest": self.url(landed.manifest)}

    def _refuse_other_days(self, context: Context, today: Partition) -> None:
        """A scheduled run may come late: it stores what there is. Others are about a day that is gone."""
        asked = partitions_of_run(context, REPORTS["site_list"], self.snapshot_date)
        if asked.first != today and run_type(context) != "scheduled":
            asked.refuse(
                f"there is no site list of {asked.first}: the API gives the list as it is today and keeps no "
                "history of it (§3.7)"
            )


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


def summary(landed: Sequence[Landed]) -> dict[str, Any]:
    """What XCom gets to know of a landing: counts alone."""
    return {
        "partitions": len(landed),
        "files": sum(one.files for one in landed),
        "bytes": sum(one.bytes for one in landed),
        "downloaded": sum(one.downloaded for one in landed),
    }
