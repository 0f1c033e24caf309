"""The machine that was measured on, and the programs that are compared with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = {
    "curl": "curl",
    "aria2c": "aria2",
    "rclone": "rclone",
    "radosgw": "radosgw",
    "radosgw-admin": "radosgw",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "ceph": "ceph-common",
}
"""Program -> the package of Debian that has it."""


def install() -> str:
    """Install what is missing, where we may; what remains missing, in a sentence, or nothing."""
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        options = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *command], env=options, check=False, capture_output=True)
        missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    return f"Missing programs: install Debian's {' '.join(sorted(set(missing)))}" if missing else ""


def described() -> str:
    """What a reader needs to judge the figures, in one sentence."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = (
        f"{os.cpu_count()} cores of {_cpu()}",
        f"{memory:.0f} GiB of memory",
        f"{platform.system()} {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}",
        *(f"{name} {_version(package)}" for name, package in _SHOWN.items()),
        *(found for program in ("curl", "aria2c", "rclone", "radosgw") if (found := _program(program))),
    )
    return ", ".join(parts)


_SHOWN = {"Airflow": "apache-airflow", "requests": "requests", "boto3": "boto3"}


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _program(name: str) -> str:
    """The program and its version, without more of what it says about itself."""
    if not shutil.which(name):
        return ""
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
    number = next((word for word in said.split() if word.lstrip("v")[:1].isdigit()), "")
    return f"{name} {number}".strip()
