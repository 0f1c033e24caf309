"""Open the store at a path. Plain Python: no Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.local import LocalStore
from airflow_provider_cca.store.object_store import Store


def store_at(path: Any) -> Store:
    """Open anything with `fs` and `path`, such as ObjectStoragePath or UPath, or a local path."""
    if not hasattr(path, "fs"):
        return LocalStore(LocalFileSystem(), str(Path(path).absolute()))
    kind = LocalStore if isinstance(path.fs, LocalFileSystem) else FsspecStore
    return kind(path.fs, path.path)
