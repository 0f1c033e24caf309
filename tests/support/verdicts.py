"""What a landing came to, computed from the store and never from what the code says of itself.

The sum over all tests is printed by pytest at its end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

import pytest

from airflow_provider_cca.simulator import Simulator

WHOLE, UNTOUCHED, NEITHER = "whole", "untouched", "neither"
MANIFEST = "_manifest.json"


@dataclass
class Verdicts:
    """The outcomes of this run's cases, and counts of what must never be."""

    cases: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    wrong_bytes: int = 0
    half_files: int = 0
    leaked_tokens: int = 0

    def count(self, folder: Folder, before: Mapping[str, bytes] | None = None) -> None:
        """Add what a folder shows that must never be shown."""
        half = folder.half(before or {})
        self.half_files += len(half)
        self.wrong_bytes += len(folder.wrong(before or {}) - half)

    def add(self, others: Mapping[str, Any]) -> None:
        """Add the counts of another process of pytest, as plain values."""
        self.cases.update(others["cases"])
        for name in ("kills", "wrong_bytes", "half_files", "leaked_tokens"):
            setattr(self, name, getattr(self, name) + others[name])

    def lines(self) -> list[str]:
        neither = f", {self.cases[NEITHER]} NEITHER" if self.cases[NEITHER] else ""
        cases = f"{self.cases[WHOLE]} whole, {self.cases[UNTOUCHED]} untouched{neither}"
        never = f"{self.wrong_bytes} wrong bytes, {self.half_files} half files"
        lines = [f"cases: {cases}; {never}, {self.leaked_tokens} leaked tokens"]
        if self.kills:
            lines.append(f"kills: {self.kills}, after each the next run landed what was missing and no more")
        return lines


_KEY = pytest.StashKey[Verdicts]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = Verdicts()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:  # of pytest-xdist
        output["verdicts"] = {**vars(session.config.stash[_KEY])}
        output["verdicts"]["cases"] = dict(output["verdicts"]["cases"])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if others := getattr(node, "workeroutput", {}).get("verdicts"):
        node.config.stash[_KEY].add(others)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    verdicts = config.stash[_KEY]
    if verdicts.cases or verdicts.kills:
        terminalreporter.section("faults and kills")
        for line in verdicts.lines():
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def verdicts(pytestconfig: pytest.Config) -> Verdicts:
    """The sum; a test adds what it saw."""
    return pytestconfig.stash[_KEY]


@dataclass(frozen=True)
class Folder:
    """The objects of a partition's folder, beside the files that the server holds in truth; both by name."""

    objects: Mapping[str, bytes]
    truth: Mapping[str, bytes]

    @property
    def files(self) -> dict[str, bytes]:
        """What a reader takes for data: engines skip names that begin with these two."""
        return {name: body for name, body in self.objects.items() if not name.startswith(("_", "."))}

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the manifest names; nothing without one."""
        return json.loads(self.objects[MANIFEST])["files"] if MANIFEST in self.objects else []

    def outcome(self, before: Mapping[str, bytes]) -> str:
        """Whole: a manifest that names the truth, and a reader who globs sees just that. Untouched: what was
        there before is there as it was, and what is new is a whole file."""
        current = {entry["name"]: self.objects.get(entry["key"]) for entry in self.entries}
        states = {entry["name"]: entry["md5"] for entry in self.entries}
        shown = {entry["key"] for entry in self.entries} == self.files.keys()
        if current == self.truth and shown and states == self._digests():
            return WHOLE
        new = [body for name, body in self.objects.items() if name not in before]
        as_before = before.items() <= self.objects.items()
        return UNTOUCHED if as_before and all(body in self.truth.values() for body in new) else NEITHER

    def _digests(self) -> dict[str, str]:
        return {name: md5(body).hexdigest() for name, body in self.truth.items()}

    def wrong(self, before: Mapping[str, bytes]) -> set[str]:
        """Files that are neither the server's nor as they were before."""
        true = self.truth.values()
        return {n for n, body in self.files.items() if body not in true and body != before.get(n)}

    def half(self, before: Mapping[str, bytes]) -> set[str]:
        """Those of them that are only the beginning of a file, and what the manifest names in vain."""
        cut = {n for n in self.wrong(before) for b in self.truth.values() if b.startswith(self.objects[n])}
        return cut | {entry["key"] for entry in self.entries if entry["key"] not in self.objects}


def truth_of(sim: Simulator, day: str) -> dict[str, bytes]:
    """Name and content of each compressed file of that creation date."""
    found = (sim.world.find(file.id) for file in sim.truth("cdr_compressed", day, day))
    return {file.name: sim.world.body(file).content() for file in found if file}
