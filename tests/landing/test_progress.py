"""What a long landing says of itself, and how seldom."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Event

import pytest

from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.errors import PartlyLanded, WrongSize
from airflow_provider_cca.landing.lander import MANY_TO_LOG, Lander
from airflow_provider_cca.landing.manifest_store import ManifestStore
from airflow_provider_cca.landing.progress import Amount, Progress, in_units, in_words
from airflow_provider_cca.reports import Grain
from airflow_provider_cca.store.opening import store_at
from tests.landing.test_lander import ZIPS, Server, listed

MB = 1_000_000
FILE = listed(b"content")


class Watched:
    """A landing of so many files of a megabyte, whose time passes when it is told to."""

    def __init__(self, files: int) -> None:
        self.now, self.said = 0.0, []
        self.progress = Progress(self.said.append, lambda: self.now)
        self.progress.expect(files, files * MB)

    def fetch(self, files: int = 1, *, seconds: float) -> None:
        """Let files come in, one after the other, each in two chunks."""
        for _ in range(files):
            with self.progress.fetching(FILE) as count:
                for _ in range(2):
                    self.now += seconds / 2
                    count(MB // 2)


def test_a_line_tells_files_bytes_rate_and_what_is_left() -> None:
    watched = Watched(600)
    watched.fetch(100, seconds=0.301)
    assert watched.said == ["Fetched 99 of 600 files, 100.0 MB of 600.0 MB, 3.3 MB/s, about 3 min left"]


def test_a_landing_that_is_over_in_30_seconds_says_nothing() -> None:
    watched = Watched(10_000)
    watched.fetch(10_000, seconds=0.0029)
    assert watched.said == []


def test_ten_minutes_of_many_small_files_are_twenty_lines() -> None:
    watched = Watched(36_500)
    watched.fetch(36_500, seconds=0.01645)
    assert len(watched.said) == 20


def test_a_large_file_is_seen_to_move_before_it_is_whole() -> None:
    watched = Watched(1)
    watched.fetch(seconds=60)
    assert watched.said[0].startswith("Fetched 0 of 1 files, 500.0 kB of 1.0 MB, 16.7 kB/s, about 30 s left")


def test_the_rate_is_that_of_the_time_since_the_last_line() -> None:
    watched = Watched(62)
    watched.fetch(30, seconds=1)
    watched.fetch(1, seconds=100)
    assert [line.split(", ")[2] for line in watched.said] == ["1.0 MB/s", "10.0 kB/s", "10.0 kB/s"]


def test_bytes_of_an_attempt_that_failed_count_no_longer() -> None:
    watched = Watched(1)
    with pytest.raises(WrongSize), watched.progress.fetching(FILE) as count:
        count(MB)
        raise WrongSize("cut")
    watched.fetch(seconds=30)
    assert watched.said[-1].startswith("Fetched 0 of 1 files, 1.0 MB of 1.0 MB")
    assert watched.progress.downloaded == {("cdr_compressed", None): Amount(1, MB)}


def test_a_file_that_is_found_in_the_store_is_not_waited_for() -> None:
    watched = Watched(2)
    watched.progress.spare(MB)
    watched.fetch(seconds=30)
    assert watched.said[-1].startswith("Fetched 0 of 1 files, 1.0 MB of 1.0 MB")


def test_threads_that_count_at_once_lose_nothing() -> None:
    watched = Watched(0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: watched.fetch(100, seconds=0), range(8)))
    assert watched.progress.downloaded == {("cdr_compressed", None): Amount(800, 800 * MB)}


def test_a_landing_counts_what_it_fetches_and_not_what_was_there(tmp_path) -> None:
    server, there, new = Server(), listed(b"there"), listed(b"new", "b.zip", "2")
    server.has(there, b"there")
    server.has(new, b"cut", b"new"[:1], b"new")
    for files in ([there], [there, new]):
        landing = Lander(
            ManifestStore(store_at(tmp_path), Retry(Event(), first_wait=0)), server.fetch, workers=2
        )
        landing.land({(ZIPS, there.partition): files}, None)
    assert landing.progress.downloaded == {("cdr_compressed", None): Amount(1, 3)}
    assert (landing.progress.expected, landing.manifests.retry.repeats.count) == (Amount(1, 3), 2)


def test_what_landed_is_known_also_when_another_partition_failed(tmp_path) -> None:
    server, day = Server(), Partition(date(2026, 3, 1), Grain.DAY)
    good = server.has(listed(b"good"), b"good")
    bad = server.has(listed(b"bad", id_="2"), b"wrong")
    landing = Lander(ManifestStore(store_at(tmp_path), Retry(Event(), first_wait=0)), server.fetch, workers=2)
    with pytest.raises(PartlyLanded):
        landing.land({(ZIPS, day): [good], (ZIPS, Partition(date(2026, 3, 2), Grain.DAY)): [bad]}, None)
    assert [(one.partition, one.files) for one in landing.landed] == [(day, 1)]
    assert landing.progress.downloaded == {("cdr_compressed", None): Amount(1, 4)}


@pytest.mark.parametrize(("partitions", "lines"), [(MANY_TO_LOG, MANY_TO_LOG), (365, 1)])
def test_a_year_does_not_flood_the_log(tmp_path, caplog, partitions, lines) -> None:
    days = [Partition(date(2025, 1, 1) + timedelta(n), Grain.DAY) for n in range(partitions)]
    with caplog.at_level(logging.INFO):
        Lander(ManifestStore(store_at(tmp_path), Retry(Event())), Server().fetch, workers=4).land(
            {(ZIPS, day): [] for day in days}, lambda *place: []
        )
    assert len(caplog.messages) == lines


@pytest.mark.parametrize(
    ("size", "says"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (2e10, "20.0 GB"), (5e13, "50.0 TB")],
)
def test_bytes_are_said_in_units(size, says) -> None:
    assert in_units(size) == says


@pytest.mark.parametrize(
    ("seconds", "says"), [(3, "3 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (36_000, "10.0 h")]
)
def test_time_is_said_roughly(seconds, says) -> None:
    assert in_words(seconds) == says
