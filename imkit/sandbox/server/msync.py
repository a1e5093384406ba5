"""The socket side of the server: reads and writes MSYNC frames.

`Connection` is one WebSocket: it reads, writes and closes. `MsyncServer` handles the frames of all connections in
the order of arrival, many in one unit of work. A frame that cannot be read closes its own connection and no other.

Source: docs/protocol.md#socket-transport, docs/protocol.md#login-and-connection,
docs/protocol.md#queues-and-synchronisation, docs/protocol.md#sending.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections import deque
from typing import Any

from google.protobuf.message import DecodeError
from starlette.types import Receive, Scope, Send

from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server.addresses import queue_name
from imkit.sandbox.server.delivery import Delivery, envelope
from imkit.sandbox.server.host_names import host_of, is_own_name
from imkit.sandbox.server.middleware import CORS
from imkit.sandbox.server.notices import compact
from imkit.sandbox.server.permissions import SendRefused
from imkit.sandbox.server.rest_replies import error_body
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.tcp_connections import most_waiting
from imkit.sandbox.server.uplink import Uplink
from imkit.sandbox.server.users import Users, user_id
from imkit.wire import schema
from imkit.wire.enums import FrameCommand, NameSpace, StatusCode
from imkit.wire.untrusted_json import json_object, text

logger = logging.getLogger(__name__)

_FRAMES_PER_UNIT = 256  # the most frames in one unit; other clients wait meanwhile
_UNIT_SECONDS = 0.05  # after so long a unit takes no further frame
_UNSENT_PAUSE = 1024 * 1024  # with so many unsent bytes for a client, the server stops reading from it
_UNHANDLED_PAUSE = 128  # with so many unhandled frames of a client, the server stops reading from it
_UNSENT_LIMIT = 16 * 1024 * 1024  # with so many unsent bytes for a client, the server closes its socket
_AUTH_TOKEN_CHARACTERS = 8 * 1024  # a stranger may send a megabyte, and reading it would take a third of a second
_OK = schema.Status(errorCode=StatusCode.OK)


class Connection:
    """One WebSocket, which is logged in once `user` is set. Implements `delivery.Device`.

    Args:
        server: handles its frames.
        latency: how long each frame to the client waits, in seconds.

    Attributes:
        user: the user, "" before the login.
        resource: the device's resource.
        device_number: the device's number in `DeviceQueues`.
        noticed: the queues that the device was told about and has not emptied since.
        opened_at: when it was opened, in the event loop's time.
        last_frame_at: when the last frame arrived, in the event loop's time.
        refused_logins: how many of its logins were refused.
        closing: the server ignores further frames of it.
        stalled: the server sends nothing more to it (the fault "stall").
        unhandled: how many of its frames wait to be handled.
    """

    def __init__(self, server: MsyncServer, latency: float) -> None:
        self.user = ""
        self.resource = ""
        self.device_number = 0
        self.noticed: set[str] = set()
        self.opened_at = self.last_frame_at = asyncio.get_running_loop().time()
        self.refused_logins = 0
        self.closing = False
        self.stalled = False
        self.unhandled = 0
        self._server = server
        self._latency = latency
        self._staged: list[bytes] = []
        self._outgoing: deque[tuple[float, bytes]] = deque()  # (when to send, frame)
        self._unsent = 0  # bytes in _outgoing
        self._close: tuple[int, str] | None = None
        self._wake_writer = asyncio.Event()
        self._wake_reader = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- for delivery

    def stage(self, frame: bytes) -> None:
        """Hold a frame until `transmit`."""
        self._staged.append(frame)

    def discard(self) -> None:
        """Drop the staged frames."""
        self._staged.clear()

    def transmit(self) -> None:
        """Give the staged frames to the writer."""
        if not self.stalled:
            due = asyncio.get_running_loop().time() + self._latency
            for frame in self._staged:
                self._outgoing.append((due, frame))
                self._unsent += len(frame)
        self._staged.clear()
        if self._unsent > _UNSENT_LIMIT and self._writer is not None:
            logger.warning("%s/%r does not read: its socket is closed", self.user, self.resource)
            self._writer.cancel()  # it waits for the client; `run` ends when it ends
            self._outgoing.clear()
            self._unsent = 0
        self._wake_writer.set()

    def resume_reading(self) -> None:
        """Let the reader check again whether it may read."""
        self._wake_reader.set()

    def finish(self, code: int, reason: str) -> None:
        """Close the socket after the staged frames are sent."""
        self.closing = True
        self._close = (code, reason)
        self._wake_writer.set()

    def cut(self) -> None:
        """End the connection without a close frame, after the staged frames are sent."""
        self.finish(0, "cut")

    # ---------------------------------------------------------------- the socket

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the socket until either side ends it."""
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
            self.last_frame_at = loop.time()
            if self.closing:
                continue  # the writer is about to close the socket
            frame = event.get("bytes")
            if frame is None:
                self.finish(1003, "binary messages only")
                continue
            self._server.submit(self, frame)
            while self._unsent > _UNSENT_PAUSE or self.unhandled >= _UNHANDLED_PAUSE:
                self._wake_reader.clear()
                await self._wake_reader.wait()

    async def _write(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._outgoing:
                due, frame = self._outgoing.popleft()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await send({"type": "websocket.send", "bytes": frame})
                self._unsent -= len(frame)
            self._wake_reader.set()
            if self._close is not None and not self._staged:
                code, reason = self._close
                if code:
                    await send({"type": "websocket.close", "code": code, "reason": reason})
                    await asyncio.sleep(0.5)  # the client answers the close frame and should end the connection itself
                return
            await self._wake_writer.wait()
            self._wake_writer.clear()


async def refuse_socket(send: Send, status: int, error: str, why: str) -> None:
    """Answer the request for a WebSocket with an error."""
    headers = [(b"content-type", b"application/json"), *CORS]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(error_body(error, why)).encode()})


def _token_of(auth: str, auth_token: str) -> str:
    """Return the token of a login: SDK 4 and older builds write it into `MSync.auth`, SDK 5 into PROVISION alone.

    Source: docs/protocol.md#sdk-5-login.
    """
    if not auth and len(auth_token) <= _AUTH_TOKEN_CHARACTERS:
        auth = text(json_object(auth_token), "token")
    return auth.removeprefix("$t$")


class MsyncServer:
    """Handles the frames of all connections.

    Args:
        options: the server's settings.
        store: gives the time.
        users: checks logins.
        delivery: delivers to devices.
        uplink: carries out what clients send.
        faults: the socket faults of these happen here.
    """

    def __init__(
        self, options: Options, store: Store, users: Users, delivery: Delivery, uplink: Uplink, faults: Faults
    ) -> None:
        self.connections: set[Connection] = set()
        self._options = options
        self._store = store
        self._users = users
        self._delivery = delivery
        self._uplink = uplink
        self._faults = faults
        self._inbox: deque[tuple[Connection, bytes]] = deque()
        self._scheduled = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket.

        Its Origin may be any: the official SDKs run in pages of any site. A page can do nothing without a token, and
        a browser adds none by itself.
        """
        if not is_own_name(host_of(scope), self._options.host):
            await receive()
            await refuse_socket(send, 421, "misdirected_request", "this server has another name")
            return
        if self._faults.strikes("refuse-socket"):
            await receive()
            await refuse_socket(send, 503, "service_unavailable", "an injected fault")
            return
        connection = Connection(self, self._options.latency_ms / 1000)
        self.connections.add(connection)
        self._close_strangers()
        try:
            await connection.run(receive, send)
        finally:
            self.connections.discard(connection)
            if connection.user:
                self._delivery.log_out(connection)

    def _close_strangers(self) -> None:
        """Close the socket that has waited the longest for its login, if too many wait."""
        most = most_waiting(self._options.limits)
        if len(self.connections) > most:
            strangers = [each for each in self.connections if not each.user and not each.closing]
            if len(strangers) > most:
                min(strangers, key=lambda each: each.opened_at).finish(1013, "too many sockets wait for their login")

    def submit(self, connection: Connection, frame: bytes) -> None:
        """Put a frame into the inbox. The next turn of the event loop handles the inbox in one unit."""
        connection.unhandled += 1
        self._inbox.append((connection, frame))
        self._schedule()

    def _schedule(self) -> None:
        if self._inbox and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._handle_batch)

    def _handle_batch(self) -> None:
        self._scheduled = False
        batch: list[Connection] = []
        until = time.monotonic() + _UNIT_SECONDS
        try:
            with self._delivery.unit():
                while self._inbox and len(batch) < _FRAMES_PER_UNIT and (not batch or time.monotonic() < until):
                    connection, frame = self._inbox.popleft()
                    connection.unhandled -= 1
                    batch.append(connection)
                    if not connection.closing:
                        self._handle(connection, frame)
        except sqlite3.Error:
            # Nothing of this batch is stored, so no client may get an ack. The clients reconnect and check.
            logger.exception("the store failed")
            for connection in batch:
                connection.finish(1011, "the store failed")
        for connection in batch:
            connection.resume_reading()
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
        if command == FrameCommand.PROVISION:
            self._provision(connection, message)
        elif command == FrameCommand.LOGOUT:
            self._delivery.post(connection, envelope(FrameCommand.LOGOUT, schema.Logout(status=_OK)))
        elif not connection.user:
            connection.finish(1008, "log in first")
        elif command == FrameCommand.UNREAD:
            self._delivery.post_unread(connection)
        elif command == FrameCommand.SYNC:
            self._sync(connection, schema.CommSyncUL.FromString(message.payload))

    # ---------------------------------------------------------------- log in

    def _provision(self, connection: Connection, message: Any) -> None:
        wanted = schema.Provision.FromString(message.payload)
        user = user_id(message.guid.name)
        token = self._users.find_token(_token_of(message.auth, wanted.authToken))
        if message.guid.appKey != self._options.app_key or user is None or not self._users.exists(user):
            self._refuse(connection, "Sorry, user not found")
            return
        if token is None or token.user != user:
            self._refuse(connection, "Sorry, token or password does not match login info")
            return
        if token.expires <= self._store.clock():
            self._refuse(connection, "Sorry, token expired")
            return
        resource = wanted.resource or message.guid.clientResource or "unnamed"
        if len(resource.encode()) > self._options.limits.resource_bytes:
            self._refuse(connection, "Sorry, the name of the device is too long")
            return
        if connection.user:
            self._delivery.log_out(connection)
        connection.user = user
        connection.resource = resource
        connection.noticed.clear()
        self._delivery.log_in(connection)
        reply = schema.Provision(
            status=_OK,
            resource=connection.resource,  # as sent: the SDK takes over the resource of the reply
            authToken=compact({"expires_in": token.expires}),
        )
        if wanted.sessionId:
            reply.sessionId = wanted.sessionId
        self._delivery.post(connection, envelope(FrameCommand.PROVISION, reply))

    def _refuse(self, connection: Connection, reason: str) -> None:
        status = schema.Status(errorCode=StatusCode.FAIL, reason=reason)
        self._delivery.post(connection, envelope(FrameCommand.PROVISION, schema.Provision(status=status)))
        connection.refused_logins += 1
        if connection.refused_logins >= self._options.limits.login_attempts:
            connection.finish(1008, "too many refused logins")

    # ---------------------------------------------------------------- sync

    def _sync(self, connection: Connection, sync: Any) -> None:
        if sync.HasField("meta"):
            if sync.meta.ns == NameSpace.CHAT:
                self._send(connection, sync.meta)
            return  # other namespaces, such as statistics, need no answer
        if sync.HasField("queue"):
            queue = queue_name(sync.queue)
            if sync.HasField("key"):
                self._delivery.acknowledge(connection, queue, sync.key)
            self._delivery.post_page(connection, queue, sync.key)

    def _send(self, connection: Connection, meta: Any) -> None:
        reply = schema.CommSyncDL(metaId=meta.id)
        try:
            if self._faults.strikes("refuse-send"):
                raise SendRefused(StatusCode.PERMISSION_DENIED, "traffic limit")
            accepted = self._uplink.accept(connection, meta)
        except SendRefused as refused:
            reply.status.errorCode, reply.status.reason = refused.code, refused.reason
            reply.timestamp = self._store.clock()
        except (DecodeError, UnicodeDecodeError, ValueError) as error:
            logger.info("a message of %s cannot be read: %s", connection.user, error)
            reply.status.errorCode, reply.status.reason = StatusCode.PB_PARSER_ERROR, "this message cannot be read"
        else:
            if self._faults.strikes("drop-ack"):
                return
            if self._faults.strikes("cut-before-ack"):
                connection.cut()
                self._delivery.touch(connection)
                return
            reply.status.errorCode = StatusCode.OK
            reply.serverId, reply.timestamp = accepted.server_id, accepted.time
            if accepted.edit_mark is not None:
                reply.metas.append(self._uplink.edit_answer(accepted))
            if self._faults.strikes("cut-after-ack"):
                connection.cut()
        self._delivery.post(connection, envelope(FrameCommand.SYNC, reply))

    # ---------------------------------------------------------------- housekeeping

    def close_idle(self) -> None:
        """Close the sockets whose last frame is `idle_seconds` old, and those that do not log in."""
        now = asyncio.get_running_loop().time()
        for connection in self.connections:
            if connection.closing:
                continue
            if now - connection.last_frame_at > self._options.idle_seconds:
                connection.finish(1001, "idle")
            elif not connection.user and now - connection.opened_at > self._options.limits.login_seconds:
                connection.finish(1008, "log in first")
