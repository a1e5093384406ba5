"""REST besides threads: tokens, users, attachments, the shape of errors, and what a browser needs."""

import time
from typing import Any

import httpx
import pytest

from imkit.sandbox.process import Sandbox
from tests.sandbox.server.raw_client import WAIT, Api, Device, TeaGroup, app_api, close_everything, new_name, token_of


@pytest.fixture
def nobody(sandbox: Sandbox) -> Api:
    return Api(sandbox)


# ---------------------------------------------------------------- users and tokens


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
def test_what_is_no_user_id_is_refused(nobody: Api, name: Any) -> None:
    nobody.refused("POST", "/users", 400, json={"username": name, "password": "x"})


def test_registration_is_closed_unless_opened() -> None:
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


def test_the_sandboxs_own_app_server_wants_the_secret(sandbox: Sandbox) -> None:
    url = f"{sandbox.rest_url}/imkit/app-server/token"
    for header in ({}, {"Authorization": "Bearer guess"}, {"Authorization": f"Basic {sandbox.secret}"}):
        reply = httpx.post(url, json={"user": "alice"}, headers=header, timeout=WAIT, trust_env=False)
        assert (reply.status_code, reply.json()["error"]) == (403, "forbidden")
    good = {"Authorization": f"Bearer {sandbox.secret}"}
    reply = httpx.post(url, json={"user": "not a name"}, headers=good, timeout=WAIT, trust_env=False)
    assert reply.status_code == 400


def test_tokens_are_checked(sandbox: Sandbox) -> None:
    user = new_name()
    bad = Api(sandbox, "made-up").refused("GET", f"/users/{user}", 401)
    assert bad["error"] == "auth_bad_access_token"
    Api(sandbox).refused("GET", f"/users/{user}", 401)
    with Sandbox(token_seconds=0) as short:
        old = Api(short, token_of(short, user)).refused("GET", f"/users/{user}", 401)
        assert (old["error"], "expired" in old["error_description"]) == ("unauthorized", True)
        close_everything()


# ---------------------------------------------------------------- the shape of things


def test_another_app_is_not_served(sandbox: Sandbox) -> None:
    reply = httpx.get(f"{sandbox.rest_url}/other/app/users/x", timeout=WAIT, trust_env=False)
    assert (reply.status_code, reply.json()["error"]) == (404, "organization_application_not_found")


def test_every_error_is_json_and_open_to_browsers(sandbox: Sandbox, nobody: Api) -> None:
    replies = [
        nobody.call("GET", "/no/such/route"),
        nobody.call("PUT", "/token"),
        nobody.call("POST", "/token", content=b"{"),
        nobody.call("POST", "/token", content=b"[" * 100_000),
        nobody.call("POST", "/token", content=b"7"),
        nobody.call("POST", "/token", content=b'{"username": "\\ud800"}'),
        nobody.call("POST", "/token", content=b"x" * 1_100_000),
        httpx.get(f"{sandbox.rest_url}/", timeout=WAIT, trust_env=False),
        Api(sandbox, "made-up").call("GET", "/thread/1"),
    ]
    assert [reply.status_code for reply in replies] == [404, 405, 400, 400, 400, 400, 413, 404, 401]
    for reply in replies:
        assert reply.json()["error_description"]
        assert reply.headers["access-control-allow-origin"] == "*"


def test_a_browser_may_ask_first(nobody: Api) -> None:
    headers = {"Origin": "http://a", "Access-Control-Request-Method": "DELETE"}
    reply = nobody.call("OPTIONS", "/thread/1", headers=headers)
    assert reply.status_code == 200
    assert {"GET", "POST", "PUT", "DELETE"} <= set(reply.headers["access-control-allow-methods"].split(", "))
    allowed = set(reply.headers["access-control-allow-headers"].lower().split(", "))
    assert {"authorization", "content-type", "restrict-access", "share-secret", "x-requested-with"} <= allowed


def test_replies_come_in_the_documented_envelope(tea: TeaGroup) -> None:
    reply = tea.alice.api.ok("GET", f"/thread/{tea.thread}")
    wanted = {"action", "application", "applicationName", "organization", "uri", "path", "entities", "data"}
    assert wanted | {"timestamp", "duration"} == reply.keys()
    assert (reply["organization"], reply["applicationName"], reply["action"]) == ("imkit", "sandbox", "get")


def test_health_tells_what_runs(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    health = httpx.get(f"{sandbox.rest_url}/imkit/health", timeout=WAIT, trust_env=False).json()
    assert health["app_key"] == sandbox.app_key
    assert health["connections"] >= 1
    assert sandbox.secret not in str(health)
    device.ask_unread()


# ---------------------------------------------------------------- attachments


def upload(api: Api, body: bytes, name: str = "说明.txt", kind: str = "text/plain") -> Any:
    path = "/chatfiles?chat-type=GROUP&chat-target=1"
    return api.call("POST", path, files={"file": (name, body, kind)}, headers={"restrict-access": "true"})


def test_attachments_come_back_to_who_has_the_secret(tea: TeaGroup, nobody: Api) -> None:
    reply = upload(tea.alice.api, b"\x00body of the file\xff")
    assert reply.status_code == 200
    entity = reply.json()["entities"][0]
    assert entity["type"] == "chatfile"
    path, secret = f"/chatfiles/{entity['uuid']}", entity["share-secret"]
    back = tea.bob.api.call("GET", f"{path}?em-redirect=true&share-secret={secret}")
    assert (back.status_code, back.content) == (200, b"\x00body of the file\xff")
    assert back.headers["content-disposition"] == "attachment"
    assert nobody.call("GET", path, headers={"share-secret": secret}).content == back.content
    denied = tea.bob.api.refused("GET", f"{path}?share-secret=guess", 403)
    assert denied["error_description"] == "chatfile no permission"
    assert tea.bob.api.refused("GET", "/chatfiles/no-such-file", 404)["error"] == "file_expired"


def test_attachments_have_a_limit(tea: TeaGroup) -> None:
    limit = 10 * 1024 * 1024
    assert upload(tea.alice.api, b"x" * limit).status_code == 200
    for size in (limit + 1, limit + 100_000):
        reply = upload(tea.alice.api, b"x" * size)
        assert (reply.status_code, reply.json()["error"]) == (413, "request_entity_too_large")
    tea.alice.api.refused("POST", "/chatfiles", 400, files={"other": ("x", b"x")})
    tea.alice.api.refused("POST", "/chatfiles", 400, content=b"--", headers={"Content-Type": "multipart/form-data"})
    tea.alice.api.refused("POST", "/sdk/chatfiles/part-upload", 404)
