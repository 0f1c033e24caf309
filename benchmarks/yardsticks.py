"""The other side of the rows, where that is a few lines of Python without any of our promises."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests
import urllib3

from .processes import forget_peak, measured

CONNECTIONS = 20
CHUNK = 256 * 1024
PAGE = 1000


def download(files: list[dict[str, Any]], token: str, folder: str, sync: bool = False) -> int:
    """20 urllib3 threads that write to files and compare the MD5; the list is ready, the token too.

    With `sync` a file counts when the disk has it, as a landed one does.
    """
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, block=True)
    headers = {"Authorization": f"Bearer {token}"}

    def one(number: int) -> int:
        file, digest, size = files[number], hashlib.md5(usedforsecurity=False), 0
        answer = pool.request("GET", file["downloadLink"], headers=headers, preload_content=False)
        with Path(folder, str(number)).open("wb", buffering=0) as target:
            for chunk in answer.stream(CHUNK):
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
            if sync:
                os.fsync(target.fileno())
        answer.release_conn()
        if (size, digest.hexdigest()) != (file["fileSize"], file["checksum"]):
            raise ValueError(f"file {number} is not as listed")
        return size

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return sum(threads.map(one, range(len(files))))


def list_files(root: str, login: dict[str, str], first: str, last: str) -> int:
    """Log in, and then page after page on one connection; how many files there are."""
    session = requests.Session()
    answer = session.post(f"{root}/v1/oauth/token", json=login, timeout=60)
    session.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
    dates = {"creationStartDate": first, "creationEndDate": last}
    found: list[Any] = []
    while True:
        window = {**dates, "from": str(len(found)), "size": str(PAGE)}
        page = session.get(f"{root}/v1/cdr/daily/compression/files", params=window, timeout=600).json()
        found += page["items"]
        if len(found) >= page["total"]:
            return len(found)


TASKS: dict[str, Callable[..., Any]] = {"download": download, "list_files": list_files}


def main() -> None:
    # A list of many links is longer than a command line may be.
    arguments = json.loads(sys.argv[2])
    if "file" in arguments:
        arguments = json.loads(Path(arguments["file"]).read_text())
    task = TASKS[sys.argv[1]]
    forget_peak()
    print(json.dumps(asdict(measured(lambda: task(**arguments)))))


if __name__ == "__main__":
    main()
