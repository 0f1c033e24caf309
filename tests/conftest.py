"""What all tests share: an Airflow home of their own, a simulator, and time that does not pass."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

# Before the first import of Airflow, which reads them once.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="cca-tests-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")

import pendulum
import pytest
from hypothesis import settings

from airflow_provider_cca.api.auth import forget_logins
from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.core import retry
from airflow_provider_cca.errors import Closed
from airflow_provider_cca.simulator import Simulator

settings.register_profile("suite", max_examples=150, deadline=None)  # else a busy machine fails tests
settings.load_profile("suite")

pytest_plugins = [
    f"tests.support.{name}" for name in ("s3", "s3_proxy", "places", "strangers", "verdicts", "store_table")
]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The seconds that were waited between attempts, in the order in which they did not pass."""
    waited: list[float] = []

    def pause(seconds: float, closed: Event) -> None:
        waited.append(seconds)
        if closed.is_set():
            raise Closed("the client was closed while it waited to try again")

    monkeypatch.setattr(retry, "pause", pause)
    forget_logins()
    yield waited


@pytest.fixture
def sim(cca_simulator: Simulator) -> Simulator:
    """A CCA server of 30 days and 3 sites; the connection cca_default leads to it."""
    return cca_simulator


@pytest.fixture
def config(sim: Simulator) -> CcaConfig:
    return CcaConfig(
        account=sim.account,
        password=sim.password,
        host=sim.host,
        port=sim.port,
        schema="http",
        download_hosts=tuple(sim.connection["extra"]["download_hosts"]),
    )


@pytest.fixture
def client(config: CcaConfig) -> Iterator[CcaClient]:
    with CcaClient(config) as client:
        yield client


@pytest.fixture
def day(sim: Simulator) -> str:
    """A creation date whose files are there: two days ago."""
    return pendulum.instance(sim.now()).subtract(days=2).to_date_string()


@pytest.fixture
def run() -> Callable[..., Any]:
    """Render an operator's templates and execute it, as a task of a run on a logical date would."""

    def execute(operator: Any, logical_date: str | None = None, **context: Any) -> Any:
        date = pendulum.parse(logical_date) if logical_date else None
        values = {"params": {}, "logical_date": date, "ds": logical_date, **context}
        operator.render_template_fields(values)
        return operator.execute(values)

    return execute


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a sensor or trigger has logged: Airflow 3.1 does so through Python's logging, later ones print."""
    return lambda: capsys.readouterr().out or caplog.text
