"""From the task of a landing to what is written about its report, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from .api import FINISHED
from .browser import browser_page
from .processes import wait_until
from .stack import Stack

pytestmark = pytest.mark.live

DAG = "cca_cdr_compressed"
SECONDS = 180


@pytest.fixture(scope="module")
def landed(airflow: Stack) -> str:
    """A run whose task has landed a date."""
    airflow.unpause(DAG)
    day = str(datetime.now(UTC).date() - timedelta(days=9))
    run_id = airflow.api.trigger(DAG, {"partition": day})
    wait_until(
        "the landing",
        lambda: airflow.api.run(DAG, run_id)["state"] in FINISHED,
        SECONDS,
        watch=airflow.processes.check,
    )
    return run_id


@pytest.fixture(scope="module")
def browser(airflow: Stack, landed: str) -> Iterator[Page]:
    with browser_page(airflow) as page:
        yield page


def test_the_link_of_a_task_leads_to_its_report(browser: Page, airflow: Stack, landed: str) -> None:
    """Within Airflow, at the place on the page, and from there on to other pages and pictures."""
    requests: list[Request] = []
    errors: list[str] = []
    browser.goto(f"{airflow.url}/dags/{DAG}/runs/{landed}/tasks/land_files/details")
    link = browser.get_by_role("link", name="About this report")
    link.wait_for()
    browser.context.on("request", lambda request: requests.append(request))
    browser.context.on("weberror", lambda error: errors.append(str(error.error)))
    link.click()
    browser.wait_for_url(f"{airflow.url}/cca/docs/reports#cdr_compressed")
    heading = browser.get_by_role("heading", name="cdr_compressed")
    expect(heading).to_be_in_viewport()
    assert (heading.bounding_box() or {"y": 999})["y"] < 100
    browser.get_by_role("link", name="All pages").click()
    browser.get_by_role("link", name="The coverage page", exact=True).last.click()
    browser.wait_for_url(f"{airflow.url}/cca/docs/coverage-page")
    browser.wait_for_load_state("networkidle")
    widths = browser.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 4
    assert min(widths) > 0
    assert errors == []
    assert {urlsplit(request.url).netloc for request in requests} == {urlsplit(airflow.url).netloc}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_has_the_colours_of_the_ui_and_fits_its_window(browser: Page, airflow: Stack, theme: str) -> None:
    browser.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    browser.set_viewport_size({"width": 800, "height": 900})
    browser.goto(f"{airflow.url}/cca/docs/operators")
    assert browser.evaluate("document.documentElement.dataset.theme") == theme
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 30, 44)"
    assert dark == (theme == "dark")
    wide, room = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room


def test_the_coverage_page_leads_to_what_is_written_about_it(browser: Page, airflow: Stack) -> None:
    """Out of the frame that Airflow shows it in."""
    browser.goto(f"{airflow.url}/plugin/cca-coverage")
    browser.frame_locator("iframe[title=Coverage]").get_by_role("link", name="About this page").click()
    browser.wait_for_url(f"{airflow.url}/cca/docs/coverage-page")
    expect(browser.get_by_role("heading", level=1)).to_have_text("The coverage page")
