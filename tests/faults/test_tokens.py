"""Tokens that expire while the service, or the function that gives tokens, fails."""

import asyncio
import time
from typing import Any

import pytest

import imkit
from imkit.client import credentials as credentials_module
from imkit.client.credentials import keep_fresh
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.faults.proxy import Proxy
from tests.faults.tea_thread import WAIT
from tests.people import new_name
from tests.sandbox.server.raw_client import token_of
from tests.stand_ins import envelope


class Clock:
    """A clock that moves only when the code sleeps; it takes the place of two modules' functions."""

    def __init__(self, asyncio_copy: Any, time_copy: Any) -> None:
        self.now = 1_795_390_000.0
        sleep = asyncio.sleep

        async def pass_by(seconds: float) -> None:
            self.now += seconds
            await sleep(0)

        asyncio_copy.sleep = pass_by
        time_copy.time = lambda: self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    class Module:
        """A copy of a module, so that the patches do not affect other code."""

        def __init__(self, module: Any) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            return getattr(self._module, name)

    asyncio_copy, time_copy = Module(asyncio), Module(time)
    monkeypatch.setattr(credentials_module, "asyncio", asyncio_copy)
    monkeypatch.setattr(credentials_module, "time", time_copy)
    return Clock(asyncio_copy, time_copy)


class Source:
    """Credentials and REST calls that fail until a time."""

    user = "alice"

    def __init__(self, clock: Clock, error: imkit.IMError, until: float, *, renewable: bool = True, says: int = 0):
        self.clock, self.error, self.until, self.renewable, self.says = clock, error, clock.now + until, renewable, says
        self.fetched: list[float] = []

    async def token(self, refused: bool) -> str:
        assert refused
        if self.clock.now < self.until:
            raise self.error
        self.fetched.append(self.clock.now)
        return "fresh"

    async def get(self, *path: str) -> dict[str, Any]:
        if not self.says or len(self.fetched) > 1:
            raise imkit.NotFound("nobody says")
        return {"expire_timestamp": int(self.clock.now + self.says) * 1000}


def keep(source: Source, seconds: float) -> tuple[int, list[float]]:
    told: list[object] = []
    ended: list[float] = []

    async def expired() -> None:
        ended.append(source.clock.now)

    ends = int(source.clock.now + seconds) * 1000
    portal().call(keep_fresh(source, source, ends, told.append, expired))
    return len(told), ended


AWAY = imkit.ConnectionLost("away", outcome="not sent")


def test_an_outage_while_a_token_expires_does_not_end_the_session(clock: Clock) -> None:
    began = clock.now
    source = Source(clock, AWAY, until=30 * 60)
    told, ended = keep(source, 600)
    assert (told, ended) == (1, [])
    assert len(source.fetched) == 1
    assert 30 * 60 <= source.fetched[0] - began <= 32 * 60


def test_a_token_function_that_fails_is_asked_again_until_the_token_ends(clock: Clock) -> None:
    told, ended = keep(Source(clock, imkit.AuthError("no"), until=550), 600)
    assert (told, ended) == (1, [])
    began = clock.now
    told, ended = keep(Source(clock, imkit.AuthError("no"), until=10_000), 600)
    assert told == 1
    assert [end - began for end in ended] == [pytest.approx(600, abs=2)]  # the service tells the end in whole seconds


def test_a_new_token_with_unknown_expiry_does_not_end_the_session(clock: Clock) -> None:
    source = Source(clock, AWAY, until=0)
    assert keep(source, 600) == (1, [])
    source = Source(clock, AWAY, until=0, says=1000)
    assert keep(source, 600) == (2, [])
    assert len(source.fetched) == 2


def test_a_plain_token_ends_the_session_when_it_expires(clock: Clock) -> None:
    began = clock.now
    told, ended = keep(Source(clock, AWAY, until=0, renewable=False), 600)
    assert told == 1
    assert [end - began for end in ended] == [pytest.approx(600, abs=2)]  # the service tells the end in whole seconds


def test_the_token_function_is_called_before_a_token_expires(quick: None) -> None:
    with Sandbox(token_seconds=1) as sandbox, Proxy(sandbox) as proxy:
        user = new_name("alice")
        asked: list[float] = []

        def fetch() -> str:
            asked.append(time.monotonic())
            return token_of(sandbox, user)

        plain = imkit.App(sandbox.app_key, rest_url=proxy.rest_url, ws_url=proxy.ws_url)
        with imkit.login(user, app=plain, token=fetch) as alice:
            group = alice.create_group("tea")
            expiring = alice.events(imkit.TokenExpiring)
            for _ in range(3):
                assert isinstance(expiring.next(timeout=WAIT), imkit.TokenExpiring)
            group.send("still here")
            back = alice.events(imkit.Connected, replay=False)
            proxy.cut(user)
            back.next(timeout=WAIT)
            assert group.send("and back with the new one").id
            assert alice.connected
            assert len(asked) >= 3


def test_after_a_refused_token_one_new_token_is_fetched_for_all_attempts(
    file_sandbox: Sandbox, proxy: Proxy, quick: None
) -> None:
    user = new_name("alice")
    asked: list[str] = []

    def fetch() -> str:
        asked.append(token_of(file_sandbox, user))
        return asked[-1]

    plain = imkit.App(file_sandbox.app_key, rest_url=proxy.rest_url, ws_url=proxy.ws_url)
    with imkit.login(user, app=plain, token=fetch) as alice:
        expired = schema.Provision(status=schema.Status(errorCode=1, reason="Sorry, token expired"))
        proxy.when("welcome", lambda _: envelope("PROVISION", expired))
        proxy.when("provision", "cut", skip=1, times=4)
        back = alice.events(imkit.Connected, replay=False)
        proxy.cut(user)
        back.next(timeout=WAIT)
        assert len(asked) == 2
