"""Builds the Metas that the server sends unasked, and the JSON marks of messages.

Notices: thread notices, group events, news for a user's other devices, and the kick that ends a login. This module
only builds; `delivery` decides who gets a Meta.

Source: docs/protocol.md#notices, docs/protocol.md#thread-marks, docs/protocol.md#kicked-off.
"""

from __future__ import annotations

import json
from typing import Any

from imkit.sandbox.server.groups import Group, Thread
from imkit.wire import schema
from imkit.wire.enums import MucOperation, MucStatusCode, NameSpace, StatisticsOperation
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN, group_jid

# Meta.meta of each message that the server sends down.
ONLINE_MARK = b'{"is_online":1}'


def compact(value: Any) -> str:
    """Return JSON without spaces. The SDK drops a notice that holds a byte below 0x10, such as a line break."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


# ---------------------------------------------------------------- marks in MessageBody.meta


def thread_mark_object(parent_id: str, group_id: str, name: str) -> dict[str, Any]:
    """Return the mark that tells a client to which thread a message belongs.

    Source: docs/protocol.md#thread-marks.
    """
    return {"thread": {"msg_parent_id": parent_id, "muc_parent_id": group_id, "thread_name": name}}


def thread_mark(thread: Thread) -> str:
    """Return the thread mark of a thread's messages as JSON; it is built once for each thread."""
    if not thread.mark:
        thread.mark = compact(thread_mark_object(thread.parent_id, thread.group_id, thread.name))
    return thread.mark


def edit_mark_object(
    count: int, operator: str, edit_time: int, *, sender: str, send_time: int, chat_type: str
) -> dict[str, Any]:
    """Return the mark of an edited message.

    Args:
        count: how often the message was edited, this edit included.
        operator: the user who made the last edit.
        edit_time: the time of the last edit, in ms.
        sender: the user who sent the message.
        send_time: the time of the message, in ms.
        chat_type: "chat:group" or "chat:user".

    Source: docs/protocol.md#editing.
    """
    return {
        "edit_msg": {
            "count": count,
            "operator": operator,
            "edit_time": edit_time,
            "sender": sender,
            "send_time": send_time,
            "chat_type": chat_type,
        }
    }


def thread_overview(thread: Thread, last_message: dict[str, Any]) -> dict[str, Any]:
    """Return what a parent message carries about its thread in roaming history.

    Source: docs/protocol.md#thread-overview.
    """
    return {
        "id": thread.id,
        "muc_parent_id": thread.group_id,
        "name": thread.name,
        "last_message": last_message,
        "create_timestamp": thread.created,
        "update_timestamp": thread.updated,
        "message_count": thread.messages,
    }


# ---------------------------------------------------------------- notices


def thread_notice(
    app_key: str,
    item: int,
    time: int,
    thread: Thread,
    operation: str,
    operator: str,
    last_message: dict[str, Any] | None = None,
) -> bytes:
    """Return the Meta that tells the members of the parent group about a thread.

    Args:
        app_key: the app.
        item: the id of the Meta.
        time: its time, in ms.
        thread: the thread, as it is after the operation.
        operation: "create", "update", "delete" or "update_msg".
        operator: the user who did it.
        last_message: for "update_msg": the newest message in its REST form, `{}` for an empty thread.

    Source: docs/protocol.md#thread-notices.
    """
    data: dict[str, Any] = {
        "id": thread.id,
        "name": thread.name,
        "muc_parent_id": thread.group_id,
        "msg_parent_id": thread.parent_id,
        "from": operator,
        "operation": operation,
        "timestamp": time,
        "message_count": thread.messages,
    }
    if last_message is not None:
        data["last_message"] = last_message
    receiver = group_jid(app_key, thread.group_id)
    return _json_notice(app_key, item, time, receiver, "thread", data)


def own_notice(app_key: str, item: int, time: int, user: str, kind: str, data: dict[str, Any]) -> bytes:
    """Return the Meta that tells a user's other devices what one of them did, as JSON.

    Args:
        app_key: the app.
        item: the id of the Meta.
        time: its time, in ms.
        user: the user.
        kind: "conv" for a conversation of the list, "roaming_delete" for a one-way delete, "user_metadata_updated" for
            attributes of the user.
        data: what happened.

    Source: docs/protocol.md#conversations, docs/protocol.md#one-way-delete, docs/protocol.md#user-attributes.
    """
    jid = schema.JID(appKey=app_key, name=user, domain=USER_DOMAIN)
    return _json_notice(app_key, item, time, jid, kind, data, user)


def conversation_change(
    operation: str, conversation: str, kind: str, operator: str, resource: str | None, time: int, ext: str
) -> dict[str, Any]:
    """Return the `data` of a notice of the kind "conv": what somebody did with a conversation or its pinned messages.

    Args:
        operation: such as "top" or "pin".
        conversation: the group, the thread or the other user.
        kind: "chat" or "groupchat".
        operator: the user who did it.
        resource: the device that did it.
        time: when, in ms.
        ext: the mark or the message that it is about.

    Source: docs/protocol.md#conversations, docs/protocol.md#pinned-messages.
    """
    named = {"op": operation, "id": conversation, "type": kind, "from": operator, "res": resource or ""}
    return {**named, "ts": time, "ext": ext}


def members_notice(
    app_key: str, item: int, time: int, conversation: str, operator: str, kind: str, data: dict[str, Any]
) -> bytes:
    """Return the Meta that tells the members of a group or thread what one of them did, as JSON.

    Args:
        app_key: the app.
        item: the id of the Meta.
        time: its time, in ms.
        conversation: the group or thread.
        operator: the user who did it.
        kind: "conv" for a message that was pinned or unpinned.
        data: what happened.

    Source: docs/protocol.md#pinned-messages.
    """
    receiver = group_jid(app_key, conversation)
    return _json_notice(app_key, item, time, receiver, kind, data, operator)


def reaction_notice(
    app_key: str, item: int, time: int, *, message: int, operator: str, receiver: Any, reactions: list[dict[str, Any]]
) -> bytes:
    """Return the Meta that tells of a reaction that was added or removed.

    Args:
        app_key: the app.
        item: the id of the Meta.
        time: its time, in ms.
        message: the message.
        operator: the user who did it.
        receiver: the JID of the group or thread, or of the other user of a one-to-one conversation.
        reactions: all reactions to the message as they are now; the one that has changed has an `op`.

    Source: docs/protocol.md#reactions.
    """
    changed = {
        "messageId": str(message),
        "from": operator,
        "to": receiver.name,
        "channel_type": "groupchat" if receiver.domain == GROUP_DOMAIN else "chat",
        "ts": time,
        "reactions": reactions,
    }
    return _json_notice(app_key, item, time, receiver, "reaction", [changed], operator)


def conversation_event(
    app_key: str,
    item: int,
    time: int,
    operation: MucOperation,
    *,
    conversation: Group | Thread,
    operator: str,
    resource: str | None = None,
    users: list[str],
) -> bytes:
    """Return the Meta of a group event, or of a thread's news for one user or for a user's other devices.

    Args:
        app_key: the app.
        item: the id of the Meta.
        time: its time, in ms.
        operation: what happened.
        conversation: the group or thread that it happened to.
        operator: the user who did it.
        resource: the device that did it, in a notice to the operator's other devices. Without it SDK 5 drops those.
        users: the users that it concerns.

    Source: docs/protocol.md#group-notices, docs/protocol.md#notices-to-other-devices.
    """
    operator_jid = schema.JID(appKey=app_key, name=operator, domain=USER_DOMAIN, clientResource=resource)
    conversation_jid = group_jid(app_key, conversation.id)
    body = schema.MUCBody(
        **{"from": operator_jid},
        mucId=conversation_jid,
        mucName=conversation.name,
        operation=operation,
        to=[schema.JID(appKey=app_key, name=user, domain=USER_DOMAIN) for user in users],
        status=schema.MUCStatus(errorCode=MucStatusCode.OK),
    )
    if isinstance(conversation, Thread):
        body.isThread = True
        body.mucParentId.MergeFrom(group_jid(app_key, conversation.group_id))
    return _meta(item, time, NameSpace.MUC, conversation_jid, body.SerializeToString(), operator_jid)


def kick_notice(app_key: str, item: int, time: int, user: str, operation: StatisticsOperation, reason: str) -> bytes:
    """Return the Meta that tells a device why the server ends its login.

    Source: docs/protocol.md#kicked-off.
    """
    body = schema.StatisticsBody(operation=operation, reason=reason)
    receiver = schema.JID(appKey=app_key, name=user, domain=USER_DOMAIN)
    return _meta(item, time, NameSpace.STATISTIC, receiver, body.SerializeToString())


def _json_notice(app_key: str, item: int, time: int, receiver: Any, kind: str, data: Any, operator: str = "") -> bytes:
    payload = compact({"type": kind, "data": data}).encode("utf-8", "replace")
    sender = schema.JID(appKey=app_key, name=operator, domain=USER_DOMAIN)
    return _meta(item, time, NameSpace.NOTIFY, receiver, payload, sender)


def _meta(item: int, time: int, namespace: NameSpace, receiver: Any, payload: bytes, sender: Any = None) -> bytes:
    meta = schema.Meta(id=item, to=receiver, timestamp=time, ns=namespace, payload=payload)
    if sender is not None:
        getattr(meta, "from").MergeFrom(sender)
    serialized: bytes = meta.SerializeToString()
    return serialized
