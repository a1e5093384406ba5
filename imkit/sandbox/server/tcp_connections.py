"""The TCP connections of the server: how many there may be, and how long a client may keep one waiting.

uvicorn reads and writes them. It waits for ever for the head of a first request, and for a client that takes nothing
of what was sent to it; it answers some errors with plain text, and has no limit of connections. The two classes here
add these. `sweep` looks at all connections once a second.

Source: docs/protocol.md#rest-transport.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.middleware import CORS
from imkit.sandbox.server.rest_replies import error_body

_SPARE_FILES = 64  # files that the process needs besides its connections
_PONG_BYTES = 1024 * 1024  # with so many unsent bytes no ping is answered any more
_FRAGMENTS = 4096  # the most parts of one WebSocket message; an empty part costs its sender nearly nothing
_REASONS = {408: "request_timeout", 431: "header_too_large", 503: "service_unavailable"}


class _Watched:
    """What both kinds of connections have: when the client last took some of what was sent to it."""

    transport: Any
    _unread = (0, 0.0)  # the unsent bytes, and since when they have not become fewer

    def is_unread(self, now: float, limit: float) -> bool:
        """Return whether the client has taken nothing for `limit` seconds, although something waits for it."""
        size, last = self.transport.get_write_buffer_size(), self._unread[0]
        if not 0 < last <= size:
            self._unread = (size, now)
        return now - self._unread[1] > limit


class HttpConnection(_Watched, H11Protocol):
    """An HTTP connection. One that becomes a WebSocket goes on as a `SocketConnection`."""

    waiting_since = 0.0  # since when the client, and not the server, has to do the next step

    @property
    def limits(self) -> Limits:
        """The limits of the server."""
        limits: Limits = self.app.limits
        return limits

    @property
    def is_waiting(self) -> bool:
        """Whether the client has to do the next step: it has not sent a whole request."""
        return (self._is_between_requests or self.conn.their_state is h11.SEND_BODY) and not self.transport.is_closing()

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete or self._is_refused

    @property
    def _is_refused(self) -> bool:
        """Whether the client has sent what is no HTTP. What it sends after that is dropped."""
        return self.conn.their_state is h11.ERROR

    def connection_made(self, transport: Any) -> None:
        """Take a connection. If there are too many, end the one that waits the longest: the new one at last."""
        super().connection_made(transport)
        self.waiting_since = time.monotonic()
        if len(self.connections) <= most_waiting(self.limits):
            return
        waiting = [each for each in self.connections if isinstance(each, HttpConnection) and each.is_waiting]
        too_many = len(self.connections) > most_connections(self.limits)
        if too_many or len(waiting) > most_waiting(self.limits):
            min(waiting, key=lambda each: each.waiting_since).refuse(503, "the sandbox has too many connections")

    def data_received(self, data: bytes) -> None:
        """Handle bytes; after a pause between two requests, the time for the head of the next one begins."""
        if self._is_refused:
            return
        if self.timeout_keep_alive_task is not None:
            self.waiting_since = time.monotonic()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.waiting_since = time.monotonic()
        super().on_response_complete()

    def is_overdue(self, now: float) -> bool:
        """Return whether the client has kept the server waiting for too long."""
        if not self._is_between_requests or self.transport.is_closing():
            return False  # the body of a request has its own time: see `request_body`
        if self._is_refused or self.conn.their_state is h11.SEND_BODY:  # of a request that was refused before its end
            return now - self.waiting_since > self.limits.discard_seconds
        # uvicorn ends a pause between two requests. It does not see a part of the next one that came with the last.
        idle = self.timeout_keep_alive_task is not None and not self.conn.trailing_data[0]
        return not idle and now - self.waiting_since > self.limits.head_seconds

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP; uvicorn calls this while it handles the error of h11.

        The client may still be sending. If the connection closed now, the system would tell the client of a reset, and
        it might never see the answer. So the connection is closed for writing only, until the client closes it too.
        """
        error = sys.exc_info()[1]
        self._answer(error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400, msg)
        self.waiting_since = time.monotonic()
        if self.cycle is not None:  # for the application, the client is gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write_eof()

    def refuse(self, status: int, why: str) -> None:
        """Answer with an error, if nothing was answered yet, and close the connection."""
        self._answer(status, why)
        self.transport.close()

    def _answer(self, status: int, why: str) -> None:
        """Answer with an error, if nothing was answered yet."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(error_body(_REASONS.get(status, "bad_request"), why)).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                *CORS,
            ]
            head = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES.get(status, b""))
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))


class SocketConnection(_Watched, WebSocketsSansIOProtocol):
    """A WebSocket. `msync` ends those without a login, and those that are silent."""

    _fragments = 0  # of the message that is arriving

    def handle_ping(self) -> None:
        """Answer a ping, unless the client takes no answers."""
        if self.transport.get_write_buffer_size() > _PONG_BYTES:
            self.transport.abort()
        else:
            super().handle_ping()

    def handle_cont(self, event: Any) -> None:
        """Take a part of a message; too many end the connection."""
        self._fragments = 0 if event.fin else self._fragments + 1
        if self._fragments > _FRAGMENTS:
            self.transport.abort()
        else:
            super().handle_cont(event)


def most_connections(limits: Limits) -> int:
    """Return how many connections the limits and the system allow."""
    if sys.platform == "win32":
        return limits.connections
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits.connections if files < 0 else max(1, min(limits.connections, files - _SPARE_FILES))


def most_waiting(limits: Limits) -> int:
    """Return how many connections may wait for a whole request, and how many sockets for their login."""
    return min(limits.waiting_connections, most_connections(limits) // 3)


def sweep(connections: Iterable[Any], limits: Limits, now: float) -> None:
    """End the connections whose client keeps the server waiting for too long.

    Args:
        connections: those of uvicorn.
        limits: the limits of the server.
        now: the time, as `time.monotonic` gives it.
    """
    for connection in list(connections):
        if connection.is_unread(now, limits.unread_seconds):
            connection.transport.abort()
        elif isinstance(connection, HttpConnection) and connection.is_overdue(now):
            connection.refuse(408, "the request did not come in time")
