"""The answers of the API document, read as values; and what is refused to be read."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from airflow_provider_cca.api.auth import Token
from airflow_provider_cca.core.files import RemoteFile, Site
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.core.timestamps import iso, parse_stamp
from airflow_provider_cca.errors import InvalidArgument, MalformedListing
from airflow_provider_cca.reports import REPORTS, Grain

CDR = Scope(REPORTS["cdr"], site="acme")
ZIPS = Scope(REPORTS["cdr_compressed"])
DAILY = Scope(REPORTS["peak_port_daily"], level="customer")
MONTHLY = Scope(REPORTS["peak_port_monthly"], level="customer")
HOST = "https://dl7.webex.com/pcs/api/v1"

NEW_CDR = {
    "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "createdOn": "12/14/2018T07:24:24+0000",
    "a": f"{HOST}/cdr/acme/c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "fileSize": 10101,
    "checksum": "89e68fa233398deace2300ea6b4e2b48",
    "type": "daily",
    "expiredOn": "04/22/2020T08:43:18+0000",
    "downloadAttempts": 0,
    "metadata": [
        {"key": "lastConferencaDate", "value": "12-13-2018"},
        {"key": "humanReadableFileName", "value": "acme_CCA_SP_CDR_Daily_20181213.csv"},
    ],
}
ARCHIVED_CDR = {
    "id": "a9d77d43-8bc6-4e35-a32e-9b009a090c29",
    "createdOn": "04/02/2019T07:11:18+0000",
    "downloadLink": f"{HOST}/cdr/acme/a9d77d43-8bc6-4e35-a32e-9b009a090c29",
    "fileSize": 24981,
    "checksum": "b968201cb557d1852e87a7e11006f662",
    "type": "daily",
    "expiredOn": "04/22/2020T06:49:20+0000",
    "downloadAttempts": 0,
    "metadata": [
        {"key": "lastConferencaDate", "value": "04-01-2019"},
        {"key": "humanReadableFileName", "value": "acme_CCA_SP_CDR_Daily_20190401.csv"},
    ],
}
ZIP_1 = {
    "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "createdOn": "03/31/2019T07:24:24+0000",
    "downloadLink": f"{HOST}/cdr/daily/compression/files/c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "fileSize": 1101234,
    "fileName": "CCA_SP_CDR_Daily_20190401.zip",
    "checksum": "89e68fa233398deace2300ea6b4e2b49",
    "type": "daily",
    "expiredOn": "03/31/2020T07:43:18+0000",
    "downloadAttempts": 0,
}
ZIP_2 = {
    **ZIP_1,
    "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13d",
    "createdOn": "04/01/2019T07:24:24+0000",
    "downloadLink": f"{HOST}/cdr/daily/compression/files/c7779fb1-3cd6-472d-9ef0-cfbee945d13d",
    "fileSize": 1101235,
    "fileName": "CCA_SP_CDR_Daily_20190402.zip",
    "expiredOn": "04/01/2020T07:43:18+0000",
}
PEAK_DAILY = {
    "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "createdOn": "03/30/2019T07:24:24+0000",
    "downloadLink": f"{HOST}/peakport/files/c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "fileSize": 10101,
    "fileName": "Annuity_CCA_SP_Peak_Port_Usage_Customer_Daily_20190331.csv",
    "checksum": "89e68fa233398deace2300ea6b4e2b48",
    "type": "daily",
    "expiredOn": "03/29/2020T07:43:18+0000",
    "downloadAttempts": 0,
}
PEAK_MONTHLY_1 = {
    **PEAK_DAILY,
    "createdOn": "03/03/2019T07:24:24+0000",
    "fileName": "Annuity_CCA_SP_Peak_Port_Usage_Customer_Calendar_Monthly_201902.csv",
    "type": "monthly",
    "expiredOn": "03/02/2020T08:43:18+0000",
}
PEAK_MONTHLY_2 = {
    **PEAK_MONTHLY_1,
    "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13d",
    "createdOn": "04/03/2019T07:24:24+0000",
    "fileName": "Annuity_CCA_SP_Peak_Port_Usage_Customer_Calendar_Monthly_201903.csv",
    "expiredOn": "04/03/2019/2020T08:43:18+0000",
}
EXAMPLES = [
    (NEW_CDR, CDR, "acme_CCA_SP_CDR_Daily_20181213.csv", "2018-12-14", "2020-04-22T08:43:18Z"),
    (ARCHIVED_CDR, CDR, "acme_CCA_SP_CDR_Daily_20190401.csv", "2019-04-02", "2020-04-22T06:49:20Z"),
    (ZIP_1, ZIPS, "CCA_SP_CDR_Daily_20190401.zip", "2019-03-31", "2020-03-31T07:43:18Z"),
    (ZIP_2, ZIPS, "CCA_SP_CDR_Daily_20190402.zip", "2019-04-01", "2020-04-01T07:43:18Z"),
    (PEAK_DAILY, DAILY, PEAK_DAILY["fileName"], "2019-03-30", "2020-03-29T07:43:18Z"),
    (PEAK_MONTHLY_1, MONTHLY, PEAK_MONTHLY_1["fileName"], "2019-03", "2020-03-02T08:43:18Z"),
    (PEAK_MONTHLY_2, MONTHLY, PEAK_MONTHLY_2["fileName"], "2019-04", None),
]


def day(text: str) -> Partition:
    return Partition.parse(text, Grain.DAY)


def month(text: str) -> Partition:
    return Partition.parse(text, Grain.MONTH)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12/14/2018T07:24:24+0000", datetime(2018, 12, 14, 7, 24, 24, tzinfo=UTC)),
        ("04/23/2019T00:00:00+0000", datetime(2019, 4, 23, tzinfo=UTC)),
        ("4/23/2019T00:00:00+0000", datetime(2019, 4, 23, tzinfo=UTC)),
        ("4/3/2019T23:59:59+0000", datetime(2019, 4, 3, 23, 59, 59, tzinfo=UTC)),
        ("02/29/2020T00:00:00+0000", datetime(2020, 2, 29, tzinfo=UTC)),
        ("04/01/2019T01:00:00+0530", datetime(2019, 3, 31, 19, 30, tzinfo=UTC)),
        ("12/31/2018T20:00:00-0800", datetime(2019, 1, 1, 4, tzinfo=UTC)),
        ("04/01/2019T01:00:00Z", datetime(2019, 4, 1, 1, tzinfo=UTC)),
        ("04/01/2019T01:00:00", datetime(2019, 4, 1, 1, tzinfo=UTC)),
        ("2019-04-01T01:00:00Z", datetime(2019, 4, 1, 1, tzinfo=UTC)),
        ("2019-04-01T01:00:00", datetime(2019, 4, 1, 1, tzinfo=UTC)),
        ("2019-04-01T01:00:00.000+0000", datetime(2019, 4, 1, 1, tzinfo=UTC)),
        ("2019-03-31T18:00:00-07:00", datetime(2019, 4, 1, 1, tzinfo=UTC)),
        (1554080400, datetime(2019, 4, 1, 1, tzinfo=UTC)),
        (1554080400000, datetime(2019, 4, 1, 1, tzinfo=UTC)),
        ("1554080400000", datetime(2019, 4, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_stamp_of_the_document_is_read_as_utc(text, moment):
    assert parse_stamp(text) == moment
    assert parse_stamp(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "04/03/2019/2020T08:43:18+0000",
        "02/29/2019T00:00:00+0000",
        "13/01/2019T00:00:00+0000",
        "00/01/2019T00:00:00+0000",
        "04/01/2019T24:00:00+0000",
        "04/01/2019T23:59:60+0000",
        "04/01/2019 00:00:00+0000",
        "04/01/2019T00:00:00+2400",
        "04/01/2019T00:00:00+0099",
        "04/01/2019T00:00:00+0000\n",
        " 04/01/2019T00:00:00+0000",
        "٠٤/01/2019T00:00:00+0000",
        "01/01/0000T00:00:00+0000",
        "01/01/0001T00:00:00+0100",
        "12/31/9999T23:59:59-0100",
        "2019-04-01",
        "2019-13-01T00:00:00Z",
        "1" * 100_000,
        float("inf"),
        float("nan"),
        10**30,
        -1554076800,
        20190401,
        "",
        None,
        [],
        True,
    ],
)
def test_a_malformed_stamp_is_none_and_never_an_exception(text):
    assert parse_stamp(text) is None


def test_a_year_that_cannot_be_written_with_four_digits_is_malformed():
    assert parse_stamp("01/01/0900T00:00:00+0000") is None


def test_times_are_written_as_iso_8601_in_utc():
    plus_two = timezone(timedelta(hours=2))
    assert iso(datetime(2026, 3, 1, 1, 30, 5, 999, tzinfo=plus_two)) == "2026-02-28T23:30:05Z"


@pytest.mark.parametrize(("item", "scope", "name", "partition", "expires"), EXAMPLES)
def test_every_example_of_the_document_is_read(item, scope, name, partition, expires):
    file = RemoteFile.from_api(item, scope)
    assert (file.id, file.size, file.md5) == (item["id"], item["fileSize"], item["checksum"])
    assert file.link == item.get("downloadLink", item.get("a"))
    assert (file.name, str(file.partition), file.download_attempts) == (name, partition, 0)
    assert (file.expires_on and iso(file.expires_on)) == expires


@pytest.mark.parametrize(("item", "scope", "name", "partition", "expires"), EXAMPLES)
def test_a_file_survives_json_and_pickle(item, scope, name, partition, expires):
    file = RemoteFile.from_api(item, scope)
    assert RemoteFile.from_dict(json.loads(json.dumps(file.as_dict()))) == file
    assert pickle.loads(pickle.dumps(file)).md5 == file.md5


def test_a_file_for_xcom_is_this_small_dict():
    assert RemoteFile.from_api(PEAK_MONTHLY_2, MONTHLY).as_dict() == {
        "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13d",
        "name": "Annuity_CCA_SP_Peak_Port_Usage_Customer_Calendar_Monthly_201903.csv",
        "link": f"{HOST}/peakport/files/c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
        "size": 10101,
        "md5": "89e68fa233398deace2300ea6b4e2b48",
        "created_on": "2019-04-03T07:24:24Z",
        "expires_on": None,
        "download_attempts": 0,
        "report": "peak_port_monthly",
        "partition": "2019-04",
        "site": None,
        "level": "customer",
    }


@pytest.mark.parametrize("link", [{}, {"downloadLink": None}, {"downloadLink": ""}])
def test_the_link_is_download_link_and_else_a(link):
    assert RemoteFile.from_api({**NEW_CDR, **link}, CDR).link == NEW_CDR["a"]
    assert RemoteFile.from_api({**NEW_CDR, "downloadLink": "https://b"}, CDR).link == "https://b"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"fileName": "own.csv"}, "own.csv"),
        ({"metadata": []}, ""),
        ({"metadata": None}, ""),
        ({"metadata": "humanReadableFileName"}, ""),
        ({"metadata": [None, 5, {"key": "humanReadableFileName"}]}, ""),
        ({"metadata": [{"key": "humanReadableFileName", "value": 7}]}, ""),
        ({"metadata": [{"key": ["humanReadableFileName"], "value": "x"}]}, ""),
        ({"fileName": 7}, "acme_CCA_SP_CDR_Daily_20181213.csv"),
    ],
)
def test_a_file_is_named_as_well_as_the_answer_allows(changes, name):
    assert RemoteFile.from_api({**NEW_CDR, **changes}, CDR).name == name


@pytest.mark.parametrize(
    "changes", [{"expiredOn": "never"}, {"expiredOn": None}, {"downloadAttempts": "many"}, {"type": 5}]
)
def test_what_nobody_needs_does_not_fail_a_listing(changes):
    assert RemoteFile.from_api({**ZIP_1, **changes}, ZIPS).id == ZIP_1["id"]


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("id", None, "id"),
        ("id", "", "id"),
        ("id", {"a": 1}, "id"),
        ("id", True, "id"),
        ("downloadLink", None, "downloadLink"),
        ("downloadLink", ["https://x"], "downloadLink"),
        ("fileSize", None, "fileSize"),
        ("fileSize", -1, "fileSize"),
        ("fileSize", 10**400, "fileSize"),
        ("fileSize", 1e300, "fileSize"),
        ("fileSize", 1.5, "fileSize"),
        ("fileSize", True, "fileSize"),
        ("fileSize", "1e3", "fileSize"),
        ("fileSize", "9" * 5000, "fileSize"),
        ("checksum", None, "checksum"),
        ("checksum", "89e68fa2", "checksum"),
        ("checksum", "z" * 32, "checksum"),
        ("checksum", "../" + "0" * 29, "checksum"),
        ("createdOn", None, "createdOn"),
        ("createdOn", "04/03/2019/2020T08:43:18+0000", "createdOn"),
    ],
)
def test_a_file_that_could_not_be_verified_or_placed_is_malformed(key, value, field):
    with pytest.raises(MalformedListing) as caught:
        RemoteFile.from_api({**ZIP_1, key: value}, ZIPS)
    assert caught.value.field == field


def test_numbers_may_come_as_text_and_digests_in_capitals():
    file = RemoteFile.from_api({**ZIP_1, "id": 7, "fileSize": "0", "checksum": "89E6" + "A" * 28}, ZIPS)
    assert (file.id, file.size, file.md5) == ("7", 0, "89e6" + "a" * 28)


def test_an_error_about_an_entry_is_short_however_long_the_entry():
    with pytest.raises(MalformedListing) as caught:
        RemoteFile.from_api({"id": None, "padding": "x" * 1_000_000}, ZIPS)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "changes",
    [
        {"report": "nothing"},
        {"report": ["cdr"]},
        {"report": "site_list"},
        {"report": "cdr", "site": None},
        {"site": "acme"},
        {"level": "customer"},
        {"id": None},
        {"name": None},
        {"link": ""},
        {"size": "many"},
        {"size": -1},
        {"size": float("inf")},
        {"md5": "abc"},
        {"created_on": "yesterday"},
        {"created_on": "2019-03-31T07:24:24"},
        {"created_on": "0001-01-01T00:00:00+14:00"},
        {"created_on": 5},
        {"expires_on": "2020-03-31T07:43:18"},
        {"download_attempts": None},
    ],
)
def test_a_dict_that_is_no_file_is_an_invalid_argument(changes):
    data = {**RemoteFile.from_api(ZIP_1, ZIPS).as_dict(), **changes}
    with pytest.raises(InvalidArgument, match="CcaListFilesOperator"):
        RemoteFile.from_dict(data)


@pytest.mark.parametrize("data", [{}, "text", None, [], 5])
def test_anything_else_is_an_invalid_argument_too(data):
    with pytest.raises(InvalidArgument):
        RemoteFile.from_dict(data)


def test_a_site_of_the_document_is_read():
    site = Site.from_api({"siteName": "sitename1", "lastSiteUpdate": "04/23/2019T00:00:00+0000"})
    assert site == Site("sitename1", datetime(2019, 4, 23, tzinfo=UTC))


@pytest.mark.parametrize("item", [{}, {"siteName": ""}, {"siteName": None}, {"siteName": ["a"]}])
def test_a_site_without_a_name_is_malformed(item):
    with pytest.raises(MalformedListing):
        Site.from_api(item)


def test_the_login_of_the_document_is_read_and_shows_no_token():
    token = Token.from_api({"tokenType": "Bearer", "accessToken": "ZjNIYTk4", "expiresIn": 43199})
    assert (token.value.open(), token.expires_in) == ("ZjNIYTk4", 43199.0)
    assert "ZjNIYTk4" not in repr(token)


@pytest.mark.parametrize(
    "lifetime", [None, "soon", True, 0, 43_199_000_000, -5, float("nan"), float("inf"), 10**400, []]
)
def test_a_token_without_a_usable_lifetime_serves_until_it_is_refused(lifetime):
    assert Token.from_api({"accessToken": "t", "expiresIn": lifetime}).expires_in == float("inf")


@pytest.mark.parametrize("value", [None, "", 5, "a\r\nX: b", "a\x00", "tökén", ["t"]])
def test_what_no_header_can_carry_is_no_token(value):
    assert Token.from_api({"accessToken": value}) is None


def test_a_lifetime_that_is_written_as_text_is_read():
    assert Token.from_api({"accessToken": "t", "expiresIn": "43199"}).expires_in == 43199.0


@pytest.mark.parametrize(
    ("partition", "text", "api", "first", "last"),
    [
        (day("2026-03-01"), "2026-03-01", "03012026", date(2026, 3, 1), date(2026, 3, 1)),
        (day("2024-02-29"), "2024-02-29", "02292024", date(2024, 2, 29), date(2024, 2, 29)),
        (month("2019-03"), "2019-03", "032019", date(2019, 3, 1), date(2019, 3, 31)),
        (month("2024-02"), "2024-02", "022024", date(2024, 2, 1), date(2024, 2, 29)),
        (month("2025-02"), "2025-02", "022025", date(2025, 2, 1), date(2025, 2, 28)),
        (month("2025-12"), "2025-12", "122025", date(2025, 12, 1), date(2025, 12, 31)),
        (month("2025-12-31"), "2025-12", "122025", date(2025, 12, 1), date(2025, 12, 31)),
    ],
)
def test_a_partition_is_written_as_users_and_as_the_api_do(partition, text, api, first, last):
    assert (str(partition), partition.api) == (text, api)
    assert (partition.first, partition.last) == (first, last)


@pytest.mark.parametrize("grain", Grain)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-13",
        "2026-02-30",
        "03012026",
        "2026-03-01T00:00",
        " 2026-03-01",
        "../x",
        None,
        20260301,
    ],
)
def test_anything_else_is_no_partition(text, grain):
    with pytest.raises(InvalidArgument) as caught:
        Partition.parse(text, grain)
    assert caught.value.argument == "partition"


def test_a_month_is_no_partition_of_a_daily_report():
    with pytest.raises(InvalidArgument, match="YYYY-MM-DD"):
        day("2026-03")


@pytest.mark.parametrize(
    ("moment", "partition"),
    [
        (datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2026-02-28"),
        (datetime(2026, 2, 28, 23, 30, tzinfo=timezone(timedelta(hours=-2))), "2026-03-01"),
        (date(2026, 3, 1), "2026-03-01"),
    ],
)
def test_a_moment_counts_by_its_day_in_utc(moment, partition):
    assert str(Partition.of(moment, Grain.DAY)) == partition
    assert str(Partition.of(moment, Grain.MONTH)) == partition[:7]


@pytest.mark.parametrize(
    ("first", "last", "all_of_them"),
    [
        (day("2025-12-30"), day("2026-01-02"), ["2025-12-30", "2025-12-31", "2026-01-01", "2026-01-02"]),
        (day("2024-02-28"), day("2024-03-01"), ["2024-02-28", "2024-02-29", "2024-03-01"]),
        (month("2025-11"), month("2026-02"), ["2025-11", "2025-12", "2026-01", "2026-02"]),
        (day("2026-03-01"), day("2026-03-01"), ["2026-03-01"]),
        (day("2026-03-02"), day("2026-03-01"), []),
        (day("9999-12-30"), day("9999-12-31"), ["9999-12-30", "9999-12-31"]),
        (month("9999-12"), month("9999-12"), ["9999-12"]),
    ],
)
def test_a_range_holds_both_ends(first, last, all_of_them):
    assert [str(p) for p in first.until(last)] == all_of_them


@pytest.mark.parametrize(
    ("partition", "now", "expired"),
    [
        # Its last file may be of 23:59:59, and is kept for 365 days from then.
        (day("2025-03-01"), datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), False),
        (day("2025-03-01"), datetime(2026, 3, 2, 0, 0, 0, tzinfo=UTC), True),
        (day("2025-03-01"), datetime(2026, 3, 2, 1, 0, tzinfo=timezone(timedelta(hours=2))), False),
        (month("2025-02"), datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), False),
        (month("2025-02"), datetime(2026, 3, 1, tzinfo=UTC), True),
        (day("0001-01-01"), datetime(2026, 3, 1, tzinfo=UTC), True),
        (day("9999-12-31"), datetime(2026, 3, 1, tzinfo=UTC), False),
        (month("9999-12"), datetime(2026, 3, 1, tzinfo=UTC), False),
    ],
)
def test_a_partition_expires_with_the_last_of_its_files(partition, now, expired):
    assert partition.expired(now) is expired


@pytest.mark.parametrize(
    ("partition", "begun"),
    [
        (day("2026-03-01"), True),
        (day("2026-03-02"), False),
        (month("2026-03"), True),
        (month("2026-04"), False),
    ],
)
def test_a_partition_begins_with_its_first_day_in_utc(partition, begun):
    assert partition.begun(datetime(2026, 3, 2, 1, 0, tzinfo=timezone(timedelta(hours=2)))) is begun


def test_partitions_are_ordered_by_time():
    assert sorted([day("2026-01-01"), day("2025-12-31")])[0] == day("2025-12-31")


@pytest.mark.parametrize(
    ("scope", "text"), [(CDR, "cdr acme"), (ZIPS, "cdr_compressed"), (DAILY, "peak_port_daily customer")]
)
def test_a_scope_is_named_in_messages_by_what_it_is_of(scope, text):
    assert str(scope) == text
