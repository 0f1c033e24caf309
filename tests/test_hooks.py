"""From a connection to a client: every field, and every way in which a field can be wrong."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.sdk import Connection
from airflow.sdk.log import redact

from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.errors import FileExpired, InvalidConnection, ServerFault
from airflow_provider_cca.get_provider_info import get_provider_info
from airflow_provider_cca.hooks import CcaHook
from airflow_provider_cca.integration import connection_form as form
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.integration.connection import config_from
from airflow_provider_cca.integration.task_failures import airflow_errors
from airflow_provider_cca.simulator import Simulator
from tests.support.strangers import Stranger, self_signed


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
        (connection('{"max_connections": 1e400}'), "max_connections in its extra is inf"),
        (connection('{"max_connections": NaN}'), "max_connections in its extra is nan"),
        (connection({"max_connections": "10.5"}), "max_connections in its extra is '10.5'"),
        (connection({"max_connections": True}), "max_connections in its extra is True"),
        (connection({"read_timeout": True}), "read_timeout in its extra is True"),
        (connection({"read_timeout": 10**400}), "read_timeout in its extra is 1000"),
        (connection({"verify": 3}), "verify in its extra is 3"),
        (connection({"proxy": ["http://me:hunter2@a"]}), "proxy in its extra is not a text"),
        (connection({"download_hosts": ["https://me:hun@ter2@a"]}), "https://…@a"),
        (connection('"text"'), "not a JSON object"),
        (connection("[" * 100_000), "not a JSON object"),
        (connection({"read_timeout": -1}), "read_timeout is -1"),
        (connection({"allow_http": "perhaps"}), "allow_http in its extra is 'perhaps'"),
        (connection({"download_hosts": {"a": 1}}), "download_hosts in its extra"),
    ],
)
def test_a_field_that_cannot_be_used_says_which_and_what_to_do(conn: Connection, says: str) -> None:
    with pytest.raises(InvalidConnection, match=says) as caught:
        config_from(conn)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("extra", [None, "", " ", "{}", "{ }", "{}\n", "null"])
def test_an_extra_without_anything_in_it_means_the_defaults(extra: str | None) -> None:
    assert config_from(connection(extra)) == CcaConfig("account", "word")


@pytest.mark.parametrize("number", [10, 10.0, "10", "10.0", " 10 "])
def test_a_number_is_read_as_a_number_or_its_text(number: Any) -> None:
    config = config_from(connection({"max_connections": number, "read_timeout": number}))
    assert (config.max_connections, config.read_timeout) == (10, 10.0)


def test_spaces_around_a_field_are_no_part_of_it() -> None:
    extra = {"verify": " /ca.pem ", "proxy": " http://127.0.0.2:3128\n", "read_timeout": " "}
    assert config_from(connection(extra, host=" localhost ", schema="HTTP ")) == CcaConfig(
        "account",
        "word",
        host="localhost",
        schema="http",
        verify="/ca.pem",
        proxy="http://127.0.0.2:3128",
    )


@pytest.mark.parametrize(("port", "means"), [(0, None), (None, None), (8443, 8443), ("8443", 8443)])
def test_an_empty_port_may_come_as_0(port: Any, means: int | None) -> None:
    made = config_from(connection(port=port, host=" ", schema=" "))
    assert made == CcaConfig("account", "word", port=means)


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
    with (
        pytest.raises(AirflowFailException, match=r"^FileExpired: a\.zip is gone") as caught,
        airflow_errors(),
    ):
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


@pytest.fixture
def press_test(sim: Simulator, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Callable[..., str]:
    """Press the Test button on the connection to the simulator with other fields; returns its complaint.

    Whatever it is, it holds neither the password nor a token, and nobody has waited to try again.
    """

    def press(**fields: Any) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_MADE_UP", json.dumps(sim.connection | fields))
        works, says = CcaHook("made_up").test_connection()
        assert not works
        assert waits == []
        assert not any(secret in says for secret in ("made_up", sim.password, "guessed", *sim.tokens))
        return says

    return press


def test_the_test_button_on_a_wrong_password(sim: Simulator, press_test: Callable[..., str]) -> None:
    says = press_test(password="guessed")
    assert f"the login of {sim.account} was refused (401): check login and password" in says


def test_the_test_button_tries_the_password_anew_while_an_older_token_still_works(sim: Simulator) -> None:
    assert CcaHook().test_connection()[0]
    sim.accounts.clear()
    works, says = CcaHook().test_connection()
    assert not works
    assert "check login and password" in says


def test_the_test_button_can_be_pressed_again_at_once(sim: Simulator) -> None:
    """As after the account was unlocked; a refusal holds for 10 s for the threads of a landing alone."""
    accounts = dict(sim.accounts)
    sim.accounts.clear()
    assert not CcaHook().test_connection()[0]
    assert not CcaHook().test_connection()[0]
    sim.accounts.update(accounts)
    assert CcaHook().test_connection()[0]
    assert sim.count("POST") == 3


def test_the_test_button_on_an_unknown_host(press_test: Callable[..., str]) -> None:
    says = press_test(host="cca.invalid", schema="https")
    assert "the host name is not known; is cca.invalid:" in says


def test_the_test_button_on_a_port_where_nobody_listens(press_test: Callable[..., str]) -> None:
    assert "nothing listens there; is 127.0.0.1:9 right" in press_test(port=9)


def test_the_test_button_on_http_to_another_machine(press_test: Callable[..., str]) -> None:
    assert press_test(host="cca.example") == (
        "http to cca.example would send the password unencrypted: set schema to https, or "
        '"allow_http": true in the extra'
    )


def test_the_test_button_on_a_certificate_that_nobody_vouches_for(
    stranger: Stranger, press_test: Callable[..., str]
) -> None:
    port = stranger(tls=True)
    says = press_test(port=port, schema="https")
    assert f"the TLS certificate of 127.0.0.1:{port} cannot be verified (self-signed certificate)" in says
    assert 'set "verify"' in says


def test_the_test_button_on_a_certificate_of_the_given_bundle(
    stranger: Stranger, press_test: Callable[..., str], tmp_path: Path
) -> None:
    port = stranger(404, tls=True)
    says = press_test(port=port, schema="https", extra={"verify": str(tmp_path / "self-signed.pem")})
    assert "answered with 404" in says


def test_the_test_button_on_https_where_http_is_spoken(
    sim: Simulator, press_test: Callable[..., str]
) -> None:
    assert "no TLS connection could be agreed on" in press_test(schema="https")


def test_the_test_button_on_a_bundle_that_is_no_pem_file(
    press_test: Callable[..., str], tmp_path: Path
) -> None:
    """As a .cer that Windows exports: no host is blamed for it."""
    certificate = tmp_path / "ca.cer"
    certificate.write_bytes(ssl.PEM_cert_to_DER_cert(certificate_of(self_signed(tmp_path))))
    says = press_test(extra={"verify": str(certificate)})
    assert says.endswith(
        f'"verify" in the connection\'s extra names {certificate}, which holds no certificate in the form '
        "PEM; openssl x509 -inform der makes that of a .cer or .der"
    )


def test_the_test_button_on_a_bundle_that_is_not_there(press_test: Callable[..., str]) -> None:
    says = press_test(extra={"verify": "/nowhere/ca.pem"})
    assert "names /nowhere/ca.pem, which cannot be read on this worker (No such file or directory)" in says


def test_the_test_button_on_a_certificate_in_the_place_of_its_path(
    press_test: Callable[..., str], tmp_path: Path
) -> None:
    says = press_test(extra={"verify": certificate_of(self_signed(tmp_path))})
    assert "holds a certificate itself: write it to a PEM file that is on every worker, and give" in says
    assert "BEGIN" not in says


def test_the_test_button_on_a_path_that_no_file_can_have(press_test: Callable[..., str]) -> None:
    says = press_test(extra={"verify": "/" + 5000 * "a"})
    assert "which cannot be read on this worker (File name too long)" in says


def test_a_bundle_that_cannot_be_used_stops_a_task_before_anything_is_sent(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OURS", json.dumps(sim.connection | {"extra": {"verify": "/nowhere"}}))
    with pytest.raises(InvalidConnection, match=r"^connection 'ours': \"verify\" in the connection's extra"):
        CcaHook("ours").get_conn()
    assert sim.requests == []


def test_the_test_button_on_a_server_that_wants_a_client_certificate(
    stranger: Stranger, press_test: Callable[..., str], tmp_path: Path
) -> None:
    port = stranger(mutual=True)
    extra = {"verify": str(tmp_path / "self-signed.pem")}
    assert "client certificate" in press_test(port=port, schema="https", extra=extra)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("https", "it broke off while TLS was being agreed on"),
        ("http", "it broke off without an answer"),
    ],
)
def test_the_test_button_on_a_server_that_hangs_up(
    hanging_up: int, press_test: Callable[..., str], schema: str, says: str
) -> None:
    assert f"failed: {says}" in press_test(port=hanging_up, schema=schema)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, "refuses to connect to cca.example (403): ask who runs it to allow that"),
        (407, 'wants a name and password, or refuses those that it got (407): check "proxy"'),
        (502, "gets no connection to cca.example (502); is cca.example right"),
        (504, "gets no connection to cca.example (504); is cca.example right"),
    ],
)
def test_the_test_button_on_a_proxy_that_refuses(
    stranger: Stranger, press_test: Callable[..., str], status: int, says: str
) -> None:
    port = stranger(status)
    assert f"the proxy 127.0.0.1:{port} {says}" in through(press_test, f"http://me:guessed@127.0.0.1:{port}")


def test_the_test_button_on_a_proxy_that_wants_a_password_for_plain_http(
    stranger: Stranger, press_test: Callable[..., str]
) -> None:
    proxy = f"http://me:guessed@127.0.0.1:{stranger(407)}"
    says = press_test(extra={"proxy": proxy})
    assert "the proxy wants a name and password, or refuses those that it got (407)" in says


def test_the_test_button_on_a_proxy_that_does_not_listen(press_test: Callable[..., str]) -> None:
    says = through(press_test, "http://me:guessed@127.0.0.1:9")
    assert 'nothing listens at the proxy 127.0.0.1:9; check "proxy"' in says


def test_the_test_button_on_a_proxy_of_an_unknown_name(press_test: Callable[..., str]) -> None:
    says = through(press_test, "http://me:guessed@proxy.invalid:3128")
    assert "the host name of the proxy proxy.invalid:3128 is not known" in says


def test_the_test_button_on_a_proxy_that_nobody_vouches_for(
    stranger: Stranger, press_test: Callable[..., str]
) -> None:
    port = stranger(tls=True)
    says = through(press_test, f"https://me:guessed@127.0.0.1:{port}")
    assert f"the TLS certificate of the proxy 127.0.0.1:{port} cannot be verified (self-signed" in says


def test_the_test_button_on_a_proxy_that_the_bundle_vouches_for(
    stranger: Stranger, press_test: Callable[..., str], tmp_path: Path
) -> None:
    port = stranger(502, tls=True)
    extra = {"proxy": f"https://me:guessed@127.0.0.1:{port}", "verify": str(tmp_path / "self-signed.pem")}
    says = press_test(host="cca.example", schema="https", port=None, extra=extra)
    assert f"the proxy 127.0.0.1:{port} gets no connection to cca.example (502)" in says


def test_the_test_button_on_a_proxy_without_tls_that_is_written_https(
    stranger: Stranger, press_test: Callable[..., str]
) -> None:
    port = stranger()
    says = through(press_test, f"https://me:guessed@127.0.0.1:{port}")
    assert f"no TLS connection to the proxy 127.0.0.1:{port} could be agreed on" in says


def test_the_test_button_on_a_proxy_that_hangs_up(hanging_up: int, press_test: Callable[..., str]) -> None:
    says = through(press_test, f"http://me:guessed@127.0.0.1:{hanging_up}")
    assert f"is cca.example right, and reachable through the proxy 127.0.0.1:{hanging_up}?" in says


def test_the_password_of_a_proxy_is_masked_in_the_logs(sim: Simulator, monkeypatch) -> None:
    extra = {"proxy": "http://me:a%40longer-word@127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_PROXIED", json.dumps(sim.connection | {"extra": extra}))
    CcaHook("proxied").get_conn()
    assert redact("a@longer-word, a%40longer-word") == "***, ***"


def through(press_test: Callable[..., str], proxy: str) -> str:
    return press_test(host="cca.example", schema="https", port=None, extra={"proxy": proxy})


def certificate_of(file: Path) -> str:
    """What PEM has of it, without the key behind it."""
    end = "-----END CERTIFICATE-----"
    return file.read_text().partition(end)[0] + end


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            404,
            "<html>Not here</html>",
            'check host, schema and port of the connection. The server says: "a page of HTML: Not here"',
        ),
        (200, "<html>Welcome!</html>", "a page of HTML: is 127.0.0.1 the host of a CCA server?"),
        (
            200,
            '{"status": "ok"}',
            "a usable accessToken (§3.3): is 127.0.0.1 the host of a CCA server?",
        ),
    ],
)
def test_the_test_button_on_a_host_that_does_not_answer_like_cca(
    stranger: Stranger, press_test: Callable[..., str], status: int, body: str, expected: str
) -> None:
    assert expected in press_test(port=stranger(status, body))


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


def test_the_installed_airflow_shows_the_form_with_all_its_fields() -> None:
    """Each version checks it in its own way, and shows no form that it finds fault with."""
    (shown,) = (meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "cca")
    assert shown.hook_name == form.NAME
    assert set(shown.extra_fields or ()) == set(form.EXTRA_FIELDS)
    assert shown.standard_fields.login.title == "Machine account"


@pytest.mark.parametrize("hosts", ["*.webex.com", ["*.webex.com"], '["webex.com"]', " .webex.com "])
def test_hosts_are_read_however_they_are_written(hosts: Any) -> None:
    assert config_from(connection({"download_hosts": hosts})).download_hosts == ("webex.com",)


def test_the_password_and_token_are_in_no_repr(sim: Simulator) -> None:
    with CcaHook().get_conn() as client:
        client.sites()
        shown = repr([client.config, client.session._account, client.session._account.current])
    assert sim.password not in shown
    assert not any(token in shown for token in sim.tokens)
