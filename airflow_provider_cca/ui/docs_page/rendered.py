"""From the Markdown of the documentation to web pages. Never imports Airflow.

Markdown-it comes with Airflow, which needs Rich, which needs it. It is imported when a page is asked for.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from markdown_it.token import Token

PACKAGE = Path(__file__).parents[2]
TEMPLATE = Path(__file__).parent / "page.html"
COMMENT = re.compile(r"^<!--.*-->$", re.M)


def root() -> Path:
    """The folder with README.md, docs/ and dags/: the installed package, or the checkout that holds it."""
    return PACKAGE if (PACKAGE / "docs").is_dir() else PACKAGE.parent


def addresses(folder: Path) -> dict[str, str]:
    """Where each file of that folder is served, below the address of the documentation; "" is its start.

    All pages are on one level, so that the same relative link is right on each of them.
    """
    found = {"README.md": "", "CHANGELOG.md": "changelog"}
    found |= {f"docs/{path.name}": path.stem for path in (folder / "docs").glob("*.md")}
    found |= {f"docs/images/{p.name}": f"images/{p.name}" for p in (folder / "docs/images").glob("*")}
    dags = [path.relative_to(folder).as_posix() for path in (folder / "dags").rglob("*.py")]
    return found | {path: path for path in dags}


def web_page(text: str, at: str, served: Mapping[str, str]) -> str:
    """The HTML of a page of the documentation.

    Raw HTML in it is shown as text, except that comments are left out.

    :param text: Its Markdown.
    :param at: Its path in the repository, such as "docs/reports.md".
    :param served: What `addresses` gives: a link to anything else of the repository becomes plain text.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(COMMENT.sub("", text))
    titles = _name_headings(tokens)
    for token in tokens:
        _align_by_class(token)
        _lead_to_pages(token.children or [], posixpath.dirname(at), served)
    body = parser.renderer.render(tokens, parser.options, {})
    title = html.escape(titles[0] if titles else at)
    return Template(TEMPLATE.read_text()).substitute(title=title, body=body)


def _name_headings(tokens: list[Token]) -> list[str]:
    """Give each heading the id that GitHub gives it; their texts."""
    texts, seen = [], Counter[str]()
    for token, inline in pairwise(tokens):
        if token.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or [])
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        token.attrSet("id", f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
        texts.append(text)
    return texts


def _align_by_class(token: Token) -> None:
    """The policy of the page allows no style within it, which is how columns come aligned."""
    if style := token.attrs.pop("style", None):
        token.attrSet("class", str(style).replace("text-align:", "to-the-"))


def _lead_to_pages(tokens: list[Token], folder: str, served: Mapping[str, str]) -> None:
    """Have the links and pictures of a paragraph lead to where their files are served."""
    tag = "a"
    for token in tokens:
        if token.type == "image":
            token.attrSet("src", _address(str(token.attrs["src"]), folder, served) or "")
        elif token.type == "link_open":
            address = _address(str(token.attrs["href"]), folder, served)
            token.attrs = {} if address is None else {"href": address}
            token.tag = tag = "span" if address is None else "a"
        elif token.type == "link_close":
            token.tag = tag


def _address(link: str, folder: str, served: Mapping[str, str]) -> str | None:
    """What a link becomes, or None when its file is not served."""
    path, _, anchor = link.partition("#")
    if not path or urlsplit(link).scheme:
        return link
    address = served.get(posixpath.normpath(posixpath.join(folder, path)))
    return None if address is None else f"{address or './'}{'#' if anchor else ''}{anchor}"
