"""The rows, by the name that `--only` takes, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..bench import Bench
from ..table import Line
from .again import again
from .backfill import backfill
from .listing import listing
from .memory import memory, memory_stores
from .parsing import importing, parsing
from .sharing import sharing
from .transfers import large, small_local, small_s3, small_tls, year
from .waiting import waiting

Row = Callable[[Bench], Iterator[Line]]

ROWS: dict[str, Row] = {
    "files": small_local,
    "files-https": small_tls,
    "files-s3": small_s3,
    "large": large,
    "memory": memory,
    "memory-stores": memory_stores,
    "listing": listing,
    "again": again,
    "year": year,
    "backfill": backfill,
    "parsing": parsing,
    "import": importing,
    "waiting": waiting,
    "sharing": sharing,
}

SLOW = {"backfill", "memory-stores"}
"""Rows that start a whole Airflow, or many servers: not part of the small form."""
