"""One simulator and one Airflow for all tests marked `live`, since they take long to start."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from airflow_provider_cca.simulator import Simulator

from .hurry import SETTINGS, hurry, impatient
from .processes import children
from .stack import airflow_stack
from .telling import lineage, statsd

# Longer than a killed task may take to end, so that a stalled read does not end by itself meanwhile.
READ_TIMEOUT_SECONDS = 10


@pytest.fixture(scope="session")
def cca():
    with Simulator(seed=1, days=400, sites=3).serve() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def airflow(cca, store, tmp_path_factory):
    with _airflow(cca, store, tmp_path_factory.mktemp("airflow")) as stack:
        yield stack


@pytest.fixture(scope="session")
def metrics():
    """Settings for Airflow's metrics, and the socket at which they arrive."""
    with statsd() as settings_and_socket:
        yield settings_and_socket


@pytest.fixture(scope="session")
def telling_airflow(cca, store, metrics, tmp_path_factory):
    """One that tells OpenLineage and statsd of its tasks, which takes each of them several times as long."""
    home = tmp_path_factory.mktemp("telling")
    with _airflow(cca, store, home, **lineage(home), **metrics[0]) as stack:
        yield stack


@contextmanager
def _airflow(cca, store, home, **settings):
    hurry(home)
    with (
        children(home) as processes,
        airflow_stack(
            processes,
            connection=impatient(cca, READ_TIMEOUT_SECONDS),
            storage=store,
            scheduled=False,
            # What is looked for in all that Airflow stores must not be there at the most talkative level.
            settings=SETTINGS | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"} | settings,
        ) as stack,
    ):
        yield stack
