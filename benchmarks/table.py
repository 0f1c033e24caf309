"""A line of the table, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Self

from .processes import Cost, seconds

HEADER = ("Work", "Ours", "Yardstick", "Measured", "Target", "Held", "Our CPU", "Our peak")


TIMES = "\N{MULTIPLICATION SIGN}"
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Line:
    """One comparison.

    :param work: What was done.
    :param ours: What it took us, with its unit.
    :param yardstick: What it took the other side, with its unit and name.
    :param measured: The figure that the target is about, in `unit`.
    :param cpu: CPU seconds of our side.
    :param peak: Most bytes of memory of our side's process, with Python and Airflow in it.
    :param note: What a reader must know about it.
    """

    work: str
    ours: str
    yardstick: str
    measured: float
    target: float
    unit: str
    cpu: float | None = None
    peak: float | None = None
    note: str = ""

    @classmethod
    def ratio(
        cls, work: str, yardstick: str, target: float, ours: Sequence[Cost], other: Sequence[Cost]
    ) -> Self:
        """Our wall time over that of the other side."""
        return cls(
            work,
            f"{seconds(ours):.2f} s",
            f"{yardstick}: {seconds(other):.2f} s",
            seconds(ours) / seconds(other),
            target,
            TIMES,
        ).costing(ours)

    def costing(self, ours: Sequence[Cost]) -> Self:
        """The same line with the CPU and the memory of our side."""
        peaks = [cost.peak for cost in ours if cost.peak]
        return replace(self, cpu=median(cost.cpu for cost in ours), peak=max(peaks) if peaks else None)

    @property
    def held(self) -> bool:
        return self.measured <= self.target

    def cells(self) -> tuple[str, ...]:
        return (
            self.work,
            self.ours,
            self.yardstick,
            f"{_figure(self.measured)} {self.unit}",
            f"≤ {self.target:g} {self.unit}",
            "yes" if self.held else "**no**",
            f"{self.cpu:.1f} s" if self.cpu is not None else NOTHING,
            f"{self.peak / 1e6:.0f} MB" if self.peak else NOTHING,
        )


def markdown(lines: Sequence[Line], left_out: Sequence[str]) -> str:
    """The table, and below it the notes and what could not be measured."""
    rows = [HEADER, ("---",) * len(HEADER), *(line.cells() for line in lines)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = [f"- {line.work}: {line.note}" for line in lines if line.note]
    missing = [f"- Left out: {reason}" for reason in left_out]
    return "\n\n".join(part for part in (table, "\n".join(notes + missing)) if part)


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
