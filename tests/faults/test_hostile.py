"""Hostile frames and messages: the client refuses them or shows them as plain text, and the session continues."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

import imkit
from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.faults.proxy import Proxy
from tests.faults.tea_thread import WAIT, TeaThread, tea_thread_at
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, close_everything, text_body
from tests.stand_ins import socket_stand_in, welcome

MEGABYTE = 2**20


@pytest.fixture
def tea(file_sandbox: Sandbox, proxy: Proxy, quick: None) -> Iterator[TeaThread]:
    with tea_thread_at(file_sandbox, proxy) as found:
        yield found
        close_everything()


def whole(size: int) -> Iterator[bytes]:
    """Yield the head of one frame with this size, and the first megabyte of it."""
    yield b"\x82\x7f" + size.to_bytes(8, "big") + bytes(MEGABYTE)


def in_pieces(size: int) -> Iterator[bytes]:
    """Yield a message in fragments of a megabyte."""
    for number in range(size // MEGABYTE):
        yield bytes([0x00 if number else 0x02, 0x7F]) + MEGABYTE.to_bytes(8, "big") + bytes(MEGABYTE)


@pytest.mark.parametrize("form", [whole, in_pieces])
def test_a_frame_of_a_hundred_megabytes_is_refused_and_the_session_comes_back(form: Any, quick: None) -> None:
    logins: list[int] = []
    over = threading.Event()
    ready = threading.Event()

    def serve(socket: ServerConnection) -> None:
        welcome(socket)
        logins.append(1)
        if len(logins) == 1:
            ready.wait(WAIT)
            try:
                for data in form(100 * MEGABYTE):
                    socket.socket.sendall(data)
            except OSError:
                pass  # the client has closed the connection
        for _ in socket:
            if over.is_set():
                return

    rest_url = "http://127.0.0.1:9"
    with (
        socket_stand_in(serve) as url,
        imkit.login(new_name("alice"), app=imkit.App("org#app", rest_url=rest_url, ws_url=url), token="t0ken") as alice,
    ):
        events = alice.events(imkit.Connected, imkit.Disconnected, replay=False)
        ready.set()
        gone = events.next(timeout=WAIT)
        assert isinstance(gone, imkit.Disconnected)
        assert "1009" in gone.reason
        assert isinstance(events.next(timeout=WAIT), imkit.Connected)
        assert alice.connected
        over.set()


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    "value",
    [
        nested(60),
        nested(600),
        "[" * 3000,
        "[" * 1500 + "]" * 1500,
        "9" * 3000,
        '{"\\ud83c": "\\ud83c"}',
        "1e999",
        "NaN",
    ],
)
def test_hostile_attributes_are_shown_as_plain_text(tea: TeaThread, value: str) -> None:
    mallory = Device(tea.sandbox, new_name("mallory"))
    tea.group.invite(mallory.user)
    mallory.api.join(tea.thread.id)
    body = text_body("<script>alert(1)</script>\u202e\x1b[2J")
    body.ext.add(key="deep", type=8, stringValue=value)
    body.ext.add(key="\x00<b>\u202e", type=7, stringValue="<img src=x onerror=alert(1)>")
    sent = str(mallory.send(tea.thread.id, body))
    heard = tea.alice.events(imkit.MessageReceived)
    event = heard.next(timeout=WAIT, where=lambda event: event.message.id == sent)
    assert isinstance(event, imkit.MessageReceived)
    for message in (event.message, *tea.thread.messages()):
        assert message.id == sent
        assert "\x1b" not in repr(message)
        assert "\u202e" not in repr(message)
        assert "<script" not in message._repr_html_()
        json.dumps(dict(message.ext), allow_nan=False).encode()
    frame = tea.thread.history()
    assert list(frame["message_id"]) == [sent]
    json.loads(frame["ext"].iloc[0])
    assert tea.thread.send("still here").id


def test_a_hostile_thread_name_is_shown_as_plain_text(tea: TeaThread) -> None:
    thread = tea.group.create_thread("<script>\u202e\x1b[2J</script>", tea.group.send("Which?"))
    assert "\x1b" not in repr(thread)
    assert "<script" not in thread._repr_html_()
    changed = tea.bob.events(imkit.ThreadChanged).next(timeout=WAIT, where=lambda event: event.thread_id == thread.id)
    assert "\x1b" not in repr(changed)


def test_unreadable_metas_in_a_page_are_skipped(tea: TeaThread) -> None:
    def spoiled(payload: bytes) -> bytes:
        frame = schema.MSync.FromString(payload)
        page = schema.LooseSyncDL.FromString(frame.payload)
        page.metas.insert(0, b"\xff\xff")
        page.metas.append(b"")
        frame.payload = page.SerializeToString()
        return bytes(frame.SerializeToString())

    tea.proxy.when("page", spoiled, user=tea.alice.user)
    sent = tea.theirs.send("readable").id
    heard = tea.alice.events(imkit.MessageReceived)
    event = heard.next(timeout=WAIT, where=lambda event: event.message.id == sent)
    assert isinstance(event, imkit.MessageReceived)
    assert tea.alice.connected
