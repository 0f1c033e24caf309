"""Where the tests of reliability land: a local folder, or a prefix of the S3 server, read by other means than
the code's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.s3 import BUCKET, S3Server
from tests.support.tree import tree

LOCAL, S3 = "local", "S3"
STORES = (LOCAL, S3)


@dataclass(frozen=True)
class Place:
    """A destination, and how the folder of one day in it is looked at."""

    destination: str
    objects: Callable[[], dict[str, bytes]]
    """What is in the folder, by name."""
    uploads: Callable[[], list[str]]
    """Multipart uploads that were begun below the destination, and neither completed nor aborted."""


def local_place(root: Path, day: str) -> Place:
    root.mkdir()
    return Place(str(root), lambda: tree(root / _folder(day)), list)


def s3_place(server: S3Server, prefix: str, day: str) -> Place:
    """Through the proxy."""
    return Place(
        f"s3://aws_proxy@{BUCKET}/{prefix}",
        lambda: server.objects(f"{prefix}{_folder(day)}/"),
        lambda: server.uploads(prefix),
    )


@pytest.fixture
def new_place(store: str, day: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Place]:
    """Makes places of the kind that the test's parameter `store` says."""
    made: list[Place] = []

    def make() -> Place:
        if store == LOCAL:
            place = local_place(tmp_path / f"store{len(made)}", day)
        else:
            server, new_prefix, _ = map(request.getfixturevalue, ("s3", "new_prefix", "s3_proxy"))
            place = s3_place(server, new_prefix(), day)
        made.append(place)
        return place

    return make


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


def _folder(day: str) -> str:
    return f"cdr_compressed/creation_date={day}"
