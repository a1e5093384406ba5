"""Roaming history (消息漫游), read acks and recalls over REST: fact sheet sections 4, 5, 8 and 10."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.addresses import ROOMS
from imkit.sandbox.server.message_record import direct_conversation
from imkit.sandbox.server.notices import compact, overview
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_groups import group_of, member_of
from imkit.sandbox.server.rest_message import last_message
from imkit.sandbox.server.rest_replies import PAGE_LIMIT, Call, RestError, bad_request
from imkit.wire import schema

_DEFAULT_PAGE = 20  # section 8; also what the legacy call gets, which cannot ask


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this room."""
    return [
        route(backend, "POST", "/users/{user}/messageroaming", roaming),
        route(backend, "GET", "/chatgroups/{id}/acks/{message}", readers),
        route(backend, "POST", "/messages/msg_recall", recall),
    ]


def roaming(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /users/{user}/messageroaming: a page of a conversation, either way, filtered.

    `startTime` and `endTime` are both included. The legacy call gives neither direction nor size: newest first.
    """
    user = call.only(call.path["user"])
    conversation = _conversation(backend, call, user)
    body = call.body
    limit = _number(body, "pull_number")
    page = backend.record.page(
        conversation,
        limit=_DEFAULT_PAGE if limit is None else max(1, min(PAGE_LIMIT, limit)),
        newest_first=not body.get("is_positive"),
        after=_cursor(body.get("start")),
        since=_number(body, "startTime"),
        until=_number(body, "endTime"),
        kinds=[kind for kind in str(body.get("msgType") or "").split(",") if kind],
        sender=str(body["userId"]).lower() if body.get("userId") else None,
    )
    overviews = _overviews(backend, conversation, [message for message, _ in page.messages])
    messages = [
        {"msg": base64.b64encode(_with_overview(meta, overviews[message]) if message in overviews else meta).decode()}
        for message, meta in page.messages
    ]
    return {"data": {"msgs": messages, "is_last": page.is_last, "next_key": page.next_key}}


def _conversation(backend: Backend, call: Call, user: str) -> str:
    name, _, domain = call.text("queue").rpartition("@")
    name = name.lower()
    if domain != ROOMS:
        return direct_conversation(user, name)
    if backend.rooms.thread(name) is None and backend.rooms.group(name) is None:
        raise RestError(404, "resource_not_found", f"queue {name} does not exist")
    # Not documented for the service: the strict way, so that nobody learns to rely on reading where they are not in.
    if call.user is not None and user not in backend.rooms.members(name):
        raise RestError(403, "forbidden_op", f"user {user} is not in {name}")
    return name


def _number(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise bad_request(f"{name} is not a number")
    return max(-(2**62), min(2**62, int(value))) if abs(value) < 2**63 else 2**62


def _cursor(start: object) -> int | None:
    """Read a cursor: -1 is the beginning; it comes back as the string it was, or as a number (section 8)."""
    text = str(start if start is not None else "").strip()
    if text in ("", "-1", "0"):
        return None
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) >= 2**63:
        raise bad_request("start is no cursor of ours")
    return int(text)


def _overviews(backend: Backend, conversation: str, messages: list[int]) -> dict[int, dict[str, Any]]:
    """Return what is known of the threads that hang on these messages of a group."""
    if not messages or backend.rooms.group(conversation) is None:
        return {}
    threads = backend.rooms.threads_on(conversation, messages)
    return {int(thread.parent_id): overview(thread, last_message(backend.record.last(thread.id))) for thread in threads}


def _with_overview(meta_bytes: bytes, thread: dict[str, Any]) -> bytes:
    meta = schema.Meta.FromString(meta_bytes)
    body = schema.MessageBody.FromString(meta.payload)
    known = json.loads(body.meta) if body.meta else {}
    body.meta = compact({**known, "thread_overview": thread})
    meta.payload = body.SerializeToString()
    serialized: bytes = meta.SerializeToString()
    return serialized


def readers(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}/acks/{message}: who has read a message."""
    room = call.path["id"]
    thread = backend.rooms.thread(room)
    member_of(backend, call, group_of(backend, call, thread.group_id if thread else room))
    message = _cursor(call.path["message"])
    found = backend.record.readers(message or 0)
    acks = [{"from": user, "timestamp": time, "content": content} for user, time, content in found]
    return {"data": acks, "total": len(acks), "is_last": True}


def recall(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /messages/msg_recall: the app takes a message of a group or thread back."""
    call.only_app()
    if call.body.get("chat_type") != "groupchat":
        raise bad_request("the sandbox recalls for groups and threads only", "unsupported")
    message = _cursor(call.body.get("msg_id")) or 0
    operator = str(call.body.get("from") or "admin").lower()
    why_not = backend.sending.recall_for_app(message, call.text("to"), operator, force=bool(call.body.get("force")))
    if why_not is not None:
        return {"data": {"msgs": [{"msg_id": str(call.body.get("msg_id")), "recalled": why_not}]}}
    return {"data": {"recalled": "yes", "chattype": "groupchat", "from": operator, "to": call.body["to"]}}
