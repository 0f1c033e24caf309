"""What the API's answers mean, as frozen values parsed once at the edge. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pendulum

from airflow_provider_cca.errors import InvalidArgument, MalformedListing, UnreadableAnswer
from airflow_provider_cca.reports import RETENTION_DAYS, Grain, Report, check_listing, report_named

# Compiled by re when first used, and then kept: no DAG file that is parsed needs them.
_STAMP = (
    r"(?a)(\d{1,2})/(\d{1,2})/([1-9]\d{3})"
    r"T(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?([+-](?:[01]\d|2[0-3]):?[0-5]\d|Z)"
)
_MD5 = r"[0-9a-f]{32}"
_INTEGER = r"(?a)\d{1,18}"


def parse_stamp(text: object) -> datetime | None:
    """A stamp such as 12/14/2018T07:24:24+0000 or 4/23/2019T00:00:00+0000 in UTC; None when malformed."""
    match = re.fullmatch(_STAMP, text) if isinstance(text, str) else None
    if not match:
        return None
    *parts, zone = match.groups()
    month, day, year, hour, minute, second = map(int, parts)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return moment - _offset(zone)
    except (ValueError, OverflowError):
        return None


def _offset(zone: str) -> timedelta:
    """+0130 or -08:00 as a timedelta; by hand, as strptime takes half the time of a long listing."""
    if zone == "Z":
        return timedelta()
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return size if zone[0] == "+" else -size


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second: how every time is written that we store."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, order=True)
class Partition:
    """The files created on one day, or in one month, of UTC.

    :param first: Its first day.
    :param grain: Whether it is that day or the month that begins with it.
    """

    first: date
    grain: Grain = field(default=Grain.DAY, compare=False)

    @classmethod
    def parse(cls, text: str, grain: Grain) -> Partition:
        """From YYYY-MM-DD or YYYY-MM. A month may also be given by any of its days.

        Raises InvalidArgument on anything else.
        """
        for form in (grain, Grain.DAY):
            try:
                return cls.of(datetime.strptime(text, form.value).date(), grain)
            except (ValueError, TypeError):
                continue
        form_name = "YYYY-MM-DD" if grain is Grain.DAY else "YYYY-MM"
        raise InvalidArgument(
            f"{text!r} is not a partition of this report: give its creation "
            f"{'date' if grain is Grain.DAY else 'month'} as {form_name}",
            argument="partition",
        )

    @classmethod
    def of(cls, day: date, grain: Grain) -> Partition:
        """The partition in which this day lies; a datetime counts by its day in UTC."""
        if isinstance(day, datetime):
            day = day.astimezone(UTC).date()
        return cls(day if grain is Grain.DAY else day.replace(day=1), grain)

    def __str__(self) -> str:
        return self.first.strftime(self.grain.value)

    @property
    def api(self) -> str:
        """As the API's date parameters want it: MMDDYYYY, or MMYYYY."""
        return self.first.strftime("%m%d%Y" if self.grain is Grain.DAY else "%m%Y")

    @property
    def last(self) -> date:
        """Its last day."""
        if self.grain is Grain.DAY:
            return self.first
        return pendulum.Date(self.first.year, self.first.month, 1).end_of("month")

    def until(self, end: Partition) -> Iterator[Partition]:
        """This partition and all that follow it up to `end`, both included."""
        current = self
        while current <= end:
            yield current
            if current == end:  # the last of all days has none that follows
                return
            current = Partition.of(current.last + timedelta(days=1), self.grain)

    def expired(self, now: datetime) -> bool:
        """Whether every file of this partition is past its retention of 365 days."""
        return self.last < now.astimezone(UTC).date() - timedelta(days=RETENTION_DAYS)

    def fading(self, now: datetime) -> bool:
        """Whether some file of this partition may be past its retention already."""
        return self.first <= now.astimezone(UTC).date() - timedelta(days=RETENTION_DAYS)

    def begun(self, now: datetime) -> bool:
        """Whether the server can already have created a file of this partition."""
        return self.first <= now.astimezone(UTC).date()


@dataclass(frozen=True)
class Token:
    """An access token, and how long the server will take it (§3.3)."""

    value: str = field(repr=False)
    expires_in: float

    @classmethod
    def from_api(cls, answer: Mapping[str, Any]) -> Token:
        """From the answer of POST /v1/oauth/token; raises UnreadableAnswer without a token in it."""
        value = answer.get("accessToken")
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise UnreadableAnswer("the login was answered without a usable accessToken (§3.3)")
        lifetime = answer.get("expiresIn")
        # Without a usable lifetime the token serves until the server refuses it.
        if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or not 0 < lifetime < 1e9:
            lifetime = float("inf")
        return cls(value, float(lifetime))


@dataclass(frozen=True)
class Site:
    """One site that the partner manages (§3.5.1)."""

    name: str
    last_update: datetime | None

    @classmethod
    def from_api(cls, item: Mapping[str, Any]) -> Site:
        """From an entry of the site listing; raises MalformedListing without a name."""
        name = _text(item.get("siteName"))
        if not name:
            raise MalformedListing(f"a site without a siteName (§3.5.1): {_excerpt(item)}")
        return cls(name, parse_stamp(item.get("lastSiteUpdate")))


@dataclass(frozen=True)
class Scope:
    """What a listing is of: a report, and its site or level."""

    report: Report
    site: str | None = None
    level: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.report.name, self.site or self.level)))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the listing gives it.

    :param link: The whole download URL, as it came.
    :param size: Bytes.
    :param md5: 32 lower-case hex digits.
    :param created_on: UTC; it decides the partition.
    :param expires_on: UTC; None when the server's stamp was malformed.
    """

    id: str
    name: str
    link: str
    size: int
    md5: str
    created_on: datetime
    expires_on: datetime | None
    download_attempts: int
    scope: Scope

    @property
    def partition(self) -> Partition:
        return Partition.of(self.created_on, self.scope.report.grain)

    @classmethod
    def from_api(cls, item: Mapping[str, Any], scope: Scope) -> RemoteFile:
        """From an entry of any file listing (§3.5.2-5, §3.6.1-2).

        Raises MalformedListing when the entry has no usable id, link, size, checksum or creation stamp:
        such a file could be neither verified nor put in its place.
        """

        def must(field_name: str, value: Any) -> Any:
            if value is None:
                raise MalformedListing(
                    f"an entry of the {scope} listing has no usable {field_name}: {_excerpt(item)}",
                    field=field_name,
                )
            return value

        return cls(
            id=must("id", _text(item.get("id"))),
            name=_name(item),
            link=must("downloadLink", _text(item.get("downloadLink")) or _text(item.get("a"))),
            size=must("fileSize", _count(item.get("fileSize"))),
            md5=must("checksum", _digest(item.get("checksum"))),
            created_on=must("createdOn", parse_stamp(item.get("createdOn"))),
            expires_on=parse_stamp(item.get("expiredOn")),
            download_attempts=_count(item.get("downloadAttempts")) or 0,
            scope=scope,
        )

    def as_dict(self) -> dict[str, Any]:
        """As small JSON values, for XCom; `from_dict` makes the file again."""
        return {
            "report": self.scope.report.name,
            "partition": str(self.partition),
            "site": self.scope.site,
            "level": self.scope.level,
            "id": self.id,
            "name": self.name,
            "link": self.link,
            "size": self.size,
            "md5": self.md5,
            "created_on": iso(self.created_on),
            "expires_on": iso(self.expires_on) if self.expires_on else None,
            "download_attempts": self.download_attempts,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RemoteFile:
        """From what `as_dict` gave; raises InvalidArgument on anything else."""
        try:
            expires_on = data["expires_on"]
            report = report_named(data["report"])
            check_listing(report, by="creation", site=data.get("site"), level=data.get("level"))
            return cls(
                id=_known(_text(data["id"])),
                name=_known(data["name"] if isinstance(data["name"], str) else None),
                link=_known(_text(data["link"])),
                size=_known(_count(data["size"])),
                md5=_known(_digest(data["md5"])),
                created_on=_moment(data["created_on"]),
                expires_on=_moment(expires_on) if expires_on else None,
                download_attempts=_known(_count(data["download_attempts"])),
                scope=Scope(report, data.get("site"), data.get("level")),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(
                f"{_excerpt(data)} is not a file as CcaListFilesOperator lists them: {error!r}",
                argument="files",
            ) from error


def by_partition(files: Iterable[RemoteFile]) -> dict[tuple[Scope, Partition], list[RemoteFile]]:
    """Files by what they are of and when they were created."""
    groups: dict[tuple[Scope, Partition], list[RemoteFile]] = {}
    for file in files:
        groups.setdefault((file.scope, file.partition), []).append(file)
    return groups


def _name(item: Mapping[str, Any]) -> str:
    """`fileName`, or for cdr the metadata entry `humanReadableFileName`; "" when the API gives none."""
    name = item.get("fileName")
    if not isinstance(name, str) or not name:
        metadata = item.get("metadata")
        entries = metadata if isinstance(metadata, list) else []
        values = [
            e.get("value") for e in entries if isinstance(e, dict) and e.get("key") == "humanReadableFileName"
        ]
        name = values[0] if values else ""
    return name if isinstance(name, str) else ""


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    if (isinstance(value, str) and re.fullmatch(_INTEGER, value)) or (
        isinstance(value, float) and value.is_integer()
    ):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _digest(value: object) -> str | None:
    text = value.strip().lower() if isinstance(value, str) else ""
    return text if re.fullmatch(_MD5, text) else None


def _known(value: Any) -> Any:
    if value is None:
        raise ValueError("a value of another form")
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} does not say in which zone it is")
    return moment.astimezone(UTC)


def _excerpt(item: object) -> str:
    text = repr(item)
    return text if len(text) <= 300 else text[:300] + "…"
