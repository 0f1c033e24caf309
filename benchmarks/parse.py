"""Parse DAG files as the dag-processor does: each in a fork of a process that has Airflow loaded.

Prints what each file took as JSON: `python -m benchmarks.parse FOLDER`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import airflow.sdk
from airflow.dag_processing.dagbag import DagBag

TIMES = 5
"""How often each file is parsed. The first time compiles it, and the fastest counts, since whatever else the
machine does only adds to it."""


def parsed(file: Path) -> dict[str, float]:
    """The seconds and CPU seconds that a forked child takes to parse one file."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.close(reader)
        try:
            os.write(writer, _parse(file).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = json.loads(answer.read())
    os.waitpid(child, 0)
    if told["errors"] or not told["tasks"]:
        raise RuntimeError(f"{file.name} cannot be parsed: {told['errors']}")
    return {"seconds": told["seconds"], "cpu": told["cpu"]}


def _parse(file: Path) -> str:
    cpu, started = time.process_time(), time.monotonic()
    bag = DagBag(dag_folder=file, collect_dags=False)
    bag.process_file(str(file))  # type: ignore[no-untyped-call]
    took, cpu = time.monotonic() - started, time.process_time() - cpu
    tasks = sum(len(dag.tasks) for dag in bag.dags.values())
    return json.dumps({"seconds": took, "cpu": cpu, "errors": bag.import_errors, "tasks": tasks})


def main() -> None:
    for name in airflow.sdk.__all__:
        with suppress(AttributeError):  # it promises one name that it does not have
            getattr(airflow.sdk, name)  # loaded on first use, which is not what is measured here
    gc.freeze()
    files = sorted(Path(sys.argv[1]).glob("*.py"))
    print(json.dumps({file.stem: min(map(parsed, [file] * TIMES), key=_seconds) for file in files}))


def _seconds(told: dict[str, float]) -> float:
    return told["seconds"]


if __name__ == "__main__":
    main()
