"""THE TABLE: every call of the document, and the words in which it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from airflow_provider_cca.simulator.files import Report

ROOT = "/pcs/api"
"""§3.2."""

INVALID = "Invalid parameter. Please check the parameter."
UNKNOWN = "Invalid site name or site id"
UNAUTHORIZED = "Unauthorized"
TOO_MANY = "Too many requests (the {what} download threads cannot exceed the Max Concurrent Connection.)"

_BUSY_SITE = "The daily CDR report for this site is still processing, try again later."
_BUSY_CDR = "File not available for download when daily CDR generation in progress"
_BUSY = "File not available for download when daily generation in progress"
_BUSY_PEAK_PORT = f"Peak Port {_BUSY[0].lower()}{_BUSY[1:]}"


class Refusal(Exception):
    """An answer that holds nothing of what was asked for: a status, and a message in the document's words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Call:
    """One row. `processing` is the status and message of "still processing" here, None where there is none.

    `subject` is the word for the file in the messages of §3.5.6, §3.5.7 and §3.6.3.
    """

    name: str
    section: str
    method: Literal["GET", "POST"]
    path: str
    kind: Literal["token", "list", "download", "site_list"]
    report: Report | None = None
    invalid: str = INVALID
    processing: tuple[int, str] | None = None
    subject: str = "File"
    attempts_of: str = "File"
    threads_of: str = "file"

    @property
    def too_many(self) -> str:
        return TOO_MANY.format(what=self.threads_of)

    @property
    def expired(self) -> str:
        return f"{self.subject} expired for download"

    @property
    def exhausted(self) -> str:
        return f"{self.subject} download times exceeds the maximum {self.attempts_of} Download attempts"


_PEAK = "Peak Port file"

CALLS = (
    Call("token", "3.3", "POST", "/v1/oauth/token", "token"),
    Call("sites", "3.5.1", "GET", "/v1/cdr", "list"),
    Call("cdr", "3.5.2-4", "GET", "/v1/cdr/{site}", "list", "cdr", INVALID, (412, _BUSY_SITE)),
    Call(
        "cdr_compressed",
        "3.5.5",
        "GET",
        "/v1/cdr/daily/compression/files",
        "list",
        "cdr_compressed",
        UNKNOWN,
        (403, _BUSY),
        threads_of=_PEAK,
    ),
    # Stands before the individual file: "zip" in that place is no site.
    Call(
        "download_zip",
        "3.4",
        "GET",
        "/v1/cdr/zip/{id}",
        "download",
        "cdr_compressed",
        UNKNOWN,
        (403, _BUSY),
        threads_of=_PEAK,
    ),
    Call(
        "download_cdr",
        "3.5.6",
        "GET",
        "/v1/cdr/{site}/{id}",
        "download",
        "cdr",
        UNKNOWN,
        (403, _BUSY_CDR),
        attempts_of="CDR File",
    ),
    Call(
        "download_compressed",
        "3.5.7",
        "GET",
        "/v1/cdr/daily/compression/files/{id}",
        "download",
        "cdr_compressed",
        UNKNOWN,
        (403, _BUSY),
        threads_of=_PEAK,
    ),
    Call(
        "peak_port_daily",
        "3.6.1",
        "GET",
        "/v1/peakport/daily",
        "list",
        "peak_port_daily",
        UNKNOWN,
        (412, _BUSY),
        threads_of=_PEAK,
    ),
    Call(
        "peak_port_monthly",
        "3.6.2",
        "GET",
        "/v1/peakport/monthly",
        "list",
        "peak_port_monthly",
        UNKNOWN,
        (412, _BUSY),
        threads_of=_PEAK,
    ),
    Call(
        "download_peak_port",
        "3.6.3",
        "GET",
        "/v1/peakport/files/{id}",
        "download",
        "peak_port_daily",
        UNKNOWN,
        (403, _BUSY_PEAK_PORT),
        subject=_PEAK,
        threads_of=_PEAK,
    ),
    Call("site_list", "3.7", "GET", "/v1/cca-site", "site_list"),
)


def route(raw_path: str) -> tuple[Call, dict[str, str]] | None:
    """The call for a percent-encoded path below the root, and its parts decoded; None when there is none."""
    for pattern, call in _PATTERNS:
        found = pattern.fullmatch(raw_path)
        if found:
            return call, {name: unquote(text) for name, text in found.groupdict().items()}
    return None


# Matched while still encoded: a slash within a site name is no separator.
_PATTERNS = [(re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", call.path)), call) for call in CALLS]
