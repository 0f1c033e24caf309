"""What a store's listing tells of an object: each store says it in other words. Plain Python: no I/O."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

_HEX = re.compile(r"[0-9a-f]{32}")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
_VERSIONS = ("generation", "ETag", "etag")


class ObjectMeta(NamedTuple):
    """What is known of one object without reading it.

    :param size: Bytes.
    :param modified: Seconds since 1970 by the store's own clock; 0 when it does not say.
    :param md5: 32 lower-case hex digits, when the listing gives what may be the MD5: of S3's ETag it is for
        objects that were put in one request and are not encrypted with a key of KMS.
    :param etag: The version that conditions compare, which changes with every write: the ETag of S3 and Azure
        without its quotes, Google's generation, a local file's inode, time and size; "" elsewhere.
    """

    size: int
    modified: float = 0.0
    md5: str | None = None
    etag: str = ""

    def is_same(self, other: ObjectMeta | None) -> bool:
        """Return whether nobody has written the object between the two."""
        if other is None:
            return False
        if self.etag and other.etag:
            return self.etag == other.etag
        return (self.size, self.modified) == (other.size, other.modified)

    def has_content(self, md5: str | None, size: int) -> bool:
        """Return whether the listing proves this content; False when it does not tell."""
        return md5 is not None and (self.md5, self.size) == (md5, size)

    def is_doubtful(self, md5: str, written: float) -> bool:
        """Return whether the listing does not prove this MD5, so that the object has to be read.

        :param written: When a manifest vouched for it, in seconds since 1970.
        """
        return self.md5 != md5 and (self.md5 is not None or self.modified > written)


def from_listing(entry: Mapping[str, Any]) -> ObjectMeta:
    """Return what an entry of fsspec's `find` or `ls` with details, or an answer of boto3, says."""
    return ObjectMeta(int(entry["size"] or 0), _modified(entry), _md5(entry), _version(entry))


def md5_of_base64(digest: object) -> str | None:
    """Return an MD5 that is given in base64 or as 16 bytes as 32 hex digits; None when it is none."""
    try:
        raw = b64decode(digest, validate=True) if isinstance(digest, str) else bytes(digest or b"")  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None
    return raw.hex() if len(raw) == 16 else None


def _modified(entry: Mapping[str, Any]) -> float:
    moment = next((entry[name] for name in _TIMES if entry.get(name)), 0.0)
    try:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        return moment.timestamp() if isinstance(moment, datetime) else float(moment)
    except (TypeError, ValueError):
        return 0.0


def _version(entry: Mapping[str, Any]) -> str:
    return next((str(entry[name]).strip('"') for name in _VERSIONS if entry.get(name)), "")


def _md5(entry: Mapping[str, Any]) -> str | None:
    """S3's ETag, Google's md5Hash, or Azure's content_md5."""
    etag = str(entry.get("ETag") or "").strip('"').lower()
    if _HEX.fullmatch(etag):
        return etag
    settings = entry.get("content_settings")
    return md5_of_base64(
        entry.get("md5Hash") or (settings.get("content_md5") if isinstance(settings, Mapping) else None)
    )
