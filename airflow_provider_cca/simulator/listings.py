"""The lists: their parameters checked, their pages cut (§3.5.1 to §3.6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow_provider_cca.simulator.bodies import digest
from airflow_provider_cca.simulator.calls import INVALID, Call, Refusal
from airflow_provider_cca.simulator.files import LEVELS, CcaFile, Report
from airflow_provider_cca.simulator.stamps import malformed_stamp, parse_day, parse_month, stamp, written
from airflow_provider_cca.simulator.world import By

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.simulator import Simulator
    from airflow_provider_cca.simulator.ways import Ways

DEFAULT_SIZE = 30

Query = Mapping[str, str]
Json = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """What matches, and all that would without the filter; `render` makes the entry at a position."""

    things: Sequence[Any] = ()
    all: Sequence[Any] = ()
    render: Callable[[int, Any], Json] = lambda _position, _thing: {}


def answer(sim: Simulator, call: Call, parts: Mapping[str, str], query: Query) -> Json:
    """The JSON of a list call; a Refusal when a parameter is wrong, or where the `Ways` have a status."""
    try:
        start, size = _window(query, sim)
        if call.report is None:
            sites = sim.world.sites
            listing = Listing(sites, sites, lambda _, name: _site(sim, name))
        else:
            listing = _files(sim, call, call.report, parts.get("site") or query.get("level"), query)
    except ValueError as error:
        raise Refusal(406, call.invalid) from error
    return _page(sim, call, listing, start, size)


def _window(query: Query, sim: Simulator) -> tuple[int, int]:
    ways = sim.ways
    start, size = _number(query.get("from", "0")), _number(query.get("size", str(DEFAULT_SIZE)))
    if size < 1 or (size > ways.largest_size and ways.larger_size == "406"):
        raise ValueError(f"size={size} is not from 1 to {ways.largest_size}")
    if size > ways.largest_size:
        size = ways.largest_size if ways.larger_size == "clamped" else DEFAULT_SIZE
    return start, min(size, ways.page_cap)


def _number(text: str) -> int:
    # int() would also take signs, underscores, blanks and other scripts' digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _page(sim: Simulator, call: Call, listing: Listing, start: int, size: int) -> Json:
    """`size` in the answer is what is on this page."""
    ways, number, count = sim.ways, sim.next_answer(), len(listing.things)
    things = _in_order(listing.things, ways.order, size, number)
    if count and start >= count and ways.beyond == "last":
        start = (count - 1) // size * size
    items = [listing.render(start + n, thing) for n, thing in enumerate(things[start : start + size])]
    totals: dict[str, int | str] = {
        "unfiltered": len(listing.all),
        "page": len(items),
        "text": str(count),
        "moving": count + number % 2,
    }
    page: Json = {"total": totals.get(ways.total, count), "from": start, "size": len(items)}
    return page | ({"items": items} if items else _nothing(call, ways.beyond if count else ways.none))


def _nothing(call: Call, way: str) -> Json:
    """The `items` of a page without any."""
    if way.isdigit():
        busy = call.processing[1] if call.processing else "Still processing"
        raise Refusal(int(way), {404: "Not found", 406: call.invalid, 412: busy}.get(int(way), ""))
    if way == "missing":
        return {}
    return {"items": None if way == "null" else []}


def _in_order(things: Sequence[Any], order: str, size: int, number: int) -> Sequence[Any]:
    if order == "descending":
        return things[::-1]
    if order == "unstable":
        return sorted(things, key=lambda thing: digest(number, repr(thing)))
    if order == "swapping" and number % 2:
        swapped = list(things)
        for end in range(size, len(swapped), size):
            swapped[end - 1 : end + 1] = swapped[end], swapped[end - 1]
        return swapped
    return things


def _files(sim: Simulator, call: Call, report: Report, key: str | None, query: Query) -> Listing:
    """The files of one site, of one level, or all compressed ones."""
    link = sim.link_key or "downloadLink"
    if report == "cdr" and key not in sim.world.sites:
        if sim.ways.unknown_site != "empty":
            raise Refusal(int(sim.ways.unknown_site), INVALID)
        return Listing()
    if report.startswith("peak_port") and key not in LEVELS:
        raise ValueError(f"level is one of {LEVELS}")
    by, first, last = _filter(call, query)
    files = sim.listed(report, key, first, last, by)
    if report == "cdr" and first is last is None:
        link = sim.link_key or "a"
        files = [file for file in files if not sim.world.attempts.get(file.id)]
    return Listing(
        _without_unfinished(sim, call, files, first, last),
        sim.listed(report, key) if sim.ways.total == "unfiltered" else [],
        lambda position, file: _item(sim, file, position, link),
    )


def _filter(call: Call, query: Query) -> tuple[By, date | None, date | None]:
    if call.report != "cdr":
        unit = "Month" if call.report == "peak_port_monthly" else "Date"
        return "creation", *_range(query, "creation", unit)
    if query.get("type", "daily") != "daily":
        raise ValueError("the only type is daily")
    by_meeting = {"startDate", "endDate"} & query.keys()
    by_creation = {"creationStartDate", "creationEndDate"} & query.keys()
    if by_meeting and by_creation:
        raise ValueError("meeting end dates and creation dates are two different calls")
    if by_meeting:
        return "meeting_end", *_range(query, "", "Date", required=False)
    return "creation", *_range(query, "creation", "Date", required=False)


def _without_unfinished(
    sim: Simulator, call: Call, files: list[CcaFile], first: date | None, last: date | None
) -> list[CcaFile]:
    """The files as they are listed while some of their dates, those in `Simulator.unfinished`, are made."""
    ways, monthly = sim.ways, call.report == "peak_port_monthly"

    def period(day: date) -> date:
        return day.replace(day=1) if monthly else day

    busy = {period(day) for day in sim.unfinished if (first or day) <= day <= (last or day)}
    if not busy:
        return files
    status = call.processing if ways.unfinished == "document" else None
    if ways.unfinished.isdigit():
        status = int(ways.unfinished), (call.processing or (0, "Still processing"))[1]
    spoils_all = ways.unfinished_range == "all" or first == (last and period(last))
    if status and spoils_all:
        raise Refusal(*status)
    affected = [file.id for file in files if spoils_all or period(ways.listed_on(file)) in busy]
    hidden = set(affected[len(affected) // 2 if ways.unfinished == "partial" else 0 :])
    return [file for file in files if file.id not in hidden]


def _range(query: Query, prefix: str, unit: str, *, required: bool = True) -> tuple[date | None, date | None]:
    """First and last day of the filter; a missing, malformed or reversed one is a ValueError."""
    names = [f"{prefix}{end}{unit}" if prefix else f"{end.lower()}{unit}" for end in ("Start", "End")]
    if required and not query.keys() >= set(names):
        raise ValueError(f"{names[0]} and {names[1]} are both required")
    days = [_days(query[name], unit) if name in query else None for name in names]
    first, last = days[0] and days[0][0], days[1] and days[1][1]
    if first and last and first > last:
        raise ValueError(f"{names[0]} is after {names[1]}")
    return first, last


def _days(text: str, unit: str) -> tuple[date, date]:
    if unit == "Month":
        return parse_month(text)
    day = parse_day(text)
    return day, day


def _site(sim: Simulator, name: str) -> Json:
    updated = sim.world.site(name).updated
    return {"siteName": name, "lastSiteUpdate": written(updated, stamp(updated), sim.ways)}


def _item(sim: Simulator, file: CcaFile, position: int, link: str) -> Json:
    """One file, its keys in the document's order."""
    item = {
        "id": _id(file, sim.ways.ids),
        "createdOn": written(file.created, file.created_on, sim.ways),
        link: sim.give_link(file, position),
        "fileSize": sim.world.size(file) if file.size is None else file.size,
        "fileName": file.name,
        "checksum": sim.world.md5(file) if file.md5 is None else file.md5,
        "type": file.type,
        "expiredOn": _expired_on(sim.ways, file),
        "downloadAttempts": sim.world.attempts.get(file.id, 0),
    }
    if file.report == "cdr":
        # §3.5.2: these files have their name in the metadata alone, and the first key is spelled like this.
        name = item.pop("fileName")
        item["metadata"] = [
            {"key": "lastConferencaDate", "value": f"{file.meeting_date:%m-%d-%Y}"},
            {"key": "humanReadableFileName", "value": name},
        ]
    if sim.ways.expired_on == "absent":
        del item["expiredOn"]
    return item


def _id(file: CcaFile, way: str) -> str | int:
    if way == "text":
        return file.id
    number = int.from_bytes(digest("id", file.id)[:6], "big")
    return number if way == "number" else f"{file.created.date().toordinal() // 2}"


def _expired_on(ways: Ways, file: CcaFile) -> str | int:
    expires = ways.expires(file)
    if ways.expired_on == "malformed":
        return malformed_stamp(expires)
    return written(expires, file.expires_on if expires == file.expires else stamp(expires), ways)
