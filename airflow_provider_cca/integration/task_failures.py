"""How an error of ours ends a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_cca.errors import CcaError
from airflow_provider_cca.integration.compat import AirflowFailException


@contextmanager
def airflow_errors() -> Iterator[None]:
    """End what can never succeed as AirflowFailException, without retries; let the rest through.

    The message begins with the name of our error, under which the documentation says what to do.
    """
    try:
        yield
    except CcaError as error:
        if error.retryable:
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
