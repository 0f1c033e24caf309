"""A short form of `make year`: forty days of two reports land, are damaged, and are made whole again.

With an Airflow and a store of its own: to be whole or not is said of all that a store holds.
"""

from __future__ import annotations

import random

import pytest

from .damage import differences
from .hurry import SETTINGS, hurry
from .processes import children
from .soak import LEVELS
from .stack import API_PORT, airflow_stack
from .year import Year, server

DAYS = 40
REPORTS = ("cdr_compressed", "peak_port_daily")

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("year") / "store"


@pytest.fixture(scope="module")
def outcome(storage, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    hurry(home)
    with (
        server().serve() as cca,
        children(home) as processes,
        airflow_stack(
            processes,
            connection=cca.connection_json,
            storage=storage,
            port=API_PORT + 3,
            scheduled=False,
            settings=SETTINGS,
        ) as airflow,
    ):
        outcome = Year(cca, airflow, storage, DAYS, REPORTS).run(random.Random(1))
    print(outcome)
    return outcome


def test_all_lands_and_what_is_damaged_is_found_and_restored(outcome):
    assert outcome.wrong == []
    assert outcome.files >= DAYS * 4


def test_only_what_was_gone_is_downloaded_again(outcome):
    assert len(outcome.healed.downloads) == len(outcome.damage.gone) == 20
    assert outcome.healed.returned["healed"] == 25
    assert outcome.again.returned["complete"] == len(outcome.truth)


def test_a_range_logs_in_once_a_task_and_asks_three_listings_a_scope(outcome):
    tasks = 4  # one for each scope; the sites are listed for "cdr" alone
    listings = 3  # the range, and the two that prove that its entries can be parted by date
    assert (outcome.landed.calls["token"], outcome.landed.calls["list"]) == (tasks, tasks * listings)


def test_each_landing_updates_the_assets_of_its_reports(outcome):
    expected = ["cca/cdr_compressed", *(f"cca/peak_port_daily/level={level}" for level in sorted(LEVELS))]
    assert sorted(event["name"] for event in outcome.landed.events) == expected
    assert sum(event["extra"]["downloaded"] for event in outcome.healed.events) == len(outcome.damage.gone)
    assert (outcome.dry_run.events, outcome.again.events) == ([], [])


def test_a_store_with_a_wrong_byte_would_be_noticed(outcome, storage):
    object_ = next(path for path in sorted(storage.rglob("*.zip")))
    content = object_.read_bytes()
    object_.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    wrong = list(differences(storage, outcome.truth))
    object_.write_bytes(content)
    assert len(wrong) == 2
