"""Users and their tokens over REST: logging in, registering, passwords, and what an app server does with users.

Source: docs/protocol.md#registration-and-tokens, docs/protocol.md#calls-of-an-app-server.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.permissions import app_only, user_or_app
from imkit.sandbox.server.rest import Backend, route, token_of
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_such_user
from imkit.sandbox.server.users import User, user_id
from imkit.wire.enums import StatisticsOperation

_UNLIMITED_SECONDS = 100 * 365 * 24 * 3600


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [
        route(backend, "POST", "/token", issue_token, needs_token=False, plain=True),
        route(backend, "POST", "/users", register, needs_token=False, lists=True),
        route(backend, "GET", "/users/{user}", show_user),
        route(backend, "DELETE", "/users/{user}", remove_user),
        route(backend, "PUT", "/users/{user}/password", change_password),
        route(backend, "POST", "/users/{user}/disconnect", disconnect),
        route(backend, "GET", "/users/{user}/resources", show_resources),
        route(backend, "GET", "/sdk/users/{user}/token/expires", token_expires),
    ]


# ---------------------------------------------------------------- tokens


def issue_token(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /token: for a user by password, for the app by its secret, or for a user by the app's token.

    A page of another site that holds a password may log in, as the official SDKs do in such pages. It must ask the
    browser first: see `request_body.is_json`.

    Source: docs/protocol.md#registration-and-tokens.
    """
    kind = call.body.get("grant_type")
    if kind == "password":
        name = user_id(call.body.get("username"))
        user = backend.users.find(name) if name else None
        if user is None:
            raise RestError(404, "invalid_grant", "user not found")
        with backend.quotas.password_attempt(user.name):
            if not backend.users.is_password(user.name, call.text("password")):
                raise RestError(400, "invalid_grant", "invalid username or password: invalid password")
        return token_reply(backend, user, backend.options.token_seconds)
    if kind == "client_credentials":
        if not same_secret(backend, call.body.get("client_secret")):
            raise RestError(400, "invalid_grant", "client_secret does not match")
        token, _ = backend.users.new_token(None, backend.options.token_seconds)
        return {"access_token": token, "expires_in": int(backend.options.token_seconds), "application": "app"}
    if kind == "inherit":
        if not is_app(backend, call):
            raise RestError(401, "unauthorized", "this grant wants the app's token")
        ttl = call.body.get("ttl")
        seconds = backend.options.token_seconds
        if isinstance(ttl, int | float):
            seconds = max(0, min(ttl, _UNLIMITED_SECONDS))
        find = find_or_register if call.body.get("autoCreateUser") else find_user
        return token_reply(backend, find(backend, call.text("username")), seconds or _UNLIMITED_SECONDS)
    raise bad_request("grant_type is none that is known", "invalid_request")


def token_reply(backend: Backend, user: User, seconds: float) -> dict[str, Any]:
    """Return the reply to POST /token with a new token."""
    token, _ = backend.users.new_token(user.name, seconds)
    # The service answers whole seconds; at least 1, because 0 would mean that the token never expires.
    return {"access_token": token, "expires_in": max(1, int(seconds)), "user": user_entity(user)}


def is_app(backend: Backend, call: Call) -> bool:
    """Return whether a call that needs no token has the app's own token."""
    found = token_of(backend, call.headers)
    return found is not None and found.user is None and found.expires > backend.store.clock()


def same_secret(backend: Backend, given: object) -> bool:
    """Return whether this is the server's secret; the comparison takes constant time."""
    return isinstance(given, str) and hmac.compare_digest(
        given.encode("utf-8", "replace"), backend.options.secret.encode()
    )


def token_expires(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/users/{user}/token/expires: when the token of this call expires."""
    user_or_app(call, call.path["user"])
    token = token_of(backend, call.headers)
    assert token is not None  # `authenticate` has just found it
    return {"expire_timestamp": token.expires}


# ---------------------------------------------------------------- users


def user_entity(user: User) -> dict[str, Any]:
    """Return the REST form of a user."""
    return {
        "uuid": user.uuid,
        "type": "user",
        "created": user.created,
        "modified": user.created,
        "username": user.name,
        "nickname": user.nickname,
        "activated": True,
    }


def find_user(backend: Backend, name: str) -> User:
    """Return a user; refuse the call if there is none with this name."""
    wanted = _legal_user_id(name)
    user = backend.users.find(wanted)
    if user is None:
        raise no_such_user(wanted)
    return user


def find_or_register(backend: Backend, name: str) -> User:
    """Return a user; register it without a password if there is none with this name."""
    wanted = _legal_user_id(name)
    found = backend.users.find(wanted)
    if found is not None:
        return found
    backend.quotas.check_user()
    return backend.users.register(wanted, None)


def _legal_user_id(name: str) -> str:
    wanted = user_id(name)
    if wanted is None:
        raise bad_request(f"username {name[:80]!r} is not legal")
    return wanted


def register(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /users: anyone may call it if registration is open, else only the app."""
    if not backend.options.open_registration and not is_app(backend, call):
        raise RestError(401, "unauthorized", "registration is not open; start the sandbox with --open-registration")
    limits = backend.options.limits
    wanted = call.body if isinstance(call.body, list) else [call.body]
    if len(wanted) > 60:
        raise bad_request("more than 60 users at once")
    entities = []
    for one in wanted:
        name = user_id(one.get("username")) if isinstance(one, dict) else None
        if name is None:
            raise bad_request("username is not legal: up to 64 of a-z 0-9 _ - .")
        password, nickname = one.get("password"), one.get("nickname") or ""
        if not isinstance(password, str) or not 0 < len(password) <= limits.password_characters:
            raise bad_request("password is missing or too long")
        if not isinstance(nickname, str) or len(nickname) > limits.name_characters:
            raise bad_request("nickname is not a string or too long")
        if backend.users.exists(name):
            raise RestError(
                400,
                "duplicate_unique_property_exists",
                f"Entity user requires that property named username be unique, value of {name} exists",
            )
        backend.quotas.check_user()
        entities.append(user_entity(backend.users.register(name, password, nickname)))
    return {"entities": entities}


def show_user(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}."""
    return {"entities": [user_entity(find_user(backend, call.path["user"]))]}


def remove_user(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /users/{user}: also ends the user's logins (SDK error 207)."""
    app_only(call)
    user = find_user(backend, call.path["user"])
    backend.delivery.kick_user(user.name, StatisticsOperation.USER_REMOVED, "user removed")
    for group in backend.groups.groups_of(user.name):
        backend.groups.remove_member(group.id, user.name)
    backend.users.remove(user.name)
    return {"entities": [user_entity(user)]}


def change_password(backend: Backend, call: Call) -> dict[str, Any]:
    """PUT /users/{user}/password: also ends the user's logins (SDK error 216)."""
    user = find_user(backend, user_or_app(call, call.path["user"]))
    backend.users.change_password(
        user.name, call.text("newpassword", longest=backend.options.limits.password_characters)
    )
    changed = StatisticsOperation.USER_KICKED_BY_CHANGE_PASSWORD
    backend.delivery.kick_user(user.name, changed, "password changed")
    return {}


def disconnect(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /users/{user}/disconnect: ends the user's logins, or the one with this `resource` (SDK error 217)."""
    app_only(call)
    user = find_user(backend, call.path["user"])
    resource = call.body.get("resource")
    kicked = StatisticsOperation.USER_KICKED_BY_OTHER_DEVICE
    count = backend.delivery.kick_user(user.name, kicked, "kicked by another device", resource=resource)
    return {"data": {"result": count > 0, "count": count}}


def show_resources(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}/resources: the user's devices that are online."""
    user = find_user(backend, user_or_app(call, call.path["user"]))
    return {"data": [{"res": resource} for resource in backend.delivery.resources(user.name)]}
