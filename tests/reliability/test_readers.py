"""What a reader finds who follows the manifests while tasks work in one folder, fail and are killed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path

import pytest

from airflow_provider_cca.simulator import Simulator
from tests.extract.test_zip_reader import zipped
from tests.support.landing_process import KINDS, task_process
from tests.support.places import LOCAL, STORES
from tests.support.s3 import BUCKET

SECONDS = 60.0
TASKS = 3
LONGEST_SECONDS = 2.5  # that a task lives which is to be killed

Read = Callable[[str], bytes | None]

pytestmark = pytest.mark.cca_simulator(days=5, files_per_day=1, recovered=False)


@pytest.fixture
def read(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, Read]:
    """A destination, and what gives the object at a key of it; None when there is none."""
    if store == LOCAL:

        def read_file(key: str) -> bytes | None:
            try:
                return (tmp_path / key).read_bytes()
            except FileNotFoundError:
                return None

        return str(tmp_path), read_file
    server, prefix = request.getfixturevalue("s3"), request.getfixturevalue("new_prefix")()

    def read_object(key: str) -> bytes | None:
        try:
            return bytes(server.client.get_object(Bucket=BUCKET, Key=prefix + key)["Body"].read())
        except server.client.exceptions.NoSuchKey:
            return None

    return f"s3://aws_default@{BUCKET}/{prefix}", read_object


def faults(read: Read, folder: str) -> Iterator[str]:
    """What the manifest of a folder names and is not there as it says."""
    manifest = read(f"{folder}/_manifest.json")
    for entry in json.loads(manifest)["files"] if manifest else ():
        content = read(f"{folder}/{entry['key']}")
        if content is None and read(f"{folder}/_manifest.json") != manifest:
            return  # revised meanwhile
        if content is None or (len(content), md5(content).hexdigest()) != (entry["size"], entry["md5"]):
            yield f"{folder}/{entry['key']}"


def content(chance: random.Random) -> bytes:
    """A zip in which a name comes twice, and another differs in case alone."""
    sizes = (chance.choice([0, 9, 3000]) for _ in range(3))
    return zipped(*zip(("a.csv", "A.csv", "a.csv"), map(chance.randbytes, sizes), strict=True))


@pytest.mark.live
@pytest.mark.parametrize("store", STORES)
def test_each_manifest_is_right_at_every_moment(sim: Simulator, day: str, read: tuple[str, Read]) -> None:
    """While the server revises files that share names or have none, and half of the tasks are killed."""
    destination, get = read
    chance, end = random.Random(7), time.monotonic() + SECONDS
    names = ("P.zip", "P.zip", "p.zip", "")
    files = [sim.world.add("cdr_compressed", day, content(chance), name=name) for name in names]
    folders = [f"{report}/creation_date={day}" for report in ("cdr_compressed", "cdr_csv")]

    def look() -> tuple[int, set[str]]:
        looks, wrong = 0, set[str]()
        while time.monotonic() < end:
            looks += 1
            wrong.update(*(faults(get, folder) for folder in folders))
        return looks, wrong

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(look)
        while time.monotonic() < end:
            tasks = [task_process(chance.choice(KINDS), destination, day) for _ in range(TASKS)]
            for task in tasks:
                task.start()
            for task in tasks:
                nth = chance.randrange(len(files))
                files[nth] = sim.world.replace(files[nth], content(chance))
                task.join(chance.random() * LONGEST_SECONDS if chance.random() < 0.5 else SECONDS)
                task.kill()
        looks, wrong = reader.result()
    assert wrong == set()
    assert looks
    for kind in ("land", "extract"):
        task = task_process(kind, destination, day)
        task.start()
        task.join(SECONDS)
    assert [len(json.loads(get(f"{folder}/_manifest.json") or b"")["files"]) for folder in folders] == [5, 15]
    assert [fault for folder in folders for fault in faults(get, folder)] == []
