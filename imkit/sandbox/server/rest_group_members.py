"""The members of groups over REST: who is in a group, who manages it, and who is muted.

Source: docs/protocol.md#group-calls, docs/protocol.md#group-notices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.groups import ALL_MUTED, Group
from imkit.sandbox.server.permissions import (
    group_of,
    inviter_of,
    is_public,
    manager_of,
    member_of,
    owner_of,
    user_or_app,
)
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_groups import most_members
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_such_group, page_of
from imkit.sandbox.server.rest_users import find_user
from imkit.wire.enums import MucOperation

_FOR_EVER = 2**53 - 1


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "GET", "/chatgroups/{id}/users", members),
        route(backend, "POST", "/chatgroups/{id}/apply", join, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}/quit", leave),
        route(backend, "POST", "/chatgroups/{id}/invite", invite, needs_room=True),
        route(backend, "POST", "/chatgroups/{id}/users/{user}", add_one, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}/users/{users}", remove),
        route(backend, "GET", "/chatgroups/{id}/mute", muted),
        route(backend, "POST", "/chatgroups/{id}/mute", mute, needs_room=True),
        route(backend, "GET", "/sdk/chatgroups/{id}/mute/{user}", is_muted),
        route(backend, "DELETE", "/chatgroups/{id}/mute/{users}", unmute, needs_room=True),
        route(backend, "POST", "/chatgroups/{id}/ban", mute_all, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}/ban", unmute_all, needs_room=True),
        route(backend, "GET", "/chatgroups/{id}/admin", admins),
        route(backend, "POST", "/chatgroups/{id}/admin", add_admin, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}/admin/{user}", remove_admin, needs_room=True),
    ]


# ---------------------------------------------------------------- members


def members(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}/users: the members, by cursor; the cursor is the last user of the page before."""
    group = group_of(backend.groups, call)
    member_of(backend.groups, call, group)
    affiliated = list(backend.groups.members(group.id).values())
    names = [member.user for member in affiliated]
    page, cursor = page_of(affiliated, names, call.cursor(), call.limit(default=50))
    data = [{member.role: member.user, "joined_time": member.joined} for member in page]
    # SDK 5 learns from the asked page size, which the service repeats, and `count` whether there is more.
    params = {name: [value] for name, value in call.query.items()}
    return {"data": data, "count": len(data), "cursor": cursor, "params": params}


def _add_member(backend: Backend, group: Group, user: str, *, added_by: str | None) -> None:
    """Add a user to a group and tell the members; tell the user too if another one added it."""
    present = backend.groups.members(group.id)
    if user in present:
        failed = "" if added_by is None else "invite users to join group failed: "  # the SDKs look for these words
        raise RestError(403, "group_already_joined", f"{failed}users [{user}] are already in group")
    if len(present) >= most_members(backend, group.settings):
        raise RestError(403, "exceed_limit", "group member list is full!")
    backend.groups.add_member(group.id, user)
    if added_by is not None:
        backend.delivery.tell_conversation_event(MucOperation.DIRECT_JOINED, group, added_by, [user], [user])
    others = [other for other in backend.groups.members(group.id) if other != user]
    backend.delivery.tell_conversation_event(MucOperation.PRESENCE, group, user, [user], others)


def join(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/apply: the user is a member at once, without an approval. A private group is by invitation.

    Source: docs/protocol.md#group-calls.
    """
    group = group_of(backend.groups, call)
    if call.user is not None and not is_public(group) and call.user not in backend.groups.members(group.id):
        raise no_such_group(group.id)
    user = user_or_app(call, call.user or call.text("username"))
    _add_member(backend, group, user, added_by=None)
    backend.delivery.tell_other_devices(MucOperation.JOIN, group, user, call.resource)
    return {"data": {"result": True, "action": "apply", "user": user, "id": group.id, "groupid": group.id}}


def invite(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/invite: the invited users are members at once, without accepting."""
    group = group_of(backend.groups, call)
    operator = inviter_of(backend.groups, call, group)
    users = [find_user(backend, user).name for user in call.names("usernames", most=60)]
    for user in users:
        _add_member(backend, group, user, added_by=operator)
    return {"data": [{"result": True, "action": "invite", "user": user, "groupid": group.id} for user in users]}


def add_one(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/users/{user}: for the group's owner, its admins and the app."""
    group = group_of(backend.groups, call)
    operator = manager_of(backend.groups, call, group)
    user = find_user(backend, call.path["user"]).name
    _add_member(backend, group, user, added_by=operator)
    return {"data": {"result": True, "action": "add_member", "user": user, "groupid": group.id}}


def _remove_member(backend: Backend, group: Group, user: str) -> None:
    """Remove a user from a group and from its threads."""
    if user == group.owner:
        raise RestError(403, "forbidden_op", "owner can not quit group")
    _check_member(backend, group, user)
    backend.groups.remove_member(group.id, user)


def leave(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/quit: the caller leaves the group."""
    group = group_of(backend.groups, call)
    user = user_or_app(call, call.user or "")
    _remove_member(backend, group, user)
    backend.delivery.tell_conversation_event(
        MucOperation.ABSENCE, group, user, [user], backend.groups.members(group.id)
    )
    backend.delivery.tell_other_devices(MucOperation.LEAVE, group, user, call.resource)
    return {"data": {"result": True, "action": "quit", "user": user, "groupid": group.id}}


def remove(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/users/{users}: one user, or several with commas between them."""
    group = group_of(backend.groups, call)
    operator = manager_of(backend.groups, call, group)
    users = [user.lower() for user in call.path["users"].split(",") if user]
    for user in users:
        _remove_member(backend, group, user)
        backend.delivery.tell_conversation_event(MucOperation.KICK, group, operator, [user], [user])
        others = [other for other in backend.groups.members(group.id) if other != operator]
        backend.delivery.tell_conversation_event(MucOperation.ABSENCE, group, user, [user], others)
    answers = [
        {"result": True, "action": "remove_member", "reason": "", "user": user, "groupid": group.id} for user in users
    ]
    return {"data": answers[0] if len(answers) == 1 else answers}


# ---------------------------------------------------------------- roles and mutes


def _check_member(backend: Backend, group: Group, name: str) -> str:
    """Return the user id of a member, lower-cased; refuse a user who is not in the group."""
    user = name.lower()
    if user not in backend.groups.members(group.id):
        raise bad_request(f"users [{user}] are not members of this group", "group_not_joined")
    return user


def mute(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/mute: the users' sends to the group and its threads then fail with status 15."""
    group = group_of(backend.groups, call)
    operator = manager_of(backend.groups, call, group)
    duration = call.body.get("mute_duration", -1)
    if not isinstance(duration, int | float) or isinstance(duration, bool):
        raise bad_request("mute_duration is not a number of milliseconds")
    until = _FOR_EVER if duration < 0 else min(_FOR_EVER, backend.store.clock() + int(duration))
    users = [_check_member(backend, group, name) for name in call.names("usernames", most=60)]
    for user in users:
        backend.groups.mute(group.id, user, until)
    _tell_mutes(backend, group, MucOperation.ADD_MUTE, operator, users)
    return {"data": [{"result": True, "expire": until, "user": user} for user in users]}


def _tell_mutes(backend: Backend, group: Group, operation: MucOperation, operator: str, users: list[str]) -> None:
    """Tell each of the users, and the group's owner and admins, of the mute; but not the one who did it.

    There is a notice for each user, since the SDKs read only the first of a notice.
    """
    managers = {member.user for member in backend.groups.members(group.id).values() if member.role != "member"}
    for user in users:
        receivers = sorted((managers | {user}) - {operator})
        backend.delivery.tell_conversation_event(operation, group, operator, [user], receivers)


def muted(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}/mute: the members who may not send, for the group's owner and its admins."""
    group = group_of(backend.groups, call)
    manager_of(backend.groups, call, group)
    now = backend.store.clock()
    members = [member for member in backend.groups.members(group.id).values() if member.muted_until > now]
    return {"data": [{"user": member.user, "expire": member.muted_until} for member in members]}


def is_muted(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/chatgroups/{id}/mute/{user}: whether a user is muted, for that user alone and the app."""
    group = group_of(backend.groups, call)
    user = user_or_app(call, call.path["user"])
    member_of(backend.groups, call, group)
    return {"data": backend.groups.muted(user, group.id)}


def unmute(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/mute/{users}: ends the mute of one user, or of several with commas between them."""
    group = group_of(backend.groups, call)
    operator = manager_of(backend.groups, call, group)
    users = [_check_member(backend, group, name) for name in call.path["users"].split(",") if name]
    for user in users:
        backend.groups.mute(group.id, user, 0)
    _tell_mutes(backend, group, MucOperation.REMOVE_MUTE, operator, users)
    return {"data": [{"result": True, "user": user} for user in users]}


def mute_all(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/ban: then only the owner and the admins may send to the group and its threads."""
    return _set_all_muted(backend, call, True)


def unmute_all(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/ban: ends the mute of all. Users who are muted by name stay muted."""
    return _set_all_muted(backend, call, False)


def _set_all_muted(backend: Backend, call: Call, muted: bool) -> dict[str, Any]:
    group = group_of(backend.groups, call)
    operator = manager_of(backend.groups, call, group)
    if muted != group.all_muted:
        backend.groups.change_group(replace(group, settings={**group.settings, ALL_MUTED: muted}))
        operation = MucOperation.BAN_GROUP if muted else MucOperation.REMOVE_BAN_GROUP
        others = [user for user in backend.groups.members(group.id) if user != operator]
        backend.delivery.tell_conversation_event(operation, group, operator, others, others)
    return {"data": {"mute": muted}}


def admins(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}/admin: for members."""
    group = group_of(backend.groups, call)
    member_of(backend.groups, call, group)
    return {"data": [member.user for member in backend.groups.members(group.id).values() if member.role == "admin"]}


def add_admin(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/admin: makes a member an admin."""
    group = group_of(backend.groups, call)
    operator = owner_of(call, group)
    user = _check_member(backend, group, call.text("newadmin"))
    if user == group.owner:
        raise bad_request("the owner is no admin")
    _give_role(backend, group, user, "admin", operator)
    return {"data": {"result": "success", "newadmin": user}}


def remove_admin(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/admin/{user}: makes an admin a plain member."""
    group = group_of(backend.groups, call)
    operator = owner_of(call, group)
    user = _check_member(backend, group, call.path["user"])
    if user != group.owner:
        _give_role(backend, group, user, "member", operator)
    return {"data": {"result": "success", "oldadmin": user}}


def _give_role(backend: Backend, group: Group, user: str, role: str, operator: str) -> None:
    """Make a member an admin, or an admin a member, and tell the others; do nothing if the role is the same."""
    members = backend.groups.members(group.id)
    if members[user].role == role:
        return
    backend.groups.set_role(group.id, user, role)
    operation = MucOperation.ADD_ADMIN if role == "admin" else MucOperation.REMOVE_ADMIN
    others = [member for member in members if member != operator]
    backend.delivery.tell_conversation_event(operation, group, operator, [user], others)
