"""imkit's own endpoints: the app server for tokens, and health."""

import httpx

from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import WAIT, Device


def test_the_app_server_wants_the_secret(sandbox: Sandbox) -> None:
    url = f"{sandbox.rest_url}/imkit/app-server/token"
    for header in ({}, {"Authorization": "Bearer guess"}, {"Authorization": f"Basic {sandbox.secret}"}):
        reply = httpx.post(url, json={"user": "alice"}, headers=header, timeout=WAIT, trust_env=False)
        assert (reply.status_code, reply.json()["error"]) == (403, "forbidden")
    good = {"Authorization": f"Bearer {sandbox.secret}"}
    reply = httpx.post(url, json={"user": "not a name"}, headers=good, timeout=WAIT, trust_env=False)
    assert reply.status_code == 400


def test_health_tells_the_app_and_the_connections_but_no_secret(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    health = httpx.get(f"{sandbox.rest_url}/imkit/health", timeout=WAIT, trust_env=False).json()
    assert health["app_key"] == sandbox.app_key
    assert health["connections"] >= 1
    assert sandbox.secret not in str(health)
    device.ask_unread()
