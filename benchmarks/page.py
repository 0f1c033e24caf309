"""docs/benchmarks.md: its text is written by hand, and its figures are put between two marks."""

from __future__ import annotations

import re

from .processes import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"


def put(name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = PAGE.read_text()
    new, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.S
    )
    if count != 1:
        raise ValueError(f"{PAGE.name} has no place for {name}")
    PAGE.write_text(new)
