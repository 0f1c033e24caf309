"""A destination is read in one way, whoever asks, and what could be read in two is refused."""

from __future__ import annotations

import pytest

from airflow_provider_cca.core.destination import Destination
from airflow_provider_cca.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "url", "public", "dataset"),
    [
        ("/data/cca", "/data/cca", "/data/cca", ("file", "/data/cca/")),
        (" /data/cca/ ", "/data/cca", "/data/cca", ("file", "/data/cca/")),
        ("/", "/", "/", ("file", "/")),
        ("/a%20b", "/a%20b", "/a%20b", ("file", "/a%20b/")),
        ("file:///data/cca", "/data/cca", "/data/cca", ("file", "/data/cca/")),
        (
            "s3://aws_default@calls/cca/",
            "s3://aws_default@calls/cca",
            "s3://calls/cca",
            ("s3://calls", "cca/"),
        ),
        ("s3a://calls", "s3a://calls", "s3a://calls", ("s3://calls", "")),
        ("gs://g@calls/a/b", "gs://g@calls/a/b", "gs://calls/a/b", ("gs://calls", "a/b/")),
        ("abfss://a@calls/cca", "abfss://a@calls/cca", "abfss://calls/cca", ("abfs://calls", "cca/")),
        ("sftp://s@/srv/cca", "sftp://s@/srv/cca", "sftp:///srv/cca", ("sftp://", "srv/cca/")),
        ("s3://c@calls/a b+c%20é&=", "s3://c@calls/a b+c%20é&=", "s3://calls/a b+c%20é&=", None),
    ],
)
def test_what_a_destination_means(text, url, public, dataset) -> None:
    found = Destination.parse(text)
    assert (found.url(), found.without_connection()) == (url, public)
    assert found.url("r/x.zip") == f"{url.rstrip('/')}/r/x.zip"
    assert found.without_connection("r/x.zip") == f"{public.rstrip('/')}/r/x.zip"
    assert dataset in (None, found.dataset())
    assert Destination.parse(found.url()) == Destination.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty: set the Airflow Variable cca_storage, or give destination="),
        (None, "is empty"),
        ("None", "is empty"),
        ("some/folder", "is a relative path"),
        ("file://some/folder", "is a relative path"),
        ("file://conn@/some/folder", "is a relative path"),
        ("/data//cca", "has // in it"),
        ("/data//", "has // in it"),
        ("file:////data", "has // in it"),
        ("s3://calls//first", "has // in it"),
        ("s3://aws@calls/inside//twice", "has // in it"),
        ("s3://calls/end//", "has // in it"),
        ("gs://calls//", "has // in it"),
        ("file:///a%20b", "has % in it"),
        ("s3://calls/what?", r"has \? in it"),
        ("abfs://calls/a#b", "has # in it"),
        ("s3://calls/a\nb", "has a control character in it"),
    ],
)
def test_what_is_no_destination_is_said_to_be_none(text, reason) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        Destination.parse(text)
