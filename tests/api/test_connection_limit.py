"""How many connections are open at once, alone and beside another process."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Lock

import pytest

from airflow_provider_cca.api.auth import forget_logins
from airflow_provider_cca.api.client import CcaClient
from airflow_provider_cca.api.config import CcaConfig
from airflow_provider_cca.api.connection_limit import ANSWERS_AFTER_503, ANSWERS_PER_STEP, FIRST_LIMIT, Budget
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import Closed
from airflow_provider_cca.reports import REPORTS, Grain
from airflow_provider_cca.simulator import Simulator
from tests.support.wire import LOGIN, Request, config_of, serving

OPEN = Event()


def test_it_starts_low_and_grows_to_the_most_while_the_server_accepts() -> None:
    budget = Budget(20)
    assert budget.limit == FIRST_LIMIT
    for _ in range(ANSWERS_PER_STEP * 20):
        budget.accepted()
    assert budget.limit == 20


def test_it_never_starts_above_the_most() -> None:
    assert Budget(3).limit == 3


def test_a_refusal_sets_the_limit_to_what_was_accepted() -> None:
    """Of eight connections the server refused one: seven is what there is room for."""
    budget = Budget(20)
    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(budget.slot(OPEN))
        budget.refused()
    assert budget.limit == 7


def test_it_grows_while_long_bodies_leave_others_waiting() -> None:
    budget = Budget(20)
    with ExitStack() as held:
        for _ in range(FIRST_LIMIT + 1):
            held.enter_context(budget.slot(OPEN))
    assert budget.limit == FIRST_LIMIT + 1


def test_a_server_that_fails_now_and_then_is_soon_asked_by_all_connections_again() -> None:
    """One answer in ten is a 503, also to the only connection: so it does not count connections."""
    budget = Budget(20)
    for number in range(1000):
        with budget.slot(OPEN):
            if number % 10 == 0:
                budget.refused(budget.limit if budget.limit > 1 else 1, certain=False)
            else:
                budget.accepted()
    assert budget.limit >= 19


def test_after_503s_to_many_connections_it_grows_slowly() -> None:
    budget = Budget(20)
    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(budget.slot(OPEN))
        budget.refused(8, certain=False)
        for _ in range(ANSWERS_AFTER_503 - 1):
            budget.accepted()
        assert budget.limit == 7
        budget.accepted()
    assert budget.limit == 8


def test_after_a_refusal_it_does_not_grow_at_once() -> None:
    budget = Budget(20)
    budget.refused()
    for _ in range(100):
        budget.accepted()
    assert budget.limit == 1


def test_a_slot_that_is_waited_for_is_given_up_when_the_client_is_closed() -> None:
    budget, closed = Budget(1), Event()
    with budget.slot(OPEN), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: budget.slot(closed).__enter__())
        closed.set()
        with pytest.raises(Closed):
            waiting.result(timeout=3)


@pytest.mark.cca_simulator(days=5, sites=1)
def test_two_processes_with_one_token_share_its_connections(
    sim: Simulator, config: CcaConfig, day: str
) -> None:
    """Each would take 20: all files come, and the server refuses at most 20 times."""
    sim.latency = 0.02
    for number in range(100):
        sim.world.add("cdr_compressed", day, b"x%d" % number, name=f"{number}.zip")
    one = CcaClient(config)
    token = one.session._token()
    forget_logins()
    other = CcaClient(config)
    other.session._account.token(lambda: token)
    assert one.session._account is not other.session._account
    scope, partition = Scope(REPORTS["cdr_compressed"]), Partition.parse(day, Grain.DAY)
    files = one.files(scope, partition)
    work = [(client, file) for file in files for client in (one, other)]

    def fetch(job: tuple) -> int:
        client, file = job
        return len(client.session.retry.call(lambda: b"".join(client.download(file))))

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(fetch, work)) == 2 * sum(file.size for file in files)
    assert len(sim.tokens) == 1
    assert sim.count(status=429) <= 20
    assert sim.peak_connections == 20


class Counting:
    """Three hosts that count connections together, the idle ones too, and refuse what is over their limit."""

    def __init__(self, most: int, status: int, *, idle: bool) -> None:
        self.most, self.status, self.idle = most, status, idle
        self.lock, self.open, self.refused = Lock(), set(), 0

    def speak(self, request: Request) -> None:
        if request.is_login:
            request.answer(LOGIN)
            return
        with self.lock:
            if self.idle:
                self.open = {other for other in self.open if not hung_up(other)}
            self.open.add(request.connection)
            too_many = len(self.open) > self.most
            if too_many:
                self.refused += 1
                self.open.discard(request.connection)
        if too_many:
            request.answer(b"", self.status, Connection="close")
            request.connection.close()
            return
        request.stopped.wait(0.01)
        with self.lock:
            if not self.idle:
                self.open.discard(request.connection)
        request.answer(b"zip")


def hung_up(connection: socket.socket) -> bool:
    """Whether the client has closed a connection: it is readable, and gives nothing."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    ("counting", "workers", "most_refused"),
    [(Counting(20, 429, idle=True), 40, 20), (Counting(6, 503, idle=False), 20, 100)],
    ids=["idle ones count", "a gateway that limits by 503"],
)
def test_all_files_come_from_a_server_that_refuses_connections_in_its_own_way(
    counting: Counting, workers: int, most_refused: int, waits: list[float]
) -> None:
    with serving(counting.speak) as one, serving(counting.speak) as two, serving(counting.speak) as three:
        files = [
            RemoteFile.from_api(
                {"id": str(n), "createdOn": "03/31/2019T07:24:24+0000", "fileSize": 3, "checksum": "0" * 32,
                 "downloadLink": f"http://127.0.0.1:{(one, two, three)[n % 3]}/{n}", "fileName": f"{n}.zip"},
                Scope(REPORTS["cdr_compressed"]),
            )
            for n in range(400)
        ]  # fmt: skip
        with CcaClient(config_of(one)) as client, ThreadPoolExecutor(workers) as pool:

            def fetch(file: RemoteFile) -> bytes:
                return client.session.retry.call(lambda: b"".join(client.download(file)))

            assert list(pool.map(fetch, files)) == [b"zip"] * len(files)
    assert counting.refused <= most_refused
