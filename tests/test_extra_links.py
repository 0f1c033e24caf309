"""The links of a landing: where they lead, and what they do not show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_cca import extra_links
from airflow_provider_cca.extra_links import LandedFilesLink, ReportDocsLink, console_url
from airflow_provider_cca.get_provider_info import get_provider_info
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.operators import (
    CcaDownloadFilesOperator,
    CcaReconcileOperator,
    CcaSiteListToObjectStorageOperator,
    CcaToObjectStorageOperator,
)
from airflow_provider_cca.reports import REPORTS
from airflow_provider_cca.simulator import Simulator, Status
from tests.support.s3 import BUCKET

TASK = SimpleNamespace(dag_id="my dag", task_id="t", run_id="r", map_index=-1)


def landing(destination: object, **arguments: object) -> CcaToObjectStorageOperator:
    return CcaToObjectStorageOperator(
        task_id="t", destination=str(destination), **{"report": "cdr_compressed", **arguments}
    )


SHOWN = "cca/docs/landed?folder="


def test_both_links_are_registered_and_on_every_landing() -> None:
    paths = get_provider_info()["extra-links"]
    assert [getattr(extra_links, path.rpartition(".")[2]) for path in paths] == [
        LandedFilesLink, ReportDocsLink,
    ]  # fmt: skip
    for cls in (CcaToObjectStorageOperator, CcaSiteListToObjectStorageOperator):
        assert [type(link) for link in cls.operator_extra_links] == [LandedFilesLink, ReportDocsLink]


def test_the_link_leads_to_the_partition(sim: Simulator, run, day, tmp_path: Path) -> None:
    operator = landing(tmp_path)
    run(operator, day)
    url = LandedFilesLink().get_link(operator, ti_key=TASK)
    assert url == f"{SHOWN}{tmp_path}/cdr_compressed/creation_date={day}"
    assert Path(url.removeprefix(SHOWN)).is_dir()


def test_the_link_of_a_range_leads_to_the_folder_of_its_partitions(sim, run, day, tmp_path: Path) -> None:
    operator = landing(tmp_path, partition=day, partition_end=str(sim.world.today))
    run(operator)
    assert LandedFilesLink().get_link(operator, ti_key=TASK) == f"{SHOWN}{tmp_path}/cdr_compressed"


def test_there_is_no_link_when_nothing_landed(sim: Simulator, run, day, tmp_path: Path) -> None:
    sim.inject(Status(406), "cdr_compressed", times=None)
    operator = landing(tmp_path)
    with pytest.raises(AirflowFailException):
        run(operator, day)
    assert LandedFilesLink().get_link(operator, ti_key=TASK) == ""


@pytest.mark.parametrize(
    ("folder", "url"),
    [
        ("s3://b/cca/cdr/site=a", "https://console.aws.amazon.com/s3/buckets/b?prefix=cca/cdr/site=a/"),
        ("s3://b/a b&c", "https://console.aws.amazon.com/s3/buckets/b?prefix=a%20b%26c/"),
        ("gs://b/cca/x=1", "https://console.cloud.google.com/storage/browser/b/cca/x=1"),
        ("abfs://files/cca", "cca/docs/landed?folder=abfs://files/cca"),
        ("/data/a b&c", "cca/docs/landed?folder=/data/a%20b%26c"),
    ],
)
def test_a_store_with_a_console_on_the_web_is_shown_there(folder: str, url: str) -> None:
    assert console_url(folder) == url


@pytest.mark.parametrize(
    ("endpoint", "amazon"),
    [
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("http://minio:9000", False),
        ("https://amazonaws.com.evil.example", False),
    ],
)
def test_another_s3_server_has_no_console_at_amazon(endpoint: str, amazon: bool) -> None:
    assert console_url("s3://b/cca", lambda: endpoint).startswith(
        "https://console.aws" if amazon else f"{SHOWN}s3://"
    )


def test_on_an_s3_server_of_ones_own_the_link_is_the_url_without_the_connection_id(
    sim: Simulator, run, day, s3, new_prefix
) -> None:
    prefix = new_prefix().strip("/")
    operator = landing(f"s3://aws_default@{BUCKET}/{prefix}")
    run(operator, day)
    url = LandedFilesLink().get_link(operator, ti_key=TASK)
    assert url == f"{SHOWN}s3://{BUCKET}/{prefix}/cdr_compressed/creation_date={day}"


@pytest.mark.parametrize("report", REPORTS)
def test_the_docs_have_a_place_for_each_report(report: str) -> None:
    """Below the root of Airflow's UI, where the plugin serves them: tests/ui/test_docs_page.py."""
    operator = (
        CcaSiteListToObjectStorageOperator(task_id="t", destination="/s")
        if report == "site_list"
        else landing(
            "/s", report=report, **({REPORTS[report].needs: "site"} if REPORTS[report].needs else {})
        )
    )
    assert ReportDocsLink().get_link(operator, ti_key=TASK) == f"cca/docs/reports#{report}"
    page = Path(__file__).parent.parent / "docs" / "reports.md"
    assert f"\n## {report}\n" in page.read_text()


def test_a_task_of_several_reports_leads_to_all_of_them() -> None:
    reconcile = CcaReconcileOperator(task_id="t", report=["cdr", "cdr_compressed"], destination="/s")
    picked = CcaDownloadFilesOperator(task_id="t", files=[], destination="/s")
    for operator in (reconcile, picked):
        assert ReportDocsLink().get_link(operator, ti_key=TASK) == "cca/docs/reports"
