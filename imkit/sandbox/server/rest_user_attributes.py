"""The attributes of users (用户属性) over REST: everybody may read them, and a user may change its own.

Source: docs/protocol.md#user-attributes.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.permissions import user_or_app
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request
from imkit.sandbox.server.rest_users import find_user

_USERS_AT_ONCE = 100
# The documented largest number of characters of each attribute that clients know.
_CHARACTERS = {"nickname": 64, "avatarurl": 256, "phone": 32, "mail": 64, "sign": 256, "birth": 64}


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/metadata/user/get", show),
        route(backend, "PUT", "/metadata/user/{user}", change, form=True, needs_room=True),
    ]


def show(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /metadata/user/get: the attributes of up to 100 users; an unknown user has none.

    `properties` names the attributes that are wanted; without it all are.
    """
    targets = call.names("targets")
    if not targets:
        raise bad_request("targets names no user")
    if len(targets) > _USERS_AT_ONCE:
        raise RestError(400, "usercount_exceed", f"targets holds more than {_USERS_AT_ONCE} users")
    wanted = set(call.names("properties"))
    found = backend.users.attributes({target.lower() for target in targets})
    data, modified = {}, {}
    for target in targets:
        attributes, when = found.get(target.lower(), ({}, None))
        data[target] = {name: value for name, value in attributes.items() if not wanted or name in wanted}
        if when is not None:
            modified[target] = when
    return {"data": data, "lastModified": modified}


def change(backend: Backend, call: Call) -> dict[str, Any]:
    """PUT /metadata/user/{user}: changes attributes of the caller, from a form; the others stay as they are."""
    user = find_user(backend, user_or_app(call, call.path["user"])).name
    changed: dict[str, str] = call.body
    if not changed:
        raise bad_request("the form names no attribute")
    for name, value in changed.items():
        longest = _CHARACTERS.get(name)
        if longest is not None and len(value) > longest:
            raise _too_long(f"{name} exceeds {longest} characters")
    known, _ = backend.users.attributes([user]).get(user, ({}, 0))
    attributes = {**known, **changed}
    most = backend.options.limits.attribute_bytes
    if sum(len(part.encode()) for pair in attributes.items() for part in pair) > most:
        raise _too_long(f"the length of all attributes exceeds {most} bytes")
    modified = backend.users.set_attributes(user, attributes)
    told = {"username": user, "metadata": changed, "lastModified": modified}
    backend.delivery.tell_own_devices(user, None, "user_metadata_updated", told)  # the call names no device
    return {"data": changed, "lastModified": modified}


def _too_long(description: str) -> RestError:
    return RestError(403, "data_length_exceed", description)
