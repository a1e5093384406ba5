"""A device's connection: connecting, logging in, reconnecting after a loss, and reading what the service sends.

`imkit.wire.protocol` decides what to say and what a frame means; this module has the socket. `imkit.client.outbox`
keeps the sends.

Source: docs/protocol.md#socket-transport, docs/protocol.md#login-handshake, docs/protocol.md#reconnecting,
docs/protocol.md#kicked-off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.protocol import OPEN

from imkit.client.http import is_loopback
from imkit.client.outbox import LookUp, Outbox, PendingSend
from imkit.client.timing import Timing
from imkit.client.wire_log import WireLog
from imkit.errors import (
    ConnectionLost,
    IMError,
    KickedOff,
    ProtocolError,
    ServiceBusy,
    SessionClosed,
    TimedOut,
    TokenExpired,
)
from imkit.events import Connected, Disconnected, Event, LoggedOut
from imkit.wire.downlink import Kicked
from imkit.wire.protocol import (
    ClientProtocol,
    Deliver,
    LoggedIn,
    LoginRefused,
    Output,
    SendAnswered,
    Silent,
    Transmit,
)

logger = logging.getLogger("imkit.client.connection")
# At DEBUG websockets logs what goes over the socket, and with a login that is the token. It speaks through a logger
# of its own that passes on INFO and above, whatever the level of the loggers over it.
_socket_logger = logging.getLogger("imkit.client.connection.socket")
_socket_logger.setLevel(logging.INFO)

FIRST_ATTEMPTS = 3  # of a login; later the connection reconnects however long it takes
MAX_FRAME_BYTES = 16 * 2**20

State = Literal["new", "connecting", "connected", "closed"]


@dataclass(slots=True)
class _Ended(Exception):
    """The login is over for good."""

    error: IMError
    reason: str = field(default="")


class Connection:
    """A device's connection, from login to close. Lives on the portal.

    Args:
        protocol: the protocol state of the device.
        ws_url: where to connect.
        token: gives the token to log in with; called with True when the last one was refused as expired.
        deliver: places events; what is delivered is then acknowledged to the service.
        look_up: finds out what became of the sends whose answer was lost with a connection.
        wire_log: notes the frames, if it is on.
        timing: how long to wait for what.

    Attributes:
        logged_in: called after each login with the time the token ends, in ms since the epoch, if the service told.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        ws_url: str,
        token: Callable[[bool], Awaitable[str]],
        deliver: Callable[[Sequence[Event]], None],
        look_up: LookUp | None = None,
        wire_log: WireLog | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._protocol = protocol
        self._ws_url = ws_url
        self._token = token
        self._deliver = deliver
        self._wire_log = wire_log or WireLog()
        self._timing = timing or Timing()
        self._outbox = Outbox(self._write, look_up, self._timing)
        self._resuming: asyncio.Task[None] | None = None
        self.logged_in: Callable[[int | None], None] = lambda expires_at: None
        self._socket: ClientConnection | None = None
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
        """Log out and close the socket; sends still waiting fail with `SessionClosed`."""
        was_connected = self.state == "connected"
        self._end(reason)
        socket = self._socket
        if socket is not None and was_connected:
            try:
                async with asyncio.timeout(2):
                    await socket.send(self._protocol.logout().data)
                    await socket.close()
            except (ConnectionClosed, TimeoutError):
                pass  # it is gone already
        tasks = {self._task, self._resuming} - {None, asyncio.current_task()}
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    def pause_reconnecting(self) -> None:
        """Do not reconnect after a loss until `allow_reconnecting`: another login is taking this one's place."""
        self._may_reconnect.clear()

    def allow_reconnecting(self) -> None:
        """Reconnect after a loss again."""
        self._may_reconnect.set()

    # ------------------------------------------------------------------ sends

    async def send(self, client_id: int, meta: Any) -> SendAnswered:
        """Send one Meta and return the service's answer, which may be a refusal.

        While there is no connection the send waits; it leaves once, in the order given, or not at all.

        Raises:
            ConnectionLost: `outcome` "not sent"; or "unknown" where the connection broke before the answer came, and
                the history did not tell what became of the send.
            SessionClosed: the session is over.
        """
        if self.state == "closed":
            raise SessionClosed(f"the session is over ({self.end_reason}); nothing was sent")
        return await self._outbox.send(client_id, meta)

    async def _write(self, pending: PendingSend) -> None:
        socket = self._socket
        is_ready = socket is not None and socket.state is OPEN and self.state == "connected"
        if socket is None or not is_ready or not self._outbox.may_leave(pending):
            return  # it waits for the next socket
        pending.written_at, pending.written_wall = self._timing.clock(), self._timing.wall_clock()
        try:
            await self._transmit(socket, self._protocol.send(pending.meta).data)
        except ConnectionClosed:
            pass  # `_connect_and_serve` notices the loss, and the outbox takes this send for lost

    async def _transmit(self, socket: ClientConnection, data: bytes) -> None:
        self._wire_log.note_frame("up", data)
        await socket.send(data)

    # ------------------------------------------------------------ the one task

    async def _run(self) -> None:
        attempts, refreshed, wants_token = 0, False, False
        delays = self._timing.delays()
        while True:
            began = self._timing.clock()
            try:
                await self._connect_and_serve(wants_token)
                attempts, refreshed, wants_token = 0, False, False
                if self._timing.clock() - began >= self._timing.steady:
                    delays = self._timing.delays()
            except TokenExpired as error:
                if refreshed:
                    self._fail(error)
                    return
                refreshed = wants_token = True
                continue
            except _Ended as ended:
                self._fail(ended.error, ended.reason)
                return
            except IMError as error:  # the credential gave no token, or the login was refused
                if not self._ready.done() or not isinstance(error, ConnectionLost | TimedOut | ServiceBusy):
                    self._fail(error)
                    return
                # no fresh token just now, because the service is away: the next attempt fetches it
            except (OSError, WebSocketException) as error:
                attempts += 1
                wants_token = False  # there is a fresh one, and the service has not looked at it yet
                reason = str(error) or type(error).__name__
                if not self._ready.done() and (attempts >= FIRST_ATTEMPTS or isinstance(error, InvalidURI)):
                    hint = "Is the service running, and is ws_url right?"
                    lost = f"no connection to {self._ws_url}"
                    self._fail(ConnectionLost(lost, outcome="not sent", reason=reason, hint=hint))
                    return
            except Exception as error:  # a bug in imkit: nobody may wait for ever because of it
                logger.exception("the connection of %s ended", self._protocol.identity.user)
                self._fail(ProtocolError("the connection ended by an error in imkit", reason=repr(error)))
                return
            if self.state == "closed":
                return
            await asyncio.sleep(next(delays))
            await self._may_reconnect.wait()

    async def _connect_and_serve(self, wants_token: bool) -> None:
        """Connect once, with a fresh token if need be, and serve until the socket is gone.

        Raises:
            ConnectionError: it went before the login stood.
        """
        token = await self._token(wants_token)
        proxy: Literal[True] | None = None if is_loopback(self._ws_url) else True
        async with connect(
            self._ws_url,
            proxy=proxy,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            ping_interval=None,  # the protocol has its own heartbeat
            logger=_socket_logger,
            open_timeout=self._timing.open,
            close_timeout=2,
        ) as socket:
            self._socket = socket
            login_ends = asyncio.get_running_loop().call_later(self._timing.open, self._login_overdue, socket)
            ticker = asyncio.create_task(self._tick(socket))
            reason = "the socket was closed"
            try:
                await self._perform(socket, self._protocol.connect(token, self._timing.clock()))
                async for frame in socket:
                    if self.state == "closed":
                        continue  # nobody will read it: it stays unacknowledged, and the user's next device gets it
                    data = frame.encode() if isinstance(frame, str) else frame
                    self._wire_log.note_frame("down", data)
                    await self._perform(socket, self._protocol.receive(data, self._timing.clock()))
                reason = f"the service closed the socket ({socket.close_code} {socket.close_reason})".strip()
            except ConnectionClosed as closed:
                reason = str(closed)
            finally:
                login_ends.cancel()
                ticker.cancel()
                self._socket = None
                stood = self.state == "connected"
                self._lost(reason)
            if not stood:
                raise ConnectionError(f"the login was not answered: {reason}")

    def _login_overdue(self, socket: ClientConnection) -> None:
        if self.state != "connected":
            socket.transport.abort()

    async def _tick(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(self._timing.tick)
            try:
                async with asyncio.timeout(self._timing.answer):
                    await self._perform(socket, self._protocol.tick(self._timing.clock()))
            except ConnectionClosed:
                return
            except TimeoutError:  # earlier frames have filled every buffer on the way
                logger.info("the service took nothing for %.0f s: the connection is given up", self._timing.answer)
                socket.transport.abort()
                return
            if self._outbox.is_answer_overdue():  # as the official SDK does
                logger.info("no answer to a send in %.0f s: the connection is given up", self._timing.answer)
                socket.transport.abort()

    async def _perform(self, socket: ClientConnection, outputs: list[Output]) -> None:
        """Carry out what the protocol says, in order: events are placed before they are acknowledged."""
        for output in outputs:
            match output:
                case Transmit(data):
                    await self._transmit(socket, data)
                case Deliver(events):
                    self._deliver(events)
                case SendAnswered():
                    self._outbox.take_answer(output)
                case LoggedIn(expires_at):
                    self._now_connected()
                    self.logged_in(expires_at)
                    # Beside the reading: a service whose frames nobody reads would one day take no frames either.
                    self._resuming = asyncio.create_task(self._outbox.resume(), name="imkit resume")
                case LoginRefused(error):
                    raise error
                case Kicked() if not self._may_reconnect.is_set():
                    socket.transport.abort()  # by the login that takes this one's place, which says how this one ends
                case Kicked(code, reason):
                    kicked = KickedOff(f"{self._protocol.identity.user} was logged out", code=code, reason=reason)
                    raise _Ended(kicked, reason)
                case Silent():
                    logger.info("no answer to the heartbeat: the connection is given up")
                    socket.transport.abort()

    def _now_connected(self) -> None:
        self.state = "connected"
        self._deliver([Connected()])
        if not self._ready.done():
            self._ready.set_result(None)

    # ---------------------------------------------------------------- endings

    def _lost(self, reason: str) -> None:
        """Note that the socket is gone: the sends in flight are lost, the others wait on."""
        if self.state == "connected":
            self.state = "connecting"
            self._deliver([Disconnected(reason)])
        if self._resuming is not None:
            self._resuming.cancel()
        self._outbox.connection_lost(self._protocol.login_time)

    def _fail(self, error: IMError, reason: str = "") -> None:
        if self._ready.done():
            self._end(reason or error.reason or str(error))
        else:
            self._ready.set_exception(error)
            self._ready.exception()  # the caller of `open` may have been interrupted meanwhile

    def _end(self, reason: str) -> None:
        if self.state == "closed":
            return
        opened = self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None
        self.state, self.end_reason = "closed", reason
        self._outbox.close(reason)
        if opened:
            self._deliver([LoggedOut(reason)])
