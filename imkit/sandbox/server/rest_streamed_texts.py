"""An app server sends streamed texts (流式消息) over REST.

Source: docs/protocol.md#streamed-texts.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from imkit.errors import InvalidMessage
from imkit.sandbox.server.permissions import app_only
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import Call, bad_request, message_number, no_such_group
from imkit.sandbox.server.rest_users import find_user
from imkit.sandbox.server.streamed_texts import Piece

_KIND_CHARACTERS = 64
_EXT_BYTES = 4096


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/stream_message/user", to_user, needs_room=True),
        route(backend, "POST", "/stream_message/chatgroup", to_group, needs_room=True),
    ]


def to_user(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /stream_message/user: one piece of a text for a user."""
    app_only(call)
    return _send(backend, call, find_user(backend, call.text("to")).name, is_user=True)


def to_group(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /stream_message/chatgroup: one piece of a text for a group, or for a thread."""
    app_only(call)
    return _send(backend, call, call.text("to"), is_user=False)


def _send(backend: Backend, call: Call, to: str, *, is_user: bool) -> dict[str, Any]:
    sender = find_user(backend, call.text("from")).name
    if is_user and to == sender:
        raise bad_request("from and to are the same user")
    target = backend.uplink.target_for_app(sender, to, is_user=is_user)
    if target is None:
        raise no_such_group(to)
    fields = call.body.get("body")
    if not isinstance(fields, dict):
        raise bad_request("body is missing or not an object")
    body = Call(None, {}, {}, fields)
    piece = Piece(
        body.text("msg", default=""),
        _number(fields, "seq", 0),
        is_last=fields.get("finish") is True,
        finish_reason=_number(fields, "finishReason") if fields.get("finishReason") is not None else None,
    )
    if fields.get("msgId") is not None:
        message = message_number(body.text("msgId"))
        if not message:
            raise bad_request("msgId is not the id of a message")
        backend.streamed.go_on(sender, target.conversation, message, piece)
        return {"data": {"msgId": str(message)}}
    ext = call.body.get("ext") or {}
    if not isinstance(ext, dict) or len(str(ext).encode()) > _EXT_BYTES:
        raise bad_request("ext is not an object, or too large")
    kind = body.text("type", default="", longest=_KIND_CHARACTERS)
    try:
        return {"data": {"msgId": str(backend.streamed.begin(sender, target, piece, kind, ext))}}
    except InvalidMessage as error:
        raise bad_request(str(error)) from None


def _number(fields: dict[str, Any], name: str, default: int | None = None) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise bad_request(f"{name} is missing or not a number")
    return value
