"""The configuration: what it takes, and what it says when it does not."""

from __future__ import annotations

import re
from traceback import format_exception

import pytest

from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.errors import InvalidConnection


def config(**fields: object) -> CcaConfig:
    return CcaConfig(**{"account": "my.account.partnerA", "password": "ASDF.dsfgds.67", **fields})


def test_the_defaults_are_the_documents():
    made = config()
    assert made.api_root == "https://pcsprod.webex.com/pcs/api"
    assert (made.download_hosts, made.max_connections) == (("webex.com",), 20)
    assert (made.verify, made.allow_http, made.proxy) == (True, False, None)


def test_a_repr_shows_the_account_and_no_secret():
    shown = repr(config(proxy="http://user:pr0xy@proxy:3128"))
    assert "my.account.partnerA" in shown
    assert "ASDF" not in shown
    assert "pr0xy" not in shown


@pytest.mark.parametrize(
    ("fields", "root"),
    [
        ({"host": "cca.example.org", "port": 8443}, "https://cca.example.org:8443/pcs/api"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080/pcs/api"),
        ({"host": "localhost", "schema": "http"}, "http://localhost/pcs/api"),
        ({"host": "localhost.", "schema": "http"}, "http://localhost./pcs/api"),
        ({"host": "::1", "port": 8080, "schema": "http"}, "http://[::1]:8080/pcs/api"),
        ({"host": "[::1]", "schema": "http"}, "http://[::1]/pcs/api"),
        ({"host": "cca.example.org", "schema": "http", "allow_http": True}, "http://cca.example.org/pcs/api"),
    ],
)
def test_the_api_lies_below_host_and_port(fields, root):
    assert config(**fields).api_root == root


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"account": ""}, "no login or no password"),
        ({"password": ""}, "no login or no password"),
        ({"host": ""}, "not the name of a host"),
        ({"host": "https://pcsprod.webex.com"}, "without scheme or path"),
        ({"host": "pcsprod.webex.com/pcs"}, "without scheme or path"),
        ({"host": "pcsprod.webex.com:8443"}, "the port has a field of its own"),
        ({"host": "pcsprod.webex.com\n"}, "not the name of a host"),
        ({"host": "evil.example#.webex.com"}, "not the name of a host"),
        ({"schema": "ftp"}, "set it to https"),
        ({"schema": ""}, "set it to https"),
        ({"schema": "http"}, "would send the password unencrypted"),
        ({"schema": "http", "host": "localhost.evil.example"}, "would send the password unencrypted"),
        ({"port": 0}, "port 0 is none: give 1 to 65535"),
        ({"port": -1}, "port -1 is none: give 1 to 65535"),
        ({"port": 65_536}, "port 65536 is none: give 1 to 65535"),
        ({"max_connections": 0}, "allows 1 to 20"),
        ({"max_connections": 21}, "allows 1 to 20"),
        ({"max_connections": -5}, "allows 1 to 20"),
        ({"connect_timeout": 0}, "connect_timeout is 0: give seconds"),
        ({"read_timeout": -1}, "read_timeout is -1: give seconds"),
        ({"read_timeout": float("nan")}, "read_timeout is nan: give seconds"),
        ({"read_timeout": float("inf")}, "read_timeout is inf: give seconds"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_what_to_do(fields, says):
    with pytest.raises(InvalidConnection, match=says):
        config(**fields)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.example",
        "http://proxy.example:3128",
        "https://proxy.example:3128/",
        "HTTP://10.0.0.1:8080",
        "http://[::1]:3128",
        "http://me:hun%40ter2@proxy.example:3128",
    ],
)
def test_a_proxy_is_a_url_of_http_or_https(proxy):
    assert config(proxy=proxy).proxy.open() == proxy


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        ("", "does not begin with http:// or https://"),
        ("me:hunter2@proxy.example:3128", "does not begin with http:// or https://"),
        ("proxy.example:3128", "does not begin with http:// or https://"),
        ("socks5://me:hunter2@proxy.example:1080", "does not begin with http:// or https://"),
        ("http://", "names no host"),
        ("http:/proxy.example", "names no host"),
        ("http://me:hunter2@", "names no host"),
        ("http://me:hunter2@pr_ox$y", "names no host"),
        ("http://me:hunter2@proxy.example:0", "has no port of 1 to 65535"),
        ("http://me:hunter2@proxy.example:", "has no port of 1 to 65535"),
        ("http://me:hunter2@proxy.example:65536", "can be read"),
        ("http://me:hunter2@[::1", "can be read"),
        ("http://me:hunter2/x@proxy.example:3128", "can be read"),
        ("http://me:hunter2%E2%82%AC@proxy.example:3128", "can be read"),
        ("http://me:hunter2@proxy.example:3128/path", "goes on behind host and port"),
        ("http://me:hunter2@proxy.example?x", "goes on behind host and port"),
        ("http://me:hunter2@proxy .example", "holds a space"),
        ("http://me:hunter2@proxy\n.example", "holds a space"),
    ],
)
def test_what_is_no_proxy_is_refused_in_words_that_repeat_nothing_of_it(proxy, says):
    with pytest.raises(InvalidConnection, match=re.escape(says)) as caught:
        config(proxy=proxy)
    assert "write it as http://host:port" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in "".join(format_exception(caught.value))


@pytest.mark.parametrize(
    "fields", [{"host": "https://me:hunter2@cca.example.org"}, {"schema": "ftp"}, {"port": 1}]
)
def test_no_error_repeats_a_password(fields):
    with pytest.raises(InvalidConnection) as caught:
        config(**{**fields, "password": "hunter2", "max_connections": 0})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("connections", [1, 20])
def test_the_limits_of_connections_are_both_allowed(connections):
    assert config(max_connections=connections).max_connections == connections


def test_equal_connections_are_one_key_so_that_they_share_a_token():
    assert {config(): 1}[config()] == 1
    assert config() != config(password="other")
