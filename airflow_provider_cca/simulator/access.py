"""Tokens: who holds them and until when (§3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(eq=False)
class Token:
    """`ordinal` counts from 1; it stands for the token in the log, where the token itself has no place."""

    value: str = field(repr=False)
    account: str
    ordinal: int
    issued: datetime
    expires: datetime


def bearer(authorization: str) -> str | None:
    """The token in an ``Authorization`` header."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None
