"""### Compressed call detail records, one creation date a run

Lands the zip files that the CCA server created on a date (§3.5.5, §3.5.7) under
`{cca_storage}/cdr_compressed/creation_date=YYYY-MM-DD/`, with a manifest that names them.

Runs daily at 09:00 UTC, when the files of the night (about 07:30 UTC) are usually there, and waits in the
triggerer when they are not: for 36 hours, since a server may list a date only on the next one. When it lists
nothing by then the run is skipped, and `cca_reconcile` lands what comes later; when the server fails for 35
minutes, the run does. The logical date is the creation date, so a backfill of 1 to 31 March lands
the files created on 1 to 31 March; dates more than 365 days ago are skipped. 09:00 UTC falls on the day
that was clicked in every time zone from UTC-9 to UTC+14. Landing a date again downloads only what is missing.

Set the Airflow Variable `cca_storage` to the destination, such as `s3://aws_default@bucket/cca`, and create
the connection `cca_default`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_cca.assets import cca_asset, cca_partitions
from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.runs import partition_params
from airflow_provider_cca.sensors import CcaFilesSensor

with DAG(
    dag_id="cca_cdr_compressed",
    schedule=CronTriggerTimetable("0 9 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
    params=partition_params(),
    default_args={
        "retries": 4,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
    },
    doc_md=__doc__,
    tags=["cca"],
) as dag:
    wait_for_files = CcaFilesSensor(
        task_id="wait_for_files",
        report="cdr_compressed",
        deferrable=True,
        allow_empty=True,
        poke_interval=timedelta(minutes=5),
        timeout=timedelta(hours=36),
    )
    land_files = CcaToObjectStorageOperator(
        task_id="land_files",
        report="cdr_compressed",
        destination="{{ var.value.get('cca_storage', '') }}",
        outlets=[cca_asset("cdr_compressed"), cca_partitions("cdr_compressed")],
    )
    wait_for_files >> land_files
