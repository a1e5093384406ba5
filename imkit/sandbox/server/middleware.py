"""ASGI middleware around all REST routes: CORS, latency, rate limit, injected faults, and JSON for every error.

The official SDK waits for ever after an error that is not JSON, and a browser hides a reply without CORS headers. So
every reply passes here, also the router's own 404.

Source: docs/protocol.md#rest-transport, docs/protocol.md#cross-origin-requests.
"""

from __future__ import annotations

import asyncio
import json
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE
from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server.host_names import host_of, is_own_name
from imkit.sandbox.server.rate_limit import RateLimit
from imkit.sandbox.server.rest_replies import error_body

logger = logging.getLogger(__name__)


CORS = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"Retry-After")]
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Accept, Range, restrict-access, share-secret, X-Requested-With, X-Request-Id, "
        b"thumbnail-width, thumbnail-height",
    ),
    (b"access-control-max-age", b"600"),
    # Chromium asks for this when a page of another site calls a server on this machine.
    (b"access-control-allow-private-network", b"true"),
]
_STALL_SECONDS = 30
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
# imkit's own endpoints are for programs of this machine. A page of another origin may not read them: they have no CORS
# headers and answer no preflight request. They get no faults: a fault there would break the tools and test no client.
_OWN_ENDPOINTS = frozenset({APP_SERVER_TOKEN, HEALTH, RETIRE})


class Middleware:
    """Wraps the REST application.

    Args:
        app: the REST application.
        options: the server's settings.
        faults: the REST faults of these happen here.
    """

    def __init__(self, app: ASGIApp, options: Options, faults: Faults) -> None:
        self._app = app
        self._host = options.host
        self._latency = options.latency_ms / 1000
        self._faults = faults
        self._limit = RateLimit(options.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        reply = _Reply(send, self._latency, [] if scope["path"] in _OWN_ENDPOINTS else CORS)
        try:
            await self._serve(scope, receive, reply)
        except ClientDisconnect:
            logger.debug("the client of %s %s went away", scope["method"], scope["path"])
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not reply.started:
                await _answer_error(reply, 500, "internal_server_error", "the sandbox failed; its log says why")

    async def _serve(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        if not is_own_name(host_of(scope), self._host):
            await _answer_error(reply, 421, "misdirected_request", "this server has another name")
        elif scope["path"] in _OWN_ENDPOINTS:
            await self._app(scope, receive, reply)
        elif scope["method"] == "OPTIONS":
            await _answer(reply, 200, b"", _PREFLIGHT)
        elif not await self._answered_by_fault(reply):
            sender: Send = _stalled(reply) if self._faults.strikes("rest-stall") else reply
            if self._faults.strikes("rest-cut"):
                await self._cut_reply(scope, receive, sender)
            else:
                await self._app(scope, receive, sender)

    async def _cut_reply(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _discard)
        # Send half a reply: uvicorn closes a connection whose reply is not completed.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})

    async def _answered_by_fault(self, send: Send) -> bool:
        """Answer the request if the rate limit or a fault refuses it; return whether that happened."""
        wait = self._limit.wait()
        if wait or self._faults.strikes("429"):
            retry = [(b"retry-after", str(max(1, round(wait + 0.5))).encode())]
            await _answer_error(send, 429, "reach_limit", "This request has reached api limit", retry)
        elif self._faults.strikes("503"):
            await _answer_error(send, 503, "service_unavailable", "the service is busy", [(b"retry-after", b"1")])
        elif self._faults.strikes("500"):
            await _answer_error(send, 500, "internal_server_error", "an injected fault")
        elif self._faults.strikes("html-502"):
            await _answer(send, 502, _HTML, [(b"content-type", b"text/html")])
        else:
            return False
        return True


class _Reply:
    """Sends a reply with more headers, after the latency; remembers that it has started."""

    def __init__(self, send: Send, latency: float, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._latency = latency
        self._headers = headers
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", []), *self._headers]
            if self._latency:
                await asyncio.sleep(self._latency)
        await self._send(message)


def _stalled(send: Send) -> Send:
    async def send_late(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(_STALL_SECONDS)
        await send(message)

    return send_late


async def _discard(message: Message) -> None:
    """Drop a part of a reply."""


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer_error(
    send: Send, status: int, error: str, description: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps(error_body(error, description)).encode()
    await _answer(send, status, body, [(b"content-type", b"application/json"), *(headers or [])])
