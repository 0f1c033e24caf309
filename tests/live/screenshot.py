"""`make screenshots`: the pictures of the documentation, taken from the real UI by Debian's Chromium."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page

from .browser import browser_page
from .demo import DAG, DAYS, backfill, last_days, say, set_up
from .processes import wait_until
from .stack import ROOT, Stack

IMAGES = ROOT / "docs" / "images"
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
        with browser_page(airflow) as page:
            take_grid(page, airflow, IMAGES / "backfill-grid.png")
        say("stopping Airflow and the simulator")


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
