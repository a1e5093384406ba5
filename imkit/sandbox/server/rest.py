"""The base of the REST side: how a handler becomes a route, and how a request proves who makes it.

Each of the `rest_…` modules has the calls of one subject.

Source: docs/protocol.md#rest-transport, docs/protocol.md#errors.
"""

from __future__ import annotations

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
from imkit.sandbox.server.pins import Pins
from imkit.sandbox.server.quotas import Quotas
from imkit.sandbox.server.reactions import Reactions
from imkit.sandbox.server.reports import Reports
from imkit.sandbox.server.request_body import is_form, is_json, read_body
from imkit.sandbox.server.rest_replies import Call, RestError, bad_request, no_such_user
from imkit.sandbox.server.store import Store, now_ms
from imkit.sandbox.server.streamed_texts import StreamedTexts
from imkit.sandbox.server.uplink import Uplink
from imkit.sandbox.server.users import Token, Users

logger = logging.getLogger(__name__)

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
    found = token_of(backend, request.headers)
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


def token_of(backend: Backend, headers: Mapping[str, str]) -> Token | None:
    """Return the token of a request, expired or not; None if it has none that the server has issued."""
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
