"""Which failures concern one thing alone, and which all; and how many are told as one. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    InvalidConnection,
    PartlyLanded,
    Unauthorized,
    Unreachable,
)

FATAL_FOR_ALL = (Unauthorized, InvalidConnection, Unreachable, Closed)
"""What would fail for every listing alike."""

SHOWN = 3


def partly_landed(
    sentence: str, failures: Mapping[str, CcaError], besides: CcaError | None = None
) -> PartlyLanded:
    """Return one error for many, which is worth another try when one of them is.

    :param failures: By what failed.
    :param besides: What else has failed, with `failures` of its own when it is a PartlyLanded.
    """
    return PartlyLanded(
        f"{sentence}{f'. {besides}' if besides else ''}",
        failures={what: error.as_dict() for what, error in failures.items()}
        | dict(getattr(besides, "failures", {})),
        retryable=any(error.retryable for error in (*failures.values(), *filter(None, [besides]))),
    )


def first_of(texts: Iterable[str]) -> str:
    """Return the first of many texts, and how many more there are."""
    every = [*texts]
    more = len(every) - SHOWN
    return "; ".join(every[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
