"""The coverage page in a real browser, within the UI of a real Airflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Frame, Page, Request, expect

from tests.support.snapshots import Snapshot, make, write

from .browser import browser_page
from .stack import Stack

pytestmark = pytest.mark.live

PAGE = "/plugin/cca-coverage"
BARE = "/cca/coverage/"
PAINT_MS = 1000
LOOKS = 5
# Milliseconds since the start of the navigation.
PAINTED = """new Promise((resolve) => new PerformanceObserver((list) => list.getEntriesByName("painted")
  .forEach((mark) => resolve(mark.startTime))).observe({ type: "mark", buffered: true }))"""
SELECTED = "[role=grid] td[aria-selected]"

# Of text and of shapes, in both themes, as WCAG 2.1 counts it (AA: 4.5 for text, 3 for shapes).
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const part = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => part(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const page = style("body").backgroundColor;
  const text = (selector) => ratio(style(selector).color, page);
  return {
    text: [text("h1"), text("#about"), text("#legend li"), text(".hint"), text("button.as-table"),
      ratio(style(".say").color, style("#headline").backgroundColor),
      ratio(style("#headline a").color, style("#headline").backgroundColor),
      ratio(style(".badge[data-urgency=soon]").color, style(".badge[data-urgency=soon]").backgroundColor),
      ...["missing", "lost"].map((state) => style(`.swatch[data-state=${state}]`))
        .map(({ color, backgroundColor }) => ratio(color, backgroundColor))],
    shapes: ["landed", "missing", "lost"]
      .map((state) => ratio(style(`td[data-state=${state}]`).backgroundColor, page)),
  };
}"""


@pytest.fixture
def snapshot(store: Path) -> Iterator[Snapshot]:
    """A year with gaps in it, as of today."""
    snapshot = make(datetime.now(UTC).date())
    path = write(store, snapshot)
    yield snapshot
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def browser(airflow: Stack) -> Iterator[Page]:
    with browser_page(airflow) as page:
        yield page


@pytest.fixture
def opened(browser: Page, airflow: Stack, snapshot: Snapshot) -> Frame:
    return open_page(browser, airflow)


def open_page(browser: Page, airflow: Stack) -> Frame:
    browser.goto(f"{airflow.url}{PAGE}")
    return framed(browser)


def framed(browser: Page) -> Frame:
    frame = browser.wait_for_selector("iframe[title=Coverage]").content_frame()
    assert frame
    frame.wait_for_selector("#headline:not([data-mood=waiting])")
    return frame


def test_from_the_navigation_to_what_is_missing(browser: Page, airflow: Stack, snapshot: Snapshot) -> None:
    """Without an error of its own in the console, and without a request to anywhere but Airflow."""
    errors: list[str] = []
    requests: list[Request] = []
    browser.goto(airflow.url)
    link = browser.get_by_role("link", name="Coverage")
    link.wait_for()

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and BARE in message.location["url"]:
            errors.append(message.text)

    browser.on("console", hear)
    browser.on("pageerror", lambda error: errors.append(str(error)))
    browser.on("request", lambda request: requests.append(request))
    link.click()
    frame = framed(browser)
    headline = frame.locator(".say").inner_text()
    assert headline == "22 files are missing; Cisco deletes the first in 3 days."
    assert frame.locator("#gaps tbody tr").first.inner_text().startswith("in 3 days")
    cells = frame.locator("[role=grid] td[data-state]")
    assert cells.count() == sum(len(row["partitions"]) for row in snapshot["rows"])
    for state, count in snapshot["counts"].items():
        assert frame.locator(f"[role=grid] td[data-state={state}]").count() == count
    assert errors == []
    # What has no host, such as an image that stands in Airflow's own style sheet, goes nowhere.
    hosts = {urlsplit(request.url).netloc for request in requests}
    assert hosts - {""} == {urlsplit(airflow.url).netloc}


def test_the_list_names_every_gap_nearest_deadline_first(opened: Frame, snapshot: Snapshot) -> None:
    lines = opened.locator("#gaps tbody tr[data-state]")
    assert lines.count() == 5
    opened.get_by_role("button", name="Show the other").click()
    missing = [gap for gap in snapshot["gaps"] if gap["state"] != "lost"]
    assert lines.count() == len(missing) < snapshot["gaps_total"]
    days = [int(found) for found in re.findall(r"in (\d+) days", opened.locator("#gaps").inner_text())]
    assert days == sorted(days)


def test_what_is_lost_has_a_list_of_its_own(opened: Frame, snapshot: Snapshot) -> None:
    lost = [gap for gap in snapshot["gaps"] if gap["state"] == "lost"]
    lines = opened.locator("#lost tbody tr")
    assert lines.count() == len(lost)
    expect(lines.first).to_contain_text("1 of 1 file")
    expect(opened.locator("#headline")).to_contain_text(f"{len(lost)} files are lost for good")


def test_the_keys_lead_from_date_to_date(opened: Frame, browser: Page, snapshot: Snapshot) -> None:
    today = datetime.now(UTC).date()
    browser.evaluate("document.activeElement.blur()")
    opened.locator("[role=grid] td[tabindex='0']").first.focus()
    assert opened.locator("[role=grid]").first.locator("td[tabindex='0']").count() == 1
    browser.keyboard.press("Control+End")
    for key, back in [("ArrowUp", 1), ("ArrowLeft", 8), ("ArrowDown", 7), ("PageUp", 35), ("ArrowRight", 28)]:
        browser.keyboard.press(key)
        day = today - timedelta(days=back)
        label = opened.locator(SELECTED).first.get_attribute("aria-label") or ""
        assert f"{day.day} {day:%B %Y}: " in label
        expect(opened.locator(".calendar [role=status]").first).to_contain_text(f"{day.day} {day:%b %Y}")
    browser.keyboard.press("Control+Home")
    browser.keyboard.press("ArrowLeft")
    first = today - timedelta(days=364)
    assert f"{first.day} {first:%B %Y}" in (opened.locator(SELECTED).first.get_attribute("aria-label") or "")


def test_each_calendar_can_be_read_as_a_table(opened: Frame, snapshot: Snapshot) -> None:
    opened.get_by_role("button", name="As a table: Peak ports, monthly, customer level").click()
    table = opened.get_by_role("region", name="Peak ports, monthly, customer level, as a table")
    assert table.locator("tbody tr").count() == 13
    assert table.get_by_text("missing", exact=True).count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_follows_the_theme_of_the_ui_and_can_be_read_in_it(
    opened: Frame, browser: Page, theme: str
) -> None:
    """Whichever the reader has chosen in Airflow, also while the page is open."""
    other = {"light": "dark", "dark": "light"}[theme]
    browser.evaluate("theme => localStorage.setItem('theme', theme)", other)
    browser.reload()
    frame = framed(browser)
    assert frame.evaluate("document.documentElement.dataset.theme") == other
    # As another window of the same browser would say it; Airflow's UI follows too.
    browser.evaluate(
        """theme => { localStorage.setItem("theme", theme);
        dispatchEvent(new StorageEvent("storage", { key: "theme", newValue: theme })); }""",
        theme,
    )
    frame.wait_for_selector(f":root[data-theme={theme}]")
    backgrounds = [
        page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        for page in (browser, frame)
    ]
    body = frame.evaluate("getComputedStyle(document.body).backgroundColor")
    assert body == backgrounds[0]
    contrasts = frame.evaluate(CONTRASTS)
    print(f"{theme}: text {min(contrasts['text']):.1f}, shapes {min(contrasts['shapes']):.1f}")
    assert min(contrasts["text"]) >= 4.5
    assert min(contrasts["shapes"]) >= 3


def test_a_gap_leads_to_the_dag_that_lands_it(opened: Frame, browser: Page, airflow: Stack) -> None:
    """Out of the frame, though its sandbox lets no link of its own leave it."""
    opened.get_by_role("button", name="Fix: Peak ports, daily").first.click()
    created = (datetime.now(UTC).date() - timedelta(days=362)).isoformat()
    fix = opened.locator(".details:not([hidden])")
    expect(fix.locator("code").first).to_have_text(
        f'airflow dags trigger cca_peak_port_daily --conf \'{{"partition":"{created}"}}\''
    )
    expect(fix.locator("code").last).to_contain_text(f"--from-date {created} --to-date {created}T23:59")
    fix.get_by_role("link", name="Open cca_peak_port_daily").click()
    browser.wait_for_url(f"{airflow.url}/dags/cca_peak_port_daily")


@pytest.mark.parametrize("width", [800, 1000, 1280, 1600])
def test_nothing_runs_out_of_the_window(opened: Frame, browser: Page, width: int) -> None:
    browser.set_viewport_size({"width": width, "height": 900})
    opened.get_by_role("button", name="Fix: Peak ports, daily").first.click()
    opened.get_by_role("button", name="As a table").first.click()
    wide, room = opened.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    narrow = (
        "[...document.querySelectorAll('[role=grid] td[data-state]')].filter(e => e.clientWidth < 7).length"
    )
    assert opened.evaluate(narrow) == 0


def test_a_year_of_all_reports_is_there_in_a_second(browser: Page, airflow: Stack, store: Path) -> None:
    """From the start of the navigation to what is painted: 10 calendars, 10,000 gaps."""
    path = write(store, make(datetime.now(UTC).date(), rows=10, gaps=10_000))
    taken = []
    for _ in range(LOOKS):
        browser.goto(f"{airflow.url}{BARE}")
        taken.append(browser.evaluate(PAINTED))
    assert browser.locator("[role=grid]").count() == 10
    path.unlink()
    first, *later = taken
    print(
        f"10 calendars, 10,000 gaps: painted after {first:.0f} ms, later {min(later):.0f}-{max(later):.0f} ms"
    )
    assert sorted(taken)[LOOKS // 2] < PAINT_MS


def test_when_nothing_is_missing_it_says_so(browser: Page, airflow: Stack, store: Path) -> None:
    path = write(store, make(datetime.now(UTC).date(), whole=True))
    frame = open_page(browser, airflow)
    assert frame.locator(".say").inner_text() == "Nothing is missing."
    assert frame.locator("#gaps").is_hidden()
    assert frame.locator("#lost").is_hidden()
    path.unlink()


def unknown(snapshot: Snapshot, count: int) -> Snapshot:
    """Nothing is known of the first so many dates of each calendar."""
    nothing = {"state": "unknown", "files": 0, "landed": 0, "bytes": 0, "landed_bytes": 0, "expires_on": None}
    for row in snapshot["rows"]:
        for partition in row["partitions"][:count]:
            partition.update(nothing)
    return snapshot


def none_of(snapshot: Snapshot, kept: slice) -> Snapshot:
    """Calendars, or none at all, without a date."""
    rows = [{**row, "partitions": []} for row in snapshot["rows"][kept]]
    return {**snapshot, "rows": rows, "counts": dict.fromkeys(snapshot["counts"], 0)}


NOT_CHECKED = {
    "some": (
        lambda whole: unknown(whole, 2),
        "16 of 1,864 dates could not be checked; nothing is missing in the others.",
    ),
    "all": (lambda whole: unknown(whole, 999), "None of the dates could be checked."),
    "no dates": (lambda whole: none_of(whole, slice(None)), "Nothing has been looked at yet."),
    "no calendars": (lambda whole: none_of(whole, slice(0)), "Nothing has been looked at yet."),
}


@pytest.mark.parametrize(("edit", "says"), NOT_CHECKED.values(), ids=NOT_CHECKED)
def test_what_could_not_be_checked_does_not_pass_for_whole(
    browser: Page, airflow: Stack, store: Path, edit: Callable[[Snapshot], Snapshot], says: str
) -> None:
    path = write(store, edit(make(datetime.now(UTC).date(), whole=True)))
    frame = open_page(browser, airflow)
    assert frame.locator(".say").inner_text() == says
    assert frame.locator("#headline").get_attribute("data-mood") == "unsure"
    path.unlink()


def test_today_and_yesterday_may_be_unknown(browser: Page, airflow: Stack, store: Path) -> None:
    snapshot = make(datetime.now(UTC).date(), whole=True)
    for row in snapshot["rows"]:
        for partition in row["partitions"][-1 if row["grain"] == "month" else -2 :]:
            partition.update(state="unknown", files=0, landed=0, bytes=0, landed_bytes=0)
    path = write(store, snapshot)
    assert open_page(browser, airflow).locator(".say").inner_text() == "Nothing is missing."
    path.unlink()


def test_before_the_first_snapshot_it_says_what_to_do(browser: Page, airflow: Stack) -> None:
    browser.goto(f"{airflow.url}{BARE}")
    expect(browser.locator("#headline")).to_contain_text("There is nothing to show yet.")
    expect(browser.locator("#headline")).to_contain_text("airflow dags trigger cca_reconcile")


def test_a_stranger_is_told_to_log_in(browser: Page, airflow: Stack, snapshot: Snapshot) -> None:
    assert browser.context.browser
    page = browser.context.browser.new_context().new_page()
    page.goto(f"{airflow.url}{BARE}")
    expect(page.locator(".say")).to_have_text("You are not logged in.")
    assert page.locator("[role=grid]").count() == 0
