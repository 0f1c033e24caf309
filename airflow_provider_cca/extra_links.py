"""The links of a landing in Airflow's UI: to what it landed, and to what is written about its report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class LandedFilesLink(BaseOperatorLink):
    """To the folder of the partition that was landed: in the console of S3 or Google Cloud, else as a text.

    Airflow keeps it in XCom, so it holds no connection id.
    """

    name = "Landed files"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        folder: str | None = getattr(operator, "landed_at", None)
        # Nothing landed, as when the task failed: Airflow shows no link then.
        return console_url(folder, lambda: _endpoint(operator)) if folder else ""


class ReportDocsLink(BaseOperatorLink):
    """To what is written about the report, on the page that the plugin of this package serves within Airflow.

    Relative to the root of the UI, which Airflow names as the base of all addresses on its pages: so it is
    right whatever the host, also where Airflow is served below a path.
    """

    name = "About this report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        report = getattr(operator, "report", None)
        return f"cca/docs/reports#{report}" if isinstance(report, str) else "cca/docs/reports"


def console_url(folder: str, endpoint: Callable[[], str | None] = lambda: None) -> str:
    """Return where a browser shows a folder of a store: its console on the web, else our page with its name.

    Browsers follow no link to file:, s3: or abfs:.

    :param endpoint: Gives the address of the S3 server, or None for Amazon's own.
    """
    url = urlsplit(folder)
    path = quote(url.path.strip("/"), safe="/=")
    if url.scheme in {"s3", "s3a", "s3n"} and _is_amazon(endpoint()):
        return f"https://console.aws.amazon.com/s3/buckets/{url.netloc}?prefix={path}/"
    if url.scheme in {"gs", "gcs"}:
        return f"https://console.cloud.google.com/storage/browser/{url.netloc}/{path}"
    return f"cca/docs/landed?folder={quote(folder, safe='/=:')}"


def _endpoint(operator: Any) -> str | None:
    """The address of the S3 server on which the landing has opened its store."""
    client = getattr(operator.opened, "client", None)
    return str(client.meta.endpoint_url) if client else None


def _is_amazon(endpoint: str | None) -> bool:
    host = urlsplit(endpoint).hostname or "" if endpoint else ""
    return not endpoint or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
