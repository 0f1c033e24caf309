"""What a status other than 200 means, in the words of the API document."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_cca.api.error_responses import refusal, retry_after_seconds
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    AttemptsExhausted,
    FileExpired,
    Forbidden,
    InvalidConnection,
    InvalidRequest,
    LinkExpired,
    ServerFault,
    StillProcessing,
    TooManyConnections,
    Unauthorized,
    UnexpectedAnswer,
)
from airflow_provider_cca.reports import REPORTS, Grain

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
FIRST_OF_MARCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


def refused(status: int, message: str = "", **how: object):
    return refusal(status, message, **{"what": "the listing of cdr", "retry_after": None, **how})


def file(created: datetime = NOW - DAY, expires: datetime | None = None, attempts: int = 0) -> RemoteFile:
    scope = Scope(REPORTS["cdr_compressed"])
    partition = Partition.of(created, Grain.DAY)
    return RemoteFile(
        "1", "a.zip", "https://x.webex.com/1", 1, "0" * 32, created, expires, attempts, scope, partition
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (406, InvalidRequest),
        (407, InvalidConnection),
        (408, ServerFault),
        (412, StillProcessing),
        (429, TooManyConnections),
        (500, ServerFault),
        (503, ServerFault),
        (599, ServerFault),
        (400, UnexpectedAnswer),
        (404, UnexpectedAnswer),
        (204, UnexpectedAnswer),
    ],
)
def test_each_status_has_its_error(status, kind):
    assert type(refused(status)) is kind


@pytest.mark.parametrize("generating_403", [False, True])
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("File not available for download when daily generation in progress", StillProcessing),
        ("File not available for download when daily CDR generation in progress", StillProcessing),
        ("Peak Port file not available for download when daily generation in progress", StillProcessing),
        ("File expired for download", FileExpired),
        ("Peak Port file expired for download", FileExpired),
        ("File download times exceeds the maximum File Download attempts", AttemptsExhausted),
        ("File download times exceeds the maximum CDR File Download attempts", AttemptsExhausted),
        ("Peak Port file download times exceeds the maximum File Download attempts", AttemptsExhausted),
        ("FILE EXPIRED FOR DOWNLOAD", FileExpired),
    ],
)
def test_each_403_message_of_the_document_has_its_meaning(message, kind, generating_403):
    assert type(refused(403, message, generating_403=generating_403)) is kind
    assert type(refused(403, message, generating_403=generating_403, file=file())) is kind


@pytest.mark.parametrize(
    ("listed", "kind"),
    [
        (file(expires=NOW - DAY), FileExpired),
        (file(expires=NOW + DAY), StillProcessing),
        (file(expires=NOW - DAY, attempts=999), FileExpired),
        (file(expires=NOW + DAY, attempts=999), AttemptsExhausted),
        (file(expires=NOW + DAY, attempts=1500), AttemptsExhausted),
        (file(expires=NOW + DAY, attempts=998), StillProcessing),
        (file(created=NOW - 366 * DAY), FileExpired),
        (file(created=NOW - 364 * DAY), StillProcessing),
        (file(created=NOW - 400 * DAY, expires=NOW + DAY), StillProcessing),
        (file(created=datetime(9999, 12, 31, tzinfo=UTC)), StillProcessing),
        (file(created=datetime(1000, 1, 1, tzinfo=UTC)), FileExpired),
    ],
)
def test_a_403_without_a_message_is_read_from_the_listing(listed, kind):
    assert type(refused(403, file=listed, generating_403=True)) is kind


@pytest.mark.parametrize("message", ["", "Access denied", "<html>nginx</html>"])
def test_a_403_that_says_nothing_is_worth_waiting_for_only_where_the_document_says_so(message):
    assert type(refused(403, message, generating_403=True)) is StillProcessing
    assert type(refused(403, message)) is Forbidden


@pytest.mark.parametrize("status", [404, 410])
def test_a_link_that_leads_nowhere_has_expired_and_a_listing_that_does_is_unexpected(status):
    assert type(refused(status, file=file())) is LinkExpired
    assert type(refused(status)) is UnexpectedAnswer


def test_a_401_of_a_file_means_its_link_only_where_the_account_is_accepted_elsewhere():
    assert type(refused(401, file=file(), account_works=True)) is LinkExpired
    assert type(refused(401, file=file())) is Unauthorized
    assert type(refused(401, account_works=True)) is Unauthorized


@pytest.mark.parametrize(
    "message",
    [
        "The link has expired",
        "Request has expired",
        "This download link to the file is expired.",
        "URL expired",
    ],
)
def test_a_403_that_says_that_the_link_has_expired_is_about_the_file_only_if_the_listing_agrees(message):
    alive = file(expires=NOW + DAY)
    assert type(refused(403, message, file=alive, generating_403=True)) is LinkExpired
    assert type(refused(403, message, file=file(expires=NOW - DAY), generating_403=True)) is FileExpired
    many = file(expires=NOW + DAY, attempts=999)
    assert type(refused(403, message, file=many, generating_403=True)) is AttemptsExhausted


def test_a_403_that_says_two_things_at_once_is_read_from_the_listing():
    both = "File expired for download, or generation in progress"
    assert type(refused(403, both, file=file(expires=NOW - DAY), generating_403=True)) is FileExpired
    assert type(refused(403, both, file=file(expires=NOW + DAY), generating_403=True)) is StillProcessing


@pytest.mark.parametrize(
    ("status", "message"),
    [(412, ""), (429, ""), (503, ""), (403, "daily generation in progress")],
)
def test_the_servers_wish_to_wait_is_kept(status, message):
    assert refused(status, message, retry_after=17.0).retry_after == 17.0


def test_the_error_says_what_failed_how_and_what_the_server_said():
    error = refused(406, "Invalid parameter. Please check the parameter.")
    assert str(error).startswith("the listing of cdr finds a parameter invalid (406)")
    assert 'The server says: "Invalid parameter. Please check the parameter."' in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 13:01:30 +0100", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        *(
            (bad, None)
            for bad in (None, "", " ", "soon", "-5", "1.5", "²", "٣", "Sun, 99 Mar 2026 12:00:00 GMT")
        ),
        ("9" * 5000, 86_400.0),
        ("Tue, 01 Mar 2050 12:00:00 GMT", 86_400.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_a_day_and_never_an_exception(header, seconds):
    assert retry_after_seconds(header, FIRST_OF_MARCH) == seconds


@pytest.fixture
def in_tokyo(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("zone", ["", " -0000", " GMT"])
def test_a_date_without_a_zone_is_not_read_in_the_zone_of_the_worker(in_tokyo, zone):
    assert retry_after_seconds(f"Sun, 01 Mar 2026 12:01:30{zone}", FIRST_OF_MARCH) == 90.0
