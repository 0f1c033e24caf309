"""THE FAULT TABLE: every fault x every store. All ends whole, or untouched with an error that says why.

Each row lands a partition that was landed before: one file is unchanged, one is new, and one, on which the
faults strike, was revised since. The outcome is read from the store, by other means than the code's own.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import shutil
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cca import errors
from airflow_provider_cca.api.auth import forget_logins
from airflow_provider_cca.operators import CcaToObjectStorageOperator
from airflow_provider_cca.simulator import (
    BadJson,
    CcaFile,
    CutAfter,
    Hang,
    NoLength,
    Redirect,
    Reset,
    Simulator,
    Status,
    StillProcessing,
    TokenExpired,
    Trickle,
    TruncatedJson,
    WrongBytes,
)
from tests.support.places import LOCAL, S3
from tests.support.s3_proxy import Proxy, StoreFault
from tests.support.verdicts import UNTOUCHED, WHOLE, Folder, truth_of

MIB = 1 << 20
LARGE = 6 * MIB + 7  # two parts of a multipart upload
BEYOND_ONE_PART = LARGE - MIB // 2
IMPATIENT = {"read_timeout": 0.2}  # seconds
VICTIM = "/victim$"
PART, COMPLETE, COMMIT = "PUT .*partNumber=2", "POST .*uploadId", "PUT .*_manifest"
LINKS = ("https://webex.com.evil.example", "https://webex.com@evil.example", "http://files.webex.com")

pytestmark = pytest.mark.cca_simulator(days=5, files_per_day=0, recovered=False)


@dataclass
class Scene:
    """What a fault can lay its hands on. `victim` is the file that was revised."""

    sim: Simulator
    victim: CcaFile
    store: str
    root: Path
    proxy: Proxy
    cleanup: ExitStack
    elsewhere: Simulator
    """A server to which no token may go."""

    def at_its_download(self, act: Callable[[int], object]) -> None:
        """Call `act` with 1, 2, 3 … as soon as the victim is asked for."""
        asked: list[str] = []

        def look(request: Any) -> None:
            if request.path.endswith("/victim"):
                asked.append(request.path)
                act(len(asked))

        self.sim.before_answer = look


Act = Callable[[Scene], object]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    :param error: What the task ends with, or what the file failed with; None when all is landed.
    :param size: Of the victim.
    :param waited: Seconds that the client had to wait at least.
    """

    name: str
    fault: Act
    outcome: str
    error: type[errors.CcaError] | None = None
    size: int = 20_000
    extra: dict[str, Any] = field(default_factory=dict)
    stores: tuple[str, ...] = (LOCAL, S3)
    waited: float = 0


def whole(name: str, fault: Act, **more: Any) -> Case:
    return Case(name, fault, WHOLE, **more)


def untouched(name: str, fault: Act, error: type[errors.CcaError], **more: Any) -> Case:
    return Case(name, fault, UNTOUCHED, error, **more)


def of_size(size: int, cases: list[Case]) -> list[Case]:
    return [replace(case, size=size) for case in cases]


def answers(fault: Any, match: str, times: int | None = 1, skip: int = 0) -> Act:
    """The server answers so."""
    return lambda scene: scene.sim.inject(fault, match, times, skip=skip)


def always(fault: Any, match: str) -> Act:
    return answers(fault, match, times=None)


def both(*acts: Act) -> Act:
    return lambda scene: [act(scene) for act in acts]


def each_call(fault: Any) -> Act:
    return both(*(answers(fault, call) for call in ("token", "list", VICTIM)))


def each_json(fault: Any) -> Act:
    return both(*(answers(fault, call) for call in ("token", "list")))


def listed_as(**fields: Any) -> Act:
    """The listing is wrong about the victim."""
    return lambda scene: scene.sim.world.replace(scene.victim, **fields)


def linked_to(authority: str) -> Act:
    return lambda scene: scene.sim.download_hosts.__setitem__(slice(None), [authority])


def redirected_elsewhere(scene: Scene) -> None:
    scene.sim.inject(Redirect(f"{scene.elsewhere.url}{{path}}"), VICTIM, times=None)


def redirected_within(scene: Scene) -> None:
    scene.sim.inject(Redirect(f"http://127.0.0.2:{scene.sim.port}{{path}}"), VICTIM)


def redirected_for_ever(scene: Scene) -> None:
    scene.sim.inject(Redirect(f"{scene.sim.url}{{path}}"), VICTIM, times=None)


def linked_elsewhere(scene: Scene) -> None:
    scene.sim.download_hosts[:] = [scene.elsewhere.url]


def short_tokens(scene: Scene) -> None:
    """Each file takes longer than the token lives."""
    scene.sim.token_lifetime = 60
    seen: set[str] = set()

    def pass_time(asked: Any) -> None:
        if asked.kind == "download" and asked.path not in seen:
            seen.add(asked.path)
            scene.sim.now.advance(timedelta(seconds=61))  # type: ignore[attr-defined]

    scene.sim.before_answer = pass_time


def total_too_high(scene: Scene) -> None:
    scene.sim.edit_answer = lambda asked, answer: (
        {**answer, "total": answer["total"] + 1} if asked.kind == "list" else answer
    )


def total_too_high_where_there_are_files(scene: Scene) -> None:
    scene.sim.edit_answer = lambda asked, answer: (
        {**answer, "total": answer["total"] + 1} if asked.kind == "list" and answer["items"] else answer
    )


def attempts_exhausted(scene: Scene) -> None:
    scene.sim.world.attempts["victim"] = scene.sim.max_attempts


def wrong_password(scene: Scene) -> None:
    scene.sim.accounts.clear()


def store(fault: StoreFault) -> Act:
    """S3 fails so; a case has one of its own, since a fault counts its hits."""
    return lambda scene: scene.proxy.faults.append(replace(fault))


def done(match: str) -> StoreFault:
    return StoreFault(match, done=True)


def writes_fail(times: int | None) -> Act:
    """S3 fails at the second part; locally, a write beyond so many bytes fails."""

    def act(scene: Scene) -> None:
        if scene.store == S3:
            scene.proxy.faults.append(StoreFault(PART, 500, times=times))
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        scene.cleanup.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
        scene.at_its_download(
            lambda nth: resource.setrlimit(
                resource.RLIMIT_FSIZE, (BEYOND_ONE_PART if times is None or nth <= times else soft, hard)
            )
        )

    return act


def bucket_gone(scene: Scene) -> None:
    scene.proxy.faults.append(StoreFault(PART, 404, "NoSuchBucket", times=None))


def full(scene: Scene) -> None:
    """S3's words for it are Ceph's, of a bucket beyond its quota."""
    if scene.store == S3:
        scene.proxy.faults.append(StoreFault(PART, 403, "QuotaExceeded", times=None))
    else:
        _mounted(scene, "size=5m")


def read_only(scene: Scene) -> None:
    if scene.store == S3:
        scene.proxy.faults.append(StoreFault(r"(PUT|POST) ", 403, "AccessDenied", times=None))
    elif os.getuid():
        folders = [scene.root, *(path for path in scene.root.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
            scene.cleanup.callback(folder.chmod, 0o755)
    else:
        _mounted(scene, "size=8m")
        subprocess.run(["mount", "-o", "remount,ro", scene.root], check=True)


def _mounted(scene: Scene, options: str) -> None:
    """A disk of its own below the destination, with what was there on it."""
    kept = scene.root.with_name("kept")
    shutil.copytree(scene.root, kept)
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(scene.root)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount a disk can fill it")
    scene.cleanup.callback(subprocess.run, ["umount", "-l", str(scene.root)], check=True)
    shutil.copytree(kept, scene.root, dirs_exist_ok=True)


SAYS = {
    errors.AttemptsExhausted: "ask Cisco to release it",
    errors.ConnectionFailed: "reachable from this worker",
    errors.DestinationUnusable: "check that (the destination exists|this account may list, read and write)",
    errors.FileExpired: "past its 365 days and gone",
    errors.HostNotAllowed: "may not be sent the token|no plain URL|is not https",
    errors.IncompleteListing: "has 4 entries but gave 3",
    errors.InvalidRequest: "check site, level and partition",
    errors.MalformedListing: "no usable fileSize",
    errors.ServerFault: "failed with 503",
    errors.StillProcessing: "being generated|still processing",
    errors.StoreError: "the store failed|is full: free space there",
    errors.TooManyConnections: "lower max_connections",
    errors.Unauthorized: "check login and password|check that the machine account may read it",
    errors.UnexpectedAnswer: "check host, schema and port|redirected more than 5 times",
    errors.UnreadableAnswer: "that are not JSON|a page of HTML",
    errors.LinkExpired: "has a link that no longer works",
    errors.WrongChecksum: "is listed with MD5 .* nothing of it was stored",
    errors.WrongSize: "is listed with .* bytes but came with .* nothing of it was stored",
}
"""What each error must say to the user."""

CUT, STALL = CutAfter(BEYOND_ONE_PART), Hang(BEYOND_ONE_PART)
GENERATING = Status(403, "File generation is in progress")
EXPIRED = Status(403, "File expired for download")
LISTING, WORDLESS, LATER = StillProcessing(), Status(403, ""), Status(503, retry_after=600)

cut_always, wrong_always = always(CUT, VICTIM), always(WrongBytes(), VICTIM)
no_length = always(NoLength(chunked=False), VICTIM)

TABLE = {
    "The token": [
        whole("401 in the middle of the run", answers(TokenExpired(), "download")),
        whole("a token that lives shorter than the run", short_tokens, extra={"max_connections": 1}),
        untouched("401 whatever the token", always(TokenExpired(), "download"), errors.LinkExpired),
        untouched("a password that is refused", wrong_password, errors.Unauthorized),
    ],
    "Refusals": [
        untouched("403 generating, of the listing", always(LISTING, "list"), errors.StillProcessing),
        untouched("403 without a word, of the listing", always(WORDLESS, "list"), errors.StillProcessing),
        untouched("412 of the listing", always(Status(412), "list"), errors.StillProcessing),
        untouched("403 generating, of a file", always(GENERATING, VICTIM), errors.StillProcessing),
        untouched("403 expired", always(EXPIRED, VICTIM), errors.FileExpired),
        untouched("403 attempts exhausted", attempts_exhausted, errors.AttemptsExhausted),
        untouched("406 of the listing", always(Status(406), "list"), errors.InvalidRequest),
        untouched("404 of a file", always(Status(404), VICTIM), errors.LinkExpired),
        whole("429 with Retry-After", answers(Status(429, retry_after=7), "download"), waited=7),
        whole("429 without Retry-After", answers(Status(429), "download"), waited=0.2),
        untouched("429 always", always(Status(429), VICTIM), errors.TooManyConnections),
        whole("500 once, of each call", each_call(Status(500))),
        whole("502 once, of each call", each_call(Status(502))),
        whole("503 once, of each call", each_call(Status(503))),
        untouched("503 always", always(Status(503), VICTIM), errors.ServerFault),
        untouched("503, Retry-After in ten minutes", always(LATER, "list"), errors.ServerFault),
    ],
    "Answers": [
        whole("garbage instead of JSON, once", each_json(BadJson())),
        untouched("garbage instead of JSON, always", always(BadJson(), "list"), errors.UnreadableAnswer),
        whole("truncated JSON, once", each_json(TruncatedJson())),
        untouched("truncated JSON, always", always(TruncatedJson(), "list"), errors.UnreadableAnswer),
        # A server that counts without the filter: what it lists is all there is.
        whole("a total that is too high for every date", total_too_high),
        untouched(
            "a listing short of its own total", total_too_high_where_there_are_files, errors.IncompleteListing
        ),
        untouched("a fileSize that is none", listed_as(size=-1), errors.MalformedListing),
        whole("a connection reset, once, of each call", each_call(Reset())),
        untouched("a connection reset, always", always(Reset(), VICTIM), errors.ConnectionFailed),
        whole("no answer, once, of each call", each_call(Hang()), extra=IMPATIENT),
        untouched("no answer, always", always(Hang(), VICTIM), errors.ConnectionFailed, extra=IMPATIENT),
    ],
    "Bodies": [
        whole("a slow trickle", always(Trickle(60_000), VICTIM), extra=IMPATIENT),
        *of_size(LARGE, [
            whole("cut, once", answers(CUT, VICTIM)),
            untouched("cut, always", cut_always, errors.ConnectionFailed),
            whole("cut by a reset, once", answers(CutAfter(BEYOND_ONE_PART, reset=True), VICTIM)),
            whole("stalled, once", answers(STALL, VICTIM), extra=IMPATIENT),
            untouched("stalled, always", always(STALL, VICTIM), errors.ConnectionFailed, extra=IMPATIENT),
            whole("without length, in chunks", always(NoLength(), VICTIM)),
            whole("without length, ended by closing", no_length),
            whole("without length and cut, once", both(no_length, answers(CUT, VICTIM))),
            untouched("without length and cut, always", both(no_length, cut_always), errors.WrongSize),
            whole("wrong bytes of the right size, once", answers(WrongBytes(), VICTIM)),
            untouched("wrong bytes of the right size, always", wrong_always, errors.WrongChecksum),
            untouched("listed with too small a fileSize", listed_as(size=LARGE - 1), errors.WrongSize),
            untouched("listed with too large a fileSize", listed_as(size=LARGE + 1), errors.WrongSize),
            untouched("listed with a wrong checksum", listed_as(md5="0" * 32), errors.WrongChecksum),
        ]),
    ],
    "Where the token may go": [
        whole("a redirect to an allowed host", redirected_within),
        untouched("a redirect to another host", redirected_elsewhere, errors.HostNotAllowed),
        untouched("redirects without end", redirected_for_ever, errors.UnexpectedAnswer),
        untouched("a link to another host", linked_elsewhere, errors.HostNotAllowed),
        *(untouched(f"a link to `{link}`", linked_to(link), errors.HostNotAllowed) for link in LINKS),
    ],
    "The store": of_size(LARGE, [
        untouched("a disk, or a bucket's quota, that is full", full, errors.StoreError),
        untouched("a destination that is read-only", read_only, errors.DestinationUnusable),
        whole("a write that fails midway, once", writes_fail(1)),
        untouched("a write that fails midway, always", writes_fail(None), errors.StoreError),
        untouched("a bucket that vanishes midway", bucket_gone, errors.DestinationUnusable, stores=(S3,)),
        whole("a connection reset midway, once", store(StoreFault(PART)), stores=(S3,)),
        whole("a part is stored, the answer lost", store(done(PART)), stores=(S3,)),
        whole("an upload is completed, the answer lost", store(done(COMPLETE)), stores=(S3,)),
        whole("a manifest is stored, the answer lost", store(done(COMMIT)), stores=(S3,)),
    ]),
}  # fmt: skip


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Simulator]:
    with Simulator(host="127.0.0.5", download_hosts=()).serve() as simulator:
        yield simulator


ROWS = [(case, store) for cases in TABLE.values() for case in cases for store in case.stores]


@pytest.fixture
def secrets(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All that must never be seen: the password, and each token that the server gives out."""
    known = {sim.password}
    issue = sim.issue

    def remember(account: str) -> Any:
        token = issue(account)
        known.add(token.value)
        return token

    sim.issue = remember  # type: ignore[method-assign] - it belongs to this test alone
    return known


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged, also by libraries; those of the store would log whole parts, and know no token."""
    caplog.set_level(logging.DEBUG)
    for library in ("botocore", "aiobotocore", "s3fs", "fsspec", "boto3"):
        caplog.set_level(logging.INFO, library)
    return caplog


@pytest.mark.parametrize(("case", "store"), ROWS, ids=[f"{case.name}-{store}" for case, store in ROWS])
def test_a_partition_ends_whole_or_untouched(
    case, store, sim, run, day, place, s3_proxy, elsewhere, monkeypatch, logs, waits, secrets, verdicts
) -> None:
    connection = sim.connection
    connection["extra"] |= case.extra
    monkeypatch.setenv("AIRFLOW_CONN_CCA_DEFAULT", json.dumps(connection))
    operator = CcaToObjectStorageOperator(task_id="t", report="cdr_compressed", destination=place.destination)
    sim.world.add("cdr_compressed", day, b"same" * 1000, id="same", name="same.zip")
    victim = sim.world.add("cdr_compressed", day, b"first version", id="victim", name="victim.zip")
    run(operator, day)
    before = place.objects()

    victim = sim.world.replace(victim, os.urandom(case.size))
    sim.world.add("cdr_compressed", day, b"new" * 1000, id="new", name="new.zip")
    truth, asked_before = truth_of(sim, day), elsewhere.count()
    forget_logins()
    with ExitStack() as cleanup:
        case.fault(Scene(sim, victim, store, Path(place.destination), s3_proxy, cleanup, elsewhere))
        error = _error_of(lambda: run(operator, day))
        after = Folder(place.objects(), truth)

    texts = [*_said(logs), *_told(error), *(body.decode("latin-1") for body in after.objects.values())]
    leaked = [text for text in texts if any(secret in text for secret in secrets)]
    strangers = elsewhere.count() - asked_before
    verdicts.cases[after.outcome(before)] += 1
    verdicts.count(after, before)
    verdicts.leaked_tokens += len(leaked) + strangers

    assert after.outcome(before) == case.outcome, error
    assert (leaked, strangers) == ([], 0)
    assert place.uploads() == []
    assert max(waits, default=0) >= case.waited
    if case.error is None:
        assert error is None
    else:
        assert case.error in {type(one) for one in _chain(error)}
        assert re.search(SAYS[case.error], str(error))
        assert isinstance(error, AirflowFailException) is not case.error.retryable


def _error_of(act: Callable[[], object]) -> Exception | None:
    """What it raised; returns when its threads have ended too, as a task's process would."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - which one it is, the table says
        return error
    finally:
        for thread in threading.enumerate():
            if thread.name.startswith("cca-landing"):
                thread.join(10)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__


def _said(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    yield caplog.text
    yield from (str(vars(record)) for record in caplog.records)


def _told(error: BaseException | None) -> Iterator[str]:
    for one in _chain(error):
        yield from (repr(one), str(vars(one)), "".join(traceback.format_exception(one)))
