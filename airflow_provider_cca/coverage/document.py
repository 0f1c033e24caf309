"""`_coverage.json`: the state of everything as one small document, for people and pages. No I/O.

Version 1: {"version", "written_at", "today", "retention_days", "destination", "rows", "gaps", "gaps_total",
"counts"}; docs/coverage.md says what each field means. A row is a calendar: one report (and level), a
partition for each date, summed over all sites. A gap is a partition (of one site) that has not landed.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_cca.core.partition import Partition, Place, Scope
from airflow_provider_cca.core.timestamps import iso
from airflow_provider_cca.coverage.state import (
    FACTS,
    RETENTION,
    Coverage,
    FileFacts,
    State,
    by_deadline,
    state_of,
    summed,
)
from airflow_provider_cca.reports import RETENTION_DAYS, Grain, report_named

SNAPSHOT_NAME = "_coverage.json"
VERSION = 1
MOST_GAPS = 10_000
"""How many of the gaps that can still be landed are written; those that are lost all are."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class NewerVersion(ValueError):
    """The snapshot was written by a newer version of this package."""


@dataclass(frozen=True)
class Row:
    """The calendar of a report (and level); `sites` is how many it sums up, for reports that have sites."""

    cells: Mapping[Partition, Coverage]
    sites: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """What is known at one moment.

    :param rows: By report and level; no site.
    :param gaps: By site as well: what has not landed, or is lost.
    """

    rows: Mapping[Scope, Row] = field(default_factory=dict)
    gaps: Mapping[Place, Coverage] = field(default_factory=dict)

    @classmethod
    def of(cls, coverages: Iterable[Coverage]) -> Snapshot:
        """From one look at some partitions."""
        calendars: dict[Scope, dict[Partition, list[Coverage]]] = defaultdict(lambda: defaultdict(list))
        gaps: dict[Place, Coverage] = {}
        for one in coverages:
            calendars[calendar_of(one.scope)][one.partition].append(one)
            if one.missing or one.lost:
                gaps[one.scope, one.partition] = one
        return cls({scope: _row(scope, cells) for scope, cells in calendars.items()}, gaps)

    def over(
        self, before: Snapshot, looked_at: Collection[Place], today: date, all_sites: bool = True
    ) -> Snapshot:
        """This one, with what it says nothing of as it was before, grown older, and without dates to come.

        :param looked_at: Everything that this one is about, also what is whole.
        :param all_sites: Whether it is about every site; if not, it makes no calendar of all, and in one that
            there is it changes the dates alone that it looked at.
        """
        kept = {
            place: gap.aged(today)
            for place, gap in before.gaps.items()
            if place not in looked_at and place not in self.gaps
        }
        gaps = {place: gap for place, gap in {**kept, **self.gaps}.items() if gap.partition.first <= today}
        rows = {**before.rows}
        for scope, found in self.rows.items():
            if all_sites or scope.report.needs != "site":
                rows[scope] = found
            elif scope in rows:
                rows[scope] = _revised(
                    rows[scope], found, [g for g in gaps.values() if calendar_of(g.scope) == scope]
                )
        return Snapshot(
            {scope: _over(row, before.rows.get(scope), today) for scope, row in rows.items()}, gaps
        )

    def unknown(self, calendar: Scope, partitions: Iterable[Partition]) -> Snapshot:
        """With a calendar of which nobody could say anything on these dates, though something is known."""
        row = self.rows.get(calendar, Row({}))
        cells = {
            partition: replace(
                row.cells.get(partition, Coverage(calendar, partition, State.UNKNOWN)), state=State.UNKNOWN
            )
            for partition in partitions
        }
        return Snapshot({**self.rows, calendar: Row({**row.cells, **cells}, row.sites)}, self.gaps)

    def to_json(self, now: datetime, destination: str) -> bytes:
        """Return the document.

        :param destination: Its user part, which may name a connection, is left out.
        """
        today = now.astimezone(UTC).date()
        gaps = self._ordered_gaps()
        scopes = sorted(self.rows, key=lambda scope: (scope.report.name, scope.level or ""))
        data = {
            "version": VERSION,
            "written_at": iso(now),
            "today": str(today),
            "retention_days": RETENTION_DAYS,
            "destination": without_user(destination),
            "rows": [_row_dict(scope, self.rows[scope], today) for scope in scopes],
            # A later run knows of what was lost from here alone.
            "gaps": [gap_dict(gap, today) for n, gap in enumerate(gaps) if n < MOST_GAPS or gap.lost],
            "gaps_total": len(gaps),
            "counts": self._counts(),
        }
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Snapshot:
        """Raises ValueError when it is damaged, as NewerVersion when it is newer than this package.

        An entry that this package cannot read is left out, with a warning.
        """
        try:
            data = json.loads(body)
            check_version(data["version"])
            gaps = _each(data["gaps"], lambda gap: _parsed(_scope(gap), gap))
            rows = dict(_each(data["rows"], _parsed_row))
            return cls(rows, {(gap.scope, gap.partition): gap for gap in gaps})
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is no snapshot: {error!r}") from error

    def _ordered_gaps(self) -> list[Coverage]:
        """What can be landed, nearest deadline first; then what is lost, newest first."""
        open_gaps = [gap for gap in self.gaps.values() if gap.missing]
        lost = [gap for gap in self.gaps.values() if not gap.missing]
        return [*by_deadline(open_gaps), *reversed(by_deadline(lost))]

    def _counts(self) -> dict[str, int]:
        """Calendar cells by state; what was lost before the calendars begin counts too."""
        shown = {(scope, partition) for scope, row in self.rows.items() for partition in row.cells}
        states = Counter(cell.state for row in self.rows.values() for cell in row.cells.values())
        older = {(calendar_of(scope), partition) for scope, partition in self.gaps} - shown
        states[State.LOST] += len(older)
        return {str(state): states[state] for state in State}


def check_version(version: Any) -> None:
    """Raise ValueError unless this package knows the version, as NewerVersion when it is newer."""
    if type(version) is int and version > VERSION:  # True is an int, and no version
        raise NewerVersion(f"its version is {version}, not {VERSION}")
    if type(version) is not int or version != VERSION:
        raise ValueError(f"its version is {version!r}, not {VERSION}")


def calendar_of(scope: Scope) -> Scope:
    """The scope whose row shows this one."""
    return Scope(scope.report, None, scope.level)


def without_user(destination: str) -> str:
    """s3://aws_default@bucket/cca as s3://bucket/cca."""
    parts = urlsplit(destination)
    if not parts.scheme:
        return destination
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _row(scope: Scope, cells: Mapping[Partition, Sequence[Coverage]]) -> Row:
    sites = {one.scope for found in cells.values() for one in found} if scope.report.needs == "site" else None
    return Row(
        {
            partition: found[0] if scope.report.needs != "site" else summed(scope, found)
            for partition, found in cells.items()
        },
        None if sites is None else len(sites),
    )


def _over(new: Row, old: Row | None, today: date) -> Row:
    """A row with the cells that a shorter look left out, as long as the calendar shows them.

    It shows none to come: a server that is wrong by a year would make it as wide.
    """
    cells = {**(old.cells if old else {}), **new.cells}
    begins = today - RETENTION
    return Row(
        {p: cell.aged(today) for p, cell in cells.items() if p.last >= begins and p.first <= today}, new.sites
    )


def _revised(row: Row, found: Row, gaps: Iterable[Coverage]) -> Row:
    """A calendar of all sites after a look at some of them.

    :param gaps: Of all sites, by now.
    """
    of_date: dict[Partition, list[Coverage]] = defaultdict(list)
    for gap in gaps:
        of_date[gap.partition].append(gap)
    revised = {
        partition: _with_gaps(row.cells[partition], of_date[partition], found.cells[partition].state)
        for partition in row.cells.keys() & found.cells.keys()
    }
    return Row({**row.cells, **revised}, row.sites)


def _with_gaps(cell: Coverage, gaps: Sequence[Coverage], found: State) -> Coverage:
    """A date of all sites in which nothing but these gaps has not landed.

    :param found: The state of those sites that were looked at.
    """
    missing, lost = sum(gap.missing for gap in gaps), sum(gap.lost for gap in gaps)
    files, size = max(cell.files, missing + lost), max(cell.bytes, sum(gap.bytes for gap in gaps))
    landed = files - missing - lost
    state = state_of(files, landed, lost) if files else State.EMPTY
    if state in {State.LANDED, State.EMPTY} and State.UNKNOWN in {cell.state, found}:
        state = State.UNKNOWN
    return replace(
        cell,
        state=state,
        files=files,
        landed=landed,
        lost=lost,
        bytes=size,
        landed_bytes=size - sum(gap.bytes - gap.landed_bytes for gap in gaps),
        expires_on=min((g.expires_on for g in gaps if g.missing and g.expires_on), default=cell.expires_on),
    )


def _row_dict(scope: Scope, row: Row, today: date) -> dict[str, Any]:
    return {
        "report": scope.report.name,
        "level": scope.level,
        "grain": "day" if scope.report.grain is Grain.DAY else "month",
        **({} if row.sites is None else {"sites": row.sites}),
        "partitions": [_facts(row.cells[partition], today) for partition in sorted(row.cells)],
    }


def gap_dict(gap: Coverage, today: date) -> dict[str, Any]:
    scope = {"report": gap.scope.report.name, "site": gap.scope.site, "level": gap.scope.level}
    named = {"missing_files": gap.missing_files, "lost_files": gap.lost_files}
    files = {name: [{"id": id_, "bytes": size} for id_, size in of] for name, of in named.items() if of}
    return {**scope, **_facts(gap, today), **files}


def _facts(one: Coverage, today: date) -> dict[str, Any]:
    return {
        "partition": str(one.partition),
        "state": str(one.state),
        **{name: getattr(one, name) for name in FACTS},
        "expires_on": str(one.expires_on) if one.expires_on else None,
        "days_left": one.days_left(today),
    }


def _scope(data: Mapping[str, Any]) -> Scope:
    site, level = data.get("site"), data.get("level")
    if not isinstance(site, str | None) or not isinstance(level, str | None):
        raise TypeError(f"{site!r} or {level!r} is no text")
    return Scope(report_named(data["report"]), site, level)


def _each(entries: Iterable[Any], parse: Callable[[Any], T]) -> list[T]:
    """The entries that can be read: a report or state that this package does not know costs no other."""
    found = []
    for entry in entries:
        try:
            found.append(parse(entry))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            log.warning("An entry of the coverage is left out: %s: %.200r", error, entry)
    return found


def _parsed_row(row: Mapping[str, Any]) -> tuple[Scope, Row]:
    scope = _scope(row)
    cells = _each(row["partitions"], lambda cell: _parsed(scope, cell))
    return scope, Row({cell.partition: cell for cell in cells}, row.get("sites"))


def _parsed(scope: Scope, data: Mapping[str, Any]) -> Coverage:
    expires_on = data["expires_on"]
    return Coverage(
        scope,
        Partition.parse(data["partition"], scope.report.grain),
        State(data["state"]),
        **{name: int(data[name]) for name in FACTS},
        expires_on=date.fromisoformat(expires_on) if expires_on else None,
        missing_files=_files(data, "missing_files"),
        lost_files=_files(data, "lost_files"),
    )


def _files(data: Mapping[str, Any], name: str) -> tuple[FileFacts, ...]:
    """() when they cannot be read: the numbers count."""
    try:
        files = tuple((one["id"], one["bytes"]) for one in data.get(name, ()))
    except (KeyError, TypeError):
        return ()
    readable = all(isinstance(id_, str) and type(size) is int and size >= 0 for id_, size in files)
    return files if readable else ()


def gaps_within(gaps: Iterable[Coverage], days: int, today: date) -> Iterator[Coverage]:
    """Those that can still be landed and vanish within so many days, nearest deadline first."""
    for gap in by_deadline(gap for gap in gaps if gap.missing):
        left = gap.days_left(today)
        if left is not None and left <= days:
            yield gap
