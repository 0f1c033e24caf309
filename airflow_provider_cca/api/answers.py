"""The answer to one request: its body inflated, in time, and bounded by what was asked for. No Airflow."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests

from airflow_provider_cca.api.error_responses import MAX_BYTES, kind_of
from airflow_provider_cca.api.http_adapter import Deadline
from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.errors import CcaError, UnreadableAnswer

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024

SPEED_WINDOW_SECONDS = 60

MAX_JSON_BYTES = 1024 * 1024
"""Of an answer, besides those of its entries."""

MAX_ENTRY_BYTES = 4096
"""On the average; an entry as in the document has 700."""

MIN_VALUE_BYTES = 32
"""So many bytes of JSON make a value, on the average. `{}` takes two, and 64 when it is parsed."""


class _Guarded(Protocol):
    def __call__(self, function: Callable[[], T], /) -> T: ...


class Answer:
    """An answer of the server, whose body is read by one of the methods, once.

    :param what: Names the call in errors.
    :param guarded: Calls a function in which foreign errors become ours.
    """

    def __init__(self, response: requests.Response, what: str, guarded: _Guarded, deadline: Deadline) -> None:
        self._response, self._what = response, what
        self._guarded, self._deadline = guarded, deadline
        self._message: bytes | None = None
        self.status, self.url, self.is_redirect = response.status_code, response.url, response.is_redirect

    def header(self, name: str) -> str:
        return self._response.headers.get(name) or ""

    def close(self) -> None:
        self._response.close()

    def chunks(self, min_speed: float) -> Generator[bytes]:
        """Yield the body in chunks of at most 256 KiB.

        Raises ConnectionFailed when less than `min_speed` KiB/s came in a minute; the time that the reader
        takes between two chunks does not count.
        """
        quota = int(min_speed * 1024 * SPEED_WINDOW_SECONDS)
        reason = f"less than {min_speed:g} KiB/s came over a minute (min_speed)"
        chunks = self._inflated(min(CHUNK_BYTES, quota))
        left, seconds = quota, float(SPEED_WINDOW_SECONDS)
        while True:
            started = time.monotonic()
            self._deadline.within(seconds, reason)
            chunk = next(chunks, None)
            self._deadline.pause()
            if chunk is None:
                return
            left, seconds = left - len(chunk), seconds - (time.monotonic() - started)
            if left <= 0:
                left, seconds = quota, SPEED_WINDOW_SECONDS
            yield chunk

    def json_object(self, entries: int, redact: Callable[[bytes], bytes] = bytes) -> dict[str, Any]:
        """Return the JSON object in the body. Raises UnreadableAnswer unless it holds one.

        :param entries: How many entries were asked for: bounds what is held of the answer.
        :param redact: Takes out of the body what nobody must see.
        """
        parsed: dict[str, Any] | str | CcaError
        try:
            parsed = _parsed(redact, self._head, MAX_JSON_BYTES + entries * MAX_ENTRY_BYTES)
        except CcaError as error:
            # Without the frames below: what came of a login holds the token.
            parsed = error.with_traceback(None)
        if isinstance(parsed, dict):
            return parsed
        if isinstance(parsed, CcaError):
            raise parsed
        raise UnreadableAnswer(f"{self._what} was answered by {urlsplit(self.url).netloc} with {parsed}")

    def message_bytes(self) -> bytes:
        """Return the beginning of an error's body, as it was first read; b"" when it cannot be."""
        if self._message is None:
            try:
                self._message = self._head(MAX_BYTES)
            except CcaError:
                self._message = b""
        return self._message

    def _head(self, most: int) -> bytes:
        """Return the body, or as much of it as `most` bytes."""
        head = bytearray()
        for chunk in self._inflated(min(most, 64 * 1024)):
            head += chunk[: most - len(head)]
            if len(head) >= most:
                break
        return bytes(head)

    def _inflated(self, size: int) -> Iterator[bytes]:
        """Yield the body in pieces of at most `size` bytes, inflated."""
        raw = self._response.raw
        pieces = iter(lambda: self._guarded(lambda: raw.read(size, decode_content=False)), b"")
        coding = self.header("Content-Encoding").strip().lower()
        if coding in {"", "identity"}:
            yield from pieces
            return
        if coding not in {"gzip", "x-gzip", "deflate"}:
            raise UnreadableAnswer(
                f"{self._what} was answered with Content-Encoding {printable(coding, 60)!r}; only a "
                "single gzip can be read"
            )
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        for packed in pieces:
            rest = packed
            while True:
                try:
                    out = inflater.decompress(rest, size)
                except zlib.error:
                    raise UnreadableAnswer(
                        f"{self._what} was answered with bytes that are no {coding}, as its Content-Encoding "
                        f"says they are, but {kind_of(packed) or 'other data'}"
                    ) from None
                if out:
                    yield out
                rest = inflater.unconsumed_tail
                if inflater.eof:
                    rest = inflater.unused_data
                    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32) if rest else inflater
                if not rest and len(out) < size:
                    break
        if not inflater.eof:
            raise UnreadableAnswer(f"{self._what} was answered with {coding} that breaks off")


def _parsed(
    redact: Callable[[bytes], bytes], read: Callable[[int], bytes], limit: int
) -> dict[str, Any] | str:
    """Return the JSON object in a body of at most `limit` bytes, or what came instead of it."""
    body = redact(read(limit + 1))
    if len(body) > limit:
        return f"more than {limit >> 10} KiB of JSON, too much for what was asked for"
    # Before it is parsed, when each value takes dozens of bytes.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > limit // MIN_VALUE_BYTES:
        return f"more than {limit // MIN_VALUE_BYTES} values of JSON, too many for what was asked for"
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return kind_of(body) or f"{len(body)} bytes that are not JSON"
    return answer if isinstance(answer, dict) else "JSON that is no object"
