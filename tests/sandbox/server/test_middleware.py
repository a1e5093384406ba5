"""The middleware around REST: JSON and CORS headers on every error, the preflight request, and the rate limit."""

import asyncio
from typing import Any

import httpx
import pytest

from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.process import Sandbox
from imkit.sandbox.server.middleware import Middleware
from tests.sandbox.server.raw_client import WAIT, Api

JSON = {"Content-Type": "application/json"}


def test_every_error_is_json_with_cors_headers(sandbox: Sandbox, nobody: Api) -> None:
    replies = [
        nobody.call("GET", "/no/such/route"),
        nobody.call("PUT", "/token"),
        nobody.call("POST", "/token", content=b"{", headers=JSON),
        nobody.call("POST", "/token", content=b"[" * 100_000, headers=JSON),
        nobody.call("POST", "/token", content=b"7", headers=JSON),
        nobody.call("POST", "/token", content=b'{"username": "\\ud800"}', headers=JSON),
        nobody.call("POST", "/token", content=b'{"username": "\xed\xa0\x80"}', headers=JSON),
        nobody.call("POST", "/token", content='{"username": "\ud800"}'.encode("utf-16", "surrogatepass"), headers=JSON),
        nobody.call("POST", "/token", content=b"x" * 1_100_000, headers=JSON),
        httpx.get(f"{sandbox.rest_url}/", timeout=WAIT, trust_env=False),
        Api(sandbox, "made-up").call("GET", "/thread/1"),
    ]
    assert [reply.status_code for reply in replies] == [404, 405, *[400] * 6, 413, 404, 401]
    for reply in replies:
        assert reply.json()["error_description"]
        assert reply.headers["access-control-allow-origin"] == "*"


def test_a_preflight_request_is_answered(nobody: Api) -> None:
    headers = {"Origin": "http://a", "Access-Control-Request-Method": "DELETE"}
    reply = nobody.call("OPTIONS", "/thread/1", headers=headers)
    assert reply.status_code == 200
    assert {"GET", "POST", "PUT", "DELETE"} <= set(reply.headers["access-control-allow-methods"].split(", "))
    allowed = set(reply.headers["access-control-allow-headers"].lower().split(", "))
    assert {"authorization", "content-type", "restrict-access", "share-secret", "x-requested-with"} <= allowed


def test_an_exception_in_the_application_is_answered_as_json(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("a bug")

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Middleware(broken, Options(), Faults({})))
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
            return await client.get("/imkit/sandbox/users")

    reply = asyncio.run(run())
    assert (reply.status_code, reply.json()["error"]) == (500, "internal_server_error")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "a bug" in caplog.text
