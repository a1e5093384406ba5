"""A connection over a bad network: dead, slow or split, with frames that come twice, late or never."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

import imkit
from imkit.client.timing import reconnect_delays
from imkit.messages import Text
from imkit.sandbox.process import Sandbox
from imkit.wire import protocol as protocol_module
from imkit.wire import uplink
from imkit.wire.protocol import ClientProtocol
from tests.faults.proxy import Action, Proxy
from tests.faults.tea_thread import WAIT, TeaThread, received, tea_thread_at
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, app_api, close_everything
from tests.stand_ins import socket_stand_in, welcome
from tests.timing import set_timing
from tests.wire import service


@pytest.fixture
def tea(file_sandbox: Sandbox, proxy: Proxy, quick: None) -> Iterator[TeaThread]:
    with tea_thread_at(file_sandbox, proxy) as found:
        yield found


# ------------------------------------------------------------- dead connections


def test_a_half_open_connection_is_noticed_and_replaced(tea: TeaThread) -> None:
    events = tea.alice.events(imkit.Connected, imkit.Disconnected, replay=False)
    tea.proxy.freeze(tea.alice.user)
    sent = [tea.theirs.send(f"number {number}").id for number in range(5)]
    assert isinstance(events.next(timeout=WAIT), imkit.Disconnected)
    assert isinstance(events.next(timeout=WAIT), imkit.Connected)
    assert received(tea.alice, tea.thread, 5) == sent
    assert tea.thread.send("back").id == tea.table()[-1][0]


def test_a_connection_that_accepts_no_bytes_is_closed_without_a_send_in_flight(
    tea: TeaThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All buffers are full, so not even the heartbeat can be written; and no send waits for an answer. The reader of the
    # socket writes too; its write ends with the socket, as a real one does.
    connection = tea.alice.account.connection
    events = tea.alice.events(imkit.Disconnected)
    blocked = asyncio.Event()
    transmit = connection._transmit

    async def never(socket: Any, data: bytes) -> None:
        blocked.set()
        await socket.wait_closed()
        await transmit(socket, data)

    monkeypatch.setattr(connection, "_transmit", never)
    tea.proxy.freeze(tea.alice.user)
    assert isinstance(events.next(timeout=WAIT), imkit.Disconnected)
    assert blocked.is_set()
    monkeypatch.setattr(connection, "_transmit", transmit)
    assert tea.thread.send("back").id


def test_a_connection_that_stalls_and_resumes_loses_nothing(tea: TeaThread) -> None:
    tea.proxy.stall(tea.alice.user)
    sent = [tea.theirs.send(f"number {number}").id for number in range(5)]
    tea.proxy.resume(tea.alice.user)
    assert received(tea.alice, tea.thread, 5) == sent


def test_a_thirty_minute_outage(file_sandbox: Sandbox, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    away = [0.0, 0]
    over = threading.Event()

    def compressed() -> Iterator[float]:
        """Count the real delays without waiting; after 30 minutes of them the proxy accepts again."""
        for delay in reconnect_delays():
            away[0] += delay
            away[1] += 1
            if away[0] >= 30 * 60:
                over.set()
                proxy.accept()
            yield 0.0

    set_timing(monkeypatch, delays=compressed)
    with tea_thread_at(file_sandbox, proxy) as tea:
        events = tea.alice.events(imkit.Connected, imkit.Disconnected, replay=False)

        async def talk() -> list[str]:
            return [(await tea.theirs.send.aio(f"number {number}")).id for number in range(200)]

        tea.proxy.refuse(tea.alice.user)
        tea.proxy.cut(tea.alice.user)
        assert isinstance(events.next(timeout=WAIT), imkit.Disconnected)
        sent = asyncio.run(talk())
        assert over.wait(WAIT)
        assert isinstance(events.next(timeout=WAIT), imkit.Connected)
        assert received(tea.alice, tea.thread, 200) == sent
        assert 200 <= away[1] <= 400  # after the first few, each delay is 5 to 10 seconds
        assert tea.thread.send("back").id == tea.table()[-1][0]


def test_delays_grow_when_the_service_closes_after_each_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    enough = threading.Event()

    def noted() -> Iterator[float]:
        for number in itertools.count():
            waits.append(number)
            if len(waits) == 6:
                enough.set()
            yield 0.0

    set_timing(monkeypatch, delays=noted)

    def serve(socket: ServerConnection) -> None:
        welcome(socket)

    app_url = "http://127.0.0.1:9"
    with (
        socket_stand_in(serve) as url,
        imkit.login(new_name("alice"), app=imkit.App("org#app", rest_url=app_url, ws_url=url), token="t0ken"),
    ):
        assert enough.wait(WAIT)
    assert waits[:6] == list(range(6))  # one series of delays, not the first delay again and again


# ----------------------------------------------------------------- slow, split


@pytest.mark.parametrize("size", [1, 2, 7, 125, 1400])
def test_frames_that_come_in_pieces(file_sandbox: Sandbox, proxy: Proxy, size: int) -> None:
    with tea_thread_at(file_sandbox, proxy) as tea:
        tea.proxy.split(size)
        texts = ["茶 🍵" * 20, "x" * 300, "short"]
        mine = [tea.thread.send(text).id for text in texts]
        theirs = [tea.theirs.send(text).id for text in texts]
        assert received(tea.alice, tea.thread, 3) == theirs
        assert [(message.id, message.text) for message in tea.thread.messages()] == list(
            zip(mine + theirs, texts * 2, strict=True)
        )


def test_a_slow_line(file_sandbox: Sandbox, proxy: Proxy) -> None:
    with tea_thread_at(file_sandbox, proxy) as tea:
        tea.proxy.slow(60_000)

        async def main() -> list[str]:
            sends = [asyncio.create_task(tea.thread.send.aio(f"{number} {'x' * 4000}")) for number in range(20)]
            return [(await send).id for send in sends]

        sent = asyncio.run(main())
        assert [message for message, _ in tea.table()] == sent
        assert tea.proxy.sockets[tea.alice.user] == 1  # the client has not reconnected


# ------------------------------------------- frames that come twice, late, never


@pytest.mark.parametrize("how", ["twice", "hold", "drop"])
@pytest.mark.parametrize("kind", ["page", "end", "notice", "list", "answer"])
def test_downlink_frames_that_come_twice_late_or_never(tea: TeaThread, kind: str, how: Action) -> None:
    tea.proxy.when(kind, how, user=tea.alice.user, times=4)

    async def both() -> tuple[list[str], list[str]]:
        mine, theirs = [], []
        for number in range(8):
            theirs.append((await tea.theirs.send.aio(f"theirs {number}")).id)
            mine.append((await tea.thread.send.aio(f"mine {number}")).id)
        return mine, theirs

    mine, theirs = asyncio.run(both())
    assert received(tea.alice, tea.thread, 8) == theirs
    assert [message for message, _ in tea.table()] == sorted(mine + theirs, key=int)
    heard = [
        event.message.id
        for event in tea.alice.account.events.events_from(0)
        if isinstance(event, imkit.MessageReceived)
    ]
    assert len(heard) == len(set(heard))


def test_a_page_after_a_recall_does_not_bring_the_message_back() -> None:
    protocol = service.logged_in()
    protocol.receive(service.notice(), now=1.0)
    sent = uplink.encode_recall(service.THREAD, "bob", "7", client_id=1, ext=None)
    recall = service.as_delivered(sent, 8, "bob", 1_795_390_000_000)
    first = protocol.receive(service.page([recall], key=8), now=2.0)
    assert [type(event) for output in first for event in getattr(output, "events", [])] == [imkit.MessageRecalled]
    late = protocol.receive(service.page([service.message_meta(7, Text("gone"))], key=7), now=3.0)
    assert service.received_ids(late) == []


def test_pages_before_the_login_is_complete_are_ignored() -> None:
    protocol = ClientProtocol(service.ALICE)
    protocol.connect("token", now=0.0)
    early = service.page([service.message_meta(7)], key=7)
    assert protocol.receive(early, now=1.0) == []
    protocol.receive(service.login_reply(), now=2.0)
    fetch = protocol.receive(service.unread({service.THREAD.name: 1}), now=3.0)
    assert ("fetch", service.THREAD.name) in service.uplinks(fetch)
    assert service.received_ids(protocol.receive(early, now=4.0)) == ["7"]


def test_a_queue_whose_notice_was_lost_is_found_while_other_queues_are_busy() -> None:
    protocol = service.logged_in()
    asked = []
    for now in range(0, 300, 5):
        protocol.receive(service.notice("another"), now=float(now))
        protocol.receive(service.page([], key=None, name="another", isLast=True), now=float(now))
        asked += [now for kind, _ in service.uplinks(protocol.tick(float(now))) if kind == "unread"]
    assert len(asked) == 2
    assert asked[0] <= protocol_module.UNREAD_SECONDS + 5


# ----------------------------------------------------------------------- kicks


@pytest.mark.parametrize("how", ["elsewhere", "password", "disconnected", "removed"])
def test_a_kicked_session_does_not_reconnect(tea: TeaThread, how: str) -> None:
    user = tea.alice.user
    reasons = {
        "elsewhere": "logged in elsewhere",
        "password": "the password was changed",
        "disconnected": "kicked by another device",
        "removed": "the user was removed",
    }
    try:
        match how:
            case "elsewhere":
                Device(tea.sandbox, user, tea.alice.account.identity.resource)
            case "password":
                app_api(tea.sandbox).ok("PUT", f"/users/{user}/password", json={"newpassword": "other"})
            case "disconnected":
                app_api(tea.sandbox).ok("POST", f"/users/{user}/disconnect")
            case "removed":
                app_api(tea.sandbox).ok("DELETE", f"/users/{user}")
        events = list(tea.alice.events(imkit.LoggedOut))  # ends with the session
        assert events == [imkit.LoggedOut(reasons[how])]
        with pytest.raises(imkit.SessionClosed, match=reasons[how]):
            tea.thread.send("late")
        assert reasons[how] in repr(tea.alice)
        # While Bob sends, Alice begins no second login through the proxy.
        for number in range(3):
            tea.theirs.send(f"number {number}")
        assert tea.proxy.sockets[user] == 1
        assert tea.alice.account.connection._task is None or tea.alice.account.connection._task.done()
    finally:
        close_everything()
