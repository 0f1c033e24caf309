"""How an error of ours ends a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_cca.compat import AirflowFailException
from airflow_provider_cca.errors import CcaError


@contextmanager
def airflow_errors() -> Iterator[None]:
    """End what can never succeed as AirflowFailException, without retries; let the rest through."""
    try:
        yield
    except CcaError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
