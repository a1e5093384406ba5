"""This machine's clock is hours wrong, or it jumps, or the machine was suspended: no storm, no end, nothing lost."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection

import imkit
from imkit.archive import Archive
from imkit.client import credentials as credentials_module
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.times import steady_seconds
from imkit.wire.envelope import Identity
from imkit.wire.protocol import ClientProtocol
from tests.faults.conftest import quick_timers
from tests.faults.proxy import Proxy
from tests.people import new_name
from tests.stand_ins import Answer, Asked, http_stand_in, socket_stand_in, token_of, welcome
from tests.timing import set_timing
from tests.waits import WAIT, eventually

HOURS = 3600.0
_real_time = time.time


@pytest.fixture(scope="module")
def hourly() -> Iterator[Sandbox]:
    """A server whose tokens are valid for one hour."""
    with Sandbox(token_seconds=HOURS) as running:
        yield running


class Clocks:
    """The clocks that the client reads, and by how many seconds each of them is wrong."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall_error: Callable[[], float] = lambda: 0.0
        self.suspended = 0.0
        patch.setattr(time, "time", lambda: _real_time() + self.wall_error())
        patch.setattr(time, "time_ns", lambda: int((_real_time() + self.wall_error()) * 1e9))
        set_timing(patch, clock=lambda: steady_seconds() + self.suspended)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


class TokenFunction:
    """Fetches tokens, and counts them."""

    def __init__(self, sandbox: Sandbox, user: str) -> None:
        self._sandbox, self._user, self.count = sandbox, user, 0

    def __call__(self) -> str:
        self.count += 1
        return token_of(self._sandbox, self._user)


def plain_app(server: Sandbox | Proxy, app_key: str) -> imkit.App:
    return imkit.App(app_key, rest_url=server.rest_url, ws_url=server.ws_url)


def jumping() -> Callable[[], float]:
    """Return errors of a clock that jumps forth and back by hours at each reading."""
    errors = itertools.cycle([2 * HOURS, -5 * HOURS, 0.0, 26 * HOURS])
    return lambda: next(errors)


@pytest.mark.parametrize("error", [2 * HOURS, -2 * HOURS, None])
def test_a_wrong_clock_renews_no_token_and_ends_no_session(
    clocks: Clocks, hourly: Sandbox, error: float | None
) -> None:
    clocks.wall_error = jumping() if error is None else lambda: error
    user, app = new_name("alice"), plain_app(hourly, hourly.app_key)
    tokens = TokenFunction(hourly, user)
    with (
        imkit.login(user, app=app, token=tokens) as alice,
        imkit.login(user, app=app, token=token_of(hourly, user), resource="phone") as fixed,
    ):
        group = alice.create_group("tea")
        sent = [group.send(f"number {number}").id for number in range(30)]
        heard = fixed.events(imkit.MessageReceived)
        assert [heard.next(timeout=WAIT).message.id for _ in sent] == sent
        assert alice.connected
        assert fixed.connected
        assert tokens.count == 1
        assert alice.account.rest.requests == 1  # the group
        for session in (alice, fixed):
            events = session.account.events.events_from(0)
            assert not [event for event in events if isinstance(event, imkit.TokenExpiring | imkit.LoggedOut)]


def test_refusals_of_one_token_that_come_one_after_another_renew_it_once() -> None:
    fetched: list[int] = []
    is_new_fetched, first = threading.Event(), threading.Lock()

    def fetch() -> str:
        fetched.append(1)
        if len(fetched) > 1:
            is_new_fetched.set()
        return f"t0ken{len(fetched)}"

    def refuse_the_first_token(asked: Asked) -> Answer:
        if asked.headers["authorization"] != "Bearer t0ken1":
            return Answer()
        if not first.acquire(blocking=False):  # the others hear it when the token is replaced already
            assert is_new_fetched.wait(WAIT)
        return Answer(401, {"error": "unauthorized", "error_description": "expired access token"})

    def serve(connection: ServerConnection) -> None:
        welcome(connection)
        for _ in connection:
            pass

    async def requests(session: imkit.Session) -> None:
        await asyncio.gather(*(session.account.rest.get("thread", str(number)) for number in range(5)))

    with http_stand_in(refuse_the_first_token) as rest, socket_stand_in(serve) as ws_url:
        app = imkit.App("org#app", rest_url=rest.url, ws_url=ws_url)
        with imkit.login("alice", app=app, token=fetch) as alice:
            portal().call(requests(alice))
            assert len(rest.asked) == 10
    assert len(fetched) == 2


def test_ids_of_sends_grow_also_if_the_clock_goes_back_between_two_logins(clocks: Clocks) -> None:
    device = Identity("org#app", "alice", "web")
    earlier = ClientProtocol(device).next_client_id()
    clocks.wall_error = lambda: -5 * HOURS
    assert ClientProtocol(device).next_client_id() >= earlier


def test_a_session_renews_its_token_after_the_machine_was_suspended(
    clocks: Clocks, hourly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials_module, "_LONGEST_SLEEP_SECONDS", 0.02)
    user = new_name("alice")
    tokens = TokenFunction(hourly, user)
    with imkit.login(user, app=plain_app(hourly, hourly.app_key), token=tokens) as alice:
        group = alice.create_group("tea")
        group.send("good night")  # its answer comes after the service's time, from which the token's life is counted
        expiring = alice.events(imkit.TokenExpiring)
        clocks.suspended = 3 * HOURS  # the loop's own clock stands meanwhile
        expiring.next(timeout=WAIT)
        assert eventually(lambda: tokens.count == 2)
        assert group.send("good morning").id
        assert [message.text for message in group.messages()] == ["good night", "good morning"]
        assert tokens.count == 2


def test_a_send_under_way_while_the_machine_is_suspended_arrives_once(
    clocks: Clocks, hourly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_timers(monkeypatch)
    set_timing(monkeypatch, answer=15.0)
    with Proxy(hourly) as proxy:
        user = new_name("alice")
        app = plain_app(proxy, hourly.app_key)
        with imkit.login(user, app=app, token=TokenFunction(hourly, user)) as alice:
            group = alice.create_group("tea")
            group.send("good night")
            asleep = proxy.when("answer", "freeze", user=user)  # after the suspend nothing comes on this socket

            async def main() -> list[imkit.Message | BaseException]:
                under_way = [asyncio.create_task(group.send.aio(f"number {number}")) for number in range(5)]
                await asyncio.to_thread(asleep.happened.wait, WAIT)
                clocks.wall_error = lambda: 8 * HOURS
                clocks.suspended = 8 * HOURS
                return await asyncio.gather(*under_way, return_exceptions=True)

            outcomes = asyncio.run(main())
            # A send that was still on its way to the service may be lost, and says so. No send arrives twice.
            lost = [outcome for outcome in outcomes if isinstance(outcome, imkit.ConnectionLost)]
            sent = [outcome.id for outcome in outcomes if isinstance(outcome, imkit.Message)]
            assert len(sent) + len(lost) == 5
            assert [message.id for message in group.messages()][1:] == sent != []
            assert alice.connected


def test_a_range_that_ends_in_the_services_future_is_not_remembered_as_read(alice: imkit.Session) -> None:
    group = alice.create_group("tea")
    first = group.send("before")
    ahead = datetime.now(UTC) + timedelta(hours=2)  # what a clock that is two hours ahead says now
    frame = group.history(until=ahead)
    assert frame["message_id"].to_list() == [first.id]
    later = group.send("in these two hours")
    assert group.history(resume=frame)["message_id"].to_list() == [first.id, later.id]


@pytest.mark.parametrize("error", [2 * HOURS, -2 * HOURS, 400 * 24 * HOURS])
def test_an_archive_synced_by_a_wrong_clock_misses_nothing(
    clocks: Clocks, alice: imkit.Session, tmp_path: Path, error: float
) -> None:
    clocks.wall_error = lambda: error
    group = alice.create_group("tea")
    thread = group.create_thread("Oolong", group.send("Which?"))
    archive = Archive(tmp_path / "archive")
    sent = []
    for text in ("first", "second"):
        sent.append(thread.send(text).id)
        archive.sync(alice, of=thread)
    clocks.wall_error = lambda: 0.0
    sent.append(thread.send("third").id)
    archive.sync(alice, of=thread)
    assert archive.frame()["message_id"].to_list() == sent
