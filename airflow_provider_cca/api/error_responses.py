"""What a status other than 200 means (§3.5-3.7). Plain Python: no Airflow, no I/O.

403 has three meanings in the API document: the report is being generated, the file expired, or it was
downloaded too often. Only the first is worth waiting for, so they are told apart by the server's
message, and where that says nothing by what the listing told of the file.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import (
    AttemptsExhausted,
    CcaError,
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
from airflow_provider_cca.reports import MAX_DOWNLOAD_ATTEMPTS, RETENTION_DAYS

_LINK_EXPIRED = re.compile(r"\b(link|url|uri|signature|request|token|ticket)\b[^.]{0,40}\bexpired\b", re.I)
"""403 of a signed or short-lived link: the object stores say "Request has expired"."""

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
    account_works: bool = False,
) -> CcaError:
    """The error for a status other than 200.

    :param message: What the server said, for the user to read.
    :param what: The call, as in "the listing of cdr_compressed".
    :param file: The file, when one was being downloaded.
    :param generating_403: Whether 403 without a telling message means "still generating" here.
    :param account_works: Whether the server has accepted a token of this account before.
    """
    said = f' The server says: "{message}"' if message else ""
    if status == 412:
        return StillProcessing(f"{what} is still processing (412).{said}", retry_after=retry_after)
    if file and (status in {404, 410} or (status == 401 and account_works)):
        return LinkExpired(f"{what} {_TEXTS[LinkExpired]} ({status}).{said}")
    if status == 403:
        meaning = _meaning_of_403(message, file, generating_403)
        facts = {"retry_after": retry_after} if meaning is StillProcessing else {}
        return meaning(f"{what} {_TEXTS[meaning]} (403).{said}", **facts)
    if status == 401:
        return Unauthorized(
            f"{what} refuses a fresh token (401): check that the machine account may read it, and that "
            "nothing else logs in with it at the same time, if the server takes its newest token alone."
            f"{said}"
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
    LinkExpired: "has a link that no longer works: list the file anew, as the next attempt of the task does",
    Forbidden: "is forbidden, ask whether the machine account may read it",
}


def _meaning_of_403(message: str, file: RemoteFile | None, generating_403: bool) -> type[CcaError]:
    gone = _gone(file) if file else None
    if file and _LINK_EXPIRED.search(message):
        return gone or LinkExpired
    told = [meaning for meaning, pattern in _MEANINGS.items() if pattern.search(message)]
    if len(told) == 1:
        return told[0]
    return gone or (StillProcessing if generating_403 else Forbidden)


def tells_why(message: str) -> bool:
    """Return whether the message of a refusal has one of the meanings that we know."""
    return any(pattern.search(message) for pattern in (_LINK_EXPIRED, *_MEANINGS.values()))


def _gone(file: RemoteFile) -> type[CcaError] | None:
    """Return why the listing says that a file cannot be downloaded any more, if it does."""
    now = datetime.now(UTC)
    if file.expires_on <= now if file.expires_on else file.partition.expired(now):
        return FileExpired
    return AttemptsExhausted if file.download_attempts >= MAX_DOWNLOAD_ATTEMPTS else None


MAX_BYTES = 4096
"""So much of a body is looked at."""

LONGEST_OF_A_PAGE = 100
"""Characters. A page of HTML is not from the API: a proxy or another server wrote it, for a browser."""

MIN_TOKEN_LENGTH = 16
"""Characters."""

ERROR_NAMES = ("message", "error_description", "description", "error")

_BETWEEN = r"""(?:[\\\s"'\[{(]|&\#?\w+;|%22)*"""

_ACCESS_TOKEN = re.compile(
    rf"""(access[\s_-]*token{_BETWEEN}(?:[:=>]|%3[ad]){_BETWEEN})((?<=["'])[^"']+|[^\s"'\\,;&<>}}\]]+)""",
    re.I,
)

_PAGE = re.compile(r"\s*<[!?a-z]", re.I)

_HTML = re.compile(r"<(!doctype\s+html|html|head|body|title|form|div|h1|p|script|style|meta)\b", re.I)

_LOGIN_PAGE = re.compile(r"""type\s*=\s*["']?password|\b(log|sign)[\s-]?(in|on)\b""", re.I)

_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.I | re.S)


def kind_of(body: bytes) -> str | None:
    """Return what a body is that should be something else: a page, an archive, nothing; None when unknown."""
    if not body.strip():
        return "an empty body"
    if body.startswith(b"\x1f\x8b"):
        return "bytes of gzip, which no Content-Encoding announces"
    if body.startswith(b"PK\x03\x04"):
        return "a zip file"
    text = body.decode("utf-8-sig", "replace")
    if not _PAGE.match(text):
        return None
    if not _HTML.search(text[:MAX_BYTES]):
        return "XML"
    return "a login page of HTML" if _LOGIN_PAGE.search(text[: 16 * MAX_BYTES]) else "a page of HTML"


def message_of(body: bytes, secrets: Iterable[Secret[str]]) -> str:
    """Return the message in an error's body, on one line, without the secrets and any accessToken's value.

    :param body: Its first MAX_BYTES.
    """
    forms = [form for secret in secrets if secret for form in written_forms(secret)]
    text = body.decode("utf-8", "replace")
    if len(body) >= MAX_BYTES:
        # What is cut off may be the second half of a secret.
        text = text[: -max((len(form.open()) for form in forms), default=1)]
    text = _without(_told(text), forms)
    if not _PAGE.match(text):
        return printable(text)
    words = _without(html.unescape(_TAGS.sub(" ", text)), forms)
    return f"{kind_of(body)}: {printable(words, LONGEST_OF_A_PAGE)}"


def without_token(body: bytes, token: Secret[str]) -> bytes:
    """Return a listing without the token, should the server repeat it there, as in a link.

    Entries go on to XCom and into messages. A token of a few letters is not looked for: it occurs by chance.
    """
    if len(token.open()) < MIN_TOKEN_LENGTH:
        return body
    for form in written_forms(token):
        body = body.replace(form.open().encode("utf-8", "replace"), b"***")
    return body


def _told(text: str) -> str:
    try:
        body = json.loads(text)
        named = [body[name] for name in ERROR_NAMES if body.get(name)] if isinstance(body, dict) else []
        return str(named[0]) if named else json.dumps(body, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _without(text: str, forms: Iterable[Secret[str]]) -> str:
    for form in forms:
        text = text.replace(form.open(), "***")
    return _ACCESS_TOKEN.sub(r"\1***", text)


def written_forms(secret: Secret[str]) -> list[Secret[str]]:
    """Return how a server may write it that repeats our request: as it is, or escaped; the longest first."""
    text = secret.open()
    quoted = quote(text, safe="", errors="replace")
    forms = {text, repr(text)[1:-1], html.escape(text), quoted}
    # Lower-case hex digits, and what libraries of Java and PHP escape in JSON besides.
    forms |= {re.sub("%..", lambda code: code[0].lower(), quoted), text.replace("/", "\\/")}
    forms.add(re.sub("[<>&='+/]", lambda sign: f"\\u{ord(sign[0]):04x}", text))
    forms.add(re.sub("[<>&=']", lambda sign: f"\\u{ord(sign[0]):04x}", text))
    forms |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return [Secret(form) for form in sorted(forms, key=len, reverse=True)]
