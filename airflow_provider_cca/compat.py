"""What Airflow keeps in different places, by version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The public one tells the supervisor too. Asked by a thread, the triggerers of Airflow 3.1 to 3.2.1 mix up
# its answers, and all triggers end. This one masks in the process that asks, which is the one that logs.
from airflow.sdk._shared.secrets_masker import mask_secret as mask_in_trigger

if TYPE_CHECKING:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
else:
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # Airflow 3.1
        from airflow.configuration import conf
    try:
        from airflow.sdk.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )


def stats() -> Any:
    """Airflow's metrics, an object with `incr`. Imported only by a task that runs."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # Airflow 3.1
        from airflow.stats import Stats
    return Stats


__all__ = [
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "conf",
    "mask_in_trigger",
    "stats",
]
