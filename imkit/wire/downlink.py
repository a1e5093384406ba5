"""Decodes Metas to messages and events.

No function here raises for the bytes that it is given: a message that cannot be decoded gets the body `Unknown`, which
keeps the bytes.

Source: docs/protocol.md#thread-marks, docs/protocol.md#recall, docs/protocol.md#notices; the recorded frames in
`tests/golden`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf.message import DecodeError

from imkit.events import (
    ConversationChanged,
    Event,
    MessageEdited,
    MessageRead,
    MessageRecalled,
    MessageReceived,
)
from imkit.messages import Message, Streamed, ThreadOverview, ThreadRef, Unknown
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import from_milliseconds
from imkit.wire import schema
from imkit.wire.codec import decode_content
from imkit.wire.enums import BodyType, NameSpace, StatisticsOperation
from imkit.wire.envelope import USER_DOMAIN
from imkit.wire.keyvalues import decode_ext
from imkit.wire.notices import decode_muc, decode_notify
from imkit.wire.rest_message import message_from_json, thread_ref
from imkit.wire.streamed_texts import StreamPiece, status_of
from imkit.wire.untrusted_json import is_id, json_object, mapping, number, objects, text
from imkit.wire.uplink import RECALL_EXT

logger = logger_of_untrusted("imkit.wire")

# Plain ints, because comparing with an IntEnum is slower, and every message is compared.
_CHAT, _EDIT, _RECALL = int(NameSpace.CHAT), int(BodyType.EDIT), int(BodyType.RECALL)
# MessageBody.type → Message.chat. The other types are not messages, except for edits.
CHATS: dict[int, Literal["group", "user", "room"]] = {
    int(BodyType.NORMAL): "group",
    int(BodyType.CHAT): "user",
    int(BodyType.GROUPCHAT): "group",
    int(BodyType.CHATROOM): "room",
}
_UNKNOWN_TYPE = "a message type this version does not know"
# What decoding malformed bytes, or JSON of an unexpected form, can raise.
UNREADABLE = (DecodeError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Kicked:
    """The service ended this login (被踢下线).

    Attributes:
        code: the official SDK's error type.
        reason: what happened, in English.

    Source: docs/protocol.md#kicked-off.
    """

    code: int
    reason: str


_KICKS: dict[int, Kicked] = {
    StatisticsOperation.USER_REMOVED: Kicked(207, "the user was removed"),
    StatisticsOperation.USER_LOGIN_ANOTHER_DEVICE: Kicked(206, "logged in elsewhere"),
    StatisticsOperation.USER_KICKED_BY_CHANGE_PASSWORD: Kicked(216, "the password was changed"),
    StatisticsOperation.USER_KICKED_BY_OTHER_DEVICE: Kicked(217, "kicked by another device"),
}


def parse_meta(data: bytes) -> Any:
    """Return the parsed Meta, or `None` if `data` is not a valid one."""
    try:
        return schema.Meta.FromString(data)
    except (DecodeError, UnicodeDecodeError):
        return None


def decode_meta(data: bytes, meta: Any = None) -> Event | tuple[Event, ...] | StreamPiece | Kicked | None:
    """Return what one Meta reports: an event, the end of this login, or `None` if the Meta reports neither.

    A notice of reactions or of read receipts can report several events; it gives a tuple. A piece of a streamed text
    is an event only together with the pieces before it.

    A Meta that cannot be decoded becomes a `MessageReceived` whose body is `Unknown` and keeps the bytes, so that the
    Metas before and after it are not lost.

    Args:
        data: the bytes of a Meta.
        meta: the same Meta parsed, if the caller has parsed it already.
    """
    try:
        return _decode(schema.Meta.FromString(data) if meta is None else meta)
    except UNREADABLE as error:
        logger.warning("a Meta of %d bytes could not be read: %s", len(data), type(error).__name__)
        return MessageReceived(_undecoded_message(data, type(error).__name__))


def _decode(meta: Any) -> Event | tuple[Event, ...] | StreamPiece | Kicked | None:
    namespace = meta.ns if meta.HasField("ns") else None
    if namespace == _CHAT:
        return _decode_chat(meta)
    if namespace == NameSpace.NOTIFY:
        return decode_notify(meta)
    if namespace == NameSpace.MUC:
        return decode_muc(schema.MUCBody.FromString(meta.payload))
    if namespace == NameSpace.STATISTIC:
        return _decode_statistics(meta)
    return None


def _decode_chat(meta: Any) -> Event | StreamPiece | None:
    try:
        body = schema.MessageBody.FromString(meta.payload)
    except (DecodeError, UnicodeDecodeError):
        return MessageReceived(_unknown_message(meta, "the payload is not a MessageBody"))
    kind = body.type if body.HasField("type") else None
    if kind == _RECALL:
        return _decode_recall(meta, body)
    if kind == _EDIT:
        return _decode_edit(meta, body)
    if kind in CHATS:
        message = _message(meta, body)
        if isinstance(message.body, Streamed):
            at = from_milliseconds(meta.timestamp)
            return StreamPiece(message, body.stream.streamSeq, status_of(body.stream), at, len(meta.payload))
        return MessageReceived(message)
    if kind == BodyType.CHANNEL_ACK:
        return _decode_channel_ack(meta, body)
    if kind is None:
        return MessageReceived(_unknown_message(meta, _UNKNOWN_TYPE))
    if kind == BodyType.READ_ACK:
        return _decode_read_ack(meta, body)
    return None  # delivery acks


def _decode_recall(meta: Any, body: Any) -> MessageRecalled:
    return MessageRecalled(
        message_id=str(body.ackMessageId),
        to=meta.to.name or body.to.name,
        by=_sender(meta, body),
        at=from_milliseconds(meta.timestamp),
        ext=str(decode_ext(meta.ext).get(RECALL_EXT, "")),
    )


def _decode_channel_ack(meta: Any, body: Any) -> ConversationChanged:
    return ConversationChanged(
        operation="read_all" if body.clearAllUnreadMessageCount else "read",
        conversation_id="" if body.clearAllUnreadMessageCount else meta.to.name or body.to.name,
        chat="user" if meta.to.domain == USER_DOMAIN else "group",
        by=_sender(meta, body),
        at=from_milliseconds(meta.timestamp),
    )


def _decode_read_ack(meta: Any, body: Any) -> MessageRead | None:
    ids = [str(message) for message in body.ackMessageIds or (body.ackMessageId,) if message]
    ext = decode_ext(body.ext)
    # SDK 5 takes the counts from the entry of this name, SDK 4 from the first entry.
    counts = ext.get("group_ack_count", next(iter(ext.values()), None))
    return _message_read(meta, ids, meta.to.name or body.to.name, counts, by=_sender(meta, body), words=body.ackContent)


def _message_read(
    meta: Any, ids: Iterable[str], to: str, counts: object, *, by: str = "", words: str = ""
) -> MessageRead | None:
    # SDK 4 reads the text as JSON whatever type its entry has.
    known = json_object(counts) if isinstance(counts, str) else counts if isinstance(counts, dict) else {}
    told = tuple(dict.fromkeys(ids))
    numbers = {message: number(known, message) for message in told if message in known}
    return MessageRead(told, to, by, from_milliseconds(meta.timestamp), words, numbers) if told else None


def _decode_statistics(meta: Any) -> Event | tuple[Event, ...] | Kicked | None:
    body = schema.StatisticsBody.FromString(meta.payload)
    kicked = _KICKS.get(body.operation)
    if kicked is not None:
        return kicked
    # For a sender who was offline: how many users have read each message. Source: docs/protocol.md#read-receipts.
    acks = objects(json_object(body.location), "group_ack")
    read = [_message_read(meta, filter(is_id, entry), text(entry, "groupId"), entry) for entry in acks]
    return tuple(event for event in read if event is not None) or None


def _decode_edit(meta: Any, body: Any) -> MessageEdited:
    marks = _marks(meta, body)
    message = _message(meta, body, marks)
    at = message.edited_at or from_milliseconds(meta.timestamp)
    return MessageEdited(message, text(marks.edit, "operator") or _sender(meta, body), message.edit_count, at)


def _decode_roamed(meta: Any) -> Message | None:
    if meta.ns != _CHAT or not meta.HasField("ns"):
        return None
    body = schema.MessageBody.FromString(meta.payload)
    if not body.HasField("type"):
        return _unknown_message(meta, _UNKNOWN_TYPE)
    return _message(meta, body) if body.type in CHATS or body.type == _EDIT else None


def decode_roamed(data: bytes) -> Message | None:
    r"""Return the message of a Meta from roaming history (消息漫游), or `None` if the Meta is not a message.

    A Meta that cannot be decoded becomes a message whose body is `Unknown` and keeps the bytes.

    Example:
        >>> decode_roamed(b"\xff").body.reason
        'DecodeError'

    Source: docs/protocol.md#roaming-history.
    """
    try:
        return _decode_roamed(schema.Meta.FromString(data))
    except UNREADABLE as error:
        return _undecoded_message(data, type(error).__name__)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks that the service adds to a message in `MessageBody.meta`.

    Attributes:
        thread: the thread that the message is in.
        edit: the JSON object `edit_msg`; empty if the message was not edited.
        edit_count: how often the message was edited.
        edit_time: the time of the last edit in ms since the epoch, or 0.
        reactions: the reactions (表情回复) as JSON objects.
        translations: the translations as JSON objects.
        overview: the thread on this message, if it is a parent message.

    Source: docs/protocol.md#thread-marks, docs/protocol.md#thread-overview, docs/protocol.md#editing.
    """

    thread: ThreadRef | None
    edit: Mapping[str, Any]
    edit_count: int
    edit_time: int
    reactions: tuple[Mapping[str, Any], ...]
    translations: tuple[Mapping[str, Any], ...]
    overview: ThreadOverview | None


def read_marks(marks_json: str, thread_id: str = "", more_json: bytes = b"") -> Marks:
    """Return the marks of a message.

    Args:
        marks_json: the text of `MessageBody.meta`.
        thread_id: the id for `Marks.thread`, because the JSON does not contain it.
        more_json: `Meta.meta`. SDK 5 reads marks there too; where both have a key, `MessageBody.meta` counts.

    Example:
        >>> read_marks('{"edit_msg": {"count": 2, "edit_time": 1795390333491}}').edit_count
        2
    """
    marks = {**json_object(more_json), **json_object(marks_json)}
    edit = mapping(marks, "edit_msg")
    return Marks(
        thread=thread_ref(marks, thread_id),
        edit=edit,
        edit_count=number(edit, "count"),
        edit_time=number(edit, "edit_time"),
        reactions=tuple(objects(marks, "reaction")),
        translations=tuple(objects(marks, "translations")),
        overview=_overview(marks),
    )


MARKLESS_BYTES = 20  # a longer `Meta.meta` may hold marks; most often it says {"is_online":1} and nothing else
_CACHED_CHARACTERS = 1024  # longer marks are not cached; a mark with only the thread has about 150
_CACHED_THREADS = 1024
_marks_cache: dict[tuple[str, str], Marks] = {}


def _marks(meta: Any, body: Any) -> Marks:
    """Return the marks of a message, from a cache if possible.

    Most messages of a thread have the same marks: only the thread itself. Without the cache, parsing them takes a third
    of the time that decoding a message takes. Marks with an edit, a reaction, a translation or an overview are not
    cached, because they belong to one message and hold mutable objects.
    """
    marks_json, thread_id = body.meta, meta.to.name or body.to.name
    if len(meta.meta) > MARKLESS_BYTES:
        return read_marks(marks_json, thread_id, meta.meta)
    marks = _marks_cache.get((marks_json, thread_id))
    if marks is None:
        marks = read_marks(marks_json, thread_id)
        has_more_than_thread = marks.edit or marks.reactions or marks.translations or marks.overview
        if len(marks_json) + len(thread_id) <= _CACHED_CHARACTERS and not has_more_than_thread:
            if len(_marks_cache) >= _CACHED_THREADS:
                _marks_cache.clear()
            _marks_cache[marks_json, thread_id] = marks
    return marks


def _message(meta: Any, body: Any, marks: Marks | None = None) -> Message:
    marks = marks or _marks(meta, body)
    edited = body.type == _EDIT and body.HasField("type")  # then the Meta is about the edit, not about the message
    edit_time = marks.edit_time or (meta.timestamp if edited else 0)
    sent = (number(marks.edit, "send_time") if edited else 0) or meta.timestamp
    return Message(
        id=str(body.editMessageId if edited else meta.id),
        sender=(text(marks.edit, "sender") if edited else "") or _sender(meta, body),
        to=meta.to.name or body.to.name,
        time=from_milliseconds(sent),
        body=decode_content(body),
        thread=marks.thread,
        edited_at=from_milliseconds(edit_time) if edit_time else None,
        edit_count=marks.edit_count,
        reactions=marks.reactions,
        translations=marks.translations,
        resource=getattr(meta, "from").clientResource,
        env=meta.env,
        chat=CHATS.get(body.type, "group"),
        overview=marks.overview,
    )


def _sender(meta: Any, body: Any) -> str:
    name: str = getattr(body, "from").name or getattr(meta, "from").name
    return name


def _undecoded_message(data: bytes, reason: str) -> Message:
    try:
        return _unknown_message(schema.Meta.FromString(data), reason)
    except UNREADABLE:
        return Message(id="", sender="", to="", time=from_milliseconds(0), body=Unknown(data, reason))


def _unknown_message(meta: Any, reason: str) -> Message:
    return Message(
        id=str(meta.id),
        sender=getattr(meta, "from").name,
        to=meta.to.name,
        time=from_milliseconds(meta.timestamp),
        body=Unknown(bytes(meta.payload), reason),
    )


def _overview(marks: Mapping[str, Any]) -> ThreadOverview | None:
    mark = mapping(marks, "thread_overview")
    if not mark:
        return None
    return ThreadOverview(
        thread_id=text(mark, "id"),
        name=text(mark, "name"),
        group_id=text(mark, "muc_parent_id"),
        message_count=number(mark, "message_count"),
        created=from_milliseconds(number(mark, "create_timestamp")),
        updated=from_milliseconds(number(mark, "update_timestamp")),
        last_message=message_from_json(mark.get("last_message")),
    )


@dataclass(frozen=True, slots=True)
class EditAnswer:
    """The content of the service's answer to an edit. Times are in ms since the epoch.

    A value that the answer does not have is 0 or empty.
    """

    count: int = 0
    edit_time: int = 0
    send_time: int = 0
    sender: str = ""


def decode_edit_answer(metas: Sequence[bytes]) -> EditAnswer:
    """Return what the Metas in the service's answer to an edit contain.

    Source: docs/protocol.md#editing.
    """
    for data in metas:
        meta = parse_meta(data)
        edit = mapping(json_object(meta.payload), "edit_msg") if meta is not None else {}
        if edit:
            times = (number(edit, "edit_time"), number(edit, "send_time"))
            return EditAnswer(number(edit, "count"), *times, text(edit, "sender"))
    return EditAnswer()
