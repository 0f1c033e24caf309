"""Links that live shorter than the task: listed anew, once, however the server says that they are dead."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest

from airflow_provider_cca.api.link_renewal import LinkRenewal
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    AttemptsExhausted,
    CcaError,
    FileExpired,
    Forbidden,
    InvalidRequest,
    LinkExpired,
    StillProcessing,
    Unauthorized,
    UnexpectedAnswer,
)
from airflow_provider_cca.reports import REPORTS

DAY = Partition.parse("2026-03-05", REPORTS["cdr"].grain)
FILES = [
    RemoteFile(
        name, name, "https://host/old", 3, "0" * 32, None, None, 0, Scope(REPORTS["cdr_compressed"]), DAY
    )
    for name in ("a.zip", "b.zip")
]


class Server:
    """Refuses all links but those that it listed last."""

    def __init__(self, refusal: CcaError, link: str = "https://host/new") -> None:
        self.refusal, self.link = refusal, link
        self.listed, self.asked = 0, 0

    def download(self, file: RemoteFile) -> Generator[bytes]:
        self.asked += 1
        if file.link != "https://host/new":
            raise self.refusal
        yield b"zip"

    def files(self, scope: Scope, partition: Partition) -> list[RemoteFile]:
        self.listed += 1
        return [replace(file, link=self.link) for file in FILES]


DEAD = [
    LinkExpired("x"),
    Forbidden("x"),
    InvalidRequest("x"),
    StillProcessing("x"),
    Unauthorized("x"),
    UnexpectedAnswer("x", status=400),
]


@pytest.mark.parametrize("refusal", DEAD, ids=lambda error: type(error).__name__)
def test_dead_links_of_a_partition_are_listed_anew_once(refusal: CcaError) -> None:
    server = Server(refusal)
    renewal = LinkRenewal(server.download, server.files)
    assert [b"".join(renewal.download(file)) for file in FILES] == [b"zip"] * 2
    assert (server.listed, server.asked) == (1, 3)


@pytest.mark.parametrize("refusal", DEAD[1:], ids=lambda error: type(error).__name__)
def test_a_refusal_of_a_link_that_is_listed_as_before_means_what_it_says(refusal: CcaError) -> None:
    server = Server(refusal, "https://host/old")
    with pytest.raises(type(refusal)):
        list(LinkRenewal(server.download, server.files).download(FILES[0]))
    assert (server.listed, server.asked) == (1, 1)


@pytest.mark.parametrize("refusal", [FileExpired("x"), AttemptsExhausted("x")])
def test_a_file_that_is_gone_is_not_listed_anew(refusal: CcaError) -> None:
    server = Server(refusal)
    with pytest.raises(type(refusal)):
        list(LinkRenewal(server.download, server.files).download(FILES[0]))
    assert server.listed == 0
