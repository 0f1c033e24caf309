"""Run a DAG as `dag.test()` does, in a process and a database of its own, and print what Airflow has of it.

`python tests/support/one_run.py DAG_ID CONF` with AIRFLOW_HOME and the DAGs folder set; prints JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.cli.cli_parser import get_parser
from airflow.models import DagModel, TaskInstance
from airflow.models.asset import AssetDagRunQueue, AssetEvent
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from sqlalchemy import select

try:
    from airflow.models.asset import AssetPartitionDagRun
except ImportError:  # Airflow 3.1
    AssetPartitionDagRun = None

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag


def airflow(*arguments: str) -> None:
    parsed = get_parser().parse_args(arguments)
    parsed.func(parsed)


def stored(run_id: str) -> dict[str, Any]:
    with create_session() as session:
        events = [
            {
                "asset": event.asset.name,
                "uri": event.uri,
                "extra": event.extra,
                "partition_key": getattr(event, "partition_key", None),
                "task": event.source_task_id,
            }
            for event in session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id))
        ]
        links, tries = {}, {}
        for instance in session.scalars(select(TaskInstance).where(TaskInstance.run_id == run_id)):
            task = SerializedDagModel.get_dag(instance.dag_id, session=session).get_task(instance.task_id)
            tries[instance.task_id] = max(instance.try_number, tries.get(instance.task_id, 0))
            links[instance.task_id] = {
                name: task.get_extra_links(instance, name) for name in task.extra_links
            }
        return {
            "events": events,
            "links": links,
            "tries": tries,
            "starts": sorted({row.target_dag_id for row in session.scalars(select(AssetDagRunQueue))}),
            "starts_with_key": sorted(
                [row.target_dag_id, row.partition_key]
                for row in session.scalars(select(AssetPartitionDagRun))
            )
            if AssetPartitionDagRun
            else [],
        }


def main(dag_id: str, conf: str) -> None:
    airflow("db", "migrate")
    airflow("dags", "reserialize")
    bag = DagBag()
    with create_session() as session:
        for model in session.scalars(select(DagModel)):
            model.is_paused = False
    run = bag.dags[dag_id].test(run_conf=json.loads(conf))
    print(json.dumps({"state": str(run.state), "imports": bag.import_errors, **stored(run.run_id)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
