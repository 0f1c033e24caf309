"""Every status code in every table of the API document: what the user sees, how often the server is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import md5
from typing import Any

import pendulum
import pytest
import requests_mock

from airflow_provider_cca.errors import LinkExpired, PartlyLanded, StillProcessing, TooManyConnections
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.operators import (
    CcaListFilesOperator,
    CcaListSitesOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)

API = "https://pcsprod.webex.com/pcs/api/v1"
DOWNLOAD = "https://dyn.webex.com/pcs/api/v1/any/file"
DAY = pendulum.now("UTC").subtract(days=3)

GENERATING = "File not available for download when daily generation in progress"
GENERATING_CDR = "File not available for download when daily CDR generation in progress"
GENERATING_PEAK = "Peak Port file not available for download when daily generation in progress"
EXPIRED = "File expired for download"
EXPIRED_PEAK = "Peak Port file expired for download"
EXHAUSTED = "File download times exceeds the maximum File Download attempts"
EXHAUSTED_CDR = "File download times exceeds the maximum CDR File Download attempts"
EXHAUSTED_PEAK = "Peak Port file download times exceeds the maximum File Download attempts"


def listing(**arguments: Any) -> CcaListFilesOperator:
    return CcaListFilesOperator(task_id="list", **arguments)


def landing(**arguments: Any) -> CcaToObjectStorageOperator:
    return CcaToObjectStorageOperator(task_id="land", destination="{{ store }}", **arguments)


NEW = listing(report="cdr", site="s1", by="new")
MEETING_END = listing(report="cdr", site="s1", by="meeting_end")
CREATION = listing(report="cdr", site="s1")
COMPRESSED = listing(report="cdr_compressed")
PEAK_DAILY = listing(report="peak_port_daily", level="site")
PEAK_MONTHLY = listing(report="peak_port_monthly", level="site")
CDR_FILE = landing(report="cdr", site="s1")
COMPRESSED_FILE = landing(report="cdr_compressed")
PEAK_FILE = landing(report="peak_port_daily", level="site")
SITES = CcaListSitesOperator(task_id="sites")
SITE_LIST = CcaSiteListToObjectStorageOperator(task_id="snapshot", destination="{{ store }}")

FAIL, WAIT, BUSY, LINK = AirflowFailException, StillProcessing, TooManyConnections, LinkExpired
LANDING = {WAIT: PartlyLanded, BUSY: PartlyLanded, LINK: PartlyLanded, FAIL: FAIL}

# section, what is done, status, the server's words, what the task ends with, what it says, times asked. After
# a 406 other dates, pages of other sizes, or the sites are asked for: it may be how this server says "none".
LISTINGS = [
    ("3.5.1", SITES, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
    ("3.5.1", SITES, 406, "Invalid parameter. Please check the parameter.", FAIL, "parameter invalid", 5),
    ("3.5.2", NEW, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
    ("3.5.2", NEW, 406, "Invalid parameter. Please check the parameter.", FAIL, "parameter invalid", 7),
    (
        "3.5.2",
        NEW,
        412,
        "The daily CDR report for this site is still processing",
        WAIT,
        "still processing",
        1,
    ),
    ("3.5.3", MEETING_END, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
    ("3.5.3", MEETING_END, 406, "Invalid parameter.", FAIL, "parameter invalid", 7),
    ("3.5.4", CREATION, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
    ("3.5.4", CREATION, 406, "Invalid parameter.", FAIL, "parameter invalid", 7),
    ("3.5.5", COMPRESSED, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
    ("3.5.5", COMPRESSED, 403, GENERATING, WAIT, "it is being generated", 1),
    ("3.5.5", COMPRESSED, 403, EXPIRED, FAIL, "past its 365 days and gone", 1),
    ("3.5.5", COMPRESSED, 403, EXHAUSTED, FAIL, "more than 999 times", 1),
    ("3.5.5", COMPRESSED, 406, "Invalid site name or site id", FAIL, "parameter invalid", 2),
    ("3.5.5", COMPRESSED, 429, "Too many requests", BUSY, "too many connections", 6),
]
for section, peaks in (("3.6.1", PEAK_DAILY), ("3.6.2", PEAK_MONTHLY)):
    LISTINGS += [
        (section, peaks, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
        (section, peaks, 403, EXPIRED_PEAK, FAIL, "past its 365 days and gone", 1),
        (section, peaks, 403, EXHAUSTED_PEAK, FAIL, "more than 999 times", 1),
        (section, peaks, 406, "Invalid site name or site id", FAIL, "parameter invalid", 2),
        (section, peaks, 412, GENERATING, WAIT, "still processing", 1),
        (section, peaks, 429, "Too many requests", BUSY, "too many connections", 6),
    ]
LISTINGS += [
    ("3.7", SITE_LIST, 401, "Unauthorized", FAIL, "check that the machine account may read it", 2),
    ("3.7", SITE_LIST, 406, "Invalid parameter. Please check the parameter.", FAIL, "parameter invalid", 1),
]

DOWNLOADS = [
    ("3.5.6", CDR_FILE, 403, GENERATING_CDR, WAIT, "it is being generated", 1),
    ("3.5.6", CDR_FILE, 403, EXHAUSTED_CDR, FAIL, "more than 999 times", 1),
    ("3.5.6", CDR_FILE, 406, "Invalid site name or site id", FAIL, "parameter invalid", 1),
    ("3.5.7", COMPRESSED_FILE, 403, GENERATING, WAIT, "it is being generated", 1),
    ("3.5.7", COMPRESSED_FILE, 403, EXHAUSTED, FAIL, "more than 999 times", 1),
    ("3.6.3", PEAK_FILE, 403, GENERATING_PEAK, WAIT, "it is being generated", 1),
    ("3.6.3", PEAK_FILE, 403, EXHAUSTED_PEAK, FAIL, "more than 999 times", 1),
]
for section, file in (("3.5.6", CDR_FILE), ("3.5.7", COMPRESSED_FILE), ("3.6.3", PEAK_FILE)):
    DOWNLOADS += [
        (section, file, 401, "Unauthorized", LINK, "a link that no longer works", 4),
        (section, file, 403, EXPIRED_PEAK, FAIL, "past its 365 days and gone", 1),
        (section, file, 429, "Too many requests", BUSY, "too many connections", 6),
    ]


def listed(**changes: Any) -> dict[str, Any]:
    item = {
        "id": "c7779fb1",
        "createdOn": DAY.format("MM/DD/YYYY[T]07:24:24+0000"),
        "downloadLink": DOWNLOAD,
        "fileSize": 4,
        "fileName": "a.csv",
        "checksum": md5(b"body").hexdigest(),
        "expiredOn": DAY.add(days=365).format("MM/DD/YYYY[T]07:43:18+0000"),
        "downloadAttempts": 0,
    }
    return item | changes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests_mock.Mocker]:
    """Cisco's server with one file in every listing; `cca_default` leads to it."""
    connection = {"conn_type": "cca", "login": "account", "password": "word"}
    monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))
    with requests_mock.Mocker() as mocker:
        mocker.get(requests_mock.ANY, json={"total": 1, "from": 0, "size": 1, "items": [listed()]})
        mocker.post(
            f"{API}/oauth/token", json={"tokenType": "Bearer", "accessToken": "tok-4711", "expiresIn": 43199}
        )
        yield mocker


@pytest.mark.parametrize(("section", "operator", "status", "words", "ends", "says", "asked"), LISTINGS)
def test_a_status_of_a_listing(
    server, run, tmp_path, section, operator, status, words, ends, says, asked
) -> None:
    server.get(requests_mock.ANY, status_code=status, json={"message": words})
    with pytest.raises(ends, match=says) as caught:
        run(operator, _date(operator), store=str(tmp_path))
    assert words in str(caught.value)
    assert sum(request.method == "GET" for request in server.request_history) == asked


@pytest.mark.parametrize(("section", "operator", "status", "words", "ends", "says", "asked"), DOWNLOADS)
def test_a_status_of_a_download(
    server, run, tmp_path, section, operator, status, words, ends, says, asked
) -> None:
    server.get(DOWNLOAD, status_code=status, json={"message": words})
    with pytest.raises(LANDING[ends], match=says) as caught:
        run(operator, _date(operator), store=str(tmp_path))
    assert words in str(caught.value)
    assert sum(request.url == DOWNLOAD for request in server.request_history) == asked


@pytest.mark.parametrize(
    ("expired_on", "attempts", "ends", "says"),
    [
        (DAY.add(days=365), 0, WAIT, "it is being generated"),
        (DAY, 0, FAIL, "past its 365 days and gone"),
        (DAY.add(days=365), 999, FAIL, "more than 999 times"),
    ],
)
def test_a_bare_403_is_read_by_what_the_listing_told(
    server, run, tmp_path, expired_on, attempts, ends, says
) -> None:
    item = listed(expiredOn=expired_on.format("MM/DD/YYYY[T]07:43:18+0000"), downloadAttempts=attempts)
    server.get(requests_mock.ANY, json={"total": 1, "from": 0, "size": 1, "items": [item]})
    server.get(DOWNLOAD, status_code=403)
    with pytest.raises(LANDING[ends], match=says):
        run(COMPRESSED_FILE, _date(COMPRESSED_FILE), store=str(tmp_path))


@pytest.mark.parametrize("operator", [CDR_FILE, COMPRESSED_FILE, PEAK_FILE])
def test_a_download_that_succeeds_is_asked_for_once(server, run, tmp_path, operator) -> None:
    server.get(DOWNLOAD, content=b"body")
    assert run(operator, _date(operator), store=str(tmp_path))["downloaded"] == 1
    assert sum(request.url == DOWNLOAD for request in server.request_history) == 1


def _date(operator: Any) -> str:
    """The run's date; a site list is of today."""
    return (pendulum.now("UTC") if operator is SITE_LIST else DAY).to_date_string()
