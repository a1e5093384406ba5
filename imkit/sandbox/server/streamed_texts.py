"""Streamed texts (流式消息): an app server sends a text piece by piece; members see it grow.

The text is in the history from its first piece on, always as a whole, and grows there. Devices that are online get the
pieces, and at the end the whole text once more. Users without a device online get the whole text when they come. A
text that does not go on is given up. What is growing is only in memory: after a restart it stays as it is.

Source: docs/protocol.md#streamed-texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.conversations import Conversations
from imkit.sandbox.server.delivery import Delivery
from imkit.sandbox.server.device_queues import DeviceQueues
from imkit.sandbox.server.groups import Groups
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.rest_replies import RestError, bad_request, limit_reached
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.uplink import Target, Uplink
from imkit.wire import schema
from imkit.wire.enums import BodyType, ContentType, StreamStatus, SubType
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from imkit.wire.keyvalues import encode_ext

# The `error_code` of refusals. Source: docs/protocol.md#streamed-texts.
TOO_LONG, PAUSE_TOO_LONG, TOOK_TOO_LONG = 14032, 14033, 14034
# What the clients are told when a text is given up: `Stream.streamError`.
_PAUSE_ERROR, _TIME_ERROR = 512, 513


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece, as the app server sends it.

    Attributes:
        text: the piece.
        number: its place; the first piece has 0.
        is_last: no piece follows.
        finish_reason: the app's own number for why the text ends.
    """

    text: str
    number: int
    is_last: bool = False
    finish_reason: int | None = None


@dataclass(slots=True)
class _Growing:
    """A text that is not complete.

    Attributes:
        sender: the user who sends it.
        target: where it goes.
        meta: its Meta, as the history has it.
        body: the MessageBody in the Meta: the whole text.
        next_number: of the piece that is expected.
        began: when the first piece came, in ms.
        grew: when the last one came.
        text_bytes: the size of the text.
        error: why it will be given up; 0: it goes on.
    """

    sender: str
    target: Target
    meta: Any
    body: Any
    next_number: int
    began: int
    grew: int
    text_bytes: int
    error: int = 0


class StreamedTexts:
    """The streamed texts of all conversations.

    Args:
        limits: how long a text may be and take, and how many may grow at once.
        store: gives ids and the time.
        record: the messages.
        queues: the device queues.
        delivery: delivers to devices.
        groups: counts the messages of a thread.
        conversations: notes one-to-one conversations.
        uplink: writes what the server sets in a Meta.
    """

    def __init__(
        self,
        limits: Limits,
        store: Store,
        record: MessageRecord,
        queues: DeviceQueues,
        delivery: Delivery,
        groups: Groups,
        conversations: Conversations,
        uplink: Uplink,
    ) -> None:
        self._limits = limits
        self._store = store
        self._record = record
        self._queues = queues
        self._delivery = delivery
        self._groups = groups
        self._conversations = conversations
        self._uplink = uplink
        self._growing: dict[int, _Growing] = {}  # by message id

    def begin(self, sender: str, target: Target, piece: Piece, kind: str, ext: Mapping[str, Any]) -> int:
        """Send the first piece of a text; return the id of its message.

        Args:
            sender: the user who sends it.
            target: where it goes.
            piece: the first piece.
            kind: the app's own word for the kind of text.
            ext: the attributes of the message.
        """
        if piece.number != 0:
            raise bad_request("the first piece of a text has seq 0")
        if len(self._growing) >= self._limits.streamed_texts_at_once:
            raise limit_reached(f"{len(self._growing)} texts are being streamed already")
        self._check_length(0, piece)
        is_direct = target.group_id is None
        name = next(user for user in target.members if user != sender) if is_direct else target.conversation
        body = schema.MessageBody(
            type=BodyType.CHAT if is_direct else BodyType.GROUPCHAT,
            to=schema.JID(name=name),
            contents=[schema.Content(type=ContentType.TEXT, text="", subType=SubType.SUB_STREAM)],
            ext=encode_ext(ext),
        )
        body.stream.streamType = kind
        meta = schema.Meta(to=schema.JID(name=name, domain=USER_DOMAIN if is_direct else GROUP_DOMAIN))
        message = self._uplink.make_downlink(sender, "", meta, body, target)
        now = self._store.clock()
        self._growing[message] = growing = _Growing(sender, target, meta, body, 0, now, now, 0)
        self._record.add(message, target.conversation, sender, "txt", b"")
        self._grow(message, growing, piece)
        if target.thread is not None:
            self._groups.count_message(target.thread, +1)
            self._delivery.tell_message_count(target.thread, sender)
        elif is_direct:
            self._conversations.note_direct(*target.members)
        return message

    def go_on(self, sender: str, conversation: str, message: int, piece: Piece) -> None:
        """Send a further piece. One that came before changes nothing."""
        growing = self._growing.get(message)
        stored = self._record.find(message)
        if growing is not None and (stored is None or stored.edits):
            del self._growing[message]  # recalled, edited, or gone with its group
            growing = None
        if growing is None or (growing.sender, growing.target.conversation) != (sender, conversation):
            raise RestError(400, "stream_message_ended", f"no text is being streamed as message {message}")
        if piece.number < growing.next_number:
            return
        if piece.number > growing.next_number:
            raise bad_request(f"seq must be {growing.next_number} now")
        growing.error = growing.error or self._overdue(growing)
        if growing.error:
            code = PAUSE_TOO_LONG if growing.error == _PAUSE_ERROR else TOOK_TOO_LONG
            raise RestError(400, "stream_message_timeout", "the text has taken too long: it was given up", code)
        try:
            self._check_length(growing.text_bytes, piece)
        except RestError:
            growing.error = _TIME_ERROR
            raise
        self._grow(message, growing, piece)

    def give_up_overdue(self) -> None:
        """End the texts that have not grown for too long, have taken too long in all, or were to become too long.

        A refused piece cannot end its text at once: what a refused call has changed is taken back.
        """
        for message, growing in list(self._growing.items()):
            if error := growing.error or self._overdue(growing):
                self._end(message, growing, error)

    def _overdue(self, growing: _Growing) -> int:
        now = self._store.clock()
        if now - growing.grew > self._limits.streamed_pause_seconds * 1000:
            return _PAUSE_ERROR
        return _TIME_ERROR if now - growing.began > self._limits.streamed_seconds * 1000 else 0

    @property
    def count(self) -> int:
        """How many texts are growing."""
        return len(self._growing)

    def _check_length(self, before: int, piece: Piece) -> None:
        most = self._limits.streamed_bytes
        if before + len(piece.text.encode()) > most:
            raise RestError(400, "stream_message_too_long", f"a streamed text may have {most} bytes", TOO_LONG)

    def _grow(self, message: int, growing: _Growing, piece: Piece) -> None:
        """Add a piece to the text in the history, and deliver the piece to the devices that are online."""
        is_first = piece.number == 0
        if is_first:
            status = StreamStatus.STREAM_START_COMPLETED if piece.is_last else StreamStatus.STREAM_START
        else:
            status = StreamStatus.STREAM_COMPLETED if piece.is_last else StreamStatus.STREAM_IN_PROGRESS
        stream, content = growing.body.stream, growing.body.contents[0]
        if piece.finish_reason is not None:
            stream.streamFinishReason = piece.finish_reason
        stream.streamSeq, stream.streamStatus = piece.number, status
        text, content.text = content.text, piece.text
        self._deliver_online(growing)
        content.text = text + piece.text
        growing.text_bytes += len(piece.text.encode())
        growing.next_number, growing.grew = piece.number + 1, self._store.clock()
        stream.streamSeq, stream.streamStatus = growing.next_number, StreamStatus.STREAM_FULL
        self._record.replace(message, 0, self._serialized(growing))
        if piece.is_last:
            self._end(message, growing)

    def _end(self, message: int, growing: _Growing, error: int = 0) -> None:
        """Deliver the whole text: to devices for which it may lack pieces, and to users who had no device online."""
        self._growing.pop(message, None)
        stored = self._record.find(message)
        if stored is None or stored.edits:
            return
        if error:
            growing.body.stream.streamError = error
            self._record.replace(message, 0, self._serialized(growing))
        self._deliver_online(growing)
        offline = [user for user in self._members(growing) if not self._delivery.is_online(user)]
        for user in offline:
            self._delivery.deliver([user], self._queue(growing, user), message)
        if growing.target.thread is not None:
            self._delivery.tell_message_count(growing.target.thread, growing.sender)

    def _deliver_online(self, growing: _Growing) -> None:
        item = self._store.new_id()
        self._queues.keep_unstored(item, self._serialized(growing), repeats=growing.meta.id)
        for user in self._members(growing):
            self._delivery.deliver([user], self._queue(growing, user), item, online_only=True)

    def _members(self, growing: _Growing) -> Collection[str]:
        """Return who is in the conversation now: users may have left it, or have come, since the text began."""
        target = growing.target
        return target.members if target.group_id is None else self._groups.members(target.conversation)

    def _queue(self, growing: _Growing, user: str) -> str:
        target = growing.target
        return target.own_queue if user == growing.sender else target.queue

    def _serialized(self, growing: _Growing) -> bytes:
        growing.meta.payload = growing.body.SerializeToString()
        serialized: bytes = growing.meta.SerializeToString()
        return serialized
