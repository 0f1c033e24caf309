"""Nothing that Airflow stores at DEBUG holds the password or a token, even if the server repeats them to us.

The Airflow of the other live tests is searched as well, with all the traces that they left.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from airflow_provider_cca.simulator import Asked, Match, Simulator, Status

from .api import FINISHED
from .processes import wait_until
from .stored import files, rows
from .telling import FOLDER, events, received

DAG = "cca_cdr_compressed"
REPORT = "cdr_compressed"
SECONDS = 90
# Dates that no other live test lands.
WAITED_FOR, TURNED_AWAY, REFUSED, LOCKED = (
    datetime.now(UTC).date() - timedelta(days=back) for back in range(140, 144)
)

PIECE = 16
"""Characters of a token that are looked for: whoever cuts it in two still shows some of these whole."""

WORD = re.compile(rf"[\w-]{{{PIECE},}}")

pytestmark = pytest.mark.live


class Gossip:
    """Refuses requests, one for each of `codes`, with messages that repeat what it was told in confidence."""

    def __init__(self, cca: Simulator, match: Match, codes: Iterable[int]) -> None:
        self._cca, self._match, self._codes = cca, match, iter(codes)
        self.told = 0

    def __enter__(self) -> Gossip:
        self._cca.before_answer = self._strike
        return self

    def __exit__(self, *error: object) -> None:
        self._cca.before_answer = None

    def _strike(self, asked: Asked) -> None:
        if self._match.fits(asked) and (code := next(self._codes, None)):
            # In the document's JSON, and every other time as a page of some proxy on the way.
            page = f"<p>{self._message(asked)}</p>".encode() if self.told % 2 else None
            self._cca.inject(Status(code, self._message(asked), body=page), self._match)
            self.told += 1

    def _message(self, asked: Asked) -> str:
        tokens = {token.ordinal: token.value for token in self._cca.tokens.values()}
        header = f"Authorization: Bearer {tokens.get(asked.token)}"
        return f"Generation in progress: {header} from {self._cca.account} with {self._cca.password}"


class Secrets:
    """What must not be found."""

    def __init__(self, cca: Simulator) -> None:
        plain = cca.password, f"{cca.account}:{cca.password}"
        self._texts = {cca.password, *(b64encode(text.encode()).decode().rstrip("=") for text in plain)}
        self._pieces = {
            token[start : start + PIECE] for token in cca.tokens for start in range(0, len(token), PIECE)
        }

    def found(self, places: Iterable[tuple[str, str]]) -> list[str]:
        """Where they are, and what stands before them."""
        return [f"{where}: {hit}" for where, text in places for hit in self._hits(text)]

    def _hits(self, text: str) -> Iterator[str]:
        yield from (_before(text, text.index(secret)) for secret in self._texts if secret in text)
        for word in WORD.finditer(text):
            if any(word[0][at : at + PIECE] in self._pieces for at in range(len(word[0]) - PIECE + 1)):
                yield _before(text, word.start())


def _before(text: str, at: int) -> str:
    return f"{text[max(0, at - 80) : at]!r}…"


@pytest.fixture(scope="module")
def waited(cca, telling_airflow):
    """A run that waits while the server gossips, then lands; and what the database held meanwhile."""
    telling_airflow.unpause(DAG)
    # The sensor's look, then the triggerer's: looks that fail, and some that say to wait longer.
    with Gossip(cca, listing_of(WAITED_FOR), (403, 500, 503, *[403] * 1000)) as gossip:
        run_id = telling_airflow.api.trigger(DAG, {"partition": str(WAITED_FOR)})
        wait_until("the triggerer", lambda: gossip.told > 4, SECONDS, watch=telling_airflow.processes.check)
        meanwhile = list(rows(telling_airflow))
    assert ended(telling_airflow, run_id) == "success"
    return run_id, meanwhile


@pytest.fixture(scope="module")
def turned_away(cca, telling_airflow, waited):
    """A run whose wait ends with an error, which the triggerer hands to the task through the database."""
    meanwhile: set[tuple[str, str]] = set()
    with Gossip(cca, listing_of(TURNED_AWAY), (403, 500, 400)) as gossip:
        run_id = telling_airflow.api.trigger(DAG, {"partition": str(TURNED_AWAY)})
        look = partial(rows, telling_airflow, "task_instance", "trigger")
        assert ended(telling_airflow, run_id, lambda: meanwhile.update(look())) == "failed"
    assert gossip.told == 3
    return run_id, meanwhile


@pytest.fixture(scope="module")
def refused(cca, telling_airflow, turned_away):
    """A run whose download is refused for good."""
    (file, *_) = cca.truth(REPORT, REFUSED, REFUSED)
    with Gossip(cca, Match(path=f"/{file.id}$"), (500, 401, 503, 406)) as gossip:
        run_id = telling_airflow.api.trigger(DAG, {"partition": str(REFUSED)})
        assert ended(telling_airflow, run_id) == "failed"
    assert gossip.told == 4
    return run_id


@pytest.fixture(scope="module")
def locked(cca, telling_airflow, refused):
    """A run whose password is wrong."""
    cca.accounts[cca.account] = "changed since"
    with Gossip(cca, Match(call="token"), (500, 401)) as gossip:
        run_id = telling_airflow.api.trigger(DAG, {"partition": str(LOCKED)})
        assert ended(telling_airflow, run_id) == "failed"
    cca.accounts[cca.account] = cca.password
    assert gossip.told == 2
    return run_id


def listing_of(day: date) -> Match:
    return Match(call=REPORT, query={"creationStartDate": f"{day:%m%d%Y}"})


def ended(telling_airflow, run_id: str, look: Callable[[], None] = lambda: None) -> str:
    """The state in which the run ends; `look` is called again and again until then."""

    def state() -> str | None:
        look()
        state = telling_airflow.api.run(DAG, run_id)["state"]
        return state if state in FINISHED else None

    return wait_until("the run", state, SECONDS, watch=telling_airflow.processes.check)


def log_of(telling_airflow, run_id: str, task_id: str) -> list[dict]:
    log = telling_airflow.task_log(telling_airflow.api.task(DAG, run_id, task_id))
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_server_did_repeat_secrets_and_the_logs_show_that_they_were_hidden(
    telling_airflow, turned_away, refused, locked
):
    assert "Authorization: Bearer *** from" in json.dumps(
        log_of(telling_airflow, turned_away[0], "wait_for_files")
    )
    assert "Authorization: Bearer *** from" in json.dumps(log_of(telling_airflow, refused, "land_files"))
    assert "with ***" in json.dumps(log_of(telling_airflow, locked, "wait_for_files"))


def test_the_logs_are_those_of_debug(telling_airflow, refused):
    ours = [
        line for line in log_of(telling_airflow, refused, "land_files") if "cca" in line.get("logger", "")
    ]
    assert "debug" in {line["level"] for line in ours}


def test_the_parameters_of_a_trigger_and_its_event_were_read(waited, turned_away):
    triggers = [text for where, text in waited[1] if where == "table trigger"]
    assert any("CcaFilesTrigger" in text and str(WAITED_FOR) in text for text in triggers)
    assert any("UnexpectedAnswer" in text and "Bearer ***" in text for _, text in turned_away[1])


def test_no_row_of_the_database_holds_a_secret_while_a_run_waits(cca, waited, turned_away):
    assert Secrets(cca).found(waited[1]) == []
    assert Secrets(cca).found(turned_away[1]) == []


def test_no_row_of_the_database_holds_a_secret_in_the_end(cca, airflow, telling_airflow, locked):
    assert Secrets(cca).found([*rows(airflow), *rows(telling_airflow)]) == []


def test_no_log_and_no_other_file_holds_a_secret(cca, airflow, telling_airflow, locked):
    homes = [stack.processes.home for stack in (airflow, telling_airflow)]
    assert Secrets(cca).found(files(*homes)) == []


def test_openlineage_was_told_of_runs_that_wait_land_and_fail(telling_airflow, waited, turned_away, refused):
    told = {
        (facets["airflow"]["dagRun"]["run_id"], facets["airflow"]["task"]["task_id"], event["eventType"])
        for event in events(telling_airflow.processes.home)
        if "airflow" in (facets := event["run"]["facets"])
    }
    assert {
        (waited[0], "wait_for_files", "START"),
        (waited[0], "wait_for_files", "COMPLETE"),
        (waited[0], "land_files", "COMPLETE"),
        (turned_away[0], "wait_for_files", "FAIL"),
        (refused, "land_files", "FAIL"),
    } <= told


def test_openlineage_was_told_errors_from_which_secrets_were_taken(telling_airflow, turned_away, refused):
    errors = [event["run"]["facets"].get("errorMessage") for event in events(telling_airflow.processes.home)]
    assert json.dumps(errors).count("Authorization: Bearer *** from") >= 2


def test_no_event_of_openlineage_holds_a_secret(cca, telling_airflow, locked):
    assert Secrets(cca).found(files(telling_airflow.processes.home / FOLDER)) == []


def test_no_metric_holds_a_secret(cca, metrics, locked):
    counted = received(metrics[1])
    assert f"airflow.cca.partitions_landed,report={REPORT}:1|c" in counted
    assert Secrets(cca).found(("a metric", line) for line in counted) == []


def test_no_file_in_the_store_holds_a_secret(cca, store, locked):
    assert (store / REPORT / f"creation_date={WAITED_FOR}" / "_manifest.json").exists()
    assert Secrets(cca).found(files(store)) == []


@pytest.mark.parametrize("cut", [slice(None), slice(5, 40), slice(-31, None)])
def test_the_search_finds_a_token_and_parts_of_it(cca, locked, tmp_path, cut):
    token = list(cca.tokens)[-1]
    (tmp_path / "task.log").write_text(f"told: Bearer={token[cut]};")
    assert len(Secrets(cca).found(files(tmp_path))) == 1


def test_the_search_finds_the_password(cca, tmp_path):
    (tmp_path / "task.log").write_text(json.dumps({"password": cca.password}))
    assert len(Secrets(cca).found(files(tmp_path))) == 1
