"""What Airflow keeps in different places, by version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
    from airflow.sdk.log import mask_secret as mask_in_trigger
else:
    try:
        from airflow.sdk.configuration import conf
        from airflow.sdk.log import mask_secret as mask_in_trigger
    except ImportError:  # Airflow 3.1
        from airflow.configuration import conf

        # The other one tells the triggerer's supervisor too, and its answers to two threads get mixed up:
        # then all triggers end. This one masks in the process that asks, which is the one that logs.
        from airflow.sdk._shared.secrets_masker import mask_secret as mask_in_trigger
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
