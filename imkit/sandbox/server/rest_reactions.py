"""Reactions (表情回复) over REST: add, remove, list.

Each refusal has the text that SDK 4 knows and, as its `error`, the name that SDK 5 knows.

Source: docs/protocol.md#reactions.
"""

from __future__ import annotations

from typing import Any, Literal

from starlette.routing import Route

from imkit.sandbox.server.message_record import StoredMessage
from imkit.sandbox.server.permissions import is_in, user_or_app
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import PAGE_LIMIT, Call, RestError, bad_request, message_number

_CHARACTERS = 128  # of a reaction
_KINDS = 20  # different reactions to one message
_MESSAGES = 20  # ids in one call for lists


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/reaction/user/{user}", add, needs_room=True),
        route(backend, "DELETE", "/reaction/user/{user}", remove, needs_room=True),
        route(backend, "GET", "/reaction/user/{user}", reactions_of_messages),
        route(backend, "GET", "/reaction/user/{user}/detail", users_of_reaction),
    ]


def _illegal() -> RestError:
    """Return the refusal of what this user may not do: there is no such message or reaction for this user."""
    return RestError(400, "reaction_operation_illegal", "the user operation is illegal!")


def _not_joined() -> RestError:
    return RestError(400, "group_not_joined", "The user not in this group!")


def _reaction(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _CHARACTERS:
        raise bad_request(f"message must be a reaction of 1 to {_CHARACTERS} characters")
    return value


def _find(backend: Backend, message_id: object) -> StoredMessage:
    found = backend.record.find(message_number(message_id))
    if found is None:
        raise _illegal()
    return found


def add(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /reaction/user/{user}: for users who are in the message's conversation."""
    user = user_or_app(call, call.path["user"])
    reaction = _reaction(call.body.get("message"))
    message = _find(backend, call.body.get("msgId"))
    group_id = _group_of(backend, message)
    if not is_in(backend.groups, user, message.conversation):
        raise _illegal() if group_id is None else _not_joined()
    present = {each["reaction"] for each in backend.reactions.of([message.id], user).get(message.id, ())}
    if reaction not in present and len(present) >= _KINDS:
        raise RestError(400, "reaction_reach_limit", "The quantity has exceeded the limit!")
    if not backend.reactions.add(message.id, reaction, user):
        raise RestError(400, "reaction_already_operated", "the user is already operation this message")
    _tell(backend, call, message, user, reaction, "create")
    kind = "chat" if group_id is None else "groupchat"
    return {"data": {"msgId": str(message.id), "msgType": kind, "groupId": group_id, "reaction": reaction}}


def remove(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /reaction/user/{user}?msgId=&message=: takes one's own reaction back."""
    user = user_or_app(call, call.path["user"])
    reaction = _reaction(call.query.get("message"))
    message = _find(backend, call.query.get("msgId"))
    is_allowed = is_in(backend.groups, user, message.conversation)
    if not is_allowed or not backend.reactions.remove(message.id, reaction, user):
        raise _illegal()
    _tell(backend, call, message, user, reaction, "delete")
    return {}


def reactions_of_messages(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /reaction/user/{user}?msgIdList=a,b&msgType=&groupId=: a message that the user may not see is left out.

    SDK 4 says "groupchat" where SDK 5 says "group". The group of a thread's message is the thread or its group.
    """
    user = user_or_app(call, call.path["user"])
    wanted = call.query.get("msgIdList", "").split(",")
    if len(wanted) > _MESSAGES:
        raise bad_request(f"msgIdList holds more than {_MESSAGES} ids")
    asked_group = None if call.query.get("msgType") == "chat" else _asked_group(backend, call, user)
    messages = []
    for message_id in wanted:
        message = backend.record.find(message_number(message_id))
        if message is None or not is_in(backend.groups, user, message.conversation):
            continue
        group_id = _group_of(backend, message)
        if asked_group == group_id or (group_id is not None and asked_group == message.conversation):
            messages.append(message.id)
    found = backend.reactions.of(messages, user)
    return {"data": [{"msgId": str(message), "reactionList": found.get(message, [])} for message in messages]}


def _asked_group(backend: Backend, call: Call, user: str) -> str:
    """Return the group or thread that a call names, if the user is in it."""
    asked = call.query.get("groupId", "")
    if asked in ("", "null", "undefined"):
        raise RestError(400, "group_invalid_id", "groupId can not be null!")
    if backend.groups.group_of_conversation(asked) is None or not is_in(backend.groups, user, asked):
        raise _not_joined()
    return asked


def users_of_reaction(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /reaction/user/{user}/detail: a page of the users who have reacted to a message so, the earliest first.

    SDK 4 names the cursor `currentPage` and the page size `pageSize`.
    """
    user = user_or_app(call, call.path["user"])
    reaction = _reaction(call.query.get("message"))
    message = _find(backend, call.query.get("msgId"))
    if not is_in(backend.groups, user, message.conversation):
        raise _illegal()
    listed = backend.reactions.of([message.id], user).get(message.id, ())
    one = next((each for each in listed if each["reaction"] == reaction), None)
    if one is None:
        raise _illegal()
    limit, cursor = call.limit(PAGE_LIMIT, "pageSize"), call.cursor("currentPage")
    after = message_number(cursor) if cursor else -1
    page = backend.reactions.users(message.id, reaction, after=after, limit=limit + 1)
    cursor = str(page[limit - 1][0]) if len(page) > limit else ""
    return {"data": {**one, "userList": [name for _, name in page[:limit]], "cursor": cursor}}


def _group_of(backend: Backend, message: StoredMessage) -> str | None:
    """Return the group of a message, also of one in a thread; None for a one-to-one message."""
    group = backend.groups.group_of_conversation(message.conversation)
    return group.id if group is not None else None


def _tell(
    backend: Backend,
    call: Call,
    message: StoredMessage,
    user: str,
    reaction: str,
    operation: Literal["create", "delete"],
) -> None:
    """Tell everybody in the conversation; also the user who reacted, on all devices: the request names no device."""
    listed = backend.reactions.of([message.id], "").get(message.id, [])
    if all(each["reaction"] != reaction for each in listed):  # the last user has taken it back
        listed.append({"reaction": reaction, "count": 0, "userList": []})
    for each in listed:
        each.pop("state", None)  # the notice is one for all users
        if each["reaction"] == reaction:
            each["op"] = [{"operator": user, "reactionType": operation}]
    backend.delivery.tell_reaction(message, user, listed, origin=(user, call.resource))
