"""What a landing did to one partition. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_cca.core.partition import Partition, Scope


@dataclass(frozen=True)
class Landed:
    """What a landing did to one partition.

    :param manifest: Key of the manifest, relative to the destination.
    :param files: Files that the manifest names.
    :param bytes: Their bytes.
    :param downloaded: How many of them this landing had to download.
    :param written: Whether it wrote the manifest; if not, all was there already.
    """

    scope: Scope
    partition: Partition
    manifest: str
    files: int
    bytes: int
    downloaded: int
    written: bool = True
