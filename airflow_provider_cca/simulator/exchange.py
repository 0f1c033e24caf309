"""One request and its answer on the wire: counted, logged, and broken where a fault says so."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_cca.simulator.bodies import Body
from airflow_provider_cca.simulator.faults import Asked, CutAfter, Hang

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.access import Token
    from airflow_provider_cca.simulator.simulator import Simulator

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_RAW_BUFFER = 2**20
_TRICKLES_PER_SECOND = 20


class Gone(Exception):
    """The connection is no more: the client left, a fault ended it, or the server stops."""


@dataclass(frozen=True)
class Request:
    """A line of the log: what was asked, and what became of it.

    `path` is below the API root, percent-encoded as sent. `status` is 0 when no headers were sent, `sent`
    counts bytes of the body, `token` is the ordinal of the token, `complete` is false when the answer broke
    off. `started` and `ended` are seconds of time.monotonic().
    """

    number: int
    call: str
    method: str
    path: str
    query: Mapping[str, str]
    host: str
    account: str | None
    token: int | None
    status: int
    sent: int
    complete: bool
    started: float
    ended: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """An answer before it meets the wire."""

    status: int
    body: Body
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Effects:
    """What the faults do to the body of this one answer."""

    wrong: bool = False
    half: bool = False
    length: bool = True
    chunked: bool = True
    rate: int | None = None
    end: CutAfter | Hang | None = None


@dataclass(eq=False)
class Exchange:
    """The request being answered; `sim.open` holds it from its first byte until its last is handed over."""

    sim: Simulator
    asked: Asked
    receive: Receive
    send: Send
    transport: asyncio.Transport
    token: Token | None = None
    account: str | None = None
    effects: Effects = field(default_factory=Effects)
    faults: list[str] = field(default_factory=list)
    body: bytes = b""
    status: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.finished = False
        self._leaving: asyncio.Task[None] | None = None
        self.number = self.sim.enter(self)

    async def read(self) -> bytes:
        """The request's body; before anything else, since waiting for the client to leave reads too."""
        parts = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def pause(self, seconds: float | None) -> None:
        """So many seconds, or until `Simulator.release`; ends early when the client leaves."""
        if seconds is not None and seconds <= 0:
            return
        released = asyncio.ensure_future(self.sim.released.wait()) if seconds is None else None
        waits = {self._left()} | ({released} if released else set())
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if released:
            released.cancel()
        if self._leaving in done:
            raise Gone

    def _left(self) -> asyncio.Task[None]:
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(self._watch())
        return self._leaving

    async def _watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def reply(self, reply: Reply) -> None:
        """Send it all, as the effects allow."""
        body = Body(reply.body.content()[: reply.body.size // 2]) if self.effects.half else reply.body
        await self._begin(reply, body.size)
        stop = body.size
        if self.effects.end is not None:
            stop = min(_bytes_until(self.effects.end), max(body.size - 1, 0))
        for chunk in self._pieces(body):
            if self.transport.is_closing():
                raise Gone
            if self.effects.end is not None and self.sent + len(chunk) >= stop:
                chunk = await self._break(chunk, stop - self.sent)
            await self._write(chunk, last=self.sent + len(chunk) == body.size)

    def _pieces(self, body: Body) -> Iterator[bytes]:
        chunks = body.chunks()
        if self.effects.wrong:
            chunks = _spoiled(chunks, body.size // 2)
        if self.effects.rate is None:
            return chunks
        return _cut_small(chunks, max(self.effects.rate // _TRICKLES_PER_SECOND, 1))

    async def _break(self, chunk: bytes, keep: int) -> bytes:
        """Send what comes before the fault and let it strike; the chunk's rest is for later, if ever."""
        end, self.effects.end = self.effects.end, None
        if keep:
            await self._write(chunk[:keep], last=False)
        if isinstance(end, CutAfter):
            await self.cut(reset=end.reset)
        await self.pause(None)
        return chunk[keep:]

    async def _begin(self, reply: Reply, size: int) -> None:
        headers = list(reply.headers)
        if self.effects.length and reply.status != 204:
            headers.append(("content-length", str(size)))
        self.status = reply.status
        if self._raw:
            lines = [f"HTTP/1.1 {reply.status} Simulated", "connection: close"]
            lines += [f"{name}: {value}" for name, value in headers]
            self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            return
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        await self.send({"type": "http.response.start", "status": reply.status, "headers": encoded})

    @property
    def _raw(self) -> bool:
        # The server would chunk a body without length: one that ends with its connection is written past it.
        return not self.effects.length and not self.effects.chunked

    async def _write(self, data: bytes, *, last: bool) -> None:
        self.sent += len(data)
        if last:
            # Before the bytes leave, not after: who has the last byte may ask again at once.
            self.finish(complete=True)
        if self._raw:
            await self._write_raw(data, last=last)
        else:
            await self.send({"type": "http.response.body", "body": data, "more_body": not last})
        if self.effects.rate is not None and not last:
            await self.pause(len(data) / self.effects.rate)

    async def _write_raw(self, data: bytes, *, last: bool) -> None:
        self.transport.write(data)
        await self._flushed(_RAW_BUFFER)
        if last:
            self.transport.close()
            await self._left()

    async def _flushed(self, at_most: int = 0) -> None:
        while self.transport.get_write_buffer_size() > at_most and not self.transport.is_closing():
            await asyncio.sleep(0.002)

    async def cut(self, *, reset: bool) -> None:
        """End the connection here: what was written so far still goes out."""
        await self._flushed()
        if reset:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()
        else:
            self.transport.close()
        await self._left()
        raise Gone

    def finish(self, *, complete: bool = False) -> None:
        """Give the connection back and write the log line; only the first time counts."""
        if self.finished:
            return
        self.finished = True
        self.sim.leave(self, self._line(complete))

    def _line(self, complete: bool) -> Request:
        return Request(
            number=self.number,
            call=self.asked.name,
            method=self.asked.method,
            path=self.asked.path,
            query=self.asked.query,
            host=self.asked.host,
            account=self.account,
            token=self.asked.token,
            status=self.status,
            sent=self.sent,
            complete=complete,
            started=self.started,
            ended=time.monotonic(),
            faults=tuple(self.faults),
        )


def _bytes_until(end: CutAfter | Hang) -> int:
    return end.bytes if isinstance(end, CutAfter) else end.after or 0


def _spoiled(chunks: Iterator[bytes], at: int) -> Iterator[bytes]:
    """The chunks with one bit of byte `at` turned over."""
    for chunk in chunks:
        if 0 <= at < len(chunk):
            yield chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
        else:
            yield chunk
        at -= len(chunk)


def _cut_small(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, max(len(chunk), 1), size):
            yield chunk[start : start + size]
