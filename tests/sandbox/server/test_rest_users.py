"""Users and tokens over REST: registering, logging in by password, tokens from the app.

Source: docs/protocol.md#registration-and-tokens.
"""

import time
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, app_api, close_everything


def test_registering_and_logging_in_by_password(sandbox: Sandbox, nobody: Api) -> None:
    user = new_name("Alice")
    entity = nobody.ok("POST", "/users", json={"username": user, "password": "pw", "nickname": ""})["entities"][0]
    assert entity["username"] == user.lower()
    body = {"grant_type": "password", "username": user.upper(), "password": "pw", "timestamp": 1}
    reply = nobody.ok("POST", "/token", json=body)
    assert reply["expires_in"] == 60 * 24 * 3600
    assert reply["user"]["username"] == user.lower()
    api = Api(sandbox, reply["access_token"], user.lower())
    expires = api.ok("GET", f"/sdk/users/{user}/token/expires")["expire_timestamp"]
    assert expires == pytest.approx(time.time_ns() // 1_000_000 + 60 * 24 * 3600 * 1000, abs=60_000)
    taken = nobody.refused("POST", "/users", 400, json={"username": user, "password": "x"})
    assert taken["error"] == "duplicate_unique_property_exists"
    assert "username be unique" in taken["error_description"]
    wrong = nobody.refused("POST", "/token", 400, json={**body, "password": "guess"})
    assert (wrong["error"], "invalid password" in wrong["error_description"]) == ("invalid_grant", True)
    unknown = nobody.refused("POST", "/token", 404, json={**body, "username": "nobody-at-all"})
    assert unknown["error_description"] == "user not found"


@pytest.mark.parametrize("name", ["", "a b", "子区", "x" * 65, None, 7])
def test_an_illegal_user_id_is_refused(nobody: Api, name: Any) -> None:
    nobody.refused("POST", "/users", 400, json={"username": name, "password": "x"})


def test_registration_needs_the_app_unless_it_is_open() -> None:
    with Sandbox() as sandbox:
        Api(sandbox).refused("POST", "/users", 401, json={"username": "alice", "password": "pw"})
        app_api(sandbox).ok("POST", "/users", json=[{"username": "alice", "password": "pw"}])
        close_everything()


def test_the_app_gets_tokens_for_its_users(sandbox: Sandbox, nobody: Api) -> None:
    app, user = app_api(sandbox), new_name()
    body = {"grant_type": "inherit", "username": user, "autoCreateUser": True, "ttl": 100}
    nobody.refused("POST", "/token", 401, json=body)
    app.refused("POST", "/token", 404, json={**body, "autoCreateUser": False})
    assert app.ok("POST", "/token", json=body)["expires_in"] == 100
    assert app.ok("POST", "/token", json={**body, "ttl": 0})["expires_in"] > 10**9
    nobody.refused("POST", "/token", 400, json={"grant_type": "client_credentials", "client_secret": "guess"})
    nobody.refused("POST", "/token", 400, json={"grant_type": "other"})
