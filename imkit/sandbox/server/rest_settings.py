"""What SDK 5 and its UI kit read and the sandbox does not keep: cards, attributes of members, push rules, contacts.

The answers say that there are none, which is true: there is no call to set them here.

Source: docs/protocol.md#sdk-5-rest-calls, docs/protocol.md#sdk-5-second-socket.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.permissions import group_of, member_of, user_or_app
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import Call
from imkit.sandbox.server.sync_socket import ROSTER_VERSION


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/sdk/metadata/chatgroup/{id}/get", member_attributes),
        route(backend, "POST", "/sdk/chatgroups/{id}/nameCard/batch/get", name_cards),
        route(backend, "GET", "/users/{user}/notification", push_rules),
        route(backend, "GET", "/user/{user}/roster/metadata/version", roster_version),
    ]


def member_attributes(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /sdk/metadata/chatgroup/{id}/get: the attributes of members, by user."""
    member_of(backend.groups, call, group_of(backend.groups, call))
    return {"data": {}}


def name_cards(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /sdk/chatgroups/{id}/nameCard/batch/get: the names that members use in this group alone."""
    member_of(backend.groups, call, group_of(backend.groups, call))
    return {"data": []}


def push_rules(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}/notification: the rules of a user's conversations, by user id and by group id."""
    user_or_app(call, call.path["user"])
    return {"data": {"user": {}, "group": {}}}


def roster_version(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /user/{user}/roster/metadata/version: the version of the contacts, which never changes."""
    user_or_app(call, call.path["user"])
    return {"data": {"version": ROSTER_VERSION}}
