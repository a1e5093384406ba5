"""Decodes the notices of the service: what happened to threads, groups, messages, users and other devices.

Notices are JSON (the namespace NOTIFY) or a MUCBody (the namespace MUC). `downlink` decides which Meta is one.

Source: docs/protocol.md#notices, docs/protocol.md#reactions, docs/protocol.md#conversations,
docs/protocol.md#one-way-delete, docs/protocol.md#pinned-messages, docs/protocol.md#user-attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from imkit.events import (
    ConversationChanged,
    DeviceChanged,
    Event,
    GroupChanged,
    HistoryForgotten,
    PinChanged,
    ReactionChanged,
    ThreadChanged,
    UserChanged,
)
from imkit.times import from_milliseconds
from imkit.wire.enums import MucOperation
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import identifier, is_id, json_object, mapping, number, objects, text, texts
from imkit.wire.user_attributes import attributes_from_json

_MARK_DIGITS = 3  # of a conversation's mark; there are 20
# data.operation of a thread notice → ThreadChanged.operation. Source: docs/protocol.md#thread-notices.
_THREAD_OPERATIONS: dict[str, Literal["create", "update", "destroy", "member_removed"]] = {
    "create": "create",
    "update": "update",
    "update_msg": "update",
    "delete": "destroy",
    "kick": "member_removed",
}
# data.op of a "conv" notice → PinChanged.operation. Source: docs/protocol.md#pinned-messages.
_PIN_OPERATIONS: dict[str, Literal["pinned", "unpinned"]] = {"pin": "pinned", "pin_delete": "unpinned"}
# Source: docs/protocol.md#user-attributes.
_USER_NOTICES = frozenset({"user_metadata_updated", "contact_metadata_updated", "subscribe_metadata_updated"})
# Source: docs/protocol.md#notices-to-other-devices.
_DEVICE_OPERATIONS: dict[int, Literal["create", "destroy", "join", "leave", "rename"]] = {
    MucOperation.THREAD_CREATE: "create",
    MucOperation.THREAD_DESTROY: "destroy",
    MucOperation.THREAD_JOIN: "join",
    MucOperation.THREAD_LEAVE: "leave",
    MucOperation.THREAD_UPDATE: "rename",
}
# The words are those of the official SDK. Source: docs/protocol.md#group-notices.
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
# data.op of a "conv" notice → ConversationChanged.operation. Source: docs/protocol.md#list-of-conversations.
_CONVERSATION_OPERATIONS: dict[str, Literal["pin", "unpin", "mark", "unmark", "delete"]] = {
    "top": "pin",
    "not_top": "unpin",
    "mark": "mark",
    "mark_delete": "unmark",
    "del": "delete",
}
# Source: docs/protocol.md#reactions.
_REACTION_OPERATIONS: dict[str, Literal["added", "removed"]] = {"create": "added", "delete": "removed"}


def decode_notify(meta: Any) -> Event | tuple[Event, ...] | None:
    """Return what a Meta of the namespace NOTIFY reports, which is JSON; `None` for a kind that is not known."""
    notice = json_object(meta.payload)
    kind = text(notice, "type")
    if kind == "reaction":
        return tuple(_reaction_changes(notice, meta.timestamp)) or None
    data = mapping(notice, "data")
    if kind == "thread":
        return _thread_change(meta, data)
    if kind == "conv":
        return _conversation_change(meta, data)
    if kind == "roaming_delete":
        return _forgotten(data)
    if kind in _USER_NOTICES:
        return _user_change(meta, data)
    return None


def _conversation_change(meta: Any, data: Mapping[str, Any]) -> Event | None:
    if text(data, "op") in _PIN_OPERATIONS:
        return _pin_change(meta, data)
    operation = _CONVERSATION_OPERATIONS.get(text(data, "op"))
    if operation is None:
        return None
    mark = text(data, "ext").removeprefix("mark_")
    return ConversationChanged(
        operation=operation,
        conversation_id=text(data, "id"),
        chat="user" if data.get("type") == "chat" else "group",
        by=text(data, "from"),
        at=from_milliseconds(number(data, "ts") or meta.timestamp),
        mark=int(mark) if mark.isascii() and mark.isdigit() and len(mark) <= _MARK_DIGITS else None,
    )


def _pin_change(meta: Any, data: Mapping[str, Any]) -> PinChanged | None:
    message_id, by = identifier(data, "ext"), text(data, "from")
    if not message_id:
        return None
    # The notice of a one-to-one conversation goes to the other user, whose conversation is with the one who did it.
    to = by if text(data, "type") == "chat" else text(data, "id")
    at = from_milliseconds(number(data, "ts") or meta.timestamp)
    return PinChanged(_PIN_OPERATIONS[text(data, "op")], message_id, to, by, at)


def _forgotten(data: Mapping[str, Any]) -> HistoryForgotten:
    """Return which messages this user has deleted for itself on another device.

    Source: docs/protocol.md#one-way-delete.
    """
    ids = texts(data, "msgIdList") or [text(data, "lastMsgId")]
    before = number(data, "deleteTime")
    return HistoryForgotten(
        to=text(data, "to"),
        message_ids=tuple(message for message in ids if is_id(message)),
        before=from_milliseconds(before) if before else None,
    )


def _thread_change(meta: Any, data: Mapping[str, Any]) -> Event | None:
    operation = _THREAD_OPERATIONS.get(text(data, "operation"))
    if operation is None:
        return None
    at = from_milliseconds(number(data, "timestamp") or meta.timestamp)
    has_count = "message_count" in data and operation != "destroy"
    return ThreadChanged(
        operation=operation,
        thread_id=text(data, "id"),
        name=text(data, "name"),
        group_id=text(data, "muc_parent_id"),
        operator=text(data, "from"),
        parent_id=text(data, "msg_parent_id"),
        at=at,
        created=at if operation == "create" else None,
        message_count=number(data, "message_count") if has_count else None,
        last_message=message_from_json(data.get("last_message")),
        user=next(iter(texts(data, "userIds")), None) if operation == "member_removed" else None,
    )


def _user_change(meta: Any, data: Mapping[str, Any]) -> UserChanged | None:
    changed = attributes_from_json(mapping(data, "metadata"))
    at = from_milliseconds(number(data, "lastModified") or meta.timestamp)
    # A notice to the user's own devices may leave the user out.
    return UserChanged(text(data, "username") or meta.to.name, changed, at) if changed else None


def _reaction_changes(notice: Mapping[str, Any], notified: int) -> Iterator[ReactionChanged]:
    """Yield an event for each operation in a notice. The notice also lists the reactions that have not changed."""
    for entry in objects(notice, "data"):
        message_id = identifier(entry, "messageId")
        for reaction in objects(entry, "reactions") if message_id else ():
            for step in objects(reaction, "op"):
                operation = _REACTION_OPERATIONS.get(text(step, "reactionType"))
                if operation is not None:
                    yield ReactionChanged(
                        message_id=message_id,
                        to=text(entry, "to"),
                        reaction=text(reaction, "reaction"),
                        by=text(step, "operator"),
                        operation=operation,
                        count=number(reaction, "count"),
                        at=from_milliseconds(number(entry, "ts") or notified),
                    )


def decode_muc(body: Any) -> Event | None:
    """Return what the MUCBody of a Meta reports about a group, a thread or another device; `None`: nothing known."""
    operation = body.operation if body.HasField("operation") else -1
    operator = getattr(body, "from").name
    users = tuple(body.members) or tuple(user.name for user in body.to)
    if not body.isThread:
        group_operation = _GROUP_OPERATIONS.get(operation)
        return GroupChanged(group_operation, body.mucId.name, operator, users) if group_operation else None
    thread = (body.mucId.name, body.mucName, body.mucParentId.name)
    if operation == MucOperation.THREAD_KICK:
        return ThreadChanged("member_removed", *thread, operator, user=users[0] if users else None)
    device_operation = _DEVICE_OPERATIONS.get(operation)
    return DeviceChanged(device_operation, *thread) if device_operation else None
