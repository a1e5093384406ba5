"""A device's connection: it connects, logs in, reads the socket, and reconnects after a loss.

`imkit.wire.protocol` decides what to send and what a received frame means. This module owns the socket.
`imkit.client.outbox` keeps the sends.

Source: docs/protocol.md#socket-transport, docs/protocol.md#login-handshake, docs/protocol.md#reconnecting,
docs/protocol.md#kicked-off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidURI, WebSocketException
from websockets.protocol import OPEN

from imkit.client.http import is_loopback
from imkit.client.outbox import LookUp, Outbox, PendingSend
from imkit.client.own_process import OwnProcess
from imkit.client.timing import Timing
from imkit.client.wire_log import WireLog
from imkit.errors import (
    ConnectionLost,
    IMError,
    KickedOff,
    Outcome,
    ProtocolError,
    RateLimited,
    ServiceBusy,
    SessionClosed,
    TokenExpired,
)
from imkit.events import Connected, Disconnected, Event, LoggedOut
from imkit.hints import SESSION_ENDED
from imkit.wire.downlink import Kicked
from imkit.wire.protocol import (
    ClientProtocol,
    Deliver,
    FirstUnread,
    LoggedIn,
    LoginRefused,
    Output,
    SendAnswered,
    Silent,
    Transmit,
)

logger = logging.getLogger("imkit.client.connection")
# At DEBUG the library websockets logs the bytes on the socket; those of a login contain the token. So it gets a logger
# of its own that passes INFO and above only, whatever the level of its parent loggers is.
_socket_logger = logging.getLogger("imkit.client.connection.socket")
_socket_logger.setLevel(logging.INFO)

FIRST_ATTEMPTS = 3  # to connect at a login; after the login the connection tries to reconnect for ever
MAX_FRAME_BYTES = 16 * 2**20
MAX_FRAGMENTS = 4_096  # of one message, in MSYNC always one; empty ones would cost memory that no size limits

State = Literal["new", "connecting", "connected", "closed"]


class _ConnectToThisHost(connect):
    """Connects as `connect` does, but follows no redirect, as in a browser: the token must not go to another host."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


@dataclass(slots=True)
class _Ended(Exception):
    """The service ended the login; reconnecting would not help."""

    error: IMError
    reason: str = field(default="")


class Connection:
    """A device's connection, from login to close. It runs on imkit's loop (`imkit.portal`).

    Args:
        protocol: the protocol state of the device.
        ws_url: the socket's URL.
        token: gives the token for the login; called with the last one if the service refused it as expired.
        deliver: stores events, which came in so many bytes; after it returns, the connection acknowledges them to the
            service.
        look_up: finds out what became of the sends whose answers were lost with a connection.
        sandbox_ended: returns an error if the service is a sandbox that has ended, as `App.sandbox_ended`.
        wire_log: notes the frames, if it is on.
        timing: the timeouts.

    Attributes:
        state: new, connecting (also after a loss), connected or closed.
        end_reason: why the connection is closed.
        first_unread: set after the first answer to UNREAD: then `service_time` is known, if the service tells it.
        login_seconds: how long the last connecting and login took; `None` before the first one.
        token_ends: called after each login with the time when the token expires, in ms by the service's clock; not
            called if the service does not tell it.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        ws_url: str,
        token: Callable[[str | None], Awaitable[str]],
        deliver: Callable[[Sequence[Event], int], None],
        look_up: LookUp | None = None,
        sandbox_ended: Callable[[Outcome], IMError | None] = lambda outcome: None,
        wire_log: WireLog | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._protocol = protocol
        self._ws_url = ws_url
        self._process = OwnProcess()
        self._token = token
        self._deliver = deliver
        self._wire_log = wire_log or WireLog()
        self._timing = timing or Timing()
        self._sandbox_ended = sandbox_ended
        self.has_told_end = False  # of the sandbox, since the last login; `Session` shows it
        self._outbox = Outbox(self._write, look_up, self._timing)
        self._resuming: asyncio.Task[None] | None = None
        self.first_unread = asyncio.Event()
        self.login_seconds: float | None = None
        self._connecting_since = 0.0
        self.token_ends: Callable[[int], None] = lambda expires_at: None
        self._socket: ClientConnection | None = None
        self._logged_in_socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._may_reconnect = asyncio.Event()
        self._may_reconnect.set()
        self.state: State = "new"
        self.end_reason = ""

    # -------------------------------------------------------- opening, closing

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            AuthError: the login was refused.
            ConnectionLost: the service could not be reached.
        """
        self.state = "connecting"
        self._task = asyncio.create_task(self._run(), name=f"imkit connection of {self._protocol.identity.user}")
        try:
            await asyncio.shield(self._ready)
        except BaseException:
            await self.close("the login failed")
            raise

    async def close(self, reason: str = "closed") -> None:
        """Log out and close the socket. Sends without an answer fail with `SessionClosed`."""
        self._end(reason)
        socket = self._logged_in_socket
        if socket is not None:
            try:
                async with asyncio.timeout(self._timing.close):
                    await socket.send(self._protocol.logout().data)
                    await socket.close()
            except (ConnectionClosed, TimeoutError):
                pass  # the socket is closed already, or nobody reads from it
        tasks = {self._task, self._resuming} - {None, asyncio.current_task()}
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    def pause_reconnecting(self) -> None:
        """Do not reconnect after a loss, until `allow_reconnecting`. A newer login is about to replace this one."""
        self._may_reconnect.clear()

    def allow_reconnecting(self) -> None:
        """Reconnect after a loss again, because the newer login failed."""
        self._may_reconnect.set()

    def service_time(self) -> int | None:
        """Return the time on the service's clock, in ms since the epoch; `None` if the service has not told it."""
        return self._protocol.service_time(self._timing.clock())

    # ------------------------------------------------------------------ sends

    async def send(self, client_id: int, meta: Any) -> SendAnswered:
        """Send one Meta and return the service's answer, which may be a refusal.

        While there is no connection the send waits, unless the service is a sandbox that has ended. imkit writes it to
        a socket once, in the order of the calls, or never.

        Raises:
            ConnectionLost: `outcome` is "not sent"; or "unknown" if the connection broke before the answer came and
                the roaming history does not show what became of the send.
            SessionClosed: the session is over.
        """
        self._process.check()
        if self.state == "closed":
            what = f"the session is over ({self.end_reason}); nothing was sent"
            raise SessionClosed(what, hint=SESSION_ENDED.get(self.end_reason))
        if self.state != "connected" and (ended := self._sandbox_ended("not sent")):
            raise ended
        return await self._outbox.send(client_id, meta)

    async def _write(self, pending: PendingSend) -> None:
        socket = self._socket
        is_ready = socket is not None and socket.state is OPEN and self.state == "connected"
        if socket is None or not is_ready or not self._outbox.may_leave(pending):
            return  # the send waits for the next socket
        pending.written_at = self._timing.clock()
        try:
            await self._transmit(socket, self._protocol.send(pending.meta).data)
        except ConnectionClosed:
            pass  # `_connect_and_serve` notices the loss, and the outbox then lists this send as lost

    async def _transmit(self, socket: ClientConnection, data: bytes) -> None:
        self._wire_log.note_frame("up", data)
        await socket.send(data)

    # --------------------------------------------------- connecting and reading

    async def _run(self) -> None:
        """Connect, serve, and connect again after a loss, until the connection is closed or an error is final."""
        attempts = 0  # failed ones since the last success
        renewed = False  # whether a refused token was replaced just now
        token = refused = None  # the token of the last login; the one that the service refused
        delays = self._timing.delays()
        while True:
            began = self._timing.clock()
            try:
                token = await self._token(refused)
                refused = None
                await self._connect_and_serve(token)
                attempts = 0
                if self._timing.clock() - began >= self._timing.steady:
                    delays = self._timing.delays()
            except TokenExpired as error:
                if renewed:  # the service refused the new token too
                    self._fail(error)
                    return
                renewed, refused = True, token
                continue
            except _Ended as ended:
                self._fail(ended.error, ended.reason)
                return
            except IMError as error:  # there is no token, or the service refused the login
                if not self._ready.done() or _is_refusal(error):
                    self._fail(error)
                    return
                level = logging.INFO if self.has_told_end else logging.WARNING
                logger.log(level, "a new login of %s failed: %s", self._protocol.identity.user, error)
            except (OSError, WebSocketException, ImportError) as error:  # ImportError: no package for a SOCKS proxy
                attempts += 1
                reason = str(error) or type(error).__name__
                if not self._ready.done() and (attempts >= FIRST_ATTEMPTS or isinstance(error, InvalidURI)):
                    hint = "Is the service running, and is ws_url right?"
                    message = f"no connection to {self._ws_url}"
                    self._fail(ConnectionLost(message, outcome="not sent", reason=reason, hint=hint))
                    return
            except Exception as error:  # a bug in imkit: callers must get an error and not wait for ever
                logger.exception("the connection of %s ended", self._protocol.identity.user)
                self._fail(ProtocolError("an error in imkit ended the connection", reason=repr(error)))
                return
            if self.state == "closed":
                return
            self._tell_if_sandbox_ended()
            renewed = False  # an outage may be longer than the life of the new token
            await asyncio.sleep(next(delays))
            await self._may_reconnect.wait()

    async def _connect_and_serve(self, token: str) -> None:
        """Connect once, log in, and handle frames until the socket is closed.

        Raises:
            ConnectionError: the socket was closed before the login was complete.
        """
        self._connecting_since = self._timing.clock()
        proxy: Literal[True] | None = None if is_loopback(self._ws_url) else True
        async with _ConnectToThisHost(
            self._ws_url,
            proxy=proxy,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            ping_interval=None,  # the protocol has its own heartbeat
            logger=_socket_logger,
            open_timeout=self._timing.open,
            close_timeout=self._timing.close,
        ) as socket:
            self._socket = socket
            login_timeout = asyncio.get_running_loop().call_later(self._timing.open, self._abort_late_login, socket)
            ticker = asyncio.create_task(self._tick(socket))
            reason = "the socket was closed"
            try:
                await self._perform(socket, self._protocol.connect(token, self._timing.clock()))
                async for data in _messages(socket):
                    if self.state == "closed":
                        continue  # not handled, so not acknowledged: the user's next login gets it
                    self._wire_log.note_frame("down", data)
                    await self._perform(socket, self._protocol.receive(data, self._timing.clock()))
                reason = f"the service closed the socket ({socket.close_code} {socket.close_reason})".strip()
            except ConnectionClosed as closed:
                reason = str(closed)
            except asyncio.CancelledError:
                socket.transport.abort()  # a closing handshake could be cancelled as well, and leave the socket open
                raise
            finally:
                login_timeout.cancel()
                ticker.cancel()
                self._socket = self._logged_in_socket = None
                was_connected = self.state == "connected"
                self._handle_loss(reason)
            if not was_connected:
                raise ConnectionError(f"the login was not answered: {reason}")

    def _abort_late_login(self, socket: ClientConnection) -> None:
        if self.state != "connected":
            socket.transport.abort()

    async def _tick(self, socket: ClientConnection) -> None:
        """Send heartbeats, and abort the socket if the service reads or answers nothing."""
        while True:
            await asyncio.sleep(self._timing.tick)
            try:
                async with asyncio.timeout(self._timing.answer):
                    await self._perform(socket, self._protocol.tick(self._timing.clock()))
            except ConnectionClosed:
                return
            except TimeoutError:  # the service does not read, and all buffers on the way to it are full
                logger.info("the service read nothing for %.0f s: closing the connection", self._timing.answer)
                socket.transport.abort()
                return
            if self._outbox.is_answer_overdue():  # as the official SDK does
                logger.info("no answer to a send in %.0f s: closing the connection", self._timing.answer)
                socket.transport.abort()

    async def _perform(self, socket: ClientConnection, outputs: list[Output]) -> None:
        """Carry out the protocol's outputs in order, so that events are stored before they are acknowledged."""
        for output in outputs:
            match output:
                case Transmit(data):
                    await self._transmit(socket, data)
                case Deliver(events, size_bytes):
                    self._deliver(events, size_bytes)
                case SendAnswered():
                    self._outbox.take_answer(output)
                case FirstUnread(token_ends):
                    self.first_unread.set()
                    if token_ends is not None:
                        self.token_ends(token_ends)
                case LoggedIn():
                    self._set_connected(socket)
                    # In a task of its own, so that this one goes on reading: a service whose frames are not read
                    # stops reading too.
                    self._resuming = asyncio.create_task(self._outbox.resume(), name="imkit resume")
                case LoginRefused(error):
                    raise error
                case Kicked() if not self._may_reconnect.is_set():
                    socket.transport.abort()  # a newer login of this device replaces this one, and then closes it
                case Kicked(code, reason):
                    kicked = KickedOff(f"{self._protocol.identity.user} was logged out", code=code, reason=reason)
                    raise _Ended(kicked, reason)
                case Silent():
                    logger.info("no answer to the heartbeat: closing the connection")
                    socket.transport.abort()

    def _set_connected(self, socket: ClientConnection) -> None:
        self.state, self._logged_in_socket = "connected", socket
        self.login_seconds = self._timing.clock() - self._connecting_since
        self.has_told_end = False
        self._deliver([Connected()], 0)
        if not self._ready.done():
            self._ready.set_result(None)

    # ----------------------------------------------------------- loss and end

    def _handle_loss(self, reason: str) -> None:
        """Note that the socket is closed: the sends in flight are lost, the others keep waiting."""
        if self.state == "connected":
            self.state = "connecting"
            self._deliver([Disconnected(reason)], 0)
        if self._resuming is not None:
            self._resuming.cancel()
        self._outbox.connection_lost(self._protocol.login_time)

    def _tell_if_sandbox_ended(self) -> None:
        """Tell once that the sandbox has ended. The sends that wait fail, if it does not start again soon."""
        if self.has_told_end or not self._ready.done():  # a login that does not succeed raises its error
            return
        ended = self._sandbox_ended("not sent")
        if ended is not None:
            self.has_told_end = True
            self._deliver([Disconnected("the sandbox has ended", ended.hint)], 0)
            asyncio.get_running_loop().call_later(self._timing.restart, self._give_up_sends)

    def _give_up_sends(self) -> None:
        if self.state == "connecting":
            self._outbox.give_up(self._sandbox_ended)

    def _fail(self, error: IMError, reason: str = "") -> None:
        """Report a final error: `open` raises it, or, after the login, the connection ends."""
        if self._ready.done():
            self._end(reason or error.reason or str(error))
        else:
            self._ready.set_exception(error)
            self._ready.exception()  # asyncio must not log it if the caller of `open` was interrupted

    def _end(self, reason: str) -> None:
        if self.state == "closed":
            return
        opened = self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None
        self.state, self.end_reason = "closed", reason
        self._outbox.close(reason)
        if opened:
            self._deliver([LoggedOut(reason)], 0)


async def _messages(socket: ClientConnection) -> AsyncIterator[bytes]:
    """Yield the messages that arrive on a socket, until it is closed.

    Raises:
        ConnectionClosed: it was closed with an error, or a message came in too many fragments.
    """
    while True:
        fragments: list[bytes] = []
        try:
            async for fragment in socket.recv_streaming(decode=False):
                fragments.append(fragment)
                if len(fragments) > MAX_FRAGMENTS:
                    logger.warning("a message came in more than %d fragments: closing the connection", MAX_FRAGMENTS)
                    socket.transport.abort()
        except ConnectionClosedOK:
            return
        yield fragments[0] if len(fragments) == 1 else b"".join(fragments)


def _is_refusal(error: IMError) -> bool:
    """Whether the service read the request for a token or a login, and refused it: asking again would not help.

    No refusal is: an answer that cannot be read, such as the page of a proxy; a service that is busy; and a function of
    the user that gave no token. All of them may be over soon.
    """
    return error.status is not None and not isinstance(error, ProtocolError | ServiceBusy | RateLimited)
