"""`make year`: a year of all reports from nothing, damaged, and made whole again, with a real Airflow.

`cca_land_range` lands what the simulated server has of the last 365 days, and curl fetches the same files
beside it. Then objects and manifests are deleted and objects overwritten: `cca_reconcile` has to say so, to
restore the store with as many downloads as there were objects gone, and then to find nothing left to do.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow_provider_cca.simulator import Simulator

from .api import FINISHED
from .browser import browser_page
from .coverage_pictures import WINDOW, take
from .damage import Truth, damage, differences
from .findings import Outcome, Step
from .processes import StepError, children, wait_until
from .screenshot import IMAGES
from .soak import LEVELS
from .stack import ROOT, Stack, airflow_stack

HOME = ROOT / ".airflow" / "year"
REPORTS = ("cdr", "cdr_compressed", "peak_port_daily", "peak_port_monthly")
SITES = 3
FILE_BYTES = 50_000
LATENCY_SECONDS = 0.05
CONNECTIONS = 20
RUN_SECONDS = 600
LANDING, RECONCILING = "cca_land_range", "cca_reconcile"

Picture = Callable[[str], None]


def main() -> int:
    """Run it with an Airflow and a store of its own; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.year", description=__doc__)
    parser.add_argument("--days", type=int, default=365, help="days before today")
    parser.add_argument("--seed", type=int, default=1, help="of the damage")
    parser.add_argument("--pictures", type=Path, default=IMAGES, help="folder for the two pictures")
    arguments = parser.parse_args()
    try:
        outcome = alone(arguments.days, arguments.seed, arguments.pictures)
    except StepError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    print(f"\n{outcome}")
    return 1 if outcome.wrong else 0


def alone(days: int, seed: int, pictures: Path) -> Outcome:
    """A simulator, an Airflow and an empty store, for this alone."""
    with (
        TemporaryDirectory(prefix="cca-year-") as folder,
        children(HOME) as processes,
        server().serve() as cca,
    ):
        store = Path(folder, "store")
        print(f"starting PostgreSQL and Airflow in {HOME}", flush=True)
        with airflow_stack(
            processes, connection=cca.connection_json, storage=store, scheduled=False
        ) as airflow:

            def picture(name: str) -> None:
                with browser_page(airflow, WINDOW) as page:
                    take(page, airflow, "light", pictures / f"coverage-{name}.png")

            return Year(cca, airflow, store, days).run(random.Random(seed), picture)


def server() -> Simulator:
    """The server of the figures: 3 sites, files of 50 KB, each answer after 50 ms."""
    return Simulator(days=400, sites=SITES, file_size=FILE_BYTES, latency=LATENCY_SECONDS)


@dataclass(frozen=True)
class Year:
    """The run: a server, an Airflow, an empty store, and which days of which reports."""

    cca: Simulator
    airflow: Stack
    store: Path
    days: int
    reports: Sequence[str] = REPORTS

    def run(self, dice: random.Random, picture: Picture = lambda name: None) -> Outcome:
        """Land, damage, look, heal, and look again; `picture` takes one of the coverage page."""
        for dag_id in (LANDING, RECONCILING):
            self.airflow.unpause(dag_id)
        truth = self.truth()  # also makes the bodies of all files, for both sides alike
        # The first task of all waits ten seconds for the api-server, which only then builds its answers.
        empty = self.reconcile(dry_run=True)
        curl = [self.curl()]
        landed = self.land()
        curl.append(self.curl())
        outcome = Outcome(truth, empty, curl, landed, after_landing=[*differences(self.store, truth)])
        outcome.damage = damage(self.store, dice)
        outcome.dry_run = self.reconcile(dry_run=True)
        outcome.gaps = self.coverage()["gaps"]
        picture("before")
        outcome.healed = self.reconcile()
        outcome.after_healing = [*differences(self.store, truth)]
        outcome.coverage = self.coverage()
        picture("after")
        outcome.again = self.reconcile()
        return outcome

    @property
    def first(self) -> date:
        """The first day."""
        return datetime.now(UTC).date() - timedelta(days=self.days)

    def truth(self) -> Truth:
        """What the server has of these days."""
        truth: dict[str, list[str]] = {}
        for report, folder, key in self._scopes():
            for file in self.cca.truth(report, self._first_of(report), **key):  # type: ignore[arg-type]
                day = file.creation_date
                part = f"month={day:%Y-%m}" if report == "peak_port_monthly" else f"date={day}"
                truth.setdefault(f"{folder}/creation_{part}", []).append(file.md5)
        return {folder: sorted(digests) for folder, digests in truth.items()}

    def links(self) -> list[str]:
        """The links of all these files, as the listings give them."""
        now, found = self.cca.now(), []
        for report, _, key in self._scopes():
            scope = next(iter(key.values()), None)
            first = self._first_of(report)
            found += self.cca.world.files(report, scope, first, now=now)  # type: ignore[arg-type]
        return [self.cca.link(file, position) for position, file in enumerate(found)]

    def _scopes(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Report, folder, and what the report is divided by."""
        for report in self.reports:
            if report == "cdr_compressed":
                yield report, report, {}
                continue
            name, values = ("site", self.cca.world.sites) if report == "cdr" else ("level", LEVELS)
            yield from ((report, f"{report}/{name}={value}", {name: value}) for value in values)

    def _first_of(self, report: str) -> date:
        return self.first.replace(day=1) if report == "peak_port_monthly" else self.first

    def curl(self) -> float:
        """Seconds in which curl fetches the same files, with a ready list and a ready token."""
        links, token = self.links(), self.cca.issue(self.cca.account)
        with TemporaryDirectory(prefix="cca-curl-") as folder:
            lines = [f'header = "Authorization: Bearer {token.value}"']
            for number, link in enumerate(links):
                lines += [f'url = "{link}"', f'output = "{folder}/{number}"']
            listed = Path(folder, "links")
            listed.write_text("\n".join(lines))
            options = ["-Z", "--parallel-max", str(CONNECTIONS), "-sS", "--no-progress-meter", "--fail"]
            started = time.monotonic()
            subprocess.run(["curl", *options, "-K", str(listed)], check=True, timeout=RUN_SECONDS)
            seconds = time.monotonic() - started
            if len(list(Path(folder).iterdir())) != len(links) + 1:
                raise StepError("curl", f"did not fetch {len(links)} files")
        return seconds

    def land(self) -> Step:
        """Run `cca_land_range`."""
        conf: dict[str, Any] = {"reports": list(self.reports), "from": str(self.first)}
        return self._run(LANDING, conf)

    def reconcile(self, *, dry_run: bool = False) -> Step:
        """Run `cca_reconcile`."""
        conf = {"reports": list(self.reports), "lookback_days": self.days, "dry_run": dry_run}
        return self._run(RECONCILING, conf, "reconcile")

    def coverage(self) -> dict[str, Any]:
        """The coverage as it was written last."""
        return dict(json.loads((self.store / "_coverage.json").read_text()))

    def _run(self, dag_id: str, conf: Mapping[str, Any], task_id: str = "") -> Step:
        print(f"  {dag_id} {dict(conf)}", flush=True)
        before, started = len(self.cca.requests), time.monotonic()
        api = self.airflow.api
        run_id = api.trigger(dag_id, conf)

        def ended() -> str | None:
            state = str(api.run(dag_id, run_id)["state"])
            return state if state in FINISHED else None

        state = wait_until(dag_id, ended, RUN_SECONDS, watch=self.airflow.processes.check)
        seconds = time.monotonic() - started
        tasks = [task for task in api.task_instances(dag_id) if task["dag_run_id"] == run_id]
        if state != "success":
            logs = [str(self.airflow.task_log(task)) for task in tasks if task["state"] != "success"]
            raise StepError(dag_id, f"ended as {state}, see {', '.join(logs)}")
        starts, ends = (
            [datetime.fromisoformat(t[name]) for t in tasks] for name in ("start_date", "end_date")
        )
        returned = api.xcom(dag_id, run_id, task_id) if task_id else {}
        task_seconds = (max(ends) - min(starts)).total_seconds()
        events = api.asset_events(dag_id, run_id)
        return Step(seconds, task_seconds, self.cca.requests[before:], returned, events)


if __name__ == "__main__":
    sys.exit(main())
