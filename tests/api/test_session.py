"""What each answer of the server becomes, and how often the server is asked: status by status."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from traceback import format_exception
from urllib.parse import urlsplit

import pytest
import requests
import requests_mock
from urllib3.exceptions import LocationParseError

from airflow_provider_cca.api.auth import forget_logins
from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.paging import Page
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    ConnectionFailed,
    Forbidden,
    HostNotAllowed,
    InvalidConnection,
    InvalidRequest,
    ServerFault,
    StillProcessing,
    TooManyConnections,
    Unauthorized,
    UnexpectedAnswer,
    UnreadableAnswer,
)
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.simulator import CutAfter, Hang, Redirect, Reset, Simulator, Status, TokenExpired
from tests.support.strangers import self_signed

ROOT = "https://pcsprod.webex.com/pcs/api"
ZIPS = f"{ROOT}/v1/cdr/daily/compression/files"
EMPTY = {"total": 0, "from": 0, "size": 0, "items": []}
COMPRESSED = Scope(REPORTS["cdr_compressed"])
PEAKS = Scope(REPORTS["peak_port_daily"], level="site")
DAY = Partition.parse("2026-03-01", Grain.DAY)


@pytest.fixture
def server() -> Iterator[requests_mock.Mocker]:
    """Cisco's server, with answers of our choice; the login succeeds."""
    with requests_mock.Mocker() as mocker:
        mocker.post(
            f"{ROOT}/v1/oauth/token", json={"tokenType": "Bearer", "accessToken": "tok-1", "expiresIn": 43199}
        )
        yield mocker


@pytest.fixture
def cisco(server: requests_mock.Mocker) -> Iterator[CcaClient]:
    with CcaClient(CcaConfig("my.account.partnerA", "s3cret")) as client:
        yield client


def test_the_login_is_the_documents(server: requests_mock.Mocker, cisco: CcaClient) -> None:
    server.get(ZIPS, json=EMPTY)
    cisco.files(COMPRESSED, DAY)
    login, listing = server.request_history
    assert (login.method, login.url) == ("POST", f"{ROOT}/v1/oauth/token")
    assert login.json() == {"accountName": "my.account.partnerA", "accountPassword": "s3cret"}
    assert login.headers["Content-Type"] == "application/json"
    assert login.headers["Cache-Control"] == "no-cache"
    assert listing.headers["Authorization"] == "Bearer tok-1"


def test_a_listing_is_asked_for_as_in_the_document(server: requests_mock.Mocker, cisco: CcaClient) -> None:
    server.get(ZIPS, json=EMPTY)
    cisco.files(COMPRESSED, DAY)
    asked = server.last_request
    assert asked.qs == {
        "from": ["0"], "size": ["1000"], "creationstartdate": ["03012026"], "creationenddate": ["03012026"],
    }  # fmt: skip
    assert asked.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("scope", "status", "error", "asked"),
    [
        (COMPRESSED, 403, StillProcessing, 1),
        (PEAKS, 403, Forbidden, 1),
        (PEAKS, 412, StillProcessing, 1),
        (COMPRESSED, 406, InvalidRequest, 1),
        (COMPRESSED, 404, UnexpectedAnswer, 1),
        (COMPRESSED, 401, Unauthorized, 2),
        (COMPRESSED, 429, TooManyConnections, 6),
        (COMPRESSED, 500, ServerFault, 6),
        (COMPRESSED, 502, ServerFault, 6),
        (COMPRESSED, 503, ServerFault, 6),
    ],
)
def test_each_status_of_a_listing_has_its_error_and_its_number_of_attempts(
    server: requests_mock.Mocker,
    cisco: CcaClient,
    scope: Scope,
    status: int,
    error: type[CcaError],
    asked: int,
) -> None:
    server.get(requests_mock.ANY, status_code=status)
    with pytest.raises(error):
        cisco.files(scope, DAY)
    assert sum(r.method == "GET" for r in server.request_history) == asked


@pytest.mark.parametrize(
    "body", ["<html>sorry</html>", '{"total": 1, "items": [{"id"', "[]", '{"items": []}', "[" * 100_000]
)
def test_an_answer_that_is_not_the_documents_json_is_asked_for_again(
    server: requests_mock.Mocker, cisco: CcaClient, body: str
) -> None:
    server.get(ZIPS, [{"text": body}, {"json": EMPTY}])
    assert cisco.files(COMPRESSED, DAY) == []


def test_an_answer_that_stays_unreadable_ends_as_itself(
    server: requests_mock.Mocker, cisco: CcaClient
) -> None:
    server.get(ZIPS, text="<html>sorry</html>")
    with pytest.raises(UnreadableAnswer, match=r"was answered by pcsprod\.webex\.com with a page of HTML"):
        cisco.session.get(_call(), dict)


def test_retry_after_is_honoured(server: requests_mock.Mocker, cisco: CcaClient, waits: list[float]) -> None:
    server.get(ZIPS, [{"status_code": 429, "headers": {"Retry-After": "17"}}, {"json": EMPTY}])
    cisco.files(COMPRESSED, DAY)
    assert 17 <= waits[0] <= 18


def test_waits_double_with_jitter(server: requests_mock.Mocker, cisco: CcaClient, waits: list[float]) -> None:
    server.get(ZIPS, status_code=503)
    with pytest.raises(ServerFault):
        cisco.files(COMPRESSED, DAY)
    for wait, full in zip(waits, [0.5, 1, 2, 4, 8], strict=True):
        assert full / 2 <= wait <= full


def test_a_retry_after_beyond_five_minutes_is_left_to_airflow(
    server: requests_mock.Mocker, cisco: CcaClient, waits: list[float]
) -> None:
    server.get(ZIPS, status_code=503, headers={"Retry-After": "3600"})
    with pytest.raises(ServerFault) as caught:
        cisco.files(COMPRESSED, DAY)
    assert (caught.value.retry_after, waits) == (3600, [])


@pytest.mark.parametrize("status", [400, 401, 403, 406])
def test_a_refused_login_says_what_to_check(
    server: requests_mock.Mocker, cisco: CcaClient, status: int
) -> None:
    server.post(f"{ROOT}/v1/oauth/token", status_code=status, json={"message": "no such account"})
    with pytest.raises(Unauthorized, match=r'check login and password of the connection.*"no such account"'):
        cisco.sites()
    assert len(server.request_history) == 1


def test_an_error_message_never_shows_the_token_or_password(
    server: requests_mock.Mocker, cisco: CcaClient
) -> None:
    server.get(ZIPS, status_code=406, text="bad request: Bearer tok-1, password s3cret")
    with pytest.raises(InvalidRequest) as caught:
        cisco.files(COMPRESSED, DAY)
    assert "tok-1" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("foreign", "error", "says"),
    [
        (requests.exceptions.ConnectTimeout(), ConnectionFailed, "no connection within 10 s"),
        (requests.exceptions.ReadTimeout(), ConnectionFailed, "no byte within 60 s"),
        (
            requests.exceptions.ConnectionError("Failed to resolve 'x'"),
            ConnectionFailed,
            "host name is not known",
        ),
        (requests.exceptions.ProxyError(), ConnectionFailed, "the proxy does not answer"),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), InvalidConnection, "verify"),
        (requests.exceptions.SSLError("EOF"), ConnectionFailed, "broke off while TLS was being agreed on"),
        (
            requests.exceptions.SSLError("HANDSHAKE_FAILURE"),
            ConnectionFailed,
            "too old, or it wants our cert",
        ),
        (
            requests.exceptions.SSLError("CERTIFICATE_REQUIRED"),
            InvalidConnection,
            "wants a client certificate",
        ),
        (requests.exceptions.SSLError("?"), ConnectionFailed, "SSLError"),
        (LocationParseError("a" * 64), InvalidConnection, "cannot be used as the name of a host"),
        (OSError("Could not find a suitable TLS CA bundle"), InvalidConnection, "verify"),
        (OSError("broken pipe"), ConnectionFailed, "OSError"),
    ],
)
def test_foreign_errors_become_ours(
    server: requests_mock.Mocker, cisco: CcaClient, foreign: Exception, error: type[CcaError], says: str
) -> None:
    server.get(ZIPS, exc=foreign)
    with pytest.raises(error, match=says):
        cisco.files(COMPRESSED, DAY)


def test_no_foreign_error_is_missed(server: requests_mock.Mocker, cisco: CcaClient) -> None:
    """Whatever class of error requests knows, it leaves as one of ours."""
    known = [e for e in vars(requests.exceptions).values() if isinstance(e, type) and issubclass(e, OSError)]
    for foreign in known:
        server.get(ZIPS, exc=foreign("x", "", 0))
        with pytest.raises(CcaError):
            cisco.files(COMPRESSED, DAY)


def test_a_token_near_its_end_is_renewed_before_it_is_refused(server: requests_mock.Mocker) -> None:
    server.post(f"{ROOT}/v1/oauth/token", json={"accessToken": "short", "expiresIn": 0.000001})
    server.get(f"{ROOT}/v1/cdr", json=EMPTY)
    with CcaClient(CcaConfig("a", "b")) as client:
        client.sites()
        client.sites()
    assert [r.method for r in server.request_history] == ["POST", "GET", "POST", "GET"]


def test_one_process_logs_in_once(sim: Simulator, config: CcaConfig) -> None:
    for _ in range(3):
        with CcaClient(config) as client, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.sites(), range(8)))
    assert sim.count("POST") == 1


def test_a_refused_token_is_renewed_by_one_thread_while_the_others_wait(
    sim: Simulator, client: CcaClient
) -> None:
    client.sites()
    sim.tokens.clear()
    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(lambda _: client.sites(), range(20)))
    assert sim.count("POST") == 2


def test_a_token_that_is_refused_twice_is_an_error_for_the_user(sim: Simulator, client: CcaClient) -> None:
    sim.inject(TokenExpired(), "sites", times=None)
    with pytest.raises(Unauthorized, match="refuses a fresh token"):
        client.sites()
    assert sim.count("GET") == 2


def test_never_more_than_the_budget_of_connections(sim: Simulator, config: CcaConfig) -> None:
    sim.latency = 0.01
    with CcaClient(config) as one, CcaClient(config) as other, ThreadPoolExecutor(60) as pool:
        list(pool.map(lambda n: (one, other)[n % 2].sites(), range(120)))
    assert sim.peak_connections <= 20
    assert sim.count(status=429) == 0


def test_idle_connections_to_several_hosts_count_too(sim: Simulator, config: CcaConfig, day: str) -> None:
    """Files come from three hosts; with two connections allowed, no third stays open beside them."""
    sim.download_hosts = ["127.0.0.1", "localhost", "127.0.0.2"]
    hosts = (*config.download_hosts, "localhost")
    for number in range(6):
        sim.world.add("cdr_compressed", day, b"x%d" % number, name=f"{number}.zip")
    with CcaClient(replace(config, max_connections=2, download_hosts=hosts)) as client:
        files = client.files(COMPRESSED, Partition.parse(day, Grain.DAY))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda file: list(client.download(file)), files * 3))
        assert {urlsplit(file.link).hostname for file in files} == set(sim.download_hosts)
        assert len(client.session._transport.adapter.open_sockets()) <= 2


@pytest.mark.parametrize("fault", [CutAfter(100), CutAfter(0, reset=True)])
def test_an_error_in_the_middle_of_a_body_is_ours_too(
    sim: Simulator, client: CcaClient, day: str, fault: CutAfter
) -> None:
    (file, *_) = client.files(COMPRESSED, Partition.parse(day, Grain.DAY))
    sim.inject(fault, "download")
    with pytest.raises(ConnectionFailed):
        list(client.download(file))


def test_a_connection_that_is_reset_is_made_again(sim: Simulator, client: CcaClient) -> None:
    sim.inject(Reset(), "sites", times=2)
    assert len(client.sites()) == 3


def test_a_stalled_server_costs_the_read_timeout(sim: Simulator, config: CcaConfig) -> None:
    impatient = CcaConfig(**{**vars(config), "read_timeout": 0.05})
    sim.inject(Hang(), "sites", times=1)
    with CcaClient(impatient) as client:
        assert len(client.sites()) == 3


@pytest.mark.parametrize("after", [None, 10])
def test_abort_ends_a_read_that_another_thread_is_blocked_in(
    sim: Simulator, client: CcaClient, day: str, after: int | None
) -> None:
    (file, *_) = client.files(COMPRESSED, Partition.parse(day, Grain.DAY))
    sim.inject(Hang(after), "download")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: list(client.download(file)))
        sim.wait_open()
        client.abort()
        with pytest.raises(Closed):
            reading.result(timeout=3)


def test_a_listing_that_is_given_up_waits_for_none_of_its_other_pages(client: CcaClient) -> None:
    released = threading.Event()

    def fetch(start: int) -> Page:
        if start:
            released.wait(30)
        return Page(0, [])

    pages = client._side_by_side(fetch, range(50))
    next(pages)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pages.close).result(timeout=3)
    released.set()


def test_after_abort_nothing_is_sent_any_more(sim: Simulator, client: CcaClient) -> None:
    client.abort()
    with pytest.raises(Closed):
        client.sites()
    assert sim.requests == []


def test_a_redirect_is_followed_with_the_token_to_allowed_hosts_only(
    server: requests_mock.Mocker, cisco: CcaClient
) -> None:
    server.get(ZIPS, status_code=302, headers={"Location": "https://files.webex.com/list"})
    server.get("https://files.webex.com/list", json=EMPTY)
    assert cisco.files(COMPRESSED, DAY) == []
    assert server.last_request.headers["Authorization"] == "Bearer tok-1"


def test_a_redirect_elsewhere_is_refused_before_anything_is_sent_there(
    server: requests_mock.Mocker, cisco: CcaClient
) -> None:
    server.get(ZIPS, status_code=302, headers={"Location": "https://webex.com.evil.example/list"})
    with pytest.raises(HostNotAllowed, match=r"webex\.com\.evil\.example"):
        cisco.files(COMPRESSED, DAY)
    assert all(r.hostname == "pcsprod.webex.com" for r in server.request_history)


@pytest.mark.parametrize("to", ["http://[::1", "//[bad"])
def test_a_redirect_to_what_is_no_url_is_refused(sim: Simulator, client: CcaClient, to: str) -> None:
    sim.inject(Redirect(to), "sites")
    with pytest.raises(HostNotAllowed, match="is no URL"):
        client.sites()
    assert sim.count("GET") == 1


def test_redirects_without_end_are_an_error(server: requests_mock.Mocker, cisco: CcaClient) -> None:
    server.get(ZIPS, status_code=302, headers={"Location": ZIPS})
    with pytest.raises(UnexpectedAnswer, match="redirected more than 5 times"):
        cisco.files(COMPRESSED, DAY)


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("https://login.example/in?next=s3cret", "is redirected to https://login.example (307), and the"),
        ("/in", "is redirected to http://127.0.0.1 (307), and the"),
        ("http://[::1", "is redirected (307), and the"),
    ],
)
def test_the_login_follows_no_redirect_and_says_where_it_leads(
    sim: Simulator, client: CcaClient, to: str, says: str
) -> None:
    sim.inject(Redirect(to, status=307), "token")
    with pytest.raises(UnexpectedAnswer, match=re.escape(says)) as caught:
        client.sites()
    assert str(caught.value).endswith("check host and schema of the connection")
    assert "s3cret" not in str(caught.value)
    assert len(sim.requests) == 1


def test_a_netrc_does_not_replace_the_token(
    server: requests_mock.Mocker, cisco: CcaClient, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine pcsprod.webex.com login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.get(ZIPS, json=EMPTY)
    cisco.files(COMPRESSED, DAY)
    assert server.request_history[0].headers.get("Authorization") is None
    assert server.last_request.headers["Authorization"] == "Bearer tok-1"


def test_proxy_and_ca_bundle_of_the_environment_are_used(
    server: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = str(self_signed(tmp_path))
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", theirs)
    server.get(f"{ROOT}/v1/cdr", json=EMPTY)
    with CcaClient(CcaConfig("a", "b")) as client:
        client.sites()
    assert server.last_request.proxies["https"] == "http://proxy.example:3128"
    assert server.last_request.verify == theirs


def test_proxy_and_ca_bundle_of_the_connection_come_first(
    server: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours = str(self_signed(tmp_path))
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/theirs.pem")
    server.get(f"{ROOT}/v1/cdr", json=EMPTY)
    with CcaClient(CcaConfig("a", "b", proxy="http://mine:1", verify=ours)) as client:
        client.sites()
    assert server.last_request.proxies["https"] == "http://mine:1"
    assert server.last_request.verify == ours


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(name, "/nowhere/ours.pem")
    with pytest.raises(
        InvalidConnection,
        match=rf"{name} in the environment .* names /nowhere/ours\.pem, which cannot be read",
    ):
        CcaClient(CcaConfig("a", "b"))


@pytest.mark.parametrize(
    "proxy",
    ["http://me:hunter2@127.0.0.1:99999", "ftp://me:hunter2@127.0.0.1", "http://me:hunter2€@127.0.0.1:9"],
)
def test_a_proxy_of_the_environment_that_is_none_is_blamed_and_its_password_is_not_told(
    config: CcaConfig, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Neither by the error, nor by the traceback, which holds those that caused it."""
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    elsewhere = replace(config, host="cca.example", allow_http=True)
    with CcaClient(elsewhere, attempts=1) as client, pytest.raises(CcaError) as caught:
        client.sites()
    assert "http_proxy in the environment of this worker" in str(caught.value)
    assert "hunter2" not in "".join(format_exception(caught.value))


def test_nothing_secret_is_logged(
    sim: Simulator, client: CcaClient, caplog: pytest.LogCaptureFixture
) -> None:
    sim.inject(Status(500), "sites", times=1)
    with caplog.at_level(logging.DEBUG):
        client.sites()
    (token,) = sim.tokens
    assert "/v1/cdr" in caplog.text
    assert token not in caplog.text
    assert sim.password not in caplog.text
    assert token not in repr(vars(client.session))


def test_the_token_is_announced_before_it_is_used(sim: Simulator, config: CcaConfig) -> None:
    told: list[str] = []
    with CcaClient(config, on_token=told.append) as client:
        client.sites()
        client.sites()
    assert told == list(sim.tokens)


def test_a_download_asks_for_its_media_type(server: requests_mock.Mocker, cisco: CcaClient) -> None:
    server.get("https://dyn.webex.com/f", content=b"zip")
    assert b"".join(cisco.download(_file("https://dyn.webex.com/f"))) == b"zip"
    assert server.last_request.headers["Accept"] == "application/zip"
    assert server.last_request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "link", ["https://evil.example/f", "https://webex.com@evil.example/f", "http://dyn.webex.com/f"]
)
def test_a_link_elsewhere_is_never_requested(
    server: requests_mock.Mocker, cisco: CcaClient, link: str
) -> None:
    with pytest.raises(HostNotAllowed):
        list(cisco.download(_file(link)))
    assert [r.hostname for r in server.request_history] == ["pcsprod.webex.com"]


def test_listing_answers_that_never_end_are_cut_off(server: requests_mock.Mocker, cisco: CcaClient) -> None:
    """Of an answer that should hold no entries 1 MiB is read."""
    server.get(ZIPS, content=json.dumps({"total": 0, "pad": "x" * (2 << 20)}).encode())
    with pytest.raises(UnreadableAnswer, match="more than 1024 KiB of JSON"):
        cisco.session._read_json(_call())


def test_forked_children_start_without_a_login(sim: Simulator, client: CcaClient) -> None:
    client.sites()
    forget = threading.Thread(target=forget_logins)
    forget.start()
    forget.join()
    with CcaClient(client.config) as child:
        child.sites()
    assert sim.count("POST") == 2


def _call():
    from airflow_provider_cca.api.session import Call

    return Call(ZIPS, "the listing of cdr_compressed")


def _file(link: str) -> RemoteFile:
    item = {
        "id": "c7779fb1", "createdOn": "03/31/2019T07:24:24+0000", "downloadLink": link, "fileSize": 3,
        "fileName": "CCA_SP_CDR_Daily_20190401.zip", "checksum": "89e68fa233398deace2300ea6b4e2b49",
        "type": "daily", "expiredOn": "03/31/2020T07:43:18+0000", "downloadAttempts": 0,
    }  # fmt: skip
    return RemoteFile.from_api(item, COMPRESSED)
