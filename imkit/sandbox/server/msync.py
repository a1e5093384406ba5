"""The socket: MSYNC frames in and out (fact sheet sections 1 to 4).

`Connection` is one WebSocket: it reads, writes and closes. `Exchange` looks at the frames of all of them, in the order
they came, many in one unit of work. One client's garbage closes that client's socket and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from google.protobuf.message import DecodeError

from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server.addresses import queue_name
from imkit.sandbox.server.delivery import LOGOUT, PROVISION, SYNC, UNREAD, Delivery, envelope
from imkit.sandbox.server.notices import CHAT, compact
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.uplink import Refused, Sending
from imkit.sandbox.server.users import People, user_id
from imkit.wire import schema

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

FAIL, PB_PARSER_ERROR = 1, 10  # Status.ErrorCode
_FRAMES_PER_UNIT = 256  # a bound on how long everybody else waits
_READ_AHEAD = 1024 * 1024  # bytes a client may leave unread before its own frames wait
_FRAMES_AHEAD = 128  # frames of one client that may wait to be handled; then it is read on
_WRITE_LIMIT = 16 * 1024 * 1024  # bytes a client may leave unread before its socket is closed
_OK = schema.Status(errorCode=0)


class Connection:
    """One WebSocket. Logged in once `user` is set."""

    def __init__(self, exchange: Exchange, latency: float) -> None:
        self.user = ""
        self.resource = ""
        self.device = 0
        self.noticed: set[str] = set()
        self.heard = asyncio.get_running_loop().time()
        self.closing = False  # nothing more is taken from it
        self.stalled = False  # nothing more is sent to it (a fault)
        self._exchange = exchange
        self._latency = latency
        self._staged: list[bytes] = []
        self._outgoing: deque[tuple[float, bytes]] = deque()
        self._waiting = 0  # bytes in _outgoing
        self.submitted = 0  # frames that wait to be handled
        self._close: tuple[int, str] | None = None
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- what delivery uses

    def post(self, frame: bytes) -> None:
        """Stage a frame."""
        self._staged.append(frame)

    def discard(self) -> None:
        """Forget what is staged."""
        self._staged.clear()

    def transmit(self) -> None:
        """Hand what is staged to the writer."""
        if not self.stalled:
            due = asyncio.get_running_loop().time() + self._latency
            for frame in self._staged:
                self._outgoing.append((due, frame))
                self._waiting += len(frame)
        self._staged.clear()
        if self._waiting > _WRITE_LIMIT and self._writer is not None:
            logger.warning("%s/%s does not read: its socket is closed", self.user, self.resource)
            self._writer.cancel()  # it waits for a client that does not read; `run` ends with it
            self._outgoing.clear()
            self._waiting = 0
        self._wake.set()

    def read_on(self) -> None:
        """Let the reader look again whether it may go on."""
        self._drained.set()

    def finish(self, code: int, reason: str) -> None:
        """Close behind what is staged."""
        self.closing = True
        self._close = (code, reason)
        self._wake.set()

    def cut(self) -> None:
        """End without a close frame, behind what is staged."""
        self.finish(0, "cut")

    # ---------------------------------------------------------------- the socket

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve until either side ends it."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        reader = asyncio.create_task(self._read(receive), name="sandbox-read")
        writer = self._writer = asyncio.create_task(self._write(send), name="sandbox-write")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.closing = True
            for task in (reader, writer):
                task.cancel()
            for result in await asyncio.gather(reader, writer, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, OSError):
                    logger.debug("a socket of %s ended", self.user or "nobody", exc_info=result)

    async def _read(self, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            self.heard = loop.time()
            if self.closing:
                continue  # until the writer has closed it
            frame = event.get("bytes")
            if frame is None:
                self.finish(1003, "binary messages only")
                continue
            self._exchange.submit(self, frame)
            while self._waiting > _READ_AHEAD or self.submitted >= _FRAMES_AHEAD:
                self._drained.clear()
                await self._drained.wait()

    async def _write(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._outgoing:
                due, frame = self._outgoing.popleft()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await send({"type": "websocket.send", "bytes": frame})
                self._waiting -= len(frame)
            self._drained.set()
            if self._close is not None and not self._staged:
                code, reason = self._close
                if code:
                    await send({"type": "websocket.close", "code": code, "reason": reason})
                    await asyncio.sleep(0.5)  # the peer answers the close frame: it, not we, should end the connection
                return
            await self._wake.wait()
            self._wake.clear()


class Exchange:
    """Every frame of every connection passes here."""

    def __init__(
        self, options: Options, store: Store, people: People, delivery: Delivery, sending: Sending, faults: Faults
    ) -> None:
        self.connections: set[Connection] = set()
        self._options = options
        self._store = store
        self._people = people
        self._delivery = delivery
        self._sending = sending
        self._faults = faults
        self._inbox: deque[tuple[Connection, bytes]] = deque()
        self._scheduled = False

    async def serve(self, receive: Receive, send: Send) -> None:
        """Serve one WebSocket."""
        if self._faults.strikes("refuse-socket"):
            await receive()
            await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        connection = Connection(self, self._options.latency_ms / 1000)
        self.connections.add(connection)
        try:
            await connection.run(receive, send)
        finally:
            self.connections.discard(connection)
            if connection.user:
                self._delivery.leave(connection)

    def submit(self, connection: Connection, frame: bytes) -> None:
        """Take a frame. What else is readable now is taken too, and all of it handled in one unit."""
        connection.submitted += 1
        self._inbox.append((connection, frame))
        self._schedule()

    def _schedule(self) -> None:
        if self._inbox and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._scheduled = False
        batch = [self._inbox.popleft() for _ in range(min(len(self._inbox), _FRAMES_PER_UNIT))]
        for connection, _ in batch:
            connection.submitted -= 1
        try:
            with self._delivery.unit():
                for connection, frame in batch:
                    if not connection.closing:
                        self._handle(connection, frame)
        except sqlite3.Error:
            # Nothing of this batch is stored, so nobody may get an ack: the clients find out by reconnecting.
            logger.exception("the store failed")
            for connection, _ in batch:
                connection.finish(1011, "the store failed")
        for connection, _ in batch:
            connection.read_on()
        self._schedule()

    def _handle(self, connection: Connection, frame: bytes) -> None:
        if self._faults.strikes("stall"):
            connection.stalled = True
        if self._faults.strikes("cut"):
            connection.cut()
            return
        try:
            message = schema.MSync.FromString(frame)
            self._dispatch(connection, message)
        except (DecodeError, UnicodeDecodeError):
            logger.info("a frame of %s cannot be read: %d bytes", connection.user or "nobody", len(frame))
            connection.finish(1007, "not an MSYNC frame")
        except sqlite3.Error:
            raise
        except Exception:
            logger.exception("a frame of %s failed", connection.user or "nobody")
            connection.finish(1011, "internal error")

    def _dispatch(self, connection: Connection, message: Any) -> None:
        command = message.command
        if command == PROVISION:
            self._provision(connection, message)
        elif command == LOGOUT:
            self._delivery.post(connection, envelope(LOGOUT, schema.Logout(status=_OK)))
        elif not connection.user:
            connection.finish(1008, "log in first")
        elif command == UNREAD:
            self._delivery.post_unread(connection)
        elif command == SYNC:
            self._sync(connection, schema.CommSyncUL.FromString(message.payload))

    # ---------------------------------------------------------------- log in

    def _provision(self, connection: Connection, message: Any) -> None:
        wanted = schema.Provision.FromString(message.payload)
        user = user_id(message.guid.name)
        token = self._people.token(message.auth.removeprefix("$t$"))
        if message.guid.appKey != self._options.app_key or user is None or not self._people.exists(user):
            self._refuse(connection, "Sorry, user not found")
            return
        if token is None or token.user != user:
            self._refuse(connection, "Sorry, token or password does not match login info")
            return
        if token.expires <= self._store.clock():
            self._refuse(connection, "Sorry, token expired")
            return
        if connection.user:
            self._delivery.leave(connection)
        connection.user = user
        connection.resource = wanted.resource or message.guid.clientResource or "unnamed"
        connection.noticed.clear()
        self._delivery.arrive(connection)
        reply = schema.Provision(
            status=_OK,
            resource=connection.resource,  # echoed: the SDK adopts whatever comes (section 2)
            authToken=compact({"expires_in": token.expires}),
        )
        if wanted.sessionId:
            reply.sessionId = wanted.sessionId
        self._delivery.post(connection, envelope(PROVISION, reply))

    def _refuse(self, connection: Connection, reason: str) -> None:
        status = schema.Status(errorCode=FAIL, reason=reason)
        self._delivery.post(connection, envelope(PROVISION, schema.Provision(status=status)))

    # ---------------------------------------------------------------- sync

    def _sync(self, connection: Connection, sync: Any) -> None:
        if sync.HasField("meta"):
            if sync.meta.ns == CHAT:
                self._send(connection, sync.meta)
            return  # statistics and the like need no answer (section 2)
        if sync.HasField("queue"):
            queue = queue_name(sync.queue)
            if sync.HasField("key"):
                self._delivery.acknowledge(connection, queue, sync.key)
            self._delivery.post_page(connection, queue, sync.key)

    def _send(self, connection: Connection, meta: Any) -> None:
        reply = schema.CommSyncDL(metaId=meta.id)
        try:
            if self._faults.strikes("refuse-send"):
                raise Refused(7, "traffic limit")
            accepted = self._sending.accept(connection, meta)
        except Refused as refused:
            reply.status.errorCode, reply.status.reason = refused.code, refused.reason
            reply.timestamp = self._store.clock()
        except (DecodeError, UnicodeDecodeError, ValueError) as error:
            logger.info("a message of %s cannot be read: %s", connection.user, error)
            reply.status.errorCode, reply.status.reason = PB_PARSER_ERROR, "this message cannot be read"
        else:
            if self._faults.strikes("drop-ack"):
                return
            if self._faults.strikes("cut-before-ack"):
                connection.cut()
                self._delivery.touch(connection)
                return
            reply.status.errorCode = 0
            reply.serverId, reply.timestamp = accepted.server_id, accepted.time
            if accepted.note is not None:
                reply.metas.append(self._sending.edit_note(accepted.note, accepted.time, accepted.server_id))
            if self._faults.strikes("cut-after-ack"):
                connection.cut()
        self._delivery.post(connection, envelope(SYNC, reply))

    # ---------------------------------------------------------------- housekeeping

    def close_idle(self) -> None:
        """Close the sockets that were silent too long."""
        limit = asyncio.get_running_loop().time() - self._options.idle_seconds
        for connection in self.connections:
            if connection.heard < limit and not connection.closing:
                connection.finish(1001, "idle")
