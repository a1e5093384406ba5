"""imkit's own endpoints, which the service does not have: an app server for tokens, health, and retire.

In a real app your own app server issues user tokens (客户端从应用服务器获取 token). In the sandbox this endpoint does,
for callers that know the secret of the private state file (`state`). imkit proves that it knows the secret (`proof`);
another program may send it as a bearer token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE, version
from imkit.sandbox.proof import (
    NONCE_HEADER,
    PROOF_HEADER,
    IssuedNonces,
    client_proof,
    is_nonce,
    same_proof,
    server_proof,
)
from imkit.sandbox.server.request_body import read_body
from imkit.sandbox.server.rest import Backend, bearer
from imkit.sandbox.server.rest_replies import RestError, parse_body
from imkit.sandbox.server.rest_users import find_or_register, same_secret

_BODY_BYTES = 4096


def routes(backend: Backend, retire: Callable[[], None]) -> list[Route]:
    """Return the routes of this module.

    Args:
        backend: the parts of the server.
        retire: makes the server end when no client is connected.
    """
    running, limits = version(), backend.options.limits
    secret = backend.options.secret
    issued_nonces = IssuedNonces()

    async def health(request: Request) -> Response:
        connections = len(backend.msync.connections)
        answer = JSONResponse({"version": running, "app_key": backend.options.app_key, "connections": connections})
        client_nonce = request.headers.get(NONCE_HEADER)
        if client_nonce is not None and is_nonce(client_nonce):
            server_nonce = issued_nonces.issue(client_nonce)
            answer.headers[NONCE_HEADER] = server_nonce
            answer.headers[PROOF_HEADER] = server_proof(secret, client_nonce, server_nonce, bytes(answer.body))
        return answer

    async def token(request: Request) -> Response:
        content = await read_body(request, limits, _BODY_BYTES)
        check_caller(request, content)
        body = parse_body(content)
        name = body.get("user") if isinstance(body, dict) else None
        if not isinstance(name, str):
            raise RestError(400, "illegal_argument", "user is missing")
        seconds = backend.options.token_seconds
        with backend.delivery.unit():
            user = find_or_register(backend, name)
            issued, _ = backend.users.new_token(user.name, seconds)
        answer: dict[str, Any] = {"token": issued, "expires_in": seconds, "user": user.name}
        return JSONResponse(answer)

    async def end(request: Request) -> Response:
        check_caller(request, await read_body(request, limits, _BODY_BYTES))
        connections = len(backend.msync.connections)
        retire()
        return JSONResponse({"retiring": True, "connections": connections})

    def check_caller(request: Request, content: bytes) -> None:
        if same_secret(backend, bearer(request.headers)):
            return
        server_nonce, given = request.headers.get(NONCE_HEADER, ""), request.headers.get(PROOF_HEADER)
        client_nonce = issued_nonces.take(server_nonce)
        if client_nonce is None or not same_proof(
            client_proof(secret, client_nonce, server_nonce, request.method, request.url.path, content), given
        ):
            raise RestError(403, "forbidden", "the caller must know the secret in the sandbox's state file")

    return [
        Route(HEALTH, health, methods=["GET"]),
        Route(APP_SERVER_TOKEN, token, methods=["POST"]),
        Route(RETIRE, end, methods=["POST"]),
    ]
