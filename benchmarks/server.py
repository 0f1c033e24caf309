"""The CCA server that both sides talk to: the project's simulator, in a process of its own.

It is told what to do through its standard input, a line each, and ends with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import requests

from airflow_provider_cca.simulator import Simulator, Status, StillProcessing

from .processes import ROOT

COMPRESSED = "/v1/cdr/daily/compression/files"
PAGE = 1000


@dataclass
class Server:
    """A running server, seen from the process that runs the benchmark."""

    connection: dict[str, Any]
    process: subprocess.Popen[str]
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def root(self) -> str:
        return "{schema}://{host}:{port}/pcs/api".format(**self.connection)

    @property
    def env(self) -> dict[str, str]:
        """Airflow's connection to it."""
        return {"AIRFLOW_CONN_CCA_DEFAULT": json.dumps(self.connection)}

    def token(self) -> str:
        """Log in (§3.3)."""
        body = {"accountName": self.connection["login"], "accountPassword": self.connection["password"]}
        answer = self.session.post(f"{self.root}/v1/oauth/token", json=body, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["accessToken"])

    def files(self, first: date, last: date) -> list[dict[str, Any]]:
        """The compressed files created from `first` to `last`; warms the server up for both sides alike."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        dates = {"creationStartDate": f"{first:%m%d%Y}", "creationEndDate": f"{last:%m%d%Y}"}
        found: list[dict[str, Any]] = []
        while True:
            window = {**dates, "from": str(len(found)), "size": str(PAGE)}
            answer = self.session.get(self.root + COMPRESSED, params=window, headers=headers, timeout=600)
            answer.raise_for_status()
            found += answer.json()["items"]
            if len(found) >= answer.json()["total"]:
                return found

    def ask(self, command: str, *arguments: Any) -> Any:
        """Have one of the methods of `Control` called."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def serving(bundle: Path | None = None, **options: Any) -> Iterator[Server]:
    """Start a server; `options` are those of the simulator and its world.

    :param bundle: By which both sides know one that has a `certificate`.
    """
    options = {"recovered": False, "quirks": False, **options}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", json.dumps(options)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        server = Server(json.loads(process.stdout.readline()), process)
        server.session.trust_env = False
        if bundle:
            server.connection["extra"]["verify"] = server.session.verify = str(bundle)
        yield server
    finally:
        process.communicate()  # the end of its input is the end of it


def yesterday() -> date:
    """The newest creation date whose files are all there."""
    return datetime.now(UTC).date() - timedelta(days=1)


def span(days: int) -> tuple[date, date]:
    """The last `days` creation dates, to today, when the simulator's files are there from midnight on."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=days - 1), today


class Control:
    """What the server can be told while it runs."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    def refusals(self) -> int:
        """How many connections were one too many since the last `forget`."""
        return self.sim.count(status=429)

    def peak(self) -> int:
        """The most connections that one token ever had."""
        return self.sim.peak_connections

    def still_processing(self) -> None:
        """No report is ready from now on."""
        self.sim.inject(StillProcessing(), "list", times=None)

    def looks(self) -> dict[str, list[float]]:
        """The seconds at which each path was asked for."""
        times: dict[str, list[float]] = defaultdict(list)
        for request in self.sim.log("GET"):
            times[request.path].append(request.started)
        return times

    def index(self, names: list[str]) -> None:
        """Show the compressed files as a page of links, the only listing that rclone can read."""
        links = "".join(f'<a href="{escape(name)}">{escape(name)}</a>\n' for name in names)
        page = Status(200, body=f"<html><body>{links}</body></html>".encode(), content_type="text/html")
        self.sim.inject(page, f"^{COMPRESSED}/$", times=None)

    def forget(self) -> None:
        """Begin a new log of requests."""
        self.sim.requests.clear()


def main() -> None:
    with Simulator(**json.loads(sys.argv[1])).serve() as sim:
        print(json.dumps(sim.connection), flush=True)
        control = Control(sim)
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            print(json.dumps(getattr(control, command)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
