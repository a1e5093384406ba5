"""Log in and out: one session for a device, tokens, refusals, and the end of a session, against a real sandbox."""

import asyncio
import gc
import http.client
import itertools
import json
import threading
import weakref
from typing import Any

import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.stand_ins import Answer, http_stand_in, token_of
from tests.timing import set_timing
from tests.waits import WAIT, eventually


def devices(session: imkit.Session) -> list[str]:
    """The devices of a session's user that are online, as the server sees it."""
    token = portal().call(session.account.credentials.token())
    connection = http.client.HTTPConnection(session.account.rest.rest_url.removeprefix("http://"), timeout=5)
    path = f"/{session.app.app_key.replace('#', '/')}/users/{session.user}/resources"
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    found = [one["res"] for one in json.load(connection.getresponse())["data"]]
    connection.close()
    return found


def connections(sandbox: Sandbox) -> int:
    """How many WebSocket connections the server has."""
    connection = http.client.HTTPConnection(sandbox.rest_url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/imkit/health")
    count = json.load(connection.getresponse())["connections"]
    connection.close()
    return int(count)


def plain_app(sandbox: Sandbox) -> imkit.App:
    """The sandbox as an app without the sandbox's secret: a login needs a credential, as at a real app."""
    return imkit.App(sandbox.app_key, rest_url=sandbox.rest_url, ws_url=sandbox.ws_url)


def test_login_and_close(sandbox: Sandbox) -> None:
    session = imkit.login("Alice.Of-Upper_Case", app=sandbox.app)
    assert session.user == "alice.of-upper_case"
    assert session.app == sandbox.app
    assert session.connected
    assert "connected" in repr(session)
    session.close()
    assert not session.connected
    assert repr(session) == f"<Session {session.user} at imkit#sandbox, closed>"
    session.close()  # a second call changes nothing
    assert [event for event in session.events() if isinstance(event, imkit.LoggedOut)] == [imkit.LoggedOut("closed")]


def test_a_with_block_closes_the_session_and_lets_errors_through(sandbox: Sandbox) -> None:
    with pytest.raises(ZeroDivisionError), imkit.login(new_name(), app=sandbox.app) as session:
        raise ZeroDivisionError
    assert not session.connected


def test_an_async_with_block_closes_the_session(sandbox: Sandbox) -> None:
    async def main() -> imkit.Session:
        async with await imkit.login.aio(new_name(), app=sandbox.app) as session:
            assert session.connected
        return session

    assert not asyncio.run(main()).connected


def test_a_login_cell_that_runs_five_times_leaves_one_session(sandbox: Sandbox) -> None:
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


def test_two_resources_of_a_user_are_logged_in_at_the_same_time(sandbox: Sandbox) -> None:
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
    user = new_name()
    with imkit.login(user, app=sandbox.app) as earlier:
        for credential in ({"token": "wrong"}, {"password": "wrong"}, {}):
            with pytest.raises(imkit.AuthError):
                imkit.login(user, app=plain_app(sandbox), **credential)
        assert earlier.connected
        assert earlier.create_group("still here").send("yes").id


def test_logins_at_the_same_time_leave_one_session(sandbox: Sandbox) -> None:
    user = new_name()

    async def main() -> list[imkit.Session]:
        return await asyncio.gather(*(imkit.login.aio(user, app=sandbox.app) for _ in range(6)))

    sessions = asyncio.run(main())
    assert sum(session.connected for session in sessions) == 1
    (last,) = (session for session in sessions if session.connected)
    assert len(devices(last)) == 1
    last.close()


def test_an_interrupted_login_leaves_no_connection(sandbox: Sandbox) -> None:
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


def test_a_session_without_references_closes_itself(sandbox: Sandbox) -> None:
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


def test_an_event_stream_keeps_its_session_open(sandbox: Sandbox) -> None:
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
def test_an_invalid_user_id_is_refused_before_any_network_call(user: Any) -> None:
    app = imkit.App("org#app", rest_url="http://127.0.0.1:9", ws_url="ws://127.0.0.1:9")
    with pytest.raises(imkit.InvalidMessage):
        imkit.login(user, app=app, token="t")


def test_login_with_a_token_from_the_app_server(sandbox: Sandbox) -> None:
    user = new_name()
    app = plain_app(sandbox)

    async def fetch() -> str:
        return await asyncio.to_thread(token_of, sandbox, user)

    for token in (token_of(sandbox, user), lambda: token_of(sandbox, user), fetch):
        with imkit.login(user, app=app, token=token) as session:
            assert session.create_group("tea").send("hello").id


def test_a_token_of_another_user_is_refused(sandbox: Sandbox) -> None:
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


def is_refused(session: imkit.Session) -> bool:
    """Whether the service refuses the session's token as expired."""
    try:
        list(session.groups())
    except imkit.TokenExpired:
        return True
    return False


def test_an_expired_token_ends_the_session_at_the_services_refusal_unless_it_can_be_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_timing(monkeypatch, renewal=0.1, delays=lambda: itertools.repeat(0.02))
    with Sandbox(token_seconds=0.4) as short:
        app = plain_app(short)
        user, other = new_name(), new_name()
        old = token_of(short, user)
        with imkit.login(other, app=app, token=lambda: token_of(short, other)) as renewing:
            group = renewing.create_group("tea")
            with imkit.login(user, app=app, token=old) as fixed:
                fixed.events(imkit.TokenExpiring).next(timeout=WAIT)
                assert fixed.connected  # only the service ends a session
                group.invite(user)
                assert eventually(lambda: is_refused(fixed))
                assert fixed.group(group.id).send("still here").id
                portal().run(fixed.account.connection._socket.transport.abort)
                logged_out = fixed.events(imkit.LoggedOut).next(timeout=WAIT)
                assert "no longer valid" in logged_out.reason
                with pytest.raises(imkit.SessionClosed):
                    fixed.group(group.id).send("late")
            with pytest.raises(imkit.TokenExpired) as caught:
                imkit.login(user, app=app, token=old)
            assert caught.value.code == 56
            assert "callable" in caught.value.hint
            # The first token of the other session has expired too; imkit has renewed it.
            assert isinstance(renewing.events(imkit.TokenExpiring).next(timeout=WAIT), imkit.TokenExpiring)
            assert renewing.connected
            assert group.send("still here").id
            assert [found.id for found in renewing.groups()] == [group.id]


def test_a_login_fails_soon_if_there_is_no_service() -> None:
    with http_stand_in(lambda _: Answer()) as gone:
        port = gone.url.rpartition(":")[2]
    app = imkit.App("org#app", rest_url=f"http://127.0.0.1:{port}", ws_url=f"ws://127.0.0.1:{port}/websocket")
    with pytest.raises(imkit.ConnectionLost) as caught:
        imkit.login("alice", app=app, token="t0ken")
    assert caught.value.outcome == "not sent"
    assert "ws_url" in caught.value.hint
    assert caught.value.reason


def test_a_login_fails_if_the_service_has_no_websocket() -> None:
    with http_stand_in(lambda _: Answer(404, b"<html>")) as server:
        app = imkit.App("org#app", rest_url=server.url, ws_url=server.url.replace("http", "ws"))
        with pytest.raises(imkit.ConnectionLost) as caught:
            imkit.login("alice", app=app, token="t0ken")
    assert "404" in caught.value.reason


def test_the_service_ends_a_session_when_the_password_changes(sandbox: Sandbox) -> None:
    user = new_name()
    session = imkit.login(user, app=sandbox.app)
    token = portal().call(session.account.credentials.token())
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
