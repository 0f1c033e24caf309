"""The table of reports, against the API document."""

from __future__ import annotations

import pytest

from airflow_provider_cca import reports
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.reports import REPORTS, Grain, check_listing, report_named

CREATION_DAYS = {"creation": ("creationStartDate", "creationEndDate")}


def test_the_names_that_users_write_are_these():
    assert list(REPORTS) == ["cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly", "site_list"]


def test_the_limits_are_those_of_the_document():
    assert (reports.MAX_DOWNLOAD_ATTEMPTS, reports.RETENTION_DAYS, reports.MAX_CONNECTIONS) == (999, 365, 20)
    assert reports.LEVELS == ("site", "customer", "partner")


@pytest.mark.parametrize(
    ("name", "path", "media_type"),
    [
        ("cdr", "/v1/cdr/{site}", "text/csv"),
        ("cdr_compressed", "/v1/cdr/daily/compression/files", "application/zip"),
        ("peak_port_daily", "/v1/peakport/daily", "text/csv"),
        ("peak_port_monthly", "/v1/peakport/monthly", "text/csv"),
        ("site_list", "/v1/cca-site", "text/csv"),
    ],
)
def test_each_report_is_asked_for_at_its_own_path_and_type(name, path, media_type):
    assert (REPORTS[name].path, REPORTS[name].media_type) == (path, media_type)


@pytest.mark.parametrize(
    ("name", "dates"),
    [
        ("cdr", {**CREATION_DAYS, "meeting_end": ("startDate", "endDate"), "new": None}),
        ("cdr_compressed", CREATION_DAYS),
        ("peak_port_daily", CREATION_DAYS),
        ("peak_port_monthly", {"creation": ("creationStartMonth", "creationEndMonth")}),
        ("site_list", {}),
    ],
)
def test_the_date_parameters_are_spelled_as_in_the_document(name, dates):
    assert dict(REPORTS[name].dates) == dates


@pytest.mark.parametrize(
    ("name", "grain", "partition_key", "needs"),
    [
        ("cdr", Grain.DAY, "creation_date", "site"),
        ("cdr_compressed", Grain.DAY, "creation_date", None),
        ("peak_port_daily", Grain.DAY, "creation_date", "level"),
        ("peak_port_monthly", Grain.MONTH, "creation_month", "level"),
        ("site_list", Grain.DAY, "snapshot_date", None),
    ],
)
def test_each_report_has_its_layout(name, grain, partition_key, needs):
    row = REPORTS[name]
    assert (row.grain, row.partition_key, row.needs) == (grain, partition_key, needs)


def test_a_listing_answers_403_while_generating_for_compressed_files_alone():
    assert [name for name, row in REPORTS.items() if row.generating_403] == ["cdr_compressed"]


@pytest.mark.parametrize("name", ["CDR", "", "cdr ", None, 5, [], {}])
def test_an_unknown_report_is_refused_with_the_names_there_are(name):
    with pytest.raises(InvalidArgument, match="cdr, cdr_compressed, peak_port_daily, peak_port_monthly"):
        report_named(name)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cdr", {"site": "acme"}),
        ("cdr", {"site": "acme", "by": "new"}),
        ("cdr", {"site": "acme", "by": "meeting_end", "level": ""}),
        ("cdr_compressed", {}),
        ("cdr_compressed", {"site": "", "level": ""}),
        *(("peak_port_daily", {"level": level}) for level in ("site", "customer", "partner")),
        ("peak_port_monthly", {"level": "partner"}),
    ],
)
def test_what_the_document_knows_can_be_listed(name, arguments):
    check_listing(REPORTS[name], **{"by": "creation", "site": None, "level": None, **arguments})


@pytest.mark.parametrize(
    ("name", "arguments", "argument"),
    [
        ("site_list", {}, "report"),
        ("cdr", {}, "site"),
        ("cdr", {"site": ""}, "site"),
        ("cdr", {"site": ".."}, "site"),
        ("cdr", {"site": "a\ud800"}, "site"),
        ("cdr", {"site": "."}, "site"),
        ("cdr", {"site": 12345678}, "site"),
        ("cdr", {"site": ["a", "b"]}, "site"),
        ("cdr", {"site": "acme", "level": "site"}, "level"),
        ("cdr", {"site": "acme", "by": "age"}, "by"),
        ("cdr_compressed", {"site": "acme"}, "site"),
        ("cdr_compressed", {"by": "new"}, "by"),
        ("cdr_compressed", {"by": "meeting_end"}, "by"),
        ("peak_port_daily", {}, "level"),
        ("peak_port_daily", {"level": "Site"}, "level"),
        ("peak_port_daily", {"level": ["site"]}, "level"),
        ("peak_port_monthly", {"level": "partner", "by": "new"}, "by"),
    ],
)
def test_what_cannot_be_listed_is_refused_by_the_argument_at_fault(name, arguments, argument):
    with pytest.raises(InvalidArgument) as caught:
        check_listing(REPORTS[name], **{"by": "creation", "site": None, "level": None, **arguments})
    assert caught.value.argument == argument
