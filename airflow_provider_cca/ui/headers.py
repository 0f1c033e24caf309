"""The headers of all pages that the plugin serves. Never imports Airflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import Request, Response

HEADERS = {
    # Nothing from elsewhere, no script or style within the page, and no frame but Airflow's own UI.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Ask every time: a 304 costs little, and an older script beside a newer page would break it.
    "Cache-Control": "private, no-cache",
}


async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """The same headers on every answer."""
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response
