"""Groups over REST, as far as threads need them.

Source: docs/protocol.md#group-calls, docs/protocol.md#group-notices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.groups import Group, Member
from imkit.sandbox.server.permissions import (
    app_only,
    group_of,
    inviter_of,
    is_public,
    manager_of,
    member_of,
    owner_of,
    user_or_app,
)
from imkit.sandbox.server.rest import Backend, find_user, route
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_such_group, page_of
from imkit.wire.enums import MucOperation

_FLAGS = ("public", "approval", "membersonly", "allowinvites", "invite_need_confirm")
_TEXTS = ("custom", "avatar")
_USUAL_MEMBERS = 200  # the most members of a group that says nothing
_FOR_EVER = 2**53 - 1


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/chatgroups", create),
        route(backend, "GET", "/chatgroups/{id}", show),
        route(backend, "PUT", "/chatgroups/{id}", change, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}", destroy),
        # Before "/chatgroups/{id}/…": SDK 4 asks here for a user's groups with roles or sizes, and no group is "user".
        route(backend, "GET", "/chatgroups/user/{user}", joined_with_roles),
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
        route(backend, "GET", "/chatgroups/{id}/admin", admins),
        route(backend, "POST", "/chatgroups/{id}/admin", add_admin, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}/admin/{user}", remove_admin, needs_room=True),
        route(backend, "POST", "/chatgroups/{id}/disable", disable),
        route(backend, "POST", "/chatgroups/{id}/enable", enable),
        route(backend, "GET", "/users/{user}/joined_chatgroups", joined),
    ]


# ---------------------------------------------------------------- the group


def create(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups: creates a group with its first members."""
    limits = backend.options.limits
    owner = find_user(backend, user_or_app(call, call.text("owner", default=call.user or ""))).name
    name = call.text("groupname", default=call.body.get("name") or "", longest=limits.name_characters)
    description_field = "desc" if call.body.get("desc") else "description"
    description = call.text(description_field, default="", longest=limits.description_characters)
    settings = _settings(backend, call)
    most = _most_members(backend, settings)
    named = [find_user(backend, user).name for user in dict.fromkeys(call.names("members", most=most))]
    backend.quotas.check_group(owner)
    group = backend.groups.create_group(owner, name, members=named, description=description, settings=settings)
    backend.delivery.tell_other_devices(MucOperation.CREATE, group, owner, call.resource)
    invited = [user for user in backend.groups.members(group.id) if user != owner]
    for user in invited:
        backend.delivery.tell_conversation_event(MucOperation.DIRECT_JOINED, group, owner, [user], [user])
    return {"data": {"groupid": group.id}}


def _settings(backend: Backend, call: Call) -> dict[str, Any]:
    """Return the settings that a call names; refuse those that are not of their type."""
    settings: dict[str, Any] = {}
    for name in (*_FLAGS, *_TEXTS, "maxusers"):
        value = call.body.get(name)
        if value is None:
            continue
        if name in _TEXTS:
            value = call.text(name, longest=backend.options.limits.custom_bytes)
        elif name in _FLAGS:
            value = bool(value)
        elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise bad_request("maxusers is not a number of members")
        settings[name] = value
    return settings


def _most_members(backend: Backend, settings: dict[str, Any]) -> int:
    """Return how many members a group may have, whatever is stored as its `maxusers`."""
    wanted = settings.get("maxusers")
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        wanted = _USUAL_MEMBERS
    return min(wanted, backend.options.limits.members_per_group)


def group_entity(backend: Backend, group: Group) -> dict[str, Any]:
    """Return the REST form of a group, for its members."""
    affiliated = backend.groups.members(group.id)
    return {
        **_short_entity(backend, group),
        "custom": group.settings.get("custom", ""),
        "avatar": group.settings.get("avatar", ""),
        "affiliations": [{_shown_role(member): member.user} for member in affiliated.values()],
    }


def _detail(backend: Backend, call: Call, group: Group) -> dict[str, Any]:
    """Return the form of a group for one caller: with its role, and if asked with the times of joining.

    SDK 5 takes the first `joined_time` for its own user's, so the caller comes first.
    """
    entity = group_entity(backend, group)
    affiliated = backend.groups.members(group.id)
    own = affiliated.get(call.user or "")
    if own is not None:
        entity["permission"] = own.role
    if call.query.get("joined_time") == "true":
        others = [member for member in affiliated.values() if member is not own]
        entity["affiliations"] = [
            {_shown_role(member): member.user, "joined_time": member.joined}
            for member in ([own] if own is not None else []) + others
        ]
    return entity


def _short_entity(backend: Backend, group: Group) -> dict[str, Any]:
    """Return what everybody may know of a public group: enough to decide whether to join."""
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "membersonly": bool(group.settings.get("membersonly", group.settings.get("approval", False))),
        "allowinvites": bool(group.settings.get("allowinvites", False)),
        "invite_need_confirm": False,  # invited users are members at once
        "maxusers": _most_members(backend, group.settings),
        "owner": group.owner,
        "created": group.created,
        "affiliations_count": len(backend.groups.members(group.id)),
        "public": is_public(group),
        "disabled": group.disabled,
    }


def _shown_role(member: Member) -> str:
    # Here an admin is shown as a member; the page of members (`members`) says "admin".
    return "owner" if member.role == "owner" else "member"


def show(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}: one group, or several ids with commas between them.

    Members and the app get everything. Others get the short form of a public group; a private one does not exist for
    them.
    """
    wanted = list(dict.fromkeys(call.path["id"].split(",")))
    if len(wanted) > backend.options.limits.groups_in_one_call:
        raise bad_request(f"more than {backend.options.limits.groups_in_one_call} groups at once")
    shown = []
    for group_id in wanted:
        group = backend.groups.group(group_id)
        if group is None:
            continue
        if call.user is None or call.user in backend.groups.members(group.id):
            shown.append(_detail(backend, call, group))
        elif is_public(group):
            shown.append(_short_entity(backend, group))
    if not shown:
        raise no_such_group(wanted[0])
    return {"data": shown}


def change(backend: Backend, call: Call) -> dict[str, Any]:
    """PUT /chatgroups/{id}: changes name, description and settings, or the owner."""
    group = group_of(backend.groups, call)
    new_owner = call.body.get("newowner")
    operator = owner_of(call, group, "forbidden_op") if new_owner else manager_of(backend.groups, call, group)
    limits = backend.options.limits
    name = call.text("groupname", default=group.name, longest=limits.name_characters)
    description = call.text("description", default=group.description, longest=limits.description_characters)
    settings = group.settings | _settings(backend, call)
    owner = group.owner
    if new_owner:
        owner = call.text("newowner").lower()
        if owner not in backend.groups.members(group.id):
            raise bad_request(f"{owner} is not a member")
        backend.groups.set_role(group.id, group.owner, "member")
        backend.groups.set_role(group.id, owner, "owner")
    changed = replace(group, name=name, description=description, settings=settings, owner=owner)
    backend.groups.change_group(changed)
    others = [user for user in backend.groups.members(group.id) if user != operator]
    if owner != group.owner:
        backend.delivery.tell_conversation_event(MucOperation.ASSIGN_OWNER, changed, group.owner, [owner], others)
    if set(call.body) != {"newowner"}:
        backend.delivery.tell_conversation_event(MucOperation.UPDATE, changed, operator, others, others)
    return {"data": {"groupname": True, "description": True, "newowner": owner != group.owner}}


def destroy(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}: deletes a group with its threads."""
    group = group_of(backend.groups, call)
    operator = owner_of(call, group)
    others = [user for user in backend.groups.members(group.id) if user != operator]
    for thread in backend.groups.threads_of(group.id):
        backend.delivery.tell_thread_changed(thread, "delete", operator)
    backend.groups.destroy_group(group.id)
    backend.delivery.tell_conversation_event(MucOperation.DESTROY, group, operator, others, others)
    backend.delivery.tell_other_devices(MucOperation.DESTROY, group, operator, call.resource)
    return {"data": {"success": True, "groupid": group.id}}


def disable(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/disable: after this nobody may send in the group or its threads."""
    return _set_disabled(backend, call, True)


def enable(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/enable: ends a `disable`."""
    return _set_disabled(backend, call, False)


def _set_disabled(backend: Backend, call: Call, disabled: bool) -> dict[str, Any]:
    app_only(call)
    group = group_of(backend.groups, call)
    backend.groups.change_group(replace(group, disabled=disabled))
    return {"data": {"disabled": disabled}}


def joined(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}/joined_chatgroups: the groups that a user is in, by page number."""
    user = user_or_app(call, call.path["user"])
    data, total = _joined_page(backend, call, user)
    return {"data": data, "count": len(data), "total": total}


def joined_with_roles(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/user/{user}: the same groups, where SDK 4 looks for roles and numbers of members."""
    page, total = _joined_page(backend, call, user_or_app(call, call.path["user"]))
    entities = [{**entity, "groupId": entity["id"]} for entity in page]
    return {"entities": entities, "count": len(entities), "total": total}


def _joined_page(backend: Backend, call: Call, user: str) -> tuple[list[dict[str, Any]], int]:
    """Return one page of a user's groups, with the user's role in each, and the number of all."""
    groups = backend.groups.groups_of(user)
    try:
        number = max(0, int(call.query.get("pagenum") or 0))
    except ValueError:
        raise bad_request("pagenum is not a number") from None
    size = call.limit()
    data = []
    for group in groups[number * size : (number + 1) * size]:
        entity = group_entity(backend, group)
        del entity["affiliations"]
        member = backend.groups.members(group.id)[user]
        data.append({**entity, "groupid": group.id, "groupname": group.name, "permission": member.role})
    return data, len(groups)


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
    if len(present) >= _most_members(backend, group.settings):
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
