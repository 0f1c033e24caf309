"""From an Airflow connection of type `cca` to a client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import CcaError, InvalidConnection, MalformedListing, UnreadableAnswer
from airflow_provider_cca.integration import connection_form as form
from airflow_provider_cca.integration.compat import AirflowNotFoundException
from airflow_provider_cca.integration.connection import client_of
from airflow_provider_cca.integration.triggerer import SharedByTriggers

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.api.site_list import SiteRow


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
        triggers = SharedByTriggers.of_this_loop()
        async with triggers.asking:
            with self._missing_named():
                connection = Secret(await self.aget_connection(self.cca_conn_id))
        return partial(self._client, connection, triggers.mask)

    def _client(self, connection: Secret[Connection], mask: Callable[[Any], None]) -> CcaClient:
        try:
            return client_of(connection, self.attempts, mask)
        except InvalidConnection as error:
            raise InvalidConnection(f"connection {self.cca_conn_id!r}: {error}") from error

    def site_rows(self) -> list[SiteRow]:
        """The list of all active sites as typed values (§3.7); raises TruncatedSnapshot when it was cut."""
        from airflow_provider_cca.api.site_list import rows

        with self.get_conn() as client:
            return client.session.retry.call(lambda: list(rows(client.site_list())))

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

    def _connection(self) -> Secret[Connection]:
        with self._missing_named():
            return Secret(self.get_connection(self.cca_conn_id))

    @contextmanager
    def _missing_named(self) -> Iterator[None]:
        try:
            yield
        except AirflowNotFoundException as error:
            raise InvalidConnection(
                f"there is no connection {self.cca_conn_id!r}: create it under Admin > Connections, or with "
                f"airflow connections add {self.cca_conn_id} --conn-type cca "
                "--conn-port 443 --conn-login … --conn-password …"
            ) from error
