"""The table of ways: one setting for each point that the API document leaves open, and what it may mean.

The defaults are the usual readings. Values of several settings are named alike: a status means that the
server answers with it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal, get_args, get_type_hints
from zoneinfo import ZoneInfo

from airflow_provider_cca.simulator.files import CcaFile

PACIFIC = ZoneInfo("America/Los_Angeles")
"""Where the server's owner sits."""

# A name is at most so many days away from its creation date, further compressed files of one date apart.
_NAMES_AWAY = 45


@dataclass(frozen=True)
class Ways:
    """How a server reads the API document. A value that a setting does not know is a ValueError."""

    dates: Literal["utc", "pacific", "name"] = "utc"
    """D1: the date that the creation filter means: that of `createdOn` in UTC, or in US/Pacific with its
    daylight saving time (D12), or the one in the file's name."""
    days_off: int = 0
    """D2, D3: days by which a file is listed later than the date that `dates` means."""
    months: Literal["creation", "usage"] = "creation"
    """D4: whether the filter of monthly files means the month of creation or that in the file's name."""

    unfinished: Literal["document", "412", "403", "empty", "partial"] = "document"
    """R1: the answer for a date in `Simulator.unfinished`: the status that the document has for the call, a
    status, a list without its files, or with the first half of them."""
    unfinished_range: Literal["all", "date"] = "all"
    """R1: whether one unfinished date spoils a range as a whole, or is left out of it."""

    total: Literal["right", "unfiltered", "page", "text", "moving"] = "right"
    """P4, P8: what `total` counts: the files that match; those of all dates; those on the page. Or the right
    number as a text, or one that is too high by one in every other answer."""
    none: Literal["empty", "null", "missing", "204", "404", "406", "412"] = "empty"
    """P6: a list without files: `items` is [], null or missing, or a status."""
    beyond: Literal["empty", "null", "missing", "204", "404", "last"] = "empty"
    """P5: a page beyond the end: the same, or the last page once more."""
    unknown_site: Literal["406", "404", "403", "empty"] = "406"
    """R4: the answer for a site that the account does not have; "empty" is as `none` says."""

    page_cap: int = 1000
    """P3: no page holds more entries than this, whatever `size` asks for."""
    largest_size: int = 1000
    """P2: the largest `size` that is accepted."""
    larger_size: Literal["406", "clamped", "30"] = "406"
    """P2: a larger `size` is refused, taken for the largest, or for the default of 30."""
    order: Literal["ascending", "descending", "unstable", "swapping"] = "ascending"
    """P7: by creation, oldest or newest first; another order in each answer; or neighbours on both sides of
    the end of a page change places in every other answer."""

    connections: Literal["requests", "open"] = "requests"
    """R8: whether idle connections count towards `Simulator.max_connections`. One is counted for the token
    that it was last used with, until it is closed, also when it was refused: while there is one too many,
    the requests on all of them are."""
    connections_per: Literal["token", "account"] = "token"
    """R8: what they are counted for."""
    connections_over: Literal["all", "host"] = "all"
    """R8: whether all host names count together, or each for itself."""
    too_many: Literal["429", "503"] = "429"
    """R8: the answer to one too many: the document's, or that of a gateway, in HTML."""
    retry_after: Literal["absent", "seconds", "date"] = "absent"
    """R8: the header `Retry-After` of that answer, which asks for one second."""

    storage: Literal["none", "400", "403"] = "none"
    """F1: a download is redirected to a signed URL on `Simulator.storage_host`, which refuses a request with
    an `Authorization` with this status."""
    link_seconds: float = 0.0
    """F1: how long a link lives, by the simulator's clock; 0 is for ever."""
    link_listings: int = 0
    """F1: how often its file is listed until a link is dead, 1 is the next time; 0 is never."""
    dead_link: Literal["404", "410", "401", "403"] = "404"
    """F1: the answer to a dead link."""

    stamps: Literal[
        "document", "iso", "fractions", "no_zone", "epoch", "epoch_ms", "pacific", "malformed"
    ] = "document"
    """D8, D10: how the moments in lists are written; "pacific" is with the offset of US/Pacific."""
    expired_on: Literal["true", "malformed", "absent"] = "true"
    """D10: `expiredOn`."""
    retention_days: int = 365
    """D9: days after creation for which files are listed and given; `expiredOn` says the same."""
    ids: Literal["text", "number", "shared"] = "text"
    """F5: the `id` of an entry; "shared" is one for the files of two dates."""

    login_page: Literal["none", "401", "200"] = "none"
    """R6, R7: where a token or password is refused, a login page in HTML with this status."""
    login_status: Literal["200", "201"] = "200"
    """T4: the status of a login that is accepted."""
    token_type: Literal["Bearer", "bearer", "BEARER"] = "Bearer"  # noqa: S105 - a word, no secret
    """T3: `tokenType`, as it is written."""
    expires_in: Literal["seconds", "ms", "text", "absent"] = "seconds"
    """T1: `expiresIn`."""

    site_list: Literal["document", "quoted", "comma", "semicolon", "crlf", "cr", "bom", "utf-16", "gzip"] = (
        "document"
    )
    """L2: how the site list is written; with commas and semicolons, cells that need it are quoted."""
    site_list_total: str = "Total:{rows}"
    """L1: its last line, in which ``{rows}`` and ``{lines}`` (with the header) are filled in; "" for none."""

    def __post_init__(self) -> None:
        for name, kinds in _kinds().items():
            known, value = get_args(kinds), getattr(self, name)
            if known and isinstance(known[0], str) and value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Ways:
        """Return the ways of texts ``name=value``; a ValueError names what is wrong."""
        values: dict[str, Any] = {}
        for setting in settings:
            name, _, text = setting.partition("=")
            if name not in _kinds():
                raise ValueError(f"{name!r} is no way; there are {', '.join(_kinds())}")
            default = getattr(cls, name)
            values[name] = text if isinstance(default, str) else type(default)(text)
        return cls(**values)

    def listed_on(self, file: CcaFile) -> date:
        """Return the date for which the creation filter lists the file; of a month any day."""
        if file.report == "peak_port_monthly" and self.months == "usage":
            return file.meeting_date
        if self.dates == "name" and file.report != "peak_port_monthly":
            day = file.meeting_date
        elif self.dates == "pacific":
            day = file.created.astimezone(PACIFIC).date()
        else:
            day = file.created.date()
        return day + timedelta(days=self.days_off)

    @property
    def days_away(self) -> int:
        """How many days `listed_on` can be away from the UTC date of creation, at most."""
        usual = (self.dates, self.days_off, self.months) == ("utc", 0, "creation")
        return 0 if usual else _NAMES_AWAY + abs(self.days_off)

    def expires(self, file: CcaFile) -> datetime:
        """Return the moment from which the file is neither listed nor given."""
        return file.expires + timedelta(days=self.retention_days - 365)


@cache
def _kinds() -> dict[str, Any]:
    return {name: kinds for name, kinds in get_type_hints(Ways).items() if name in Ways.__dataclass_fields__}
