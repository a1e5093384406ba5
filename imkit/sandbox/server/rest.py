"""The REST side: routes, tokens, users, and imkit's own doors. Groups, threads and history have rooms of their own.

Facts: fact sheet sections 1, 2, 9, 10 and 12.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imkit.sandbox.options import Options
from imkit.sandbox.server import notices, rest_replies
from imkit.sandbox.server.delivery import Delivery
from imkit.sandbox.server.device_queues import Queues
from imkit.sandbox.server.groups import Rooms
from imkit.sandbox.server.message_record import Record
from imkit.sandbox.server.msync import Exchange
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_such_user
from imkit.sandbox.server.store import Store, now_ms
from imkit.sandbox.server.uplink import Sending
from imkit.sandbox.server.users import People, User, user_id

_BODY_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Backend:
    """What the REST handlers work with."""

    options: Options
    store: Store
    people: People
    rooms: Rooms
    record: Record
    queues: Queues
    delivery: Delivery
    sending: Sending
    exchange: Exchange


Handler = Callable[[Backend, Call], dict[str, Any]]


def route(
    backend: Backend, method: str, path: str, handler: Handler, *, open_door: bool = False, plain: bool = False
) -> Route:
    """Make a route of a handler: check app and token, run it as one unit of work, wrap its answer.

    Args:
        backend: what the handler works with.
        method: the HTTP method.
        path: below the app, such as "/thread/{id}".
        handler: takes the call, returns what it adds to the envelope.
        open_door: no token is wanted.
        plain: the answer goes out as it is, without the envelope.
    """

    async def endpoint(request: Request) -> Response:
        started = now_ms()
        check_app(backend, request)
        user = None if open_door else authenticate(backend, request)
        raw = await read_body(request, _BODY_LIMIT)
        call = Call(user, request.path_params, request.query_params, rest_replies.parse_body(raw), request.headers)
        with backend.delivery.unit():
            extra = handler(backend, call)
        if not plain:
            extra = rest_replies.success(backend.options.app_key, method, request.url.path, started, extra)
        return JSONResponse(extra)

    return Route("/{organization}/{application}" + path, endpoint, methods=[method])


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body, but not more than the limit."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise RestError(413, "request_entity_too_large", f"the body is larger than {limit} bytes")
    return b"".join(parts)


def check_app(backend: Backend, request: Request) -> None:
    """Refuse another app than the one this server serves."""
    asked = f"{request.path_params['organization']}#{request.path_params['application']}"
    if asked != backend.options.app_key:
        raise RestError(
            404,
            "organization_application_not_found",
            f"Could not find application for {asked.replace('#', '/')} from URI: this sandbox serves "
            f"{backend.options.app_key.replace('#', '/')}",
        )


def authenticate(backend: Backend, request: Request) -> str | None:
    """Return whose token came with a request; None is the app itself."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = backend.people.token(token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise RestError(401, "auth_bad_access_token", "Unable to authenticate due to corrupt access token")
    if found.expires <= backend.store.clock():
        raise RestError(401, "unauthorized", "Unable to authenticate due to expired access token")
    if found.user is not None and not backend.people.exists(found.user):
        raise no_such_user(found.user)
    return found.user


async def json_error(_request: Request, error: Exception) -> Response:
    """Answer a refusal in the documented form."""
    if isinstance(error, RestError):
        return JSONResponse(error.body(), status_code=error.status)
    assert isinstance(error, HTTPException)
    names = {404: "service_resource_not_found", 405: "method_not_allowed"}
    body = rest_replies.error_body(names.get(error.status_code, "bad_request"), error.detail)
    return JSONResponse(body, status_code=error.status_code)


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this room."""
    return [
        route(backend, "POST", "/token", issue_token, open_door=True, plain=True),
        route(backend, "POST", "/users", register, open_door=True),
        route(backend, "GET", "/users/{user}", show_user),
        route(backend, "DELETE", "/users/{user}", remove_user),
        route(backend, "PUT", "/users/{user}/password", change_password),
        route(backend, "POST", "/users/{user}/disconnect", disconnect),
        route(backend, "GET", "/users/{user}/resources", show_resources),
        route(backend, "GET", "/sdk/users/{user}/token/expires", token_expires),
    ]


# ---------------------------------------------------------------- tokens


def issue_token(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /token: by password, for the app itself, or by the app for a user (sections 2 and 10)."""
    kind = call.body.get("grant_type")
    if kind == "password":
        name = user_id(call.body.get("username"))
        user = backend.people.find(name) if name else None
        if user is None:
            raise RestError(404, "invalid_grant", "user not found")
        if not backend.people.password_fits(user.name, call.text("password")):
            raise RestError(400, "invalid_grant", "invalid username or password: invalid password")
        return token_reply(backend, user, backend.options.token_seconds)
    if kind == "client_credentials":
        if not same_secret(backend, call.body.get("client_secret")):
            raise RestError(400, "invalid_grant", "client_secret does not match")
        token, _ = backend.people.new_token(None, backend.options.token_seconds)
        return {"access_token": token, "expires_in": int(backend.options.token_seconds), "application": "app"}
    if kind == "inherit":
        if not is_app(backend, call):
            raise RestError(401, "unauthorized", "this grant wants the app's token")
        ttl = call.body.get("ttl")
        seconds = backend.options.token_seconds if not isinstance(ttl, int | float) else float(ttl)
        user = find_or_make(backend, call.text("username"), make=bool(call.body.get("autoCreateUser")))
        return token_reply(backend, user, seconds or 100 * 365 * 24 * 3600)
    raise bad_request("grant_type is none that is known", "invalid_request")


def token_reply(backend: Backend, user: User, seconds: float) -> dict[str, Any]:
    """Return a fresh token in the form of POST /token."""
    token, _ = backend.people.new_token(user.name, seconds)
    # Whole seconds, as the service answers; rounded up, or a token of half a second would seem to be none.
    return {"access_token": token, "expires_in": max(1, int(seconds)), "user": user_entity(user)}


def is_app(backend: Backend, call: Call) -> bool:
    """Say whether a call through an open door carries the app's own token all the same."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    found = backend.people.token(token.strip()) if scheme.lower() == "bearer" else None
    return found is not None and found.user is None and found.expires > backend.store.clock()


def same_secret(backend: Backend, given: object) -> bool:
    """Compare a secret in constant time."""
    return isinstance(given, str) and hmac.compare_digest(
        given.encode("utf-8", "replace"), backend.options.secret.encode()
    )


def token_expires(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/users/{user}/token/expires: when the token used for this call ends."""
    call.only(call.path["user"])
    token = backend.people.token(call.headers.get("authorization", "").partition(" ")[2].strip())
    assert token is not None  # `authenticate` has just found it
    return {"expire_timestamp": token.expires}


# ---------------------------------------------------------------- users


def user_entity(user: User) -> dict[str, Any]:
    """Return a user as REST shows it."""
    return {
        "uuid": user.uuid,
        "type": "user",
        "created": user.created,
        "modified": user.created,
        "username": user.name,
        "nickname": user.nickname,
        "activated": True,
    }


def find_or_make(backend: Backend, name: str, *, make: bool) -> User:
    """Return a user, new if need be."""
    wanted = user_id(name)
    if wanted is None:
        raise bad_request(f"username {name[:80]!r} is not legal")
    user = backend.people.find(wanted)
    if user is None:
        if not make:
            raise no_such_user(wanted)
        user = backend.people.register(wanted, None)
    return user


def register(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /users: by anyone if registration is open, else by the app."""
    if not backend.options.open_registration and not is_app(backend, call):
        raise RestError(401, "unauthorized", "registration is not open; start the sandbox with --open-registration")
    wanted = call.body if isinstance(call.body, list) else [call.body]
    if len(wanted) > 60:
        raise bad_request("more than 60 users at once")
    entities = []
    for one in wanted:
        name = user_id(one.get("username")) if isinstance(one, dict) else None
        if name is None:
            raise bad_request("username is not legal: up to 64 of a-z 0-9 _ - .")
        password = one.get("password")
        if not isinstance(password, str) or not password:
            raise bad_request("password is missing")
        if backend.people.exists(name):
            raise RestError(
                400,
                "duplicate_unique_property_exists",
                f"Entity user requires that property named username be unique, value of {name} exists",
            )
        entities.append(user_entity(backend.people.register(name, password, str(one.get("nickname") or ""))))
    return {"entities": entities}


def show_user(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}."""
    return {"entities": [user_entity(find_or_make(backend, call.path["user"], make=False))]}


def remove_user(backend: Backend, call: Call) -> dict[str, Any]:
    """DELETE /users/{user}: the user's devices are sent away (SDK error 207)."""
    call.only_app()
    user = find_or_make(backend, call.path["user"], make=False)
    backend.delivery.send_user_away(user.name, notices.USER_REMOVED, "user removed")
    for group in backend.rooms.groups_of(user.name):
        backend.rooms.remove_member(group.id, user.name)
    backend.people.remove(user.name)
    return {"entities": [user_entity(user)]}


def change_password(backend: Backend, call: Call) -> dict[str, Any]:
    """PUT /users/{user}/password: every device must log in again (SDK error 216)."""
    user = find_or_make(backend, call.only(call.path["user"]), make=False)
    backend.people.change_password(user.name, call.text("newpassword"))
    backend.delivery.send_user_away(user.name, notices.PASSWORD_CHANGED, "password changed")
    return {}


def disconnect(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /users/{user}/disconnect: send a user's devices away, or the one named `resource` (SDK error 217)."""
    call.only_app()
    user = find_or_make(backend, call.path["user"], make=False)
    resource = call.body.get("resource")
    count = backend.delivery.send_user_away(
        user.name, notices.KICKED_BY_DEVICE, "kicked by another device", resource=resource
    )
    return {"data": {"result": count > 0, "count": count}}


def show_resources(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /users/{user}/resources: the devices online."""
    user = find_or_make(backend, call.only(call.path["user"]), make=False)
    return {"data": [{"res": resource} for resource in backend.delivery.resources(user.name)]}
