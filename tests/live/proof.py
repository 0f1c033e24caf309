"""Whether the store holds what the simulated server holds, found out without the code that landed it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

MANIFEST = "_manifest.json"
FILES_SHOWN = 4  # in one folder of the tree

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """One creation date: what lies there, and what is wrong with it."""

    report: str
    day: date
    files: int
    size: int
    faults: tuple[str, ...]


def partition_folder(store: Path, report: str, day: date) -> Path:
    """The folder of one creation date."""
    return store / report / f"creation_date={day}"


def examine(store: Path, report: str, day: date, truth: Mapping[str, str]) -> Verdict:
    """Hash every file of one creation date anew; `truth` is file id -> MD5 as the server has it."""
    folder = partition_folder(store, report, day)
    try:
        entries = json.loads((folder / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        return Verdict(report, day, 0, 0, (f"no {MANIFEST}",))
    landed = {path.name: path for path in folder.iterdir() if path.name != MANIFEST}
    faults = [*_compare_with_truth(entries, truth), *_compare_with_files(entries, landed)]
    return Verdict(
        report, day, len(landed), sum(path.stat().st_size for path in landed.values()), tuple(faults)
    )


def _compare_with_truth(entries: Iterable[Mapping[str, str]], truth: Mapping[str, str]) -> Iterator[str]:
    claimed = {entry["id"]: entry["md5"] for entry in entries}
    yield from (f"missing: file {file_id}" for file_id in truth.keys() - claimed.keys())
    yield from (f"unknown to the server: file {file_id}" for file_id in claimed.keys() - truth.keys())
    yield from (
        f"file {file_id} has MD5 {claimed[file_id]}, the server's is {truth[file_id]}"
        for file_id in claimed.keys() & truth.keys()
        if claimed[file_id] != truth[file_id]
    )


def _compare_with_files(entries: Iterable[Mapping[str, str]], landed: Mapping[str, Path]) -> Iterator[str]:
    expected = {entry["key"]: entry["md5"] for entry in entries}
    yield from (f"not in the store: {key}" for key in expected.keys() - landed.keys())
    yield from (f"in no manifest: {name}" for name in landed.keys() - expected.keys())
    yield from (
        f"content differs: {key}"
        for key in expected.keys() & landed.keys()
        if md5(landed[key]) != expected[key]
    )


def md5(path: Path) -> str:
    """The MD5 of a file's content, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def table(verdicts: Iterable[Verdict]) -> str:
    """One line per creation date."""
    lines = [f"{'report':<16}{'creation date':<15}{'files':>5}{'bytes':>14}  verified"]
    for verdict in verdicts:
        outcome = "; ".join(verdict.faults) or "yes"
        lines.append(
            f"{verdict.report:<16}{verdict.day!s:<15}{verdict.files:>5}{verdict.size:>14,}  {outcome}"
        )
    return "\n".join(lines)


def tree(store: Path, report: str, days: Iterable[date]) -> str:
    """The folders of these creation dates with their files."""
    lines = [str(store), f"└── {report}"]
    folders = [folder for day in days if (folder := partition_folder(store, report, day)).is_dir()]
    for folder, branch, indent in _branches(folders):
        lines.append(f"    {branch}{folder.name}")
        lines += [f"    {indent}{line}" for line in _files(folder)]
    return "\n".join(lines)


def _files(folder: Path) -> Iterator[str]:
    files = sorted(folder.iterdir())
    names = [f"{path.name} ({path.stat().st_size:,} bytes)" for path in files[:FILES_SHOWN]]
    if len(files) > FILES_SHOWN:
        names.append(f"and {len(files) - FILES_SHOWN} more")
    return (f"{branch}{name}" for name, branch, _ in _branches(names))


def _branches(items: Sequence[T]) -> Iterator[tuple[T, str, str]]:
    for number, item in enumerate(items, start=1):
        last = number == len(items)
        yield item, "└── " if last else "├── ", "    " if last else "│   "
