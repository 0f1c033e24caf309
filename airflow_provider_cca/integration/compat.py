"""What Airflow keeps in different places, by version."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )
    from airflow.sdk.log import amask_secret
else:
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # Airflow 3.1 and 3.2

        async def amask_secret(secret: Any) -> None:
            """Here, and in the process that writes the log. The public `mask_secret`, called by a thread,
            ends all triggers of Airflow 3.1 to 3.2.1."""
            from airflow.sdk._shared.secrets_masker import mask_secret
            from airflow.sdk.execution_time import task_runner
            from airflow.sdk.execution_time.comms import MaskSecret

            mask_secret(secret)
            with suppress(Exception):
                if comms := getattr(task_runner, "SUPERVISOR_COMMS", None):
                    await comms.asend(MaskSecret(value=secret))

    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # Airflow 3.1
        from airflow.configuration import conf
    try:
        from airflow.sdk.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
        )
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
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
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "amask_secret",
    "conf",
    "stats",
]
