"""``python -m airflow_provider_cca.simulator``: serve until interrupted."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from threading import Event

from airflow_provider_cca.simulator.simulator import ACCOUNT, PASSWORD, Simulator
from airflow_provider_cca.simulator.sites import ODD_SITES, plain_sites
from airflow_provider_cca.simulator.ways import Ways

PASSWORD_VARIABLE = "CCA_SIMULATOR_PASSWORD"  # noqa: S105 - the name of a variable
"""Environment variable with the password: as an option it would be seen in the list of processes."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_cca.simulator",
        description="A CCA server on this machine, for trying things out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=8089, help="0 takes any free port")
    add("--host", default="127.0.0.1", help="address of the API: a loopback one, unless exposed")
    add("--download-host", nargs="+", default=["127.0.0.2"], help="addresses or names that links lead to")
    add("--exposed", action="store_true", help="listen for other machines too, as inside a container")
    add("--certificate", help="PEM file of a certificate and its key: speak https")
    add("--account", default=ACCOUNT, help="machine account name")
    add("--password", help=f"machine account password; ${PASSWORD_VARIABLE}, else {PASSWORD}, if not given")
    add("--seed", type=int, default=1, help="another seed is another world")
    add("--days", type=int, default=400, help="creation dates, the last of them today")
    add("--today", help="YYYY-MM-DD; the real date (UTC) if not given")
    add("--sites", type=int, default=12, help="number of sites")
    add("--odd-sites", action="store_true", help="give the first sites names that are hard on URLs")
    add("--files-per-day", type=int, default=1, help="compressed files for each creation date")
    add("--file-size", type=int, help="bytes of every file; small and varied if not given")
    add("--latency", type=float, default=0.0, help="seconds before each answer")
    add("--created-at", default="07:24", help="HH:MM, UTC, from which the files of a date are created")
    add("--way", action="append", default=[], help="NAME=VALUE, how the document is read; may be repeated")
    add("--no-recovered", action="store_true", help="no recovered files")
    add("--no-quirks", action="store_true", help="no oddly written stamps")
    return parser.parse_args(argv)


def simulator(options: argparse.Namespace) -> Simulator:
    names = plain_sites(options.sites)
    if options.odd_sites:
        names = [*ODD_SITES, *names][: options.sites]
    return Simulator(
        options.seed,
        options.days,
        names,
        options.today,
        host=options.host,
        download_hosts=options.download_host,
        port=options.port,
        account=options.account,
        password=options.password or os.environ.get(PASSWORD_VARIABLE, PASSWORD),
        latency=options.latency,
        exposed=options.exposed,
        certificate=options.certificate,
        files_per_day=options.files_per_day,
        file_size=options.file_size,
        recovered=not options.no_recovered,
        quirks=not options.no_quirks,
        created_at=options.created_at,
        ways=Ways.parse(options.way),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print where it is, once it listens; return when interrupted or terminated."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with simulator(arguments(argv)).serve() as sim:
            connection = shlex.quote(sim.connection_json)
            sys.stdout.write(f"{sim.api_root} AIRFLOW_CONN_CCA_DEFAULT={connection}\n")
            sys.stdout.flush()
            stop.wait()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The simulator cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
