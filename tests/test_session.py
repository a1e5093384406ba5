"""Logging in, being told things, and the end of a session: the real client at a real sandbox."""

import asyncio
import gc
import http.client
import json
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.stand_ins import Answer, http_stand_in

WAIT = 10.0


@pytest.fixture
def thread(alice: imkit.Session, bob: imkit.Session) -> imkit.Thread:
    """A thread of Alice's that Bob is in."""
    group = alice.create_group("tea", members=[bob.user])
    made = group.create_thread("Oolong", group.send("Which oolong?"))
    bob.thread(made.id).join()
    # Late on a busy machine, it would be the first that a consumer from now on hears.
    first = bob.events(imkit.MessageReceived).next(timeout=WAIT)
    assert isinstance(first, imkit.MessageReceived)
    assert first.message.text == "Which oolong?"
    return made


def devices(session: imkit.Session) -> list[str]:
    """The devices of a session's user that the server sees online."""
    token = portal().call(session.account.credentials.token(False))
    connection = http.client.HTTPConnection(session.account.rest.rest_url.removeprefix("http://"), timeout=5)
    path = f"/{session.app.app_key.replace('#', '/')}/users/{session.user}/resources"
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    found = [one["res"] for one in json.load(connection.getresponse())["data"]]
    connection.close()
    return found


def connections(sandbox: Sandbox) -> int:
    connection = http.client.HTTPConnection(sandbox.rest_url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/imkit/health")
    count = json.load(connection.getresponse())["connections"]
    connection.close()
    return int(count)


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for what a server, asked again and again, says at last."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.02) for _ in range(250))


# ------------------------------------------------------------------- ten lines


def test_the_ten_lines(sandbox: Sandbox) -> None:
    alice = imkit.login(new_name("alice"), app=sandbox.app)
    bob = imkit.login(new_name("bob"), app=sandbox.app)
    group = alice.create_group("tea", members=[bob.user])
    parent = group.send("Which oolong should we order?")
    thread = group.create_thread("Oolong", parent)
    bob.thread(thread.id).join()
    sent = thread.send("Dong Ding, please 🍵")
    received = bob.events(imkit.MessageReceived).next(timeout=WAIT)
    while isinstance(received, imkit.MessageReceived) and received.message.thread is None:
        received = bob.events(imkit.MessageReceived).next(timeout=WAIT)
        break
    assert [message.text for message in bob.thread(thread.id).messages()] == ["Dong Ding, please 🍵"]
    thread.recall(sent)
    recalled = bob.events(imkit.MessageRecalled).next(timeout=WAIT)
    assert isinstance(recalled, imkit.MessageRecalled)
    assert recalled.message_id == sent.id
    assert thread.history().empty
    alice.close()
    bob.close()


def test_the_ten_lines_in_an_async_program(sandbox: Sandbox) -> None:
    async def main() -> None:
        async with (
            await imkit.login.aio(new_name("alice"), app=sandbox.app) as alice,
            await imkit.login.aio(new_name("bob"), app=sandbox.app) as bob,
        ):
            group = await alice.create_group.aio("tea", members=[bob.user])
            parent = await group.send.aio("Which oolong should we order?")
            thread = await group.create_thread.aio("Oolong", parent)
            await bob.thread(thread.id).join.aio()
            sent = await thread.send.aio("Dong Ding, please 🍵")
            async for event in bob.events(imkit.MessageReceived):
                if event.message.thread is not None:
                    assert event.message.text == sent.text
                    break
            assert [message.id async for message in thread.messages()] == [sent.id]
            assert [user async for user in thread.members()] == [alice.user, bob.user]
            await thread.recall.aio(sent)
            recalled = await bob.events(imkit.MessageRecalled).next.aio(timeout=WAIT)
            assert isinstance(recalled, imkit.MessageRecalled)
            assert recalled.message is not None
            assert recalled.message.id == sent.id
            assert (await thread.history.aio()).empty
        assert not alice.connected

    asyncio.run(main())


# ---------------------------------------------------------------- in and out


def test_login_and_close(sandbox: Sandbox) -> None:
    session = imkit.login("Alice.Of-Upper_Case", app=sandbox.app)
    assert session.user == "alice.of-upper_case"
    assert session.app == sandbox.app
    assert session.connected
    assert "connected" in repr(session)
    session.close()
    assert not session.connected
    assert repr(session) == f"<Session {session.user} at imkit#sandbox, closed>"
    session.close()  # again is no change
    assert [event for event in session.events() if isinstance(event, imkit.LoggedOut)] == [imkit.LoggedOut("closed")]


def test_with_closes_and_lets_errors_through(sandbox: Sandbox) -> None:
    with pytest.raises(ZeroDivisionError), imkit.login(new_name(), app=sandbox.app) as session:
        raise ZeroDivisionError
    assert not session.connected


def test_async_with(sandbox: Sandbox) -> None:
    async def main() -> imkit.Session:
        async with await imkit.login.aio(new_name(), app=sandbox.app) as session:
            assert session.connected
        return session

    assert not asyncio.run(main()).connected


def test_a_closed_session_says_so_and_hangs_nowhere(alice: imkit.Session, thread: imkit.Thread) -> None:
    alice.close()
    calls: list[Callable[[], object]] = [
        lambda: thread.send("too late"),
        lambda: thread.history(),
        lambda: list(thread.messages()),
        lambda: list(alice.groups()),
        lambda: alice.create_group("late"),
        lambda: thread.recall("123"),
        lambda: thread.refresh(),
        lambda: alice.on(imkit.MessageReceived, print),
    ]
    for call in calls:
        with pytest.raises(imkit.SessionClosed) as caught:
            call()
        assert "imkit.login" in caught.value.hint


def test_the_login_cell_run_five_times_leaves_one_session(sandbox: Sandbox) -> None:
    user = new_name()
    before = connections(sandbox)
    sessions = [imkit.login(user, app=sandbox.app) for _ in range(5)]
    assert [session.connected for session in sessions] == [False, False, False, False, True]
    for session in sessions[:4]:
        assert "closed (replaced)" in repr(session)
        assert list(session.events(imkit.LoggedOut)) == [imkit.LoggedOut("replaced")]
        with pytest.raises(imkit.SessionClosed, match="replaced"):
            session.group("123").send("from the dead")
    assert len(devices(sessions[4])) == 1
    assert eventually(lambda: connections(sandbox) == before + 1)
    sessions[4].close()
    assert eventually(lambda: connections(sandbox) == before)


def test_other_resources_live_side_by_side(sandbox: Sandbox) -> None:
    user = new_name()
    with (
        imkit.login(user, app=sandbox.app, resource="phone") as phone,
        imkit.login(user, app=sandbox.app, resource="desk") as desk,
    ):
        assert phone.connected
        assert sorted(devices(desk)) == ["desk", "phone"]
        group = phone.create_group("tea")
        sent = group.send("from the phone")
        copy = desk.events(imkit.MessageReceived).next(timeout=WAIT)
        assert isinstance(copy, imkit.MessageReceived)
        assert (copy.message.id, copy.message.resource) == (sent.id, "phone")


def test_a_failed_login_leaves_the_earlier_session_alone(sandbox: Sandbox) -> None:
    plain = imkit.App(sandbox.app_key, rest_url=sandbox.rest_url, ws_url=sandbox.ws_url)
    user = new_name()
    with imkit.login(user, app=sandbox.app) as earlier:
        for credential in ({"token": "wrong"}, {"password": "wrong"}, {}):
            with pytest.raises(imkit.AuthError):
                imkit.login(user, app=plain, **credential)
        assert earlier.connected
        assert earlier.create_group("still here").send("yes").id


def test_logins_at_the_same_time_leave_one(sandbox: Sandbox) -> None:
    user = new_name()

    async def main() -> list[imkit.Session]:
        return await asyncio.gather(*(imkit.login.aio(user, app=sandbox.app) for _ in range(6)))

    sessions = asyncio.run(main())
    assert sum(session.connected for session in sessions) == 1
    (last,) = (session for session in sessions if session.connected)
    assert len(devices(last)) == 1
    last.close()


def test_an_interrupted_login_leaves_nothing(sandbox: Sandbox) -> None:
    began, blocked = threading.Event(), threading.Event()

    def token() -> str:
        began.set()
        blocked.wait(WAIT)
        return "t0ken"

    async def main() -> None:
        task = asyncio.create_task(imkit.login.aio(new_name(), app=sandbox.app, token=token))
        await asyncio.to_thread(began.wait, WAIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = connections(sandbox)
    asyncio.run(main())
    blocked.set()
    assert connections(sandbox) == before


def test_a_session_nobody_holds_closes_itself(sandbox: Sandbox) -> None:
    before = connections(sandbox)
    session: imkit.Session | None = imkit.login(new_name(), app=sandbox.app)
    assert session is not None
    called = threading.Event()
    session.on(imkit.MessageReceived, lambda event: called.set())
    group = session.create_group("tea")
    account = weakref.ref(session.account)
    session = None
    gc.collect()
    assert group.send("a group holds its session").id
    assert connections(sandbox) == before + 1
    del group
    gc.collect()
    assert account() is None
    assert eventually(lambda: connections(sandbox) == before)


def test_who_listens_holds_the_session(sandbox: Sandbox) -> None:
    events = imkit.login(new_name(), app=sandbox.app).events()
    gc.collect()
    assert isinstance(events.next(timeout=WAIT), imkit.Connected)
    with pytest.raises(imkit.TimedOut):
        events.next(timeout=0)
    account = weakref.ref(events._owner)
    del events
    gc.collect()
    assert account() is None


@pytest.mark.parametrize("user", ["", "..", "a b", "ä", "x" * 65, None, 7])
def test_what_is_no_user_is_refused_before_the_network(user: Any) -> None:
    app = imkit.App("org#app", rest_url="http://127.0.0.1:9", ws_url="ws://127.0.0.1:9")
    with pytest.raises(imkit.InvalidMessage):
        imkit.login(user, app=app, token="t")


# --------------------------------------------------------------------- tokens


def token_of(sandbox: Sandbox, user: str) -> str:
    """What the user's own app server would do."""
    connection = http.client.HTTPConnection(sandbox.rest_url.removeprefix("http://"), timeout=5)
    headers = {"Authorization": f"Bearer {sandbox.secret}"}
    connection.request("POST", "/imkit/app-server/token", json.dumps({"user": user}), headers)
    token = json.load(connection.getresponse())["token"]
    connection.close()
    return str(token)


def plain_app(sandbox: Sandbox) -> imkit.App:
    return imkit.App(sandbox.app_key, rest_url=sandbox.rest_url, ws_url=sandbox.ws_url)


def test_a_token_from_the_app_server(sandbox: Sandbox) -> None:
    user = new_name()
    app = plain_app(sandbox)

    async def fetch() -> str:
        return await asyncio.to_thread(token_of, sandbox, user)

    for token in (token_of(sandbox, user), lambda: token_of(sandbox, user), fetch):
        with imkit.login(user, app=app, token=token) as session:
            assert session.create_group("tea").send("hello").id


def test_a_token_of_somebody_else(sandbox: Sandbox) -> None:
    user, other = new_name(), new_name()
    token_of(sandbox, user)  # the sandbox makes users on demand
    with pytest.raises(imkit.AuthError) as caught:
        imkit.login(user, app=plain_app(sandbox), token=token_of(sandbox, other))
    assert caught.value.code == 28
    assert caught.value.reason
    assert caught.value.hint


def test_a_token_function_that_fails_fails_the_login_at_once(sandbox: Sandbox) -> None:
    def token() -> str:
        raise KeyError("access_token")

    with pytest.raises(imkit.AuthError, match="fetches tokens"):
        imkit.login(new_name(), app=plain_app(sandbox), token=token)


def test_tokens_that_end() -> None:
    with Sandbox(token_seconds=0.4) as short:
        app = plain_app(short)
        user, other = new_name(), new_name()
        old = token_of(short, user)
        with imkit.login(other, app=app, token=lambda: token_of(short, other)) as renewing:
            group = renewing.create_group("tea")
            with imkit.login(user, app=app, token=old) as fixed:
                logged_out = fixed.events(imkit.LoggedOut).next(timeout=WAIT)
                assert logged_out == imkit.LoggedOut("the token expired")
                with pytest.raises(imkit.SessionClosed):
                    fixed.group("123").send("late")
            with pytest.raises(imkit.TokenExpired) as caught:
                imkit.login(user, app=app, token=old)
            assert caught.value.code == 56
            assert "callable" in caught.value.hint
            # The other one's first token has ended as well, and nothing of it was noticed.
            assert isinstance(renewing.events(imkit.TokenExpiring).next(timeout=WAIT), imkit.TokenExpiring)
            assert renewing.connected
            assert group.send("still here").id
            assert [found.id for found in renewing.groups()] == [group.id]


# ------------------------------------------------------------------ no service


def test_a_service_that_is_not_there_is_an_error_soon() -> None:
    with http_stand_in(lambda _: Answer()) as gone:
        port = gone.url.rpartition(":")[2]
    app = imkit.App("org#app", rest_url=f"http://127.0.0.1:{port}", ws_url=f"ws://127.0.0.1:{port}/websocket")
    with pytest.raises(imkit.ConnectionLost) as caught:
        imkit.login("alice", app=app, token="t0ken")
    assert caught.value.outcome == "not sent"
    assert "ws_url" in caught.value.hint
    assert caught.value.reason


def test_a_service_that_speaks_no_websocket() -> None:
    with http_stand_in(lambda _: Answer(404, b"<html>")) as server:
        app = imkit.App("org#app", rest_url=server.url, ws_url=server.url.replace("http", "ws"))
        with pytest.raises(imkit.ConnectionLost) as caught:
            imkit.login("alice", app=app, token="t0ken")
    assert "404" in caught.value.reason


# -------------------------------------------------------------------- callbacks


def test_the_echo_bot_in_the_plain_face(bob: imkit.Session, alice: imkit.Session, thread: imkit.Thread) -> None:
    bobs = bob.thread(thread.id)
    threads: list[str] = []

    def echo(event: imkit.MessageReceived) -> None:
        if event.message.thread is not None:
            threads.append(threading.current_thread().name)
            bobs.send(f"echo: {event.message.text}")

    bob.on(imkit.MessageReceived, echo)
    heard = alice.events(imkit.MessageReceived)
    for text in ("one", "two", "three"):
        thread.send(text)
        answer = heard.next(timeout=WAIT)
        assert isinstance(answer, imkit.MessageReceived)
        assert answer.message.text == f"echo: {text}"
    assert set(threads) == {f"imkit-callbacks-{bob.user}"}


def test_the_echo_bot_in_the_async_face(bob: imkit.Session, alice: imkit.Session, thread: imkit.Thread) -> None:
    bobs = bob.thread(thread.id)

    async def echo(event: imkit.MessageReceived) -> None:
        if event.message.thread is not None:
            await bobs.send.aio(f"echo: {event.message.text}")

    bob.on(imkit.MessageReceived, echo)
    heard = alice.events(imkit.MessageReceived)
    for text in ("one", "two", "three"):
        thread.send(text)
        answer = heard.next(timeout=WAIT)
        assert isinstance(answer, imkit.MessageReceived)
        assert answer.message.text == f"echo: {text}"


def test_a_callback_that_raises_is_logged_and_the_session_goes_on(
    bob: imkit.Session, thread: imkit.Thread, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str | None] = []
    done = threading.Event()

    def plain(event: imkit.MessageReceived) -> None:
        seen.append(event.message.text)
        if event.message.text == "last":
            done.set()
        raise StopIteration if event.message.text == "first" else ValueError("no tea")

    async def of_async(event: imkit.MessageReceived) -> None:
        raise SystemExit("of the async one")

    with caplog.at_level(logging.ERROR, logger="imkit"):
        bob.on(imkit.MessageReceived, plain, replay=False)
        bob.on(imkit.MessageReceived, of_async, replay=False)
        for text in ("first", "second", "last"):
            thread.send(text)
        assert done.wait(WAIT)
        assert eventually(lambda: len(caplog.records) == 6)
    assert seen == ["first", "second", "last"]
    assert "no tea" in caplog.text
    assert "the session goes on" in caplog.text
    assert bob.connected


def test_a_callback_that_blocks_drops_no_connection(bob: imkit.Session, thread: imkit.Thread) -> None:
    began, blocked = threading.Event(), threading.Event()

    def block(event: imkit.MessageReceived) -> None:
        began.set()
        blocked.wait(WAIT)

    bob.on(imkit.MessageReceived, block, replay=False)
    others = bob.events(imkit.MessageReceived, replay=False)
    thread.send("one")
    assert began.wait(WAIT)
    assert isinstance(others.next(timeout=WAIT), imkit.MessageReceived)
    thread.send("two")
    assert isinstance(others.next(timeout=WAIT), imkit.MessageReceived)
    assert bob.connected
    assert bob.thread(thread.id).send("the cell goes on too").id
    blocked.set()


def test_off(bob: imkit.Session, thread: imkit.Thread) -> None:
    seen: list[str | None] = []
    subscription = bob.on(imkit.MessageReceived, lambda event: seen.append(event.message.text), replay=False)
    assert repr(subscription) == f"<Subscription of {bob.user}, on>"
    stream = bob.events(imkit.MessageReceived, replay=False)
    thread.send("one")
    stream.next(timeout=WAIT)
    assert eventually(lambda: seen == ["one"])
    subscription.off()
    subscription.off()
    thread.send("two")
    stream.next(timeout=WAIT)
    assert seen == ["one"]
    assert repr(subscription) == f"<Subscription of {bob.user}, off>"


@pytest.mark.parametrize("in_async", [True, False])
def test_a_callback_may_close_its_session(bob: imkit.Session, thread: imkit.Thread, in_async: bool) -> None:
    closed = threading.Event()

    def plain(event: imkit.MessageReceived) -> None:
        bob.close()
        closed.set()

    async def of_async(event: imkit.MessageReceived) -> None:
        await bob.close.aio()
        closed.set()

    bob.on(imkit.MessageReceived, of_async if in_async else plain, replay=False)
    thread.send("quit")
    assert closed.wait(WAIT)
    assert not bob.connected


def test_callbacks_hear_of_the_end(sandbox: Sandbox) -> None:
    session = imkit.login(new_name(), app=sandbox.app)
    reasons: list[str] = []
    session.on(imkit.LoggedOut, lambda event: reasons.append(event.reason))
    session.close()
    assert reasons == ["closed"]


# ----------------------------------------------------------------- being sent away


def test_being_logged_out_by_the_service(sandbox: Sandbox) -> None:
    user = new_name()
    session = imkit.login(user, app=sandbox.app)
    token = portal().call(session.account.credentials.token(False))
    connection = http.client.HTTPConnection(sandbox.rest_url.removeprefix("http://"), timeout=5)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = f"/{sandbox.app_key.replace('#', '/')}/users/{user}/password"
    connection.request("PUT", path, json.dumps({"newpassword": "new"}), headers)
    assert connection.getresponse().status == 200
    connection.close()
    logged_out = session.events(imkit.LoggedOut).next(timeout=WAIT)
    assert logged_out == imkit.LoggedOut("the password was changed")
    assert not session.connected
    with pytest.raises(imkit.SessionClosed, match="password"):
        session.group("123").send("late")
    session.close()


def test_events_wants_kinds_of_events(alice: imkit.Session) -> None:
    for kind in (str, "MessageReceived", imkit.Connected()):
        with pytest.raises(imkit.InvalidMessage, match="not an event class"):
            alice.events(kind)
        with pytest.raises(imkit.InvalidMessage, match="not an event class"):
            alice.on(kind, print)


def test_a_sessions_card_says_who_where_and_how_it_is(sandbox: Sandbox) -> None:
    session = imkit.login("carded", app=sandbox.app)
    for told in ("Session", "carded", "connected", "imkit#sandbox (local sandbox)", "device webim_imkit_", "1 event"):
        assert told in session._repr_html_()
    session.close()
    assert "closed" in session._repr_html_()
    assert "<script" not in session._repr_html_()
