"""A hostile page of another origin, in a real Chromium, against a sandbox on the same machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

import imkit
from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE
from imkit.sandbox.home import home
from imkit.sandbox.process import Sandbox
from tests.browser import chromium
from tests.file_server import FileServer
from tests.sandbox.server.raw_client import Api

pytestmark = pytest.mark.browser

SITE = "site.example"  # a name that its owner lets lead to this machine

# What the page tries, each as an async function of JavaScript. `rest` and `ws` are the sandbox's addresses.
READ = """async ({ rest, path, how }) => {
  try {
    const reply = await fetch(rest + path, how);
    return { type: reply.type, status: reply.status, text: await reply.text() };
  } catch (error) { return { refused: error.name }; }
}"""
# A form needs no preflight request. The answer goes to a frame, and the page may not look into it.
FORM = """({ rest, path, kind, name, value }) => new Promise((resolve) => {
  const frame = Object.assign(document.createElement('iframe'), { name: 'answer' });
  document.body.append(frame);
  const form = document.createElement('form');
  Object.assign(form, { method: 'post', action: rest + path, enctype: kind, target: 'answer' });
  form.append(Object.assign(document.createElement('input'), { name, value }));
  document.body.append(form);
  frame.onload = () => {
    let seen = null;
    try { seen = frame.contentDocument?.body?.textContent || null; } catch (error) { seen = null; }
    frame.remove(); form.remove(); resolve(seen);
  };
  form.submit();
})"""
EMBED = """({ rest, path, tag }) => new Promise((resolve) => {
  const element = Object.assign(document.createElement(tag), { src: rest + path });
  element.onload = () => resolve('loaded');
  element.onerror = () => resolve('refused');
  document.body.append(element);
})"""
SOCKET = """({ ws, sends }) => new Promise((resolve) => {
  const got = [];
  const socket = new WebSocket(ws);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => sends.forEach((bytes) => socket.send(new Uint8Array(bytes)));
  socket.onmessage = (event) => got.push(event.data.byteLength ?? event.data);
  socket.onclose = (event) => resolve({ got, code: event.code });
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.running(f"--host-resolver-rules=MAP {SITE} 127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    """A sandbox in which nobody may register by himself."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html>")
    with FileServer(folder) as site:
        opened = browser.new_page()
        opened.goto(site.url)
        yield opened
        opened.close()


def app_of(server: Sandbox) -> Api:
    credentials = {"grant_type": "client_credentials", "client_id": "app", "client_secret": server.secret}
    return Api(server, Api(server).ok("POST", "/token", json=credentials)["access_token"])


def read(page: Page, server: Sandbox, path: str, **how: Any) -> dict[str, Any]:
    answer = page.evaluate(READ, {"rest": server.rest_url, "path": path, "how": how})
    assert isinstance(answer, dict)
    return answer


def test_a_page_without_a_token_gets_nothing(page: Page, server: Sandbox) -> None:
    app = f"/{server.app_key.replace('#', '/')}"
    with imkit.login("alice", app=server.app) as alice:
        group = alice.create_group("tea")
        sent = group.send("a secret")

        # imkit's own endpoints: neither readable, nor with a header that needs a preflight request, nor with cookies.
        bearer = {"Authorization": "Bearer guess", "Content-Type": "application/json"}
        for path, method in ((HEALTH, "GET"), (APP_SERVER_TOKEN, "POST"), (RETIRE, "POST")):
            for how in ({}, {"headers": bearer}, {"credentials": "include"}):
                assert read(page, server, path, method=method, **how) == {"refused": "TypeError"}
            # Without CORS a page may send a simple request. It learns not even the status of the answer.
            blind = {"method": method, "mode": "no-cors"} | ({"body": '{"user": "eve"}'} if method == "POST" else {})
            assert read(page, server, path, **blind) == {"type": "opaque", "status": 0, "text": ""}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            for path in (APP_SERVER_TOKEN, RETIRE, f"{app}/users", f"{app}/token", f"{app}/chatgroups/{group.id}/quit"):
                # As text/plain these two make one JSON object: {"user": "eve", "…": "="}.
                body = {"name": '{"user": "eve", "username": "eve", "password": "eve", "x": "', "value": '"}'}
                assert page.evaluate(FORM, {"rest": server.rest_url, "path": path, "kind": kind, **body}) is None
        for tag in ("script", "img"):
            assert page.evaluate(EMBED, {"rest": server.rest_url, "path": HEALTH, "tag": tag}) == "refused"

        # The state file has the secret: a page cannot read files.
        state = {"rest": f"file://{home()}", "path": "/sandbox.json"}
        assert page.evaluate(READ, {**state, "how": {}}) == {"refused": "TypeError"}
        assert page.evaluate(READ, {**state, "how": {"mode": "no-cors"}}) == {"refused": "TypeError"}

        # The API of the app: readable, and it says that a token is wanted.
        history = {"queue": f"{group.id}@conference.easemob.com", "start": -1, "pull_number": 10}
        asked = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": json.dumps(history)}
        calls: dict[str, dict[str, Any]] = {
            f"{app}/users/alice": {},
            f"{app}/users/alice/joined_chatgroups": {},
            f"{app}/chatgroups/{group.id}": {"headers": {"Authorization": "Bearer guess"}},
            f"{app}/users/alice/messageroaming": asked,
        }
        for path, call in calls.items():
            answer = read(page, server, path, **call)
            assert (answer["status"], "a secret" in answer["text"]) == (401, False)
        # A browser adds no token by itself, and an answer for every origin is none for requests with credentials.
        assert read(page, server, f"{app}/users/alice", credentials="include") == {"refused": "TypeError"}

        # The sockets: an UNREAD and a SYNC without a login, then garbage.
        for path in ("/websocket", "/ws", "/ws?token=guess"):
            ws = f"ws://{urlsplit(server.rest_url).netloc}{path}"
            for sends in ([[0x40, 1]], [[0x40, 0, 0x4A, 0]], [[255] * 64]):
                assert page.evaluate(SOCKET, {"ws": ws, "sends": sends})["got"] == []

        # Nothing of all this has changed anything.
        assert list(group.members()) == ["alice"]
        assert [message.id for message in group.messages()] == [sent.id]
    assert app_of(server).call("GET", "/users/eve").status_code == 404


def test_a_page_with_a_token_may_use_the_api(page: Page, server: Sandbox) -> None:
    app = f"/{server.app_key.replace('#', '/')}"
    with imkit.login("bob", app=server.app) as bob:
        group = bob.create_group("coffee")
    issued = app_of(server).ok("POST", "/token", json={"grant_type": "inherit", "username": "bob"})
    headers = {"Authorization": f"Bearer {issued['access_token']}", "X-Request-Id": "1"}
    answer = read(page, server, f"{app}/users/bob/joined_chatgroups", headers=headers)
    assert (answer["type"], answer["status"]) == ("cors", 200)
    assert group.id in answer["text"]
    # A token of the app opens none of imkit's own endpoints.
    for path in (APP_SERVER_TOKEN, RETIRE):
        assert read(page, server, path, method="POST", headers=headers) == {"refused": "TypeError"}


def test_a_site_whose_name_leads_to_this_machine_gets_nothing(page: Page, server: Sandbox) -> None:
    """DNS rebinding: the browser takes the sandbox for a part of the site, and asks nobody for permission."""
    port = urlsplit(server.rest_url).port
    reply = page.goto(f"http://{SITE}:{port}{HEALTH}")
    assert reply is not None
    assert (reply.status, server.app_key in reply.text()) == (421, False)
    assert page.evaluate("() => location.hostname") == SITE
    app = server.app_key.replace("#", "/")
    same = {"rest": "", "how": {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json"}}}
    for path in (APP_SERVER_TOKEN, RETIRE, f"/{app}/token"):
        assert page.evaluate(READ, {**same, "path": path})["status"] == 421
    answer = page.evaluate(SOCKET, {"ws": f"ws://{SITE}:{port}/websocket", "sends": [[0x40, 1]]})
    assert answer == {"got": [], "code": 1006}
