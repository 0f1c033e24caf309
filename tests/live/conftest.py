"""One simulator and one Airflow for all tests marked `live`, since they take long to start."""

from __future__ import annotations

import pytest

from airflow_provider_cca.simulator import Simulator

from .processes import children
from .stack import airflow_stack

# A cluster policy, so that the DAGs themselves are tested as they are shipped.
HURRY = '''
def task_policy(task):
    """Look every two seconds where production looks every few minutes."""
    if hasattr(task, "poke_interval"):
        task.poke_interval = 2
'''


@pytest.fixture(scope="session")
def cca():
    with Simulator(seed=1, days=400, sites=3).serve() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def airflow(cca, store, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    (home / "config").mkdir()
    (home / "config" / "airflow_local_settings.py").write_text(HURRY)
    with (
        children(home) as processes,
        airflow_stack(processes, connection=cca.connection_json, storage=store, scheduled=False) as stack,
    ):
        yield stack
