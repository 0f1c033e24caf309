"""Which failures concern one thing alone, and which all. No I/O."""

from __future__ import annotations

from airflow_provider_cca.errors import Closed, InvalidConnection, Unauthorized, Unreachable

FATAL_FOR_ALL = (Unauthorized, InvalidConnection, Unreachable, Closed)
"""What would fail for every listing alike."""
