"""What an Airflow tells others of its tasks: OpenLineage's events, kept in files, and metrics, sent to us."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "lineage"


def lineage(home: Path) -> dict[str, str]:
    """Settings with which OpenLineage writes a file for each event, and leaves nothing out."""
    (home / FOLDER).mkdir(parents=True, exist_ok=True)
    transport = {"type": "file", "log_file_path": str(home / FOLDER / "event"), "append": False}
    return {
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
        "AIRFLOW__OPENLINEAGE__DEBUG_MODE": "True",
    }


def events(home: Path) -> list[dict[str, Any]]:
    """What it has written, in the order of time."""
    found = [json.loads(path.read_text()) for path in (home / FOLDER).iterdir()]
    return sorted(found, key=lambda event: event["eventTime"])


@contextmanager
def statsd() -> Iterator[tuple[dict[str, str], socket.socket]]:
    """Settings with which Airflow sends the metrics of this package, and the socket at which they arrive."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        settings = {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(server.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            # Airflow's own would fill the socket before anybody reads it.
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST": r"^cca\.",
        }
        yield settings, server


def received(server: socket.socket) -> list[str]:
    """The datagrams that wait in the socket."""
    found = []
    while True:
        try:
            found.append(server.recv(65_536).decode())
        except BlockingIOError:
            return found
