"""The documentation as Airflow's api-server serves it: its links lead somewhere, no other file is served."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from airflow.api_fastapi.app import create_app, purge_cached_app
from airflow.utils.db import initdb
from starlette.testclient import TestClient

from airflow_provider_cca.plugin import DOCS_PREFIX, URL_PREFIX
from airflow_provider_cca.reports import REPORTS
from airflow_provider_cca.ui.docs_page.rendered import addresses, root, web_page

SERVED = addresses(root())
PAGES = sorted(address for name, address in SERVED.items() if name.endswith(".md"))


@pytest.fixture(scope="module")
def server() -> Iterator[TestClient]:
    """Airflow's own application, in which plugins are mounted as in production; nobody is logged in."""
    initdb()
    with TestClient(create_app("core")) as client:
        yield client
    purge_cached_app()


class Found(HTMLParser):
    """What a page refers to, and the places in it that can be referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [given[name] or "" for name in ("href", "src") if name in given]
        self.places += [given["id"] or ""] if "id" in given else []


def test_the_documentation_of_the_repository_is_all_there() -> None:
    assert {path.stem for path in (root() / "docs").glob("*.md")} | {"", "changelog"} == set(PAGES)
    assert len(PAGES) >= 19


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_place_that_is_there(server: TestClient, page: str) -> None:
    here = f"{DOCS_PREFIX}/{page}"
    answer = server.get(here)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    found = Found(answer.text)
    assert len(set(found.places)) == len(found.places)
    inside = [link for link in found.links if not urlsplit(link).scheme]
    assert {link for link in inside if re.search(r"\.md\b|^/", link)} == set()
    for link in set(inside) - {"../../"}:
        there = server.get(urljoin(here, link))
        assert there.status_code == 200, link
        assert there.headers["content-security-policy"], link  # not Airflow's own page, which stands for any
        anchor = urlsplit(link).fragment
        assert not anchor or anchor in Found(there.text).places, link


def test_each_report_has_a_place_by_its_name(server: TestClient) -> None:
    """Where the link of a task leads."""
    assert set(REPORTS) <= set(Found(server.get(f"{DOCS_PREFIX}/reports").text).places)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_nothing_from_elsewhere_and_nothing_within_it(server: TestClient, page: str) -> None:
    answer = server.get(f"{DOCS_PREFIX}/{page}")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|<style|<[^>]+\s(style|on\w+)=", answer.text)
    loaded = re.findall(r'(?:<link [^>]*href|src)="([^"]+)"', answer.text)
    assert len(loaded) >= 4
    assert not [link for link in loaded if urlsplit(link).scheme or link.startswith("//")]


def test_the_source_of_a_dag_is_text(server: TestClient) -> None:
    answer = server.get(f"{DOCS_PREFIX}/dags/examples/cca_extract.py")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "CcaExtractOperator" in answer.text


@pytest.mark.parametrize(
    "address",
    [
        *("reports.md", "nowhere", "docs/reports", "app.py", "page.html", "../coverage_page/app.py"),
        *("%2e%2e/pyproject.toml", "..%2f..%2fetc/passwd", "/etc/passwd", "images/", "reports%00"),
        *("dags/%2e%2e/pyproject.toml", "openapi.json", "docs", "images/%2e%2e%2freports.md"),
    ],
)
def test_nothing_else_is_served(server: TestClient, address: str) -> None:
    answer = server.get(f"{DOCS_PREFIX}/{address}")
    assert answer.status_code == 404 or "<title>Airflow</title>" in answer.text


def page_of(text: str) -> str:
    return web_page(text, "docs/x.md", SERVED)


def test_raw_html_and_script_addresses_stay_text() -> None:
    page = page_of(
        "# <b>T</b> & U\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) <img src=x onerror=y>"
    )
    assert "<title>&lt;b&gt;T&lt;/b&gt; &amp; U" in page
    assert "<script>" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page


def test_headings_have_the_names_that_github_gives_them() -> None:
    page = page_of(
        "# What to do when …\n\n## `cdr` & more\n\n## Same\n\n## Same\n\n### [A link](reports.md#cdr), too\n"
    )
    assert Found(page).places == ["what-to-do-when-", "cdr--more", "same", "same-1", "a-link-too"]


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("reports.md#cdr", "reports#cdr"),
        ("#here", "#here"),
        ("../README.md#install-it", "./#install-it"),
        ("../dags/cca_reconcile.py", "dags/cca_reconcile.py"),
        ("https://airflow.apache.org/docs", "https://airflow.apache.org/docs"),
        ("../docker-compose.yaml", None),
        ("../dags", None),
        ("//elsewhere.example/x", None),
        ("../../etc/passwd", None),
    ],
)
def test_a_link_leads_to_the_page_or_becomes_text(link: str, address: str | None) -> None:
    page = page_of(f"see [`this`]({link}) there")
    body = page.split("</nav>")[1]
    assert Found(body).links == ([address] if address else [])
    assert ("<span><code>this</code></span>" in body) == (address is None)


def test_columns_are_aligned_and_comments_left_out() -> None:
    page = page_of("<!-- table -->\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n")
    assert '<td class="to-the-right">2</td>' in page
    assert "table --" not in page
    assert " style=" not in page


def test_markdown_is_imported_only_for_a_page() -> None:
    program = "import sys, airflow_provider_cca.ui.docs_page.app; print('markdown_it' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_a_folder_that_no_browser_opens_is_shown_as_text(server: TestClient) -> None:
    answer = server.get(f"{DOCS_PREFIX}/landed", params={"folder": "/data/<script>/creation_date=2026-01-02"})
    assert answer.status_code == 200
    assert "<pre>/data/&lt;script&gt;/creation_date=2026-01-02</pre>" in answer.text


@pytest.mark.parametrize("page", [DOCS_PREFIX, URL_PREFIX])
def test_an_address_without_its_last_slash_leads_to_the_page(server: TestClient, page: str) -> None:
    answer = server.get(page)
    assert (answer.status_code, answer.url.path) == (200, f"{page}/")
    assert "<title>" in answer.text


def test_what_is_no_page_of_ours_is_not_found(server: TestClient) -> None:
    assert server.get("/cca/other", follow_redirects=False).status_code == 404
