"""### The list of all active sites, one snapshot a day

Lands the site list as CSV (§3.7) under `{cca_storage}/site_list/snapshot_date=YYYY-MM-DD/`, with a
manifest. It is the list as it is at the time of the run, under the UTC date on which it was fetched. A list
that was cut on its way (its `Total:N` against its rows) does not land.

Runs daily at 09:00 UTC. The API keeps no history of the list, so there is nothing to backfill: runs of past
dates in a backfill are skipped and say so.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_cca.assets import cca_asset, cca_partitions
from airflow_provider_cca.operators import CcaSiteListToObjectStorageOperator

with DAG(
    dag_id="cca_site_list",
    schedule=CronTriggerTimetable("0 9 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
    default_args={
        "retries": 4,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
    },
    doc_md=__doc__,
    tags=["cca"],
) as dag:
    CcaSiteListToObjectStorageOperator(
        task_id="land_site_list",
        destination="{{ var.value.get('cca_storage', '') }}",
        outlets=[cca_asset("site_list"), cca_partitions("site_list")],
    )
