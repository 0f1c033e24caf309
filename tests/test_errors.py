"""The errors: their tree, and that they survive the ways in which Airflow carries them."""

from __future__ import annotations

import inspect
import json
import pickle
import re

import pytest

from airflow_provider_cca import errors
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    HostNotAllowed,
    InvalidArgument,
    PartlyLanded,
    PermanentError,
    StillProcessing,
    TransientError,
    UsageError,
    WrongSize,
)

ALL = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, CcaError)]


def drawn_tree() -> set[tuple[str, str]]:
    """The tree in the module's docstring as (parent, child) pairs."""
    pairs, path = set(), ["CcaError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"((?:│   |    )*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            pairs.add((path[depth - 1], match[2]))
    return pairs


def test_the_tree_drawn_on_top_is_the_real_one():
    assert drawn_tree() == {(c.__bases__[0].__name__, c.__name__) for c in ALL if c is not CcaError}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_pickle(kind):
    error = pickle.loads(pickle.dumps(kind("what, where, what to try", status=503, retry_after=7.5)))
    assert (type(error), str(error)) == (kind, "what, where, what to try")
    assert (error.status, error.retry_after) == (503, 7.5)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_json(kind):
    error = CcaError.from_dict(json.loads(json.dumps(kind("it broke", expected=3, received=2).as_dict())))
    assert (type(error), str(error), error.expected, error.received) == (kind, "it broke", 3, 2)


def test_an_error_without_facts_survives_json():
    assert CcaError.from_dict({"error": "Closed", "message": "stopped"}).as_dict() == {
        "error": "Closed",
        "message": "stopped",
        "facts": {},
    }


@pytest.mark.parametrize("data", [{}, {"error": "Exception"}, {"error": None, "facts": None}, {"error": "X"}])
def test_a_class_that_is_not_ours_becomes_a_plain_error(data):
    assert type(CcaError.from_dict(data)) is CcaError


def test_a_fact_may_have_any_name():
    error = CcaError.from_dict({"error": "Closed", "message": "stopped", "facts": {"message": "other"}})
    assert (str(error), error.message) == ("stopped", "other")


@pytest.mark.parametrize("kind", ALL)
def test_only_what_may_pass_is_retryable(kind):
    passes = issubclass(kind, TransientError | StillProcessing | Closed)
    assert kind("x").retryable is passes


def test_whether_part_of_a_landing_is_worth_a_retry_is_told_by_its_facts():
    error = PartlyLanded("1 of 2", failures={"a.csv": WrongSize("short").as_dict()}, retryable=True)
    assert pickle.loads(pickle.dumps(error)).retryable is True
    assert PartlyLanded("2 of 2", failures={}).retryable is False


def test_a_usage_error_is_a_value_error():
    assert issubclass(InvalidArgument, ValueError)
    assert not issubclass(PermanentError, ValueError)


@pytest.mark.parametrize("kind", ALL)
def test_every_class_is_described_in_its_own_words(kind):
    assert kind.__dict__["__doc__"]
    assert inspect.getdoc(kind) != inspect.getdoc(kind.__bases__[0])


def test_a_host_that_is_refused_is_for_the_user_to_fix():
    assert issubclass(HostNotAllowed, UsageError)
