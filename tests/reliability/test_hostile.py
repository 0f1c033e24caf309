"""Whatever comes from outside: parsers answer or refuse, keys stay in their folder, nothing runs away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import md5
from itertools import cycle, repeat
from pathlib import PurePosixPath
from threading import Event
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_cca.api.allowed_hosts import check_link
from airflow_provider_cca.api.auth import Token
from airflow_provider_cca.api.error_responses import refusal, retry_after_seconds
from airflow_provider_cca.api.paging import MAX_PAGES, Listing, Page
from airflow_provider_cca.api.site_list import rows, whole
from airflow_provider_cca.core.files import RemoteFile, Site
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.retry import Retry
from airflow_provider_cca.core.timestamps import parse_stamp
from airflow_provider_cca.errors import CcaError, IncompleteListing, TruncatedSnapshot
from airflow_provider_cca.landing.lander import Lander
from airflow_provider_cca.landing.layout import MAX_KEY_BYTES, folder_of, safe_name
from airflow_provider_cca.landing.manifest import MANIFEST_NAME, Manifest
from airflow_provider_cca.landing.manifest_store import ManifestStore
from airflow_provider_cca.reports import REPORTS, Grain
from tests.support.memory_store import MemoryStore

ZIPS = Scope(REPORTS["cdr_compressed"])
DAY = Partition.parse("2026-03-01", Grain.DAY)

surrogates_too = st.text(st.characters(exclude_categories=()))
awkward = st.sampled_from(
    [
        *("../x", "/etc/passwd", "..", ".", "", "_manifest.json", "a\0b", "a\nb", "x" * 400, "é" * 200),
        *("A.CSV", "a.csv", "%2e%2e", "a/b\\c", " ", "~", "-rf", "CON", "x" * 255 + ".csv", "\ud800"),
    ]
)
names = surrogates_too | awkward
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | surrogates_too,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
stamps = st.sampled_from(
    ["12/14/2018T07:24:24+0000", "4/3/2019/2020T08:43:18+0000", "4/23/2019T00:00:00+0000"]
)
items = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values | st.just("c7779fb1"),
        "createdOn": stamps | json_values,
        "downloadLink": st.just("https://x.webex.com/f") | json_values,
        "a": json_values,
        "fileSize": st.integers(0, 10**6) | json_values | st.just(-1) | st.just(10**30),
        "checksum": st.just("89e68fa233398deace2300ea6b4e2b48") | json_values,
        "expiredOn": stamps | json_values,
        "downloadAttempts": json_values,
        "fileName": names | json_values,
        "metadata": json_values
        | st.lists(st.dictionaries(st.sampled_from(["key", "value"]), names | json_values)),
    },
)


def remote(name: str, number: int = 0) -> RemoteFile:
    return RemoteFile(
        str(number),
        name,
        "https://x.webex.com/f",
        1,
        md5(b"x").hexdigest(),
        datetime(2026, 3, 1, tzinfo=UTC),
        None,
        0,
        ZIPS,
        DAY,
    )


@given(names)
def test_a_key_is_one_plain_name_that_no_engine_skips(name: str) -> None:
    key = safe_name(name) or "empty"
    assert PurePosixPath("/store", key).parent == PurePosixPath("/store")
    assert key not in {".", "..", MANIFEST_NAME}
    assert key[0] not in "._"
    assert key.isprintable()
    assert len(key.encode()) <= MAX_KEY_BYTES


@given(names, names)
def test_different_names_have_different_keys(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


def landed(store: MemoryStore, files: Sequence[RemoteFile]) -> dict[str, str]:
    """The key of each file, by its id, when they have landed; what each holds is its own id."""
    lander = Lander(
        ManifestStore(store, Retry(Event())), lambda file: (one for one in [file.id.encode()]), workers=1
    )
    lander.land({(ZIPS, DAY): files}, lambda scope, partition: files)
    content = store.read(f"{folder_of(ZIPS, DAY)}/{MANIFEST_NAME}")
    return {entry.id: entry.key for entry in Manifest.from_json(content).files}


@settings(max_examples=40)
@given(st.lists(names, max_size=8))
def test_files_never_share_a_key_and_keep_the_one_they_have(given_names: list[str]) -> None:
    files = [
        replace(remote(name, number), size=len(str(number)), md5=md5(str(number).encode()).hexdigest())
        for number, name in enumerate(given_names)
    ]
    store = MemoryStore()
    keys = landed(store, files)
    assert len({key.casefold() for key in keys.values()}) == len(files)
    assert landed(store, [*reversed(files)]) == keys


@given(names.filter(bool))
def test_a_sites_folder_lies_in_the_destination(site: str) -> None:
    folder = folder_of(Scope(REPORTS["cdr"], site=site), DAY)
    first, second, third = folder.split("/")
    assert (first, second[:5], third) == ("cdr", "site=", "creation_date=2026-03-01")


@given(items)
def test_an_entry_is_a_usable_file_or_an_error_of_ours(item: dict[str, Any]) -> None:
    try:
        file = RemoteFile.from_api(item, ZIPS)
    except CcaError as error:
        assert len(str(error)) < 1000
    else:
        assert file.size >= 0
        assert RemoteFile.from_dict(json.loads(json.dumps(file.as_dict()))) == file


@given(json_values | items)
def test_any_json_is_a_value_or_an_error_of_ours(data: Any) -> None:
    answer = (
        data
        if isinstance(data, dict)
        else {"total": data, "items": data, "accessToken": data, "siteName": data}
    )
    for parse in (Site.from_api, Token.from_api, RemoteFile.from_dict, lambda a: Page.from_api(a, "x")):
        with suppress(CcaError):
            parse(answer)


@given(json_values)
def test_any_json_is_a_manifest_or_a_value_error(data: Any) -> None:
    with suppress(ValueError):
        Manifest.from_json(json.dumps(data).encode())


@given(st.binary())
def test_any_bytes_are_no_manifest(body: bytes) -> None:
    with pytest.raises(ValueError):
        Manifest.from_json(body)


@given(surrogates_too | stamps)
def test_a_stamp_is_a_moment_or_nothing(text: str) -> None:
    moment = parse_stamp(text)
    assert moment is None or moment.tzinfo is UTC


@given(surrogates_too)
def test_any_text_is_a_partition_or_an_error_of_ours(text: str) -> None:
    for grain in Grain:
        with suppress(CcaError):
            partition = Partition.parse(text, grain)
            assert Partition.parse(str(partition), grain) == partition


@given(st.integers(100, 599).filter(lambda s: s != 200), surrogates_too, surrogates_too)
def test_any_status_with_any_words_has_its_error(status: int, words: str, header: str) -> None:
    wait = retry_after_seconds(header, datetime.now(UTC))
    assert wait is None or wait >= 0
    assert isinstance(refusal(status, words, what="x", retry_after=wait), CcaError)


@given(surrogates_too | st.from_regex(r"https?://[^ ]{0,40}"))
def test_a_link_is_refused_unless_it_names_an_allowed_host(link: str) -> None:
    try:
        check_link(
            link, own_host="pcsprod.webex.com", download_hosts=["webex.com"], may_go_plain=lambda host: False
        )
    except CcaError:
        return
    host = link.split("//")[1].split("/")[0].split("?")[0].split("#")[0].split(":")[0].rstrip(".").lower()
    assert link.lower().startswith("https://")
    assert host == "webex.com" or host.endswith(".webex.com")


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_are_a_cut_site_list(chunks: list[bytes]) -> None:
    if b"Total:" not in b"".join(chunks):
        with pytest.raises(TruncatedSnapshot):
            list(whole(chunks))
    with suppress(TruncatedSnapshot):
        assert isinstance(list(rows(chunks)), list)


@example([(1, 0), (1, 0), (1, 0), (2, 2)])
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)), min_size=1, max_size=12))
def test_totals_that_lie_end_in_an_error_or_in_the_whole(pages: list[tuple[int, int]]) -> None:
    """A server whose every page claims another total: what is taken for complete has as many entries."""
    answers = cycle(pages)

    def fetch(start: int, size: int) -> Page:
        total, count = next(answers)
        return Page(total, [{"id": start + n} for n in range(count)])

    try:
        entries = Listing(fetch, "x", lambda n: None, dict).entries()
    except IncompleteListing:
        return
    totals = {total for total, _ in pages}
    assert len(entries) in totals or len(entries) > min(totals)  # a total that entries exceed counts nothing


def test_pages_without_end_are_given_up() -> None:
    asked = 0

    def fetch(start: int, size: int) -> Page:
        nonlocal asked
        asked += 1
        return Page(10**7, [{"id": start}])

    with pytest.raises(IncompleteListing, match="more than can be true"):
        Listing(fetch, "x", lambda n: None, dict).entries()
    assert asked <= MAX_PAGES


def test_a_site_list_of_many_rows_is_read_without_being_held() -> None:
    count = 400_000
    row = b"site|site.webex.com|1|UUID|SUB|4/23/2019T00:00:00+0000||\n" * 1000
    body = (
        chunk
        for part in ([b"SITENAME|SITEURL\n"], repeat(row, count // 1000), [b"Total:400000\n"])
        for chunk in part
    )
    assert sum(map(len, whole(body))) > 50 * count


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(TruncatedSnapshot, match="a line of more than"):
        for _ in whole(repeat(b"x" * 65536)):
            pass
