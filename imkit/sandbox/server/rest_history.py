"""Roaming history (消息漫游) and the app's recalls over REST.

Source: docs/protocol.md#roaming-history, docs/protocol.md#thread-overview,
docs/protocol.md#calls-of-an-app-server.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.message_record import direct_conversation
from imkit.sandbox.server.notices import compact, thread_overview
from imkit.sandbox.server.permissions import (
    SendRefused,
    app_only,
    check_may_read,
    user_or_app,
)
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_message import last_message
from imkit.sandbox.server.rest_replies import DEFAULT_LIMIT, PAGE_LIMIT, Call, RestError, bad_request, message_number
from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN

_SENDERS = 100  # the most senders in one call
_KINDS = 100  # the most kinds of messages; there are ten
_KINDS_IN_SDK_5 = {"text": "txt", "image": "img", "voice": "audio", "location": "loc"}


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/users/{user}/messageroaming", roaming),
        route(backend, "POST", "/messages/msg_recall", recall),
    ]


def roaming(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /users/{user}/messageroaming: a page of a conversation, in either direction, with filters.

    `startTime` and `endTime` are both included. SDK 4 names one sender, `userId`; SDK 5 a list, `userIds`. The older
    form of the call has no direction and no page size; it gets 20 messages, the newest first.
    """
    user = user_or_app(call, call.path["user"])
    conversation = _conversation(backend, call, user)
    body = call.body
    senders = call.names("userIds", most=_SENDERS) or ([str(body["userId"])] if body.get("userId") else [])
    kinds = [kind for kind in str(body.get("msgType") or "").split(",", _KINDS + 1) if kind]
    if len(kinds) > _KINDS:
        raise bad_request(f"msgType holds more than {_KINDS} kinds")
    limit = _number(body, "pull_number")
    page = backend.record.page(
        conversation,
        limit=DEFAULT_LIMIT if limit is None else max(1, min(PAGE_LIMIT, limit)),
        newest_first=not body.get("is_positive"),
        after=_cursor(body.get("start")),
        since=_number(body, "startTime"),
        until=_number(body, "endTime"),
        kinds=[_KINDS_IN_SDK_5.get(kind, kind) for kind in kinds],
        senders={sender.lower() for sender in senders},
        viewer=user,
    )
    marks = _marks(backend, conversation, user, [message for message, _ in page.messages])
    messages = [
        {"msg": base64.b64encode(_with_marks(meta, marks[message]) if message in marks else meta).decode()}
        for message, meta in page.messages
    ]
    return {"data": {"msgs": messages, "is_last": page.is_last, "next_key": page.next_key}}


def _conversation(backend: Backend, call: Call, user: str) -> str:
    name, _, domain = call.text("queue").rpartition("@")
    name = name.lower()
    if domain != GROUP_DOMAIN:
        return direct_conversation(user, name)
    if backend.groups.group_of_conversation(name) is None:
        raise RestError(404, "resource_not_found", f"queue {name} does not exist")
    check_may_read(backend.groups, call, user, name)
    return name


def _number(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise bad_request(f"{name} is not a number")
    return max(-(2**62), min(2**62, int(value))) if abs(value) < 2**63 else 2**62


def _cursor(start: object) -> int | None:
    """Return the message id of a cursor; None for -1, the beginning. Clients send it as a string or a number."""
    text = str(start if start is not None else "").strip()
    if text in ("", "-1", "0"):
        return None
    message = message_number(text)
    if not message:
        raise bad_request("start is no cursor of ours")
    return message


def _marks(backend: Backend, conversation: str, user: str, messages: list[int]) -> dict[int, dict[str, Any]]:
    """Return by message id the marks that are not stored with the messages: their reactions and their threads."""
    marks: dict[int, dict[str, Any]] = {
        message: {"reaction": reactions} for message, reactions in backend.reactions.of(messages, user).items()
    }
    if messages and backend.groups.group(conversation) is not None:
        for thread in backend.groups.threads_on(conversation, messages):
            overview = thread_overview(thread, last_message(backend.record.last(thread.id, user)))
            marks.setdefault(int(thread.parent_id), {})["thread_overview"] = overview
    return marks


def _with_marks(meta_bytes: bytes, marks: dict[str, Any]) -> bytes:
    meta = schema.Meta.FromString(meta_bytes)
    body = schema.MessageBody.FromString(meta.payload)
    known = json.loads(body.meta) if body.meta else {}
    body.meta = compact({**known, **marks})
    meta.payload = body.SerializeToString()
    serialized: bytes = meta.SerializeToString()
    return serialized


def recall(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /messages/msg_recall: the app recalls a message of a group or thread."""
    app_only(call)
    if call.body.get("chat_type") != "groupchat":
        raise bad_request("the sandbox recalls for groups and threads only", "unsupported")
    message = _cursor(call.body.get("msg_id")) or 0
    operator = str(call.body.get("from") or "admin").lower()
    try:
        backend.uplink.recall_for_app(message, call.text("to"), operator, force=bool(call.body.get("force")))
    except SendRefused as refused:
        return {"data": {"msgs": [{"msg_id": str(call.body.get("msg_id")), "recalled": refused.reason}]}}
    return {"data": {"recalled": "yes", "chattype": "groupchat", "from": operator, "to": call.body["to"]}}
