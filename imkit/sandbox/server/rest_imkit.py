"""The doors that are imkit's own and not the service's: the made-up app server, health, and asking it to end.

In a real app your own server hands out user tokens (客户端从应用服务器获取 token). Here this does, to whoever knows the
secret, which stands in the private state file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE, version
from imkit.sandbox.server.rest import Backend, find_or_make, read_body, same_secret
from imkit.sandbox.server.rest_replies import RestError, parse_body


def routes(backend: Backend, instance: str, retire: Callable[[], None]) -> list[Route]:
    """Return the routes of this room.

    Args:
        backend: what they work with.
        instance: names this run of the server (see `state.State`).
        retire: lets the server end once nobody is connected.
    """
    running = version()

    async def health(_request: Request) -> Response:
        return JSONResponse(
            {
                "version": running,
                "app_key": backend.options.app_key,
                "connections": len(backend.exchange.connections),
                "instance": instance,
            }
        )

    async def token(request: Request) -> Response:
        guard(request)
        body = parse_body(await read_body(request, 4096))
        name = body.get("user") if isinstance(body, dict) else None
        if not isinstance(name, str):
            raise RestError(400, "illegal_argument", "user is missing")
        seconds = backend.options.token_seconds
        with backend.delivery.unit():
            user = find_or_make(backend, name, make=True)
            issued, _ = backend.people.new_token(user.name, seconds)
        answer: dict[str, Any] = {"token": issued, "expires_in": seconds, "user": user.name}
        return JSONResponse(answer)

    async def end(request: Request) -> Response:
        guard(request)
        connections = len(backend.exchange.connections)
        retire()
        return JSONResponse({"retiring": True, "connections": connections})

    def guard(request: Request) -> None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not same_secret(backend, secret.strip()):
            raise RestError(403, "forbidden", "the secret in the sandbox's state file is wanted")

    return [
        Route(HEALTH, health, methods=["GET"]),
        Route(APP_SERVER_TOKEN, token, methods=["POST"]),
        Route(RETIRE, end, methods=["POST"]),
    ]
