"""`make coverage-pictures`: the coverage page with gaps, in light and dark.

The snapshot is made up, as those of the tests are; `make year` takes pictures of a year that has landed.
With `--store FOLDER --name NAME` a folder is shown as it is.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from tests.support.snapshots import make, write

from .browser import browser_page
from .processes import children
from .screenshot import IMAGES
from .stack import Stack, airflow_stack

WINDOW = (1400, 1180)  # pixels
NO_SERVER = '{"conn_type": "cca", "login": "nobody", "password": "nothing"}'


def main() -> None:
    """Start an Airflow that asks no CCA server, and look at its page."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.coverage_pictures", description=__doc__)
    parser.add_argument("--store", type=Path, help="show the snapshot in this folder")
    parser.add_argument("--name", default="coverage", help="name of the picture of that folder")
    arguments = parser.parse_args()
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # PostgreSQL runs as a user of its own and must find its way in.
        Path(home).chmod(0o755)
        store = arguments.store or Path(home, "store")
        with (
            children(Path(home, "airflow")) as processes,
            airflow_stack(processes, connection=NO_SERVER, storage=store, scheduled=False) as airflow,
            browser_page(airflow, WINDOW) as page,
        ):
            if arguments.store:
                take(page, airflow, "light", IMAGES / f"{arguments.name}.png")
            else:
                take_all(page, airflow, store)


def take_all(page: Page, airflow: Stack, store: Path) -> None:
    """In both themes."""
    write(store, make(datetime.now(UTC).date()))
    for theme in ("light", "dark"):
        take(page, airflow, theme, IMAGES / f"coverage-{theme}.png")


def take(page: Page, airflow: Stack, theme: str, target: Path) -> None:
    """The page in one theme of the UI, as one comes to it."""
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    page.goto(f"{airflow.url}/plugin/cca-coverage")
    page.frame_locator("iframe[title=Coverage]").locator(".calendar").last.wait_for()
    page.wait_for_load_state("networkidle")
    target.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target)


if __name__ == "__main__":
    main()
