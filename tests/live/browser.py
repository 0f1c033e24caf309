"""Airflow's UI in a real browser: Debian's Chromium, driven by Playwright.

Close the window before another test starts: while it is open, its thread has a running event loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from .processes import StepError
from .stack import USER, Stack

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
WINDOW = (1400, 900)  # pixels
# For whatever is waited for on a page: long, since the machine may be busy, and reached only by a failure.
PATIENCE_MS = 60_000


@contextmanager
def browser_page(airflow: Stack, size: tuple[int, int] = WINDOW) -> Iterator[Page]:
    """A fresh window in English, UTC and light mode, logged in to Airflow."""
    if not Path(CHROMIUM).exists():
        raise StepError("browser", f"{CHROMIUM} is missing: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_MS)
        try:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                locale="en-US",
                timezone_id="UTC",
                color_scheme="light",
                reduced_motion="reduce",
            )
            context.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            page = context.new_page()
            log_in(page, airflow)
            yield page
        finally:
            browser.close()


def log_in(page: Page, airflow: Stack) -> None:
    """Fill in the form of Airflow's simple auth manager."""
    page.goto(airflow.url)
    page.fill("input[name=username]", USER)
    page.fill("input[name=password]", airflow.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: "/login" not in address)
