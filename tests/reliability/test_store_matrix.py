"""Every kind of store, on a server that is not ours: what is promised holds, and errors say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from airflow_provider_cca.errors import AlreadyExists, Changed, DestinationUnusable, StoreError
from airflow_provider_cca.integration.destination import open_store
from airflow_provider_cca.store.object_store import PART_BYTES, Capabilities, Store
from tests.support.store_servers import NAMES, Running, running

pytestmark = pytest.mark.live

SMALL, LARGE = 20_000, 2 * PART_BYTES + 7  # the large ones take three parts
ODD = ["a b", "a+b%20c", "ä ü 中", "#?&=;", "x" * 200, "'\"", "a\\b", "..c", "~"]
SECONDS = 60.0

CAN = {
    "local": Capabilities(True, True, True, True),
    "ceph-http": Capabilities(True, False, True, False),
    "ceph-https": Capabilities(True, False, True, False),
    "rclone-http": Capabilities(False, False, False, False),
    "rclone-https": Capabilities(False, False, False, False),
    "seaweedfs-http": Capabilities(True, True, True, True),
    "seaweedfs-https": Capabilities(True, True, True, True),
    "azurite": Capabilities(True, True, True, True),
    "fake-gcs-server": Capabilities(True, False, True, False),
    "openssh": Capabilities(True, True, False, False),
}


@pytest.fixture(scope="module", params=NAMES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    try:
        with running(request.param, tmp_path_factory.mktemp(request.param)) as server:
            yield server
    except LookupError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"t{abs(hash(request.node.nodeid))}"


@pytest.fixture
def store(server: Running, prefix: str) -> Store:
    return open_store(f"{server.url}/{prefix}")


def seen(server: Running, prefix: str) -> dict[str, bytes]:
    """What a reader finds that skips names which begin with a dot or an underscore."""
    found = server.objects(prefix)
    return {name: body for name, body in found.items() if name.rpartition("/")[2][0] not in "._"}


def test_it_obeys_the_conditions_that_are_written_down(server: Running, store: Store) -> None:
    assert store.capabilities() == CAN[server.name]


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_an_object_is_whole_or_not_there(server: Running, store: Store, prefix: str, size: int) -> None:
    content = os.urandom(size)
    with pytest.raises(KeyboardInterrupt), store.writing("a/b", size) as target:
        target.write(content)
        raise KeyboardInterrupt
    assert seen(server, prefix) == {}
    with store.writing("a/b", size) as target:
        for start in range(0, size, 1 << 20):
            target.write(content[start : start + (1 << 20)])
        assert seen(server, prefix) == {}
        target.publish()
    assert seen(server, prefix) == {"a/b": content}
    assert b"".join(store.chunks("a/b")) == content
    assert store.list("a")["b"].size == size
    store.write("a/b", b"new")
    assert seen(server, prefix) == {"a/b": b"new"}


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_there_is_not_created_again(store: Store, size: int) -> None:
    store.write("a/b", b"x" * size, create=True)
    with pytest.raises(AlreadyExists):
        store.write("a/b", b"y" * size, create=True)
    assert store.read("a/b") == b"x" * size


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_of_four_that_create_one_object_at_once_one_succeeds(
    server: Running, store: Store, size: int
) -> None:
    can = store.capabilities()
    if not (can.create if size < PART_BYTES else can.create_in_parts):
        pytest.skip("this store cannot create only what is new: docs/reliability.md says what that means")
    if server.name.startswith("seaweedfs") and size > PART_BYTES:
        pytest.skip("it completes two uploads that come at the same moment, though each alone is refused")
    meeting = Barrier(4)

    def create(number: int) -> int | None:
        with store.writing("a/b", size, create=True) as target:
            target.write(bytes([number]) * size)
            meeting.wait(SECONDS)
            try:
                target.publish()
            except (AlreadyExists, StoreError):  # some stores are in doubt when two come together
                return None
            return number

    with ThreadPoolExecutor(4) as pool:
        won = [number for number in pool.map(create, range(4)) if number is not None]
    assert len(won) <= 1
    assert store.read("a/b") in [bytes([number]) * size for number in won or range(4)]


def test_what_finds_its_key_taken_goes_to_another_one_with_the_same_bytes(store: Store) -> None:
    store.write("a/b", b"first")
    with store.writing("a/b", 6, create=True) as target:
        target.write(b"second")
        with pytest.raises(AlreadyExists):
            target.publish()
        assert target.aim("a/c", create=True)
        target.publish()
    assert (store.read("a/b"), store.read("a/c")) == (b"first", b"second")
    assert {*store.list("a")} == {"b", "c"}


def test_an_object_is_replaced_only_while_it_is_what_was_read(store: Store) -> None:
    first = store.put_if_unchanged("one", b"first", None)
    found = store.get("one")
    assert found
    assert store.list("")["one"].is_same(found[1])
    store.put_if_unchanged("one", b"second!", found[1])
    for before in (first, found[1], None):
        with pytest.raises(Changed):
            store.put_if_unchanged("one", b"third", before)
    assert store.read("one") == b"second!"


def test_of_four_that_replace_one_object_at_once_one_succeeds(store: Store) -> None:
    if not store.capabilities().put_if_unchanged:
        pytest.skip(
            "this store cannot replace only what is unchanged: docs/reliability.md says what that means"
        )
    store.write("one", b"before")
    _, before = store.get("one") or (b"", None)
    meeting = Barrier(4)

    def replace(number: int) -> int | None:
        meeting.wait(SECONDS)
        try:
            store.put_if_unchanged("one", b"%d" % number, before)
        except StoreError:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        won = [number for number in pool.map(replace, range(4)) if number is not None]
    assert len(won) <= 1
    assert store.read("one") in [b"%d" % number for number in won or range(4)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_listed_is_retired_and_what_was_written_since_is_not(
    server: Running, store: Store, prefix: str, size: int
) -> None:
    content = os.urandom(size)
    store.write("a/b", content)
    listed = store.list("a")["b"]
    store.write("a/c", b"old")
    stale = store.list("a")["c"]
    store.write("a/c", b"newer")
    assert store.retire("a/b", "a/old/b", listed)
    assert not store.retire("a/c", "a/old/c", stale)
    assert not store.retire("a/gone", "a/old/gone", listed)
    assert seen(server, prefix) == {"a/old/b": content, "a/c": b"newer"}


def test_listings_show_what_others_have_written_and_removed(
    server: Running, store: Store, prefix: str
) -> None:
    other = open_store(f"{server.url}/{prefix}")
    assert store.list("a") == store.list_below("a") == {}
    other.write("a/b", b"1")
    other.write("a/c/d", b"1")
    assert [*store.list("a")] == ["b"]
    assert {folder: [*names] for folder, names in store.list_below("a").items()} == {"a": ["b"], "a/c": ["d"]}
    other.write("a/b", b"12")
    assert store.list("a")["b"].size == store.list_below("a")["a"]["b"].size == 2
    assert other.retire("a/b", "z/b", other.list("a")["b"])
    assert (store.list("a"), {*store.list_below("a")}, store.get("a/b")) == ({}, {"a/c"}, None)


def test_odd_names_come_back_as_they_were(server: Running, store: Store, prefix: str) -> None:
    # Azure and SeaweedFS take a backslash for a slash, whoever writes it.
    slashed = server.name.startswith(("azurite", "seaweedfs"))
    names = [name for name in ODD if not (slashed and "\\" in name)]
    for name in names:
        store.write(f"a/{name}/{name}", name.encode())
    assert {*store.list_below("a")} == {f"a/{name}" for name in names}
    for name in names:
        assert [*store.list(f"a/{name}")] == [name]
        assert store.read(f"a/{name}/{name}") == name.encode()


def test_a_writer_that_is_killed_leaves_no_half_object(server: Running, store: Store, prefix: str) -> None:
    script = (
        "import sys, time\n"
        "from airflow_provider_cca.integration.destination import open_store\n"
        f"store = open_store({f'{server.url}/{prefix}'!r})\n"
        f"with store.writing('a/b', {LARGE}) as target:\n"
        f"    target.write(bytes({LARGE}))\n"
        "    print('half', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            while b"half" not in (line := process.stdout.readline()):
                assert line, "it died"
            assert seen(server, prefix) == {}
        finally:
            process.kill()
    assert seen(server, prefix) == {}
    assert store.list("a") == {}
    store.write("a/b", b"whole")
    assert seen(server, prefix) == {"a/b": b"whole"}


@pytest.mark.parametrize("fault", ["wrong key", "wrong user", "missing", "read only"])
def test_what_no_repetition_cures_is_said_at_once(server: Running, fault: str) -> None:
    if fault not in server.refused:
        pytest.skip("this server does not refuse it")
    begun = time.monotonic()
    with pytest.raises(DestinationUnusable) as caught:
        open_store(server.refused[fault]).write("a/b", b"x")
    assert not caught.value.retryable
    assert time.monotonic() - begun < SECONDS / 2
    print(fault, "->", caught.value)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_store_that_goes_down_midway_fails_to_be_tried_again(
    server: Running, store: Store, prefix: str, size: int
) -> None:
    if not server.front:
        pytest.skip("a disk")
    store.write("a/old", b"old")
    content = os.urandom(size)
    with store.writing("a/b", size) as target:
        target.write(content[: size - 1])
        server.front.down()
        try:
            for call in (lambda: target.write(content[-1:]), target.publish):
                try:
                    call()
                except StoreError:
                    break
            else:
                pytest.fail("it was published without a store")
            for read in (store.list, store.get, store.head):
                with pytest.raises(StoreError):
                    print(read, read("a/old"))
        finally:
            server.front.up()
    assert seen(server, prefix) == {"a/old": b"old"}
    store.write("a/b", content)
    assert seen(server, prefix) == {"a/old": b"old", "a/b": content}
    assert store.list("a")["b"].size == size
