"""The machine of a composed stack without a container engine: namespaces of this process.

Whoever runs in it sees a network that is nothing but its own loopback, on which every port is free, the names
of the services in /etc/hosts, the users of the images, and the folders that the compose file mounts. Outside
nothing changes, and when the first process in it ends, the kernel ends all the others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

ENTER = (
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    # What is mounted inside is not seen outside.
    *("--propagation", "private"),
)
USERS = (("airflow", 50000, 0), ("postgres", 999, 999))
OPEN_TO_ALL = 0o755


def is_permitted() -> bool:
    """Whether this user may make such namespaces here: root may, except in most containers."""
    if not shutil.which("ip") or not shutil.which("setpriv"):
        return False
    try:
        return subprocess.run([*ENTER, "true"], capture_output=True, timeout=60, check=False).returncode == 0
    except FileNotFoundError:
        return False


def furnish(folder: Path, names: Iterable[str]) -> None:
    """Set up loopback, the names of the services and the users of the images; `folder` keeps the files."""
    _run("ip", "link", "set", "lo", "up")
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {os.uname().nodename} {' '.join(names)}\n")
    bind(hosts, Path("/etc/hosts"))
    users = folder / "passwd"
    known = Path("/etc/passwd").read_text()
    users.write_text(known + "".join(f"{name}:x:{uid}:{gid}::/:/bin/sh\n" for name, uid, gid in USERS))
    bind(users, Path("/etc/passwd"))


def bind(source: Path, target: Path, *, writable: bool = True) -> None:
    """Let `target`, which is made if it is not there, be another name of `source`."""
    if not target.exists():
        _make_room_in(target.parent)
        target.mkdir() if source.is_dir() else target.touch()
    _run("mount", "--bind", str(source), str(target))
    if not writable:
        _run("mount", "-o", "remount,bind,ro", str(target))


def open_the_way_to(path: Path) -> None:
    """Let all users reach `path`, also below a folder such as /root that is closed to them outside."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            _replace(folder)


def _make_room_in(folder: Path) -> None:
    if not folder.exists():
        _make_room_in(folder.parent)
        folder.mkdir()
    elif not _is_replaced(folder):
        _replace(folder)


_replaced: set[Path] = set()


def _is_replaced(folder: Path) -> bool:
    return any(each in _replaced for each in (folder, *folder.parents))


def _replace(folder: Path) -> None:
    """Put an empty folder of ours, in memory, in its place, with all that it holds bound into it."""
    children = sorted(folder.iterdir())
    handle = os.open(folder, os.O_RDONLY)  # the old one stays reachable through it
    try:
        _run("mount", "-t", "tmpfs", "-o", f"mode={OPEN_TO_ALL:o}", "tmpfs", str(folder))
        _replaced.add(folder)
        for child in children:
            original = Path(f"/proc/{os.getpid()}/fd/{handle}") / child.name
            if original.is_symlink():
                child.symlink_to(original.readlink())
            else:
                child.mkdir() if original.is_dir() else child.touch()
                # As it is: with its links resolved it would be the new, empty one.
                _run("mount", "--no-canonicalize", "--rbind", str(original), str(child))
    finally:
        os.close(handle)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
