"""Over TLS, as to Cisco: who is trusted, and that certificates are read once and not for each connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.simulator import Simulator
from tests.support.strangers import self_signed
from tests.support.today import today
from tests.support.tree import tree

FILES = 40
DAY = str(today().date())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def server(bundle: Path) -> Iterator[Simulator]:
    with Simulator(
        days=3, files_per_day=FILES, recovered=False, latency=0.02, certificate=bundle
    ).serve() as sim:
        yield sim


@pytest.fixture
def land(server: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Any], set[str]]:
    """Lands today's files with this `verify`; the MD5s of what is there then."""

    def act(verify: Any) -> set[str]:
        connection = server.connection
        connection["extra"]["verify"] = verify
        monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))
        destination = tmp_path / "landed"
        CcaToObjectStorageOperator(
            task_id="land", report="cdr_compressed", destination=str(destination), partition=DAY
        ).execute({})
        return set(tree(destination))

    return act


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("verify", [True, False])
def test_files_land_from_several_hosts(
    server: Simulator, land: Callable[[Any], set[str]], bundle: Path, verify: bool
) -> None:
    landed = land(str(bundle) if verify else False)
    assert {name.rpartition("/")[2] for name in landed} >= {
        file.name for file in server.truth("cdr_compressed", DAY, DAY)
    }
    assert server.peak_connections > 1


def test_certificates_are_read_once_for_all_connections_and_hosts(
    server: Simulator, land: Callable[[Any], set[str]], bundle: Path
) -> None:
    """The bundle is gone after the login, and each of the many connections that follow is believed by it."""
    server.before_answer = lambda asked: bundle.unlink(missing_ok=True)
    assert len(land(str(bundle))) == FILES + 1
    assert not bundle.exists()


def test_who_is_not_vouched_for_gets_no_password(server: Simulator, land: Callable[[Any], set[str]]) -> None:
    with pytest.raises(AirflowFailException, match="cannot be verified"):
        land(True)
    assert server.requests == []


def test_a_host_that_has_the_certificate_of_another_gets_no_token(
    server: Simulator, land: Callable[[Any], set[str]], bundle: Path
) -> None:
    server.download_hosts = [f"localhost:{server.port}"]
    with pytest.raises(AirflowFailException, match="certificate of localhost"):
        land(str(bundle))
    assert server.count(call="download") == 0


def test_a_damaged_certificate_is_blamed_on_its_bundle(
    server: Simulator, land: Callable[[Any], set[str]], tmp_path: Path
) -> None:
    damaged = tmp_path / "ours.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with pytest.raises(AirflowFailException, match=rf'"verify" .* names {damaged}, which holds no'):
        land(str(damaged))
    assert server.requests == []


def test_the_simulators_own_connection_trusts_it(server: Simulator, bundle: Path) -> None:
    assert server.connection["extra"]["verify"] == str(bundle)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_simulator_without_a_usable_certificate_says_which(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "own.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OSError, match=f"{file} is no PEM file of a certificate and its key"):
        Simulator(days=1, certificate=file).start()
