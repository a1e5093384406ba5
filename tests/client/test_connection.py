"""The connection with killed servers, with servers that answer wrongly, and with sends in flight."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection

import imkit
from imkit.client.connection import FIRST_ATTEMPTS
from imkit.client.event_store import EventStream
from imkit.portal import portal
from imkit.sandbox.process import Sandbox, SandboxAddress
from imkit.wire import schema
from tests.people import new_name
from tests.stand_ins import envelope, read_command, socket_stand_in, text_meta, welcome
from tests.timing import set_timing

WAIT = 10.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once."""
    set_timing(monkeypatch, delays=lambda: itertools.repeat(0.02))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sandbox]:
    """A server that a test can kill and start again with its data."""
    with Sandbox(tmp_path / "data.db") as running:
        yield running


def app_of_a_service(own: Sandbox) -> imkit.App:
    """Return the server's app without its process: for it, a server that is down may come back, as a real one."""
    return SandboxAddress(own.app_key, own.rest_url, own.ws_url, own.secret).app


def received(stream: EventStream[imkit.MessageReceived], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        event = stream.next(timeout=WAIT)
        assert isinstance(event, imkit.MessageReceived)
        if event.message.thread is not None:
            found.append(event.message.id)
    return found


# -------------------------------------------------------------- a killed server


@pytest.mark.usefixtures("quick")
def test_no_acknowledged_message_is_lost_when_the_server_is_killed(own: Sandbox) -> None:
    app = app_of_a_service(own)
    with imkit.login(new_name("alice"), app=app) as alice, imkit.login(new_name("bob"), app=app) as bob:
        group = alice.create_group("tea", members=[bob.user])
        thread = group.create_thread("Oolong", group.send("Which?"))
        bob.thread(thread.id).join()
        heard = bob.events(imkit.MessageReceived)
        acknowledged: list[str] = []
        lost: list[imkit.IMError] = []
        flowing, again, stop = threading.Event(), threading.Event(), threading.Event()
        enough = [50]

        async def talk(speaker: int) -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                try:
                    acknowledged.append((await thread.send.aio(f"{speaker}/{number}")).id)
                except imkit.IMError as error:
                    lost.append(error)
                if len(acknowledged) >= enough[0]:
                    (again if flowing.is_set() else flowing).set()

        async def main() -> None:
            async with asyncio.TaskGroup() as speakers:
                for speaker in range(8):
                    speakers.create_task(talk(speaker))
                await asyncio.to_thread(flowing.wait, WAIT)
                await asyncio.to_thread(own.kill)
                await asyncio.to_thread(own.start)
                enough[0] = len(acknowledged) + 50
                again.clear()
                await asyncio.to_thread(again.wait, WAIT)
                stop.set()

        asyncio.run(main())
        assert all(isinstance(error, imkit.ConnectionLost) for error in lost)
        assert all(error.outcome == "unknown" for error in lost if isinstance(error, imkit.ConnectionLost))
        thread.send("the end")
        history = [message.id for message in thread.messages()]
        assert len(set(history)) == len(history)
        assert set(acknowledged) <= set(history)
        texts = [message.text for message in thread.messages()]
        assert len(set(texts)) == len(texts)  # nothing was sent twice
        assert received(heard, len(history)) == history  # all of it, in order
        with pytest.raises(imkit.TimedOut):
            heard.next(timeout=0.1)  # and once
        assert bob.connected


@pytest.mark.usefixtures("quick")
def test_sends_while_the_server_is_down_leave_later_once_and_in_order(own: Sandbox) -> None:
    with imkit.login(new_name("alice"), app=app_of_a_service(own)) as alice:
        group = alice.create_group("tea")
        thread = group.create_thread("Oolong", group.send("Which?"))
        events = alice.events(imkit.Connected, imkit.Disconnected)
        assert events.next(timeout=WAIT) == imkit.Connected()
        own.kill()
        assert isinstance(events.next(timeout=WAIT), imkit.Disconnected)
        assert not alice.connected
        large = "x" * 4000  # together more than the socket takes at once

        async def main() -> list[str]:
            waiting = [asyncio.create_task(thread.send.aio(f"{number} {large}")) for number in range(150)]
            await asyncio.sleep(0)
            await asyncio.to_thread(own.start)
            await events.next.aio(timeout=WAIT)
            waiting += [asyncio.create_task(thread.send.aio(f"{number} {large}")) for number in range(150, 200)]
            return [(await send).id for send in waiting]

        sent = asyncio.run(main())
        found = list(thread.messages())
        assert [message.id for message in found] == sent
        assert [str(message.text).split()[0] for message in found] == [str(number) for number in range(200)]


@pytest.mark.usefixtures("quick")
def test_closing_while_the_server_is_down(own: Sandbox) -> None:
    alice = imkit.login(new_name("alice"), app=app_of_a_service(own))
    group = alice.group("123")
    events = alice.events()
    own.kill()
    while not isinstance(events.next(timeout=WAIT), imkit.Disconnected):
        pass

    async def main() -> None:
        send = asyncio.create_task(group.send.aio("never"))
        await asyncio.sleep(0.05)
        await alice.close.aio()
        with pytest.raises(imkit.SessionClosed, match="nothing was sent"):
            await send

    asyncio.run(main())
    assert list(events) == [imkit.LoggedOut("closed")]


def test_a_send_fails_after_a_minute_without_a_connection(own: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    set_timing(monkeypatch, queued=0.05)
    with imkit.login(new_name("alice"), app=app_of_a_service(own)) as alice:
        events = alice.events(imkit.Disconnected)
        own.kill()
        events.next(timeout=WAIT)
        with pytest.raises(imkit.ConnectionLost) as caught:
            alice.group("123").send("hello?")
        assert caught.value.outcome == "not sent"
        assert "try again" in caught.value.hint


@pytest.mark.usefixtures("quick")
def test_an_interrupted_send_that_waits_is_not_sent(own: Sandbox) -> None:
    with imkit.login(new_name("alice"), app=app_of_a_service(own)) as alice:
        group = alice.create_group("tea")
        events = alice.events(imkit.Disconnected)
        own.kill()
        events.next(timeout=WAIT)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await group.send.aio("never mind")

        asyncio.run(main())
        own.start()
        sent = group.send("hello")
        assert [message.id for message in group.messages()] == [sent.id]


def test_many_losses_in_a_row(quick: None) -> None:
    # Every answer is followed by the end of the connection; what is sent just then may get lost with it.
    with Sandbox(fail={"cut-after-ack": 1.0}) as fragile, imkit.login(new_name(), app=fragile.app) as alice:
        group = alice.create_group("tea")
        sent, lost = [], []
        for number in range(20):
            try:
                sent.append(group.send(f"message {number}").id)
            except imkit.ConnectionLost as error:
                lost.append(error.outcome)
        assert len(sent) >= 5
        assert set(lost) <= {"unknown"}
        assert [message.id for message in group.messages()] == sent


def test_sends_with_lost_answers_are_found_in_the_history(quick: None) -> None:
    with Sandbox(fail={"cut-before-ack": 1.0}) as fragile, imkit.login(new_name(), app=fragile.app) as alice:
        group = alice.create_group("tea")
        sent = [group.send(f"message {number}").id for number in range(3)]
        assert [message.id for message in group.messages()] == sent


# ----------------------------------------------------------------- servers that answer wrongly


def app_at(url: str) -> imkit.App:
    return imkit.App("org#app", rest_url="http://127.0.0.1:9", ws_url=url)


@pytest.mark.usefixtures("quick")
def test_a_server_that_closes_before_the_login_is_answered() -> None:
    accepted: list[int] = []

    def close(socket: ServerConnection) -> None:
        accepted.append(1)
        socket.recv()

    with socket_stand_in(close) as url, pytest.raises(imkit.ConnectionLost, match="no connection") as caught:
        imkit.login(new_name(), app=app_at(url), token="t0ken")
    assert caught.value.outcome == "not sent"
    assert len(accepted) == FIRST_ATTEMPTS


@pytest.mark.usefixtures("quick")
def test_a_server_that_never_answers_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    set_timing(monkeypatch, open=0.1)
    over = threading.Event()
    with socket_stand_in(lambda socket: bool(over.wait(WAIT))) as url:
        with pytest.raises(imkit.ConnectionLost):
            imkit.login(new_name(), app=app_at(url), token="t0ken")
        over.set()


@pytest.mark.parametrize("garbage", [b"", b"\xff\xff\xff", "text", "ö" * 50, b"\x08\x07", b"\x00" * 1000])
def test_garbage_does_not_end_a_session(garbage: bytes | str) -> None:
    over = threading.Event()

    def serve(socket: ServerConnection) -> None:
        welcome(socket)
        socket.send(garbage)
        queue = schema.JID(name="42", domain="conference.easemob.com")
        page = schema.LooseSyncDL(status=schema.Status(errorCode=0), queue=queue, nextKey=7)
        page.metas.extend([b"\xff garbage", text_meta(7, "readable")])
        socket.send(envelope("NOTICE", schema.CommNotice(queue=queue)))
        while True:
            command, frame = read_command(bytes(socket.recv()))
            if command == "SYNC":
                fetch = schema.CommSyncUL.FromString(frame.payload)
                if fetch.HasField("queue") and not fetch.HasField("key"):
                    break
        socket.send(envelope("SYNC", page))
        over.wait(WAIT)

    with socket_stand_in(serve) as url, imkit.login(new_name(), app=app_at(url), token="t0ken") as session:
        events = session.events(imkit.MessageReceived)
        unreadable, readable = events.next(timeout=WAIT), events.next(timeout=WAIT)
        assert isinstance(unreadable, imkit.MessageReceived)
        assert isinstance(readable, imkit.MessageReceived)
        assert isinstance(unreadable.message.body, imkit.Unknown)
        assert readable.message.text == "readable"
        assert session.connected
        over.set()


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        ({"errorCode": 1, "reason": "Sorry, token or password does not match login info"}, imkit.AuthError, 28),
        ({"errorCode": 1, "reason": "Sorry, token expired"}, imkit.TokenExpired, 56),
        ({"errorCode": 1, "reason": "Sorry, user not found"}, imkit.AuthError, 204),
        ({"errorCode": 2, "reason": ""}, imkit.AuthError, 2),
        ({"errorCode": 4, "reason": ""}, imkit.AuthError, -3),
        ({"errorCode": 13, "reason": ""}, imkit.KickedOff, 214),
        ({"errorCode": 1, "reason": "app register limit"}, imkit.LimitReached, 50),
    ],
)
def test_a_refused_login(reply: dict[str, object], kind: type[imkit.IMError], code: int) -> None:
    logins: list[int] = []

    def refuse(socket: ServerConnection) -> None:
        logins.append(1)
        socket.recv()
        socket.send(envelope("PROVISION", schema.Provision(status=schema.Status(**reply))))
        socket.recv()

    with socket_stand_in(refuse) as url, pytest.raises(kind) as caught:
        imkit.login(new_name(), app=app_at(url), token="t0ken")
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.hint
    assert logins == [1]


def test_a_server_that_compresses_without_being_asked() -> None:
    def compress(socket: ServerConnection) -> None:
        socket.recv()
        reply = schema.Provision(status=schema.Status(errorCode=0), protocolCompressType=[2])
        socket.send(envelope("PROVISION", reply))
        socket.recv()

    with socket_stand_in(compress) as url, pytest.raises(imkit.ProtocolError, match="compression"):
        imkit.login(new_name(), app=app_at(url), token="t0ken")


def test_a_missing_answer_closes_the_connection(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    set_timing(monkeypatch, answer=0.1)
    logins: list[int] = []
    again = threading.Event()

    def deaf(socket: ServerConnection) -> None:
        welcome(socket)
        logins.append(1)
        if len(logins) == 2:
            again.set()
        for _ in socket:
            pass

    with socket_stand_in(deaf) as url, imkit.login(new_name(), app=app_at(url), token="t0ken") as session:
        # A command: no history could tell what became of it.
        with pytest.raises(imkit.ConnectionLost) as caught:
            session.group("42").send(imkit.Command("anybody?"))
        assert caught.value.outcome == "unknown"
        assert "no history shows a command" in caught.value.hint
        assert again.wait(WAIT)


def test_a_login_that_hangs_does_not_stop_another_session(sandbox: Sandbox) -> None:
    # The portal is shared: a session of one app does not wait for one of another that does not answer.
    over = threading.Event()
    began = threading.Event()

    def serve(socket: ServerConnection) -> None:
        began.set()
        over.wait(WAIT)

    with socket_stand_in(serve) as url:
        stuck = portal().submit(_login(app_at(url)))
        assert began.wait(WAIT)
        with imkit.login(new_name(), app=sandbox.app) as session:
            assert session.create_group("tea").send("hello").id
        stuck.cancel()
        over.set()


async def _login(app: imkit.App) -> imkit.Session:
    return await imkit.login.aio(new_name(), app=app, token="t0ken")
