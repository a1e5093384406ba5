"""Clients that send half of a request, or take nothing of an answer: the server ends them and serves the others."""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection

from tests.attacks.served import Served, served
from tests.sandbox.server.raw_client import LOGOUT, WAIT, Device, frame, open_socket, provision
from tests.waits import eventually

TOKEN = b"POST /imkit/sandbox/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    """A server that waits for nobody."""
    times = dict.fromkeys(("head_seconds", "body_seconds", "discard_seconds", "login_seconds", "unread_seconds"), 0.3)
    with served(**times, body_bytes_per_second=10**9, json_bytes=1000, login_attempts=3) as running:
        yield running


def connected(server: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)


def answer_to(server: Served, *parts: bytes) -> tuple[int, Any]:
    """Send parts of a request, and read until the server closes; return the status and the JSON of the last answer."""
    with connected(server) as client:
        for part in parts:
            client.sendall(part)
        received = b""
        while more := client.recv(65536):
            received += more
    last = b"HTTP/1.1 " + received.rpartition(b"HTTP/1.1 ")[2]
    head, _, body = last.partition(b"\r\n\r\n")
    assert b"application/json" in head, received
    assert b"access-control-allow-origin: *" in head.lower()
    return int(last.split()[1]), json.loads(body)


def is_cut(client: socket.socket, again: bytes) -> bool:
    """Send the same bytes again and again; return whether the server ends the connection."""
    try:
        while True:
            client.sendall(again)
    except TimeoutError:
        return False
    except OSError:
        return True


def receive_all(client: ClientConnection) -> None:
    """Receive frames until the connection ends."""
    while True:
        client.recv(timeout=WAIT)


HALVES = {
    "nothing": (b"", 408),
    "half a line": (b"GET /imkit/hea", 408),
    "half a head": (b"GET /imkit/health HTTP/1.1\r\nHost: localhost\r\nX-A: ", 408),
    "half a second head": (b"GET /imkit/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /imk", 408),
    "half a body": (TOKEN + b"Content-Length: 100\r\n\r\n{", 408),
    "half a chunk": (TOKEN + CHUNKED + b"64\r\n{", 408),
    "a body that was refused at once": (TOKEN + b"Content-Length: 100000\r\n\r\n", 413),
    "a body that was refused while it was read": (
        TOKEN + CHUNKED + b"800\r\n" + b" " * 2048,
        413,
    ),
    "a head that is too long": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 500_000, 431),
    "no HTTP": (b"\x16\x03\x01\x02\x00 \r\n\r\n", 400),
    "two lengths": (TOKEN + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a broken chunk": (TOKEN + CHUNKED + b"xyz\r\n", 400),
}


def test_half_a_request_is_answered_and_its_connection_ends(hasty: Served) -> None:
    with ThreadPoolExecutor(len(HALVES)) as at_once:
        answers = dict(zip(HALVES, at_once.map(lambda half: answer_to(hasty, half[0]), HALVES.values()), strict=True))
    assert {half: status for half, (status, _) in answers.items()} == {half: HALVES[half][1] for half in HALVES}
    for _, body in answers.values():
        assert {"error", "error_description", "timestamp"} <= body.keys()


def test_a_byte_now_and_then_gives_no_more_time(hasty: Served) -> None:
    with connected(hasty) as client:
        client.settimeout(0.02)
        client.sendall(b"GET /imkit/health HTTP/1.1\r\n")
        received = b""
        while not received:
            client.sendall(b"X: 1\r\n")
            try:
                received = client.recv(65536)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("login", ["never", "refused"])
def test_a_socket_must_log_in_soon_and_in_few_attempts(hasty: Served, login: str) -> None:
    client = open_socket(hasty)
    if login == "refused":
        for _ in range(3):
            client.send(provision(hasty.app_key, "nobody", "guess"))
    else:
        client.send(frame(LOGOUT))  # a frame is no login
    with pytest.raises(ConnectionClosedError, match="1008"):
        receive_all(client)


def test_a_client_that_takes_nothing_of_an_answer_is_cut(hasty: Served) -> None:
    alice = Device(hasty, "alice")
    upload = alice.api.ok("POST", "/chatfiles", files={"file": ("x", os.urandom(9 * 1024 * 1024))})["entities"][0]
    path = f"/imkit/sandbox/chatfiles/{upload['uuid']}?share-secret={upload['share-secret']}"
    before = hasty.connections
    with connected(hasty) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert eventually(lambda: hasty.connections > before)
        assert eventually(lambda: hasty.connections <= before)


def test_a_client_that_pings_and_takes_no_pongs_is_cut(hasty: Served) -> None:
    ping = b"\x89\xfd" + bytes(4) + bytes(125)
    with connected(hasty) as client:
        client.sendall(UPGRADE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        assert is_cut(client, ping * 1000)


def test_a_message_in_endless_parts_is_cut() -> None:
    with served() as server, connected(server) as client:
        client.sendall(UPGRADE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.sendall(b"\x02\x80" + bytes(4))
        assert is_cut(client, (b"\x00\x80" + bytes(4)) * 1000)


@pytest.mark.parametrize("half", ["half a head", "half a body"])
@pytest.mark.parametrize("limits", [{"waiting_connections": 8}, {"connections": 24}], ids=["waiting", "all"])
def test_half_requests_do_not_keep_others_out(half: str, limits: dict[str, Any]) -> None:
    with served(**limits) as server, ExitStack() as opened:
        for _ in range(60):
            client = opened.enter_context(connected(server))
            with suppress(OSError):  # it may have been closed for the next one
                client.sendall(HALVES[half][0])
        assert server.health().status_code == 200
        assert eventually(lambda: server.connections <= 9)
        for _ in range(12):
            open_socket(server)
        assert eventually(lambda: len(server.server.application.msync.connections) <= 8)
        assert Device(server, "alice").provision.status.errorCode == 0


def test_where_all_connections_are_logged_in_one_more_is_refused_as_json() -> None:
    with served(connections=4) as server:
        for number in range(4):
            Device(server, "alice", f"phone{number}", unread=False).api.http.close()
        assert eventually(lambda: server.connections == 4)
        status, body = answer_to(server)
        assert (status, body["error"]) == (503, "service_unavailable")
