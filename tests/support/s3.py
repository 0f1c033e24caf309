"""A real S3 server for the tests, a process of its own: Ceph's gateway where it is installed, else ministack.

The fixture `s3` starts it once for the whole run, and lets Airflow's connection `aws_default` lead to it:
destinations such as s3://aws_default@bucket/cca work as they would against Amazon's. All of it listens on
loopback alone, lives in a temporary folder, and is stopped by the ids of its processes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.front import Front, certificate_in

ACCESS_KEY, SECRET_KEY, REGION = "cca-tests", "cca-tests-secret", "us-east-1"
BUCKET = "cca"
CEPH = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph")
START_SECONDS = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class S3Server:
    """A running server; what the tests know of the store's content they ask here, not the code they test."""

    endpoint: str
    kind: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    run: Callable[..., str] = lambda *command: ""
    """Runs a command of the server's own."""

    @cached_property
    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )

    def connection(self, endpoint: str = "") -> str:
        """Airflow's connection to it, as AIRFLOW_CONN_… takes it.

        Through a proxy at `endpoint` without botocore's own attempts, which wait on the clock.
        """
        extra: dict[str, Any] = {"endpoint_url": endpoint or self.endpoint, "region_name": REGION}
        if endpoint:
            extra["config_kwargs"] = {"retries": {"max_attempts": 0}}
        return json.dumps({"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY, "extra": extra})

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Every object whose key begins so, by the key's rest."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            for key in keys
        }

    def uploads(self, prefix: str = "") -> list[str]:
        """The keys of the multipart uploads that were begun and neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [upload["Key"] for upload in found if upload["Key"].startswith(prefix)]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """The server with one bucket, `BUCKET`; `aws_default` leads to it over https, `aws_proxy` over http."""
    with serve() as server, _folder() as folder, pytest.MonkeyPatch.context() as patch:
        server.client.create_bucket(Bucket=BUCKET)
        certificate = certificate_in(Path(folder))
        front = Front(int(server.endpoint.rpartition(":")[2]), certificate)
        secure = json.loads(server.connection())
        secure["extra"] |= {"endpoint_url": f"https://localhost:{front.port}", "verify": str(certificate)}
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(secure))
        patch.setenv("AWS_CA_BUNDLE", str(certificate))  # for what reads by ObjectStoragePath
        yield server
        front.down()


_numbers = count()


@pytest.fixture
def new_prefix(s3: S3Server) -> Callable[[], str]:
    """Gives prefixes below which nothing is yet: to make buckets takes longer than most tests."""
    return lambda: f"{next(_numbers)}/"


@contextmanager
def serve(
    port: int | None = None, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
) -> Iterator[S3Server]:
    """Start the server, on any free port unless one is given; it is gone when the block ends."""
    port = port or free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(_folder()))
        processes = Processes(folder)
        stack.callback(processes.stop)
        keys = (access_key, secret_key)
        if all(map(shutil.which, CEPH)):
            yield S3Server(_start_ceph(processes, folder, port, *keys), "Ceph", *keys, processes.run)
        else:
            yield S3Server(_start_ministack(processes, port), "ministack", *keys)


@contextmanager
def _folder() -> Iterator[str]:
    # Short, since the path of a Unix socket is; and not pytest's own, which are kept after the run.
    folder = tempfile.mkdtemp(prefix="cca-s3-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Processes:
    """Children with their logs; each is stopped by its id, the last first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        self.env = {**os.environ, "TERM": "dumb"}

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=START_SECONDS)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
        return done.stdout

    def start(self, *command: str, **env: str) -> None:
        with (self.folder / f"{len(self.running)}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**self.env, **env},
                    start_new_session=True,  # Ctrl-C is for pytest, which then stops them
                )
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Look until it is so; fail with the log of the youngest child if that died, or it takes too long."""
        youngest, log = self.running[-1], self.folder / f"{len(self.running) - 1}.log"
        for _ in range(int(START_SECONDS / LOOK_SECONDS)):
            if ready():
                return
            if youngest.poll() is not None:
                break
            Event().wait(LOOK_SECONDS)
        raise RuntimeError(f"{youngest.args} is not ready: {log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        for process in reversed(self.running):
            process.kill()  # what they hold is not worth an orderly end
            process.wait()


def _start_ministack(processes: Processes, port: int) -> str:
    program = Path(sys.executable).with_name("ministack")
    if not program.exists():
        raise RuntimeError(f"no S3 server: install Debian's {' '.join(PACKAGES)}, or PyPI's ministack")
    processes.start(str(program), BIND_HOST="127.0.0.1", GATEWAY_PORT=str(port), SERVICES="s3")
    processes.wait_until(lambda: listens(port))
    return f"http://127.0.0.1:{port}"


PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-common")


def _start_ceph(processes: Processes, folder: Path, gateway: int, access_key: str, secret_key: str) -> str:
    """One monitor, one OSD that keeps all in memory, one gateway."""
    monitor, cluster = free_port(), str(uuid.uuid4())
    settings = folder / "ceph.conf"
    settings.write_text(_ceph_settings(folder, monitor, gateway, cluster))
    processes.env["CEPH_CONF"] = str(settings)
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()

    monmap, address = str(folder / "monmap"), f"[v2:127.0.0.1:{monitor}]"
    processes.run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", address, monmap)
    processes.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
    processes.start("ceph-mon", "-i", "a", "-f")
    processes.wait_until(lambda: listens(monitor))
    disk = str(uuid.uuid4())
    processes.run("ceph", "osd", "new", disk)
    processes.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
    processes.start("ceph-osd", "-i", "0", "-f")
    account = ("--uid=tests", "--display-name=tests", f"--access-key={access_key}", f"--secret={secret_key}")
    processes.run("radosgw-admin", "-n", "client.rgw", "user", "create", *account)
    processes.start("radosgw", "-n", "client.rgw", "-f")
    processes.wait_until(lambda: listens(gateway))
    return f"http://127.0.0.1:{gateway}"


def _ceph_settings(folder: Path, monitor: int, gateway: int, cluster: str) -> str:
    """As small as a cluster gets, on loopback, without passwords between its own processes."""
    services = ("cluster", "service", "client")
    channels = ("client", "service", "cluster", "mon_client", "mon_service", "mon_cluster")
    everywhere = {
        "fsid": cluster,
        "mon host": f"v2:127.0.0.1:{monitor}",
        "public addr": "127.0.0.1",
        "cluster addr": "127.0.0.1",
        "ms bind ipv6": "false",
        **{f"auth {name} required": "none" for name in services},
        # Without keys the encrypted and signed modes cannot be spoken.
        **{f"ms {name} mode": "crc" for name in channels},
        "run dir": folder,
        "admin socket": '""',
        "log to file": "false",
        "log to stderr": "false",
        "err to stderr": "true",
        "mon data": folder / "mon",
        "osd data": folder / "osd",
        "osd objectstore": "memstore",
        "memstore device bytes": 4 << 30,
        "osd class load list": "*",
        "osd class default list": "*",
        "osd pool default size": 1,
        "osd pool default min size": 1,
        "osd pool default pg num": 1,
        "osd pool default pg autoscale mode": "off",
        "osd crush chooseleaf type": 0,
        "mon allow pool size one": "true",
        "mon max pg per osd": 1000,
        # Each pool that the gateway makes would wait a second to be agreed on, by one monitor with itself.
        "paxos propose interval": 0.01,
        "paxos min wait": 0.01,
        "mon data avail warn": 1,
        "mon data avail crit": 0,
    }
    of_gateway = {
        "rgw data": folder / "rgw",
        "rgw frontends": f"beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1",  # else 40 ms an answer
        "rgw enable usage log": "false",
    }
    sections = {"global": everywhere, "client.rgw": of_gateway}
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for name, values in sections.items()
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
