"""What a server repeats to us of our secrets is not repeated to the user, however it is written."""

from __future__ import annotations

import html
import json
from threading import Thread
from urllib.parse import quote

import pytest

from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.simulator import Delay, Simulator, Status

PASSWORD = "pä\"sqz\\wo'rt<&>"


def client(sim):
    config = CcaConfig(sim.account, sim.password, host=sim.host, port=sim.port, schema="http")
    return CcaClient(config, attempts=1)


@pytest.mark.parametrize(
    "body",
    [
        "Bad request: " + json.dumps({"accountPassword": PASSWORD}),
        "Bad request: " + json.dumps({"accountPassword": PASSWORD}, ensure_ascii=False),
        json.dumps({"error": {"accountPassword": PASSWORD}}),
        f"<p>{html.escape(PASSWORD)}</p>",
        f"password={quote(PASSWORD)}",
        PASSWORD,
    ],
)
def test_a_password_is_hidden_in_every_form_in_which_a_server_may_repeat_it(body):
    with Simulator(password=PASSWORD).serve() as sim, client(sim) as cca:
        sim.inject(Status(401, body=body.encode()), "token")
        with pytest.raises(CcaError) as caught:
            cca.sites()
    assert "***" in str(caught.value)
    assert "sqz" not in str(caught.value)


def test_a_token_is_hidden_that_was_renewed_while_the_server_answered():
    with Simulator().serve() as sim, client(sim) as cca:
        cca.sites()
        (old,) = sim.tokens
        sim.inject(Delay(0.3), "sites")
        sim.inject(Status(500, f"Authorization: Bearer {old}"), "sites")
        said = []
        asking = Thread(target=lambda: said.append(refusal_of(cca.sites)))
        asking.start()
        sim.wait_open()
        cca.session._account.renew_at = 0.0
        cca.count(Scope(REPORTS["cdr_compressed"]), Partition.parse(str(sim.world.today), Grain.DAY))
        asking.join()
        assert len(sim.tokens) == 2
    assert "Authorization: Bearer ***" in said[0]


@pytest.mark.parametrize("status", [202, 206])
def test_the_token_of_a_login_answered_with_another_success_is_in_no_error(status):
    body = json.dumps({"accessToken": "t0k3n", "expiresIn": 43199}).encode()
    with Simulator().serve() as sim, client(sim) as cca:
        sim.inject(Status(status, body=body), "token")
        said = refusal_of(cca.sites)
    assert f"answered with {status}, which the API does not know" in said
    assert "t0k3n" not in said


def test_the_bytes_of_a_file_are_in_no_error():
    with Simulator().serve() as sim, client(sim) as cca:
        sim.download_hosts = [sim.host]
        files = cca.files(Scope(REPORTS["cdr_compressed"]), Partition.parse(str(sim.world.today), Grain.DAY))
        sim.inject(Status(206, body=b"+1 555 0100 called"), "download")
        said = refusal_of(lambda: list(cca.download(files[0])))
    assert "answered with 206" in said
    assert "0100" not in said


def refusal_of(call):
    with pytest.raises(CcaError) as caught:
        call()
    return str(caught.value)
