"""End a task by an error of ours, with one line in its log that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from airflow_provider_cca import errors
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    InvalidArgument,
    NotLanded,
    OutsideRetention,
    StoreError,
)
from airflow_provider_cca.integration.compat import AirflowFailException, conf

log = logging.getLogger(__name__)

_RETRY = "let Airflow retry"
_CLEAR = "clear this task later, as no retry is left"
_THEN_CLEAR = "then clear this task"
_SHOW_CISCO = "show the message to Cisco"
_CORRECT_CONNECTION = f"correct it under Admin > Connections, {_THEN_CLEAR}"
_CHECK_NETWORK = f"check host and network; lower max_connections if it says 429; {_RETRY}"

REMEDIES: Mapping[str, str] = {
    "ConnectionFailed": _CHECK_NETWORK,
    "Unreachable": f"check host, proxy and network; {_RETRY}",
    "ServerFault": _CHECK_NETWORK,
    "TooManyConnections": _CHECK_NETWORK,
    "UnreadableAnswer": _CHECK_NETWORK,
    "IncompleteListing": _RETRY,
    "WrongSize": f"{_RETRY}; if it stays so, {_SHOW_CISCO}",
    "WrongChecksum": f"{_RETRY}; if it stays so, {_SHOW_CISCO}",
    "LinkExpired": f"nothing: the file is listed anew; if it stays so, {_SHOW_CISCO}",
    "TruncatedSnapshot": f"{_RETRY}; if it stays so, {_SHOW_CISCO}",
    "NotYetListed": f"{_RETRY}; a CcaFilesSensor before it would wait for the files",
    "Changed": _RETRY,
    "AlreadyExists": _RETRY,
    "StillProcessing": f"{_RETRY}; a CcaFilesSensor before it would wait for the files",
    "StoreError": _RETRY,
    "NotLanded": f"land that date; {_RETRY}",
    "DamagedArchive": _SHOW_CISCO,
    "UnsupportedArchive": _SHOW_CISCO,
    "HostileArchive": f"if the file is right, raise the limit that the message names, {_THEN_CLEAR}",
    "DestinationUnusable": f"correct it as the message says, {_THEN_CLEAR}",
    "InvalidArgument": f"correct the argument that the message names, {_THEN_CLEAR}",
    "InvalidRequest": f"correct the argument that the message names, {_THEN_CLEAR}",
    "InvalidConnection": _CORRECT_CONNECTION,
    "Unauthorized": _CORRECT_CONNECTION,
    "HostNotAllowed": f"if it is Cisco's, add it to download_hosts, {_THEN_CLEAR}",
    "OutsideRetention": "choose another date; what is gone for ever can be marked as success",
    "FileExpired": "ask Cisco",
    "AttemptsExhausted": "ask Cisco",
    "Forbidden": "ask Cisco",
    "MalformedListing": _SHOW_CISCO,
    "UnexpectedAnswer": _SHOW_CISCO,
    "ExpiresSoon": "see why they did not, and land them in time: the alarm",
}
"""Name of an error -> what to do about it, as the table "When a task fails" of the README says it."""

_NOT_OF_THE_CONNECTION = (
    Closed,
    DestinationUnusable,
    InvalidArgument,
    NotLanded,
    OutsideRetention,
    StoreError,
)


class airflow_errors:  # noqa: N801 - a context manager, used as a statement
    """Context manager: end what can never succeed as AirflowFailException, let Airflow retry the rest.

    What is raised has no frames, and of its causes those of ours alone: Airflow would log some fifty lines
    after the one that matters. All of them are logged at DEBUG.

    :param operator: Whose task it is: its connection is named, and its log ends in one line at ERROR.
    """

    def __init__(self, operator: Any = None) -> None:
        self._operator = operator

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, CcaError):
            return
        log.debug("What has led to the failure of this task:", exc_info=error)
        bare = _bare(error, getattr(self._operator, "cca_conn_id", None))
        if self._operator is not None:
            log_last(self._operator, bare)
        if bare.retryable:
            raise bare from bare.__cause__
        raise AirflowFailException(f"{type(bare).__name__}: {bare}") from bare


def failure_line(error: BaseException, *, retried: bool) -> str:
    """Return the line for the log of a failed task: name of the error, what, what to do, where explained.

    :param retried: Whether Airflow will try it again.
    """
    ours = error if isinstance(error, CcaError) else error.__cause__
    name = type(ours if isinstance(ours, CcaError) else error).__name__
    told = getattr(ours, "failures", {})
    kinds = {str(one.get("error")) for one in told.values()} if told else {name}
    remedies = dict.fromkeys(remedy for kind in sorted(kinds) if (remedy := _remedy(kind)))
    to_do = f" What to do: {'; '.join(remedies)}." if remedies else ""
    to_do = to_do if retried else to_do.replace(_RETRY, _CLEAR)
    pages = conf.get("api", "base_url", fallback="").rstrip("/")
    message = str(error).removeprefix(f"{name}: ").rstrip(".")
    return f"{name}: {message}.{to_do} Explained at {pages}/cca/docs/#when-a-task-fails"


def log_last(operator: Any, error: BaseException) -> None:
    """Log the line at ERROR after Airflow's own about the failure of this task, be it retried or not."""
    # Only now: callbacks that the DAG names would make the scheduler look for them.
    for name in ("on_failure_callback", "on_retry_callback"):
        line = _LastLine(failure_line(error, retried=name == "on_retry_callback"))
        others = [one for one in getattr(operator, name) or () if not isinstance(one, _LastLine)]
        setattr(operator, name, [*others, line])


class _LastLine:
    """Callback of Airflow that logs a line; a later failure of the same task replaces it."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __call__(self, context: Any) -> None:
        log.error("%s", self.line)


def _remedy(name: str) -> str | None:
    kinds = getattr(getattr(errors, name, None), "__mro__", ())
    return next((REMEDIES[kind.__name__] for kind in kinds if kind.__name__ in REMEDIES), None)


def _is_of_the_connection(error: CcaError) -> bool:
    """Return whether the connection to the server can be the cause: not where the store failed alone."""
    failures = getattr(error, "failures", {}).values()
    kinds = {type(CcaError.from_dict(one)) for one in failures} or {type(error)}
    return not all(issubclass(kind, _NOT_OF_THE_CONNECTION) for kind in kinds)


def _bare(error: CcaError, conn_id: str | None) -> CcaError:
    """Return the same error without frames and foreign causes, its message with the connection."""
    message = str(error)
    if conn_id and repr(conn_id) not in message and _is_of_the_connection(error):
        message = f"{message} (Airflow connection {conn_id!r})"
    bare = type(error)(message, **vars(error))
    bare.__cause__ = _bare(error.__cause__, None) if isinstance(error.__cause__, CcaError) else None
    return bare
