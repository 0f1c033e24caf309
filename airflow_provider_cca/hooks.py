"""From an Airflow connection of type `cca` to a client."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary, ref

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from airflow_provider_cca import form
from airflow_provider_cca.compat import AirflowNotFoundException, amask_secret
from airflow_provider_cca.config import DEFAULT_DOWNLOAD_HOSTS, DEFAULT_HOST, CcaConfig
from airflow_provider_cca.errors import CcaError, InvalidConnection, MalformedListing, UnreadableAnswer
from airflow_provider_cca.links import is_host
from airflow_provider_cca.reports import MAX_CONNECTIONS

if TYPE_CHECKING:
    from airflow_provider_cca.client import CcaClient
    from airflow_provider_cca.site_list import SiteRow

MASKING_SECONDS = 10.0
"""How long a thread of a trigger waits until its secret is masked."""

MOST_ASKING = 16
"""How many triggers ask Airflow for their connection at the same time."""


class CcaHook(BaseHook):
    """A CCA server, as the machine account of a connection sees it.

    :param cca_conn_id: The connection, of type `cca`.
    :param attempts: How often a call is made when it fails in a way that may pass.
    """

    conn_name_attr = "cca_conn_id"
    default_conn_name = "cca_default"
    conn_type = form.CONNECTION_TYPE
    hook_name = form.NAME

    def __init__(self, cca_conn_id: str = default_conn_name, attempts: int = 6) -> None:
        super().__init__()
        self.cca_conn_id = cca_conn_id
        self.attempts = attempts

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return {key.replace("-", "_"): value for key, value in form.FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form.widgets()

    def get_conn(self) -> CcaClient:
        """A client; use it in a `with` block. Raises InvalidConnection when the connection cannot be used."""
        return self._client(self._connection(), mask_secret)

    async def aget_conn(self) -> Callable[[], CcaClient]:
        """In a trigger: what gives the client, to be called in a thread, since a client blocks.

        Airflow is asked for the connection, and told what is secret, on the event loop: asked from threads,
        the triggerers of Airflow 3.1 to 3.2.1 end. Raises as `get_conn` does.
        """
        triggers = _Triggers.of_this_loop()
        async with triggers.asking:
            with self._missing_named():
                connection = await self.aget_connection(self.cca_conn_id)
        return partial(self._client, connection, triggers.mask)

    def _client(self, connection: Connection, mask: Callable[[Any], None]) -> CcaClient:
        try:
            return client_of(connection, self.attempts, mask)
        except InvalidConnection as error:
            raise InvalidConnection(f"connection {self.cca_conn_id!r}: {error}") from error

    def site_rows(self) -> list[SiteRow]:
        """The list of all active sites as typed values (§3.7); raises TruncatedSnapshot when it was cut."""
        from airflow_provider_cca.site_list import rows, whole

        with self.get_conn() as client:
            return client.session.retry.call(lambda: list(rows(whole(client.site_list()))))

    def test_connection(self) -> tuple[bool, str]:
        """Log in anew and list one site; whether that works, in a sentence for the connection form.

        One attempt each: somebody waits at the form, and can press the button again.
        """
        try:
            # Not get_conn: the form tests under an id that it has made up, which should be in no message.
            with client_of(self._connection(), 1, mask_secret) as client:
                try:
                    client.session.log_in_anew()
                    total, site = client.first_site()
                except (UnreadableAnswer, MalformedListing) as error:
                    return False, f"{error}: is {client.config.host} the host of a CCA server?"
        except CcaError as error:
            return False, str(error)
        return True, f"Logged in; {total} sites" + (f", the first of them {site.name}" if site else "")

    def _connection(self) -> Connection:
        with self._missing_named():
            return self.get_connection(self.cca_conn_id)

    @contextmanager
    def _missing_named(self) -> Iterator[None]:
        try:
            yield
        except AirflowNotFoundException as error:
            raise InvalidConnection(
                f"there is no connection {self.cca_conn_id!r}: create it under Admin > Connections, or with "
                f"airflow connections add {self.cca_conn_id} --conn-type cca --conn-login … --conn-password …"
            ) from error


class _Triggers:
    """What all triggers on one event loop share."""

    _known: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, _Triggers]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.asking = asyncio.Semaphore(MOST_ASKING)
        """A thousand that wake up at once would hold the loop for as long as all of them need to ask."""
        self._loop = ref(asyncio.get_running_loop())
        self._masked: set[int] = set()

    @classmethod
    def of_this_loop(cls) -> _Triggers:
        return cls._known.setdefault(asyncio.get_running_loop(), cls())

    def mask(self, secret: Any) -> None:
        """From a thread; once, since each look of each trigger would else tell it again."""
        loop, known = self._loop(), hash(repr(secret))
        if loop and known not in self._masked:
            with suppress(TimeoutError):  # as when the loop is about to end
                asyncio.run_coroutine_threadsafe(amask_secret(secret), loop).result(MASKING_SECONDS)
                self._masked.add(known)


def client_of(connection: Connection, attempts: int, mask: Callable[[Any], None]) -> CcaClient:
    """Raises InvalidConnection, which does not name the connection.

    :param mask: Is told every secret, the token with each login.
    """
    # requests is half of what importing this package would cost each parse of a DAG file.
    from airflow_provider_cca.client import CcaClient

    mask(_extra(connection))  # of a dict, what goes by the name of a secret
    config = config_from(connection)
    mask(config.password)
    if proxy_password := urlsplit(config.proxy or "").password:
        mask(proxy_password)
        mask(unquote(proxy_password))
    return CcaClient(config, on_token=mask, attempts=attempts)


def config_from(connection: Connection) -> CcaConfig:
    """The one place that reads a connection; raises InvalidConnection on a field that cannot be used."""
    extra = _extra(connection)
    return CcaConfig(
        account=connection.login or "",
        password=connection.password or "",
        host=_text(connection.host or "") or DEFAULT_HOST,
        schema=_text(connection.schema or "").lower() or "https",
        # A form that makes a number of an empty field, as Airflow 3.3's does of one that never had a value,
        # sends 0.
        port=int(connection.port or 0) or None,
        download_hosts=_read(extra, "download_hosts", _hosts, DEFAULT_DOWNLOAD_HOSTS),
        allow_http=_read(extra, "allow_http", _flag, False),
        verify=_read(extra, "verify", _flag_or_path, True),
        proxy=_read(extra, "proxy", _text, None),
        max_connections=_read(extra, "max_connections", _whole_number, MAX_CONNECTIONS),
        connect_timeout=_read(extra, "connect_timeout", _number, CcaConfig.connect_timeout),
        read_timeout=_read(extra, "read_timeout", _number, CcaConfig.read_timeout),
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
        shown = "not a text" if name == "proxy" else re.sub(r"//.*@", "//…@", repr(value)[:200])
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


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _whole_number(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)
