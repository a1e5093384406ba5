"""What the service tells without being asked: thread changes, group events, news for a user's other devices.

Facts: fact sheet section 7. Everything here only builds Metas; `delivery` brings them to people.
"""

from __future__ import annotations

import json
from typing import Any

from imkit.sandbox.server.addresses import PEOPLE, ROOMS
from imkit.sandbox.server.groups import Thread
from imkit.wire import schema

STATISTIC, CHAT, MUC, NOTIFY = 0, 1, 2, 5  # Meta.NameSpace

# MUCBody.Operation
DESTROY, KICK, UPDATE, PRESENCE, ABSENCE, DIRECT_JOINED = 1, 10, 14, 17, 18, 19
THREAD_CREATE, THREAD_DESTROY, THREAD_JOIN, THREAD_LEAVE, THREAD_KICK, THREAD_UPDATE = 33, 34, 35, 36, 37, 38

# StatisticsBody.Operation: why a device is sent away (section 2)
USER_REMOVED, LOGGED_IN_ELSEWHERE, PASSWORD_CHANGED, KICKED_BY_DEVICE = 1, 2, 3, 4


def compact(value: Any) -> str:
    """Return JSON without spaces: a byte below 0x10 would kill a notice in the SDK (section 7)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def thread_mark(thread: Thread) -> str:
    """Return the downlink mark of a thread's messages, `MessageBody.meta` (section 5)."""
    if not thread.mark:
        thread.mark = compact(
            {
                "thread": {
                    "msg_parent_id": thread.parent_id,
                    "muc_parent_id": thread.group_id,
                    "thread_name": thread.name,
                }
            }
        )
    return thread.mark


def thread_notice(
    app_key: str,
    item: int,
    time: int,
    thread: Thread,
    operation: str,
    operator: str,
    last_message: dict[str, Any] | None = None,
) -> bytes:
    """Build the notice that tells every member of the parent group about a thread."""
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
    meta = schema.Meta(
        id=item,
        to=schema.JID(appKey=app_key, name=thread.group_id, domain=ROOMS),
        timestamp=time,
        ns=NOTIFY,
        payload=compact({"type": "thread", "data": data}).encode("utf-8", "replace"),
    )
    getattr(meta, "from").MergeFrom(schema.JID(appKey=app_key, name="", domain=PEOPLE))
    serialized: bytes = meta.SerializeToString()
    return serialized


def room_event(
    app_key: str,
    item: int,
    time: int,
    operation: int,
    *,
    room: str,
    operator: str,
    users: list[str],
    thread: Thread | None = None,
    reason: str = "",
) -> bytes:
    """Build a MUCBody: a group event, or with a thread, news about it for one user or for other devices."""
    operator_jid = schema.JID(appKey=app_key, name=operator, domain=PEOPLE)
    body = schema.MUCBody(
        mucId=schema.JID(appKey=app_key, name=room, domain=ROOMS),
        operation=operation,
        to=[schema.JID(appKey=app_key, name=user, domain=PEOPLE) for user in users],
        status=schema.message_class("MUCBody.Status")(errorCode=0),
    )
    getattr(body, "from").MergeFrom(operator_jid)
    if reason:
        body.reason = reason
    if thread is not None:
        body.isThread = True
        body.mucParentId.MergeFrom(schema.JID(appKey=app_key, name=thread.group_id, domain=ROOMS))
        body.mucName = thread.name
    meta = schema.Meta(
        id=item,
        to=schema.JID(appKey=app_key, name=room, domain=ROOMS),
        timestamp=time,
        ns=MUC,
        payload=body.SerializeToString(),
    )
    getattr(meta, "from").MergeFrom(operator_jid)
    serialized: bytes = meta.SerializeToString()
    return serialized


def kick(app_key: str, item: int, time: int, user: str, operation: int, reason: str) -> bytes:
    """Build what sends a device away (section 2)."""
    body = schema.StatisticsBody(operation=operation, reason=reason)
    meta = schema.Meta(
        id=item,
        to=schema.JID(appKey=app_key, name=user, domain=PEOPLE),
        timestamp=time,
        ns=STATISTIC,
        payload=body.SerializeToString(),
    )
    serialized: bytes = meta.SerializeToString()
    return serialized


def overview(thread: Thread, last: dict[str, Any]) -> dict[str, Any]:
    """Return what a parent message tells about its thread in roaming results (section 5)."""
    return {
        "id": thread.id,
        "muc_parent_id": thread.group_id,
        "name": thread.name,
        "last_message": last,
        "create_timestamp": thread.created,
        "update_timestamp": thread.updated,
        "message_count": thread.messages,
    }
