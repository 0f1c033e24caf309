"""Where things go in the store: folders of partitions, and keys of files. Plain Python: no I/O.

Names of files and sites come from outside. Whatever they hold, a key stays one plain name inside its
partition's folder and differs from the manifest's. Which of its keys a file gets is decided in `commit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from itertools import count
from unicodedata import normalize

from airflow_provider_cca.core.partition import Partition, Scope

MAX_KEY_BYTES = 180
"""Below MAX_NAME_BYTES, with room for the mark of a revision and the suffix of a temporary."""

MAX_NAME_BYTES = 255
"""What file systems allow one name."""

_UNSAFE = frozenset('%/\\*?#[]"<>|:')
"""`%` so that different names stay different; the others mean something to file systems, globs or URLs."""

_MARK = re.compile(r"\.[0-9a-f]{8}(?:[0-9a-f]{24})?(?:\.[0-9]+)?$")


def safe_name(text: str) -> str:
    """The text as one plain name: what is unsafe or cannot be printed is percent-encoded.

    A name that is too long is cut, with a hash. Engines skip names that begin with `_` or `.`, so those
    are encoded as well.
    """
    name = "".join(c if c.isprintable() and c not in _UNSAFE else _encoded(c) for c in text)
    if name[:1] in {"_", "."}:
        name = _encoded(name[0]) + name[1:]
    if len(name.encode()) > MAX_KEY_BYTES:
        start = name.encode()[: MAX_KEY_BYTES - 40].decode(errors="ignore")
        digest = sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
        name = f"{re.sub(r'%[0-9A-F]?$', '', start)}~{digest}{_extension(name)}"
    return name


def _encoded(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))


def snapshot_name(day: date) -> str:
    """CCA_SITES_LIST_{YYYYMMDD}.csv, the document's convention."""
    return f"CCA_SITES_LIST_{day:%Y%m%d}.csv"


def folder_of(scope: Scope, partition: Partition | None = None) -> str:
    """A partition's folder, as in peak_port_daily/level=site/creation_date=2026-03-01, or what holds them."""
    parts = [scope.report.name]
    if scope.report.needs == "site":
        parts.append(f"site={safe_name(scope.site or '')}")
    elif scope.report.needs == "level":
        parts.append(f"level={scope.level}")
    if partition:
        parts.append(f"{scope.report.partition_key}={partition}")
    return "/".join(parts)


def marked_keys(plain: str, mark: str) -> Iterator[str]:
    """Yield the keys of a file whose plain name is taken, in the order in which they are tried.

    :param mark: Hex digits that tell its content.
    """
    extension = _extension(plain)
    stem = f"{plain.removesuffix(extension)}.{mark}"
    yield f"{stem}{extension}"
    yield from (f"{stem}.{n}{extension}" for n in count(2))


def plain_names(key: str) -> set[str]:
    """Return the names (as `safe_name` gives them) to which a key may belong."""
    extension = _extension(key)
    # Without an extension, as an id has none, the mark or the number would be taken for one.
    return {key, _MARK.sub("", key), _MARK.sub("", key.removesuffix(extension)) + extension}


def is_key(text: str) -> bool:
    """Whether this can be the key of a file: one plain name that every store takes."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    usable = text.isprintable() and not (_UNSAFE - {"%"}) & {*text}
    return 0 < size <= MAX_NAME_BYTES and usable and text[0] not in "_."


def folded(key: str) -> str:
    """Return a form that is equal for keys that some file system takes for the same."""
    return normalize("NFC", normalize("NFC", key).casefold())


def _extension(name: str) -> str:
    match = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return match.group() if match else ""
