"""Where things go in the store, whatever they are called outside."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from threading import Event

import pytest

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.landing.lander import Landing
from airflow_provider_cca.landing.layout import assign_keys, folder_of, safe_name
from airflow_provider_cca.landing.manifest import LandedFile
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.store.opening import store_at

ZIPS = Scope(REPORTS["cdr_compressed"])
DAY = Partition.parse("2026-03-01", Grain.DAY)
BODY = b"body"
HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "...",
    ".hidden",
    "_manifest.json",
    "_MANIFEST.json",
    "_temporary",
    "a/b.csv",
    "a\\b.csv",
    "a\x00b.csv",
    "a\nb.csv",
    "\x1b[31m.csv",
    "a%2Fb.csv",
    "C:\\a.csv",
    "s3://bucket/a.csv",
    "a*?[b].csv",
    "müller.csv",
    "数据.csv",
    "\ud800.csv",
    "\u202egpj.csv",
    "x" * 400,
    "x" * 400 + ".csv",
    "ü" * 400 + ".csv",
    "." * 400,
    "%" * 400,
    "/" * 59 + "a",
    "/" * 60 + "a",
]


def file(name: str, id_: str = "1", body: bytes = BODY, hour: int = 7) -> RemoteFile:
    created = datetime(2026, 3, 1, hour, tzinfo=UTC)
    link = f"https://dl7.webex.com/{id_}"
    return RemoteFile(id_, name, link, len(body), md5(body).hexdigest(), created, None, 0, ZIPS, DAY)


def keys(*files: RemoteFile, landed: Iterable[LandedFile] = ()) -> list[str]:
    return [key for _, key in assign_keys(files, landed)]


def landed(files: list[RemoteFile]) -> list[LandedFile]:
    return [
        LandedFile(f.id, f.name, key, f.size, f.md5, "2026-03-01T07:00:00Z", None)
        for f, key in assign_keys(files, ())
    ]


@pytest.mark.parametrize(
    "name",
    [
        "CCA_SP_CDR_Daily_20190401.zip",
        "Annuity_CCA_SP_Peak_Port_Usage_Customer_Calendar_Monthly_201902.csv",
        "acme_CCA_SP_CDR_Daily_20181213.csv",
        "acme (copy), 2+2=4 @home~1.csv",
    ],
)
def test_the_names_of_the_document_are_kept_as_they_are(name):
    assert keys(file(name)) == [name]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_plain_name_in_its_folder(name):
    (key,) = keys(file(name))
    assert re.fullmatch(r"[^._/\\*?#][^/\\*?#]*", key)
    assert key.isprintable()
    assert len(key.encode()) <= 200


def test_hostile_names_never_share_a_key():
    files = [file(name, str(n)) for n, name in enumerate(HOSTILE)]
    assert len({key.casefold() for key in keys(*files)}) == len(HOSTILE)


def test_long_names_that_differ_at_their_end_differ_and_keep_their_extension():
    first, second = keys(file("x" * 400 + "1.csv", "1"), file("x" * 400 + "2.csv", "2"))
    assert first != second
    assert first.endswith(".csv")
    assert second.endswith(".csv")


def test_a_file_without_a_name_is_named_by_its_id():
    assert keys(file("", "c7779fb1-3cd6")) == ["c7779fb1-3cd6"]
    assert keys(file("", "../x")) == ["%2E.%2Fx"]


def test_files_of_the_same_name_keep_apart():
    first, second = keys(file("a.csv", "1"), file("a.csv", "2"))
    assert first == "a.csv"
    assert re.fullmatch(r"a~[0-9a-f]{12}\.csv", second)


def test_names_that_differ_in_case_alone_keep_apart():
    found = keys(file("A.csv", "1"), file("a.CSV", "2"), file("a.csv", "3"))
    assert len({key.casefold() for key in found}) == 3


def test_two_files_that_share_id_and_name_keep_apart():
    first, second = keys(file("a.csv", "1", b"one"), file("a.csv", "1", b"two"))
    assert first != second


def test_the_very_same_entry_three_times_over_gets_three_keys():
    assert len(set(keys(*[file("a.csv")] * 3))) == 3


def test_a_name_that_forges_a_mark_keeps_apart():
    first, second = file("a.csv", "1"), file("a.csv", "2")
    marked = keys(first, second)[1]
    forged = file(marked, "0")
    assert len({*keys(forged, first, second)}) == 3


def test_the_order_of_the_listing_does_not_matter():
    files = [
        file("a.csv", "3"),
        file("a.csv", "1"),
        file("A.csv", "2"),
        file("a.csv", "1", b"other"),
        file("b"),
    ]
    expected = dict(assign_keys(files, ()))
    for order in itertools.permutations(files):
        assert dict(assign_keys(order, ())) == expected


def test_a_landed_file_keeps_its_key_when_an_older_one_of_its_name_appears():
    before = [file("a.csv", "2", hour=9)]
    older = file("a.csv", "1", hour=1)
    found = dict(assign_keys([older, *before], landed(before)))
    assert found[before[0]] == "a.csv"
    assert found[older] != "a.csv"


def test_a_landed_file_keeps_its_key_when_its_content_changes():
    before = [file("a.csv", "1"), file("a.csv", "2")]
    changed = replace(before[1], md5="0" * 32, size=9)
    assert dict(assign_keys([before[0], changed], landed(before)))[changed] == keys(*before)[1]


def test_a_new_file_never_takes_the_key_of_one_that_is_no_longer_listed():
    gone = landed([file("a.csv", "1")])
    assert keys(file("A.CSV", "2"), landed=gone) != ["a.csv"]
    assert keys(file("A.CSV", "2"), landed=gone)[0].casefold() != "a.csv"


def test_landing_two_files_that_share_id_and_name_again_downloads_nothing(tmp_path: Path):
    bodies = [b"one", b"three"]
    both = [file("a.csv", "1", body) for body in bodies]
    landing = Landing(
        store_at(tmp_path),
        lambda f: (body for body in bodies if len(body) == f.size),
        Retry(Event(), first_wait=0),
        workers=1,
    )
    downloaded = [landing.land({(ZIPS, DAY): both})[0].downloaded for _ in range(2)]
    assert downloaded == [2, 0]


@pytest.mark.parametrize(
    ("report", "site", "level", "partition", "folder"),
    [
        ("cdr_compressed", None, None, "2026-03-01", "cdr_compressed/creation_date=2026-03-01"),
        ("cdr", "acme", None, "2026-03-01", "cdr/site=acme/creation_date=2026-03-01"),
        (
            "peak_port_daily",
            None,
            "site",
            "2026-03-01",
            "peak_port_daily/level=site/creation_date=2026-03-01",
        ),
        (
            "peak_port_monthly",
            None,
            "partner",
            "2026-03",
            "peak_port_monthly/level=partner/creation_month=2026-03",
        ),
        ("site_list", None, None, "2026-03-01", "site_list/snapshot_date=2026-03-01"),
        ("cdr", "../x", None, "2026-03-01", "cdr/site=%2E.%2Fx/creation_date=2026-03-01"),
        ("cdr", "a/b", None, "2026-03-01", "cdr/site=a%2Fb/creation_date=2026-03-01"),
    ],
)
def test_each_report_has_its_folders(report, site, level, partition, folder):
    row = REPORTS[report]
    assert folder_of(Scope(row, site, level), Partition.parse(partition, row.grain)) == folder


def test_a_safe_name_gives_the_name_back():
    assert safe_name("a/b ü.csv") == "a%2Fb ü.csv"
    assert safe_name("100%.csv") == "100%25.csv"
