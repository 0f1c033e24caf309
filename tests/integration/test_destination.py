"""What is said of a destination whose store cannot be opened."""

from __future__ import annotations

import json
import sys

import pytest

from airflow_provider_cca.errors import DestinationUnusable
from airflow_provider_cca.integration.destination import open_store

MODULES = {
    "s3": "airflow.providers.amazon.aws.hooks.s3",
    "gs": "airflow.providers.google.common.hooks.base_google",
    "abfs": "airflow.providers.microsoft.azure.fs.adls",
}


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("abfs", "azure")])
def test_the_extra_that_is_missing_is_that_of_the_scheme(
    monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[scheme], None)
    with pytest.raises(DestinationUnusable, match=rf"install 'airflow-provider-cca\[{extra}\]'"):
        open_store(f"{scheme}://calls/cca")


@pytest.mark.parametrize("scheme", ["s3", "gs", "abfs", "sftp"])
def test_a_connection_that_is_missing_is_said_to_be(scheme: str) -> None:
    with pytest.raises(DestinationUnusable, match="there is no connection 'nope'"):
        open_store(f"{scheme}://nope@calls/cca")


def test_a_url_without_a_bucket_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HERE", json.dumps({"conn_type": "aws"}))
    with pytest.raises(DestinationUnusable, match="it names no bucket"):
        open_store("s3://here@")
