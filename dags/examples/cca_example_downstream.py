"""### Example: start when compressed call detail records have landed

Starts from the asset that `cca_cdr_compressed` updates, reads the manifests that its events name, checks that
each object is there in its full size, and logs what it would load. Copy it, and load instead of logging.

A run can have the events of several landings: look at each of them. A landing that found nothing new has an
event as well, with `downloaded` 0. A run that is started by hand has none. An event that was made by hand, or
is about more than 500 partitions, names no manifests: the task fails and says so, and does not pass it over.

The events hold no connection id: it is taken from the Airflow Variable `cca_storage`.
"""

import json
import logging
from typing import Any
from urllib.parse import urlsplit

import pendulum
from airflow.sdk import DAG, Variable, task

from airflow_provider_cca.assets import cca_asset

log = logging.getLogger(__name__)
landed = cca_asset("cdr_compressed")

with DAG(
    dag_id="cca_example_downstream",
    schedule=[landed],
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["cca", "example"],
) as dag:

    @task
    def load(triggering_asset_events: Any = None) -> int:
        """The number of files that were found whole."""
        from airflow.sdk import ObjectStoragePath  # costs more than the rest of this file, at each parse

        conn_id = urlsplit(Variable.get("cca_storage")).username
        files = 0
        for event in triggering_asset_events.get(landed, ()):
            if "manifests" not in event.extra:
                raise ValueError(
                    "an event names no manifests: it was made by hand, or is about more than 500 partitions; "
                    f"load what is in {event.extra.get('folder', 'the store')}"
                )
            for manifest in event.extra["manifests"]:
                path = ObjectStoragePath(manifest, conn_id=conn_id)
                for file in json.loads(path.read_bytes())["files"]:
                    size = (path.parent / file["key"]).stat().st_size
                    if size != file["size"]:
                        raise ValueError(f"{file['key']} has {size} bytes, its manifest says {file['size']}")
                    log.info("Would load %s, %d bytes", path.parent / file["key"], size)
                    files += 1
        return files

    load()
