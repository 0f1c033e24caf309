"""`make screenshots`: the pictures of the documentation, taken from the real UI by Debian's Chromium."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Locator, Page

from . import clicks
from .browser import browser_page
from .demo import DAG, DAYS, backfill, last_days, say, set_up
from .processes import wait_until
from .stack import ROOT, Stack

IMAGES = ROOT / "docs" / "images"
WINDOW = (1400, 1400)  # pixels; a dialog that is taller would be cut
GRID_WINDOW = {"width": 1400, "height": 900}
# What the page remembers of its reader: a grid wide enough for the runs of the demo.
LAYOUT = (
    "react-resizable-panels:grid-ltr",
    {"details-panel,main-panel": {"expandToSizes": {}, "layout": [42, 58]}},
)
CISCO = {
    "host": "pcsprod.webex.com",
    "login": "my.account.partnerA",
    "password": "not a password",
    "port": 443,
    "schema": "https",
}
MARGIN = 16  # pixels below the calendar
MARK_SECONDS = 90


def main() -> None:
    """Backfill as the demo does, then take the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with set_up(scheduled=False) as (_, airflow):
        backfill_id = backfill(airflow, last_days())
        # Until Airflow notices, a banner on the page says that the backfill is in progress.
        wait_until(
            "the end of the backfill", lambda: airflow.api.is_backfill_marked_done(backfill_id), MARK_SECONDS
        )
        with browser_page(airflow, WINDOW) as page:
            say("taking the forms")
            take_connection(page, airflow, IMAGES / "connection-form.png", IMAGES / "connection-extras.png")
            take_trigger(page, airflow, IMAGES / "trigger-form.png")
            take_backfill(page, airflow, IMAGES / "backfill-dialog.png")
            say("taking the grid")
            take_grid(page, airflow, IMAGES / "backfill-grid.png")
        say("stopping Airflow and the simulator")


def take_connection(page: Page, airflow: Stack, standard: Path, extras: Path) -> None:
    """The form of a new connection: what everybody fills in, then the extras."""
    form = clicks.fill_in_connection(page, airflow, "cca_default", CISCO)
    settle(page, form)
    form.screenshot(path=standard)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.locator("#element_download_hosts").wait_for()
    settle(page, form)
    form.screenshot(path=extras)


def take_trigger(page: Page, airflow: Stack, target: Path) -> None:
    """The dialog of a single run, with a date in its form."""
    dialog = clicks.open_trigger(page, airflow, "cca_peak_port_daily")
    dialog.locator("#element_partition").fill(str(last_days()[0]))
    settle(page, dialog)
    dialog.screenshot(path=target)


def take_backfill(page: Page, airflow: Stack, target: Path) -> None:
    """The upper half of the dialog, with a month picked and the calendar open."""
    last = last_days()[0].replace(day=1) - timedelta(days=1)
    dialog = clicks.open_backfill(page, airflow, DAG)
    clicks.pick(page, dialog, "From", last.replace(day=1))
    clicks.pick(page, dialog, "To", last)
    dialog.locator("input[name=max_active_runs]").fill("16")
    dialog.get_by_text("runs will be triggered").wait_for()
    clicks.field_of(page, dialog, "To").get_by_role("paragraph").click()
    settle(page, page.locator(clicks.CALENDAR))
    box, calendar = dialog.bounding_box(), page.locator(clicks.CALENDAR).bounding_box()
    assert box and calendar
    height = calendar["y"] + calendar["height"] + MARGIN - box["y"]
    page.screenshot(path=target, clip={"x": box["x"], "y": box["y"], "width": box["width"], "height": height})


def settle(page: Page, box: Locator) -> None:
    """Wait until the page has loaded and a box in it has opened; take pointer and cursor away."""
    page.wait_for_load_state("networkidle")
    box.evaluate("box => Promise.all(box.getAnimations({subtree: true}).map(moving => moving.finished))")
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)


def take_grid(page: Page, airflow: Stack, target: Path) -> None:
    """The grid of the DAG with its backfilled runs."""
    page.set_viewport_size(GRID_WINDOW)
    key, layout = LAYOUT
    page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, json.dumps(layout)])
    page.goto(f"{airflow.url}/dags/{DAG}")
    page.get_by_role("button", name="Options").click()
    page.get_by_role("combobox", name="Number of Dag Runs").click()
    page.get_by_role("option", name="25").click()
    page.keyboard.press("Escape")
    page.reload()
    page.locator("a[href*='/runs/'][href*='/tasks/land_files']").nth(DAYS - 1).wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=target)


if __name__ == "__main__":
    main()
