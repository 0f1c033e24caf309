"""From a request to its answer: the order in which the server looks at things.

Connections are counted first, then faults strike, then the token, the parameters and the file are looked at.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from airflow_provider_cca.simulator import faults as f
from airflow_provider_cca.simulator import listings
from airflow_provider_cca.simulator.access import bearer
from airflow_provider_cca.simulator.bodies import Body
from airflow_provider_cca.simulator.calls import INVALID, ROOT, UNAUTHORIZED, UNKNOWN, Call, Refusal, route
from airflow_provider_cca.simulator.exchange import Exchange, Gone, Message, Receive, Reply, Send
from airflow_provider_cca.simulator.files import CcaFile

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.simulator import Simulator


LOGIN_PAGE = Body(b"<!DOCTYPE html><title>Sign in</title><form></form>"), (("content-type", "text/html"),)
GATEWAY_IS_FULL = Reply(503, Body(b"<html>503 Service Temporarily Unavailable</html>"), LOGIN_PAGE[1])


class App:
    """The ASGI application of a simulator."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        token = self.sim.token_of(bearer(headers.get("authorization", "")))
        asked, parts = _asked(scope, headers, token.ordinal if token else None)
        transport = scope["state"]["transport"]
        exchange = Exchange(self.sim, asked, receive, send, transport, token)
        exchange.account = token.account if token else None
        try:
            await self._answer(exchange, headers, parts)
        except Gone:
            pass
        finally:
            exchange.finish()

    async def _answer(self, exchange: Exchange, headers: dict[str, str], parts: dict[str, str]) -> None:
        if exchange.asked.method != "GET":
            exchange.body = await exchange.read()
        if self.sim.before_answer is not None:
            self.sim.before_answer(exchange.asked)
        try:
            reply = self._too_many(exchange)
            if reply is None:
                await exchange.pause(self.sim.latency)
                reply = await self._strike(exchange) or await self._reply(exchange, headers, parts)
        except Refusal as refusal:
            page = self.sim.ways.login_page if refusal.status == 401 else "none"
            reply = refused(refusal) if page == "none" else Reply(int(page), *LOGIN_PAGE)
        await exchange.reply(reply)

    def _too_many(self, exchange: Exchange) -> Reply | None:
        """§3.1: at most 20 at once for one token."""
        call, ways = exchange.asked.call, self.sim.ways
        if not (exchange.token and call and self.sim.is_one_too_many(exchange)):
            return None
        reply = refused(Refusal(429, call.too_many)) if ways.too_many == "429" else GATEWAY_IS_FULL
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
        wait = {"seconds": "1", "date": soon}.get(ways.retry_after)
        return reply if wait is None else replace(reply, headers=(*reply.headers, ("retry-after", wait)))

    # Faults

    async def _strike(self, exchange: Exchange) -> Reply | None:
        """Let the rules strike in their order, until one of them answers."""
        for rule in list(self.sim.faults):
            if rule.strikes(exchange.asked, self.sim.now()):
                exchange.faults.append(type(rule.fault).__name__)
                reply = await self._suffer(rule.fault, exchange)
                if reply is not None:
                    return reply
        return None

    async def _suffer(self, fault: f.Fault, exchange: Exchange) -> Reply | None:
        match fault:
            case f.Delay(seconds):
                await exchange.pause(seconds)
            case f.Hang(None):
                await exchange.pause(None)
            case f.Reset():
                await exchange.cut(reset=True)
            case f.TokenExpired():
                if exchange.token:
                    self.sim.revoke(exchange.token)
            case f.Status() | f.StillProcessing() | f.BadJson() | f.Redirect():
                return _fault_reply(fault, exchange.asked)
            case _:
                _mark(fault, exchange)
        return None

    # The calls

    async def _reply(self, exchange: Exchange, headers: dict[str, str], parts: dict[str, str]) -> Reply:
        asked, call = exchange.asked, exchange.asked.call
        if call is None:
            raise Refusal(404, "No such call")
        if asked.method != call.method:
            raise Refusal(405, f"Only {call.method} is allowed")
        if call.kind == "token":
            return self._token(exchange, exchange.body)
        if "signature" in asked.query and call.kind == "download":
            return await self._stored(call, parts, asked, with_token="authorization" in headers)
        if self.sim.token_of(bearer(headers.get("authorization", ""))) is None:
            raise Refusal(401, UNAUTHORIZED)
        if call.kind == "download":
            return await self._download(call, parts, asked)
        if call.kind == "site_list":
            return await self._site_list()
        document = await asyncio.to_thread(listings.answer, self.sim, call, parts, asked.query)
        return self._json(exchange, document)

    def _json(self, exchange: Exchange, document: dict[str, Any], status: int = 200) -> Reply:
        if self.sim.edit_answer is not None:
            document = self.sim.edit_answer(exchange.asked, document)
        return json_reply(status, document)

    def _token(self, exchange: Exchange, body: bytes) -> Reply:
        """§3.3."""
        try:
            wanted = json.loads(body)
            account, password = wanted["accountName"], wanted["accountPassword"]
        except (ValueError, TypeError, KeyError) as error:
            raise Refusal(406, INVALID) from error
        if not isinstance(account, str) or self.sim.accounts.get(account, object()) != password:
            raise Refusal(401, UNAUTHORIZED)
        exchange.account = account
        token = self.sim.issue(account)
        ways, seconds = self.sim.ways, int((token.expires - token.issued).total_seconds())
        document: dict[str, Any] = {"tokenType": ways.token_type, "accessToken": token.value}
        if ways.expires_in != "absent":
            document["expiresIn"] = {"ms": seconds * 1000, "text": str(seconds)}.get(ways.expires_in, seconds)
        return self._json(exchange, document, int(ways.login_status))

    async def _site_list(self) -> Reply:
        """§3.7; the name follows the document's convention, with today's date."""
        content = await asyncio.to_thread(self.sim.site_list)
        name = f'attachment; filename="{self.sim.site_list_name()}"'
        return Reply(200, Body(content), (("content-type", "text/csv"), ("content-disposition", name)))

    async def _download(self, call: Call, parts: dict[str, str], asked: f.Asked) -> Reply:
        """§3.5.6, §3.5.7, §3.6.3."""
        file = self._downloadable(call, parts)
        self.sim.check_link(file, asked.query)
        if self.sim.ways.storage != "none":
            return Reply(302, Body(b""), (("location", self.sim.signed_link(asked.path)),))
        return await self._body(file)

    async def _stored(self, call: Call, parts: dict[str, str], asked: f.Asked, *, with_token: bool) -> Reply:
        """The object storage behind a redirect: it knows signatures, and no tokens."""
        if with_token:
            raise Refusal(int(self.sim.ways.storage), "Only one auth mechanism allowed")
        if asked.query["signature"] != self.sim.signature(asked.path):
            raise Refusal(403, "SignatureDoesNotMatch")
        return await self._body(self._downloadable(call, parts))

    async def _body(self, file: CcaFile) -> Reply:
        """Every answer with a body counts as an attempt."""
        world = self.sim.world
        body = world.body(file) if world.has_body(file) else await asyncio.to_thread(world.body, file)
        world.attempts[file.id] = world.attempts.get(file.id, 0) + 1
        media = "application/zip" if file.report == "cdr_compressed" else "text/csv"
        return Reply(200, body, (("content-type", media),))

    def _downloadable(self, call: Call, parts: dict[str, str]) -> CcaFile:
        site = parts.get("site")
        file = self.sim.world.find(parts["id"], site)
        wanted = ("peak_port_daily", "peak_port_monthly") if "peakport" in call.path else (call.report,)
        if file is None or file.report not in wanted:
            raise Refusal(406, UNKNOWN)
        now = self.sim.now()
        if now < file.created and call.processing:
            raise Refusal(*call.processing)
        if now >= self.sim.ways.expires(file):
            raise Refusal(403, call.expired)
        if self.sim.world.attempts.get(file.id, 0) >= self.sim.max_attempts:
            raise Refusal(403, call.exhausted)
        return file


def _asked(scope: Message, headers: dict[str, str], token: int | None) -> tuple[f.Asked, dict[str, str]]:
    raw = scope["raw_path"].decode("latin-1").partition("?")[0]
    path = raw.removeprefix(ROOT)
    found = route(path) if raw.startswith(ROOT) else None
    call, parts = found or (None, {})
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return f.Asked(scope["method"], path, query, headers.get("host", ""), call, token), parts


def _fault_reply(fault: f.Status | f.StillProcessing | f.BadJson | f.Redirect, asked: f.Asked) -> Reply:
    json_type = ("content-type", "application/json")
    match fault:
        case f.BadJson(body):
            return Reply(200, Body(body), (json_type,))
        case f.Redirect(to, status):
            path = f"{ROOT}{asked.path}" + (f"?{urlencode(asked.query)}" if asked.query else "")
            return Reply(status, Body(b""), (("location", to.replace("{path}", path)),))
        case f.StillProcessing(_, status, retry_after):
            usual = (asked.call and asked.call.processing) or (412, "Still processing")
            reply = refused(Refusal(status or usual[0], usual[1]))
        case f.Status(code, message, retry_after, None):
            reply = refused(Refusal(code, message))
        case f.Status(code, _, retry_after, bytes() as body, content_type):
            reply = Reply(code, Body(body), (("content-type", content_type),))
    if retry_after is None:
        return reply
    return Reply(reply.status, reply.body, (*reply.headers, ("retry-after", str(retry_after))))


def _mark(fault: f.Fault, exchange: Exchange) -> None:
    """Note what the fault will do to the body."""
    effects = exchange.effects
    match fault:
        case f.CutAfter() | f.Hang():
            effects.end = fault
        case f.Trickle(rate):
            effects.rate = rate
        case f.NoLength(chunked):
            effects.length, effects.chunked = False, chunked
        case f.WrongBytes():
            effects.wrong = True
        case f.TruncatedJson():
            effects.half = True


def refused(refusal: Refusal) -> Reply:
    """The error's small JSON; the document gives its words, not its form. A 204 has no body."""
    if refusal.status == 204:
        return Reply(204, Body(b""))
    return json_reply(refusal.status, {"code": refusal.status, "message": refusal.message})


def json_reply(status: int, document: dict[str, Any]) -> Reply:
    return Reply(status, Body(json.dumps(document).encode()), (("content-type", "application/json"),))
