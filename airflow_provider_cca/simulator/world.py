"""The files that the server holds: made from (seed, today, days, sites) when asked for, and open to change.

Nothing is kept for a generated file: it is made again on every request, from its place in the world. Tests
change the world through `World.add`, `World.remove` and `World.replace`, or in the plain lists themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from uuid import uuid4

from airflow_provider_cca.simulator.bodies import (
    MAX_MEMBERS,
    Body,
    CdrCsv,
    CdrZip,
    Given,
    PeakPortCsv,
    Source,
    digest,
)
from airflow_provider_cca.simulator.files import (
    LEVELS,
    CcaFile,
    Place,
    Report,
    cdr_name,
    compressed_name,
    key_number,
    make_id,
    peak_port_name,
    read_id,
)
from airflow_provider_cca.simulator.recent import Recent
from airflow_provider_cca.simulator.sites import Site, plain_sites, site_list, site_of
from airflow_provider_cca.simulator.stamps import malformed_stamp, short_stamp, stamp

By = Literal["creation", "meeting_end"]

RETENTION = timedelta(days=365)
"""§3.1: a file vanishes this long after its creation."""

BODY_BUDGET = 192 * 2**20
"""Bytes of bodies kept in memory."""

# Compressed files beyond the first hold earlier days; after so many the names begin again.
_NAMED_DAYS = 2000


class World:
    """All files and sites.

    `days` creation dates end with `today`; `sites` is a count or the names themselves. Each date has
    `files_per_day` compressed files and sometimes (`recovered`) one more; `file_size` makes every body
    exactly so many bytes. `quirks` lets a few stamps look as odd as in the document. Files are created
    within eleven minutes from `created_at`, UTC, and on the same date.
    """

    def __init__(
        self,
        seed: int = 1,
        days: int = 30,
        sites: int | Sequence[str] = 3,
        today: date | None = None,
        files_per_day: int = 1,
        file_size: int | None = None,
        recovered: bool = True,
        quirks: bool = True,
        created_at: time | str = time(7, 24),
    ) -> None:
        self.seed = seed
        self.today = today or datetime.now(UTC).date()
        self.first_day = self.today - timedelta(days=days - 1)
        self.sites = plain_sites(sites) if isinstance(sites, int) else list(sites)
        self.files_per_day = files_per_day
        self.file_size = file_size
        self.recovered = recovered
        self.quirks = quirks
        self.created_at = time.fromisoformat(created_at) if isinstance(created_at, str) else created_at
        self.added: list[CcaFile] = []
        self.removed: set[str] = set()
        """Ids of generated files that are gone."""
        self.attempts: dict[str, int] = {}
        """Downloads so far, by id."""
        self.site_list_total: int | None = None
        """What the site list's last line says, when not the truth."""
        # A file must keep its bytes when a test changes `sites` later.
        self._first_sites = tuple(self.sites[:MAX_MEMBERS])
        self._bodies: Recent[Body] = Recent(BODY_BUDGET)
        self._facts: Recent[tuple[int, str]] = Recent(200_000)
        self._listed: Recent[tuple[CcaFile, ...]] = Recent(150_000)

    # What there is

    def files(
        self,
        report: Report,
        key: str | None = None,
        first: date | None = None,
        last: date | None = None,
        by: By = "creation",
        now: datetime | None = None,
    ) -> list[CcaFile]:
        """The report's files from `first` to `last`, both included, oldest first; `key` is a site or a level.

        With `now`, only those that are already made and not yet expired.
        """
        shift = timedelta(days=1 if by == "meeting_end" else 0)
        start = max(self.first_day, first + shift) if first else self.first_day
        end = min(self.today, last + shift) if last else self.today
        found: Sequence[CcaFile] = self._generated(report, key, start, end)
        if self.removed:
            found = [file for file in found if file.id not in self.removed]
        more = [f for f in self.added if (f.report, f.key) == (report, key) and _within(f, first, last, by)]
        if more:
            found = sorted([*found, *more], key=lambda file: file.created)
        return [file for file in found if now is None or file.created <= now < file.expires]

    def find(self, file_id: str, site: str | None = None) -> CcaFile | None:
        """The file of that id, expired or not; for a CDR file its `site` is needed."""
        for file in self.added:
            if file.id == file_id and file.site == site:
                return file
        place = None if file_id in self.removed else read_id(self.seed, file_id)
        if place is None or not self.first_day <= place.day <= self.today:
            return None
        keys = {"cdr": (site,), "cdr_compressed": (None,)}.get(place.report, LEVELS)
        for key in keys:
            if key_number(key) == place.key and place.nth < self._count(place.report, place.day):
                return self._file(place, key)
        return None

    def site(self, name: str) -> Site:
        return site_of(self.seed, name, self.today)

    def site_list(self, form: str = "document", last: str = "Total:{rows}") -> bytes:
        """§3.7, as it is now; `form` and `last` are `Ways.site_list` and its total."""
        return site_list(map(self.site, self.sites), self.site_list_total, form, last)

    # What a file holds

    def body(self, file: CcaFile) -> Body:
        kept = self._bodies.get(file.source)
        if kept is not None:
            return kept
        body = file.source.build()
        return self._bodies.put(file.source, body, len(body.head) + len(body.tail) + 200)

    def has_body(self, file: CcaFile) -> bool:
        """Whether `body` would answer at once."""
        return self._bodies.get(file.source) is not None

    def size(self, file: CcaFile) -> int:
        """Bytes, in truth."""
        return self._facts_of(file)[0]

    def md5(self, file: CcaFile) -> str:
        """Hex, in truth."""
        return self._facts_of(file)[1]

    def _facts_of(self, file: CcaFile) -> tuple[int, str]:
        kept = self._facts.get(file.source)
        if kept is not None:
            return kept
        body = self.body(file)
        return self._facts.put(file.source, (body.size, body.md5()))

    # Changing it

    def add(
        self,
        report: Report,
        day: date | str,
        content: bytes | Source = b"",
        *,
        site: str | None = None,
        level: str | None = None,
        **fields: Any,
    ) -> CcaFile:
        """A new file, created on `day` at `created_at`; any other field of `CcaFile` may be given too."""
        day = date.fromisoformat(day) if isinstance(day, str) else day
        created = fields.get("created", datetime.combine(day, self.created_at, UTC))
        expires = fields.get("expires", created + RETENTION)
        known = {
            "id": str(uuid4()),
            "name": self._name(report, site or level, day - timedelta(days=1)),
            "created": created,
            "expires": expires,
            "meeting_date": day - timedelta(days=1),
            "created_on": stamp(created),
            "expires_on": stamp(expires),
            "source": Given(content) if isinstance(content, bytes) else content,
        }
        file = CcaFile(report=report, site=site, level=level, **{**known, **fields})
        self.added.append(file)
        return file

    def remove(self, file: CcaFile) -> None:
        if file in self.added:
            self.added.remove(file)
        else:
            self.removed.add(file.id)

    def replace(self, file: CcaFile, content: bytes | None = None, **fields: Any) -> CcaFile:
        """The same file with other content or other fields (see `CcaFile`)."""
        if content is not None:
            fields["source"] = Given(content)
        new = changed(file, **fields)
        self.remove(file)
        self.added.append(new)
        return new

    # How files are made

    def _generated(self, report: Report, key: str | None, first: date, last: date) -> tuple[CcaFile, ...]:
        asked = (report, key, first, last)
        kept = self._listed.get(asked)
        if kept is not None:
            return kept
        made = self._generate(*asked)
        return self._listed.put(asked, made, 1 + len(made))

    def _generate(self, report: Report, key: str | None, first: date, last: date) -> tuple[CcaFile, ...]:
        number = key_number(key)
        places = (
            Place(report, day, number, nth)
            for day in _days(first, last)
            for nth in range(self._count(report, day))
        )
        return tuple(self._file(place, key) for place in places)

    def _count(self, report: Report, day: date) -> int:
        if report == "cdr_compressed":
            return self.files_per_day + self._has_recovered(day)
        if report == "peak_port_monthly":
            # Made on the 3rd, 4th or 5th, and holding the month before.
            return int(day.day == 3 + digest(self.seed, "monthly", day.year, day.month)[0] % 3)
        return 1

    def _has_recovered(self, day: date) -> bool:
        return self.recovered and digest(self.seed, "recovered", day)[0] % 7 == 0

    def _file(self, place: Place, key: str | None) -> CcaFile:
        file_id = make_id(self.seed, place)
        chance = digest(self.seed, "file", file_id)
        created = self._created(place, chance)
        expires = created + RETENTION + timedelta(seconds=chance[1])
        covered = self._covered(place, chance)
        created_on, expires_on = self._stamps(created, expires, chance)
        return CcaFile(
            id=file_id,
            report=place.report,
            name=self._name(place.report, key, covered),
            created=created,
            expires=expires,
            meeting_date=covered,
            created_on=created_on,
            expires_on=expires_on,
            source=self._source(place, key, covered),
            site=key if place.report == "cdr" else None,
            level=key if place.report.startswith("peak_port") else None,
        )

    def _created(self, place: Place, chance: bytes) -> datetime:
        """Later for each further file of the day; the date's last second when the day ends meanwhile."""
        seconds = chance[0] % 40 + 600 * place.nth // self._count(place.report, place.day)
        created = datetime.combine(place.day, self.created_at, UTC) + timedelta(seconds=seconds)
        return min(created, datetime.combine(place.day, time(23, 59, 59), UTC))

    def _covered(self, place: Place, chance: bytes) -> date:
        """The day, or a day of the month, that the file is about: never its creation date."""
        if place.report == "peak_port_monthly":
            return place.day.replace(day=1) - timedelta(days=1)
        back = place.nth % _NAMED_DAYS
        if place.report == "cdr_compressed" and place.nth == self.files_per_day:
            # A recovered file: for every other one its name is the daily file's own.
            back = 0 if chance[2] % 2 else 2 + chance[3] % 4
        return place.day - timedelta(days=1 + back)

    def _stamps(self, created: datetime, expires: datetime, chance: bytes) -> tuple[str, str]:
        created_on = short_stamp(created) if self.quirks and chance[4] % 11 == 0 else stamp(created)
        expires_on = malformed_stamp(expires) if self.quirks and chance[5] % 13 == 0 else stamp(expires)
        return created_on, expires_on

    def _name(self, report: Report, key: str | None, covered: date) -> str:
        if report == "cdr":
            return cdr_name(key or "", covered)
        if report == "cdr_compressed":
            return compressed_name(covered)
        return peak_port_name(key or "", covered, monthly=report == "peak_port_monthly")

    def _source(self, place: Place, key: str | None, covered: date) -> Source:
        if place.report == "cdr":
            return CdrCsv(self.seed, key or "", covered, 0, self.file_size)
        if place.report == "cdr_compressed":
            return CdrZip(self.seed, self._first_sites, covered, place.nth, self.file_size)
        names = {"site": self._first_sites or ("none",), "customer": ("Meridian", "Parallax")}.get(
            key or "", ("Partner",)
        )
        period = f"{covered:%Y-%m}" if place.report == "peak_port_monthly" else f"{covered}"
        return PeakPortCsv(self.seed, key or "", period, names, self.file_size)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _within(file: CcaFile, first: date | None, last: date | None, by: By) -> bool:
    day = file.meeting_date if by == "meeting_end" else file.created.date()
    return (first is None or first <= day) and (last is None or day <= last)
