"""A whole Airflow on this machine: PostgreSQL, scheduler, dag-processor, triggerer and api-server.

It listens on loopback only and starts without any run in it; everything it writes lies in its home.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .api import FINISHED, AirflowApi
from .postgres import postgres
from .processes import Children, StepError, free_port, tail, wait_until

ROOT = Path(__file__).resolve().parents[2]
USER = "admin"
SQL_ALCHEMY_CONN = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
API_PORT = 8080
COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")
COMMAND_SECONDS = 180
HEALTH_SECONDS = 120
PARSE_SECONDS = 60

Run = dict[str, Any]


@dataclass(frozen=True)
class Secrets:
    """What one home needs to sign, encrypt and log in with; made once, kept in it."""

    password: str
    jwt: str
    fernet: str

    @classmethod
    def of(cls, home: Path) -> Secrets:
        file = home / "secrets.json"
        if not file.exists():
            fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            made = {"password": secrets.token_urlsafe(9), "jwt": secrets.token_hex(64), "fernet": fernet}
            write_private(file, json.dumps(made))
        return cls(**json.loads(file.read_text()))


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


@dataclass(frozen=True)
class Stack:
    """A running Airflow."""

    env: Mapping[str, str]
    api: AirflowApi
    password: str
    processes: Children

    @property
    def url(self) -> str:
        """The address of the UI."""
        return self.api.url

    @property
    def task_logs(self) -> Path:
        """Where Airflow writes what tasks log."""
        return self.processes.home / "logs"

    def cli(self, *arguments: str) -> str:
        """Run `airflow …` against this Airflow; returns what it printed."""
        return run_airflow(self.processes, self.env, *arguments)

    def unpause(self, dag_id: str) -> None:
        """Wait until the DAG is parsed, then let it run."""
        step = f"DAG {dag_id}"
        log = self.processes.logs / "dag-processor.log"

        def watch() -> None:
            self.processes.check()
            if errors := self.api.import_errors():
                raise StepError(step, "cannot be imported\n" + "\n".join(errors), log)

        wait_until(step, lambda: self.api.has_dag(dag_id), PARSE_SECONDS, watch=watch, log=log)
        self.api.unpause(dag_id)

    def wait_for_runs(
        self,
        list_runs: Callable[[], list[Run]],
        seconds: float,
        show: Callable[[list[Run]], None] = lambda runs: None,
    ) -> list[Run]:
        """Wait until all runs that `list_runs` gives have ended, well or not; `show` sees them on the way."""

        def finished() -> list[Run] | None:
            runs = list_runs()
            show(runs)
            return runs if runs and all(run["state"] in FINISHED for run in runs) else None

        return wait_until("backfill", finished, seconds, watch=self.processes.check, log=self.processes.logs)

    def task_log(self, instance: Mapping[str, Any]) -> Path:
        """Where Airflow keeps what a task said in its last attempt."""
        mapped = [f"map_index={instance['map_index']}"] if instance["map_index"] >= 0 else []
        return self.task_logs.joinpath(
            f"dag_id={instance['dag_id']}",
            f"run_id={instance['dag_run_id']}",
            f"task_id={instance['task_id']}",
            *mapped,
            f"attempt={instance['try_number']}.log",
        )


@contextmanager
def airflow_stack(
    processes: Children,
    *,
    connection: str,
    storage: Path,
    dags: Path = ROOT / "dags",
    port: int = API_PORT,
    scheduled: bool = True,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Stack]:
    """Start an Airflow in the home of `processes` and stop it at the end, whatever happens in between.

    `connection` is the connection `cca_default` as JSON, `storage` the value of the Variable `cca_storage`.
    Unless `scheduled`, runs come from backfills and triggers alone. `settings` are added to the environment.
    """
    home = processes.home
    keys = Secrets.of(home)
    env = environment(home, dags, keys, free_port(port))
    env |= {
        "AIRFLOW_CONN_CCA_DEFAULT": connection,
        "AIRFLOW_VAR_CCA_STORAGE": str(storage),
        "AIRFLOW_VAR_CCA_REPORTS": "cdr,cdr_compressed,peak_port_daily,peak_port_monthly",
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(scheduled),
        **settings,
    }
    with postgres(home / "postgres") as database:

        def migrate(url: str) -> None:
            run_airflow(processes, env | {SQL_ALCHEMY_CONN: url}, "db", "migrate")

        env[SQL_ALCHEMY_CONN] = database.fresh_database(version("apache-airflow"), migrate)
        try:
            yield _start(processes, env, keys)
        finally:
            # Before PostgreSQL goes: without their database the components would only log errors.
            processes.stop()


def _start(processes: Children, env: Mapping[str, str], keys: Secrets) -> Stack:
    write_private(
        Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]), json.dumps({USER: keys.password})
    )
    for name in COMPONENTS:
        processes.start(name, [sys.executable, "-m", "airflow", name, *_options(name)], env, processes.home)
    api = AirflowApi(env["AIRFLOW__API__BASE_URL"])
    wait_until("Airflow's health", api.is_healthy, HEALTH_SECONDS, watch=processes.check, log=processes.logs)
    api.login(USER, keys.password)
    return Stack(env, api, keys.password, processes)


def _options(component: str) -> list[str]:
    # The log servers listen on all addresses; on one machine everybody reads the files.
    return ["--skip-serve-logs"] if component in ("scheduler", "triggerer") else []


def run_airflow(processes: Children, env: Mapping[str, str], *arguments: str) -> str:
    """Run one `airflow …` command; one that fails is a StepError with the end of what it said."""
    step = "airflow " + " ".join(arguments[:2])
    log = processes.logs / f"{'-'.join(arguments[:2])}.log"
    with log.open("wb") as errors:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", *arguments],
                env=dict(env),
                cwd=processes.home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StepError(step, f"not done after {COMMAND_SECONDS} s", log) from None
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        with log.open("a") as errors:
            errors.write(output)
        raise StepError(step, f"exit code {done.returncode}{tail(log)}", log)
    return output


def environment(home: Path, dags: Path, keys: Secrets, port: int) -> dict[str, str]:
    """Our environment without its Airflow settings, plus the settings of this Airflow."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    url = f"http://127.0.0.1:{port}"
    return inherited | {
        # The code of this checkout, also when another one is installed.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # A task must reach its api-server and the simulator even where a proxy is set.
        "NO_PROXY": "127.0.0.0/8,127.0.0.1,127.0.0.2,localhost",
        "no_proxy": "127.0.0.0/8,127.0.0.1,127.0.0.2,localhost",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__FERNET_KEY": keys.fernet,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": keys.jwt,
        "AIRFLOW__API_AUTH__JWT_SECRET": keys.jwt,
        # The scheduler's default of a second between two looks is most of the time that a small run takes.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
