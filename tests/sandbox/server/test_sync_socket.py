"""SDK 5's second socket: the lists that it gives, what it refuses, and that no log holds its token.

Source: docs/protocol.md#sdk-5-second-socket.
"""

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from imkit.sandbox.limits import Limits
from imkit.sandbox.options import Options
from imkit.sandbox.process import Sandbox
from imkit.sandbox.server import sync_schema as schema
from imkit.sandbox.server.server import Application
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.sync_schema import MessageType
from imkit.sandbox.server.sync_socket import WithoutTokens
from imkit.wire.envelope import USER_DOMAIN
from imkit.wire.schema import MessageBody
from tests.people import new_name
from tests.sandbox.server.raw_client import WAIT, Device, TeaGroup, text_body


def open_sync(sandbox: Sandbox, token: str, **more: Any) -> ClientConnection:
    host = urlsplit(sandbox.rest_url).netloc
    return connect(f"ws://{host}/ws?token={token}", compression=None, proxy=None, open_timeout=WAIT, **more)


def request(user: str, kind: int, **fields: Any) -> bytes:
    header = {"resource": "page", "timestamp": 1, "request_id": f"request-{kind}", "protocol_version": 1}
    asked = schema.Request(type=kind, header=header, org="imkit", app="sandbox", username=user)
    content: bytes = asked.SerializeToString() + schema.SessionsRequest(**fields).SerializeToString()
    return content


def asked(socket: ClientConnection, content: bytes, answer: Any) -> list[Any]:
    """Send a request; return its answers up to the last batch."""
    socket.send(content)
    found = []
    while True:
        found.append(answer.FromString(socket.recv(timeout=WAIT)))
        if getattr(found[-1], "is_last_batch", True):
            return found


def test_the_three_lists(sandbox: Sandbox) -> None:
    tea = TeaGroup(sandbox)
    bob = tea.bob
    more = [bob.api.group(groupname=f"group {number}") for number in range(51)]
    sent = tea.alice.send(tea.group, "newest")
    with open_sync(sandbox, bob.token) as socket:
        whole = request(bob.user, MessageType.SESSIONS_REQUEST, need_empty_session=True, need_session_mark=True)
        batches = asked(socket, whole, schema.Sessions)
        assert [(batch.type, len(batch.sessions)) for batch in batches] == [(11, 50), (11, 2)]
        assert {batch.header.request_id for batch in batches} == {"request-10"}
        assert [batch.HasField("last_sync_finished_ts") for batch in batches] == [False, True]
        first = batches[0].sessions[0]
        told = (first.session_id, first.session_type, first.unread_count, first.group_name, first.updated_at)
        assert told == (tea.group, 1, 2, "tea", sent >> 20)
        assert (first.last_message.id, getattr(first.last_message, "from").name) == (sent, tea.alice.user)
        assert MessageBody.FromString(first.last_message.payload).contents[0].text == "newest"
        with_messages = asked(socket, request(bob.user, MessageType.SESSIONS_REQUEST), schema.Sessions)
        assert [session.session_id for session in with_messages[0].sessions] == [tea.group]

        groups = asked(socket, request(bob.user, MessageType.GROUPS_REQUEST), schema.Groups)
        listed = [group for batch in groups for group in batch.groups]
        assert [group.group_id for group in listed] == [tea.group, *more]
        assert (listed[0].role, listed[0].group_owner, listed[0].members_count) == (2, tea.alice.user, 3)
        assert (listed[1].role, listed[1].HasField("role"), listed[1].group_name) == (0, True, "group 0")

        (roster,) = asked(socket, request(bob.user, MessageType.ROSTER_REQUEST), schema.Roster)
        assert (roster.type, roster.cursor, roster.version, roster.response_type) == (4, 0, "1", 2)
        (pong,) = asked(socket, schema.Request(type=MessageType.PING).SerializeToString(), schema.Pong)
        assert (pong.type, pong.status) == (2, 0)


def test_a_conversation_with_a_user_has_the_name_that_the_user_gave_itself(sandbox: Sandbox) -> None:
    alice, bob, carol = (Device(sandbox, new_name(name)) for name in ("alice", "bob", "carol"))
    form = {"nickname": "小爱", "avatarurl": "https://example.com/a.png", "phone": "555"}
    alice.api.ok("PUT", f"/metadata/user/{alice.user}", data=form)
    for other in (alice, carol):
        other.send(bob.user, text_body("hello"), domain=USER_DOMAIN)
    with open_sync(sandbox, bob.token) as socket:
        (batch,) = asked(socket, request(bob.user, MessageType.SESSIONS_REQUEST), schema.Sessions)
    found = {session.session_id: session.metadata for session in batch.sessions}
    assert json.loads(found.pop(alice.user)) == {"nickname": "小爱", "avatarurl": "https://example.com/a.png"}
    assert found == {carol.user: ""}


def test_what_is_refused(sandbox: Sandbox) -> None:
    alice, bob = Device(sandbox, new_name("alice")), Device(sandbox, new_name("bob"))
    for wrong in ("made-up", "%20", "\u00e9"):
        with pytest.raises(InvalidStatus) as refused, open_sync(sandbox, wrong):
            pass
        assert refused.value.response.status_code == 401
    with open_sync(sandbox, alice.token) as socket:
        (other_user,) = asked(socket, request(bob.user, MessageType.SESSIONS_REQUEST), schema.Error)
        assert (other_user.type, other_user.code, other_user.header.request_id) == (5, 1001, "request-10")
        (unknown,) = asked(socket, request(alice.user, 99), schema.Error)
        assert unknown.code == 1503
        (roster,) = asked(socket, request(bob.user, MessageType.ROSTER_REQUEST), schema.RosterError)
        assert (roster.type, roster.code, roster.header.request_id) == (5, "1001", "request-3")
    closed = {b"\xff": 1007, b"x" * 9000: 1009, "text": 1003}
    for content, code in closed.items():
        with open_sync(sandbox, alice.token) as socket:
            socket.send(content)
            with pytest.raises(ConnectionClosed) as ended:
                socket.recv(timeout=WAIT)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == code
    with open_sync(sandbox, alice.token) as socket:
        for _ in range(Limits().sync_requests):
            asked(socket, schema.Request(type=MessageType.PING).SerializeToString(), schema.Pong)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=WAIT)
    # A socket without a token is one of MSYNC, whatever its path.
    host = urlsplit(sandbox.rest_url).netloc
    with connect(f"ws://{host}/ws", compression=None, proxy=None) as socket:
        socket.send(b"\xff")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=WAIT)


def test_a_user_may_open_some_of_these_sockets_and_not_more(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice"))
    sockets = [open_sync(sandbox, alice.token).__enter__() for _ in range(Limits().sync_sockets_per_user)]
    with pytest.raises(InvalidStatus) as refused, open_sync(sandbox, alice.token):
        pass
    assert refused.value.response.status_code == 429
    for socket in sockets:
        socket.close()


def serve(application: Application, token: str, *received: bytes, host: bytes = b"localhost") -> list[Any]:
    """Let an application serve one socket, whose client is silent after these messages; return what it sends."""
    waiting: list[Any] = [{"type": "websocket.connect"}]
    waiting += [{"type": "websocket.receive", "bytes": content} for content in received]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0) if waiting else await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message)

    query = f"token={token}".encode()
    scope = {"type": "websocket", "path": "/ws", "query_string": query, "headers": [(b"host", host)]}
    asyncio.run(application(scope, receive, send))
    return sent


def test_expired_tokens_silent_clients_and_names_of_other_hosts() -> None:
    clock = [1_800_000_000_000]
    store = Store(None, clock=lambda: clock[0])
    application = Application(Options(limits=Limits(sync_seconds=0.01)), store)
    with store.transaction():
        application.backend.users.register("alice", None)
        token, _ = application.backend.users.new_token("alice", 1)
        of_app, _ = application.backend.users.new_token(None, 1)
    assert serve(application, token, host=b"site.example")[0]["status"] == 421
    assert serve(application, of_app)[0]["status"] == 401
    clock[0] += 2000
    accepted, answer, closed = serve(application, token, request("alice", MessageType.GROUPS_REQUEST))
    assert accepted["type"] == "websocket.accept"
    assert schema.Error.FromString(answer["bytes"]).code == 1002
    assert closed["code"] == 1001


def test_an_open_socket_gives_nothing_after_a_new_password(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice"))
    asks = request(alice.user, MessageType.GROUPS_REQUEST)
    with open_sync(sandbox, alice.token) as socket:
        assert asked(socket, asks, schema.Groups)
        alice.api.ok("PUT", f"/users/{alice.user}/password", json={"newpassword": "another"})
        (refused,) = asked(socket, asks, schema.Error)
        assert refused.code == 1002


def test_no_log_holds_a_token() -> None:
    records = [
        ('%s - "WebSocket %s" [accepted]', ("127.0.0.1:1", "/ws?token=YWMt-secret")),
        ("< GET %s HTTP/1.1", ("/ws?a=b&token=YWMt-secret",)),
        ("< GET %s HTTP/1.1", ("/%77s?token=YWMt-secret",)),
        ('%s - "WebSocket %s" [accepted]', ("127.0.0.1:1", "/websocket?x='\"&token=YWMt-secret")),
        ('%s - "WebSocket %s" 403', ("127.0.0.1:1", "/WS/?a=?&token=YWMt-secret")),
    ]
    for text, values in records:
        record = logging.LogRecord("uvicorn.error", logging.INFO, "", 1, text, values, None)
        assert WithoutTokens().filter(record)
        shown = record.getMessage()
        assert "secret" not in shown
        assert shown.endswith(('s?…" [accepted]', 't?…" [accepted]', '/?…" 403', "s?… HTTP/1.1"))
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 1, "what? %s", ("no query",), None)
    assert WithoutTokens().filter(record)
    assert record.getMessage() == "what? no query"
