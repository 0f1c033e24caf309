"""Settings with which a live test waits seconds where production waits minutes."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_cca.simulator import Simulator

# A cluster policy, so that the DAGs themselves are tested as they are shipped.
_POLICY = '''
from datetime import timedelta


def task_policy(task):
    """Look, and try again, every two seconds where production waits a few minutes."""
    task.retry_delay = timedelta(seconds=2)
    task.retry_exponential_backoff = False
    if hasattr(task, "poke_interval"):
        task.poke_interval = 2
'''

# How soon Airflow tells a task that somebody has marked it.
SETTINGS = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1"}


def hurry(home: Path) -> None:
    """Let the Airflow of this home wait seconds."""
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "airflow_local_settings.py").write_text(_POLICY)


def impatient(cca: Simulator, read_timeout: float) -> str:
    """The connection to the simulator, as JSON, which takes so many seconds without a byte for a failure."""
    connection = cca.connection
    return json.dumps(connection | {"extra": connection["extra"] | {"read_timeout": read_timeout}})
