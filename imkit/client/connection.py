"""`wire.protocol` on a socket: connecting, coming back after a loss, and the sends on the way.

Source: fact sheet sections 1 to 4 (timers, handshake, reconnect, sends).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.protocol import OPEN

from imkit.client.rest import is_loopback
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
from imkit.wire.enums import StatusCode
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

OPEN_SECONDS = 10.0  # for the socket, and again for the login on it
ANSWER_SECONDS = 15.0  # for the answer to a send; without it the connection is given up
SETTLE_SECONDS = 30.0  # for looking up what became of sends that the last connection lost
QUEUED_SECONDS = 60.0  # for a send to leave at all, while the connection is away
STEADY_SECONDS = 30.0  # a connection that stood for less does not end the growing of the waits
FIRST_ATTEMPTS = 3  # of a login; later the connection comes back however long it takes
TICK_SECONDS = 1.0
MAX_FRAME_BYTES = 16 * 2**20

State = Literal["new", "connecting", "connected", "closed"]


def reconnect_delays() -> Iterator[float]:
    """Yield seconds between attempts to come back: a quick first one, then as the official SDK waits.

    Example:
        >>> next(reconnect_delays()) <= 0.5
        True
    """
    yield random.uniform(0.1, 0.5)
    for _ in range(4):
        yield random.uniform(1, 2)
    for _ in range(14):
        yield random.uniform(3, 6)
    while True:
        yield random.uniform(5, 10)


@dataclass(slots=True, eq=False)
class _Pending:
    """One send: waiting to leave (`written_at` is `None`), or in flight since a time (seconds since the epoch)."""

    client_id: int
    meta: Any
    answer: asyncio.Future[SendAnswered]
    written_at: float | None = None
    is_lost: bool = False  # the socket it was written to is gone
    login_time: int | None = None  # of that socket, on the service's clock: what is older is not this send

    def answered(self, answer: SendAnswered) -> None:
        """Take the answer, unless there is one."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def failed(self, error: IMError) -> None:
        """Take what became of it instead of an answer, unless there is one."""
        if not self.answer.done():
            self.answer.set_exception(error)


Settle = Callable[[Sequence[Any], Mapping[str, int]], Awaitable[Sequence[Any]]]


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
        settle: given the sends whose answer was lost, and by target the id of the last message whose answer came,
            answers those that did arrive and returns those it could not look up (`imkit.client.lost_sends`).
        wire: notes what is said, if it is on.
        delays: makes the waits between attempts to come back.

    Attributes:
        logged_in: called after each login with the time the token ends, in ms since the epoch, if the service told.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        ws_url: str,
        token: Callable[[bool], Awaitable[str]],
        deliver: Callable[[Sequence[Event]], None],
        settle: Settle | None = None,
        wire: WireLog | None = None,
        delays: Callable[[], Iterator[float]] = reconnect_delays,
    ) -> None:
        self._protocol = protocol
        self._ws_url = ws_url
        self._token = token
        self._deliver = deliver
        self._settle = settle
        self._wire = wire or WireLog()
        self._delays = delays
        self._lost_sends: list[_Pending] = []  # in flight when the connection broke, in the order they were sent
        self._acknowledged: dict[str, int] = {}  # by target, the id of the last message whose answer came
        self._resuming: asyncio.Task[None] | None = None
        self.logged_in: Callable[[int | None], None] = lambda expires_at: None
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox: dict[int, _Pending] = {}  # by client id, in the order they were given
        self._order = asyncio.Lock()  # of writing sends: those that waited before those that come
        self._may_reconnect = asyncio.Event()
        self._may_reconnect.set()
        self.state: State = "new"
        self.end_reason = ""

    # ------------------------------------------------------------------- life

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
                pass  # it is gone already, which is what was wanted
        tasks = {self._task, self._resuming} - {None, asyncio.current_task()}
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    def hold(self) -> None:
        """Do not come back after a loss until `release`: another login is taking this one's place."""
        self._may_reconnect.clear()

    def release(self) -> None:
        """Come back after a loss again."""
        self._may_reconnect.set()

    # ------------------------------------------------------------------ sends

    async def send(self, client_id: int, meta: Any) -> SendAnswered:
        """Send one Meta and return the answer, which may be a refusal.

        While the connection is away the send waits; it leaves once, in the order given, or not at all.

        Raises:
            ConnectionLost: `outcome` "not sent"; or "unknown" where the connection broke before the answer came, and
                the history did not tell what became of it.
            SessionClosed: the session is over.
        """
        if self.state == "closed":
            raise SessionClosed(f"the session is over ({self.end_reason}); nothing was sent")
        pending = _Pending(client_id, meta, asyncio.get_running_loop().create_future())
        self._outbox[client_id] = pending
        try:
            if self.state == "connected":
                async with self._order:
                    await self._write(pending)
            if pending.written_at is None:
                asyncio.get_running_loop().call_later(QUEUED_SECONDS, self._withdraw, pending)
            return await asyncio.shield(pending.answer)
        finally:
            # One that is in flight stays, although its sender has stopped waiting (the stop button): should the
            # connection break, the message it made must not be taken for that of a later send of the same words.
            if pending.written_at is None or pending.answer.done():
                self._outbox.pop(client_id, None)

    def _withdraw(self, pending: _Pending) -> None:
        if pending.written_at is None and self._outbox.pop(pending.client_id, None) is not None:
            waited = f"nothing was sent: no connection for {QUEUED_SECONDS:.0f} s"
            pending.failed(ConnectionLost(waited, outcome="not sent"))

    async def _write(self, pending: _Pending) -> None:
        socket = self._socket
        gone = pending.written_at is not None or pending.client_id not in self._outbox
        if socket is None or socket.state is not OPEN or self.state != "connected" or gone:
            return  # it waits for the next socket
        pending.written_at = time.time()
        try:
            await self._transmit(socket, self._protocol.send(pending.meta).data)
        except ConnectionClosed:
            pass  # the loss is noticed, and this send settled, where the socket is read

    async def _transmit(self, socket: ClientConnection, data: bytes) -> None:
        self._wire.frame("up", data)
        await socket.send(data)

    # ------------------------------------------------------------ the one task

    async def _run(self) -> None:
        attempts, refreshed, wants_token = 0, False, False
        delays = self._delays()
        while True:
            began = time.monotonic()
            try:
                await self._connect_and_serve(wants_token)
                attempts, refreshed, wants_token = 0, False, False
                if time.monotonic() - began >= STEADY_SECONDS:
                    delays = self._delays()
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
                # a fresh token could not be fetched just now, as the service is away: later, then
            except (OSError, WebSocketException) as error:
                attempts += 1
                wants_token = False  # there is a fresh one; it was not looked at yet
                reason = str(error) or type(error).__name__
                if not self._ready.done() and (attempts >= FIRST_ATTEMPTS or isinstance(error, InvalidURI)):
                    hint = "Is the service running, and is ws_url right?"
                    lost = f"no connection to {self._ws_url}"
                    self._fail(ConnectionLost(lost, outcome="not sent", reason=reason, hint=hint))
                    return
            except Exception as error:  # a bug: nobody may wait for ever because of it
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
            open_timeout=OPEN_SECONDS,
            close_timeout=2,
        ) as socket:
            self._socket = socket
            login_ends = asyncio.get_running_loop().call_later(OPEN_SECONDS, self._login_overdue, socket)
            ticker = asyncio.create_task(self._tick(socket))
            reason = "the socket was closed"
            try:
                await self._perform(socket, self._protocol.connect(token, time.monotonic()))
                async for frame in socket:
                    if self.state == "closed":
                        continue  # nobody will read it: not acknowledged, so the user's next device gets it
                    data = frame.encode() if isinstance(frame, str) else frame
                    self._wire.frame("down", data)
                    await self._perform(socket, self._protocol.receive(data, time.monotonic()))
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
            await asyncio.sleep(TICK_SECONDS)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._perform(socket, self._protocol.tick(time.monotonic()))
            except ConnectionClosed:
                return
            except TimeoutError:  # what was written before has filled every buffer on the way
                logger.info("the service took nothing for %.0f s: the connection is given up", ANSWER_SECONDS)
                socket.transport.abort()
                return
            if self._is_unanswered():  # as the official SDK does: a service that does not answer is gone
                logger.info("no answer to a send in %.0f s: the connection is given up", ANSWER_SECONDS)
                socket.transport.abort()

    def _is_unanswered(self) -> bool:
        """Whether the oldest send in flight has waited for its answer too long."""
        for pending in self._outbox.values():
            if pending.written_at is not None and not pending.is_lost and not pending.answer.done():
                return time.time() - pending.written_at >= ANSWER_SECONDS
        return False

    async def _perform(self, socket: ClientConnection, outputs: list[Output]) -> None:
        """Work through what the protocol says, in order: events are placed before they are acknowledged."""
        for output in outputs:
            match output:
                case Transmit(data):
                    await self._transmit(socket, data)
                case Deliver(events):
                    self._deliver(events)
                case SendAnswered(client_id):
                    self._take_answer(client_id, output)
                case LoggedIn(expires_at):
                    self._now_connected()
                    self.logged_in(expires_at)
                    # Beside the reading: a service that is not read would take nothing either, one day.
                    self._resuming = asyncio.create_task(self._resume(), name="imkit resume")
                case LoginRefused(error):
                    raise error
                case Kicked() if not self._may_reconnect.is_set():
                    socket.transport.abort()  # by the login that takes this one's place: it says how this one ends
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

    def _take_answer(self, client_id: int, answer: SendAnswered) -> None:
        pending = self._outbox.pop(client_id, None)
        if pending is not None:
            self._note_id(pending, answer)
            pending.answered(answer)

    def _note_id(self, pending: _Pending, answer: SendAnswered) -> None:
        if answer.status == StatusCode.OK:
            target, number = pending.meta.to.name, int(answer.server_id)
            self._acknowledged[target] = max(number, self._acknowledged.get(target, 0))

    async def _resume(self) -> None:
        """Settle what the last connection lost, then send what waits: later, or it might be mistaken for what was lost.

        Who sends meanwhile waits behind.
        """
        async with self._order:
            if self._lost_sends:
                await self._settle_lost()
            for pending in list(self._outbox.values()):
                await self._write(pending)

    async def _settle_lost(self) -> None:
        lost = list(self._lost_sends)
        unseen: Sequence[_Pending] = lost
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                if self._settle is not None:
                    unseen = await self._settle(lost, self._acknowledged)
        except TimeoutError:
            logger.info("%d lost sends could not be looked up in %.0f s", len(lost), SETTLE_SECONDS)
        except Exception:  # a bug: nobody may wait for ever because of it
            logger.exception("%d lost sends could not be looked up", len(lost))
        # Not where this was cancelled because the connection broke once more: then the next one settles them. What
        # could not be looked up stays too: its message, if there is one, must not be taken for that of a later send.
        self._lost_sends = list(unseen)
        for pending in lost:
            if pending.answer.done() and pending.answer.exception() is None:
                self._outbox.pop(pending.client_id, None)
                self._note_id(pending, pending.answer.result())
        self._give_unknown(lost)

    def _give_unknown(self, lost: Sequence[_Pending]) -> None:
        for pending in lost:
            self._outbox.pop(pending.client_id, None)
            pending.failed(ConnectionLost("the connection broke before the answer to a send came"))

    # ---------------------------------------------------------------- endings

    def _lost(self, reason: str) -> None:
        """The socket is gone: what was in flight has an unknown fate, what was not waits on."""
        if self.state == "connected":
            self.state = "connecting"
            self._deliver([Disconnected(reason)])
        if self._resuming is not None:
            self._resuming.cancel()
        lost = [
            pending
            for pending in self._outbox.values()
            if pending.written_at is not None and not pending.is_lost and not pending.answer.done()
        ]
        for pending in lost:
            pending.is_lost, pending.login_time = True, self._protocol.login_time
        if lost and self.state != "closed":
            self._lost_sends += lost
            asyncio.get_running_loop().call_later(QUEUED_SECONDS, self._give_unknown, lost)

    def _fail(self, error: IMError, reason: str = "") -> None:
        if self._ready.done():
            self._end(reason or error.reason or str(error))
        else:
            self._ready.set_exception(error)
            self._ready.exception()  # whoever opened it may have been interrupted meanwhile

    def _end(self, reason: str) -> None:
        if self.state == "closed":
            return
        opened = self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None
        self.state, self.end_reason = "closed", reason
        for pending in self._outbox.values():
            if not pending.answer.done():
                what = "nothing was sent" if pending.written_at is None else "whether it was sent is not known"
                pending.answer.set_exception(SessionClosed(f"the session ended ({reason}); {what}"))
        if opened:
            self._deliver([LoggedOut(reason)])
