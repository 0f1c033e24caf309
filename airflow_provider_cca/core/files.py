"""What the API lists, files and sites, as frozen values parsed once at the edge. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_cca.core.partition import Partition, Place, Scope
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.timestamps import iso, parse_stamp
from airflow_provider_cca.errors import InvalidArgument, MalformedListing
from airflow_provider_cca.reports import check_listing, report_named

_MD5 = r"[0-9a-f]{32}"

_MOST = 10**18
"""No count is as large: what is, would overflow where it is divided."""
_INTEGER = r"(?a)\d{1,18}"


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


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the listing gives it.

    :param link: The whole download URL, as it came.
    :param size: Bytes.
    :param md5: 32 lower-case hex digits.
    :param created_on: UTC; None when the server's stamp could not be read. It decides nothing where a
        partition was asked for.
    :param expires_on: UTC; None when the server's stamp could not be read.
    :param partition: What it was listed under; where no creation date was asked for, that of created_on.
    """

    id: str
    name: str
    link: str
    size: int
    md5: str
    created_on: datetime | None
    expires_on: datetime | None
    download_attempts: int
    scope: Scope
    partition: Partition

    @classmethod
    def from_api(
        cls, item: Mapping[str, Any], scope: Scope, partition: Partition | None = None
    ) -> RemoteFile:
        """Return the file of an entry of any file listing (§3.5.2-5, §3.6.1-2).

        Raises MalformedListing when the entry has no usable id, link, size or checksum, or no creation stamp
        though that decides the partition: such a file could be neither verified nor put in its place.

        :param partition: The one that was asked for alone; None where createdOn decides.
        """
        created_on = parse_stamp(item.get("createdOn"))

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
            created_on=created_on,
            expires_on=parse_stamp(item.get("expiredOn")),
            download_attempts=_count(item.get("downloadAttempts")) or 0,
            scope=scope,
            partition=partition or Partition.of(must("createdOn", created_on), scope.report.grain),
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
            "created_on": iso(self.created_on) if self.created_on else None,
            "expires_on": iso(self.expires_on) if self.expires_on else None,
            "download_attempts": self.download_attempts,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RemoteFile:
        """From what `as_dict` gave; raises InvalidArgument on anything else."""
        try:
            created_on, expires_on = data["created_on"], data["expires_on"]
            report = report_named(data["report"])
            check_listing(report, by="creation", site=data.get("site"), level=data.get("level"))
            return cls(
                id=_known(_text(data["id"])),
                name=_known(data["name"] if isinstance(data["name"], str) else None),
                link=_known(_text(data["link"])),
                size=_known(_count(data["size"])),
                md5=_known(_digest(data["md5"])),
                created_on=_moment(created_on) if created_on else None,
                expires_on=_moment(expires_on) if expires_on else None,
                download_attempts=_known(_count(data["download_attempts"])),
                scope=Scope(report, data.get("site"), data.get("level")),
                partition=Partition.parse(data["partition"], report.grain),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(
                f"{_excerpt(data)} is not a file as CcaListFilesOperator lists them: {error!r}",
                argument="files",
            ) from error


def by_partition(files: Iterable[RemoteFile]) -> dict[Place, list[RemoteFile]]:
    """Return files by what they are of and the partition that they were listed under."""
    groups: dict[Place, list[RemoteFile]] = {}
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
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < _MOST else None


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
    return printable(repr(item))
