"""### Find what has not landed, land it, and show how far everything has landed

Lands what the other DAGs left out: it compares one listing of each report (§3.5.4, §3.5.5, §3.6.1, §3.6.2)
over the last 365 days with what is in `cca_storage`, and lands exactly what is missing, damaged or different,
nearest deadline first, with the same partitions and manifests. Then it writes `{cca_storage}/_coverage.json`,
the state of every creation date.

Runs daily at 10:00 UTC, an hour after the DAGs that land. When nothing is missing it takes seconds. A run
fails when something could not be listed or landed, and when files that the server deletes within 14 days
have not landed: give this DAG an `on_failure_callback` to be told. The site list has no history, so it is
left out.

It lands the reports that the Variable `cca_reports` names, such as `cdr_compressed,peak_port_daily`. As long
as that is not set it only looks, and says what it would land. The form can name others for one run.

A run is about the last days before *today*, whatever its logical date: a backfill of it is refused. With
`dry_run` it lands nothing and writes the coverage alone. With `verify` set to `content` it reads all objects
again, to find those that were damaged without being written.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_cca.assets import cca_landings
from airflow_provider_cca.operators import CcaReconcileOperator
from airflow_provider_cca.runs import CHOSEN_REPORTS, NOTHING_CHOSEN, reports_param, say_how_to_start

with DAG(
    dag_id="cca_reconcile",
    schedule=CronTriggerTimetable("0 10 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    params={
        "reports": reports_param(),
        "lookback_days": Param(365, type="integer", minimum=1, maximum=365, description="Days before today."),
        "dry_run": Param(False, type="boolean", description="Land nothing, only write the coverage."),
        "verify": Param(
            "changed",
            enum=["size", "changed", "content"],
            description="How to tell whether an object is what was landed; content reads them all.",
        ),
    },
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
    },
    doc_md=__doc__,
    tags=["cca"],
) as dag:
    CcaReconcileOperator(
        task_id="reconcile",
        report=CHOSEN_REPORTS,
        lookback_days="{{ params.lookback_days }}",
        dry_run=NOTHING_CHOSEN,
        verify="{{ params.verify }}",
        alarm_days=14,
        destination="{{ var.value.get('cca_storage', '') }}",
        outlets=[cca_landings()],
        pre_execute=say_how_to_start,
    )
