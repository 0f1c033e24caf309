"""What all rows share."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from .processes import Cost, run_python
from .server import Server

if TYPE_CHECKING:
    from tests.support.s3 import S3Server

T = TypeVar("T")


CEPH_ARGS = "--memstore_device_bytes=12000000000 --rgw_gc_obj_min_wait=0 --rgw_gc_processor_period=2"
"""Room in the memory of Ceph for twenty large files at once, free again soon after they are deleted."""


class Missing(Exception):
    """A row cannot be measured here, and why."""


@dataclass
class Bench:
    """One run of the benchmark.

    :param folder: Where files land, on a real disk; emptied between two sides.
    :param small: Sizes for a smoke test.
    """

    folder: Path
    repeat: int
    small: bool
    stack: ExitStack
    numbers: Iterator[int] = field(default_factory=count)

    def size(self, full: T, small: T) -> T:
        return small if self.small else full

    def name(self, name: str) -> str:
        """A fresh name."""
        return f"{name}-{next(self.numbers)}"

    @contextmanager
    def fresh_folder(self) -> Iterator[Path]:
        """An empty folder for one side, gone afterwards."""
        path = self.folder / self.name("landing")
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)

    @cached_property
    def certificates(self) -> tuple[Path, Path]:
        """That of a server on this machine with its key, and a bundle of it and all that are usual."""
        from tests.support.strangers import self_signed

        own, bundle = self_signed(self.folder), self.folder / "bundle.pem"
        bundle.write_bytes(Path(DEFAULT_CA_BUNDLE_PATH).read_bytes() + own.read_bytes())
        return own, bundle

    @cached_property
    def s3(self) -> S3Server:
        """A real S3 server, started when first asked for."""
        os.environ.setdefault("CEPH_ARGS", CEPH_ARGS)
        try:
            from tests.support.s3 import serve

            return self.stack.enter_context(serve())
        except (ImportError, RuntimeError) as error:
            raise Missing(f"no S3 server ({error})") from error

    @property
    def s3_login(self) -> dict[str, str]:
        """How rclone logs in to the S3 server."""
        from tests.support.s3 import ACCESS_KEY, SECRET_KEY

        return {"RCLONE_S3_ACCESS_KEY_ID": ACCESS_KEY, "RCLONE_S3_SECRET_ACCESS_KEY": SECRET_KEY}

    @contextmanager
    def fresh_bucket(self) -> Iterator[str]:
        """An empty bucket for one side, gone afterwards."""
        name, client = self.name("bench"), self.s3.client
        client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            for key in self.s3_keys(name):
                client.delete_object(Bucket=name, Key=key)
            client.delete_bucket(Bucket=name)

    def s3_keys(self, bucket: str) -> list[str]:
        """What is in a bucket."""
        pages = self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def ours(self, server: Server, task: str, **arguments: object) -> Cost:
        """Run a task of our side against a server, and against the S3 server if one was started."""
        s3 = {"AIRFLOW_CONN_AWS_DEFAULT": self.s3.connection()} if "s3" in self.__dict__ else {}
        return run_python("ours", task, {**self.env, **server.env, **s3}, **arguments)

    def yardstick(self, task: str, **arguments: object) -> Cost:
        """Run a Python yardstick."""
        file = self.folder / self.name("arguments")
        file.write_text(json.dumps(arguments))
        return run_python("yardsticks", task, self.env, file=str(file))

    @property
    def env(self) -> dict[str, str]:
        return {"AIRFLOW_HOME": str(self.folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def needs(program: str) -> None:
    """Raise Missing unless the program is installed."""
    if not shutil.which(program):
        raise Missing(f"{program} is not installed")


@contextmanager
def bench(repeat: int, *, small: bool) -> Iterator[Bench]:
    """Room for one run; what it started and wrote is gone at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cca-bench-")))
        yield Bench(folder, repeat, small, stack)
