"""Answers: bounded by what was asked for, and named when they are something else."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from airflow_provider_cca.api.auth import forget_logins
from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import CcaError, Unauthorized, UnreadableAnswer
from airflow_provider_cca.reports import REPORTS, Grain
from tests.support.wire import LOGIN, TOKEN, Request, config_of, serving

ZIPS = Scope(REPORTS["cdr_compressed"])
DAY = Partition.parse("2026-03-01", Grain.DAY)
NO_SITES = b'{"total": 0, "items": []}'


def listing(ask: Callable[[CcaClient], object], body: bytes, status: int = 200, **headers: str) -> object:
    """What the call gives when it is answered like this, and the login as usual."""

    def speak(request: Request) -> None:
        if request.is_login:
            request.answer(LOGIN)
        else:
            request.answer(body, status, **headers)

    with serving(speak) as port, CcaClient(config_of(port), attempts=1) as client:
        return ask(client)


def sites(client: CcaClient) -> object:
    return client.sites()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate", "identity"])
def test_one_coding_is_undone(coding: str) -> None:
    packed = {"deflate": zlib.compress, "identity": bytes}.get(coding, gzip.compress)(NO_SITES)
    assert listing(sites, packed, Content_Encoding=coding) == []


def test_gzip_of_several_members_is_one_body() -> None:
    packed = gzip.compress(NO_SITES[:9]) + gzip.compress(NO_SITES[9:])
    assert listing(sites, packed, Content_Encoding="gzip") == []


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip,gzip,gzip", "br", "zstd", "deflate, gzip"])
def test_gzip_within_gzip_and_what_was_not_asked_for_is_refused(coding: str) -> None:
    with pytest.raises(UnreadableAnswer, match=f"'{coding}'; only a single gzip can be read"):
        listing(sites, gzip.compress(gzip.compress(NO_SITES, mtime=0)), Content_Encoding=coding)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (NO_SITES, "no gzip, as its Content-Encoding says"),
        (gzip.compress(NO_SITES, mtime=0)[:-9], "gzip that breaks off"),
    ],
)
def test_a_body_that_is_said_to_be_gzip_and_is_none_is_said_to_be_that(body: bytes, says: str) -> None:
    with pytest.raises(UnreadableAnswer, match=says):
        listing(sites, body, Content_Encoding="gzip")


BOMBS = {
    "objects": b'{"total":1,"items":[' + b"{}," * (2 << 20) + b"{}]}",
    "blanks": b" " * (6 << 20),
    "a text": b'{"total":1,"x":"' + b"x" * (6 << 20),
    "lists within": b"[" * (6 << 20),
}


@pytest.mark.parametrize(
    "ask", [sites, CcaClient.first_site, lambda client: client.files(ZIPS, DAY), lambda c: c.count(ZIPS, DAY)]
)
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_what_is_held_of_an_answer_is_bounded_by_what_was_asked_for(
    bomb: bytes, ask: Callable[[CcaClient], object]
) -> None:
    with pytest.raises(UnreadableAnswer, match=r"more than (1028|5024) KiB of JSON, too much for what was"):
        listing(ask, gzip.compress(bomb, 1), Content_Encoding="gzip")


def test_an_answer_of_many_small_values_is_refused_before_it_is_parsed() -> None:
    body = b'{"total":1,"items":[' + b"{}," * 300_000 + b"{}]}"
    with pytest.raises(UnreadableAnswer, match="values of JSON, too many for what was asked for"):
        listing(CcaClient.first_site, body)


def test_a_server_that_sends_a_thousand_entries_where_one_was_asked_for_is_still_read() -> None:
    entry = {"siteName": "x" * 400, "lastSiteUpdate": "04/23/2019T00:00:00+0000"}
    body = json.dumps({"total": 1000, "items": [entry] * 1000}).encode()
    total, _ = listing(CcaClient.first_site, body)
    assert total == 1000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><h1>Sorry</h1></html>", "a page of HTML"),
        (b"<!DOCTYPE html><form>Please sign in<input type=password></form>", "a login page of HTML"),
        (b"<?xml version='1.0'?><error/>", "XML"),
        (b"", "an empty body"),
        (b"PK\x03\x04...", "a zip file"),
        (gzip.compress(NO_SITES, mtime=0), "bytes of gzip, which no Content-Encoding announces"),
        (b"[]", "JSON that is no object"),
        (b"{", "1 bytes that are not JSON"),
    ],
)
def test_what_is_no_json_is_named_and_from_which_host(body: bytes, kind: str) -> None:
    with pytest.raises(UnreadableAnswer, match=rf"was answered by 127\.0\.0\.1:\d+ with {kind}"):
        listing(sites, body)


def test_a_login_page_with_401_is_said_to_be_one() -> None:
    with pytest.raises(Unauthorized, match=r'The server says: "a login page of HTML: Sign in"'):
        listing(sites, b"<html><body>Sign in<input type=password></body></html>", 401)


def login_error(body: bytes, status: int = 200) -> CcaError:
    forget_logins()
    with (
        serving(lambda request: request.answer(body, status)) as port,
        CcaClient(config_of(port), attempts=1) as c,
    ):
        with pytest.raises(CcaError) as caught:
            c.sites()
        return caught.value


def test_a_login_that_is_refused_by_a_200_is_refused() -> None:
    error = login_error(b'{"error": "invalid_grant", "error_description": "no S3cr3t-Pass-Word here"}')
    assert isinstance(error, Unauthorized)
    assert (
        'was refused (200): check login and password of the connection. The server says: "no *** here"'
        in str(error)
    )


@pytest.mark.parametrize(
    "body", [b"{}", b'{"accessToken": 5}', b'{"accessToken": "a\\nb"}', b"<html>Log in</html>"]
)
def test_a_login_without_a_token_is_unreadable(body: bytes) -> None:
    assert isinstance(login_error(body), UnreadableAnswer)


@pytest.mark.parametrize("form", [TOKEN, TOKEN.replace("-", "%2D") + TOKEN])
def test_a_token_that_the_server_repeats_in_a_listing_reaches_no_entry(form: str) -> None:
    entry = {
        "id": form, "createdOn": "03/31/2019T07:24:24+0000", "downloadLink": f"https://x.webex.com/f?t={form}",
        "fileSize": 3, "fileName": "a.zip", "checksum": "0" * 32,
    }  # fmt: skip
    (file,) = listing(lambda c: c.files(ZIPS, DAY), json.dumps({"total": 1, "items": [entry]}).encode())
    assert TOKEN not in repr(file)
    assert file.link.startswith("https://x.webex.com/f?t=")
