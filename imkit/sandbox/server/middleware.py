"""The outer wall of the REST side: CORS, latency, rate limit, injected faults, and JSON for every error.

The official SDK waits for ever on an error that is not JSON, and a browser on one without CORS headers (fact sheet
section 1), so this stands around everything, the router's own 404 included.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE
from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server.rest_replies import error_body

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_CORS = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"Retry-After")]
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Accept, restrict-access, share-secret, X-Requested-With, thumbnail-width, "
        b"thumbnail-height",
    ),
    (b"access-control-max-age", b"600"),
    # A page from elsewhere may talk to this machine's sandbox (Chromium asks for this on loopback).
    (b"access-control-allow-private-network", b"true"),
]
_STALL_SECONDS = 30
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
# The doors that are imkit's own: a fault there would break the tools, not test the client.
_OWN = frozenset({APP_SERVER_TOKEN, HEALTH, RETIRE})


class RateLimit:
    """A token bucket of one second's worth."""

    def __init__(self, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._burst = max(1.0, per_second or 1.0)
        self._left = self._burst
        self._at = clock()

    def wait(self) -> float:
        """Take one request; return 0, or after how many seconds to ask again."""
        if self._per_second is None:
            return 0.0
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._per_second


class Edge:
    """ASGI middleware around the REST application."""

    def __init__(self, app: Application, options: Options, faults: Faults) -> None:
        self._app = app
        self._latency = options.latency_ms / 1000
        self._faults = faults
        self._limit = RateLimit(options.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answered = False

        async def with_cors(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                message["headers"] = [*message.get("headers", []), *_CORS]
                if self._latency:
                    await asyncio.sleep(self._latency)
            await send(message)

        decorated: Send = with_cors
        if scope["method"] == "OPTIONS":
            await _answer(decorated, 200, b"", _PREFLIGHT)
            return
        if scope["path"] not in _OWN:
            if await self._struck(decorated):
                return
            if self._faults.strikes("rest-stall"):
                decorated = _stalled(decorated)
            if self._faults.strikes("rest-cut"):
                await self._app(scope, receive, _swallow)
                # Half a reply: uvicorn closes a connection whose reply is never completed.
                start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]}
                await decorated(start)
                await decorated({"type": "http.response.body", "body": b"{", "more_body": True})
                return
        try:
            await self._app(scope, receive, decorated)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not answered:
                await _answer_error(decorated, 500, "internal_server_error", "the sandbox failed; its log says why")

    async def _struck(self, send: Send) -> bool:
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


def _stalled(send: Send) -> Send:
    async def later(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(_STALL_SECONDS)
        await send(message)

    return later


async def _swallow(message: Message) -> None:
    """Take a reply and let it go nowhere."""


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer_error(
    send: Send, status: int, error: str, description: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps(error_body(error, description)).encode()
    await _answer(send, status, body, [(b"content-type", b"application/json"), *(headers or [])])
