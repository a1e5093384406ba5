"""Meta → messages and events. No exception for bytes: what cannot be read becomes `Unknown`.

Source: fact sheet sections 4 to 8; the recorded frames in `tests/golden`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf.message import DecodeError

from imkit.events import (
    DeviceChanged,
    Event,
    GroupChanged,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ThreadChanged,
)
from imkit.messages import Message, ThreadOverview, ThreadRef, Unknown
from imkit.times import from_milliseconds
from imkit.wire import schema
from imkit.wire.codec import decode_content
from imkit.wire.enums import BodyType, MucOperation, NameSpace, StatisticsOperation
from imkit.wire.keyvalues import decode_ext
from imkit.wire.rest_message import message_from_json, thread_ref
from imkit.wire.untrusted_json import json_object, mapping, number, objects, text
from imkit.wire.uplink import RECALL_EXT

logger = logging.getLogger("imkit.wire")

# Plain ints: each message is compared with them, and an IntEnum compares slower.
_CHAT, _EDIT, _RECALL = int(NameSpace.CHAT), int(BodyType.EDIT), int(BodyType.RECALL)
CHATS: dict[int, Literal["group", "user", "room"]] = {
    int(BodyType.NORMAL): "group",
    int(BodyType.CHAT): "user",
    int(BodyType.GROUPCHAT): "group",
    int(BodyType.CHATROOM): "room",
}
_UNKNOWN_TYPE = "a message type this version does not know"
UNREADABLE = (DecodeError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Kicked:
    """The service ended this login: `code` is the official SDK's error type, `reason` its word for it."""

    code: int
    reason: str


_KICKS: dict[int, Kicked] = {
    StatisticsOperation.USER_REMOVED: Kicked(207, "the user was removed"),
    StatisticsOperation.USER_LOGIN_ANOTHER_DEVICE: Kicked(206, "logged in elsewhere"),
    StatisticsOperation.USER_KICKED_BY_CHANGE_PASSWORD: Kicked(216, "the password was changed"),
    StatisticsOperation.USER_KICKED_BY_OTHER_DEVICE: Kicked(217, "kicked by another device"),
}


def parse_meta(data: bytes) -> Any:
    """Return the Meta in `data`, or `None` where there is none to be read."""
    try:
        return schema.Meta.FromString(data)
    except (DecodeError, UnicodeDecodeError):
        return None


def decode_meta(data: bytes, meta: Any = None) -> Event | Kicked | None:
    """Return what one Meta tells: an event, the end of this login, or `None` where there is nothing to tell.

    Never raises for what is in `data`: a Meta that cannot be read arrives as a `MessageReceived` whose body is
    `Unknown`, with the bytes kept, so that the Metas around it are not lost.

    Args:
        data: the bytes of a Meta.
        meta: the same, parsed, where the caller has it.
    """
    try:
        return _decode(schema.Meta.FromString(data) if meta is None else meta)
    except UNREADABLE as error:
        logger.warning("a Meta of %d bytes could not be read: %s", len(data), type(error).__name__)
        return MessageReceived(_salvage(data, type(error).__name__))


def _decode(meta: Any) -> Event | Kicked | None:
    space = meta.ns if meta.HasField("ns") else None
    if space == _CHAT:
        return _decode_chat(meta)
    if space == NameSpace.NOTIFY:
        return _decode_notify(meta)
    if space == NameSpace.MUC:
        return _decode_muc(schema.MUCBody.FromString(meta.payload))
    if space == NameSpace.STATISTIC:
        return _KICKS.get(schema.StatisticsBody.FromString(meta.payload).operation)
    return None


def _decode_chat(meta: Any) -> Event | None:
    try:
        body = schema.MessageBody.FromString(meta.payload)
    except (DecodeError, UnicodeDecodeError):
        return MessageReceived(_unreadable(meta, "the message body is no MessageBody"))
    kind = body.type if body.HasField("type") else None
    if kind == _RECALL:
        return MessageRecalled(
            message_id=str(body.ackMessageId),
            to=meta.to.name or body.to.name,
            by=_sender(meta, body),
            at=from_milliseconds(meta.timestamp),
            ext=str(decode_ext(meta.ext).get(RECALL_EXT, "")),
        )
    if kind == _EDIT:
        message = _message(meta, body)
        edit = mapping(json_object(body.meta), "edit_msg")
        at = message.edited_at or from_milliseconds(meta.timestamp)
        return MessageEdited(message, text(edit, "operator") or _sender(meta, body), message.edit_count, at)
    if kind in CHATS:
        return MessageReceived(_message(meta, body))
    if kind is None:
        return MessageReceived(_unreadable(meta, _UNKNOWN_TYPE))
    return None  # read, delivery and channel acks


def _decode_roamed(meta: Any) -> Message | None:
    if meta.ns != _CHAT or not meta.HasField("ns"):
        return None
    body = schema.MessageBody.FromString(meta.payload)
    if not body.HasField("type"):
        return _unreadable(meta, _UNKNOWN_TYPE)
    return _message(meta, body) if body.type in CHATS or body.type == _EDIT else None


def decode_roamed(data: bytes) -> Message | None:
    r"""Return the message of a Meta from roaming history, or `None` where it is no message (fact sheet section 8).

    Never raises for what is in `data`: what cannot be read is `Unknown`, with its bytes.

    Example:
        >>> decode_roamed(b"\xff").body.reason
        'DecodeError'
    """
    try:
        return _decode_roamed(schema.Meta.FromString(data))
    except UNREADABLE as error:
        return _salvage(data, type(error).__name__)


@dataclass(frozen=True, slots=True)
class Marks:
    """What the service notes on a message (`MessageBody.meta`): its thread, edits, reactions, translations."""

    thread: ThreadRef | None
    edit: Mapping[str, Any]
    edit_count: int
    edit_time: int
    reactions: tuple[Mapping[str, Any], ...]
    translations: tuple[Mapping[str, Any], ...]
    overview: ThreadOverview | None


def read_marks(noted: str, thread_id: str = "") -> Marks:
    """Return what a `MessageBody.meta` says; `thread_id` is not in it, and goes into its `ThreadRef`.

    Example:
        >>> read_marks('{"edit_msg": {"count": 2, "edit_time": 1795390333491}}').edit_count
        2
    """
    marks = json_object(noted)
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


_SHORT = 1024  # characters; a thread's mark alone is some 150
_MOST_THREADS = 1024
_threads_seen: dict[tuple[str, str], Marks] = {}


def _marks_of_next(noted: str, thread_id: str) -> Marks:
    """Read the marks of one message after another: most have that of their thread, which is read but once.

    Reading it anew was a third of receiving them. What is kept is short, whoever wrote it, and cannot be changed.
    """
    found = _threads_seen.get((noted, thread_id))
    if found is None:
        found = read_marks(noted, thread_id)
        may_change = found.edit or found.reactions or found.translations or found.overview
        if len(noted) + len(thread_id) <= _SHORT and not may_change:
            if len(_threads_seen) >= _MOST_THREADS:
                _threads_seen.clear()
            _threads_seen[noted, thread_id] = found
    return found


def _message(meta: Any, body: Any) -> Message:
    to = meta.to.name or body.to.name
    marks = _marks_of_next(body.meta, to)
    edited = body.type == _EDIT and body.HasField("type")
    edit_time = marks.edit_time or (meta.timestamp if edited else 0)
    sent = (number(marks.edit, "send_time") if edited else 0) or meta.timestamp
    return Message(
        id=str(body.editMessageId if edited else meta.id),
        sender=(text(marks.edit, "sender") if edited else "") or _sender(meta, body),
        to=to,
        time=from_milliseconds(sent),
        body=decode_content(body),
        thread=marks.thread,
        edited_at=from_milliseconds(edit_time) if edit_time else None,
        edit_count=marks.edit_count,
        reactions=marks.reactions,
        translations=marks.translations,
        resource=getattr(meta, "from").clientResource,
        chat=CHATS.get(body.type, "group"),
        overview=marks.overview,
    )


def _sender(meta: Any, body: Any) -> str:
    name: str = getattr(body, "from").name or getattr(meta, "from").name
    return name


def _salvage(data: bytes, reason: str) -> Message:
    try:
        return _unreadable(schema.Meta.FromString(data), reason)
    except UNREADABLE:
        return Message(id="", sender="", to="", time=from_milliseconds(0), body=Unknown(data, reason))


def _unreadable(meta: Any, reason: str) -> Message:
    return Message(
        id=str(meta.id),
        sender=getattr(meta, "from").name,
        to=meta.to.name,
        time=from_milliseconds(meta.timestamp),
        body=Unknown(bytes(meta.payload), reason),
    )


_OPERATIONS: dict[str, Literal["create", "update", "destroy"]] = {
    "create": "create",
    "update": "update",
    "update_msg": "update",
    "delete": "destroy",
}
_DEVICE_OPERATIONS: dict[int, Literal["create", "destroy", "join", "leave", "rename"]] = {
    MucOperation.THREAD_CREATE: "create",
    MucOperation.THREAD_DESTROY: "destroy",
    MucOperation.THREAD_JOIN: "join",
    MucOperation.THREAD_LEAVE: "leave",
    MucOperation.THREAD_UPDATE: "rename",
}
_GROUP_OPERATIONS: dict[int, str] = {
    MucOperation.DESTROY: "destroy",
    MucOperation.KICK: "removeMember",
    MucOperation.UPDATE: "updateInfo",
    MucOperation.PRESENCE: "memberPresence",
    MucOperation.ABSENCE: "memberAbsence",
    MucOperation.DIRECT_JOINED: "directJoined",
    MucOperation.ASSIGN_OWNER: "changeOwner",
    MucOperation.ADD_ADMIN: "setAdmin",
    MucOperation.REMOVE_ADMIN: "removeAdmin",
    MucOperation.ADD_MUTE: "muteMember",
    MucOperation.REMOVE_MUTE: "unmuteMember",
    MucOperation.BAN_GROUP: "muteAllMembers",
    MucOperation.REMOVE_BAN_GROUP: "unmuteAllMembers",
    MucOperation.DISABLE_GROUP: "disable",
    MucOperation.ABLE_GROUP: "enable",
}


def _decode_notify(meta: Any) -> Event | None:
    notice = json_object(meta.payload)
    data = mapping(notice, "data")
    operation = _OPERATIONS.get(text(data, "operation"))
    if notice.get("type") != "thread" or operation is None:
        return None
    at = from_milliseconds(number(data, "timestamp") or meta.timestamp)
    counted = "message_count" in data and operation != "destroy"
    return ThreadChanged(
        operation=operation,
        thread_id=text(data, "id"),
        name=text(data, "name"),
        group_id=text(data, "muc_parent_id"),
        operator=text(data, "from"),
        parent_id=text(data, "msg_parent_id"),
        at=at,
        created=at if operation == "create" else None,
        message_count=number(data, "message_count") if counted else None,
        last_message=message_from_json(data.get("last_message")),
    )


def _decode_muc(body: Any) -> Event | None:
    operation = body.operation if body.HasField("operation") else -1
    operator = getattr(body, "from").name
    users = tuple(user.name for user in body.to)
    if not body.isThread:
        word = _GROUP_OPERATIONS.get(operation)
        return GroupChanged(word, body.mucId.name, operator, users) if word else None
    thread = (body.mucId.name, body.mucName, body.mucParentId.name)
    if operation == MucOperation.THREAD_KICK:
        return ThreadChanged("member_removed", *thread, operator, user=users[0] if users else None)
    word = _DEVICE_OPERATIONS.get(operation)
    return DeviceChanged(word, *thread) if word else None


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
    """What the answer to an edit tells: times in ms since the epoch, 0 and empty where it does not."""

    count: int = 0
    edit_time: int = 0
    send_time: int = 0
    sender: str = ""


def decode_edit_answer(metas: Sequence[bytes]) -> EditAnswer:
    """Return what the Metas in the answer to an edit say (fact sheet section 4, "Edit")."""
    for data in metas:
        meta = parse_meta(data)
        edit = mapping(json_object(meta.payload), "edit_msg") if meta is not None else {}
        if edit:
            times = (number(edit, "edit_time"), number(edit, "send_time"))
            return EditAnswer(number(edit, "count"), *times, text(edit, "sender"))
    return EditAnswer()
