"""The simulator as a pytest fixture, for the tests of DAGs that use the provider.

@pytest.mark.cca_simulator(days=5, sites=["a site"])
def test_my_dag(cca_simulator): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.simulator import Simulator

MARKER = "cca_simulator"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(days=30, sites=3, seed=1, ways=None, ...): how the cca_simulator fixture makes its world",
    )


@pytest.fixture
def cca_simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A running CCA server with a fresh world; Airflow's connection ``cca_default`` leads to it.

    The marker ``cca_simulator`` takes the arguments of `Simulator`.
    """
    from airflow_provider_cca.simulator.simulator import Simulator

    marker = request.node.get_closest_marker(MARKER)
    with Simulator(*marker.args, **marker.kwargs).serve() if marker else Simulator().serve() as sim:
        monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", sim.connection_json)
        yield sim
