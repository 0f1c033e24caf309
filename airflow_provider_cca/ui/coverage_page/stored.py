"""From the Variables `cca_storage` and `cca_reports` to what a reconcile run found of these reports there.

This runs in Airflow's api-server, where `airflow.sdk` finds Variables and Connections in the database.
What is said to the reader names no connection and repeats no error of the store.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import lru_cache

from airflow.sdk import Variable

from airflow_provider_cca.coverage.document import SNAPSHOT_NAME, NewerVersion
from airflow_provider_cca.coverage.document_json import checked, of_reports
from airflow_provider_cca.integration.destination import open_store

log = logging.getLogger(__name__)

VARIABLE = "cca_storage"


class NoSnapshot(Exception):
    """There is nothing to show yet; says what to do."""


class UnreadableSnapshot(Exception):
    """There is something that cannot be shown; says what to do."""


@dataclass(frozen=True)
class Snapshot:
    """What the page is sent: JSON, and 32 hex digits that differ when it does."""

    content: bytes
    digest: str


def stored_snapshot() -> Snapshot:
    """Read and check the snapshot; raises NoSnapshot or UnreadableSnapshot."""
    destination = str(Variable.get(VARIABLE, default="") or "").strip()
    if not destination:
        raise NoSnapshot(
            f"The Airflow Variable {VARIABLE} is not set. Set it to the folder or bucket that files land in."
        )
    body = _read(destination)
    named = str(Variable.get("cca_reports", default="") or "").split(",")
    try:
        return _prepared(body, frozenset(name.strip() for name in named if name.strip()))
    except NewerVersion:
        raise UnreadableSnapshot(
            "The snapshot was written by a newer version of airflow-provider-cca than the one that Airflow's "
            "api-server has. Update it there."
        ) from None
    except ValueError as error:
        log.warning("The coverage snapshot cannot be shown: %s", error)
        raise UnreadableSnapshot(
            f"The snapshot {SNAPSHOT_NAME} is damaged. Run the DAG cca_reconcile: it writes a new one."
        ) from None


# Checking a snapshot of 10,000 gaps takes a tenth of a second, and it changes once a day.
@lru_cache(maxsize=1)
def _prepared(body: bytes, reports: frozenset[str]) -> Snapshot:
    data = checked(body)
    content = json.dumps(of_reports(data, reports) if reports else data, separators=(",", ":")).encode()
    return Snapshot(content, hashlib.sha256(content).hexdigest()[:32])


def _read(destination: str) -> bytes:
    try:
        found = open_store(destination).get(SNAPSHOT_NAME)
    # A store is opened with a connection, and hooks raise what they like.
    except Exception as error:  # noqa: BLE001
        log.warning("The store of the coverage snapshot cannot be read: %s: %s", type(error).__name__, error)
        raise UnreadableSnapshot(
            f"The store could not be read. Check the Airflow Variable {VARIABLE} and its connection; "
            "the log of the api-server has the error."
        ) from None
    if found is None:
        raise NoSnapshot("There is no snapshot yet. Run the DAG cca_reconcile: it writes one.")
    return found[0]
