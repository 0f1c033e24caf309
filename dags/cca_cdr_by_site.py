"""### Call detail records site by site, one creation date a run

Lands the CSV files that the CCA server created on a date, of every site (§3.5.1, §3.5.4, §3.5.6), under
`{cca_storage}/cdr/site=…/creation_date=YYYY-MM-DD/`, each with a manifest. The same records come faster as
one zip file a day: see `cca_cdr_compressed`. Use this DAG when you want them apart.

Runs daily at 09:00 UTC. The API does not say whether a site's listing by creation date is complete, but the
compressed file of a date is made of its CSV files: so the DAG waits for that one, as `cca_cdr_compressed`
does. Sites are landed in at most 50 batches, one mapped task each, however many sites there are. A site that
fails does not hold back the others of its batch; the task fails when they have landed, names it, and is
retried.

The logical date is the creation date: a backfill of 1 to 31 March lands the files created on 1 to 31 March,
for the sites that exist today. Dates more than 365 days ago are skipped.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, task
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_cca.assets import cca_asset, cca_partitions
from airflow_provider_cca.operators import CcaListSitesOperator, CcaToObjectStorageOperator
from airflow_provider_cca.runs import partition_params
from airflow_provider_cca.sensors import CcaFilesSensor

MOST_BATCHES = 50

with DAG(
    dag_id="cca_cdr_by_site",
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
    list_sites = CcaListSitesOperator(task_id="list_sites")

    @task
    def batches(sites: list[str]) -> list[list[str]]:
        """The sites in at most 50 batches of about equal length."""
        length = -(-len(sites) // MOST_BATCHES) or 1
        return [sites[start : start + length] for start in range(0, len(sites), length)]

    land_files = CcaToObjectStorageOperator.partial(
        task_id="land_files",
        report="cdr",
        destination="{{ var.value.get('cca_storage', '') }}",
        outlets=[cca_asset("cdr"), cca_partitions("cdr")],
        # From the first site of the batch to its last; Airflow takes 250 characters.
        map_index_template="{{ task.site[0][:100] }}{{ ' to ' ~ task.site[-1][:100] if task.site[1:] }}",
    ).expand(site=batches(list_sites.output))

    wait_for_files >> list_sites
