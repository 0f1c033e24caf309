"""Damage to a landed store, and what is wrong in one.

Objects and manifests are deleted, and objects overwritten, as nobody but a fault would do.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .proof import MANIFEST, md5

DELETED, MANIFESTS, CORRUPTED = 17, 5, 3

Truth = Mapping[str, Sequence[str]]
"""Folder of a partition, relative to the store -> the MD5s of its files, sorted."""


@dataclass(frozen=True)
class Damage:
    """What was done to a store, each to a partition of its own; `objects` are ids of files."""

    deleted: frozenset[str]
    corrupted: frozenset[str]
    manifests: tuple[Path, ...]

    @property
    def gone(self) -> frozenset[str]:
        """What has to be downloaded anew; an object without its manifest has not."""
        return self.deleted | self.corrupted


def damage(store: Path, dice: random.Random) -> Damage:
    """Delete 17 objects and 5 manifests, and overwrite 3 objects with as many other bytes."""
    manifests = sorted(path for path in store.rglob(MANIFEST) if entries_of(path))
    chosen = iter(dice.sample(manifests, DELETED + MANIFESTS + CORRUPTED))
    deleted = {_delete(*_one_object(next(chosen), dice)) for _ in range(DELETED)}
    corrupted = {_corrupt(*_one_object(next(chosen), dice)) for _ in range(CORRUPTED)}
    without_manifest = tuple(chosen)
    for manifest in without_manifest:
        manifest.unlink()
    return Damage(frozenset(deleted), frozenset(corrupted), without_manifest)


def entries_of(manifest: Path) -> list[dict[str, str]]:
    """The files that a manifest names."""
    return list(json.loads(manifest.read_text())["files"])


def _one_object(manifest: Path, dice: random.Random) -> tuple[str, Path]:
    entry = dice.choice(entries_of(manifest))
    return entry["id"], manifest.with_name(entry["key"])


def _delete(file_id: str, path: Path) -> str:
    path.unlink()
    return file_id


def _corrupt(file_id: str, path: Path) -> str:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return file_id


def differences(store: Path, truth: Truth) -> Iterator[str]:
    """What is wrong in a store, a sentence each; objects are read anew, and manifests held against them."""
    found: dict[str, list[str]] = {}
    for manifest in store.rglob(MANIFEST):
        folder = manifest.parent
        objects = [path for path in folder.iterdir() if path.name != MANIFEST]
        named = {entry["key"]: entry["md5"] for entry in entries_of(manifest)}
        if named != {path.name: md5(path) for path in objects}:
            yield f"{folder} holds something else than its manifest says"
        if objects:
            found[str(folder.relative_to(store))] = sorted(map(md5, objects))
    yield from (f"{folder} was not landed" for folder in truth.keys() - found.keys())
    yield from (f"{folder} is not on the server" for folder in found.keys() - truth.keys())
    yield from (f"{f} differs" for f in truth.keys() & found.keys() if found[f] != truth[f])
