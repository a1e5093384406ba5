"""The socket: the login, the reasons for which it ends, and frames that cannot be read.

Source: docs/protocol.md#login-handshake, docs/protocol.md#kicked-off, docs/protocol.md#socket-transport.
"""

import base64
import json
import os
import socket
import struct
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from imkit.wire.envelope import USER_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import (
    LOGOUT,
    PROVISION,
    SYNC,
    UNREAD,
    WAIT,
    Device,
    TeaGroup,
    app_api,
    frame,
    is_text,
    open_socket,
    provision,
    token_of,
)


def close_code(connection: ClientConnection) -> int:
    try:
        while True:
            connection.recv(timeout=WAIT)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


def refusal(sandbox: Sandbox, user: str, token: str, app_key: str | None = None) -> tuple[int, str]:
    with open_socket(sandbox) as connection:
        connection.send(provision(app_key or sandbox.app_key, user, token))
        message = schema.MSync.FromString(connection.recv(timeout=WAIT))
        status = schema.Provision.FromString(message.payload).status
        return status.errorCode, status.reason


# ---------------------------------------------------------------- login


def test_the_reply_to_a_login_has_the_resource_and_the_tokens_expiry(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name(), resource="webim_random_web_1")
    assert device.provision.resource == "webim_random_web_1"
    assert device.provision.sessionId == "1795390332417:"
    assert not device.provision.protocolCompressType
    life = json.loads(device.provision.authToken)["expires_in"] - time.time_ns() // 1_000_000
    assert life == pytest.approx(60 * 24 * 3600 * 1000, abs=60_000)
    assert device.unread is not None
    assert abs(device.unread.timestamp - time.time_ns() // 1_000_000) < 60_000


def test_user_ids_do_not_depend_on_case(sandbox: Sandbox) -> None:
    user = new_name()
    token = token_of(sandbox, user.upper())
    with open_socket(sandbox) as connection:
        connection.send(provision(sandbox.app_key, user.title(), token))
        message = schema.MSync.FromString(connection.recv(timeout=WAIT))
        assert schema.Provision.FromString(message.payload).status.errorCode == 0


def test_a_login_may_have_its_token_in_provision_alone(sandbox: Sandbox) -> None:
    user = new_name()
    token = token_of(sandbox, user)
    guid = schema.JID(appKey=sandbox.app_key, name=user, domain=USER_DOMAIN)

    def status_of(token_text: str) -> int:
        wanted = schema.Provision(resource="page", authToken=token_text)
        with open_socket(sandbox) as connection:
            connection.send(frame(PROVISION, wanted, guid=guid))
            answer = schema.MSync.FromString(connection.recv(timeout=WAIT))
        code: int = schema.Provision.FromString(answer.payload).status.errorCode
        return code

    assert status_of(json.dumps({"token": f"$t${token}"})) == 0
    too_long = json.dumps({"token": f"$t${token}", "more": "x" * 8192})  # what is read of strangers has a limit
    for wrong in (too_long, "", "{}", "[1]", '{"token": 7}', '{"token": "$t$other"}', token, "{"):
        assert status_of(wrong) == 1


def test_a_login_is_refused_with_a_reason(sandbox: Sandbox) -> None:
    user, other = new_name(), new_name()
    token, foreign = token_of(sandbox, user), token_of(sandbox, other)
    mismatch = (1, "Sorry, token or password does not match login info")
    assert refusal(sandbox, user, "made-up") == mismatch
    assert refusal(sandbox, user, foreign) == mismatch
    assert refusal(sandbox, "nobody-" + user, token) == (1, "Sorry, user not found")
    assert refusal(sandbox, user, token, app_key="other#app") == (1, "Sorry, user not found")


def test_an_expired_token_is_refused_with_its_own_reason() -> None:
    with Sandbox(token_seconds=0) as sandbox:
        assert refusal(sandbox, "alice", token_of(sandbox, "alice")) == (1, "Sorry, token expired")


def test_a_logout_is_answered(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    device.socket.send(frame(LOGOUT, schema.Logout(reason="inner:logout")))
    assert schema.Logout.FromString(device.next(LOGOUT).payload).status.errorCode == 0


def test_statistics_get_no_answer(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    payload = schema.StatisticsBody(operation=0).SerializeToString()
    device.socket.send(frame(SYNC, schema.CommSyncUL(meta=schema.Meta(id=1, ns=0, payload=payload))))
    device.ask_unread()
    assert not device.replies


# ---------------------------------------------------------------- frames that cannot be read


def test_a_text_message_is_refused(sandbox: Sandbox) -> None:
    with open_socket(sandbox) as connection:
        connection.send("hello")
        assert close_code(connection) == 1003


def test_bytes_that_are_not_a_frame_close_the_socket(sandbox: Sandbox) -> None:
    with open_socket(sandbox) as connection:
        connection.send(b"\xff" * 20)
        assert close_code(connection) == 1007


def test_a_too_large_frame_closes_the_socket(sandbox: Sandbox) -> None:
    with open_socket(sandbox) as connection:
        # Only the head of a WebSocket frame: with the body sent too, a TCP reset could arrive before the close frame.
        connection.socket.sendall(struct.pack("!BBQ4s", 0x82, 0xFF, 100_000_000, b"mask"))
        assert close_code(connection) == 1009


def test_a_frame_before_the_login_closes_the_socket(sandbox: Sandbox) -> None:
    with open_socket(sandbox) as connection:
        connection.send(frame(UNREAD))
        assert close_code(connection) == 1008


def test_an_empty_frame_is_an_empty_sync(tea: TeaGroup) -> None:
    tea.alice.socket.send(b"")
    assert tea.alice.send(tea.thread, "still here")


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x12\x02\xff\xfe", b"\x22\x7f"])
def test_a_message_that_cannot_be_read_is_refused_and_the_session_continues(tea: TeaGroup, payload: bytes) -> None:
    meta = schema.Meta(id=77, to=schema.JID(name=tea.thread), ns=1, payload=payload)
    tea.alice.socket.send(frame(SYNC, schema.CommSyncUL(meta=meta)))
    assert tea.alice.reply_to(77).status.errorCode == 10
    assert tea.alice.send(tea.thread, "still here")


def test_random_bytes_of_other_sockets_do_not_disturb_a_session(tea: TeaGroup) -> None:
    for number in range(20):
        connection = open_socket(tea.alice.server)
        connection.send(os.urandom(1 + 50 * number))
    tea.alice.send(tea.thread, "as if nothing were")
    tea.bob.until(is_text("as if nothing were"))


# ---------------------------------------------------------------- kicks


def kick_of(device: Device) -> tuple[int, str]:
    meta = device.until(lambda meta: meta.ns == 0, "a kick")
    body = schema.StatisticsBody.FromString(meta.payload)
    return body.operation, body.reason


def test_a_second_login_of_one_device_replaces_the_first(sandbox: Sandbox) -> None:
    user = new_name()
    first = Device(sandbox, user, resource="phone")
    second = Device(sandbox, user, resource="phone")
    assert kick_of(first) == (2, "logged in elsewhere")
    assert first.closed() == 1000
    second.ask_unread()


def test_a_fifth_device_kicks_the_earliest(sandbox: Sandbox) -> None:
    user = new_name()
    devices = [Device(sandbox, user, resource=f"device-{number}") for number in range(5)]
    assert kick_of(devices[0])[0] == 2
    assert devices[0].closed() == 1000
    for device in devices[1:]:
        device.ask_unread()


def test_a_new_password_ends_every_login(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    app_api(sandbox).ok("PUT", f"/users/{device.user}/password", json={"newpassword": "other"})
    assert kick_of(device)[0] == 3
    assert device.closed() == 1000
    device.api.refused("GET", f"/users/{device.user}", 401)


def test_the_app_can_disconnect_and_remove_a_user(sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    device = Device(sandbox, new_name())
    device.api.refused("POST", f"/users/{device.user}/disconnect", 403)
    assert app.ok("POST", f"/users/{device.user}/disconnect")["data"]["count"] == 1
    assert kick_of(device)[0] == 4
    again = Device(sandbox, device.user)
    app.ok("DELETE", f"/users/{device.user}")
    assert kick_of(again)[0] == 1
    app.refused("GET", f"/users/{device.user}", 404)


# ---------------------------------------------------------------- without a WebSocket library


def test_the_framing_is_rfc_6455(sandbox: Sandbox) -> None:
    """Written by hand: a handshake, a masked frame in two fragments with a ping in between, and a close."""
    user = new_name()
    login = provision(sandbox.app_key, user, token_of(sandbox, user))
    parts = urlsplit(sandbox.ws_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as raw:
        key = base64.b64encode(os.urandom(16)).decode()
        raw.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        reader = raw.makefile("rb")
        assert reader.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        headers = {}
        while (line := reader.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        assert "sec-websocket-extensions" not in headers
        assert "sec-websocket-protocol" not in headers

        def send(opcode: int, payload: bytes, final: bool = True) -> None:
            mask = os.urandom(4)
            size = (
                struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
            )
            masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            raw.sendall(bytes([(0x80 if final else 0) | opcode]) + size + mask + masked)

        def receive() -> tuple[int, bytes]:
            first, second = reader.read(2)
            assert first & 0x80
            assert not second & 0x80, "a server does not mask"
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", reader.read(2))
            return first & 0x0F, reader.read(size)

        send(0x2, login[:10], final=False)
        send(0x9, b"are you there")
        send(0x0, login[10:])
        assert receive() == (0xA, b"are you there")
        opcode, payload = receive()
        message = schema.MSync.FromString(payload)
        assert (opcode, message.command) == (0x2, PROVISION)
        assert schema.Provision.FromString(message.payload).status.errorCode == 0
        send(0x2, frame(UNREAD))
        opcode, payload = receive()
        assert (opcode, schema.MSync.FromString(payload).command) == (0x2, UNREAD)
        send(0x8, struct.pack("!H", 1000))
        assert receive() == (0x8, struct.pack("!H", 1000))
        assert reader.read() == b""
