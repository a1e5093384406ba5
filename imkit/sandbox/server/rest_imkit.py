"""imkit's own endpoints, which the service does not have: an app server for tokens, health, and retire.

In a real app your own app server issues user tokens (客户端从应用服务器获取 token). In the sandbox this endpoint does,
for callers that know the secret of the private state file (`state`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE, version
from imkit.sandbox.server.rest import Backend, bearer, find_or_register, read_body, same_secret
from imkit.sandbox.server.rest_replies import RestError, parse_body


def routes(backend: Backend, instance: str, retire: Callable[[], None]) -> list[Route]:
    """Return the routes of this module.

    Args:
        backend: the parts of the server.
        instance: identifies this run of the server (see `state.State`).
        retire: makes the server end when no client is connected.
    """
    running = version()

    async def health(_request: Request) -> Response:
        return JSONResponse(
            {
                "version": running,
                "app_key": backend.options.app_key,
                "connections": len(backend.msync.connections),
                "instance": instance,
            }
        )

    async def token(request: Request) -> Response:
        check_secret(request)
        body = parse_body(await read_body(request, 4096))
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
        check_secret(request)
        connections = len(backend.msync.connections)
        retire()
        return JSONResponse({"retiring": True, "connections": connections})

    def check_secret(request: Request) -> None:
        if not same_secret(backend, bearer(request.headers)):
            raise RestError(403, "forbidden", "the secret in the sandbox's state file is wanted")

    return [
        Route(HEALTH, health, methods=["GET"]),
        Route(APP_SERVER_TOKEN, token, methods=["POST"]),
        Route(RETIRE, end, methods=["POST"]),
    ]
