"""What can go wrong, as values. Place one with `Simulator.inject`, or append a `Rule` to `Simulator.faults`.

Faults that answer by themselves (`Status`, `StillProcessing`, `BadJson`, `Redirect`, `Reset`) end the search
through the rules: those behind them wait for the next request. The others join: `Delay` and `CutAfter` can
meet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_cca.simulator.calls import Call


@dataclass(frozen=True)
class Delay:
    """Wait so many seconds before the answer begins. For all calls alike there is `Simulator.latency`."""

    seconds: float


@dataclass(frozen=True)
class Status:
    """Answer this status. `body` is sent as it is; without one, a small JSON with `message`.

    `retry_after` is the header's value: seconds, or a text such as an HTTP date.
    """

    code: int
    message: str = "Injected"
    retry_after: float | str | None = None
    body: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class StillProcessing:
    """The answer that the document gives while a report is being made: 412 or 403, by the call.

    Calls for which it knows none are left alone, unless `status` says which to send. With `until` it ends by
    itself at that time of the simulator's clock, however often it has struck.
    """

    until: datetime | None = None
    status: int | None = None
    retry_after: float | str | None = None


@dataclass(frozen=True)
class TokenExpired:
    """The token of this request is revoked before it is looked at: the answer is 401."""


@dataclass(frozen=True)
class BadJson:
    """Status 200, and a body that is no JSON."""

    body: bytes = b"<html><body>Service temporarily moved</body></html>"


@dataclass(frozen=True)
class TruncatedJson:
    """The first half of the right body, with a Content-Length that fits the half."""


@dataclass(frozen=True)
class Redirect:
    """Send the client elsewhere; ``{path}`` in `to` becomes the path and query that it asked for."""

    to: str
    status: int = 302


@dataclass(frozen=True)
class Reset:
    """The connection is reset (TCP RST) before any answer."""


@dataclass(frozen=True)
class CutAfter:
    """The connection ends after so many bytes of the body: closed, or with `reset` by RST.

    At the latest one byte before the end, so that it is always a cut.
    """

    bytes: int
    reset: bool = False


@dataclass(frozen=True)
class Hang:
    """Nothing more comes: after so many bytes of the body, or with None not even headers.

    Until `Simulator.release`, or until the client or the server goes.
    """

    after: int | None = None


@dataclass(frozen=True)
class Trickle:
    """The body comes at this many bytes per second."""

    bytes_per_second: int


@dataclass(frozen=True)
class NoLength:
    """A body without Content-Length: chunked, or else ended by closing the connection."""

    chunked: bool = True


@dataclass(frozen=True)
class WrongBytes:
    """The right number of bytes, one of them wrong."""


Fault = (
    Delay
    | Status
    | StillProcessing
    | TokenExpired
    | BadJson
    | TruncatedJson
    | Redirect
    | Reset
    | CutAfter
    | Hang
    | Trickle
    | NoLength
    | WrongBytes
)


@dataclass(frozen=True)
class Asked:
    """A request, as matches and hooks see it; `path` is below the API root, percent-encoded as sent."""

    method: str
    path: str
    query: Mapping[str, str]
    host: str
    call: Call | None = None
    token: int | None = None

    @property
    def name(self) -> str:
        return self.call.name if self.call else ""

    @property
    def kind(self) -> str:
        return self.call.kind if self.call else ""


@dataclass(frozen=True)
class Match:
    """Which requests: each field that is set must fit.

    `call` is a name of the table (``cdr_compressed``) or a kind (``list``, ``download``, ``token``,
    ``site_list``), `path` a regular expression searched in the path, `query` parameters that must have these
    values.
    """

    call: str | None = None
    path: str | None = None
    method: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None

    def fits(self, asked: Asked) -> bool:
        return (
            (self.call is None or self.call in (asked.name, asked.kind))
            and (self.path is None or re.search(self.path, asked.path) is not None)
            and self.method in (None, asked.method)
            and self.host in (None, asked.host)
            and all(asked.query.get(name) == value for name, value in self.query.items())
        )


@dataclass
class Rule:
    """A fault in its place.

    It strikes `times` fitting requests (None: all): every `every`-th, once `skip` have passed.
    """

    fault: Fault
    match: Match = field(default_factory=Match)
    times: int | None = 1
    skip: int = 0
    every: int = 1
    seen: int = 0
    hits: int = 0

    def strikes(self, asked: Asked, now: datetime) -> bool:
        """Whether it does this time; the answer is counted."""
        if not self._concerns(asked, now):
            return False
        self.seen += 1
        timed = isinstance(self.fault, StillProcessing) and self.fault.until is not None
        spent = not timed and self.times is not None and self.hits >= self.times
        if spent or self.seen <= self.skip or (self.seen - self.skip) % self.every:
            return False
        self.hits += 1
        return True

    def _concerns(self, asked: Asked, now: datetime) -> bool:
        if isinstance(self.fault, StillProcessing):
            over = self.fault.until is not None and now >= self.fault.until
            known = self.fault.status is not None or (asked.call is not None and asked.call.processing)
            if over or not known:
                return False
        return self.match.fits(asked)
