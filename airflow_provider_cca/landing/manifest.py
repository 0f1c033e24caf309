"""What a finished partition is: the list of its files, written after the last of them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MANIFEST_NAME = "_manifest.json"

VERSION = 1


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One file that is in the store, whole.

    :param name: The API's own file name.
    :param key: Path relative to the manifest.
    :param size: Bytes.
    :param md5: 32 lower-case hex digits.
    :param created_on: ISO 8601, UTC; None when the server's stamp could not be read.
    :param expires_on: ISO 8601, UTC; None when the server's stamp was malformed, or it gives none.
    """

    id: str
    name: str
    key: str
    size: int
    md5: str
    created_on: str | None
    expires_on: str | None


@dataclass(frozen=True)
class Manifest:
    """The commit marker of a partition.

    :param report: Name of the report.
    :param partition: For example {"creation_date": "2026-03-01", "level": "site"}.
    :param written_at: ISO 8601, UTC.
    """

    report: str
    partition: Mapping[str, str]
    files: tuple[LandedFile, ...]
    written_at: str

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def to_json(self) -> bytes:
        """Version 1 of the format."""
        head = {"version": VERSION, "report": self.report, "partition": dict(self.partition)}
        tail = {"total_bytes": self.total_bytes, "written_at": self.written_at}
        # One line a file, for people; json's own indentation would take ten times as long.
        names = LandedFile.__dataclass_fields__
        files = ",\n".join(json.dumps({n: getattr(file, n) for n in names}) for file in self.files)
        return f'{json.dumps(head)[:-1]}, "files": [\n{files}\n], {json.dumps(tail)[1:]}\n'.encode()

    @classmethod
    def from_json(cls, body: bytes) -> Manifest:
        """Raises ValueError when the manifest is damaged, or of a version that this package does not know."""
        try:
            data = json.loads(body)
            if data["version"] != VERSION:
                raise ValueError(f"its version is {data['version']!r}, not {VERSION}")
            return cls(
                report=_typed(data["report"], str),
                partition={n: _typed(v, str) for n, v in _typed(data["partition"], dict).items()},
                files=tuple(_entry(entry) for entry in _typed(data["files"], list)),
                written_at=_typed(data["written_at"], str),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is no manifest: {error!r}") from error


def by_key(entries: Iterable[LandedFile]) -> tuple[LandedFile, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.key))


def _entry(data: Mapping[str, Any]) -> LandedFile:
    texts = {name: _typed(data[name], str) for name in ("id", "name", "key", "md5")}
    if "/" in texts["key"] or texts["key"] in {"", ".", "..", MANIFEST_NAME}:
        raise ValueError(f"its key {texts['key']!r} lies outside the partition")
    return LandedFile(
        **texts,
        size=_typed(data["size"], int),
        created_on=_typed_or_none(data["created_on"], str),
        expires_on=_typed_or_none(data["expires_on"], str),
    )


def _typed_or_none(value: Any, kind: type) -> Any:
    return None if value is None else _typed(value, kind)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
