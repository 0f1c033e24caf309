"""docker-compose.yaml as `docker compose` reads it: anchors merged, variables filled in, profiles chosen.

Enough of the format for our own file; tests hold it against `docker compose config` where that is installed.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "docker-compose.yaml"
MAKE_ENV = ROOT / "docker" / "make-env.sh"

Service = dict[str, Any]

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\})"
)
_UNITS = {"s": 1.0, "m": 60.0}


def as_written() -> dict[str, Service]:
    """The services with their variables in place, whatever their profile."""
    return dict(yaml.safe_load(FILE.read_text())["services"])


def services(env: Mapping[str, str], profiles: Sequence[str] = ()) -> dict[str, Service]:
    """The services that `docker compose --profile …` would start; `env` is what .env holds."""
    found = {
        name: filled(service, env)
        for name, service in as_written().items()
        if not service.get("profiles") or set(service["profiles"]) & set(profiles)
    }
    for service in found.values():
        service["command"] = _words(service.get("command"))
    return found


def filled(value: Any, env: Mapping[str, str]) -> Any:
    """The value with its variables filled in; KeyError for one that must be set and is not."""
    if isinstance(value, dict):
        return {key: filled(each, env) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, env) for each in value]
    return _VARIABLE.sub(lambda found: _value_of(found, env), value) if isinstance(value, str) else value


def _value_of(found: re.Match[str], env: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    value = env.get(found["name"], "")
    if value or found["kind"] is None:
        return value
    if found["kind"] == "?":
        raise KeyError(f"{found['name']}: {found['rest']}")
    return filled(found["rest"], env)


def _words(command: str | list[str] | None) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command or [])


def seconds(duration: str) -> float:
    """`10s` or `2m`."""
    return float(duration[:-1]) * _UNITS[duration[-1]]


def dotenv(path: Path) -> dict[str, str]:
    """What an .env that make-env.sh wrote holds."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.partition("=") for line in lines]
    return {name: value.removeprefix("'").removesuffix("'") for name, _, value in pairs}


def make_env(folder: Path) -> Path:
    """Have a copy of make-env.sh write an .env in `folder`, as in a clone."""
    (folder / "docker").mkdir(parents=True, exist_ok=True)
    script = shutil.copy(MAKE_ENV, folder / "docker")
    subprocess.run(["sh", script], check=True, capture_output=True, timeout=60)
    return folder / ".env"


def compose_command() -> list[str] | None:
    """How `docker compose` of version 2 is called here, if it is here; it needs no engine to read a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, timeout=60, check=False
            )
            if done.returncode == 0 and done.stdout.lstrip("v").startswith(("2.", "3.", "4.", "5.")):
                return command
    return None
