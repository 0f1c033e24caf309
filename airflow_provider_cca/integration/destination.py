"""From a destination, as users write it, to a store."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_cca.core.destination import Destination
from airflow_provider_cca.errors import CcaError, DestinationUnusable
from airflow_provider_cca.integration.compat import AirflowNotFoundException
from airflow_provider_cca.reports import MAX_CONNECTIONS

if TYPE_CHECKING:
    from airflow_provider_cca.store.object_store import Store

PUBLISHING_WORKERS = 4
"""More threads than connections: while some files are being published, others come in."""


def open_store(destination: object, argument: str = "destination") -> Store:
    """Open the store at an absolute path, or at a URL such as s3://aws_default@bucket/cca.

    Asks Airflow for the connection, so call it at run time alone. Raises InvalidArgument when it is no
    destination, and DestinationUnusable when its connection or the provider of its store is missing.

    :param argument: Where it was given, for messages.
    """
    from airflow_provider_cca.store.object_store import error_of
    from airflow_provider_cca.store.opening import store_at

    where = Destination.parse(destination, argument)
    if where.scheme == "file":
        # ObjectStoragePath would import every store's library first, which takes longer than a landing.
        return store_at(where.root or "/")
    extra, opened = _KINDS.get(where.scheme, ("", _filesystem))
    needs = f"'airflow-provider-cca[{extra}]'" if extra else "the provider of its store"
    cannot = f"{argument} {where.url()!r} cannot be opened"
    _quiet()
    try:
        if where.conn_id and where.conn_id != "aws_default":
            _must_exist(where.conn_id)
        return opened(where)
    except ImportError as error:
        raise DestinationUnusable(f"{cannot} ({error}): install {needs}, as with pip") from error
    except ValueError as error:
        raise DestinationUnusable(
            f"{cannot} ({error}): check it, its connection, and that {needs} is installed"
        ) from error
    except CcaError:
        raise
    except Exception as error:
        raise error_of(error, cannot) from error


def _quiet() -> None:
    """Keep clients from logging a dozen lines for each request, unless somebody asked for them."""
    for name in ("azure.core.pipeline.policies.http_logging_policy", "asyncssh"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def _must_exist(conn_id: str) -> None:
    """Raise ValueError unless the connection is there: hooks would take whatever rights the worker has."""
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ValueError(f"there is no connection {conn_id!r}") from None


def _s3(where: Destination) -> Store:
    """A bucket, through the client of Airflow's own hook: s3fs takes several times as long an object."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    from airflow_provider_cca.store.s3 import S3Store

    if not where.root:
        raise ValueError("it names no bucket")
    hook = S3Hook(aws_conn_id=where.conn_id or None)
    # A checksum of boto3's own would be sent behind the object over https, without Content-Length, which Ceph
    # and others refuse.
    config = Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    ).merge(hook.config)
    own = Config(max_pool_connections=MAX_CONNECTIONS + PUBLISHING_WORKERS)
    if proxy := hook.service_config.get("proxy-uri"):
        own = own.merge(Config(proxies={"http": proxy, "https": proxy}))
    return S3Store(hook.get_client_type(config=config.merge(own)), where.root)


def _gcs(where: Destination) -> Store:
    """A bucket, through Google's client: gcsfs holds 100 MB of each file, and asks by gRPC first."""
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    from google.cloud import storage

    from airflow_provider_cca.store.gcs import GcsStore

    options: dict[str, Any] = {}
    pays: str | None = None
    if where.conn_id:
        hook = GoogleBaseHook(gcp_conn_id=where.conn_id)
        options = {"credentials": hook.get_credentials(), "project": hook.project_id or None}
        # The extras that Airflow's own filesystem reads.
        if endpoint := hook.extras.get("gcs.endpoint"):
            options["client_options"] = {"api_endpoint": endpoint}
        if hook.extras.get("gcs.requester-pays"):
            pays = hook.project_id
    client = storage.Client(**options)
    adapter = type(client._http.get_adapter("https://"))
    for scheme in ("https://", "http://"):  # its own pool is smaller, and warns of each connection beyond
        client._http.mount(scheme, adapter(pool_maxsize=MAX_CONNECTIONS + PUBLISHING_WORKERS))
    return GcsStore(client, where.root, pays)


def _azure(where: Destination) -> Store:
    """A container, through the client and credentials of Airflow's own filesystem."""
    from airflow.providers.microsoft.azure.fs.adls import get_fs

    from airflow_provider_cca.store.azure import AzureStore

    return AzureStore(get_fs(where.conn_id or None), where.root)


def _filesystem(where: Destination) -> Store:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_cca.store.opening import store_at

    return store_at(ObjectStoragePath(where.url()))


_KINDS = {
    **dict.fromkeys(("s3", "s3a", "s3n"), ("s3", _s3)),
    **dict.fromkeys(("gs", "gcs"), ("gcs", _gcs)),
    **dict.fromkeys(("abfs", "abfss", "adl"), ("azure", _azure)),
    **dict.fromkeys(("sftp", "ssh"), ("sftp", _filesystem)),
}
"""Scheme -> the extra that installs what its store needs, and how it is opened."""
