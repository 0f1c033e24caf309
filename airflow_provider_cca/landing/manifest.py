"""What a finished partition is: the list of its files, written after the last of them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_cca.landing.layout import is_key

MANIFEST_NAME = "_manifest.json"

SUPERSEDED_FOLDER = "_superseded"
"""Below the partition's folder: the objects that the manifest names as superseded."""

VERSION = 1

E = TypeVar("E", "LandedFile", "SupersededFile")


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One file that is in the store, whole.

    :param name: The API's own file name.
    :param key: Path relative to the manifest.
    :param size: Bytes.
    :param md5: 32 lower-case hex digits.
    :param created_on: ISO 8601, UTC; None when the server's stamp was malformed.
    :param expires_on: ISO 8601, UTC; None when the server's stamp was malformed, or it gives none.
    :param landed_on: When its object was first named, ISO 8601, UTC.
    """

    id: str
    name: str
    key: str
    size: int
    md5: str
    created_on: str | None
    expires_on: str | None
    landed_on: str | None = None


@dataclass(frozen=True, slots=True)
class SupersededFile:
    """A version of a file that its source has replaced; its object is kept below SUPERSEDED_FOLDER.

    :param key: Its key while it was current; it is never used again.
    :param superseded_on: ISO 8601, UTC.
    """

    id: str
    name: str
    key: str
    size: int
    md5: str
    superseded_on: str


@dataclass(frozen=True)
class Manifest:
    """The commit marker of a partition.

    :param report: Name of the report.
    :param partition: For example {"creation_date": "2026-03-01", "level": "site"}.
    :param written_at: ISO 8601, UTC.
    :param written_by: The task that wrote it, by Airflow's names of its parts; None outside Airflow.
    """

    report: str
    partition: Mapping[str, str]
    files: tuple[LandedFile, ...]
    written_at: str
    superseded: tuple[SupersededFile, ...] = ()
    written_by: Mapping[str, Any] | None = None

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def to_json(self) -> bytes:
        """Version 1 of the format."""
        head = {"version": VERSION, "report": self.report, "partition": dict(self.partition)}
        by = dict(self.written_by) if self.written_by else None
        tail = {"total_bytes": self.total_bytes, "written_at": self.written_at, "written_by": by}
        lists = f'"files": {_lines(self.files)}, "superseded": {_lines(self.superseded)}'
        return f"{json.dumps(head)[:-1]}, {lists}, {json.dumps(tail)[1:]}\n".encode()

    @classmethod
    def from_json(cls, body: bytes) -> Manifest:
        """Raises ValueError when the manifest is damaged, or of a version that this package does not know."""
        try:
            data = json.loads(body)
            if data["version"] != VERSION:
                raise ValueError(f"its version is {data['version']!r}, not {VERSION}")
            files = tuple(_entry(LandedFile, entry) for entry in _typed(data["files"], list))
            if len({(e.key, e.md5, e.size) for e in files}) > len({e.key for e in files}):
                raise ValueError("it names one key with two contents")
            return cls(
                report=_typed(data["report"], str),
                partition={n: _typed(v, str) for n, v in _typed(data["partition"], dict).items()},
                files=files,
                written_at=_typed(data["written_at"], str),
                superseded=tuple(
                    _entry(SupersededFile, entry) for entry in _typed(data.get("superseded", []), list)
                ),
                written_by=data.get("written_by"),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is no manifest: {error!r}") from error


def _lines(entries: Iterable[Any]) -> str:
    """One line a file, for people; json's own indentation would take ten times as long."""
    lines = [json.dumps({name: getattr(entry, name) for name in entry.__slots__}) for entry in entries]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def _entry(kind: type[E], data: Mapping[str, Any]) -> E:
    """Raises ValueError on a key that no landing gives, so that none leads out of the partition's folder."""
    values: dict[str, Any] = {name: _typed(data[name], str) for name in ("id", "name", "key", "md5")}
    if not is_key(values["key"]):
        raise ValueError(f"its key {values['key'][:100]!r} is none that a landing gives")
    values["size"] = _typed(data["size"], int)
    for name in kind.__dataclass_fields__.keys() - values.keys():
        value = data.get(name)
        values[name] = None if value is None else _typed(value, str)
    return kind(**values)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
