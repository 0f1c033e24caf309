"""`make screenshots`: the pictures of the documentation, taken from the real UI by Debian's Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from .demo import DAG, DAYS, backfill, last_days, say, set_up
from .processes import wait_until
from .stack import ROOT, USER, Stack

IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
# The browser is to show one page and nothing else: no updates, no look-ups, no first-run pages.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WINDOW = {"width": 1400, "height": 900}


# What the page remembers of its reader: a grid wide enough for the runs of the demo.
LAYOUT = (
    "react-resizable-panels:grid-ltr",
    {"details-panel,main-panel": {"expandToSizes": {}, "layout": [42, 58]}},
)
MARK_SECONDS = 90


def main() -> None:
    """Backfill as the demo does, then take the pictures."""
    with set_up(scheduled=False) as (_, airflow):
        backfill_id = backfill(airflow, last_days())
        # Until Airflow notices, a banner on the page says that the backfill is in progress.
        wait_until(
            "the end of the backfill", lambda: airflow.api.is_backfill_marked_done(backfill_id), MARK_SECONDS
        )
        say("taking the grid")
        with browser_page() as page:
            log_in(page, airflow.url, airflow.password)
            take_grid(page, airflow, IMAGES / "backfill-grid.png")
        say("stopping Airflow and the simulator")


@contextmanager
def browser_page() -> Iterator[Page]:
    """A fresh window in English and UTC."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser.new_context(viewport=WINDOW, locale="en-US", timezone_id="UTC").new_page()
        finally:
            browser.close()


def log_in(page: Page, url: str, password: str) -> None:
    """Fill in the form of Airflow's simple auth manager."""
    page.goto(url)
    page.fill("input[name=username]", USER)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: "/login" not in address)


def take_grid(page: Page, airflow: Stack, target: Path) -> None:
    """The grid of the DAG with its backfilled runs."""
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
    target.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target)


if __name__ == "__main__":
    main()
