"""Groups over REST: creates, shows, changes and destroys them, and lists those that a user is in.

`rest_group_members` has the calls about their members.

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
    is_public,
    manager_of,
    owner_of,
    user_or_app,
)
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import Call, bad_request, no_such_group
from imkit.sandbox.server.rest_users import find_user
from imkit.wire.enums import MucOperation

_FLAGS = ("public", "approval", "membersonly", "allowinvites", "invite_need_confirm")
_TEXTS = ("custom", "avatar")
_USUAL_MEMBERS = 200  # the most members of a group that says nothing


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/chatgroups", create),
        route(backend, "GET", "/chatgroups/{id}", show),
        route(backend, "PUT", "/chatgroups/{id}", change, needs_room=True),
        route(backend, "DELETE", "/chatgroups/{id}", destroy),
        # Before "/chatgroups/{id}/…": SDK 4 asks here for a user's groups with roles or sizes, and no group is "user".
        route(backend, "GET", "/chatgroups/user/{user}", joined_with_roles),
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
    most = most_members(backend, settings)
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


def most_members(backend: Backend, settings: dict[str, Any]) -> int:
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
        "mute": group.all_muted,
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
        "maxusers": most_members(backend, group.settings),
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
