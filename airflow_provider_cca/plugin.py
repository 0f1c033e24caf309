"""The coverage page and the documentation, as Airflow finds them: by the entry point of `airflow.plugins`.

Plugins load in every process of Airflow, tasks included, so this module imports next to nothing: what the
pages are made of comes in with the first request, in the api-server alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

Message = MutableMapping[str, Any]

URL_PREFIX = "/cca/coverage"
"""Where the page is, below the root of Airflow's UI."""

DOCS_PREFIX = "/cca/docs"
"""Where the documentation is."""


async def coverage_page(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The coverage page as an ASGI application, which is built when it is first asked for."""
    from airflow_provider_cca.ui.coverage_page.app import app

    await app(scope, receive, send)


async def docs_page(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The documentation, likewise."""
    from airflow_provider_cca.ui.docs_page.app import app

    await app(scope, receive, send)


async def with_slash(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Lead from an address that lacks its last slash to the page, which Airflow would not find."""
    page = str(scope["path"]).rpartition("/")[2]
    known = f"/cca/{page}" in {URL_PREFIX, DOCS_PREFIX}
    headers = [(b"location", f"{page}/".encode()), (b"content-length", b"0")]
    await send(
        {
            "type": "http.response.start",
            "status": 307 if known else 404,
            "headers": headers if known else headers[1:],
        }
    )
    await send({"type": "http.response.body", "body": b""})


class CcaPlugin(AirflowPlugin):
    """An entry of the navigation, the page behind it, and the documentation."""

    name = "cca"
    fastapi_apps = [  # noqa: RUF012 - Airflow reads these attributes of the class
        {"app": coverage_page, "url_prefix": URL_PREFIX, "name": "CCA coverage"},
        {"app": docs_page, "url_prefix": DOCS_PREFIX, "name": "CCA documentation"},
        # The last, since it takes whatever lies below.
        {"app": with_slash, "url_prefix": "/cca", "name": "CCA addresses without a slash"},
    ]
    external_views = [  # noqa: RUF012
        {
            # So short that the navigation shows it whole.
            "name": "Coverage",
            # Relative, so that it also works where Airflow is served below a path.
            "href": f"{URL_PREFIX.removeprefix('/')}/",
            "icon": f"{URL_PREFIX.removeprefix('/')}/icon.svg",
            "destination": "nav",
            "url_route": "cca-coverage",
            "nav_top_level": True,
        }
    ]
