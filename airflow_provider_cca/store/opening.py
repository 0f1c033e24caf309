"""Open the store at a path. Plain Python: no Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import Store


def store_at(path: Any) -> Store:
    """Open anything with `fs` and `path`, such as ObjectStoragePath or UPath, or a local path."""
    if not hasattr(path, "fs"):
        return LocalStore(str(Path(path).absolute()))
    from fsspec.implementations.local import LocalFileSystem

    from airflow_provider_cca.store.any_filesystem import FsspecStore

    if isinstance(path.fs, LocalFileSystem):
        return LocalStore(path.path)
    if type(path.fs).__name__ == "SSHFileSystem":
        from airflow_provider_cca.store.sftp import SftpStore

        return SftpStore(path.fs, path.path)
    return FsspecStore(path.fs, path.path)
