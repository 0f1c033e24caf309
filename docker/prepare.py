"""Runs once before Airflow starts, and again after each upgrade: the tables, the administrator, the bucket.

What is there already is left as it is.
"""

from __future__ import annotations

import os
import subprocess

ADMIN = "admin"


def airflow(*arguments: str, answers: str = "") -> None:
    """Run `airflow …`, and end with it if it fails.

    :param answers: Given by standard input, since others can read a command line; without a terminal, which
        would else be asked for passwords.
    """
    command = ["airflow", *arguments]
    subprocess.run(command, check=True, input=answers, text=True, start_new_session=True)  # noqa: S603 - ours


def create_bucket(storage: str) -> None:
    """Create the bucket of a destination such as s3://aws_default@bucket/cca, unless it is there.

    When that fails it says so, and the stack comes up all the same.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    conn_id, _, bucket = storage.partition("://")[2].partition("/")[0].rpartition("@")
    try:
        hook = S3Hook(conn_id or None)
        if not hook.check_for_bucket(bucket):
            hook.create_bucket(bucket)
    # Everything waits for this service: its connection can still be made in the UI, and the bucket elsewhere.
    except Exception as error:  # noqa: BLE001 - whatever a store or its connection may raise
        print(f"The bucket {bucket} could not be checked or created, see to it yourself: {error}", flush=True)  # noqa: T201


def main() -> None:
    """Prepare all that the other services expect."""
    airflow("db", "migrate")
    names = ("--firstname", "Airflow", "--lastname", "Administrator", "--email", "admin@localhost")
    password = os.environ["ADMIN_PASSWORD"]
    # It asks for the password, and for the same again.
    airflow("users", "create", "--username", ADMIN, "--role", "Admin", *names, answers=f"{password}\n" * 2)
    storage = os.environ["AIRFLOW_VAR_CCA_STORAGE"]
    if storage.startswith("s3://"):
        create_bucket(storage)


if __name__ == "__main__":
    main()
