"""The list of sites: whole or refused, however its bytes arrive."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from airflow_provider_cca.api.site_list import SiteRow, rows, whole
from airflow_provider_cca.errors import TruncatedSnapshot
from airflow_provider_cca.landing.layout import snapshot_name

HEADER = (
    b"SITENAME|SITEURL|SITEID|SITEUUID|SUBSCRIPTIONREFID|SUBSCRIPTIONSTARTTIME|SUBSCRIPTIONENDTIME"
    b"|LASTSITEUPDATE\n"
)
ROW_1 = (
    b"sitename1|sitename1.webex.com|12345678|4C671234560AB136E053AB06FC0A3F65|SUB1234567"
    b"|4/23/2019T00:00:00+0000|04/23/2020T00:00:00+0000|04/23/2019T00:00:00+0000\n"
)
ROW_2 = (
    b"sitename2|sitename2.webex.com|12345679|4C671234560AB136E053AB06FC0A3F66|SUB1234567"
    b"|4/23/2019T00:00:00+0000|04/23/2020T00:00:00+0000|04/23/2019T00:00:00+0000\n"
)
EXAMPLE = HEADER + ROW_1 + ROW_2 + b"Total:2"
BOM = b"\xef\xbb\xbf"
SITE_1 = SiteRow(
    "sitename1",
    "sitename1.webex.com",
    "12345678",
    "4C671234560AB136E053AB06FC0A3F65",
    "SUB1234567",
    datetime(2019, 4, 23, tzinfo=UTC),
    datetime(2020, 4, 23, tzinfo=UTC),
    datetime(2019, 4, 23, tzinfo=UTC),
)

WHOLE = {
    "as in the document": EXAMPLE,
    "with a newline at the end": EXAMPLE + b"\n",
    "CRLF": EXAMPLE.replace(b"\n", b"\r\n") + b"\r\n",
    "BOM": BOM + EXAMPLE,
    "BOM and CRLF": BOM + EXAMPLE.replace(b"\n", b"\r\n"),
    "blank lines": EXAMPLE.replace(b"\n", b"\n\n") + b"\n\n \n",
    "blank after Total": EXAMPLE.replace(b"Total:2", b"Total: 2 "),
    "blanks around the colon": EXAMPLE.replace(b"Total:2", b" total : 2"),
    "words after Total": EXAMPLE.replace(b"Total:2", b"TOTAL: 2 sites"),
    "separators after Total": EXAMPLE + b"|||||||",
    "quoted Total": EXAMPLE.replace(b"Total:2", b'"Total:2"'),
    "Total in two cells": EXAMPLE.replace(b"Total:2", b"Total|2"),
    "CR": EXAMPLE.replace(b"\n", b"\r"),
    "commas": EXAMPLE.replace(b"|", b","),
    "semicolons": EXAMPLE.replace(b"|", b";") + b";;;;;;;",
    "quoted cells": b'"' + EXAMPLE.replace(b"|", b'"|"').replace(b"\n", b'"\n"') + b'"',
    "a line break in a cell": EXAMPLE.replace(b"sitename2.webex.com", b'"site\r\nname2"'),
    "a separator in a cell": EXAMPLE.replace(b"sitename2.webex.com", b'"site|name2"'),
    "quotes of no CSV": EXAMPLE.replace(b"sitename2.webex.com", b'the 5" site'),
    "UTF-16 with a BOM": EXAMPLE.decode().encode("utf-16"),
    "UTF-16 without": EXAMPLE.decode().encode("utf-16-le"),
    "UTF-16, big end first": EXAMPLE.decode().encode("utf-16-be"),
    "a gzip file": gzip.compress(EXAMPLE),
}


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def test_the_snapshot_has_the_name_of_the_document():
    assert snapshot_name(date(2026, 3, 1)) == "CCA_SITES_LIST_20260301.csv"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_a_whole_list_passes_unchanged_in_any_pieces(body, size):
    assert b"".join(whole(pieces(body, size))) == body


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_its_rows_are_read_in_any_pieces(body, size):
    found = list(rows(pieces(body, size)))
    assert [row.site_name for row in found] == ["sitename1", "sitename2"]
    assert found[0] == SITE_1


def test_a_list_that_is_cut_anywhere_is_refused():
    for cut in range(len(EXAMPLE)):
        with pytest.raises(TruncatedSnapshot):
            list(whole([EXAMPLE[:cut]]))


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"Total:",
        b"Total:1",
        b"Total:3",
        b"Total:20",
        b"Total:-2",
        b"Total:two",
        b"Total:2\n" + ROW_1,
        b"Total:\xd9\xa2",
        b"Total:" + b"9" * 5000,
    ],
)
def test_a_total_that_is_missing_or_wrong_is_refused(end):
    with pytest.raises(TruncatedSnapshot):
        list(whole([HEADER + ROW_1 + ROW_2 + end]))


def test_all_that_came_is_passed_on_before_the_end_is_judged():
    chunks = whole([HEADER, ROW_1])
    assert [next(chunks), next(chunks)] == [HEADER, ROW_1]
    with pytest.raises(TruncatedSnapshot):
        next(chunks)


@pytest.mark.parametrize("body", [HEADER + b"Total:0", HEADER + b"Total:0\n", HEADER + b"\r\nTotal:0\r\n"])
def test_a_partner_without_sites_has_a_whole_empty_list(body):
    assert b"".join(whole([body])) == body
    assert list(rows([body])) == []


@pytest.mark.parametrize("body", [b"", b"\n\n", BOM, b"<html>sorry</html>", b'{"message": "no"}', HEADER])
def test_what_is_no_list_is_refused(body):
    with pytest.raises(TruncatedSnapshot):
        list(whole([body]))


@pytest.mark.parametrize("start", [b"", b"\n", BOM, ROW_1, b"sorry\n", b"<SITENAME>\n"])
def test_a_list_without_the_names_of_its_columns_is_refused(start):
    """An empty body with a `Total:0` must not take the place of a good list."""
    with pytest.raises(TruncatedSnapshot, match="does not begin with the names of its columns"):
        list(whole([start + b"Total:0"]))


def test_no_answer_at_all_is_refused():
    with pytest.raises(TruncatedSnapshot):
        list(whole([]))


def test_a_line_without_end_is_refused_instead_of_kept():
    with pytest.raises(TruncatedSnapshot, match="line of more than"):
        list(whole(b"x" * 65536 for _ in range(1000)))


def test_a_total_that_counts_the_header_too_is_believed_when_it_comes_again(caplog):
    """A row that was lost on the way would not be lost twice."""
    body, seen = HEADER + ROW_1 + ROW_2 + b"Total:3", set()
    with pytest.raises(TruncatedSnapshot, match="says Total:3 but has 2 rows"):
        list(whole([body], seen))
    assert b"".join(whole([body], seen)) == body
    assert "says Total:3 and has 2 rows: it counts its header" in caplog.text


def test_two_rows_too_few_are_never_believed():
    seen: set[int] = set()
    for _ in range(3):
        with pytest.raises(TruncatedSnapshot):
            list(whole([HEADER + ROW_1 + b"Total:3"], seen))


def test_a_list_without_end_is_refused():
    with pytest.raises(TruncatedSnapshot, match="more than 32 MiB"):
        for _ in whole(ROW_1 * 10_000 for _ in iter(int, 1)):
            pass


@pytest.mark.parametrize("content", [b" " * (33 << 20), ROW_1 * 250_000])
@pytest.mark.parametrize("read", [whole, rows])
def test_a_gzip_file_that_inflates_without_end_is_refused(read, content):
    with pytest.raises(TruncatedSnapshot, match=r"more than 32 MiB|line of more than"):
        list(read([gzip.compress(content, 1)]))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (gzip.compress(EXAMPLE, mtime=0)[:-9], "gzip that breaks off"),
        (b"\x1f\x8b" + EXAMPLE, "gzip that is damaged"),
        (HEADER + b'"open|cell\nTotal:1', "ends within a quoted cell"),
        (HEADER + ROW_1 + b"\x1b[2J sorry", r"does not end with its Total:N but with '\[2J sorry'"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(body, says):
    with pytest.raises(TruncatedSnapshot, match=says):
        list(whole([body]))


def test_columns_are_found_by_their_names():
    body = b"LASTSITEUPDATE|NEW|sitename\n04/23/2019T00:00:00+0000|?|acme\nTotal:1"
    assert next(rows([body])) == SiteRow(
        "acme", "", "", "", "", None, None, datetime(2019, 4, 23, tzinfo=UTC)
    )


def test_a_stamp_that_is_empty_or_malformed_is_none():
    body = b"SITENAME|SUBSCRIPTIONSTARTTIME|SUBSCRIPTIONENDTIME\nacme||04/03/2019/2020T08:43:18+0000\nTotal:1"
    (row,) = rows([body])
    assert (row.subscription_start_time, row.subscription_end_time) == (None, None)


@pytest.mark.parametrize("line", [b"acme", b"acme|a|b|c|d|e|f|g|h|i|j", b"acme|\xff\xfe"])
def test_a_row_with_too_few_too_many_or_strange_cells_is_read_as_far_as_it_goes(line):
    assert [row.site_name for row in rows([HEADER + line + b"\nTotal:1"])] == ["acme"]


def test_letters_beyond_ascii_survive_a_cut_in_their_middle():
    body = HEADER + "Müller-数据|x\nTotal:1".encode()
    assert [row.site_name for row in rows(pieces(body, 1))] == ["Müller-数据"]
