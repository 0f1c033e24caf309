"""All that an Airflow stores, as text: what its database, its logs and its other files hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from sqlalchemy import create_engine, inspect, text

from .stack import SQL_ALCHEMY_CONN, Stack

# Its rows are read through SQL.
DATABASE_FOLDER = "postgres"

# Where a password belongs. Airflow encrypts it.
PASSWORDS = ("connection", "password")


def rows(airflow: Stack, *tables: str) -> Iterator[tuple[str, str]]:
    """Table and content of every row of these tables, or of all.

    What Airflow encrypts is decrypted, but for the passwords of connections: they appear as they are stored.
    """
    key = Fernet(airflow.env["AIRFLOW__CORE__FERNET_KEY"])
    engine = create_engine(airflow.env[SQL_ALCHEMY_CONN])
    try:
        with engine.connect() as connection:
            for table in tables or inspect(engine).get_table_names():
                for row in connection.execute(text(f'SELECT * FROM "{table}"')).mappings():
                    values = (
                        str(value) if (table, column) == PASSWORDS else _as_text(value, key)
                        for column, value in row.items()
                    )
                    yield f"table {table}", "\n".join(values)
    finally:
        engine.dispose()


def files(*folders: Path) -> Iterator[tuple[str, str]]:
    """Path and content of every file below these folders, the database's own left out."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and DATABASE_FOLDER not in path.relative_to(folder).parts:
                yield str(path), path.read_bytes().decode("latin-1")


def _as_text(value: Any, key: Fernet) -> str:
    match value:
        case memoryview() | bytes():
            return bytes(value).decode("latin-1")
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case str() if value.startswith("gAAAA"):
            return key.decrypt(value).decode()
    return str(value)
