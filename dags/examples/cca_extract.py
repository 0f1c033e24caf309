"""### Example: unpack the compressed call detail records when they have landed

Starts from the asset that `cca_cdr_compressed` updates, and unpacks the zip files of each partition that
landed into `{cca_storage}/cdr_csv/creation_date=YYYY-MM-DD/{member}.gz`, with a manifest that names them:
files that DuckDB, Spark, Athena and others read as they are. A date again makes only what is missing.

A run can have the events of several landings: it takes the partitions from the manifests that they name, and
the place from the Airflow Variable `cca_storage`, since events hold no connection id. In a run that is
started by hand the param `partition` says the date, and `partition_end` the last of a range; without them it
is the date of the run.
"""

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, Variable, task

from airflow_provider_cca.assets import cca_asset
from airflow_provider_cca.operators import CcaExtractOperator
from airflow_provider_cca.runs import partition_params

landed = cca_asset("cdr_compressed")

with DAG(
    dag_id="cca_extract",
    schedule=[landed],
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=4,
    params=partition_params(),
    default_args={
        "retries": 4,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
    },
    doc_md=__doc__,
    tags=["cca", "example"],
) as dag:

    @task
    def what_landed(triggering_asset_events: Any = None) -> str | list[str]:
        """The manifests that the events name; in a run without events the storage itself."""
        storage = Variable.get("cca_storage").rstrip("/")
        events = triggering_asset_events.get(landed, ()) if triggering_asset_events else ()
        manifests = {manifest for event in events for manifest in event.extra.get("manifests", ())}
        folder = "/cdr_compressed/"
        return sorted(storage + folder + one.rpartition(folder)[2] for one in manifests) or storage

    CcaExtractOperator(
        task_id="extract_files",
        source=what_landed(),
        destination="{{ var.value.get('cca_storage', '') }}",
    )
