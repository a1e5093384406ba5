"""The base of the REST side: how a handler becomes a route, and the calls for tokens and users.

The other `rest_…` modules have the calls for groups, threads, history and attachments, and imkit's own endpoints.

Source: docs/protocol.md#rest-transport, docs/protocol.md#registration-and-tokens,
docs/protocol.md#calls-of-an-app-server.
"""

from __future__ import annotations

import hmac
import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imkit.sandbox.options import Options
from imkit.sandbox.server import rest_replies
from imkit.sandbox.server.conversations import Conversations
from imkit.sandbox.server.delivery import Delivery
from imkit.sandbox.server.groups import Groups
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.msync import MsyncServer
from imkit.sandbox.server.permissions import app_only, user_or_app
from imkit.sandbox.server.pins import Pins
from imkit.sandbox.server.quotas import Quotas
from imkit.sandbox.server.reactions import Reactions
from imkit.sandbox.server.reports import Reports
from imkit.sandbox.server.request_body import is_form, is_json, read_body
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_such_user
from imkit.sandbox.server.store import Store, now_ms
from imkit.sandbox.server.streamed_texts import StreamedTexts
from imkit.sandbox.server.uplink import Uplink
from imkit.sandbox.server.users import Token, User, Users, user_id
from imkit.wire.enums import StatisticsOperation

logger = logging.getLogger(__name__)

_UNLIMITED_SECONDS = 100 * 365 * 24 * 3600
_HEADERS_OF_ERRORS = {
    408: {"connection": "close"},  # what was not sent in time may come later, and must not be taken for a request
    429: {"retry-after": "1"},
}


@dataclass(frozen=True)
class Backend:
    """The parts of the server that the REST handlers use."""

    options: Options
    store: Store
    users: Users
    groups: Groups
    record: MessageRecord
    delivery: Delivery
    uplink: Uplink
    msync: MsyncServer
    quotas: Quotas
    conversations: Conversations
    reactions: Reactions
    pins: Pins
    reports: Reports
    streamed: StreamedTexts


Handler = Callable[[Backend, Call], dict[str, Any]]


def route(
    backend: Backend,
    method: str,
    path: str,
    handler: Handler,
    *,
    needs_token: bool = True,
    plain: bool = False,
    lists: bool = False,
    form: bool = False,
    needs_room: bool = False,
) -> Route:
    """Return a route that checks app and token, runs the handler as one unit of work, and wraps its answer.

    Args:
        backend: the parts of the server.
        method: the HTTP method.
        path: the path below the app, such as "/thread/{id}".
        handler: takes the call, returns the fields that it adds to the envelope.
        needs_token: refuse the call without a valid token.
        plain: reply with the handler's fields alone, without the envelope.
        lists: the body may also be a list.
        form: the body is a form instead of JSON. Such a call must need a token: see `request_body.is_form`.
        needs_room: refuse the call if the store is nearly full: it adds members or notices.
    """

    async def endpoint(request: Request) -> Response:
        started = now_ms()
        check_app(backend, request)
        user = authenticate(backend, request) if needs_token else None
        if form:
            body = rest_replies.parse_form(await read_form(backend, request))
        else:
            body = rest_replies.parse_body(await read_json(backend, request, has_token=needs_token), lists=lists)
        call = Call(user, request.path_params, request.query_params, body, request.headers)
        if len((call.resource or "").encode()) > backend.options.limits.resource_bytes:
            raise bad_request("the resource is longer than that of any device")  # notices would carry it
        with backend.delivery.unit():
            if needs_room:
                backend.quotas.check_room()
            extra = handler(backend, call)
        if not plain:
            extra = rest_replies.success(backend.options.app_key, method, request.url.path, started, extra)
        return JSONResponse(extra)

    return Route("/{organization}/{application}" + path, endpoint, methods=[method])


async def read_json(backend: Backend, request: Request, *, has_token: bool = False) -> bytes:
    """Return the body of a request; refuse a body that does not say that it is JSON.

    SDK 4 does not say it in some calls. With `has_token` this is allowed: no browser adds a bearer token by itself, and
    a page that adds one must ask the browser first.
    """
    limits = backend.options.limits
    raw = await read_body(request, limits, limits.json_bytes)
    if raw and not has_token and not is_json(request):
        raise RestError(415, "unsupported_media_type", "the body must be JSON, with Content-Type: application/json")
    return raw


async def read_form(backend: Backend, request: Request) -> bytes:
    """Return the body of a request; refuse a body that does not say that it is a form."""
    limits = backend.options.limits
    raw = await read_body(request, limits, limits.form_bytes)
    if raw and not is_form(request):
        description = "the body must be a form, with Content-Type: application/x-www-form-urlencoded"
        raise RestError(415, "unsupported_media_type", description)
    return raw


def check_app(backend: Backend, request: Request) -> None:
    """Refuse a request for any app but the one of this server."""
    asked = f"{request.path_params['organization']}#{request.path_params['application']}"
    if asked != backend.options.app_key:
        raise RestError(
            404,
            "organization_application_not_found",
            f"Could not find application for {asked.replace('#', '/')} from URI: this sandbox serves "
            f"{backend.options.app_key.replace('#', '/')}",
        )


def authenticate(backend: Backend, request: Request) -> str | None:
    """Return the user of a request's token; None for the app's own token."""
    found = _token_of(backend, request.headers)
    if found is None:
        raise RestError(401, "auth_bad_access_token", "Unable to authenticate due to corrupt access token")
    if found.expires <= backend.store.clock():
        # The second half is for SDK 5, which looks for these words.
        raise RestError(401, "unauthorized", "Unable to authenticate due to expired access token: token expired")
    if found.user is not None and not backend.users.exists(found.user):
        raise no_such_user(found.user)
    return found.user


def bearer(headers: Mapping[str, str]) -> str | None:
    """Return the token of an Authorization header; None if there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _token_of(backend: Backend, headers: Mapping[str, str]) -> Token | None:
    token = bearer(headers)
    return None if token is None else backend.users.find_token(token)


async def json_error(_request: Request, error: Exception) -> Response:
    """Return the reply to a request that was refused or that failed, in the documented envelope."""
    if isinstance(error, RestError):
        return JSONResponse(error.body(), status_code=error.status, headers=_HEADERS_OF_ERRORS.get(error.status))
    if isinstance(error, HTTPException):
        names = {404: "service_resource_not_found", 405: "method_not_allowed"}
        body = rest_replies.error_body(names.get(error.status_code, "bad_request"), error.detail)
        return JSONResponse(body, status_code=error.status_code)
    if isinstance(error, sqlite3.Error):
        return _store_error(error)
    body = rest_replies.error_body("internal_server_error", "the sandbox failed; its log says why")
    return JSONResponse(body, status_code=500)


def _store_error(error: sqlite3.Error) -> Response:
    """Return the reply to a request whose unit of work was rolled back because the store failed."""
    logger.error("the store failed: %s", error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        body = rest_replies.error_body("insufficient_storage", "the sandbox's disk or its data file is full")
        return JSONResponse(body, status_code=507)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        body = rest_replies.error_body("service_unavailable", "another program has locked the sandbox's data")
        return JSONResponse(body, status_code=503, headers={"retry-after": "1"})
    body = rest_replies.error_body("internal_server_error", "the sandbox's data cannot be read or written")
    return JSONResponse(body, status_code=500)


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
    found = _token_of(backend, call.headers)
    return found is not None and found.user is None and found.expires > backend.store.clock()


def same_secret(backend: Backend, given: object) -> bool:
    """Return whether this is the server's secret; the comparison takes constant time."""
    return isinstance(given, str) and hmac.compare_digest(
        given.encode("utf-8", "replace"), backend.options.secret.encode()
    )


def token_expires(backend: Backend, call: Call) -> dict[str, Any]:
    """GET /sdk/users/{user}/token/expires: when the token of this call expires."""
    user_or_app(call, call.path["user"])
    token = _token_of(backend, call.headers)
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
