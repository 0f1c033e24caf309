"""Read an Airflow connection of type `cca` into a config, and make its client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow.sdk import Connection

from airflow_provider_cca.api.allowed_hosts import is_host
from airflow_provider_cca.api.config import DEFAULT_DOWNLOAD_HOSTS, DEFAULT_HOST, CcaConfig
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import InvalidConnection
from airflow_provider_cca.reports import MAX_CONNECTIONS

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient


def client_of(connection: Secret[Connection], attempts: int, mask: Callable[[Any], None]) -> CcaClient:
    """Raises InvalidConnection, which does not name the connection.

    :param connection: As a secret, since the repr of a connection shows its password.
    :param mask: Is told every secret, the token with each login.
    """
    # requests is half of what importing this package would cost each parse of a DAG file.
    from airflow_provider_cca.api.client import CcaClient

    try:
        mask(_extra(connection.open()))  # of a dict, what goes by the name of a secret
        config = config_from(connection.open())
    except InvalidConnection as error:
        # Without the frames below, and those of its causes: their variables hold the password and the extra.
        fault = str(error)
    else:
        mask(config.password.open())
        for password in _proxy_passwords(config):
            mask(password.open())
        return CcaClient(config, on_token=mask, attempts=attempts)
    raise InvalidConnection(fault)


def _proxy_passwords(config: CcaConfig) -> list[Secret[str]]:
    """The password of the proxy, as it stands in the URL and as it is sent."""
    password = Secret(urlsplit(config.proxy.open()).password if config.proxy else None)
    return [Secret(password.open() or ""), Secret(unquote(password.open() or ""))] if password else []


def config_from(connection: Connection) -> CcaConfig:
    """The one place that reads a connection; raises InvalidConnection on a field that cannot be used."""
    extra = _extra(connection)
    return CcaConfig(
        account=connection.login or "",
        password=Secret(connection.password or ""),
        host=_text(connection.host or "") or DEFAULT_HOST,
        schema=_text(connection.schema or "").lower() or "https",
        # A form that makes a number of an empty field, as Airflow 3.3's does of one that never had a value,
        # sends 0.
        port=int(connection.port or 0) or None,
        download_hosts=_read(extra, "download_hosts", _hosts, DEFAULT_DOWNLOAD_HOSTS),
        allow_http=_read(extra, "allow_http", _flag, False),
        verify=_read(extra, "verify", _flag_or_path, True),
        proxy=_read(extra, "proxy", _secret_text, None),
        max_connections=_read(extra, "max_connections", _whole_number, MAX_CONNECTIONS),
        connect_timeout=_read(extra, "connect_timeout", _number, CcaConfig.connect_timeout),
        read_timeout=_read(extra, "read_timeout", _number, CcaConfig.read_timeout),
        answer_timeout=_read(extra, "answer_timeout", _number, None),
        min_speed=_read(extra, "min_speed", _number, CcaConfig.min_speed),
    )


def _extra(connection: Connection) -> dict[str, Any]:
    """Not by Airflow's own reading, which takes what is no JSON for an empty extra."""
    try:
        extra = json.loads((connection.extra or "").strip() or "null")
    except (ValueError, RecursionError):
        raise InvalidConnection("its extra is not a JSON object") from None
    if extra is not None and not isinstance(extra, dict):
        raise InvalidConnection("its extra is not a JSON object")
    return extra or {}


def _read(extra: Mapping[str, Any], name: str, kind: Callable[[Any], Any], default: Any) -> Any:
    value = extra.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return default
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        # A URL may hold a password, wherever it is pasted.
        shown = "not a text" if name == "proxy" else printable(re.sub(r"//.*@", "//…@", repr(value)), 200)
        raise InvalidConnection(f"{name} in its extra is {shown}, which cannot be used") from None


def _hosts(value: Any) -> tuple[str, ...]:
    """A list, the JSON text of one, or names separated by commas; "*." before a name says nothing new."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
    if not isinstance(value, list) or not all(isinstance(host, str) for host in value):
        raise TypeError
    hosts = tuple(host.strip().removeprefix("*.").lstrip(".") for host in value if host.strip())
    if not all(is_host(host) for host in hosts):
        raise ValueError
    return hosts


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in {"true", "1", "yes", "false", "0", "no"}:
        raise ValueError
    return text in {"true", "1", "yes"}


def _flag_or_path(value: Any) -> bool | str:
    try:
        return _flag(value)
    except ValueError:
        return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value.strip()


def _secret_text(value: Any) -> Secret[str]:
    return Secret(_text(value))


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _whole_number(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)
