"""`make versions`: the tests of what meets Airflow, with the wheel installed, on the newest patch of each
Airflow that is supported but the newest, on which `make test` runs them; on the oldest also backfills with a
whole Airflow.

Each version has an environment of its own in .versions/, and the tests run in a folder that holds all of
this repository but the package: what they import is what users install.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENTS = ROOT / ".versions"
SUPPORTED = ("3.1", "3.2", "3.3")
OLDEST = SUPPORTED[0]
SECONDS = 1800
NOT_COPIED = ("airflow_provider_cca", "dist", ".git", ".venv", ".versions", ".airflow", ".*_cache")
# They build the package from its source, measure it, need a whole Airflow with its database, or are of what
# knows no Airflow, and is the same beside each.
LEFT_OUT = (
    *("package/test_wheel.py", "package/test_layers.py", "package/test_benchmarks.py", "live"),
    *("api", "core", "coverage", "landing", "reliability", "simulator", "store"),
)


def main() -> int:
    """Returns the exit status: 0 when the suite passes on all versions."""
    parser = argparse.ArgumentParser(prog="python -m tests.package.versions", description=__doc__)
    parser.add_argument("versions", nargs="*", default=SUPPORTED[:-1], help=f"such as {SUPPORTED[0]}")
    (wheel,) = (ROOT / "dist").glob("*.whl")
    versions = parser.parse_args().versions
    pythons = [_environment(version, wheel) for version in versions]
    with ThreadPoolExecutor(len(pythons)) as pool:
        outcomes = list(pool.map(_suite, pythons))
    if OLDEST in versions:
        outcomes.append(_backfills(pythons[versions.index(OLDEST)]))
    print("\n" + "\n".join(line for _, line in outcomes))
    return int(not all(passed for passed, _ in outcomes))


def _suite(python: Path) -> tuple[bool, str]:
    """Whether the suite passes in an environment, and a line that says so."""
    return _tested(python, "the suite", "-m", "not live", *(f"--ignore=tests/{name}" for name in LEFT_OUT))


def _backfills(python: Path) -> tuple[bool, str]:
    """The same of backfills with a whole Airflow, whose triggerer has ways of its own in each version."""
    group = f"{ROOT / 'pyproject.toml'}:database"
    _install(python, f"apache-airflow[postgres]=={OLDEST}.*", "--group", group)
    return _tested(python, "backfills", "-m", "live", "tests/live/test_backfills.py")


def _tested(python: Path, what: str, *arguments: str) -> tuple[bool, str]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cca-versions-") as folder:
        home = Path(folder, "repository")
        shutil.copytree(ROOT, home, ignore=shutil.ignore_patterns(*NOT_COPIED))
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/run"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        done = subprocess.run(
            [*command, *arguments],
            cwd=home,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    airflow = _run(python, "-c", "from importlib.metadata import version; print(version('apache-airflow'))")
    if done.returncode:
        print(done.stdout)
    counts = re.sub(r" in [\d.]+s.*", "", done.stdout.strip().splitlines()[-1].strip("= "))
    return not done.returncode, f"Airflow {airflow}, {what}: {counts} ({time.monotonic() - started:.0f} s)"


def _environment(version: str, wheel: Path) -> Path:
    """The Python of an environment with that Airflow, our wheel and what the tests need."""
    folder = ENVIRONMENTS / version
    python = folder / "bin" / "python"
    print(f"Installing Airflow {version} and {wheel.name} into {folder} ...", flush=True)
    if not python.exists():
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
    ours = ("--reinstall-package", "airflow-provider-cca", f"{wheel}[s3]")
    _install(python, *ours, f"apache-airflow=={version}.*", "--group", f"{ROOT / 'pyproject.toml'}:test")
    return python


def _install(python: Path, *wanted: str) -> None:
    _uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *wanted)


def _uv(*arguments: str) -> None:
    _run(Path(sys.executable), "-m", "uv", *arguments)


def _run(python: Path, *arguments: str) -> str:
    done: Sequence[str] = subprocess.run(
        [str(python), *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True
    ).stdout.splitlines()
    return done[-1] if done else ""


if __name__ == "__main__":
    sys.exit(main())
