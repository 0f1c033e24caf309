"""Where things go in the store, whatever they are called outside."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import md5
from itertools import islice
from pathlib import Path
from threading import Event

import pytest

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.landing.commit import Transaction
from airflow_provider_cca.landing.lander import Lander, ServerFiles
from airflow_provider_cca.landing.layout import folder_of, is_key, marked_keys, plain_names, safe_name
from airflow_provider_cca.landing.manifest_store import Folder, ManifestStore
from airflow_provider_cca.landing.progress import Progress
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.store.opening import store_at
from tests.support.memory_store import MemoryStore

ZIPS = Scope(REPORTS["cdr_compressed"])
DAY = Partition.parse("2026-03-01", Grain.DAY)
BODY = b"body"
BODIES: dict[str, bytes] = {}
"""By MD5: what the server gives."""
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
    BODIES[md5(body).hexdigest()] = body
    link = f"https://dl7.webex.com/{id_}"
    return RemoteFile(id_, name, link, len(body), md5(body).hexdigest(), created, None, 0, ZIPS, DAY)


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., list[str]]:
    """Land these files as a partition, after others that have landed there; gives their keys."""

    def act(*files: RemoteFile) -> list[str]:
        def fetch(file: RemoteFile) -> Iterator[bytes]:
            yield BODIES[file.md5]

        manifests = ManifestStore(store_at(tmp_path), Retry(Event()))
        Lander(manifests, fetch, 2).land({(ZIPS, DAY): files}, lambda *place: files)
        entries = manifests.read(folder_of(ZIPS, DAY)).manifest.files
        named = {(entry.id, entry.name, entry.md5): entry.key for entry in entries}
        return [named[file.id, file.name, file.md5] for file in files]

    return act


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
    assert safe_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_plain_name_in_its_folder(name):
    key = safe_name(name)
    assert is_key(key)
    assert re.fullmatch(r"[^._/\\*?#][^/\\*?#]*", key)
    assert key.isprintable()
    assert len(key.encode()) <= 200


def test_hostile_names_never_share_a_key(keys):
    """Though all of them have the same content."""
    files = [file(name, str(n)) for n, name in enumerate(HOSTILE)]
    assert len({key.casefold() for key in keys(*files)}) == len(HOSTILE)


def test_long_names_that_differ_at_their_end_differ_and_keep_their_extension():
    first, second = safe_name("x" * 400 + "1.csv"), safe_name("x" * 400 + "2.csv")
    assert first != second
    assert first.endswith(".csv")
    assert second.endswith(".csv")


def test_a_file_without_a_name_is_named_by_its_id(keys):
    assert keys(file("", "c7779fb1-3cd6")) == ["c7779fb1-3cd6"]
    assert keys(file("", "../x")) == ["%2E.%2Fx"]


def test_of_two_files_of_one_name_the_older_has_it(keys):
    second, first = file("a.csv", "2", b"two", hour=8), file("a.csv", "1", b"one")
    assert keys(second, first) == [f"a.{second.md5[:8]}.csv", "a.csv"]


@pytest.mark.parametrize("bodies", [(BODY, BODY, BODY), (b"1", b"2", b"3")], ids=["one content", "three"])
def test_names_that_differ_in_case_alone_keep_apart(keys, bodies):
    """On a disk that ignores case they would be one object, which is moved when one of them is revised."""
    found = keys(
        *(file(name, name, body) for name, body in zip(("A.csv", "a.CSV", "a.csv"), bodies, strict=True))
    )
    assert len({key.casefold() for key in found}) == 3


def test_two_files_that_share_id_and_name_keep_apart(keys):
    both = file("a.csv", "1", b"one"), file("a.csv", "1", b"two")
    first, second = keys(*both)
    assert first != second
    assert keys(*both) == [first, second]


def test_the_very_same_entry_three_times_over_is_named_once(keys, tmp_path):
    assert keys(*[file("a.csv")] * 3) == ["a.csv"] * 3
    manifest = ManifestStore(store_at(tmp_path), Retry(Event())).read(folder_of(ZIPS, DAY)).manifest
    assert len(manifest.files) == 1


def test_a_name_that_forges_a_mark_keeps_apart(keys):
    first, second = file("a.csv", "1", b"one"), file("a.csv", "2", b"two")
    forged = file(f"a.{second.md5[:8]}.csv", "0", b"zero")
    assert len({*keys(forged, first, second)}) == 3


def test_content_whose_first_digits_are_taken_gets_all_of_them():
    """8 digits of an MD5 are the same for one pair in some 77,000 contents."""
    assert [*islice(marked_keys("a.csv", "0" * 32), 2)] == [f"a.{'0' * 32}.csv", f"a.{'0' * 32}.2.csv"]
    assert plain_names(f"a.{'0' * 32}.2.csv") == {f"a.{'0' * 32}.2.csv", "a.csv"}
    assert plain_names("a.01234567.csv") == {"a.01234567.csv", "a.csv"}
    assert plain_names("a.0123456.csv") == {"a.0123456.csv"}
    # Of a name without an extension the mark looks like one.
    assert "c7779fb1-3cd6" in plain_names("c7779fb1-3cd6.01234567") & plain_names("c7779fb1-3cd6.01234567.2")


def test_the_order_of_the_listing_does_not_matter():
    files = [
        file("a.csv", "3", b"three"),
        file("a.csv", "1", b"one"),
        file("A.csv", "2", b"two"),
        file("a.csv", "1", b"other"),
        file("b"),
    ]
    found = set()
    for order in itertools.permutations(files):
        transaction = Transaction(
            ManifestStore(MemoryStore(), Retry(Event())),
            folder_of(ZIPS, DAY),
            {},
            ServerFiles(
                (ZIPS, DAY), order, lambda *place, order=order: order, lambda file: iter(()), Progress()
            ),
        )
        jobs = transaction.begin(Folder(folder_of(ZIPS, DAY)))
        found.add(frozenset((next(transaction._keys(job, set()))[0], job.file.md5) for job in jobs))
    assert len(found) == 1


def test_a_landed_file_keeps_its_key_when_an_older_one_of_its_name_appears(keys):
    before, older = file("a.csv", "2", b"two", hour=9), file("a.csv", "1", b"one", hour=1)
    assert keys(before) == ["a.csv"]
    assert keys(older, before) == [f"a.{older.md5[:8]}.csv", "a.csv"]


def test_a_new_file_never_takes_the_key_of_one_that_is_no_longer_listed(keys):
    keys(file("a.csv", "1", b"one"))
    (key,) = keys(file("A.CSV", "2", b"two"))
    assert key.casefold() != "a.csv"


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
