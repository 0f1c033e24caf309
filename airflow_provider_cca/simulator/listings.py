"""The lists: their parameters checked, their pages cut (§3.5.1 to §3.6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_cca.simulator.calls import INVALID, Call, Refusal
from airflow_provider_cca.simulator.files import LEVELS, CcaFile, Report
from airflow_provider_cca.simulator.stamps import parse_day, parse_month, stamp
from airflow_provider_cca.simulator.world import By

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.simulator import Simulator

DEFAULT_SIZE = 30
MAX_SIZE = 1000

Query = Mapping[str, str]
Json = dict[str, Any]
Thing = TypeVar("Thing")


def answer(sim: Simulator, call: Call, parts: Mapping[str, str], query: Query) -> Json:
    """The JSON of a list call; a Refusal (406) when a parameter is wrong."""
    try:
        start, size = _window(query)
        if call.name == "sites":
            return _page(
                sim.world.sites, start, min(size, sim.max_page_size), lambda n, name: _site(sim, name)
            )
        link = sim.link_key or "downloadLink"
        if call.name == "cdr":
            files, new = _cdr(sim, parts["site"], query)
            link = sim.link_key or ("a" if new else "downloadLink")
        elif call.name == "cdr_compressed":
            files = sim.world.files("cdr_compressed", None, *_range(query, "creation", "Date"), now=sim.now())
        else:
            files = _peak_port(sim, call, query)
    except ValueError as error:
        raise Refusal(406, call.invalid) from error
    return _page(files, start, min(size, sim.max_page_size), lambda n, file: _item(sim, file, n, link))


def _window(query: Query) -> tuple[int, int]:
    start, size = _number(query.get("from", "0")), _number(query.get("size", str(DEFAULT_SIZE)))
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"size={size} is not from 1 to {MAX_SIZE}")
    return start, size


def _number(text: str) -> int:
    # int() would also take signs, underscores, blanks and other scripts' digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _page(things: Sequence[Thing], start: int, size: int, render: Callable[[int, Thing], Json]) -> Json:
    """`size` in the answer is what is on this page."""
    items = [render(start + n, thing) for n, thing in enumerate(things[start : start + size])]
    return {"total": len(things), "from": start, "size": len(items), "items": items}


def _cdr(sim: Simulator, site: str, query: Query) -> tuple[list[CcaFile], bool]:
    """The site's files in one of the three ways, and whether it was the first: new files alone."""
    if site not in sim.world.sites:
        raise Refusal(406, INVALID)
    if query.get("type", "daily") != "daily":
        raise ValueError("the only type is daily")
    by_meeting = {"startDate", "endDate"} & query.keys()
    by_creation = {"creationStartDate", "creationEndDate"} & query.keys()
    if by_meeting and by_creation:
        raise ValueError("meeting end dates and creation dates are two different calls")
    if not by_meeting and not by_creation:
        files = sim.world.files("cdr", site, now=sim.now())
        return [file for file in files if not sim.world.attempts.get(file.id)], True
    by: By = "creation" if by_creation else "meeting_end"
    prefix = "creation" if by_creation else ""
    first, last = _range(query, prefix, "Date", required=False)
    return sim.world.files("cdr", site, first, last, by=by, now=sim.now()), False


def _peak_port(sim: Simulator, call: Call, query: Query) -> list[CcaFile]:
    if query.get("level") not in LEVELS:
        raise ValueError(f"level is one of {LEVELS}")
    monthly = call.report == "peak_port_monthly"
    first, last = _range(query, "creation", "Month" if monthly else "Date")
    report: Report = "peak_port_monthly" if monthly else "peak_port_daily"
    return sim.world.files(report, query["level"], first, last, now=sim.now())


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
    return {"siteName": name, "lastSiteUpdate": stamp(sim.world.site(name).updated)}


def _item(sim: Simulator, file: CcaFile, position: int, link: str) -> Json:
    """One file, its keys in the document's order."""
    item = {
        "id": file.id,
        "createdOn": file.created_on,
        link: sim.link(file, position),
        "fileSize": sim.world.size(file) if file.size is None else file.size,
        "fileName": file.name,
        "checksum": sim.world.md5(file) if file.md5 is None else file.md5,
        "type": file.type,
        "expiredOn": file.expires_on,
        "downloadAttempts": sim.world.attempts.get(file.id, 0),
    }
    if file.report == "cdr":
        # §3.5.2: these files have their name in the metadata alone, and the first key is spelled like this.
        name = item.pop("fileName")
        item["metadata"] = [
            {"key": "lastConferencaDate", "value": f"{file.meeting_date:%m-%d-%Y}"},
            {"key": "humanReadableFileName", "value": name},
        ]
    return item
