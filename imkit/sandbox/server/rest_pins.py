"""Pinned messages (置顶消息) over REST: all members of a group or thread may see, pin and unpin.

Source: docs/protocol.md#pinned-messages.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.notices import conversation_change
from imkit.sandbox.server.permissions import check_may_read, user_or_app
from imkit.sandbox.server.pins import MAX_PINS
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_message import last_message_as_text
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, message_number, no_such_group, page_of

_PAGE = 10
# The `error_code`s that the official SDKs know.
_NOT_OPEN, _TOO_MANY, _NOT_FOUND = 15002, 91101, 91102


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    path = "/sdk/user/{user}/user_channel/pin"
    return [
        route(backend, "GET", path, pinned),
        route(backend, "POST", path, pin, needs_room=True),
        route(backend, "DELETE", path, unpin, needs_room=True),
    ]


def pinned(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/user/{user}/user_channel/pin: the pinned messages by cursor, the one that was pinned last first."""
    _, conversation = _caller_and_conversation(backend, call, call.query.get("type"), call.query.get("to"))
    pins = backend.pins.of(conversation)
    page, cursor = page_of(pins, [str(pin.message) for pin in pins], call.cursor(), call.limit(default=_PAGE))
    infos = [
        {
            "pin_msg_id": str(pin.message),
            "pin_operator": pin.operator,
            "pin_opt_at": pin.time,
            "message": last_message_as_text(pin.meta),
        }
        for pin in page
    ]
    return {"data": {"msg_infos": infos, "cursor": cursor}}


def pin(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /sdk/user/{user}/user_channel/pin: pins a message, or replaces who has pinned it and when."""
    user, conversation = _caller_and_conversation(backend, call, call.body.get("type"), call.body.get("to"))
    message = _message_id(call)
    stored = backend.record.find(message)
    if stored is None or stored.conversation != conversation:
        raise _not_found("the message does not exist in this conversation")
    others = [pin for pin in backend.pins.of(conversation) if pin.message != message]
    if len(others) >= MAX_PINS:
        raise RestError(403, "pin_message_limit", f"a conversation can have {MAX_PINS} pinned messages", _TOO_MANY)
    _tell(backend, call, conversation, user, message, "pin", backend.pins.pin(message, conversation, user))
    return {"data": {"result": "ok"}}


def unpin(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /sdk/user/{user}/user_channel/pin: unpins a message, whoever has pinned it."""
    user, conversation = _caller_and_conversation(backend, call, call.body.get("type"), call.body.get("to"))
    message = _message_id(call)
    if not backend.pins.unpin(message, conversation):
        raise _not_found("user session pin message not exist")
    _tell(backend, call, conversation, user, message, "pin_delete", backend.store.clock())
    return {"data": {"result": "ok"}}


def _caller_and_conversation(backend: Backend, call: Call, kind: object, conversation: object) -> tuple[str, str]:
    """Return the user of the call, and the group or thread that it names, if the user is in it."""
    user = user_or_app(call, call.path["user"])
    if kind != "groupchat":
        raise RestError(403, "operation_unsupported", "the sandbox pins messages of groups and threads", _NOT_OPEN)
    if not isinstance(conversation, str):
        raise bad_request("to is missing or not a string")
    if backend.groups.group_of_conversation(conversation) is None:
        raise no_such_group(conversation[:80])
    check_may_read(backend.groups, call, user, conversation)
    return user, conversation


def _message_id(call: Call) -> int:
    message = message_number(call.body.get("pin_msg_id"))
    if not message:
        raise bad_request("param pin_msg_id illegal, please check it!", "pin_msg_id_illegal")
    return message


def _not_found(description: str) -> RestError:
    return RestError(403, "pin_message_not_found", description, _NOT_FOUND)


def _tell(backend: Backend, call: Call, conversation: str, user: str, message: int, operation: str, time: int) -> None:
    """Tell the members, and the user's other devices. The device that did it is left out, as the SDKs expect."""
    data = conversation_change(operation, conversation, "groupchat", user, call.resource, time, str(message))
    backend.delivery.tell_members(conversation, user, "conv", data, origin=(user, call.resource))
