"""Threads (子区) over REST.

Source: docs/protocol.md#thread-calls, docs/protocol.md#thread-notices.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.groups import Thread
from imkit.sandbox.server.permissions import (
    app_only,
    check_may_rename,
    check_member,
    group_of,
    manager_of,
    member_of,
    thread_of,
    user_or_app,
)
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_message import last_message
from imkit.sandbox.server.rest_replies import (
    ALREADY_IN,
    THREAD_EXISTS,
    Call,
    RestError,
    bad_request,
    no_such_thread,
    page_of,
)
from imkit.sandbox.server.rest_users import find_user
from imkit.wire.enums import MucOperation

# Source: docs/protocol.md#limits.
_NAME_LENGTH = 64
_LAST_MESSAGES = 20  # ids in one call for last messages
_MEMBERS_AT_ONCE = 10  # users in one join or removal by the app


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module. "/thread/message" must come before "/thread/{id}", which matches it too."""
    return [
        route(backend, "POST", "/thread/message", last_messages),
        route(backend, "POST", "/thread", create),
        route(backend, "GET", "/thread", all_threads),
        route(backend, "GET", "/thread/{id}", detail),
        route(backend, "PUT", "/thread/{id}", rename, needs_room=True),
        route(backend, "DELETE", "/thread/{id}", destroy),
        route(backend, "POST", "/thread/{id}/user/{user}/join", join, needs_room=True),
        route(backend, "DELETE", "/thread/{id}/user/{user}/quit", leave),
        route(backend, "GET", "/thread/{id}/users", members),
        route(backend, "POST", "/thread/{id}/users", add_many, needs_room=True),
        route(backend, "DELETE", "/thread/{id}/users/{user}", remove),
        route(backend, "DELETE", "/thread/{id}/users", remove_many),
        route(backend, "DELETE", "/threads/{id}/users", remove_many),
        route(backend, "GET", "/threads/user/{user}", joined),
        route(backend, "GET", "/threads/chatgroups/{group}/user/{user}", joined),
        route(backend, "GET", "/threads/chatgroups/{group}", of_group),
    ]


def thread_entity(thread: Thread) -> dict[str, Any]:
    """Return the REST form of a thread. Ids are strings, because JavaScript numbers cannot hold them."""
    return {
        "id": thread.id,
        "name": thread.name,
        "owner": thread.owner,
        "msgId": thread.parent_id,
        "groupId": thread.group_id,
        "created": thread.created,
    }


def _detail(backend: Backend, thread: Thread) -> dict[str, Any]:
    return {**thread_entity(thread), "affiliations_count": len(backend.groups.members(thread.id))}


def _full_detail(backend: Backend, thread: Thread) -> dict[str, Any]:
    """Return what SDK 5 reads as well."""
    last = last_message(backend.record.last(thread.id))
    return {**_detail(backend, thread), "message_count": thread.messages, "last_message": last}


# ---------------------------------------------------------------- the thread


def create(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /thread: creates a thread on a message of a group; a message has at most one."""
    group = group_of(backend.groups, call, call.text("group_id"))
    member_of(backend.groups, call, group)
    owner = user_or_app(call, call.text("owner", default=call.user or ""))
    check_member(backend.groups, group.id, owner)
    name = call.text("name", longest=_NAME_LENGTH)
    parent_id = call.text("msg_id")
    parent = backend.record.find(int(parent_id)) if re.fullmatch("[0-9]{1,20}", parent_id) else None
    if backend.groups.thread_on(group.id, parent_id) is not None:
        raise RestError(400, "thread_exist", "this message already has a thread", THREAD_EXISTS)
    if parent is None or parent.conversation != group.id:
        raise RestError(404, "resource_not_found", f"message {parent_id} does not exist in group {group.id}")
    backend.quotas.check_thread(group.id)
    thread = backend.groups.create_thread(group.id, parent_id, owner, name)
    backend.delivery.tell_thread_changed(thread, "create", owner)
    backend.delivery.tell_other_devices(MucOperation.THREAD_CREATE, thread, owner, call.resource)
    return {"data": {"thread_id": thread.id}}


def detail(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /thread/{id}: for any member of the group. The service's documents differ on this.

    Source: docs/protocol.md#thread-rights.
    """
    return {"data": _full_detail(backend, thread_of(backend.groups, call))}


def rename(backend: Backend, call: Call) -> dict[str, Any]:
    """PUT /thread/{id}: for the thread's creator, the group's owner and its admins."""
    thread = thread_of(backend.groups, call)
    check_may_rename(backend.groups, call, thread)
    name = call.text("name", longest=_NAME_LENGTH)
    backend.groups.rename_thread(thread, name)
    backend.delivery.tell_thread_changed(thread, "update", call.operator)
    backend.delivery.tell_other_devices(MucOperation.THREAD_UPDATE, thread, call.operator, call.resource)
    return {"data": {"name": name}}


def destroy(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /thread/{id}: for the group's owner and its admins."""
    thread = thread_of(backend.groups, call)
    operator = manager_of(backend.groups, call, group_of(backend.groups, call, thread.group_id))
    backend.delivery.tell_thread_changed(thread, "delete", operator)
    backend.groups.destroy_thread(thread.id)
    backend.delivery.tell_other_devices(MucOperation.THREAD_DESTROY, thread, operator, call.resource)
    return {"data": {"status": "ok"}}


# ---------------------------------------------------------------- members


def join(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /thread/{id}/user/{user}/join: for any member of the group."""
    user = user_or_app(call, call.path["user"])
    thread = thread_of(backend.groups, call)
    if user in backend.groups.members(thread.id):
        raise RestError(403, "forbidden_op", "user already in thread", ALREADY_IN)
    backend.groups.add_member(thread.id, user)
    backend.delivery.tell_other_devices(MucOperation.THREAD_JOIN, thread, user, call.resource)
    return {"data": {"status": "ok", "detail": _detail(backend, thread)}}


def leave(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /thread/{id}/user/{user}/quit."""
    user = user_or_app(call, call.path["user"])
    thread = thread_of(backend.groups, call)
    if user not in backend.groups.members(thread.id):
        raise RestError(403, "forbidden_op", "user is not in the thread")
    backend.groups.remove_member(thread.id, user)
    backend.delivery.tell_other_devices(MucOperation.THREAD_LEAVE, thread, user, call.resource)
    return {"data": {"status": "ok"}}


def members(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /thread/{id}/users, by cursor.

    SDK 5 takes a list of `entities` for the members, even an empty one; so there is none.
    """
    thread = thread_of(backend.groups, call)
    names = list(backend.groups.members(thread.id))
    page, cursor = page_of(names, names, call.cursor(), call.limit())
    return {"data": {"affiliations": page}, "properties": {"cursor": cursor}, "entities": None}


def _remove(backend: Backend, call: Call, thread: Thread, user: str) -> bool:
    """Remove a user from a thread; return False if the user was not in it."""
    operator = manager_of(backend.groups, call, group_of(backend.groups, call, thread.group_id))
    if user not in backend.groups.members(thread.id):
        return False
    backend.groups.remove_member(thread.id, user)
    backend.delivery.tell_conversation_event(MucOperation.THREAD_KICK, thread, operator, [user], [user])
    if user != operator:
        backend.delivery.tell_other_devices(MucOperation.THREAD_KICK, thread, operator, call.resource, subject=user)
    return True


def remove(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /thread/{id}/users/{user}: for the group's owner and its admins."""
    thread = thread_of(backend.groups, call)
    user = call.path["user"].lower()
    if not _remove(backend, call, thread, user):
        raise RestError(403, "forbidden_op", f"user {user} is not in the thread")
    return {"data": {"result": True, "user": user}}


def add_many(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /thread/{id}/users: for the app, up to ten users."""
    app_only(call)
    thread = thread_of(backend.groups, call)
    users = [find_user(backend, name).name for name in call.names("usernames", most=_MEMBERS_AT_ONCE)]
    for user in users:
        check_member(backend.groups, thread.group_id, user)
    for user in users:
        backend.groups.add_member(thread.id, user)
    return {"data": {"status": "ok"}}


def remove_many(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /threads/{id}/users: for the app, up to ten users."""
    app_only(call)
    thread = thread_of(backend.groups, call)
    users = [name.lower() for name in call.names("usernames", most=_MEMBERS_AT_ONCE)]
    return {"entities": [{"user": user, "result": _remove(backend, call, thread, user)} for user in users]}


# ---------------------------------------------------------------- lists


def _page(backend: Backend, call: Call, *, user: str | None, group_id: str | None, oldest_first: bool = False) -> Any:
    limit = call.limit()
    page = backend.groups.thread_page(
        user=user, group_id=group_id, after=call.cursor(), limit=limit + 1, oldest_first=oldest_first
    )
    cursor = page[limit - 1].id if len(page) > limit else ""
    return page[:limit], {"cursor": cursor}


def joined(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /threads/user/{user} and GET /threads/chatgroups/{group}/user/{user}: the threads that a user is in."""
    user = user_or_app(call, call.path["user"])
    group_id = call.path.get("group")
    if group_id is not None:
        member_of(backend.groups, call, group_of(backend.groups, call, group_id))
    page, properties = _page(backend, call, user=user, group_id=group_id)
    return {"entities": [thread_entity(thread) for thread in page], "properties": properties}


def of_group(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /threads/chatgroups/{group}: every thread of a group, for its members."""
    group = group_of(backend.groups, call, call.path["group"])
    member_of(backend.groups, call, group)
    page, properties = _page(backend, call, user=None, group_id=group.id)
    return {"entities": [thread_entity(thread) for thread in page], "properties": properties}


def all_threads(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /thread: every thread of the app, for the app."""
    app_only(call)
    oldest_first = call.query.get("sort", "asc") == "asc"
    page, properties = _page(backend, call, user=None, group_id=None, oldest_first=oldest_first)
    return {"entities": [{"id": thread.id} for thread in page], "properties": properties}


def last_messages(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /thread/message: the last message of up to twenty threads."""
    wanted = call.names("threadIds")
    if not wanted or len(wanted) > _LAST_MESSAGES:
        raise bad_request(f"threadIds must hold 1 to {_LAST_MESSAGES} ids")
    entities = []
    for thread_id in wanted:
        thread = backend.groups.thread(thread_id)
        if thread is None:
            raise no_such_thread()
        member_of(backend.groups, call, group_of(backend.groups, call, thread.group_id))
        last = last_message(backend.record.last(thread.id, call.user))
        entities.append({"thread_id": thread.id, "last_message": last})
    return {"entities": entities}
