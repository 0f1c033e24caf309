"""In whatever order tasks move, and whatever dies or is damaged: the promises of docs/protocol.md hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_cca.landing import commit
from airflow_provider_cca.landing.commit import Transaction
from airflow_provider_cca.landing.layout import safe_name
from airflow_provider_cca.landing.manifest_store import Folder
from tests.reliability.explorer import BEFORE, PAIRS, Run, Scenario, at_random, explore, in_turn

RANDOM_RUNS = 100
SLOW = ("extract", "extract"), BEFORE[2]
"""As long as all others together: `make explore` has it."""


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All manifests are of one moment, so that runs that end alike can be told."""
    monkeypatch.setattr(commit, "now_iso", lambda: "2026-03-02T00:00:00Z")
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("kinds", "before"),
    [(kinds, before) for kinds in PAIRS for before in BEFORE if (kinds, before) != SLOW],
    ids=lambda kinds: " and ".join(kinds) or "an empty folder",
)
def test_two_tasks_keep_every_promise_in_every_order(kinds: tuple[str, str], before: tuple[str, ...]) -> None:
    """With two switches between them, and one crash, lost answer, revision or damage at any step."""
    runs, trace = explore(Scenario(kinds, before), switches=2)
    assert trace == []
    assert runs > 100


@pytest.mark.parametrize("seed", range(RANDOM_RUNS))
def test_three_or_four_tasks_at_random_keep_every_promise(seed: int) -> None:
    assert at_random(seed) == []


def explored(scenario: Scenario) -> Callable[[Callable[[Transaction], None]], list[str]]:
    """Give what finds a violation by trying every order with one switch."""
    return lambda mutate: explore(scenario, switches=1, mutate=mutate, is_shortest=False)[1]


def ordered(
    scenario: Scenario, *turns: tuple[int, int], revised_at: tuple[int, ...]
) -> Callable[[Callable[[Transaction], None]], list[str]]:
    """Give what tries one order alone; `turns` as `in_turn` takes them, and the steps of revisions."""
    events = dict.fromkeys(revised_at, "revise")
    return lambda mutate: Run(scenario, in_turn(*turns), events, mutate).execute()


def overwrites(transaction: Transaction) -> None:
    """Rule 1, 3: new content under the name, whatever is named there."""
    transaction._keys = lambda job, taken: iter([(safe_name(transaction._name(job.file)), commit._How.HEAL)])  # type: ignore[method-assign]


def ignores(condition: str) -> Callable[[Transaction], None]:
    def mutate(transaction: Transaction) -> None:
        transaction.store.honours -= {condition}  # type: ignore[attr-defined]

    return mutate


def binds_spent_keys(transaction: Transaction) -> None:
    plan = transaction._plan

    def forgetful() -> Any:
        transaction._spent = set()
        return plan()

    transaction._plan = forgetful  # type: ignore[method-assign]


def lists_first(transaction: Transaction) -> None:
    source, read = transaction.source, transaction.manifests.read

    def list_then_look(path: str, objects: Any = None) -> Any:
        if path == transaction.path:
            listed = listing(Folder(path), lambda entry: False)
            source.list_files = lambda folder, is_intact: listed  # type: ignore[method-assign]
        return read(path, objects)

    listing = source.list_files
    transaction.manifests.read = list_then_look  # type: ignore[method-assign]


def lists_once(transaction: Transaction) -> None:
    source, known = transaction.source, list[Any]()
    listing = source.list_files

    def once(folder: Any, is_intact: Any) -> Any:
        known[:] = known or [listing(folder, is_intact)]
        return known[0]

    if getattr(source, "list_again", None):
        source.list_files = once  # type: ignore[method-assign]


def never_retires(transaction: Transaction) -> None:
    transaction._retire = lambda manifest: None  # type: ignore[method-assign]


def never_sweeps(transaction: Transaction) -> None:
    transaction._orphans = lambda keys, now: iter(())  # type: ignore[method-assign]


BACK = (("A", "a.zip", "A2"), ("A", "a.zip", "A1"))
LANDS = explored(Scenario(("land", "land")))
MUTANTS: dict[str, tuple[Callable[[Transaction], None], Callable[..., list[str]]]] = {
    "rules 1 and 3: a revision is written over what is named": (overwrites, LANDS),
    "rule 2: a spent key is bound again": (
        binds_spent_keys,
        # The first has superseded a version, and deletes it when the second has bound its key again.
        ordered(Scenario(("land", "land"), ("land",), BACK), (0, 8), (1, 99), revised_at=(0, 8)),
    ),
    "rule 4: objects are written over": (ignores("create"), LANDS),
    "rule 5: the manifest is replaced without a condition": (ignores("replace"), LANDS),
    "rule 6: the source is listed before the folder": (
        lists_first,
        # The zip is revised, landed and extracted after the first has listed the zips.
        ordered(
            Scenario(("extract", "land", "extract"), ("land", "extract")),
            *((0, 3), (1, 99), (2, 99)),
            revised_at=(3,),
        ),
    ),
    "rule 6: after a conflict the source is not listed again": (lists_once, LANDS),
    "rule 7: what a dead task left is not superseded": (never_sweeps, LANDS),
    "rule 9: what is superseded stays visible": (never_retires, LANDS),
    "rule 9: whatever lies at a spent key is moved": (
        ignores("retire"),
        # The first is about to copy a version that the third has moved; the second has put another one there.
        ordered(
            Scenario(("land", "land", "land")),
            *((2, 7), (1, 1), (0, 8), (2, 9), (1, 4), (0, 9)),
            revised_at=(8,),
        ),
    ),
}


@pytest.mark.parametrize(("mutate", "run"), MUTANTS.values(), ids=MUTANTS.keys())
def test_each_rule_is_needed(mutate: Callable[[Transaction], None], run: Callable[..., list[str]]) -> None:
    """Without it some order of two or three tasks breaks a promise, and that is found."""
    assert run(mutate)


@pytest.mark.parametrize("run", [run for _, run in MUTANTS.values() if run is not LANDS])
def test_with_all_rules_the_same_orders_break_nothing(run: Callable[..., list[str]]) -> None:
    assert run(lambda transaction: None) == []
