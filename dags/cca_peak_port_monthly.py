"""### Monthly peak-port files of all three levels, one creation month a run

Lands the peak-port files of level site, customer and partner that the CCA server created in a calendar
month (§3.6.2, §3.6.3) under `{cca_storage}/peak_port_monthly/level=…/creation_month=YYYY-MM/`, each with a
manifest. The month is that of *creation*: the files created in April hold the usage of March.

Runs on the 5th of each month at 09:00 UTC, when the files (about the 3rd) are usually there, and waits in the
triggerer for 3 days when they are not. A server that means the month of usage lists nothing by then: the run
is skipped and says so, and `cca_reconcile` lands the files when they are there. When the server fails for 35
minutes, the run does. The month of the logical date is the creation month, so a backfill of 1 January to 31
December makes twelve runs. Months that ended more than 365 days ago are skipped.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_cca.assets import cca_asset, cca_partitions
from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.reports import Grain
from airflow_provider_cca.runs import partition_params
from airflow_provider_cca.sensors import CcaFilesSensor

with DAG(
    dag_id="cca_peak_port_monthly",
    schedule=CronTriggerTimetable("0 9 5 * *", timezone="UTC"),
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
    params=partition_params(Grain.MONTH),
    default_args={
        "retries": 4,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
    },
    doc_md=__doc__,
    tags=["cca"],
) as dag:
    for level in ("site", "customer", "partner"):
        wait_for_files = CcaFilesSensor(
            task_id=f"wait_for_{level}_files",
            report="peak_port_monthly",
            level=level,
            deferrable=True,
            allow_empty=True,
            poke_interval=timedelta(minutes=15),
            timeout=timedelta(days=3),
        )
        land_files = CcaToObjectStorageOperator(
            task_id=f"land_{level}_files",
            report="peak_port_monthly",
            level=level,
            destination="{{ var.value.get('cca_storage', '') }}",
            outlets=[
                cca_asset("peak_port_monthly", level=level),
                cca_partitions("peak_port_monthly", level=level),
            ],
        )
        wait_for_files >> land_files
