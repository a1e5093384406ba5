"""Groups over REST, as far as threads need them: fact sheet section 10, group events of section 7."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from imkit.sandbox.server import notices
from imkit.sandbox.server.groups import Group, Member
from imkit.sandbox.server.rest import Backend, find_or_make, route
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_permission, no_such_group

_SETTINGS = ("public", "approval", "membersonly", "allowinvites", "invite_need_confirm", "maxusers", "custom", "avatar")
_MAX_MEMBERS = 3000
_FOR_EVER = 2**53 - 1


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this room."""
    return [
        route(backend, "POST", "/chatgroups", create),
        route(backend, "GET", "/chatgroups/{id}", show),
        route(backend, "PUT", "/chatgroups/{id}", change),
        route(backend, "DELETE", "/chatgroups/{id}", destroy),
        route(backend, "GET", "/chatgroups/{id}/users", members),
        route(backend, "POST", "/chatgroups/{id}/apply", join),
        route(backend, "DELETE", "/chatgroups/{id}/quit", leave),
        route(backend, "POST", "/chatgroups/{id}/invite", invite),
        route(backend, "POST", "/chatgroups/{id}/users/{user}", add_one),
        route(backend, "DELETE", "/chatgroups/{id}/users/{users}", remove),
        route(backend, "POST", "/chatgroups/{id}/mute", mute),
        route(backend, "DELETE", "/chatgroups/{id}/mute/{user}", unmute),
        route(backend, "POST", "/chatgroups/{id}/admin", add_admin),
        route(backend, "DELETE", "/chatgroups/{id}/admin/{user}", remove_admin),
        route(backend, "POST", "/chatgroups/{id}/disable", disable),
        route(backend, "POST", "/chatgroups/{id}/enable", enable),
        route(backend, "GET", "/users/{user}/joined_chatgroups", joined),
    ]


# ---------------------------------------------------------------- who may


def group_of(backend: Backend, call: Call, group_id: str | None = None) -> Group:
    """Return the group a call is about."""
    wanted = call.path["id"] if group_id is None else group_id
    group = backend.rooms.group(wanted)
    if group is None:
        raise no_such_group(wanted)
    return group


def member_of(backend: Backend, call: Call, group: Group) -> str:
    """Return who acts, if a member of the group (or the app)."""
    if call.user is not None and call.user not in backend.rooms.members(group.id):
        raise no_permission(f"user {call.user} is not a member of group {group.id}")
    return call.operator


def manager_of(backend: Backend, call: Call, group: Group) -> str:
    """Return who acts, if the group's owner or an admin (or the app)."""
    if call.user is not None and not backend.rooms.manages(call.user, group.id):
        raise no_permission("only the group's owner and admins may")
    return call.operator


def owner_of(backend: Backend, call: Call, group: Group) -> str:
    """Return who acts, if the group's owner (or the app)."""
    if call.user is not None and call.user != group.owner:
        raise RestError(403, "forbidden_op", "only the group's owner may")
    return call.operator


# ---------------------------------------------------------------- the group


def create(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups."""
    owner = find_or_make(backend, call.only(call.text("owner", default=call.user or "")), make=False).name
    name = call.text("groupname", default=call.body.get("name") or "", longest=128)
    named = [find_or_make(backend, user, make=False).name for user in call.names("members")]
    settings = {key: call.body[key] for key in _SETTINGS if key in call.body}
    description = call.body.get("desc") or call.body.get("description") or ""
    group = backend.rooms.create_group(owner, name, members=named, description=str(description), settings=settings)
    invited = [user for user in backend.rooms.members(group.id) if user != owner]
    for user in invited:
        backend.delivery.room_event(notices.DIRECT_JOINED, group.id, owner, [user], [user])
    return {"data": {"groupid": group.id}}


def group_entity(backend: Backend, group: Group) -> dict[str, Any]:
    """Return a group as REST shows it."""
    people = backend.rooms.members(group.id)
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "membersonly": bool(group.settings.get("membersonly", group.settings.get("approval", False))),
        "allowinvites": bool(group.settings.get("allowinvites", False)),
        "maxusers": group.settings.get("maxusers", 200),
        "owner": group.owner,
        "created": group.created,
        "affiliations_count": len(people),
        "public": bool(group.settings.get("public", True)),
        "disabled": group.disabled,
        "custom": group.settings.get("custom", ""),
        "affiliations": [{_shown_role(member): member.user} for member in people.values()],
    }


def _shown_role(member: Member) -> str:
    # In the list an admin is a member; the page of members says "admin" (section 10).
    return "owner" if member.role == "owner" else "member"


def show(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}: one, or several with commas."""
    wanted = call.path["id"].split(",")
    found = [group for group_id in wanted if (group := backend.rooms.group(group_id))]
    if not found:
        raise no_such_group(wanted[0])
    return {"data": [group_entity(backend, group) for group in found]}


def change(backend: Backend, call: Call) -> dict[str, Any]:
    """PUT /chatgroups/{id}: name, description, owner."""
    group = group_of(backend, call)
    operator = manager_of(backend, call, group)
    name = call.text("groupname", default=group.name, longest=128)
    description = call.text("description", default=group.description)
    owner = group.owner
    if call.body.get("newowner"):
        owner_of(backend, call, group)
        owner = call.text("newowner").lower()
        if owner not in backend.rooms.members(group.id):
            raise bad_request(f"{owner} is not a member")
        backend.rooms.set_role(group.id, group.owner, "member")
        backend.rooms.set_role(group.id, owner, "owner")
    backend.rooms.change_group(group.id, name=name, description=description, disabled=group.disabled, owner=owner)
    others = [user for user in backend.rooms.members(group.id) if user != operator]
    backend.delivery.room_event(notices.UPDATE, group.id, operator, others, others)
    return {"data": {"groupname": True, "description": True, "newowner": owner != group.owner}}


def destroy(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}: its threads go with it."""
    group = group_of(backend, call)
    operator = owner_of(backend, call, group)
    people = list(backend.rooms.members(group.id))
    for thread in backend.rooms.threads_of(group.id):
        backend.delivery.thread_changed(thread, "delete", operator)
    backend.rooms.destroy_group(group.id)
    others = [user for user in people if user != operator]
    backend.delivery.room_event(notices.DESTROY, group.id, operator, others, others)
    return {"data": {"success": True, "groupid": group.id}}


def disable(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/disable: nobody may send, in its threads neither."""
    return _set_disabled(backend, call, True)


def enable(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/enable."""
    return _set_disabled(backend, call, False)


def _set_disabled(backend: Backend, call: Call, disabled: bool) -> dict[str, Any]:
    call.only_app()
    group = group_of(backend, call)
    backend.rooms.change_group(
        group.id, name=group.name, description=group.description, disabled=disabled, owner=group.owner
    )
    return {"data": {"disabled": disabled}}


def joined(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}/joined_chatgroups, by page number."""
    user = call.only(call.path["user"])
    groups = backend.rooms.groups_of(user)
    try:
        number = max(0, int(call.query.get("pagenum") or 0))
    except ValueError:
        raise bad_request("pagenum is not a number") from None
    size = call.limit()
    page = groups[number * size : (number + 1) * size]
    data = []
    for group in page:
        entity = group_entity(backend, group)
        del entity["affiliations"]
        member = backend.rooms.members(group.id)[user]
        data.append({**entity, "groupid": group.id, "groupname": group.name, "permission": member.role})
    return {"data": data, "count": len(data), "total": len(groups)}


# ---------------------------------------------------------------- members


def members(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /chatgroups/{id}/users, by cursor; the cursor is the last user of the page before."""
    group = group_of(backend, call)
    member_of(backend, call, group)
    people = list(backend.rooms.members(group.id).values())
    page, cursor = page_of(people, [member.user for member in people], call.cursor(), call.limit(default=50))
    data = [{member.role: member.user, "joined_time": member.joined} for member in page]
    return {"data": data, "count": len(data), "cursor": cursor}


def page_of(items: list[Any], names: list[str], cursor: str, limit: int) -> tuple[list[Any], str]:
    """Cut a page out of a list: what stands behind the name `cursor`, and the cursor to go on with."""
    start = names.index(cursor) + 1 if cursor in names else 0
    page = items[start : start + limit]
    more = start + limit < len(items)
    return page, names[start + limit - 1] if more else ""


def _admit(backend: Backend, group: Group, user: str, operator: str, event: int) -> None:
    people = backend.rooms.members(group.id)
    if user in people:
        raise RestError(403, "forbidden_op", f"users [{user}] are already in this group")
    if len(people) >= min(int(group.settings.get("maxusers") or 200), _MAX_MEMBERS):
        raise RestError(403, "exceed_limit", "the group is full", 40005)
    backend.rooms.add_member(group.id, user)
    if event == notices.DIRECT_JOINED:
        backend.delivery.room_event(event, group.id, operator, [user], [user])
    others = [other for other in backend.rooms.members(group.id) if other != user]
    backend.delivery.room_event(notices.PRESENCE, group.id, user, [user], others)


def join(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/apply: a sandbox's groups let everybody in at once."""
    group = group_of(backend, call)
    user = call.only(call.user or call.text("username"))
    _admit(backend, group, user, user, notices.PRESENCE)
    return {"data": {"result": True, "action": "apply", "user": user, "id": group.id, "groupid": group.id}}


def invite(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/invite: the invited are in at once."""
    group = group_of(backend, call)
    operator = member_of(backend, call, group)
    if call.user is not None and not group.settings.get("allowinvites", True):
        manager_of(backend, call, group)
    users = [find_or_make(backend, user, make=False).name for user in call.names("usernames", most=60)]
    for user in users:
        _admit(backend, group, user, operator, notices.DIRECT_JOINED)
    return {"data": [{"result": True, "action": "invite", "user": user, "groupid": group.id} for user in users]}


def add_one(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/users/{user}: by the owner or the app."""
    group = group_of(backend, call)
    operator = manager_of(backend, call, group)
    user = find_or_make(backend, call.path["user"], make=False).name
    _admit(backend, group, user, operator, notices.DIRECT_JOINED)
    return {"data": {"result": True, "action": "add_member", "user": user, "groupid": group.id}}


def _part(backend: Backend, group: Group, user: str) -> None:
    """Take a user out of a group and thereby out of its threads (section 9)."""
    if user == group.owner:
        raise RestError(403, "forbidden_op", "the owner cannot leave the group")
    if user not in backend.rooms.members(group.id):
        raise bad_request(f"users [{user}] are not members of this group", "invalid_parameter")
    backend.rooms.remove_member(group.id, user)


def leave(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/quit."""
    group = group_of(backend, call)
    user = call.only(call.user or "")
    _part(backend, group, user)
    backend.delivery.room_event(notices.ABSENCE, group.id, user, [user], backend.rooms.members(group.id))
    return {"data": {"result": True, "action": "quit", "user": user, "groupid": group.id}}


def remove(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/users/{users}: one, or several with commas."""
    group = group_of(backend, call)
    operator = manager_of(backend, call, group)
    users = [user.lower() for user in call.path["users"].split(",") if user]
    for user in users:
        _part(backend, group, user)
        backend.delivery.room_event(notices.KICK, group.id, operator, [user], [user])
        others = [other for other in backend.rooms.members(group.id) if other != operator]
        backend.delivery.room_event(notices.ABSENCE, group.id, user, [user], others)
    answers = [
        {"result": True, "action": "remove_member", "reason": "", "user": user, "groupid": group.id} for user in users
    ]
    return {"data": answers[0] if len(answers) == 1 else answers}


# ---------------------------------------------------------------- roles and mutes


def _member(backend: Backend, group: Group, name: str) -> str:
    user = name.lower()
    if user not in backend.rooms.members(group.id):
        raise bad_request(f"users [{user}] are not members of this group", "invalid_parameter")
    return user


def mute(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/mute: sends of these fail with status 15, in the group's threads too."""
    group = group_of(backend, call)
    manager_of(backend, call, group)
    duration = call.body.get("mute_duration", -1)
    if not isinstance(duration, int | float) or isinstance(duration, bool):
        raise bad_request("mute_duration is not a number of milliseconds")
    until = _FOR_EVER if duration < 0 else min(_FOR_EVER, backend.store.clock() + int(duration))
    users = [_member(backend, group, name) for name in call.names("usernames", most=60)]
    for user in users:
        backend.rooms.mute(group.id, user, until)
    return {"data": [{"result": True, "expire": until, "user": user} for user in users]}


def unmute(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/mute/{user}."""
    group = group_of(backend, call)
    manager_of(backend, call, group)
    user = _member(backend, group, call.path["user"])
    backend.rooms.mute(group.id, user, 0)
    return {"data": [{"result": True, "user": user}]}


def add_admin(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /chatgroups/{id}/admin."""
    group = group_of(backend, call)
    owner_of(backend, call, group)
    user = _member(backend, group, call.text("newadmin"))
    if user == group.owner:
        raise bad_request("the owner is no admin")
    backend.rooms.set_role(group.id, user, "admin")
    return {"data": {"result": "success", "newadmin": user}}


def remove_admin(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /chatgroups/{id}/admin/{user}."""
    group = group_of(backend, call)
    owner_of(backend, call, group)
    user = _member(backend, group, call.path["user"])
    if user != group.owner:
        backend.rooms.set_role(group.id, user, "member")
    return {"data": {"result": "success", "oldadmin": user}}
