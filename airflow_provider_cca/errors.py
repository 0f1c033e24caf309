"""Every error of this package, grouped by what the caller can do about it.

CcaError
├── TransientError            try again: the same call may succeed shortly
│   ├── ConnectionFailed        no answer, or it broke off
│   │   └── Unreachable           no connection could be made, or the login was not answered
│   ├── ServerFault             5xx
│   ├── TooManyConnections      429
│   ├── UnreadableAnswer        a JSON answer that cannot be read
│   ├── IncompleteListing       a listing that is not as long as its own total
│   ├── WrongSize               a body that is longer or shorter than listed
│   ├── WrongChecksum           a body whose MD5 is not the listed one
│   ├── LinkExpired             a download link that no longer works, though its file is still listed
│   ├── TruncatedSnapshot       a site list that does not hold the rows it counts
│   ├── StoreError              the object store failed; after a write it is unknown whether that was done
│   │   └── Changed               an object is no longer the one that was to be replaced
│   └── NotLanded               what is to be read has not landed whole
├── StillProcessing           wait: the server is generating the report (412, or one of 403's meanings)
│   └── NotYetListed            it lists no file of a date that is too young for that to be the answer
├── UsageError                fix the call or the connection
│   ├── InvalidArgument         a report, partition, site, level … that cannot be asked for
│   ├── InvalidConnection       a field of the connection that cannot be used
│   ├── Unauthorized            401, or the login was refused
│   ├── InvalidRequest          406
│   ├── HostNotAllowed          the token would have gone to a host that is not allowed to see it
│   └── DestinationUnusable     the store does not exist, or does not let us write
├── PermanentError            give up on this file, or ask the partner's administrator
│   ├── FileExpired             more than 365 days old (§3.1)
│   ├── AttemptsExhausted       downloaded 999 times (§3.1)
│   ├── OutsideRetention        a partition of which the server can no longer, or not yet, have files
│   ├── Forbidden               403 of no known meaning
│   ├── UnexpectedAnswer        a status that the API document does not know
│   ├── MalformedListing        an entry without a usable id, link, size, checksum or creation stamp
│   ├── DamagedArchive          a zip that cannot be read, or a member whose CRC is wrong
│   ├── HostileArchive          a zip that holds more than is allowed, or a link
│   └── UnsupportedArchive      a zip that is encrypted, or packed in a way that is not unpacked
├── AlreadyExists             an object that was to be created is there: take another key, or adopt it
├── PartlyLanded              some files landed, the others failed: their errors are in `failures`
├── ExpiresSoon               files that vanish from the server within days have not landed: see `gaps`
└── Closed                    the client was closed while it worked

Facts are attributes, so every class survives pickling; `as_dict` and `from_dict` carry them through JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_cca.core.printable import printable

MAX_MESSAGE = 1500
"""Characters."""

LONGEST_RETRY_AFTER = 120.0
"""Seconds. A server that wants a longer pause than this gets it from Airflow's own retries."""


class CcaError(Exception):
    """Base class of all errors of this package.

    :param message: What happened, where, and what to try. Shown on one line, since it may hold names that the
        server gave.
    :param facts: Kept as attributes of the error: JSON values only.
    """

    retryable: bool = False

    def __init__(self, message: str, /, **facts: Any) -> None:
        super().__init__(printable(message, MAX_MESSAGE))
        vars(self).update(facts)

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON values; `from_dict` makes it again."""
        return {"error": type(self).__name__, "message": str(self), "facts": vars(self)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> CcaError:
        """Make the error that `as_dict` described; an unknown class becomes a plain CcaError."""
        kind = _BY_NAME.get(str(data.get("error")), CcaError)
        return kind(str(data.get("message", "")), **dict(data.get("facts") or {}))


class TransientError(CcaError):
    """The same call may succeed shortly; `retry_after` is the server's own wish in seconds, or None."""

    retryable = True
    retry_after: float | None = None
    most_attempts: int | None = None
    """How often a call is worth making that fails like this, if that is limited."""

    @property
    def asks_for_long(self) -> bool:
        """Whether the server wants a longer pause than is waited for within a task."""
        return (self.retry_after or 0) > LONGEST_RETRY_AFTER


class ConnectionFailed(TransientError):
    """The server could not be reached, did not answer in time, or broke off an answer."""


class Unreachable(ConnectionFailed):
    """No connection could be made, or the login was not answered: so it is for every call."""


class ServerFault(TransientError):
    """The server answered with a 5xx `status`."""

    status: int


class TooManyConnections(TransientError):
    """The server counts more than 20 connections for this token (429)."""


class UnreadableAnswer(TransientError):
    """The server answered 200 with something that is not the JSON object of the API document."""


class IncompleteListing(TransientError):
    """The listing did not settle at its own total: `expected` entries, `received` entries."""

    expected: int
    received: int


class WrongSize(TransientError):
    """A body has `received` bytes, the listing says `expected`."""

    most_attempts = 3

    expected: int
    received: int


class WrongChecksum(TransientError):
    """A body has the MD5 `received`, the listing says `expected`."""

    most_attempts = 3

    expected: str
    received: str


class LinkExpired(TransientError):
    """A download link that died before its file did: list the file anew for another link."""

    most_attempts = 1


class TruncatedSnapshot(TransientError):
    """A site list whose `Total:N` is missing, or is not the number of its rows."""


class StoreError(TransientError):
    """The object store, or the local disk, refused to read or write."""


class Changed(StoreError):
    """Another task has written the object since it was read: read it again, then decide again."""


class NotLanded(TransientError):
    """A partition, or a file of it, that is to be read from the store has not landed there whole."""


class StillProcessing(CcaError):
    """The server is still generating the report; `retry_after` is its own wish in seconds, or None."""

    retryable = True
    retry_after: float | None = None


class NotYetListed(StillProcessing):
    """The server lists no file of a partition that ended less than 48 hours ago: files may still come."""


class UsageError(CcaError, ValueError):
    """The call or the connection must change before it can succeed."""


class InvalidArgument(UsageError):
    """An argument that cannot be used."""


class InvalidConnection(UsageError):
    """A field of the connection that is missing or cannot be used."""


class Unauthorized(UsageError):
    """The machine account was refused, or its fresh token was."""


class InvalidRequest(UsageError):
    """The server finds a parameter wrong (406)."""


class HostNotAllowed(UsageError):
    """A link points to a host (or scheme) that may not be sent the token."""


class DestinationUnusable(UsageError):
    """The object store, or the folder, does not exist or does not let us write."""


class PermanentError(CcaError):
    """No repetition will help."""


class FileExpired(PermanentError):
    """The file is past its retention of 365 days."""


class AttemptsExhausted(PermanentError):
    """The file was downloaded as often as the server allows."""


class OutsideRetention(PermanentError):
    """The partition lies outside the 365 days that the server keeps, or in the future."""


class Forbidden(PermanentError):
    """403 without a meaning that the API document gives it here."""


class UnexpectedAnswer(PermanentError):
    """A `status` that the API document does not list for this call."""

    status: int


class MalformedListing(PermanentError):
    """An entry of a listing that cannot be landed safely."""


class DamagedArchive(PermanentError):
    """A zip that cannot be read, or a member whose CRC is wrong, though the zip is what the server listed."""


class HostileArchive(PermanentError):
    """A zip that holds a link, or more than its limits allow: `limit` names the one, if it was one."""

    limit: str | None = None


class UnsupportedArchive(PermanentError):
    """A zip with a member that is encrypted, or packed by another method than deflate."""


class AlreadyExists(CcaError):
    """The object that was to be created is there, so nothing was written."""


class PartlyLanded(CcaError):
    """Some files could not be landed; `failures` maps each file's name to its error as a dict."""

    failures: Mapping[str, Any]


class ExpiresSoon(CcaError):
    """Files that the server deletes within days have not landed; `gaps` names them, the nearest first."""

    gaps: Sequence[Mapping[str, Any]]


class Closed(CcaError):
    """The client was closed, as by killing the task, while a call was under way."""

    retryable = True


_BY_NAME = {name: cls for name, cls in vars().items() if isinstance(cls, type) and issubclass(cls, CcaError)}
