"""What a user does with the mouse, in a real browser: connect, backfill a month, land a date, mistype one."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pendulum
import pytest
from playwright.sync_api import expect

from . import clicks, proof
from .browser import browser_page
from .processes import wait_until

DAILY = "cca_cdr_compressed"
PEAKS = "cca_peak_port_daily"
LEVELS = ("site", "customer", "partner")
# Dates that no other live test lands.
FIRST = pendulum.now("UTC").subtract(months=7).start_of("month").date()
DAYS = [FIRST + timedelta(days=n) for n in range(FIRST.days_in_month)]
SECONDS = 300

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def page(airflow):
    with browser_page(airflow) as page:
        yield page


def test_a_connection_made_by_the_form_is_found_to_work_by_its_test_button(page, airflow, cca):
    form = clicks.fill_in_connection(page, airflow, "cca_by_hand", cca.connection)
    clicks.fill_in_extras(form, hosts="127.0.0.1, 127.0.0.2", connections=5)
    clicks.press_test(page, form, "cca_by_hand")
    says = f"Logged in; 3 sites, the first of them {cca.world.sites[0]}"
    expect(page.get_by_text(says, exact=True).first).to_be_visible()
    stored = airflow.api.connection("cca_by_hand")
    given = {name: value for name, value in json.loads(stored["extra"]).items() if value is not None}
    assert given == {"download_hosts": "127.0.0.1, 127.0.0.2", "max_connections": 5}


def test_the_test_button_says_that_the_password_is_wrong(page, airflow, cca):
    form = clicks.fill_in_connection(page, airflow, "cca_mistyped", cca.connection | {"password": "mistyped"})
    expect(form.get_by_label("Machine account password", exact=True)).to_have_attribute("type", "password")
    clicks.press_test(page, form, "cca_mistyped")
    expect(page.get_by_text("check login and password of the connection").first).to_be_visible()


def test_a_month_picked_by_its_calendar_lands(page, airflow, cca, store):
    airflow.unpause(DAILY)
    # A DAG takes one backfill at a time, and Airflow is slow to mark one as done.
    wait_until("the end of other backfills", lambda: not airflow.api.has_backfill(DAILY), SECONDS)
    dialog = clicks.open_backfill(page, airflow, DAILY)
    clicks.pick(page, dialog, "From", DAYS[0])
    clicks.pick(page, dialog, "To", DAYS[-1])
    dialog.locator("input[name=max_active_runs]").fill("16")
    expect(dialog.get_by_text(f"{len(DAYS)} runs will be triggered")).to_be_visible()
    dialog.get_by_role("button", name="Run Backfill").click()
    banner = page.get_by_text("Backfill in progress")
    expect(banner).to_be_visible()
    expect(banner).to_be_hidden(timeout=SECONDS * 1000)
    runs = airflow.api.backfill_runs(DAILY, DAYS[0], DAYS[-1])
    assert [run["logical_date"] for run in runs] == [f"{day}T09:00:00Z" for day in DAYS]
    assert {run["state"] for run in runs} == {"success"}
    truths = {day: {file.id: file.md5 for file in cca.truth("cdr_compressed", day, day)} for day in DAYS}
    verdicts = [proof.examine(store, "cdr_compressed", day, truth) for day, truth in truths.items()]
    assert [verdict.faults for verdict in verdicts] == [()] * len(DAYS)


def test_a_date_in_the_form_lands(page, airflow, cca, store):
    airflow.unpause(PEAKS)
    day = DAYS[10]
    dialog = clicks.open_trigger(page, airflow, PEAKS)
    dialog.locator("#element_partition").fill(str(day))
    page.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url("**/runs/manual__*")
    # The badge beside the run's id: those below it are of its tasks.
    title = page.get_by_role("heading", name=re.compile("^manual__"))
    badge = title.locator("xpath=following::*[@data-testid='state-badge'][1]")
    expect(badge).to_have_text("Success", timeout=SECONDS * 1000)
    for level in LEVELS:
        truth = {file.id: file.md5 for file in cca.truth("peak_port_daily", day, day, level=level)}
        assert proof.examine(store, f"peak_port_daily/level={level}", day, truth).faults == ()


def test_nonsense_for_a_date_is_refused_and_nothing_runs(page, airflow):
    """The field itself takes no letters; what is pasted into the form's JSON is refused by Airflow."""
    airflow.unpause(PEAKS)
    before = len(airflow.api.runs(PEAKS))
    dialog = clicks.open_trigger(page, airflow, PEAKS)
    field = dialog.locator("#element_partition")
    field.press_sequentially("yesterday")
    expect(field).to_have_value("")
    dialog.get_by_role("button", name="Advanced Options").click()
    clicks.paste(page, dialog.get_by_label("Editor content"), '{"partition": "yesterday"}')
    expect(dialog.locator(".view-lines")).to_have_text('{"partition": "yesterday"}')
    page.get_by_test_id("trigger-dag-submit").click()
    expect(
        dialog.get_by_text("Invalid input for param partition: 'yesterday' is not a 'date'")
    ).to_be_visible()
    assert len(airflow.api.runs(PEAKS)) == before
