"""From a connection to a client: every field, and every way in which a field can be wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_cca import form
from airflow_provider_cca.compat import AirflowFailException
from airflow_provider_cca.config import CcaConfig
from airflow_provider_cca.errors import FileExpired, InvalidConnection, ServerFault
from airflow_provider_cca.get_provider_info import get_provider_info
from airflow_provider_cca.hooks import CcaHook, config_from
from airflow_provider_cca.outcomes import airflow_errors
from airflow_provider_cca.simulator import Simulator


def connection(extra: Any = None, **fields: Any) -> Connection:
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    given = {"login": "account", "password": "word", **fields}
    return Connection(conn_id="cca_default", conn_type="cca", extra=text, **given)


def test_a_connection_with_login_and_password_alone_leads_to_cisco() -> None:
    config = config_from(connection())
    assert config == CcaConfig("account", "word")
    assert config.api_root == "https://pcsprod.webex.com/pcs/api"
    assert config.download_hosts == ("webex.com",)
    assert (config.max_connections, config.allow_http, config.verify) == (20, False, True)


def test_every_field_is_read() -> None:
    extra = {
        "download_hosts": ["cdn.example", "127.0.0.2"],
        "allow_http": True,
        "verify": "/etc/ssl/ours.pem",
        "proxy": "http://proxy.example:3128",
        "max_connections": 5,
        "connect_timeout": 3,
        "read_timeout": "90.5",
        "pool_size": "is nothing that we know, and is passed to nobody",
    }
    assert config_from(connection(extra, host="cca.example", schema="http", port=8089)) == CcaConfig(
        account="account",
        password="word",
        host="cca.example",
        schema="http",
        port=8089,
        download_hosts=("cdn.example", "127.0.0.2"),
        allow_http=True,
        verify="/etc/ssl/ours.pem",
        proxy="http://proxy.example:3128",
        max_connections=5,
        connect_timeout=3.0,
        read_timeout=90.5,
    )


def test_the_forms_texts_are_read_as_values() -> None:
    config = config_from(
        connection({"download_hosts": "a.example, b.example", "verify": "false", "max_connections": "7"})
    )
    assert (config.download_hosts, config.verify, config.max_connections) == (
        ("a.example", "b.example"),
        False,
        7,
    )


@pytest.mark.parametrize(
    ("conn", "says"),
    [
        (connection(login=None), "no login or no password"),
        (connection(password=""), "no login or no password"),
        (connection(host="https://pcsprod.webex.com"), "without scheme or path"),
        (connection(schema="ftp"), "set it to https"),
        (connection(host="cca.example", schema="http"), "would send the password unencrypted"),
        (connection("no json"), "not a JSON object"),
        (connection("[1]"), "not a JSON object"),
        (connection({"max_connections": 21}), "the server allows 1 to 20"),
        (connection({"max_connections": 0}), "the server allows 1 to 20"),
        (connection({"max_connections": "many"}), "max_connections in its extra is 'many'"),
        (connection({"read_timeout": -1}), "read_timeout is -1"),
        (connection({"allow_http": "perhaps"}), "allow_http in its extra is 'perhaps'"),
        (connection({"download_hosts": {"a": 1}}), "download_hosts in its extra"),
    ],
)
def test_a_field_that_cannot_be_used_says_which_and_what_to_do(conn: Connection, says: str) -> None:
    with pytest.raises(InvalidConnection, match=says):
        config_from(conn)


def test_a_missing_connection_says_how_to_create_it() -> None:
    with pytest.raises(
        InvalidConnection, match=r"there is no connection 'nowhere': create it under Admin > Connections"
    ):
        CcaHook("nowhere").get_conn()


def test_an_unusable_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CCA_OTHER", json.dumps({"conn_type": "cca", "login": "a"}))
    with pytest.raises(
        InvalidConnection, match=r"connection 'cca_other': the connection has no login or no password"
    ):
        CcaHook("cca_other").get_conn()


def test_what_can_never_succeed_fails_without_retries() -> None:
    with pytest.raises(AirflowFailException, match=r"a\.zip is gone") as caught, airflow_errors():
        raise FileExpired("a.zip is gone")
    assert isinstance(caught.value.__cause__, FileExpired)


def test_what_may_pass_is_left_to_airflows_retries() -> None:
    with pytest.raises(ServerFault), airflow_errors():
        raise ServerFault("503")


def test_the_test_button_says_what_it_found(sim: Simulator) -> None:
    assert CcaHook().test_connection() == (
        True,
        f"Logged in; 3 sites, the first of them {sim.world.sites[0]}",
    )


def test_the_test_button_says_what_is_wrong(sim: Simulator) -> None:
    sim.accounts.clear()
    works, says = CcaHook().test_connection()
    assert not works
    assert "check login and password" in says
    assert sim.password not in says


def test_the_rows_of_the_site_list_are_typed(sim: Simulator) -> None:
    rows = CcaHook().site_rows()
    assert [row.site_name for row in rows] == list(sim.world.sites)
    assert rows[0].subscription_start_time.tzinfo is not None


def test_both_styles_of_the_connection_form_say_the_same() -> None:
    """Airflow 3.2 and later read the provider info, 3.1 the hook; every extra has a field."""
    (info,) = get_provider_info()["connection-types"]
    behaviour = CcaHook.get_ui_field_behaviour()
    assert {k.replace("-", "_"): v for k, v in info["ui-field-behaviour"].items()} == behaviour
    fields = set(CcaConfig.__dataclass_fields__) - {"account", "password", "host", "schema", "port"}
    assert set(info["conn-fields"]) == set(form.EXTRA_FIELDS) == fields


@pytest.mark.parametrize("hosts", ["*.webex.com", ["*.webex.com"], '["webex.com"]', " .webex.com "])
def test_hosts_are_read_however_they_are_written(hosts: Any) -> None:
    assert config_from(connection({"download_hosts": hosts})).download_hosts == ("webex.com",)


def test_the_password_and_token_are_in_no_repr(sim: Simulator) -> None:
    with CcaHook().get_conn() as client:
        client.sites()
        shown = repr([client.config, client.session._account, client.session._account.current])
    assert sim.password not in shown
    assert not any(token in shown for token in sim.tokens)
