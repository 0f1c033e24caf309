"""Where things go in the store: folders of partitions, and keys of files. Plain Python: no I/O.

Names of files and sites come from outside. Whatever they hold, a key stays one plain name inside its
partition's folder, differs from the manifest's, and two files never share one, not even on a file
system that ignores case.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from hashlib import sha256
from operator import attrgetter
from typing import Any, Protocol, TypeVar
from unicodedata import normalize

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.landing.manifest import LandedFile

MAX_KEY_BYTES = 180
"""Below the 255 bytes that file systems allow one name, with room for a temporary's suffix."""

_UNSAFE = frozenset('%/\\*?#[]"<>|:')
"""`%` so that different names stay different; the others mean something to file systems, globs or URLs."""


class Named(Protocol):
    """What a key can be assigned to: a RemoteFile, or a member of a zip."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def md5(self) -> str: ...

    @property
    def created_on(self) -> Any: ...


F = TypeVar("F", bound=Named)


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
        name = _marked(re.sub(r"%[0-9A-F]?$", "", start), _extension(name), text)
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


def assign_keys(files: Iterable[F], landed: Iterable[LandedFile]) -> list[tuple[F, str]]:
    """A key for each file: the one it has been landed under, else its name, else its name with a mark.

    Independent of the order of the listing, so that two landings at the same time agree.

    :param landed: What the manifest holds.
    """
    free = {entry.key: entry for entry in landed}
    taken = {_folded(key) for key in free}
    keys: dict[int, str] = {}
    ordered = sorted(files, key=lambda f: (str(f.created_on or ""), f.id, f.name, f.md5))
    # Files can share an id and a name: the one that was landed comes before one whose content changed.
    for identity in (attrgetter("id", "name", "md5"), attrgetter("id", "name")):
        known = defaultdict(list)
        for entry in free.values():
            known[identity(entry)].append(entry.key)
        for n, file in enumerate(ordered):
            if n not in keys and known[identity(file)]:
                keys[n] = known[identity(file)].pop(0)
                del free[keys[n]]
    return [(f, keys[n] if n in keys else _free_key(f, taken)) for n, f in enumerate(ordered)]


def _free_key(file: Named, taken: set[str]) -> str:
    plain = key = safe_name(file.name or file.id)
    extension, identity = _extension(plain), f"{file.id}\n{file.name}\n{file.md5}"
    while _folded(key) in taken:
        key = _marked(plain.removesuffix(extension), extension, identity)
        identity += "\n"
    taken.add(_folded(key))
    return key


def _folded(key: str) -> str:
    """Equal for keys that some file system takes for the same."""
    return normalize("NFC", normalize("NFC", key).casefold())


def _marked(stem: str, extension: str, identity: str) -> str:
    return f"{stem}~{sha256(identity.encode(errors='surrogatepass')).hexdigest()[:12]}{extension}"


def _extension(name: str) -> str:
    match = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return match.group() if match else ""
