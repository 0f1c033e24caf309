"""How an error of ours ends a task, and what its log says then."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_cca import errors
from airflow_provider_cca.errors import InvalidArgument, PartlyLanded, ServerFault, StoreError
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.integration.task_failures import REMEDIES, airflow_errors, failure_line

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
OPERATOR = SimpleNamespace(cca_conn_id="mine", on_failure_callback=[], on_retry_callback=None)


def plain(text: str) -> str:
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text).replace("`", "")


def test_the_line_in_the_log_says_what_the_table_of_the_readme_says() -> None:
    """Of each error but two: that of parts says it for each, and a killed task needs nothing done."""
    table = README.split("## When a task fails")[1].split("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines() if row.startswith("| `")]
    told = {name: plain(row[-1]) for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    del told["PartlyLanded"]
    told.pop("Closed", None)
    assert told == REMEDIES
    assert all(issubclass(getattr(errors, name), errors.CcaError) for name in told)


def foreign() -> None:
    raise OSError("of a library")


@pytest.mark.parametrize(
    ("kind", "raised"), [(ServerFault, ServerFault), (errors.FileExpired, AirflowFailException)]
)
def test_what_a_task_ends_with_has_neither_frames_nor_causes_of_the_libraries(
    kind: type[errors.CcaError], raised: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """They are in the log at DEBUG."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(raised) as caught, airflow_errors():
        try:
            foreign()
        except OSError as error:
            raise kind("what it means", status=500) from error
    names = [entry.name for entry in caught.traceback]
    error = caught.value.__cause__ or caught.value
    assert "foreign" not in names
    assert (str(error), error.status, error.__cause__) == ("what it means", 500, None)
    assert error.__context__ is None or error.__suppress_context__
    (record,) = (one for one in caplog.records if one.exc_info)
    assert (record.levelname, record.exc_info[1].__cause__.args) == ("DEBUG", ("of a library",))


def test_a_cause_of_our_own_is_kept_without_its_frames() -> None:
    """As of a landing that failed in part, which tests of users' DAGs look at."""
    with pytest.raises(AirflowFailException) as caught, airflow_errors():
        wrong = errors.WrongChecksum("other bytes", expected="a", received="b")
        raise PartlyLanded("1 file failed", failures={}) from wrong
    cause = caught.value.__cause__.__cause__
    assert (str(cause), cause.expected, cause.__traceback__) == ("other bytes", "a", None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ServerFault("503"), "503 (Airflow connection 'mine')"),
        (ServerFault("connection 'mine': 503"), "connection 'mine': 503"),
        (StoreError("the disk is full"), "the disk is full"),
        (InvalidArgument("level is 7"), "level is 7"),
    ],
)
def test_errors_of_the_server_name_the_connection(error: errors.CcaError, message: str) -> None:
    with pytest.raises((errors.CcaError, AirflowFailException)) as caught, airflow_errors(OPERATOR):
        raise error
    assert str(caught.value).removeprefix(f"{type(error).__name__}: ") == message


def test_a_landing_that_failed_in_part_says_what_to_do_about_each_kind_of_error() -> None:
    failures = {"a.csv": ServerFault("503").as_dict(), "b.csv": StoreError("full").as_dict()}
    line = failure_line(PartlyLanded("2 files failed.", failures=failures), retried=True)
    to_do = f"{REMEDIES['ServerFault']}; {REMEDIES['StoreError']}"
    assert (
        line
        == f"PartlyLanded: 2 files failed. What to do: {to_do}. Explained at /cca/docs/#when-a-task-fails"
    )


def test_the_last_of_several_failures_is_the_one_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """As of a sensor, whose checks may have failed before it ends; callbacks of the DAG stay."""
    told: list[str] = []
    operator = SimpleNamespace(cca_conn_id="mine", on_failure_callback=[told.append], on_retry_callback=[])
    for error in (ServerFault("503"), errors.NotYetListed("no file yet")):
        with pytest.raises(errors.CcaError), airflow_errors(operator):
            raise error
    for callback in operator.on_failure_callback:
        callback("context")
    assert told == ["context"]
    (line,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert line.startswith(
        "NotYetListed: no file yet (Airflow connection 'mine'). What to do: clear this task later"
    )


def test_where_no_retry_is_left_none_is_promised() -> None:
    line = failure_line(StoreError("it is full"), retried=False)
    assert "What to do: clear this task later, as no retry is left." in line


def test_a_failure_of_airflows_own_says_what_its_cause_was() -> None:
    error = AirflowFailException("Every check has failed")
    error.__cause__ = ServerFault("503")
    assert failure_line(error, retried=True).startswith(
        f"ServerFault: Every check has failed. What to do: {REMEDIES['ServerFault']}."
    )


def test_where_the_store_failed_alone_the_connection_to_the_server_is_not_named() -> None:
    failures = {"a": StoreError("it is down").as_dict()}
    with pytest.raises(PartlyLanded) as caught, airflow_errors(OPERATOR):
        raise PartlyLanded("1 of 2", failures=failures, retryable=True)
    assert str(caught.value) == "1 of 2"
