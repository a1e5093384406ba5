"""A client's side of MSYNC as a class without I/O: frames and time in, frames and events out.

What goes out is an ordered list. Whoever runs it must work through the list in order: the events of a page stand
before the frame that acknowledges it, so that an acknowledgement never runs ahead of delivery.

Source: fact sheet sections 2 (handshake) and 3 (sync flow).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from imkit.errors import AuthError, IMError, ProtocolError
from imkit.events import Event, MessageRecalled
from imkit.wire import schema
from imkit.wire.downlink import Kicked, decode_meta, parse_meta
from imkit.wire.enums import FrameCommand, NameSpace, StatusCode
from imkit.wire.envelope import Dialect, Envelope, Identity
from imkit.wire.refusals import login_refused
from imkit.wire.untrusted_json import json_object, number

logger = logging.getLogger("imkit.wire")

HEARTBEAT_SECONDS = 30.0  # without a downlink, the official SDK asks UNREAD
LOOK_SECONDS = 120.0  # a queue whose NOTICE was lost is found by then, although others keep the line busy
SILENCE_SECONDS = 15.0  # without an answer to that, the connection is dead
STALL_SECONDS = 10.0  # without a page, a queue is asked for again
REMEMBERED = 20_000  # ids kept to tell what was delivered already; the official SDK keeps about 100
_COUNTING_FROM = 1_264_982_400_000  # 2010-02-01: where the SDK's client ids count their milliseconds from


@dataclass(frozen=True, slots=True)
class Transmit:
    """Put `data` on the socket, as one binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """Place `events` where consumers find them, before anything that follows in the list."""

    events: list[Event]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The login stands. `expires_at` is when the token ends, in ms since the epoch, if the service told."""

    expires_at: int | None


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """The login was refused."""

    error: IMError


@dataclass(frozen=True, slots=True)
class SendAnswered:
    """The answer to a send: `status` 0 and the server's id and time (ms since the epoch), or a refusal."""

    client_id: int
    status: int
    reason: str
    server_id: str
    at: int
    metas: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing came for too long, not even the answer to a heartbeat: the connection is dead."""


Output = Transmit | Deliver | LoggedIn | LoginRefused | SendAnswered | Silent | Kicked
_QueueName = tuple[str, str]


@dataclass(slots=True)
class _Drain:
    """One queue being emptied: asked at a time, with the key last acknowledged."""

    queue: Any
    asked_at: float
    last_key: int | None = None
    noticed_again: bool = False
    asked_again: bool = False


@dataclass(slots=True)
class _Socket:
    """What is forgotten with the socket."""

    session_id: str
    token: str = field(repr=False)
    last_downlink: float = 0.0
    heartbeat_at: float | None = None
    logged_in: bool = False
    greeted: bool = False
    greeted_at: int | None = None  # the service's time, in ms, as the answer to the first UNREAD told it
    looked_at: float = 0.0  # when UNREAD was asked last
    given_up_at: float | None = None  # when a queue was left before its end; UNREAD tells what it still holds
    active: _Drain | None = None
    waiting: dict[_QueueName, Any] = field(default_factory=dict)


class ClientProtocol:
    """The protocol state of one device, over as many sockets as it takes.

    Args:
        identity: who speaks.
        dialect: which SDK build's wording to use.
        wall_clock: seconds since the epoch, for ids; timers use the `now` that each call is given.

    Example:
        >>> protocol = ClientProtocol(Identity("org#app", "alice", "web"))
        >>> [frame] = protocol.connect("token", now=0.0)  # the PROVISION to send first
    """

    def __init__(
        self, identity: Identity, dialect: Dialect | None = None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.identity = identity
        self._envelope = Envelope(identity, dialect)
        self._wall_clock = wall_clock
        self._last_client_id = 0
        self._last_trace_id = 0
        self._socket = _Socket("", "")
        self._earlier_login_time: int | None = 2**63
        self._delivered: dict[tuple[int, int], None] = {}

    # -------------------------------------------------------------- frames up

    def connect(self, token: str, now: float) -> list[Output]:
        """Begin on a new socket: forget the old one's state and log in."""
        self._earlier_login_time = self.login_time
        self._socket = _Socket(f"{self._milliseconds()}:", token, last_downlink=now)
        try:
            frame = self._envelope.provision(token, session_id=self._socket.session_id, trace_id=self._trace_id())
        except (TypeError, ValueError):  # whose words would show the token
            return [LoginRefused(AuthError("the app key, the user, the resource and the token must be valid text"))]
        return [Transmit(frame)]

    def send(self, meta: Any) -> Transmit:
        """Return the frame that carries a Meta built by `uplink`."""
        return Transmit(self._envelope.send(meta, trace_id=self._trace_id()))

    def logout(self) -> Transmit:
        """Return the frame that ends the login."""
        socket = self._socket
        frame = self._envelope.logout(socket.token, session_id=socket.session_id, trace_id=self._trace_id())
        return Transmit(frame)

    @property
    def login_time(self) -> int | None:
        """A time of the service's, in ms, before all that was sent on this socket; `None` where it tells none.

        It comes with the first answer to UNREAD. Until then it is that of the socket before, and on the first one the
        end of time: nothing can be shown to be of this socket.
        """
        return self._socket.greeted_at if self._socket.greeted else self._earlier_login_time

    def next_client_id(self) -> int:
        """Return a new id for a send: unique for this device, growing, counted in ms as the SDK counts."""
        self._last_client_id = max(self._last_client_id + 1, self._milliseconds() - _COUNTING_FROM)
        return self._last_client_id

    # ------------------------------------------------------------ frames down

    def receive(self, data: bytes, now: float) -> list[Output]:
        """Take one frame; return what to do, in order. Never raises for what is in it."""
        self._socket.last_downlink = now
        self._socket.heartbeat_at = None
        try:
            frame = schema.MSync.FromString(data)
            command = frame.command if frame.HasField("command") else None
            if not self._socket.logged_in and command != FrameCommand.PROVISION:
                return []  # were it delivered and acknowledged, and the login then failed, nobody would have it
            if command == FrameCommand.SYNC:
                return self._synced(schema.LooseSyncDL.FromString(frame.payload), now)
            if command == FrameCommand.NOTICE:
                return self._noticed(schema.CommNotice.FromString(frame.payload), now)
            if command == FrameCommand.UNREAD:
                return self._told_unread(schema.CommUnreadDL.FromString(frame.payload), now)
            if command == FrameCommand.PROVISION:
                return self._provisioned(schema.Provision.FromString(frame.payload))
            if command != FrameCommand.LOGOUT:
                logger.warning("a frame with an unknown command, %d bytes, was passed over", len(data))
        except (DecodeError, UnicodeDecodeError) as error:
            logger.warning("a frame of %d bytes could not be read: %s", len(data), type(error).__name__)
            if not self._socket.logged_in:
                wrong = ProtocolError("the answer to the login could not be read", reason=type(error).__name__)
                return [LoginRefused(wrong)]
        return []

    def tick(self, now: float) -> list[Output]:
        """Let time pass: heartbeats, dead connections, queues that were asked for in vain."""
        socket = self._socket
        if not socket.logged_in:
            return []
        if socket.heartbeat_at is not None and now - socket.heartbeat_at >= SILENCE_SECONDS:
            return [Silent()]
        outputs: list[Output] = []
        if socket.active is not None and now - socket.active.asked_at >= STALL_SECONDS:
            outputs += self._stalled(socket.active, now)
        since = socket.last_downlink if socket.given_up_at is None else min(socket.last_downlink, socket.given_up_at)
        is_due = now - since >= HEARTBEAT_SECONDS or now - socket.looked_at >= LOOK_SECONDS
        if socket.heartbeat_at is None and is_due:
            socket.heartbeat_at = socket.looked_at = now
            socket.given_up_at = None
            outputs.append(Transmit(self._envelope.unread(trace_id=self._trace_id())))
        return outputs

    # -------------------------------------------------------------- handshake

    def _provisioned(self, reply: Any) -> list[Output]:
        if self._socket.logged_in:
            return []
        if not reply.HasField("status"):
            return [LoginRefused(ProtocolError("the answer to the login has no status"))]
        status = _code(reply.status)
        if status != StatusCode.OK:
            return [LoginRefused(login_refused(self.identity.user, status, reply.status.reason))]
        if any(reply.protocolCompressType):
            return [LoginRefused(ProtocolError("the service chose a compression that was not offered"))]
        self._socket.logged_in = True
        self._socket.looked_at = self._socket.last_downlink
        return [
            LoggedIn(_expiry(reply.authToken)),
            Transmit(self._envelope.unread(trace_id=self._trace_id())),
            self._statistics(),
        ]

    def _statistics(self) -> Transmit:
        return Transmit(self._envelope.statistics(self.next_client_id(), trace_id=self._trace_id()))

    # -------------------------------------------------------------- sync flow

    def _told_unread(self, reply: Any, now: float) -> list[Output]:
        outputs: list[Output] = []
        if not self._socket.greeted:
            self._socket.greeted = True
            self._socket.greeted_at = reply.timestamp or None
            outputs.append(self._statistics())
        for entry in reply.unread:
            if entry.HasField("queue") and (entry.n or not entry.HasField("n")):
                outputs += self._want(entry.queue, now)
        return outputs

    def _noticed(self, notice: Any, now: float) -> list[Output]:
        queue = notice.queue
        own = queue.name == self.identity.user and queue.clientResource == self.identity.resource
        return [] if own or not notice.HasField("queue") else self._want(queue, now)

    def _want(self, queue: Any, now: float) -> list[Output]:
        """Empty this queue, when its turn comes: the official SDK empties one at a time."""
        socket, name = self._socket, _name(queue)
        if socket.active is not None and _name(socket.active.queue) == name:
            socket.active.noticed_again = True
            return []
        socket.waiting.setdefault(name, queue)
        return self._next_queue(now)

    def _next_queue(self, now: float) -> list[Output]:
        socket = self._socket
        if socket.active is not None or not socket.waiting:
            return []
        queue = socket.waiting.pop(next(iter(socket.waiting)))
        socket.active = _Drain(queue, now)
        return [Transmit(self._envelope.fetch(queue, trace_id=self._trace_id()))]

    def _finish(self, drain: _Drain, now: float, *, early: bool = False) -> list[Output]:
        self._socket.active = None
        if early and self._socket.given_up_at is None:
            self._socket.given_up_at = now
        if drain.noticed_again:
            self._socket.waiting.setdefault(_name(drain.queue), drain.queue)
        return self._next_queue(now)

    def _stalled(self, drain: _Drain, now: float) -> list[Output]:
        logger.warning("no page came for queue %r in %.0f s", drain.queue.name, STALL_SECONDS)
        if drain.asked_again:
            return self._finish(drain, now, early=True)
        drain.asked_again, drain.asked_at, drain.last_key = True, now, None
        return [Transmit(self._envelope.fetch(drain.queue, trace_id=self._trace_id()))]

    def _synced(self, reply: Any, now: float) -> list[Output]:
        if reply.metaId:
            answer = (reply.metaId, _code(reply.status), reply.status.reason, str(reply.serverId), reply.timestamp)
            answered = SendAnswered(*answer, metas=() if reply.HasField("queue") else tuple(reply.metas))
            if not reply.HasField("queue"):
                return [answered]
            return [answered, *self._page(reply, now)]
        return self._page(reply, now)

    def _page(self, page: Any, now: float) -> list[Output]:
        outputs = self._deliver(page.metas)
        drain = self._socket.active
        if not page.HasField("queue"):
            return outputs  # nobody can tell what to acknowledge; the queue is asked for again when it stalls
        if drain is None or _name(drain.queue) != _name(page.queue):
            # Not asked for. Its key is not acknowledged: a page pushed late or out of order would take items
            # with it that never came. Asking for the front of the queue is safe, and brings the same key.
            return outputs + (self._want(page.queue, now) if page.metas else [])
        key = page.nextKey if page.HasField("nextKey") else None
        if page.isLast and not page.metas:
            return outputs + self._finish(drain, now)
        if key is None or key == drain.last_key or _code(page.status) != StatusCode.OK:
            return outputs + self._finish(drain, now, early=True)
        drain.last_key, drain.asked_at, drain.asked_again = key, now, False
        outputs.append(Transmit(self._envelope.acknowledge(page.queue, key, trace_id=self._trace_id())))
        return outputs + (self._finish(drain, now) if page.isLast else [])

    def _deliver(self, metas: Any) -> list[Output]:
        events: list[Event] = []
        outputs: list[Output] = []
        for data in metas:
            meta = parse_meta(data)
            if not self._is_new(meta, data):
                continue
            told = decode_meta(data, meta)
            if isinstance(told, Kicked):
                outputs.append(told)
            elif told is not None:
                events.append(told)
            if isinstance(told, MessageRecalled):  # a page that comes late does not bring it back
                self._remember((NameSpace.CHAT, int(told.message_id)))
        if events:
            outputs.insert(0, Deliver(events))
        return outputs

    def _is_new(self, meta: Any, data: bytes) -> bool:
        if meta is not None and not meta.id:
            return True
        mark = (-1, hash(data)) if meta is None else (meta.ns, meta.id)
        if mark in self._delivered:
            return False
        self._remember(mark)
        return True

    def _remember(self, mark: tuple[int, int]) -> None:
        self._delivered[mark] = None
        if len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]

    # -------------------------------------------------------------------- ids

    def _milliseconds(self) -> int:
        return int(self._wall_clock() * 1000)

    def _trace_id(self) -> int:
        self._last_trace_id = max(self._last_trace_id + 1, self._milliseconds() << 22)
        return self._last_trace_id


def _name(queue: Any) -> _QueueName:
    return queue.name, queue.domain


def _code(status: Any) -> int:
    """Return a status code, also one without a name here; none at all is OK, as the official SDK reads it."""
    if status.HasField("errorCode"):
        return int(status.errorCode)
    fields: Any = UnknownFieldSet(status)
    unnamed = [field.data for field in fields if field.field_number == 1]
    return next((code for code in reversed(unnamed) if isinstance(code, int)), int(StatusCode.OK))


def _expiry(auth_token: str) -> int | None:
    return number(json_object(auth_token), "expires_in") or None
