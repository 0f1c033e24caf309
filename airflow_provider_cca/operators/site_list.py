"""Land the list of all active sites (§3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Context

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.integration.arguments import check_arguments
from airflow_provider_cca.integration.requested_range import partitions_of_run, run_type, written_by
from airflow_provider_cca.operators.cca_operator import CcaLandingOperator, summary
from airflow_provider_cca.reports import REPORTS


class CcaSiteListToObjectStorageOperator(CcaLandingOperator):
    """Land today's list of all active sites (§3.7), under the UTC date on which it is fetched.

    The API has no history of it: a past `snapshot_date` is an error, and a backfilled run of a past date
    is skipped. Returns {"report", "partition", "files", "bytes", "downloaded", "manifest"}.

    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    :param snapshot_date: Today as YYYY-MM-DD, for those who want to say it (templated).
    """

    template_fields: Sequence[str] = ("cca_conn_id", "destination", "snapshot_date")
    report = "site_list"

    def __init__(self, *, snapshot_date: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.of_dag_file:
            check_arguments(report="cdr_compressed", partition=snapshot_date)
        self.snapshot_date = snapshot_date

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_cca.landing.manifest_store import ManifestStore
        from airflow_provider_cca.landing.progress import Amount
        from airflow_provider_cca.landing.site_list import land_snapshot

        with self.connected() as client:
            report = REPORTS["site_list"]
            today = Partition.of(datetime.now(UTC), report.grain)
            self._refuse_other_days(context, today)
            landed = land_snapshot(
                ManifestStore(self.store(), client.session.retry),
                Scope(report),
                today,
                client.site_list,
                written_by(context),
            )
            self._tell(client, [landed], {(report.name, None): Amount(landed.downloaded, landed.bytes)})
        self.announce(context, [landed])
        facts = {"report": report.name, "partition": str(today), **summary([landed])}
        del facts["partitions"]
        return {**facts, "manifest": self.url(landed.manifest)}

    def _refuse_other_days(self, context: Context, today: Partition) -> None:
        """Raise for a `snapshot_date`, or a backfilled date, that is not today.

        Any other run gets today's list, however late it is: it may be retried after midnight in UTC.
        """
        named = self.snapshot_date not in (None, "", "None")
        if run_type(context) != "backfill" and (run_type(context) == "scheduled" or not named):
            return
        asked = partitions_of_run(context, REPORTS["site_list"], self.snapshot_date)
        if asked.first != today:
            asked.refuse(
                f"there is no site list of {asked.first}: the API gives the list as it is today and keeps no "
                "history of it (§3.7)"
            )
