"""From a destination, as users write it, to a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_provider_cca.errors import DestinationUnusable
from airflow_provider_cca.integration.arguments import check_destination
from airflow_provider_cca.integration.compat import AirflowNotFoundException
from airflow_provider_cca.reports import MAX_CONNECTIONS

if TYPE_CHECKING:
    from airflow_provider_cca.store.object_store import Store

PUBLISHING_WORKERS = 4
"""More threads than connections: while some files are being published, others come in."""

S3_SCHEMES = ("s3://", "s3a://", "s3n://")


def open_store(destination: object, argument: str = "destination") -> Store:
    """The store at an absolute path, or at a URL such as s3://aws_default@bucket/cca.

    Asks Airflow for the connection, so call it at run time alone. Raises InvalidArgument when it is no
    destination, and DestinationUnusable when the provider of its store is not installed.

    :param argument: Where it was given, for messages.
    """
    from airflow_provider_cca.store.opening import store_at

    url = str(destination or "").strip()
    url = "" if url == "None" else url  # a template without a value
    check_destination(url, argument)
    if url.startswith(("/", "file://")):
        # ObjectStoragePath would import every store's library first, which takes longer than a landing.
        return store_at(url.removeprefix("file://"))
    try:
        if url.startswith(S3_SCHEMES):
            return _s3_store(url)
        from airflow.sdk import ObjectStoragePath

        return store_at(ObjectStoragePath(url))
    except ImportError as error:
        raise DestinationUnusable(
            f"{argument} {url!r} cannot be opened ({error}): install the provider of its store, "
            "as with pip install 'airflow-provider-cca[s3]' ([gcs], [azure])"
        ) from error
    except ValueError as error:
        raise DestinationUnusable(
            f"{argument} {url!r} cannot be opened ({error}): check it, its connection, and that the provider "
            "of its store is installed, as by pip install 'airflow-provider-cca[s3]' ([gcs], [azure])"
        ) from error


def _s3_store(url: str) -> Store:
    """A bucket, through the client of Airflow's own hook: s3fs takes several times as long an object."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    from airflow_provider_cca.store.s3 import S3Store

    place, _, prefix = url.partition("://")[2].partition("/")
    conn_id, _, bucket = place.rpartition("@")
    if not bucket:
        raise ValueError("it names no bucket")
    if conn_id and conn_id != S3Hook.default_conn_name:
        _must_exist(conn_id)
    hook = S3Hook(aws_conn_id=conn_id or None)
    own = Config(max_pool_connections=MAX_CONNECTIONS + PUBLISHING_WORKERS)
    if proxy := hook.service_config.get("proxy-uri"):
        own = own.merge(Config(proxies={"http": proxy, "https": proxy}))
    return S3Store(hook.get_client_type(config=hook.config.merge(own)), f"{bucket}/{prefix}")


def _must_exist(conn_id: str) -> None:
    """Raise ValueError unless the connection is there: the hook would take whatever rights the worker has."""
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ValueError(f"there is no connection {conn_id!r}") from None
