"""Clients that send too much: every kind of data has a limit, and the refusal is the service's own kind of answer."""

import json
import os
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from imkit.sandbox.limits import KIB, MIB
from imkit.wire import schema
from imkit.wire.enums import ContentType
from tests.attacks.served import Served, served
from tests.people import new_name
from tests.sandbox.server.raw_client import (
    PROVISION,
    UNREAD,
    WAIT,
    Api,
    Device,
    app_api,
    frame,
    open_socket,
    provision,
    text_body,
    token_of,
)
from tests.waits import eventually

LIMIT = 40 * KIB
LIMIT_REACHED = (403, 40007)


@pytest.fixture(scope="module")
def small() -> Iterator[Served]:
    """A server where little is allowed."""
    few = dict.fromkeys(("groups_per_user", "threads_per_group", "tokens_per_user", "uploads_at_once_per_user"), 2)
    never = dict.fromkeys(("sends_per_second", "guesses_per_second", "guesses_in_all_per_second"), 1e-9)
    at_once = {"sends_at_once": 5, "guesses_at_once": 3, "guesses_in_all_at_once": 6}
    attached = {"attachment_bytes_per_user": 3 * LIMIT, "attachment_bytes_in_all": 5 * LIMIT}
    with served(options={"attachment_bytes": LIMIT}, **few, **never, **at_once, **attached, members_per_group=3) as it:
        yield it


@pytest.fixture(scope="module")
def usual() -> Iterator[Served]:
    """A server with the usual limits."""
    with served() as running:
        yield running


@pytest.fixture
def alice(small: Served) -> Api:
    user = new_name("alice")
    return Api(small, token_of(small, user), user)


def upload(api: Api, body: bytes, kind: str = "text/plain") -> Any:
    return api.call("POST", "/chatfiles", files={"file": ("name", body, kind)})


# ---------------------------------------------------------------- uploads


def head_of(api: Api, *headers: str) -> bytes:
    lines = [
        *("POST /imkit/sandbox/chatfiles HTTP/1.1", "Host: localhost", f"Authorization: Bearer {api.token}"),
        *("Content-Type: multipart/form-data; boundary=b", *headers, "", ""),
    ]
    return "\r\n".join(lines).encode()


def test_a_large_upload_is_refused_before_it_is_read(small: Served, alice: Api) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=WAIT) as client:
        client.sendall(head_of(alice, f"Content-Length: {400 * 1024**2}", "Expect: 100-continue"))
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_an_upload_without_a_length_is_refused_while_it_is_read(
    small: Served, alice: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.create_connection(("127.0.0.1", small.port), timeout=WAIT) as client:
        client.sendall(head_of(alice, "Transfer-Encoding: chunked"))
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        client.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        client.setblocking(False)
        sent, answer = 0, b""
        while not answer:
            try:
                sent += client.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
                answer = client.recv(4096)
            except BlockingIOError:
                continue
    assert answer.startswith(b"HTTP/1.1 413")
    assert list(tmp_path.iterdir()) == []
    assert upload(alice, b"x" * LIMIT).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_many_parts_fields_and_headers_are_refused(alice: Api) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    field = b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n\r\n'
    headers = b"--b\r\n" + b"A: b\r\n" * 5000 + b"\r\n\r\n"
    header = b"--b\r\nA: " + b"b" * 30_000 + b"\r\n\r\n\r\n"
    for body in (field * 500, file * 500, headers, header, b"--b" * 9000, b"\r\n" * 9000):
        alice.refused("POST", "/chatfiles", 400, content=body + b"--b--\r\n", headers=form)


def test_attachments_have_quotas(small: Served, alice: Api) -> None:
    others = [Api(small, token_of(small, name), name) for name in (new_name(), new_name())]
    replies = [upload(alice, b"x" * LIMIT) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 403]
    assert (replies[-1].json()["error"], replies[-1].json()["error_code"]) == ("limit_exceeded", 40007)
    assert {upload(other, b"x" * LIMIT).status_code for other in others for _ in range(3)} >= {403}
    stored = small.store.row("SELECT sum(length(body)) FROM attachments")[0]
    assert stored <= 5 * LIMIT


def test_few_uploads_of_a_user_are_read_at_once(small: Served, alice: Api) -> None:
    begun = [socket.create_connection(("127.0.0.1", small.port), timeout=WAIT) for _ in range(2)]
    for client in begun:
        client.sendall(head_of(alice, "Content-Length: 1000", "Expect: 100-continue"))
        assert client.recv(4096).startswith(b"HTTP/1.1 100")
    assert upload(alice, b"third").json()["error"] == "reach_limit"
    other = new_name()
    assert upload(Api(small, token_of(small, other), other), b"of another user").status_code in (200, 403)
    for client in begun:
        client.close()
    assert eventually(lambda: upload(alice, b"third").status_code != 429)


def test_a_made_up_content_type_does_not_break_the_download(usual: Served) -> None:
    api = Api(usual, token_of(usual, "alice"), "alice")
    for kind in ("text/\x01plain", "text/html\x0b", "a" * 500, "测试"):
        entity = upload(api, b"body", kind).json()["entities"][0]
        back = api.call("GET", f"/chatfiles/{entity['uuid']}?share-secret={entity['share-secret']}")
        assert (back.status_code, back.content) == (200, b"body")
        assert back.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "unicode_escape", "utf-16"])
def test_a_form_chooses_no_codec_of_python(alice: Api, charset: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="\\ud800"\r\n\r\nx\r\n--b--\r\n'
    form = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    alice.refused("POST", "/chatfiles", 415, content=body, headers=form)


def test_clients_that_take_nothing_of_a_file_share_its_bytes(usual: Served) -> None:
    alice = Api(usual, token_of(usual, "alice"), "alice")
    size = 9 * MIB
    entity = upload(alice, bytes(size)).json()["entities"][0]
    request = f"GET /imkit/sandbox/chatfiles/{entity['uuid']}?share-secret={entity['share-secret']} HTTP/1.1\r\n"
    with ExitStack() as opened:
        for _ in range(12):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", usual.port), timeout=WAIT))
            client.sendall(request.encode() + b"Host: localhost\r\n\r\n")
            assert client.recv(1) == b"H"
        assert usual.unsent_bytes < size


def test_compressed_bodies_are_not_read(alice: Api) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    alice.refused("POST", "/token", 415, content=b"\x1f\x8b", headers=headers)
    alice.refused("POST", "/chatfiles", 415, content=b"\x1f\x8b", headers=headers)


# ---------------------------------------------------------------- quotas


def test_groups_threads_members_and_tokens_have_quotas(small: Served, alice: Api) -> None:
    group = alice.group()
    parents = [Device(small, alice.user, unread=False).send(group, "parent") for _ in range(3)]
    alice = Api(small, token_of(small, alice.user), alice.user)  # the earlier tokens have ended
    for parent in parents[:2]:
        alice.thread(group, parent)
    third = {"name": "n", "msg_id": str(parents[2]), "group_id": group, "owner": alice.user}
    alice.refused("POST", "/thread", *LIMIT_REACHED, json=third)
    alice.group()
    alice.refused("POST", "/chatgroups", *LIMIT_REACHED, json={"owner": alice.user, "groupname": "third"})
    users = [new_name() for _ in range(4)]
    for user in users:
        token_of(small, user)
    alice.refused("POST", f"/chatgroups/{group}/invite", 403, json={"usernames": users})
    assert len(alice.ok("GET", f"/chatgroups/{group}/users")["data"]) <= 3
    for _ in range(2):
        token_of(small, alice.user)
    assert alice.refused("GET", f"/users/{alice.user}", 401)["error"] == "auth_bad_access_token"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/chatgroups", {"groupname": "n" * 200}),
        ("POST", "/chatgroups", {"groupname": "n", "desc": "d" * 5000}),
        ("POST", "/chatgroups", {"groupname": "n", "custom": "c" * 50_000}),
        ("POST", "/chatgroups", {"groupname": "n", "custom": {"a": 1}}),
        ("POST", "/chatgroups", {"groupname": "n", "maxusers": "many"}),
        ("POST", "/chatgroups", {"groupname": "n", "maxusers": -1}),
        ("POST", "/chatgroups", {"groupname": "n", "members": ["u"] * 5000}),
        ("GET", "/chatgroups/" + ",".join(map(str, range(500))), None),
        ("POST", "/users", {"username": "eve", "password": "p" * 100_000}),
        ("POST", "/users", {"username": "eve", "password": "p", "nickname": "n" * 100_000}),
        ("POST", "/token", [{"grant_type": "password"}]),
    ],
)
def test_a_long_or_wrong_value_is_refused(alice: Api, method: str, path: str, body: Any) -> None:
    alice.refused(method, path, 400, json=body)


def test_sends_have_a_quota_and_a_size(small: Served) -> None:
    bob = Device(small, new_name("bob"))
    group = bob.api.group()
    for number in range(5):
        bob.send(group, str(number))
    assert bob.refused(group, "one more") == (7, "traffic limit")
    carol = Device(small, new_name("carol"))
    large = schema.MessageBody(contents=[schema.Content(text="x" * 6000)])
    assert carol.refused(group, large) == (7, "Sorry, data is too large")
    assert carol.refused(group, "x", directedUsers=["u" * 60] * 1000) == (7, "Sorry, data is too large")


def test_slow_frames_of_one_client_leave_turns_for_others(usual: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = Device(usual, new_name("alice"))
    delivery, units = usual.server.application.backend.delivery, 0
    unit = delivery.unit

    def counted_unit() -> AbstractContextManager[None]:
        nonlocal units
        units += 1
        return unit()

    monkeypatch.setattr(delivery, "unit", counted_unit)
    monkeypatch.setattr("imkit.sandbox.server.msync._UNIT_SECONDS", 0)  # each frame is slow
    for _ in range(20):
        alice.socket.send(frame(UNREAD))
    for _ in range(20):
        alice.next(UNREAD)
    assert units >= 20


def test_the_name_of_a_device_has_a_limit(small: Served) -> None:
    client = open_socket(small)
    client.send(provision(small.app_key, "dave", token_of(small, "dave"), "r" * 5000))
    reply = schema.MSync.FromString(client.recv(timeout=WAIT))
    assert reply.command == PROVISION
    assert schema.Provision.FromString(reply.payload).status.errorCode == 1


def test_a_full_store_takes_nothing_new_and_stays_readable(tmp_path: Path) -> None:
    with served(tmp_path / "data", store_bytes=400 * KIB) as server:
        alice = Device(server, "alice")
        group = alice.api.group()
        sent = alice.send(group, "before")
        while (last := upload(alice.api, os.urandom(8 * KIB))).status_code == 200:
            pass
        assert (last.status_code, last.json()["error"]) == (507, "insufficient_storage")
        assert alice.refused(group, "after") == (7, "traffic limit")
        alice.api.refused("POST", "/chatgroups", 507, json={"owner": "alice", "groupname": "more"})
        app = app_api(server)
        app.refused("POST", "/users", 507, json={"username": "eve", "password": "p"})
        assert [each["msg"] for each in alice.api.page(group)["msgs"]]
        assert sent
        assert app.ok("GET", "/thread?limit=1")
        members = {"usernames": ["alice"]}
        app.refused("POST", f"/chatgroups/{group}/invite", 507, json=members)
        app.refused("POST", f"/chatgroups/{group}/apply", 507, json={"username": "bob"})
        app.refused("PUT", f"/chatgroups/{group}", 507, json={"groupname": "more notices"})
        app.refused("POST", f"/chatgroups/{group}/admin", 507, json={"newadmin": "alice"})
        app.refused("DELETE", f"/chatgroups/{group}/admin/alice", 507)
        # Alice can do these again and again, and each time the store would take a notice to her other devices.
        view, channel = "/sdk/user/alice", {"to": group, "type": "groupchat", "channel": group}
        alice.api.refused("DELETE", f"{view}/user_channel/top", 507, params=channel)
        marked = {"mark": "mark_1", "targets": [channel]}
        alice.api.refused("DELETE", f"{view}/user_channels/mark", 507, json=marked)
        alice.api.refused("DELETE", "/user/alice/user_channel", 507, json=channel)
        earlier = {"groupId": group, "delTime": 5}
        alice.api.refused("DELETE", "/sdk/message/roaming/group/user/alice/time", 507, params=earlier)
        alice.leave()
        assert Device(server, "alice", "tablet").provision.status.errorCode == 0


# ---------------------------------------------------------------- guesses


def test_passwords_are_not_guessed_fast(small: Served) -> None:
    nobody = Api(small)
    login = {"grant_type": "password", "username": new_name("lin"), "password": "right"}
    nobody.ok("POST", "/users", json=login)
    for _ in range(5):  # a right one is no guess
        nobody.ok("POST", "/token", json=login)
    wrong = [nobody.call("POST", "/token", json={**login, "password": str(guess)}) for guess in range(4)]
    assert [reply.status_code for reply in wrong] == [400, 400, 400, 429]
    assert int(wrong[-1].headers["retry-after"]) >= 1
    assert nobody.refused("POST", "/token", 429, json=login)["error"] == "reach_limit"
    # Other users may log in, until all guesses together are too many.
    others = [{**login, "username": new_name(name)} for name in ("one", "two")]
    for other in others:
        nobody.ok("POST", "/users", json=other)
        nobody.ok("POST", "/token", json=other)
    for guess in range(3):
        nobody.refused("POST", "/token", 400, json={**others[0], "password": str(guess)})
    nobody.refused("POST", "/token", 429, json=others[1])


# ---------------------------------------------------------------- errors are JSON


def test_an_error_of_the_store_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imkit.sandbox.server.store._LOCKED_SECONDS", 0.01)
    with served(tmp_path / "data") as server:
        alice = Api(server, token_of(server, "alice"), "alice")
        other = sqlite3.connect(tmp_path / "data", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        reply = alice.call("POST", "/chatgroups", json={"owner": "alice", "groupname": "tea"})
        assert (reply.status_code, reply.json()["error"]) == (503, "service_unavailable")
        assert reply.headers["retry-after"] == "1"
        other.execute("ROLLBACK")
        other.execute("DROP TABLE groups")
        other.close()
        alice.refused("GET", "/chatgroups/1", 500)
        monkeypatch.setattr(server.server.application.backend.users, "find", None)
        alice.refused("GET", "/users/alice", 500)
        full = server.store.row("PRAGMA page_count")[0]
        server.store.row(f"PRAGMA max_page_count = {full}")
        monkeypatch.setattr(server.server.application.backend.quotas, "check_room", lambda: None)
        assert upload(alice, os.urandom(50_000)).json()["error"] == "insufficient_storage"
        assert server.health().status_code == 200


WRONG_VALUES: tuple[Any, ...] = (None, -1, 10**400, "x" * 5000, "\x00", [[]], {"a": {}})
FIELDS = (
    *("grant_type", "username", "password", "ttl", "client_secret", "nickname", "newpassword", "resource", "user"),
    *("owner", "groupname", "name", "desc", "description", "members", "maxusers", "custom", "avatar", "public"),
    *("newowner", "newadmin", "usernames", "mute_duration", "msg_id", "group_id", "threadIds", "queue", "start"),
    *("pull_number", "is_positive", "startTime", "endTime", "msgType", "userId", "to", "from", "chat_type", "force"),
    *("msgId", "message", "messageIds"),
)


QUERY = (
    "limit",
    "cursor",
    "pagenum",
    "pagesize",
    "sort",
    "msgIdList",
    "msgId",
    "message",
    "groupId",
    "pageSize",
    "key",
)


def test_no_value_makes_a_handler_fail(usual: Served) -> None:
    user = new_name("alice")
    right: dict[str, Any] = {"grant_type": "inherit", "username": user, "chat_type": "groupchat"}
    alice, app = Device(usual, user), app_api(usual)
    group = alice.api.group()
    thread = alice.api.thread(group, parent := alice.send(group, "parent"))
    right |= {"group_id": group, "msg_id": str(parent), "queue": f"{thread}@conference.easemob.com", "to": thread}
    names = {"organization": "imkit", "application": "sandbox", "group": group, "user": user, "users": user}
    names |= {"message": str(parent), "uuid": "x", "kind": "group"}
    connection = HTTPConnection("127.0.0.1", usual.port, timeout=WAIT)
    for route in usual.server.application.routes:
        path = route.path.format(**names, id=thread if "/thread" in route.path else group)
        for method in (route.methods or set()) - {"DELETE", "HEAD"}:
            for value in WRONG_VALUES:
                query = urlencode(dict.fromkeys(QUERY, str(value)[:1000]))
                wrong = dict.fromkeys(FIELDS, value)
                for api, body in ((alice.api, wrong), (alice.api, wrong | right), (app, wrong | right)):
                    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api.token}"}
                    connection.request(method, f"{path}?{query}", json.dumps(body), headers)
                    reply = connection.getresponse()
                    text = reply.read()
                    assert reply.status < 500, (method, path, value, text)
    connection.close()


# ---------------------------------------------------------------- numbers that JSON does not have

NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999")


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_no_body_holds_a_number_that_is_no_json(alice: Api, number: str) -> None:
    headers = {"Content-Type": "application/json"}
    for path, field in (
        *(("/chatgroups", "maxusers"), ("/chatgroups", "custom"), ("/token", "ttl"), ("/users", "x")),
        *((f"/users/{alice.user}/messageroaming", "pull_number"), ("/chatgroups/1/mute", "mute_duration")),
    ):
        for body in (f'{{"groupname": "g", "{field}": {number}}}', f'{{"{field}": [{{"a": {number}}}]}}'):
            answer = alice.refused("POST", path, 400, content=body, headers=headers)
            assert answer["error"] == "json_parse"
    assert alice.ok("GET", f"/users/{alice.user}/joined_chatgroups")["data"] == []
    for query in ("limit", "pagesize", "pagenum"):
        path = f"/users/{alice.user}/joined_chatgroups?{query}={number}"
        alice.refused("GET", path, 400)


def strict_json(text: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_group_with_such_a_number_in_earlier_data_is_shown(usual: Served) -> None:
    user = new_name("alice")
    alice = Api(usual, token_of(usual, user), user)
    settings = '{"maxusers": Infinity, "custom": {"a": NaN}, "public": true}'
    with usual.store.transaction():
        usual.store.execute("INSERT INTO groups VALUES ('201', 'old', '', ?, 1, ?, 0)", (user, settings))
        usual.store.execute("INSERT INTO members VALUES ('201', ?, 'owner', 1, 0)", (user,))
    for path in (f"/users/{user}/joined_chatgroups", "/chatgroups/201"):
        (group,) = strict_json(alice.call("GET", path).content)["data"]
        assert (group["id"], group["maxusers"]) == ("201", 200)
    bob = Api(usual, token_of(usual, "bob"), "bob")
    bob.ok("POST", "/chatgroups/201/apply", json={})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_message_with_such_a_number_is_given_back_as_json(usual: Served, number: float) -> None:
    place = schema.Content(type=ContentType.LOCATION, address="here", latitude=number, longitude=number)
    picture = schema.Content(type=ContentType.IMAGE, displayName="x")
    picture.size.width = picture.size.height = number
    ext = [schema.KeyValue(key="d", type=6, doubleValue=number), schema.KeyValue(key="f", type=5, floatValue=number)]
    alice = Device(usual, new_name("alice"))
    group = alice.api.group()
    thread = alice.api.thread(group, alice.send(group, "parent"))
    for content in (place, picture):
        body = text_body("", ext=ext)
        body.contents[0].CopyFrom(content)
        alice.send(thread, body)
        answer = strict_json(alice.api.call("POST", "/thread/message", json={"threadIds": [thread]}).content)
        assert answer["entities"][0]["last_message"]["payload"]["bodies"][0]["type"] in ("loc", "img")
    alice.api.page(group)
    alice.receive_all()
    assert [strict_json(meta.payload)["type"] for meta in alice.metas if meta.ns == 5] == ["thread"] * 3
