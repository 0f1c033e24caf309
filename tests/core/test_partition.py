"""A partition: when an empty listing of it is believed. A scope: how it is shown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.reports import REPORTS, Grain


@pytest.mark.parametrize(
    ("text", "grain", "settles"),
    [
        ("2026-03-01", Grain.DAY, datetime(2026, 3, 4, tzinfo=UTC)),
        ("2026-02", Grain.MONTH, datetime(2026, 3, 3, tzinfo=UTC)),
    ],
)
def test_a_partition_is_settled_48_hours_after_its_end_in_utc(text, grain, settles):
    partition = Partition.parse(text, grain)
    assert not partition.is_settled(settles - timedelta(seconds=1))
    assert partition.is_settled(settles)
    assert partition.is_settled(settles.astimezone(timezone(timedelta(hours=-8))))


def test_the_last_of_all_days_is_not_settled():
    assert not Partition(date.max).is_settled(datetime(2026, 3, 4, tzinfo=UTC))


def test_the_name_of_a_site_is_shown_on_one_line_and_cut() -> None:
    shown = str(Scope(REPORTS["cdr"], "a\n\x1b[31mforged line " + "x" * 1000))
    assert shown.isprintable()
    assert shown.startswith("cdr a [31mforged line xxx")
    assert len(shown) < 320
