"""What `make year` has measured, and whether it is what it must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_cca.simulator import Request

from .damage import CORRUPTED, DELETED, MANIFESTS, Damage, Truth
from .soak import kind_of


@dataclass(frozen=True)
class Step:
    """One run of a DAG: how long it took, from its trigger on, and what it asked the server for."""

    seconds: float
    task_seconds: float
    """From the start of its first task to the end of its last, the queue and the start of a run left out."""
    requests: Sequence[Request]
    returned: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    """What Airflow has of assets that it updated."""

    @property
    def calls(self) -> Counter[str]:
        return Counter(kind_of(request.call) for request in self.requests)

    @property
    def downloads(self) -> list[str]:
        """Ids of the files that were asked for, as often as they were."""
        return [r.path.rpartition("/")[2] for r in self.requests if kind_of(r.call) == "download"]

    def __str__(self) -> str:
        calls = self.calls
        return (
            f"{self.seconds:.1f} s ({self.task_seconds:.1f} s from the start of its first task to the end of "
            f"its last): {calls['download']} downloads, {calls['list']} listings, {calls['token']} logins"
        )


@dataclass
class Outcome:
    """What has been measured, and what is wrong."""

    truth: Truth
    empty: Step
    curl: Sequence[float]
    landed: Step
    after_landing: list[str]
    damage: Damage = field(init=False)
    dry_run: Step = field(init=False)
    gaps: list[Mapping[str, Any]] = field(init=False)
    healed: Step = field(init=False)
    after_healing: list[str] = field(init=False)
    coverage: Mapping[str, Any] = field(init=False)
    again: Step = field(init=False)

    @property
    def files(self) -> int:
        return sum(map(len, self.truth.values()))

    @property
    def wrong(self) -> list[str]:
        """What must not be, a sentence each."""
        sums = self.coverage["counts"]
        facts = {
            "a look at an empty store misses all": self.empty.returned["still_missing"] == len(self.truth),
            "cca_land_range downloads each file once": len(self.landed.downloads) == self.files,
            "a dry run downloads nothing": not self.dry_run.downloads,
            "a dry run names each damaged partition": len(self.gaps) == DELETED + MANIFESTS + CORRUPTED,
            "healing downloads what is gone, once": sorted(self.healed.downloads) == sorted(self.damage.gone),
            "healing says so": self.healed.returned["downloaded"] == len(self.damage.gone),
            "nothing is missing then": not any(sums[state] for state in ("partly", "missing", "lost")),
            "no gaps are left": self.coverage["gaps_total"] == 0,
            "once more downloads nothing": not self.again.downloads,
        }
        untrue = [f"it is not true that {claim}" for claim, true in facts.items() if not true]
        return [*self.after_landing, *self.after_healing, *untrue]

    def __str__(self) -> str:
        size = sum(request.sent for request in self.landed.requests if kind_of(request.call) == "download")
        curl, ours = sum(self.curl) / len(self.curl), self.landed
        seconds = " and ".join(f"{one:.1f} s" for one in self.curl)
        lines = [
            f"landed    {self.files} files in {len(self.truth)} partitions, {size / 1e6:.0f} MB",
            f"          {ours}",
            f"curl -Z   {seconds} for the same files: ratio {ours.seconds / curl:.2f}, "
            f"or {ours.task_seconds / curl:.2f} for the time of the tasks",
            f"damage    {DELETED} objects and {MANIFESTS} manifests deleted, {CORRUPTED} objects overwritten",
            f"dry run   {self.dry_run}; {len(self.gaps)} gaps",
            f"healed    {self.healed}",
            f"          {dict(self.healed.returned)}",
            f"again     {self.again}",
            f"coverage  {self.coverage['counts']}",
            *(f"WRONG     {what}" for what in self.wrong[:20]),
        ]
        return "\n".join(lines)
