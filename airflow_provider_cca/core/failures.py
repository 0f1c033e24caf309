"""Which failures concern one thing alone, and which all. No I/O."""

from __future__ import annotations

from airflow_provider_cca.errors import Closed, InvalidConnection, Unauthorized

FATAL_FOR_ALL = (Unauthorized, InvalidConnection, Closed)
"""What would fail for every listing alike."""
