"""The client's side of MSYNC as a class without I/O. It takes frames and the time, and returns frames and events.

Each method returns an ordered list of outputs, and the caller must carry them out in this order. The events of a page
come before the frame that acknowledges the page, so that nothing is acknowledged before it is delivered.

Source: docs/protocol.md#login-and-connection, docs/protocol.md#queues-and-synchronisation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from imkit.errors import AuthError, IMError, ProtocolError
from imkit.events import Event, MessageRecalled
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import LAST_MILLISECOND, wall_seconds
from imkit.wire import schema
from imkit.wire.downlink import Kicked, decode_meta, parse_meta
from imkit.wire.enums import FrameCommand, NameSpace, StatusCode
from imkit.wire.envelope import Dialect, Envelope, Identity
from imkit.wire.refusals import login_refused
from imkit.wire.streamed_texts import StreamedTexts, StreamPiece
from imkit.wire.untrusted_json import json_object, number

logger = logger_of_untrusted("imkit.wire")

HEARTBEAT_SECONDS = 30.0  # after so long without a downlink, send UNREAD, as the official SDK does
UNREAD_SECONDS = 120.0  # send UNREAD at least so often, also on a busy connection: a NOTICE may have been lost
SILENCE_SECONDS = 15.0  # after so long without an answer to the heartbeat, the connection is dead
STALL_SECONDS = 10.0  # after so long without a page, ask for the queue again
REMEMBERED_IDS = 20_000  # the ids that are kept to drop repeated messages; the official SDK keeps about 100
MAX_QUEUES = 20_000  # that wait to be emptied; the next UNREAD tells of the others, so none is lost
MAX_QUEUE_BYTES = 1_024  # of a queue's JID; those of the official SDK have about 60
MOST_UNKNOWN_FIELDS = 50  # of an answer to a login that are noted
_FAR_FUTURE = 2**63  # a time in ms
_CLIENT_ID_EPOCH = 1_264_982_400_000  # ms: client ids count from 2010-02-01, as in the official SDK


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send `data` on the socket, as one binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver `events` to the consumers, before the next output is carried out; their Metas had `size_bytes`."""

    events: list[Event]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The login succeeded."""


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """What the service answered to a login that it accepted.

    Attributes:
        resource: the device's name, which the service repeats.
        token_ends: when the token expires, in ms since the epoch by the service's clock; `None` if it was not told.
        fields: the names of the fields that were set, in the order of the schema.
        unknown_fields: the numbers of fields that the schema does not have; at most `MOST_UNKNOWN_FIELDS` of them.
    """

    resource: str
    token_ends: int | None
    fields: tuple[str, ...]
    unknown_fields: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FirstUnread:
    """The first answer to UNREAD on a socket, with which the service tells its time (`ClientProtocol.service_time`).

    Attributes:
        token_ends: when the token of the login expires, in ms since the epoch by the service's clock, as it told at the
            login; `None` if it told that, or its time, not.
    """

    token_ends: int | None


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """The login failed with `error`."""

    error: IMError


@dataclass(frozen=True, slots=True)
class SendAnswered:
    """The service answered a send.

    Attributes:
        client_id: the id of the Meta that was sent.
        status: 0 if the service accepted it, else the status code of the refusal.
        reason: the service's reason for a refusal.
        server_id: the message id that the service gave.
        at: the service's time in ms since the epoch.
        metas: the Metas in the answer to an edit.

    Source: docs/protocol.md#answer-to-a-send.
    """

    client_id: int
    status: int
    reason: str
    server_id: str
    at: int
    metas: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """The connection is dead: the service did not answer the heartbeat."""


Output = Transmit | Deliver | LoggedIn | FirstUnread | LoginRefused | SendAnswered | Silent | Kicked
_QueueName = tuple[str, str]


@dataclass(slots=True)
class _Drain:
    """The queue that is being emptied."""

    queue: Any
    asked_at: float  # when its last page was asked for
    last_key: int | None = None  # the key that was acknowledged last
    noticed_again: bool = False  # a NOTICE came for it meanwhile, so it must be fetched once more
    asked_again: bool = False  # no page came, and it was asked for a second time


@dataclass(slots=True)
class _SocketState:
    """The state of one socket. A new socket begins with a new state."""

    session_id: str
    token: str = field(repr=False)
    last_downlink: float = 0.0  # when the last frame came from the service
    heartbeat_at: float | None = None  # when the heartbeat was sent that is not answered yet
    logged_in: bool = False
    answer: LoginAnswer | None = None
    unread_answered: bool = False  # the first UNREAD was answered
    service_time: int | None = None  # in ms: the time that the service gave in that answer
    unread_asked_at: float = 0.0  # when UNREAD was sent last
    abandoned_at: float | None = None  # when a queue was left before it was empty; the next UNREAD finds the rest
    active: _Drain | None = None
    waiting: OrderedDict[_QueueName, bytes] = field(default_factory=OrderedDict)  # queues to empty after the active one
    left_out: bool = False  # more than `MAX_QUEUES` were told of, so ask UNREAD when these are empty


class ClientProtocol:
    """The protocol state of one device, across all its sockets.

    `now` is a time in seconds from any clock that never goes back.

    Args:
        identity: the device.
        dialect: the SDK build whose frames to write.
        wall_clock: returns the seconds since the epoch, for ids. The timers use `now`.

    Example:
        >>> protocol = ClientProtocol(Identity("org#app", "alice", "web"))
        >>> [login] = protocol.connect("token", now=0.0)
        >>> schema.MSync.FromString(login.data).command == FrameCommand.PROVISION
        True
    """

    def __init__(
        self, identity: Identity, dialect: Dialect | None = None, wall_clock: Callable[[], float] = wall_seconds
    ) -> None:
        self.identity = identity
        self._envelope = Envelope(identity, dialect)
        self._wall_clock = wall_clock
        self._last_client_id = 0
        self._last_trace_id = 0
        self._socket = _SocketState("", "")
        self._previous_login_time: int | None = _FAR_FUTURE
        self._service_clock: tuple[int, float] | None = None  # the time that the service told last, in ms; `now` then
        self._streamed = StreamedTexts()
        self._delivered: dict[tuple[int, int], None] = {}  # (namespace, id) of each Meta, the oldest first

    # ------------------------------------------------------------------ uplink

    def connect(self, token: str, now: float) -> list[Output]:
        """Begin on a new socket: drop the state of the old one, and return the login frame."""
        self._previous_login_time = self.login_time
        self._socket = _SocketState(f"{self._milliseconds()}:", token, last_downlink=now)
        try:
            frame = self._envelope.provision(token, session_id=self._socket.session_id, trace_id=self._next_trace_id())
        except (TypeError, ValueError):  # do not chain it: its text may contain the token
            return [LoginRefused(AuthError("the app key, the user, the resource and the token must be valid text"))]
        return [Transmit(frame)]

    def send(self, meta: Any) -> Transmit:
        """Return the frame that sends a Meta, which `imkit.wire.uplink` built."""
        return Transmit(self._envelope.send(meta, trace_id=self._next_trace_id()))

    def logout(self) -> Transmit:
        """Return the frame that ends the login."""
        socket = self._socket
        frame = self._envelope.logout(socket.token, session_id=socket.session_id, trace_id=self._next_trace_id())
        return Transmit(frame)

    @property
    def login_answer(self) -> LoginAnswer | None:
        """What the service answered to the login of this socket; `None` before it has accepted it."""
        return self._socket.answer

    @property
    def login_time(self) -> int | None:
        """A time on the service's clock in ms, earlier than that of any message sent on this socket.

        It is in the first answer to UNREAD; `None` if the service gives none there. Before that answer this is the
        login time of the previous socket, or a time in the far future if there was none.
        """
        return self._socket.service_time if self._socket.unread_answered else self._previous_login_time

    def service_time(self, now: float) -> int | None:
        """Return the time on the service's clock in ms, as its last answer to UNREAD told; `None` if none told it."""
        if self._service_clock is None:
            return None
        told, heard_at = self._service_clock
        return told + int((now - heard_at) * 1000)

    def next_client_id(self) -> int:
        """Return an id for a send. Ids of one device are unique and grow; they count ms, as in the official SDK.

        Source: docs/protocol.md#sending.
        """
        self._last_client_id = max(self._last_client_id + 1, self._milliseconds() - _CLIENT_ID_EPOCH)
        return self._last_client_id

    # ---------------------------------------------------------------- downlink

    def receive(self, data: bytes, now: float) -> list[Output]:
        """Handle one frame from the service, and return what to do. Never raises for what the frame contains."""
        self._socket.last_downlink = now
        self._socket.heartbeat_at = None
        try:
            frame = schema.MSync.FromString(data)
            command = frame.command if frame.HasField("command") else None
            if not self._socket.logged_in and command != FrameCommand.PROVISION:
                return []  # if the login then fails, the caller drops the events, so do not acknowledge anything yet
            if command == FrameCommand.SYNC:
                return self._handle_sync(schema.LooseSyncDL.FromString(frame.payload), now)
            if command == FrameCommand.NOTICE:
                return self._handle_notice(schema.CommNotice.FromString(frame.payload), now)
            if command == FrameCommand.UNREAD:
                return self._handle_unread(schema.CommUnreadDL.FromString(frame.payload), now)
            if command == FrameCommand.PROVISION:
                return self._handle_provision(schema.Provision.FromString(frame.payload))
            if command != FrameCommand.LOGOUT:
                logger.warning("ignored a frame of %d bytes with an unknown command", len(data))
        except (DecodeError, UnicodeDecodeError) as error:
            logger.warning("a frame of %d bytes could not be read: %s", len(data), type(error).__name__)
            if not self._socket.logged_in:
                unreadable = ProtocolError("the answer to the login could not be read", reason=type(error).__name__)
                return [LoginRefused(unreadable)]
        return []

    def tick(self, now: float) -> list[Output]:
        """Return what is due at `now`: a heartbeat, another request for a queue, or the end of the connection.

        Source: docs/protocol.md#heartbeat.
        """
        socket = self._socket
        if not socket.logged_in:
            return []
        if socket.heartbeat_at is not None and now - socket.heartbeat_at >= SILENCE_SECONDS:
            return [Silent()]
        outputs: list[Output] = []
        if socket.active is not None and now - socket.active.asked_at >= STALL_SECONDS:
            outputs += self._handle_stall(socket.active, now)
        since = socket.last_downlink if socket.abandoned_at is None else min(socket.last_downlink, socket.abandoned_at)
        is_due = now - since >= HEARTBEAT_SECONDS or now - socket.unread_asked_at >= UNREAD_SECONDS
        if socket.heartbeat_at is None and is_due:
            socket.heartbeat_at = socket.unread_asked_at = now
            socket.abandoned_at = None
            outputs.append(self._unread())
        return outputs

    # ------------------------------------------------------------------- login

    def _handle_provision(self, reply: Any) -> list[Output]:
        if self._socket.logged_in:
            return []
        if not reply.HasField("status"):
            return [LoginRefused(ProtocolError("the answer to the login has no status"))]
        status = _status_code(reply.status)
        if status != StatusCode.OK:
            refused = login_refused(self.identity.user, status, reply.status.reason)
            if self._socket.token:  # a service may repeat the request
                refused.reason = refused.reason.replace(self._socket.token, "•••")
            return [LoginRefused(refused)]
        if any(reply.protocolCompressType):
            return [LoginRefused(ProtocolError("the service chose a compression that was not offered"))]
        self._socket.logged_in = True
        self._socket.unread_asked_at = self._socket.last_downlink
        self._socket.answer = _login_answer(reply)
        return [LoggedIn(), self._unread(), self._statistics()]

    def _unread(self) -> Transmit:
        return Transmit(self._envelope.unread(trace_id=self._next_trace_id()))

    def _fetch(self, queue: Any) -> Transmit:
        return Transmit(self._envelope.fetch(queue, trace_id=self._next_trace_id()))

    def _statistics(self) -> Transmit:
        return Transmit(self._envelope.statistics(self.next_client_id(), trace_id=self._next_trace_id()))

    # ------------------------------------------------------------------ queues

    def _handle_unread(self, reply: Any, now: float) -> list[Output]:
        outputs: list[Output] = []
        is_time_told = 0 < reply.timestamp <= LAST_MILLISECOND
        if is_time_told:
            self._service_clock = reply.timestamp, now
        if not self._socket.unread_answered:
            self._socket.unread_answered = True
            self._socket.service_time = reply.timestamp or None
            answer = self._socket.answer
            outputs.append(FirstUnread(answer.token_ends if is_time_told and answer is not None else None))
            outputs.append(self._statistics())
        for entry in reply.unread:
            if entry.HasField("queue") and (entry.n or not entry.HasField("n")):
                outputs += self._request_queue(entry.queue, now)
        return outputs

    def _handle_notice(self, notice: Any, now: float) -> list[Output]:
        queue = notice.queue
        is_own_device = queue.name == self.identity.user and queue.clientResource == self.identity.resource
        return [] if is_own_device or not notice.HasField("queue") else self._request_queue(queue, now)

    def _request_queue(self, queue: Any, now: float) -> list[Output]:
        """Empty this queue, after those that wait already. Like the official SDK, empty one queue at a time."""
        socket, name = self._socket, _queue_name(queue)
        if socket.active is not None and _queue_name(socket.active.queue) == name:
            socket.active.noticed_again = True
            return []
        self._add_waiting(name, queue)
        return self._fetch_next_queue(now)

    def _add_waiting(self, name: _QueueName, queue: Any) -> None:
        """Keep a queue as bytes: the object would keep the whole frame that told of it in memory."""
        waiting = self._socket.waiting
        if name in waiting:
            return
        if queue.ByteSize() > MAX_QUEUE_BYTES:
            logger.warning("ignored a queue whose name has more than %d bytes", MAX_QUEUE_BYTES)
        elif len(waiting) >= MAX_QUEUES:
            if not self._socket.left_out:
                logger.warning("more than %d queues have messages: the others are asked for later", MAX_QUEUES)
            self._socket.left_out = True
        else:
            waiting[name] = queue.SerializeToString()

    def _fetch_next_queue(self, now: float) -> list[Output]:
        socket = self._socket
        if socket.active is not None:
            return []
        if socket.waiting:
            _, queue_bytes = socket.waiting.popitem(last=False)
            queue = schema.JID.FromString(queue_bytes)
            socket.active = _Drain(queue, now)
            return [self._fetch(queue)]
        if socket.left_out:
            socket.left_out, socket.unread_asked_at = False, now
            return [self._unread()]
        return []

    def _finish_drain(self, drain: _Drain, now: float, *, early: bool = False) -> list[Output]:
        """Go on to the next queue. `early`: this one may still hold items, so ask UNREAD again soon."""
        self._socket.active = None
        if early and self._socket.abandoned_at is None:
            self._socket.abandoned_at = now
        if drain.noticed_again:
            self._add_waiting(_queue_name(drain.queue), drain.queue)
        return self._fetch_next_queue(now)

    def _handle_stall(self, drain: _Drain, now: float) -> list[Output]:
        logger.warning("queue %r: no page came within %.0f s", drain.queue.name, STALL_SECONDS)
        if drain.asked_again:
            return self._finish_drain(drain, now, early=True)
        drain.asked_again, drain.asked_at, drain.last_key = True, now, None
        return [self._fetch(drain.queue)]

    def _handle_sync(self, reply: Any, now: float) -> list[Output]:
        """Handle a SYNC frame: the answer to a send, a page of a queue, or both in one."""
        if not reply.metaId:
            return self._handle_page(reply, now)
        is_page = reply.HasField("queue")
        answered = SendAnswered(
            client_id=reply.metaId,
            status=_status_code(reply.status),
            reason=reply.status.reason,
            server_id=str(reply.serverId),
            at=reply.timestamp,
            metas=() if is_page else tuple(reply.metas),
        )
        return [answered, *self._handle_page(reply, now)] if is_page else [answered]

    def _handle_page(self, page: Any, now: float) -> list[Output]:
        """Deliver a page of a queue, acknowledge it, and go on with this queue or the next one."""
        outputs = self._decode_new(page.metas)
        drain = self._socket.active
        if not page.HasField("queue"):
            return outputs  # it cannot be acknowledged; the queue is asked for again after STALL_SECONDS
        if drain is None or _queue_name(drain.queue) != _queue_name(page.queue):
            # A page that was not asked for. Do not acknowledge its key: if pages before it were lost, their items
            # would be removed undelivered. Fetch the queue from its front instead; that brings the same items.
            return outputs + (self._request_queue(page.queue, now) if page.metas else [])
        key = page.nextKey if page.HasField("nextKey") else None
        if page.isLast and not page.metas:
            return outputs + self._finish_drain(drain, now)
        if key is None or key == drain.last_key or _status_code(page.status) != StatusCode.OK:
            return outputs + self._finish_drain(drain, now, early=True)
        drain.last_key, drain.asked_at, drain.asked_again = key, now, False
        outputs.append(Transmit(self._envelope.acknowledge(page.queue, key, trace_id=self._next_trace_id())))
        return outputs + (self._finish_drain(drain, now) if page.isLast else [])

    def _decode_new(self, metas: Any) -> list[Output]:
        """Return what the Metas report, without those that were delivered before: the events first, then kicks."""
        events: list[Event] = []
        outputs: list[Output] = []
        size_bytes = 0
        for data in metas:
            meta = parse_meta(data)
            if not self._remember_if_new(meta, data) and not self._may_be_next_piece(meta):
                continue
            decoded = decode_meta(data, meta)
            if isinstance(decoded, StreamPiece):
                grown = self._streamed.take(decoded)
                events += grown
                size_bytes += len(data) + sum(len(event.message.text or "") for event in grown)
            elif isinstance(decoded, Kicked):
                outputs.append(decoded)
            elif decoded is not None:
                events += decoded if isinstance(decoded, tuple) else (decoded,)
                size_bytes += len(data)
            if isinstance(decoded, MessageRecalled):  # a later page must not deliver the recalled message
                self._remember((NameSpace.CHAT, int(decoded.message_id)))
                self._streamed.give_up(decoded.message_id)
        if events:
            outputs.insert(0, Deliver(events, size_bytes))
        return outputs

    def _may_be_next_piece(self, meta: Any) -> bool:
        """Whether a Meta whose id came before may be one more piece of a streamed text."""
        return meta is not None and meta.ns == NameSpace.CHAT and self._streamed.is_growing(meta.id)

    def _remember_if_new(self, meta: Any, data: bytes) -> bool:
        if meta is not None and not meta.id:
            return True
        meta_key = (-1, hash(data)) if meta is None else (meta.ns, meta.id)
        if meta_key in self._delivered:
            return False
        self._remember(meta_key)
        return True

    def _remember(self, meta_key: tuple[int, int]) -> None:
        self._delivered[meta_key] = None
        if len(self._delivered) > REMEMBERED_IDS:
            del self._delivered[next(iter(self._delivered))]

    # -------------------------------------------------------------------- ids

    def _milliseconds(self) -> int:
        return int(self._wall_clock() * 1000)

    def _next_trace_id(self) -> int:
        self._last_trace_id = max(self._last_trace_id + 1, self._milliseconds() << 22)
        return self._last_trace_id


def _queue_name(queue: Any) -> _QueueName:
    return queue.name, queue.domain


def _status_code(status: Any) -> int:
    """Return the code of a status. A status without a code is OK, as for the official SDK.

    A code that `StatusCode` does not have is in the message's unknown fields, because the schema's enums are closed.
    """
    if status.HasField("errorCode"):
        return int(status.errorCode)
    fields: Any = UnknownFieldSet(status)
    unknown_codes = [field.data for field in fields if field.field_number == 1]
    return next((code for code in reversed(unknown_codes) if isinstance(code, int)), int(StatusCode.OK))


def _login_answer(reply: Any) -> LoginAnswer:
    unknown: Any = UnknownFieldSet(reply)
    return LoginAnswer(
        resource=reply.resource,
        token_ends=number(json_object(reply.authToken), "expires_in") or None,
        fields=tuple(descriptor.name for descriptor, _ in reply.ListFields()),
        unknown_fields=tuple(sorted({field.field_number for field in unknown}))[:MOST_UNKNOWN_FIELDS],
    )
