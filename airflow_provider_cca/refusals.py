"""What a status other than 200 means (§3.5-3.7). Plain Python: no Airflow, no I/O.

403 has three meanings in the API document: the report is being generated, the file expired, or it was
downloaded too often. Only the first is worth waiting for, so they are told apart by the server's
message, and where that says nothing by what the listing told of the file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from airflow_provider_cca.errors import (
    AttemptsExhausted,
    CcaError,
    FileExpired,
    Forbidden,
    InvalidConnection,
    InvalidRequest,
    ServerFault,
    StillProcessing,
    TooManyConnections,
    Unauthorized,
    UnexpectedAnswer,
)
from airflow_provider_cca.models import RemoteFile
from airflow_provider_cca.reports import MAX_DOWNLOAD_ATTEMPTS, RETENTION_DAYS

_MEANINGS: dict[type[CcaError], re.Pattern[str]] = {
    StillProcessing: re.compile(r"in progress|still processing|being generated|generation", re.I),
    FileExpired: re.compile(r"\bfile\b.*\bexpired\b|\bexpired for download", re.I),
    AttemptsExhausted: re.compile(r"exceed.*\b(maximum|attempts)\b|\bdownload (attempts|times)\b", re.I),
}


LONGEST_WISH = timedelta(days=1).total_seconds()
"""Seconds after which we ask again even if told to wait longer: a mistyped header must not cost years."""


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """A Retry-After header, seconds or an HTTP date, as 0 to 86,400 s from now; None when unusable."""
    if not header:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return min(float(header.strip()[:9]), LONGEST_WISH)
    try:
        moment = parsedate_to_datetime(header)
        # Without a zone, and with -0000, it is UTC too: not the zone of this worker.
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
        return min(max(0.0, seconds), LONGEST_WISH)
    except (ValueError, TypeError, OverflowError):
        return None


def refusal(
    status: int,
    message: str,
    *,
    what: str,
    retry_after: float | None,
    file: RemoteFile | None = None,
    generating_403: bool = False,
) -> CcaError:
    """The error for a status other than 200.

    :param message: What the server said, for the user to read.
    :param what: The call, as in "the listing of cdr_compressed".
    :param file: The file, when one was being downloaded.
    :param generating_403: Whether 403 without a telling message means "still generating" here.
    """
    said = f' The server says: "{message}"' if message else ""
    if status == 412:
        return StillProcessing(f"{what} is still processing (412).{said}", retry_after=retry_after)
    if status == 403:
        meaning = _meaning_of_403(message, file, generating_403)
        facts = {"retry_after": retry_after} if meaning is StillProcessing else {}
        return meaning(f"{what} {_TEXTS[meaning]} (403).{said}", **facts)
    if status == 401:
        return Unauthorized(
            f"{what} refuses a fresh token (401): check that the machine account may read it.{said}"
        )
    if status == 406:
        return InvalidRequest(
            f"{what} finds a parameter invalid (406): check site, level and partition.{said}"
        )
    if status == 407:
        return InvalidConnection(
            f"{what}: the proxy wants a name and password, or refuses those that it got (407): check "
            '"proxy" in the connection\'s extra, or http_proxy in the environment of this worker'
        )
    if status == 429:
        return TooManyConnections(
            f"{what} was refused, too many connections for this token (429): lower max_connections, or give "
            f"the tasks a pool.{said}",
            retry_after=retry_after,
        )
    if status >= 500 or status == 408:
        return ServerFault(f"{what} failed with {status}.{said}", status=status, retry_after=retry_after)
    return UnexpectedAnswer(
        f"{what} was answered with {status}, which the API does not know: check host, schema and port "
        f"of the connection.{said}",
        status=status,
    )


_TEXTS: dict[type[CcaError], str] = {
    StillProcessing: "is not available yet, it is being generated",
    FileExpired: f"is past its {RETENTION_DAYS} days and gone",
    AttemptsExhausted: f"was downloaded more than {MAX_DOWNLOAD_ATTEMPTS} times, ask Cisco to release it",
    Forbidden: "is forbidden, ask whether the machine account may read it",
}


def _meaning_of_403(message: str, file: RemoteFile | None, generating_403: bool) -> type[CcaError]:
    told = [meaning for meaning, pattern in _MEANINGS.items() if pattern.search(message)]
    if len(told) == 1:
        return told[0]
    if file:
        now = datetime.now(UTC)
        if file.expires_on and file.expires_on <= now:
            return FileExpired
        if not file.expires_on and file.created_on <= now - timedelta(days=RETENTION_DAYS):
            return FileExpired
        if file.download_attempts >= MAX_DOWNLOAD_ATTEMPTS:
            return AttemptsExhausted
    return StillProcessing if generating_403 else Forbidden
