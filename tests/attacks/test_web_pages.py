"""A web page of another site, open in a browser on the same machine: what it can send to a sandbox without asking."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import imkit
from imkit.sandbox.demo import FACTS, Demo
from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE
from imkit.sandbox.options import Options
from imkit.sandbox.server.demo.cast import READER
from imkit.sandbox.server.demo.password import COMMUNITY
from imkit.sandbox.server.server import Server
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.users import Users
from imkit.sandbox.state import read_state
from tests.attacks.served import Served, served
from tests.sandbox.server.raw_client import NO_TLS, WAIT

ROOT = Path(__file__).parents[2]
SMALL = Demo(threads=10, messages=500)
# What a page may send without a preflight request: https://fetch.spec.whatwg.org/#cors-safelisted-request-header
FORM = "multipart/form-data; boundary=a"
SIMPLE = ("text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", FORM)
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
APP = {"organization": "imkit", "application": "sandbox"}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as running:
        yield running


def ask(server: Served, method: str, path: str, **how: Any) -> httpx.Response:
    url = f"{server.rest_url}{path}"
    return httpx.request(method, url, timeout=WAIT, trust_env=False, verify=NO_TLS, **how)


@pytest.mark.parametrize("kind", [*SIMPLE, None])
def test_a_simple_post_neither_logs_in_nor_registers(server: Served, kind: str | None) -> None:
    headers = {"Origin": "https://site.example", **({"Content-Type": kind} if kind else {})}
    register = b'{"username": "eve", "password": "guess"}'
    login = b'{"grant_type": "password", "username": "lin", "password": "guess"}'
    json = {**headers, "Content-Type": "application/json; charset=utf-8"}
    assert ask(server, "POST", "/imkit/sandbox/users", content=register, headers=headers).status_code == 415
    ask(server, "POST", "/imkit/sandbox/users", content=register.replace(b"eve", b"lin"), headers=json)
    assert ask(server, "POST", "/imkit/sandbox/token", content=login, headers=headers).status_code == 415
    # A page that holds the password may log in, after a preflight request: the official SDKs do.
    assert ask(server, "POST", "/imkit/sandbox/token", content=login, headers=json).status_code == 200


def test_no_simple_request_changes_anything(server: Served) -> None:
    for route in server.server.application.routes:
        path = route.path.format_map(dict.fromkeys(route.param_convertors, "x") | APP)
        for method in (route.methods or set()) & {"POST", "PUT", "DELETE"}:
            for kind in SIMPLE:
                headers = {"Origin": "null", "Content-Type": kind}
                reply = ask(server, method, path, content=b"{}", headers=headers)
                assert reply.status_code in (401, 403, 415), (method, path, reply.text)


@pytest.mark.parametrize(("method", "path"), [("GET", HEALTH), ("POST", APP_SERVER_TOKEN), ("POST", RETIRE)])
def test_no_page_of_another_origin_may_read_imkits_own_endpoints(server: Served, method: str, path: str) -> None:
    wish = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    headers = {"Origin": "https://site.example", **wish, "Access-Control-Request-Private-Network": "true"}
    app = ask(server, "OPTIONS", "/imkit/sandbox/users", headers=headers)
    assert (app.status_code, app.headers["access-control-allow-origin"]) == (200, "*")
    assert "access-control-allow-credentials" not in app.headers
    preflight = ask(server, "OPTIONS", path, headers=headers)
    guess = ask(server, method, path, headers={"Origin": "https://site.example", "Authorization": "Bearer guess"})
    assert (preflight.status_code, guess.status_code) == (405, 200 if path == HEALTH else 403)
    for reply in (preflight, guess):
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("host", "known"),
    [
        *(("127.0.0.1:1", True), ("[::1]", True), ("localhost:8", True), ("sandbox:8", True), ("a.localhost.", True)),
        *(("192.168.7.7:80", True), ("site.example:8080", False), ("127.0.0.1.site.example", False), ("", False)),
        *(("localhost.site.example", False), ("127.0.0.1@site.example", False), ("[site.example]", False)),
    ],
)
def test_a_site_cannot_read_the_sandbox_under_its_own_name(server: Served, host: str, known: bool) -> None:
    reply = ask(server, "GET", "/imkit/health", headers={"Host": host})
    assert (reply.status_code == 200) is known
    if not known:
        assert (reply.status_code, reply.json()["error"]) == (421, "misdirected_request")
        assert ask(server, "GET", "/websocket", headers={"Host": host, **UPGRADE}).status_code == 421


# ---------------------------------------------------------------- the demo community


def test_each_community_has_a_password_of_its_own_that_stays(tmp_path: Path) -> None:
    passwords = []
    for name in ("one", "two", "one"):
        server = Server(Options(), tmp_path / name)
        server.add_demo(SMALL)
        users = server.application.backend.users
        assert server.demo_password is not None
        assert users.is_password(FACTS.night_owl, server.demo_password)
        assert not users.is_password(FACTS.night_owl, "demo")
        passwords.append(server.demo_password)
        server.application.backend.store.close()
    assert passwords[0] == passwords[2] != passwords[1]
    assert len(passwords[0]) > 12


def test_the_password_that_everybody_knows_is_replaced_in_earlier_data(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    users = Users(store)
    with store.transaction():
        store.insert("INSERT INTO counters VALUES (?, ?)", (COMMUNITY, 7))
        users.register(READER, "demo")
        users.register(FACTS.muted, "chosen")
    store.close()
    server = Server(Options(), tmp_path / "data")
    users = server.application.backend.users
    assert server.demo_password is not None
    assert users.is_password(READER, server.demo_password)
    assert not users.is_password(READER, "demo")
    assert users.is_password(FACTS.muted, "chosen")
    server.application.backend.store.close()


def test_with_the_shared_data_the_command_needs_no_password(imkit_home: Path) -> None:
    line = [sys.executable, "-m", "imkit", "sandbox", "--demo", "--demo-threads=10", "--demo-messages=500"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        printed = server.stdout.readline()
        with imkit.login("lin.xiaomei") as session:
            assert session.account.app.rest_url in printed
        state = read_state(imkit_home / "sandbox.json")
        assert state is not None
        assert json.loads(printed)["demo_password"] == state.demo_password
        assert str(state.demo_password) not in repr(state)
        server.terminate()
        assert server.wait(WAIT) == 0
    assert not (imkit_home / "sandbox.json").exists()
