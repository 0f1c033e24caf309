"""The login: machine account and password for a token (§3.3). No Airflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_cca.api.allowed_hosts import followed, origin
from airflow_provider_cca.api.answers import Answer
from airflow_provider_cca.api.auth import Token
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.error_responses import ERROR_NAMES, message_of, refusal, retry_after_seconds
from airflow_provider_cca.api.transport import Transport
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import (
    CcaError,
    ConnectionFailed,
    HostNotAllowed,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    UnreadableAnswer,
)

CREATED = 201


def log_in(transport: Transport) -> Token:
    """Log in by POST /v1/oauth/token (§3.3), and return the token.

    A redirect is not followed: it would take the password elsewhere. Raises Unauthorized when login and
    password are refused, also by a 200 that says so, and Unreachable when no answer comes.
    """
    try:
        return _log_in(transport, transport.config)
    except ConnectionFailed as error:
        unanswered = Unreachable(str(error), **vars(error))
    raise unanswered


def _log_in(transport: Transport, config: CcaConfig) -> Token:
    what = f"the login of {config.account}"
    with transport.deadline() as deadline:
        deadline.within(
            config.answer_seconds, f"no whole answer within {config.answer_seconds:g} s (answer_timeout)"
        )
        answer = transport.send(
            "POST",
            f"{config.api_root}/v1/oauth/token",
            what,
            deadline,
            headers=Secret({"Accept": "application/json"}),
            json=Secret({"accountName": config.account, "accountPassword": config.password.open()}),
        )
        try:
            if answer.status not in {200, CREATED}:
                raise _refusal(answer, config, what)
            # Not the answer: its token would be in a frame through which an error passes.
            token, said = _read(answer.json_object(0), config)
            if token:
                return token
            if said:
                raise _unauthorized(what, answer.status, said)
            raise UnreadableAnswer(f"{what} was answered without a usable accessToken (§3.3)")
        finally:
            answer.close()


def _read(answer: Mapping[str, Any], config: CcaConfig) -> tuple[Token | None, str]:
    """Return the token in an answer, or without one what it says of an error."""
    token = Token.from_api(answer)
    errors = {name: value for name, value in answer.items() if name in ERROR_NAMES and value}
    said = message_of(json.dumps(errors).encode(), (config.password,)) if errors and not token else ""
    return token, said


def _refusal(answer: Answer, config: CcaConfig, what: str) -> CcaError:
    status = answer.status
    said = message_of(answer.message_bytes(), (config.password,)) if status >= 400 else ""
    if status in {400, 401, 403, 406}:
        return _unauthorized(what, status, said)
    if answer.is_redirect:
        return UnexpectedAnswer(
            f"{what} is redirected{_leads_to(answer)} ({status}), and the password is not sent there: "
            "check host and schema of the connection",
            status=status,
        )
    wish = retry_after_seconds(answer.header("Retry-After"), datetime.now(UTC))
    return refusal(status, said, what=what, retry_after=wish)


def _unauthorized(what: str, status: int, said: str) -> Unauthorized:
    end = f'. The server says: "{said}"' if said else ""
    return Unauthorized(f"{what} was refused ({status}): check login and password of the connection{end}")


def _leads_to(answer: Answer) -> str:
    try:
        to = origin(followed(answer.url, answer.header("location")))
    except HostNotAllowed:
        to = ""
    return f" to {to}" if to else ""
