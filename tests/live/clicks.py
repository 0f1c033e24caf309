"""What a user clicks in Airflow's forms; for the tests and for the pictures of the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .stack import Stack

CONNECTION_TYPE = "Cisco Cloud Connected Audio (CCA)"
# To a screen reader both are dialogs.
DIALOG = "[role=dialog][data-scope=dialog]"
CALENDAR = "[role=dialog][data-scope=popover]:visible"


def fill_in_connection(page: Page, airflow: Stack, conn_id: str, fields: Mapping[str, Any]) -> Locator:
    """Open the form of a new connection and fill in its standard fields; returns its dialog, not saved."""
    page.goto(f"{airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.locator(DIALOG)
    form.get_by_label("Connection ID").fill(conn_id)
    form.get_by_role("combobox", name="Connection Type").fill("cisco")
    page.get_by_role("option", name=CONNECTION_TYPE).click()
    for label, name in (
        ("Host", "host"),
        ("Machine account", "login"),
        ("Machine account password", "password"),
        ("Port", "port"),
        ("Schema (https, http)", "schema"),
    ):
        form.get_by_label(label, exact=True).fill(str(fields[name]))
    return form


def fill_in_extras(form: Locator, hosts: str, connections: int) -> None:
    """Open the extras of the connection's form and fill in two of them."""
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.locator("#element_download_hosts").fill(hosts)
    form.get_by_role("spinbutton", name="Connections").fill(str(connections))


def press_test(page: Page, form: Locator, conn_id: str) -> None:
    """Save the connection's form, then press Test in the row of the connection."""
    form.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=conn_id, exact=True))
    row.get_by_role("button", name="Test Connection").click()


def open_trigger(page: Page, airflow: Stack, dag_id: str) -> Locator:
    """Press Trigger on the page of a DAG; returns the dialog, with the fields of the params in it."""
    page.goto(f"{airflow.url}/dags/{dag_id}")
    page.get_by_test_id("trigger-dag-button").click()
    dialog = page.locator(DIALOG)
    dialog.locator("#element_partition").wait_for()
    return dialog


def open_backfill(page: Page, airflow: Stack, dag_id: str) -> Locator:
    """Press Trigger on the page of a DAG, and choose Backfill."""
    dialog = open_trigger(page, airflow, dag_id)
    dialog.get_by_text("Run this Dag for a range of dates").click()
    return dialog


def field_of(page: Page, dialog: Locator, label: str) -> Locator:
    """The field of a dialog that has this label."""
    return dialog.get_by_role("group").filter(has=page.get_by_text(label, exact=True))


def pick(page: Page, dialog: Locator, label: str, day: date) -> None:
    """Choose a day in the calendar of a field of the backfill dialog, and close the calendar."""
    field = field_of(page, dialog, label)
    field.get_by_role("paragraph").click()
    calendar = page.locator(CALENDAR)
    shown = datetime.strptime(calendar.get_by_text(re.compile(r"^\w{3} \d{4}$")).inner_text(), "%b %Y")
    for _ in range(12 * (shown.year - day.year) + shown.month - day.month):
        calendar.locator("button:has(+ p)").click()
    expect(calendar.get_by_text(f"{day:%b %Y}", exact=True)).to_be_visible()
    # The last days of the month before stand in front of the first, the first of the next behind the last.
    days = calendar.get_by_role("button", name=str(day.day), exact=True)
    (days.first if day.day < 15 else days.last).click()
    page.keyboard.press("Escape")
    expect(calendar).to_be_hidden()
    expect(field).to_contain_text(f"{day:%b %d, %Y}")


def paste(page: Page, editor: Locator, text: str) -> None:
    """Replace what is in an editor. Pasted, since it completes brackets in what is typed."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    editor.focus()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("ControlOrMeta+V")
