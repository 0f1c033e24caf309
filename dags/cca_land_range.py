"""### Land a stretch of creation dates of several reports, for the first day with this package

Lands the files that the CCA server created from one date to another, of all reports or of some (§3.5.4,
§3.5.5, §3.6.1, §3.6.2): a year in a handful of tasks, each with all its connections, where a backfill would
take a run for each date. The partitions and manifests under `{cca_storage}` are those of the daily DAGs, so
these go on from there; what has landed already is not downloaded again.

Runs only when it is triggered: choose `reports`, `from` and `to` in the form, in UTC; empty dates mean the
last 365 days. Earlier ones are asked for, too. Reports that are left empty mean those of the
Variable `cca_reports`, else all but `cdr`, whose records the zip files hold too. For the usual UI by
calendar, backfill the daily DAGs instead.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_cca.assets import cca_landings
from airflow_provider_cca.operators import CcaListSitesOperator, CcaToObjectStorageOperator
from airflow_provider_cca.reports import LEVELS, report_named
from airflow_provider_cca.runs import (
    CHOSEN_REPORTS,
    range_params,
    reports_param,
    skip_without_sites,
    within_retention,
)

MOST_BATCHES = 5

with DAG(
    dag_id="cca_land_range",
    schedule=None,
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    params={"reports": reports_param(), **range_params()},
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
    },
    doc_md=__doc__,
    tags=["cca"],
) as dag:
    list_sites = CcaListSitesOperator(task_id="list_sites", pre_execute=skip_without_sites)

    @task(trigger_rule="none_failed")
    def ranges(sites: list[str] | None, reports: str, first: str, last: str) -> list[dict]:
        """What each landing is asked for: a report, a level of it, or a batch of its sites."""
        first, last = within_retention(first, last)
        sites = sites or []
        length = -(-len(sites) // MOST_BATCHES) or 1
        batches = [sites[start : start + length] for start in range(0, len(sites), length)]
        parts = {"site": [{"site": b} for b in batches], "level": [{"level": x} for x in LEVELS], None: [{}]}
        return [
            {"report": report, "partition": first, "partition_end": last, **part}
            for report in map(str.strip, reports.split(","))
            for part in parts[report_named(report).needs]
        ]

    # Each of them takes up to 20 connections of its own; more at once would only share the worker's cores.
    CcaToObjectStorageOperator.partial(
        task_id="land_range",
        destination="{{ var.value.get('cca_storage', '') }}",
        max_active_tis_per_dagrun=4,
        outlets=[cca_landings()],
        map_index_template="{{ task.report }} {{ task.level or (task.site or [''])[0][:100] }}",
    ).expand_kwargs(
        ranges(
            list_sites.output,
            CHOSEN_REPORTS,
            "{{ params['from'] or '' }}",
            "{{ params['to'] or '' }}",
        )
    )
