"""Read receipts (已读回执) over REST: which users have read a message, and how many.

Source: docs/protocol.md#read-receipts.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.permissions import check_may_read, group_of
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, message_number

_READERS = 500  # in one page: what SDK 4 asks for, which reads the first page alone
_MESSAGES = 50  # in one call for counts


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/chatgroups/{id}/acks/batch", counts),
        route(backend, "GET", "/chatgroups/{id}/acks/{message}", readers),
    ]


def _conversation(backend: Backend, call: Call) -> str:
    """Return the group or thread that the path names, if the caller is in it."""
    conversation = call.path["id"]
    if backend.groups.thread(conversation) is None:
        group_of(backend.groups, call, conversation)
    check_may_read(backend.groups, call, call.operator, conversation)
    return conversation


def readers(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}/acks/{message}?limit=&key=: a page of the users who have read a message."""
    conversation = _conversation(backend, call)
    message = backend.record.find(message_number(call.path["message"]))
    if message is None or message.conversation != conversation:
        # The name that SDK 5 knows; SDK 4 takes a text with "does not exist" for a missing group.
        raise RestError(404, "message_not_found", f"there is no such message in {conversation}")
    limit = call.limit(most=_READERS)
    page = backend.record.read_acks(message.id, after=_after(call.cursor("key")), limit=limit + 1)
    shown, is_last = page[:limit], len(page) <= limit
    acks = {
        "userlist": [{"username": user, "timestamp": time, "ack_content": content} for user, time, content in shown],
        "total": backend.record.count_read_acks(message.id),
        "is_last": is_last,
        "next_key": "" if is_last else f"{shown[-1][1]}-{shown[-1][0]}",
    }
    return {"data": {"ackmid": str(message.id), "group_ack": acks}}


def _after(key: str) -> tuple[int, str]:
    if not key:
        return 0, ""
    time, _, user = key.partition("-")
    if not re.fullmatch("[0-9]{1,15}", time):
        raise bad_request("key is no key of ours")
    return int(time), user


def counts(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/acks/batch: how many users have read each of up to fifty messages."""
    conversation = _conversation(backend, call)
    found = [backend.record.find(message_number(each)) for each in call.names("messageIds", most=_MESSAGES)]
    messages = [message.id for message in found if message is not None and message.conversation == conversation]
    return {"data": [{"ackmid": str(each), "total": backend.record.count_read_acks(each)} for each in messages]}
