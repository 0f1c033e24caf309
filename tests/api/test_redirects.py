"""Downloads that are redirected, as to the signed URL of a storage: who is sent the token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Scope
from airflow_provider_cca.errors import (
    CcaError,
    FileExpired,
    HostNotAllowed,
    LinkExpired,
    StillProcessing,
    TooManyConnections,
    UnexpectedAnswer,
)
from airflow_provider_cca.reports import REPORTS
from tests.support.wire import LOGIN, Request, config_of, serving


class World:
    """A CCA server, and a storage at another origin, to which its downloads are redirected."""

    def __init__(self, servers: ExitStack) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.storage_answers = lambda request: request.answer(b"zip")
        self.storage = servers.enter_context(serving(self._store))
        self.to = f"http://127.0.0.1:{self.storage}/signed?signature=xyz"
        self.port = servers.enter_context(serving(self._speak))

    def _store(self, request: Request) -> None:
        self.asked.append(("storage", "authorization" in request.headers))
        self.storage_answers(request)

    def _speak(self, request: Request) -> None:
        if request.is_login:
            request.answer(LOGIN)
        elif "/v1/cdr" in request.path:
            request.answer(b'{"total": 0, "items": []}')
        else:
            self.asked.append(("server", "authorization" in request.headers))
            request.answer(status=302, Location=self.to)

    def download(self, link: str = "") -> bytes:
        item = {
            "id": "1", "createdOn": "03/31/2019T07:24:24+0000", "fileSize": 3, "fileName": "a.zip",
            "downloadLink": link or f"http://127.0.0.1:{self.port}/f", "checksum": "0" * 32,
            "expiredOn": "03/31/2090T07:43:18+0000",
        }  # fmt: skip
        with CcaClient(config_of(self.port)) as client:
            client.sites()
            return b"".join(client.download(RemoteFile.from_api(item, Scope(REPORTS["cdr_compressed"]))))


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as servers:
        yield World(servers)


def refuses_a_token(request: Request) -> None:
    request.answer(b"zip", 400 if "authorization" in request.headers else 200)


def test_a_storage_that_refuses_a_token_is_sent_none(world: World) -> None:
    world.storage_answers = refuses_a_token
    assert world.download() == b"zip"
    assert world.asked == [("server", True), ("storage", False)]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_another_host_that_wants_the_token_is_sent_it_when_it_says_so(world: World, status: int) -> None:
    world.storage_answers = lambda request: request.answer(
        b"zip", 200 if "authorization" in request.headers else status
    )
    assert world.download() == b"zip"
    assert world.asked == [("server", True), ("storage", False), ("storage", True)]


@pytest.mark.parametrize("without", [400, 401, 403, 404])
@pytest.mark.parametrize(
    ("status", "says", "kind"),
    [
        (403, b"File expired for download", FileExpired),
        (403, b"generation in progress", StillProcessing),
        (429, b"", TooManyConnections),
    ],
)
def test_what_another_host_answers_to_the_token_is_what_counts(
    world: World, without: int, status: int, says: bytes, kind: type[CcaError]
) -> None:
    world.storage_answers = lambda request: request.answer(
        *((says, status) if "authorization" in request.headers else (b"", without))
    )
    with pytest.raises(kind):
        world.download()


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_signed_link_to_a_storage_that_refuses_a_token_is_followed_without_it(
    world: World, status: int
) -> None:
    world.storage_answers = lambda request: request.answer(
        b"zip", status if "authorization" in request.headers else 200
    )
    assert world.download(world.to) == b"zip"
    assert world.asked == [("storage", True), ("storage", False)]


def test_a_link_without_a_signature_is_asked_for_with_the_token_alone(world: World) -> None:
    world.storage_answers = lambda request: request.answer(b"no", 403)
    with pytest.raises(StillProcessing):
        world.download(f"http://127.0.0.1:{world.storage}/file")
    assert world.asked == [("storage", True)]


def test_a_redirect_to_the_same_origin_keeps_the_token(world: World) -> None:
    world.to = f"http://127.0.0.1:{world.port}/again"
    with pytest.raises(UnexpectedAnswer, match="redirected more than 5 times"):
        world.download()
    assert world.asked == [("server", True)] * 6


def test_a_redirect_to_a_host_that_is_not_allowed_says_what_to_add(world: World) -> None:
    world.to = "https://bucket.storage.example/signed?signature=xyz"
    with pytest.raises(HostNotAllowed, match=r"bucket\.storage\.example.*add it to") as caught:
        world.download()
    assert "xyz" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "says"), [(403, b"Request has expired"), (404, b""), (410, b"gone"), (401, b"")]
)
def test_a_signed_link_that_has_died_is_one(world: World, status: int, says: bytes) -> None:
    world.storage_answers = lambda request: request.answer(
        *((b"one authentication alone", 400) if "authorization" in request.headers else (says, status))
    )
    with pytest.raises(LinkExpired):
        world.download()


def test_the_query_of_a_link_is_in_no_error_and_in_no_cause_of_it(world: World) -> None:
    world.storage_answers = lambda request: request.connection.close()
    with pytest.raises(CcaError) as caught:
        world.download()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "xyz" not in str(caught.value)


def test_a_page_in_the_place_of_a_file_is_said_to_be_one(world: World) -> None:
    world.storage_answers = lambda request: request.answer(b"<html>Please log in</html>")
    with pytest.raises(CcaError, match=r"was answered by 127\.0\.0\.1:\d+ with a login page of HTML"):
        world.download()
