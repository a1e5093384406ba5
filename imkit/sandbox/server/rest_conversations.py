"""The list of conversations (会话) over REST, its pins, marks and deletions, and the one-way delete (单向删除).

All of it changes the caller's own view and nobody else's. The caller's other devices are told.

Source: docs/protocol.md#conversations, docs/protocol.md#one-way-delete.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.addresses import conversation_queue, user_queue
from imkit.sandbox.server.conversations import MARKS, ListedConversation
from imkit.sandbox.server.message_record import direct_conversation
from imkit.sandbox.server.notices import conversation_change
from imkit.sandbox.server.permissions import check_may_read, user_or_app
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_message import last_message_as_text
from imkit.sandbox.server.rest_replies import PAGE_LIMIT, Call, RestError, bad_request, limit_reached, message_number
from imkit.sandbox.server.rest_users import find_user
from imkit.sandbox.server.store import ID_BITS
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN

_FORGOTTEN_AT_ONCE = 50  # SDK 4 sends up to 20 ids, SDK 5 has no limit
_MARKED_AT_ONCE = 20
_PINNED = 50
_PAGES = 100_000  # of the list of earlier SDKs: more than any user has
_MARK = re.compile(r"mark_([0-9]{1,2})")


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    of_user = "/sdk/user/{user}"
    roaming = "/sdk/message/roaming"
    return [
        route(backend, "GET", f"{of_user}/user_channels/list", conversations),
        route(backend, "GET", f"{of_user}/user_channels/mark/search", marked_conversations),
        route(backend, "GET", "/users/{user}/user_channels", conversations_of_earlier_sdks),
        route(backend, "GET", "/users/{user}/user_channels/page", conversations_of_earlier_sdks),
        route(backend, "POST", f"{of_user}/user_channel/top", pin, needs_room=True),
        route(backend, "DELETE", f"{of_user}/user_channel/top", unpin, needs_room=True),
        route(backend, "POST", f"{of_user}/user_channels/mark", mark, needs_room=True),
        route(backend, "DELETE", f"{of_user}/user_channels/mark", unmark, needs_room=True),
        route(backend, "DELETE", "/user/{user}/user_channel", delete, needs_room=True),
        route(backend, "DELETE", f"{roaming}/{{kind}}/user/{{user}}", forget_messages, needs_room=True),
        route(backend, "DELETE", f"{roaming}/{{kind}}/user/{{user}}/time", forget_before, needs_room=True),
        route(backend, "POST", f"{roaming}/user/{{user}}/delete/all", forget_everything),
    ]


# ---------------------------------------------------------------- the list


def conversations(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/user/{user}/user_channels/list: the conversations of a user, or the pinned ones, by cursor."""
    return _page(backend, call, pinned=call.query.get("is_top") == "true")


def marked_conversations(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/user/{user}/user_channels/mark/search: the conversations with a mark."""
    return _page(backend, call, mark=_mark(call.query.get("mark")))


def _page(backend: Backend, call: Call, *, pinned: bool = False, mark: int | None = None) -> dict[str, Any]:
    user = user_or_app(call, call.path["user"])
    with_empty = call.query.get("needEmptySession") == "true"
    try:
        page, cursor = backend.conversations.page(
            user, limit=call.limit(), cursor=call.cursor(), pinned=pinned, mark=mark, with_empty=with_empty
        )
    except ValueError:
        raise bad_request("cursor is none of ours") from None
    return {"data": {"channel_infos": [_entity(backend, listed) for listed in page], "cursor": cursor}}


def _entity(backend: Backend, listed: ListedConversation) -> dict[str, Any]:
    return {
        "session_to": listed.name,
        "session_type": "groupchat" if listed.is_group else "chat",
        "unread_num": listed.unread,
        "is_top": bool(listed.pinned_at),
        "update_top_status_time": listed.pinned_at,
        "marks": [f"mark_{number}" for number in listed.marks],
        "meta": _last_message(backend, listed),
    }


def _last_message(backend: Backend, listed: ListedConversation) -> dict[str, Any]:
    """Return the newest message in the form of the list; `{}` if there is none."""
    stored = backend.record.find(listed.last)
    return last_message_as_text(stored.meta if stored else None)


def conversations_of_earlier_sdks(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}/user_channels and …/page?pageNum=&pageSize=: the list in the form of earlier SDKs."""
    user = user_or_app(call, call.path["user"])
    try:
        number, size = int(call.query.get("pageNum") or 1), int(call.query.get("pageSize") or PAGE_LIMIT)
    except ValueError:
        raise bad_request("pageNum or pageSize is not a number") from None
    size = max(1, min(PAGE_LIMIT, size))
    page, _ = backend.conversations.page(user, limit=size, skip=max(0, min(number, _PAGES) - 1) * size)
    app = backend.options.app_key
    infos = [
        {
            "channel_id": f"{app}_{listed.name}@{GROUP_DOMAIN if listed.is_group else USER_DOMAIN}",
            "unread_num": listed.unread,
            "meta": _last_message(backend, listed),
        }
        for listed in page
    ]
    return {"data": {"channel_infos": infos}}


# ---------------------------------------------------------------- one conversation


@dataclass(frozen=True, slots=True)
class _View:
    """The conversation that a call is about.

    Attributes:
        user: whose view it is.
        conversation: its name in the record.
        queue: the queue that brings its messages to the user.
        name: the group, the thread or the other user.
        kind: what notices call it, "chat" or "groupchat".
    """

    user: str
    conversation: str
    queue: str
    name: str
    kind: str


def _view(backend: Backend, call: Call, kind: object, name: object) -> _View:
    """Return the conversation that a call names; refuse the call if the user is not in it."""
    user = user_or_app(call, call.path["user"])
    if not isinstance(name, str) or not name:
        raise bad_request("the conversation is missing or not a string")
    if kind == "chat":
        other = find_user(backend, name).name
        return _View(user, direct_conversation(user, other), user_queue(other), other, "chat")
    if kind not in ("group", "groupchat", "groupChat"):
        raise bad_request("the type of the conversation is neither chat nor groupchat")
    if backend.groups.group_of_conversation(name) is None:
        raise RestError(404, "resource_not_found", f"conversation {name[:80]} does not exist")
    check_may_read(backend.groups, call, user, name)
    return _View(user, name, conversation_queue(name), name, "groupchat")


def _tell(backend: Backend, call: Call, view: _View, operation: str, ext: str = "") -> None:
    """Tell the user's other devices what this one did with a conversation.

    Source: docs/protocol.md#conversations.
    """
    now = backend.store.clock()
    data = conversation_change(operation, view.name, view.kind, view.user, call.resource, now, ext)
    backend.delivery.tell_own_devices(view.user, call.resource, "conv", data)


def pin(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /sdk/user/{user}/user_channel/top: pins a conversation to the top of the list."""
    view = _view(backend, call, call.body.get("type"), call.body.get("to"))
    if backend.conversations.count_pinned_besides(view.user, view.conversation) >= _PINNED:
        raise limit_reached(f"at most {_PINNED} conversations can be pinned")
    at = backend.store.clock()
    backend.conversations.pin(view.user, view.conversation, at)
    _tell(backend, call, view, "top")
    return {"data": {"is_top": True, "update_top_status_time": at}}


def unpin(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /sdk/user/{user}/user_channel/top?type=&to=: ends a pin."""
    view = _view(backend, call, call.query.get("type"), call.query.get("to"))
    backend.conversations.pin(view.user, view.conversation, 0)
    _tell(backend, call, view, "not_top")
    return {"data": {"is_top": False, "update_top_status_time": 0}}


def _mark(name: object) -> int:
    found = _MARK.fullmatch(name) if isinstance(name, str) else None
    if found is None or int(found[1]) >= MARKS:
        raise bad_request(f"mark is none of mark_0 to mark_{MARKS - 1}")
    return int(found[1])


def mark(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /sdk/user/{user}/user_channels/mark: adds a mark to conversations."""
    return _set_mark(backend, call, on=True)


def unmark(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /sdk/user/{user}/user_channels/mark: removes a mark from conversations."""
    return _set_mark(backend, call, on=False)


def _set_mark(backend: Backend, call: Call, *, on: bool) -> dict[str, Any]:
    number, targets = _mark(call.body.get("mark")), call.body.get("targets")
    if not isinstance(targets, list) or not 0 < len(targets) <= _MARKED_AT_ONCE:
        raise bad_request(f"targets must hold 1 to {_MARKED_AT_ONCE} conversations")
    user_or_app(call, call.path["user"])
    ignored = []
    for target in targets:
        target = target if isinstance(target, dict) else {}
        try:
            view = _view(backend, call, target.get("type"), target.get("to"))
        except RestError:
            ignored.append({"to": str(target.get("to"))[:80], "type": str(target.get("type"))[:80]})
            continue
        backend.conversations.set_mark(view.user, view.conversation, number, on=on)
        _tell(backend, call, view, "mark" if on else "mark_delete", f"mark_{number}")
    return {"data": {"ignore": ignored}}


def delete(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /user/{user}/user_channel: takes a conversation from the list, with `delete_roam` its messages too."""
    view = _view(backend, call, call.body.get("type"), call.body.get("channel"))
    upto = backend.store.new_id()
    backend.conversations.delete(view.user, view.conversation, upto)
    if call.body.get("delete_roam") is True:
        backend.conversations.forget_to(view.user, view.conversation, view.queue, upto)
    _tell(backend, call, view, "del")
    return {"data": {"result": "ok"}}


# ---------------------------------------------------------------- one-way delete


def _roaming_view(backend: Backend, call: Call) -> _View:
    kind = call.path["kind"]
    return _view(backend, call, kind, call.query.get("userId" if kind == "chat" else "groupId"))


def _tell_forgotten(backend: Backend, call: Call, view: _View, **what: Any) -> None:
    data = {"chatType": view.kind, "to": view.name, "resource": call.resource or "", **what}
    backend.delivery.tell_own_devices(view.user, call.resource, "roaming_delete", data)


def forget_messages(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /sdk/message/roaming/{kind}/user/{user}?msgIdList=: the user no longer sees these messages.

    Ids of messages that are not in the conversation (any more) are ignored.
    """
    view = _roaming_view(backend, call)
    ids = [message_number(message) for message in call.query.get("msgIdList", "").split(",") if message]
    if not 0 < len(ids) <= _FORGOTTEN_AT_ONCE:
        raise bad_request(f"msgIdList must hold 1 to {_FORGOTTEN_AT_ONCE} ids")
    if not all(ids):
        raise bad_request("msgIdList holds something else than message ids")
    known = backend.conversations.forget(view.user, view.conversation, view.queue, dict.fromkeys(ids))
    if known:
        _tell_forgotten(backend, call, view, msgIdList=[str(message) for message in known])
    return {"data": {"result": "ok"}}


def forget_before(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /sdk/message/roaming/{kind}/user/{user}/time?delTime=: the user no longer sees what was sent earlier.

    What is sent after this call stays, whatever the time is.
    """
    view = _roaming_view(backend, call)
    before = call.query.get("delTime", "")
    if not (before.isascii() and before.isdigit() and len(before) <= 18 and int(before)):
        raise bad_request("delTime is not a time in ms")
    upto = min((int(before) << ID_BITS) - 1, backend.store.new_id())
    backend.conversations.forget_to(view.user, view.conversation, view.queue, upto)
    _tell_forgotten(backend, call, view, deleteTime=int(before))
    return {"data": {"result": "ok"}}


def forget_everything(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /sdk/message/roaming/user/{user}/delete/all: empties the user's list and histories.

    The SDKs know no notice for it, so the user's other devices are not told.
    """
    backend.conversations.forget_all(user_or_app(call, call.path["user"]), backend.store.new_id())
    return {"data": {"result": "ok"}}
