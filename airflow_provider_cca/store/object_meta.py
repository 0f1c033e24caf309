"""What a store's own listing tells of an object: each store says it in other words. Plain Python: no I/O."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

_HEX = re.compile(r"[0-9a-f]{32}")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")


class StoredObject(NamedTuple):
    """One object, as it was listed.

    :param size: Bytes.
    :param modified: Seconds since 1970 by the store's own clock; 0 when it does not say.
    :param md5: 32 lower-case hex digits, when the listing gives what may be the MD5: of S3's ETag it is for
        objects that were put in one request and are not encrypted with a key of KMS.
    :param etag: What changes when the object is written: S3's ETag as it came, without its quotes, whether it
        is an MD5 or not, or a local file's number and time; "" elsewhere.
    """

    size: int
    modified: float = 0.0
    md5: str | None = None
    etag: str = ""

    def is_doubtful(self, md5: str, written: float) -> bool:
        """Whether only its content can tell that it still has this MD5.

        :param written: When a manifest vouched for it, in seconds since 1970.
        """
        return self.md5 != md5 and (self.md5 is not None or self.modified > written)

    def may_differ(self, md5: str, seen: StoredObject) -> bool:
        """Whether only its content can tell that it still has this MD5, which it had when it was `seen`."""
        return self.etag != seen.etag if seen.etag else self.is_doubtful(md5, seen.modified)


def stored(entry: Mapping[str, Any]) -> StoredObject:
    """From an entry of fsspec's `find` or `ls` with details."""
    return StoredObject(int(entry["size"] or 0), _modified(entry), _md5(entry), _etag(entry))


def _modified(entry: Mapping[str, Any]) -> float:
    moment = next((entry[name] for name in _TIMES if entry.get(name)), 0.0)
    try:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        return moment.timestamp() if isinstance(moment, datetime) else float(moment)
    except (TypeError, ValueError):
        return 0.0


def _etag(entry: Mapping[str, Any]) -> str:
    return str(entry.get("ETag") or "").strip('"')


def _md5(entry: Mapping[str, Any]) -> str | None:
    """S3's ETag, Google's md5Hash, or Azure's content_md5."""
    etag = _etag(entry).lower()
    if _HEX.fullmatch(etag):
        return etag
    settings = entry.get("content_settings")
    digest = entry.get("md5Hash") or (settings.get("content_md5") if isinstance(settings, Mapping) else None)
    try:
        raw = b64decode(digest, validate=True) if isinstance(digest, str) else bytes(digest or b"")
    except (TypeError, ValueError):
        return None
    return raw.hex() if len(raw) == 16 else None
