"""The simulator itself: its state, which is plain and public. Change it, then act, then look at it.

with Simulator(days=30, sites=3).serve() as sim:
    sim.inject(CutAfter(1000), "download", times=2)
    ...
    assert sim.count("GET", "/v1/cdr") == 1
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from hashlib import md5
from pathlib import Path
from threading import Condition
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from airflow_provider_cca.simulator.access import Token
from airflow_provider_cca.simulator.app import App
from airflow_provider_cca.simulator.bodies import digest
from airflow_provider_cca.simulator.calls import CALLS, ROOT, UNAUTHORIZED, Refusal
from airflow_provider_cca.simulator.clock import Clock
from airflow_provider_cca.simulator.exchange import Exchange, Request
from airflow_provider_cca.simulator.faults import Asked, Fault, Match, Rule
from airflow_provider_cca.simulator.files import CcaFile, Report
from airflow_provider_cca.simulator.server import Server, listen
from airflow_provider_cca.simulator.ways import Ways
from airflow_provider_cca.simulator.world import By, World

ACCOUNT = "simulated.machine.account"
PASSWORD = "Simulated.Pass-word.4711"  # noqa: S105 - it opens nothing but this simulator

_NAMES = {name for call in CALLS for name in (call.name, call.kind)}


class Truth(NamedTuple):
    """A file that ought to be landed: its real size and MD5, whatever the listing declares."""

    creation_date: date
    name: str
    size: int
    md5: str
    id: str
    key: str | None
    """Site or level."""


class Simulator:
    """A CCA server on this machine.

    `world` takes the place of what `seed`, `days`, `sites`, `today` and the other `World` arguments would
    make. `today` also sets the clock: to noon of that day, UTC; without it the clock shows the real time,
    but at least 09:00. `ways` are how it reads the API document. Only an `exposed` one listens on addresses
    that other machines reach, as it must inside a container, where loopback is the container's own. With a
    `certificate`, a PEM file of it and its key, it speaks https.
    """

    def __init__(
        self,
        seed: int = 1,
        days: int = 30,
        sites: int | Sequence[str] = 3,
        today: date | str | None = None,
        *,
        host: str = "127.0.0.1",
        download_hosts: Sequence[str] = ("127.0.0.2",),
        port: int = 0,
        account: str = ACCOUNT,
        password: str = PASSWORD,
        latency: float = 0.0,
        exposed: bool = False,
        certificate: str | Path | None = None,
        ways: Ways | None = None,
        world: World | None = None,
        **world_options: Any,
    ) -> None:
        day = date.fromisoformat(today) if isinstance(today, str) else today
        self.world = world or World(seed, days, sites, day, **world_options)
        self.now: Callable[[], datetime] = Clock(_start(self.world.today, running=day is None))
        """The time, UTC: a `Clock`, or any other function put in its place."""
        self.account, self.password = account, password
        self.accounts: dict[str, str] = {account: password}
        self.tokens: dict[str, Token] = {}
        self.token_lifetime = 43199
        """Seconds, as in the document's example."""
        self.max_connections = 20
        self.max_attempts = 999
        self.link_key: str | None = None
        """The JSON key of links; None is the document's: ``a`` for new CDR files, else ``downloadLink``."""
        self.zip_links = False
        """Whether compressed files are linked in the form of §3.4 instead of §3.5.5."""
        self.ways = ways or Ways()
        """How the document is read. Put others in their place at any time."""
        self.unfinished: set[date] = set()
        """Dates whose reports are being made: `Ways.unfinished` says what their lists look like."""
        self.storage_host = "localhost"
        """Another name of this host, to which `Ways.storage` redirects."""
        self.latency = latency
        """Seconds before every answer."""
        self.faults: list[Rule] = []
        self.requests: list[Request] = []
        """What was asked, in the order in which it was answered."""
        self.before_answer: Callable[[Asked], object] | None = None
        """Called before each request is looked at, on the server's thread."""
        self.edit_answer: Callable[[Asked, dict[str, Any]], dict[str, Any]] | None = None
        """Called with each JSON that is about to be sent; what it returns is sent."""
        self.open: set[Exchange] = set()
        self.peak_connections = 0
        """The most requests that one token ever had open at once, refused ones not counted."""
        self.host, self.port = host, port
        self.exposed = exposed
        self.certificate = Path(certificate) if certificate else None
        self.download_hosts = list(download_hosts)
        """Links rotate over these: ``host`` (on the server's port), ``host:port``, or a whole ``scheme://authority``."""
        self.released = asyncio.Event()
        self._ordinal = 0
        self._number = 0
        self._answers = 0
        self._given: Counter[str] = Counter()
        self._users: dict[asyncio.Transport, Exchange] = {}
        self._idle = Condition()
        self._server: Server | None = None

    @property
    def max_page_size(self) -> int:
        """`Ways.page_cap`."""
        return self.ways.page_cap

    @max_page_size.setter
    def max_page_size(self, size: int) -> None:
        self.ways = replace(self.ways, page_cap=size)

    # Running

    @contextmanager
    def serve(self) -> Iterator[Simulator]:
        """Serves until the block ends."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        """Listen, on loopback alone unless `exposed`; the port is free to connect to when this returns."""
        local = [host for host in self.download_hosts if _is_address(host)]
        for host in (self.host, *local):
            if not self.exposed and not ipaddress.ip_address(host).is_loopback:
                raise ValueError(
                    f"{host} is no loopback address: the simulator serves this machine alone, unless exposed"
                )
        sockets = listen([self.host, *(host for host in local if host != self.host)], self.port)
        addresses = {sock.getsockname()[0]: sock.getsockname()[1] for sock in sockets}
        self.port = addresses[self.host]
        self.download_hosts = [self._served(host, addresses) for host in self.download_hosts]
        self.released = asyncio.Event()  # it belongs to one event loop
        self._server = Server(App(self), sockets, self.certificate)
        self._server.start()

    def stop(self) -> None:
        """Returns when the server is gone, in less than a second whatever hangs."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def release(self) -> None:
        """Let every answer that hangs now go on."""

        def pulse() -> None:
            self.released.set()
            self.released.clear()

        if self._server is not None:
            self._server.call(pulse)

    def _served(self, host: str, addresses: dict[str, int]) -> str:
        if not _is_address(host):
            return host
        if host not in addresses:
            return "localhost"  # another name for the first address, where the second one is missing
        return host if addresses[host] == self.port else f"{host}:{addresses[host]}"

    # Where it is

    @property
    def url(self) -> str:
        return f"{self.schema}://{self.host}:{self.port}"

    @property
    def schema(self) -> str:
        return "https" if self.certificate else "http"

    @property
    def api_root(self) -> str:
        return self.url + ROOT

    @property
    def connection(self) -> dict[str, Any]:
        """An Airflow connection to it, as a dict."""
        hosts = [host.rpartition("://")[2].partition(":")[0] for host in self.download_hosts]
        if self.ways.storage != "none":
            hosts.append(self.storage_host)
        trusted = {"verify": str(self.certificate)} if self.certificate else {}
        return {
            "conn_type": "cca",
            "host": self.host,
            "port": self.port,
            "schema": self.schema,
            "login": self.account,
            "password": self.password,
            "extra": {"download_hosts": list(dict.fromkeys(hosts)), **trusted},
        }

    @property
    def connection_json(self) -> str:
        """The same as ``AIRFLOW_CONN_CCA_DEFAULT`` takes it."""
        return json.dumps(self.connection)

    def link(self, file: CcaFile, position: int = 0) -> str:
        """The download link of the file at this position of its listing."""
        host = self.download_hosts[position % len(self.download_hosts)]
        base = host if "://" in host else f"{self.schema}://{host}" + ("" if ":" in host else f":{self.port}")
        if file.report == "cdr":
            folder = f"cdr/{quote(file.site or '', safe='')}"
        elif file.report == "cdr_compressed":
            folder = "cdr/zip" if self.zip_links else "cdr/daily/compression/files"
        else:
            folder = "peakport/files"
        return f"{base}{ROOT}/v1/{folder}/{quote(file.id, safe='')}"

    def give_link(self, file: CcaFile, position: int) -> str:
        """The link as a listing gives it: dated and numbered where links do not live for ever."""
        link = self.link(file, position)
        if not self.ways.link_seconds and not self.ways.link_listings:
            return link
        self._given[file.id] += 1
        return f"{link}?given={self._given[file.id]}&at={self.now().timestamp()}"

    def check_link(self, file: CcaFile, query: Mapping[str, str]) -> None:
        """Raise the Refusal of `Ways.dead_link` for a link of `give_link` that is dead."""
        seconds, listings = self.ways.link_seconds, self.ways.link_listings
        old = seconds and self.now().timestamp() - float(query.get("at", 0)) >= seconds
        if old or (listings and self._given[file.id] - int(query.get("given", 0)) >= listings):
            status = int(self.ways.dead_link)
            message = {401: UNAUTHORIZED, 403: "The link has expired", 410: "Gone"}.get(status, "Not found")
            raise Refusal(status, message)

    def signed_link(self, path: str) -> str:
        """The URL of a download's `path` on the storage behind it."""
        return f"{self.schema}://{self.storage_host}:{self.port}{ROOT}{path}?signature={self.signature(path)}"

    def signature(self, path: str) -> str:
        return digest(self.world.seed, "signature", path).hex()

    def site_list(self) -> bytes:
        """The site list as it is sent (§3.7)."""
        return self.world.site_list(self.ways.site_list, self.ways.site_list_total)

    # Faults

    def inject(
        self,
        fault: Fault,
        match: str | Match | None = None,
        times: int | None = 1,
        *,
        skip: int = 0,
        every: int = 1,
    ) -> Rule:
        """Place a fault: it strikes `times` fitting requests (None: all), every `every`-th after `skip`.

        `match` is a call's name or kind, or a regular expression with a slash for the path; None fits all.
        """
        if isinstance(match, str):
            if match not in _NAMES and "/" not in match:
                raise ValueError(f"{match!r} is neither a path nor one of {sorted(_NAMES)}")
            match = Match(call=match) if match in _NAMES else Match(path=match)
        rule = Rule(fault, match or Match(), times, skip, every)
        self.faults.append(rule)
        return rule

    # Tokens

    def issue(self, account: str) -> Token:
        self._ordinal += 1
        now = self.now()
        expires = now + timedelta(seconds=self.token_lifetime)
        token = Token(secrets.token_urlsafe(60), account, self._ordinal, now, expires)
        self.tokens[token.value] = token
        return token

    def token_of(self, value: str | None) -> Token | None:
        """The token if it is one and still holds."""
        token = self.tokens.get(value or "")
        return token if token is not None and self.now() < token.expires else None

    def revoke(self, token: Token) -> None:
        self.tokens.pop(token.value, None)

    # What was asked

    def log(
        self,
        method: str | None = None,
        path: str | None = None,
        *,
        call: str | None = None,
        status: int | None = None,
    ) -> list[Request]:
        """The requests that fit; `path` is whole, below the API root, and `call` a call's name or kind."""
        kinds = {each.name: each.kind for each in CALLS}
        return [
            line
            for line in list(self.requests)
            if method in (None, line.method)
            and path in (None, line.path)
            and status in (None, line.status)
            and call in (None, line.call, kinds.get(line.call))
        ]

    def count(self, method: str | None = None, path: str | None = None, **fields: Any) -> int:
        """How many `log` would give."""
        return len(self.log(method, path, **fields))

    def wait_idle(self, timeout: float = 5.0) -> None:
        """Until no request is open; a TimeoutError after so many seconds."""
        with self._idle:
            if not self._idle.wait_for(lambda: not self.open, timeout):
                raise TimeoutError(f"{len(self.open)} requests are still open after {timeout} s")

    def wait_open(self, count: int = 1, timeout: float = 5.0) -> None:
        """Until so many requests are open at once; a TimeoutError after so many seconds."""
        with self._idle:
            if not self._idle.wait_for(lambda: len(self.open) >= count, timeout):
                raise TimeoutError(f"{len(self.open)} requests are open after {timeout} s, not {count}")

    def is_one_too_many(self, exchange: Exchange) -> bool:
        """Whether more than `max_connections` are open, as `Ways` count them."""
        return self._counted(exchange) > self.max_connections

    def _counted(self, exchange: Exchange) -> int:
        """How many connections count together with this one, those of clients who hung up left out."""
        self._users = {way: user for way, user in self._users.items() if not way.is_closing()}
        busy = {each.transport for each in self.open}
        return sum(
            self._payer(user) == self._payer(exchange)
            and (self.ways.connections == "open" or transport in busy)
            for transport, user in self._users.items()
        )

    def _payer(self, exchange: Exchange) -> tuple[object, ...]:
        token, ways = exchange.token, self.ways
        return (
            token and (token.account if ways.connections_per == "account" else token.value),
            exchange.asked.host if ways.connections_over == "host" else None,
        )

    def next_answer(self) -> int:
        """The number of a page of a list, from 1."""
        self._answers += 1
        return self._answers

    def enter(self, exchange: Exchange) -> int:
        """A request begins; its number."""
        with self._idle:
            self._number += 1
            self.open.add(exchange)
            self._idle.notify_all()
        if exchange.token is not None:
            self._users[exchange.transport] = exchange
            served = min(self._counted(exchange), self.max_connections)
            self.peak_connections = max(self.peak_connections, served)
        return self._number

    def leave(self, exchange: Exchange, line: Request) -> None:
        """A request ends."""
        with self._idle:
            self.open.discard(exchange)
            self.requests.append(line)
            self._idle.notify_all()

    # The truth

    def listed(
        self,
        report: Report,
        key: str | None = None,
        first: date | None = None,
        last: date | None = None,
        by: By = "creation",
    ) -> list[CcaFile]:
        """The files that the filter means, as `ways` read it; neither those to come nor expired ones."""
        ways, now = self.ways, self.now()
        days = ways.days_away if by == "creation" else 0
        days = days and days + self.world.files_per_day
        start, end = first and first - timedelta(days=days), last and last + timedelta(days=days)
        return [
            file
            for file in self.world.files(report, key, start, end, by)
            if file.created <= now < ways.expires(file)
            and (not days or (first or date.min) <= ways.listed_on(file) <= (last or date.max))
        ]

    def truth(
        self,
        report: Report | Literal["site_list"],
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        site: str | None = None,
        level: str | None = None,
    ) -> list[Truth]:
        """What ought to be landed of the creation dates from `first` to `last`, both included.

        `ways` say which date is a file's. Of files that share an id only the first is meant, as only it can
        be downloaded.
        """
        if report == "site_list":
            return [self._site_list_truth()]
        start, end = (date.fromisoformat(d) if isinstance(d, str) else d for d in (first, last))
        files = self.listed(report, site or level, start, end)
        return [self._truth_of(file) for file in {file.id: file for file in reversed(files)}.values()][::-1]

    def _truth_of(self, file: CcaFile) -> Truth:
        size, checksum = self.world.size(file), self.world.md5(file)
        return Truth(self.ways.listed_on(file), file.name, size, checksum, file.id, file.key)

    def _site_list_truth(self) -> Truth:
        content = self.site_list()
        checksum = md5(content, usedforsecurity=False).hexdigest()
        return Truth(self.now().date(), self.site_list_name(), len(content), checksum, "", None)

    def site_list_name(self) -> str:
        """§3.7."""
        return f"CCA_SITES_LIST_{self.now():%Y%m%d}.csv"


def _start(today: date, *, running: bool) -> datetime:
    """When the clock begins: late enough in the day for its files to be there."""
    if not running:
        return datetime.combine(today, time_of_day(12), UTC)
    return max(datetime.now(UTC), datetime.combine(today, time_of_day(9), UTC))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
