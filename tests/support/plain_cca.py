"""A second CCA, written from the API document alone on `http.server`: nothing of it comes from the simulator.

What one misreads the other need not: a client that is right at both has not merely learnt the simulator.
It knows the login (§3.3), sites (§3.5.1), one site's files by creation date (§3.5.4, §3.5.6) and compressed
files (§3.5.5, §3.5.7). Files are made at 07:24:24 UTC; the date in their names is that many days away from
the date on which they were made which `named_after` says: +1 in §3.5.5's example, -1 in §3.5.4's.
"""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

SITE = "sitename1"
LOS_ANGELES = ZoneInfo("America/Los_Angeles")


@dataclass(frozen=True)
class Listed:
    """A file: when it was made, the date in its name, and its bytes."""

    id: str
    name: str
    created: datetime
    named: date
    body: bytes

    @property
    def md5(self) -> str:
        return hashlib.md5(self.body, usedforsecurity=False).hexdigest()


class PlainCca(ThreadingHTTPServer):
    """Serves one account.

    :param dates: Which date the creation filter means: "name", "pacific" or "utc".
    :param named_after: Days between the UTC date of creation and the date in the name.
    :param total_of_all: Whether `total` counts without the filter, as in §3.6.1's example.
    :param idle_count: Whether idle connections count towards the 20 (§3.1).
    """

    daemon_threads = True

    def __init__(self, dates: str, named_after: int, *, total_of_all: bool, idle_count: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dates, self.total_of_all, self.idle_count = dates, total_of_all, idle_count
        self.lock = threading.Lock()
        self.users: dict[object, int] = {}
        """Requests in flight of each connection that has shown the token."""
        self.refusals = 0
        self.today = datetime.now(UTC).date()
        self.zips = list(self._files("CCA_SP_CDR_Daily_{:%Y%m%d}.zip", named_after))
        self.csvs = list(self._files(SITE + "_CCA_SP_CDR_Daily_{:%Y%m%d}.csv", named_after))

    def _files(self, pattern: str, named_after: int) -> Iterator[Listed]:
        for days in range(30, 0, -1):
            day = self.today - timedelta(days=days)
            named = day + timedelta(days=named_after)
            name = pattern.format(named)
            body = name.encode() * 7
            number = f"{zlib.crc32(body):08x}"
            yield Listed(
                number, name, datetime(day.year, day.month, day.day, 7, 24, 24, tzinfo=UTC), named, body
            )

    def date_of(self, file: Listed) -> date:
        """The date for which the filter lists it."""
        zone = LOS_ANGELES if self.dates == "pacific" else UTC
        return file.named if self.dates == "name" else file.created.astimezone(zone).date()

    @contextmanager
    def serve(self) -> Iterator[dict[str, Any]]:
        """Serve until the block ends; yields the Airflow connection."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield {
                "conn_type": "cca",
                "schema": "http",
                "host": "127.0.0.1",
                "port": self.server_port,
                "login": "my.account.partnerA",
                "password": "secret",
                "extra": {"download_hosts": ["localhost"]},
            }
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: PlainCca
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def finish(self) -> None:
        with self.server.lock:
            self.server.users.pop(self, None)
        super().finish()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked != {"accountName": "my.account.partnerA", "accountPassword": "secret"}:
            return self._say(401, {"message": "Unauthorized"})
        return self._say(200, {"tokenType": "Bearer", "accessToken": "ZjNIYTk4", "expiresIn": 43199})

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer ZjNIYTk4":
            return self._say(401, {"message": "Unauthorized"})
        with self.server.lock:
            self.server.users[self] = 1
            counted = [busy for busy in self.server.users.values() if busy or self.server.idle_count]
            is_one_too_many = len(counted) > 20
            self.server.refusals += is_one_too_many
        try:
            if is_one_too_many:
                return self._say(429, {"message": "Too many requests"})
            return self._answer()
        finally:
            with self.server.lock:
                self.server.users[self] = 0

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).removeprefix("/pcs/api/v1/cdr")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if path == "":
            site = {"siteName": SITE, "lastSiteUpdate": "04/23/2019T00:00:00+0000"}
            return self._page([site], 1, query)
        if path == "/daily/compression/files":
            return self._listing(self.server.zips, "/daily/compression/files", query)
        if path == f"/{SITE}":
            return self._listing(self.server.csvs, f"/{SITE}", query)
        folder, _, number = path.rpartition("/")
        files = {"/daily/compression/files": self.server.zips, f"/{SITE}": self.server.csvs}.get(folder, [])
        for file in files:
            if file.id == number:
                return self._send(200, file.body, "application/octet-stream")
        return self._say(406, {"message": "Invalid site name or site id"})

    def _listing(self, files: list[Listed], folder: str, query: dict[str, str]) -> None:
        first, last = (_day(query[f"creation{end}Date"]) for end in ("Start", "End"))
        found = [file for file in files if first <= self.server.date_of(file) <= last]
        total = len(files if self.server.total_of_all else found)
        return self._page([self._item(file, folder) for file in found], total, query)

    def _item(self, file: Listed, folder: str) -> dict[str, Any]:
        link = f"http://localhost:{self.server.server_port}/pcs/api/v1/cdr{folder}/{file.id}"
        item: dict[str, Any] = {
            "id": file.id,
            "createdOn": f"{file.created:%m/%d/%YT%H:%M:%S+0000}",
            "downloadLink": link,
            "fileSize": len(file.body),
            "checksum": file.md5,
            "type": "daily",
            "expiredOn": f"{file.created + timedelta(days=366):%m/%d/%YT07:43:18+0000}",
            "downloadAttempts": 0,
        }
        if file.name.endswith(".zip"):
            return item | {"fileName": file.name}
        named = [
            {"key": "lastConferencaDate", "value": f"{file.named:%m-%d-%Y}"},
            {"key": "humanReadableFileName", "value": file.name},
        ]
        return item | {"metadata": named}

    def _page(self, items: list[dict[str, Any]], total: int, query: dict[str, str]) -> None:
        start, size = int(query.get("from", 0)), int(query.get("size", 30))
        page = items[start : start + size]
        self._say(200, {"total": total, "from": start, "size": len(page), "items": page})

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, body: bytes, media: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _day(text: str) -> date:
    return datetime.strptime(text, "%m%d%Y").replace(tzinfo=UTC).date()
