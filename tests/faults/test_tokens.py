"""Tokens that expire while the service, or the function that gives tokens, fails."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest

import imkit
from imkit.client import credentials as credentials_module
from imkit.client.credentials import keep_fresh
from imkit.client.timing import Timing
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from imkit.wire import schema
from tests.faults.proxy import Proxy
from tests.faults.tea_thread import WAIT
from tests.people import new_name
from tests.sandbox.server.raw_client import token_of
from tests.stand_ins import envelope
from tests.timing import set_timing

AWAY = imkit.ConnectionLost("away", outcome="not sent")
SERVICE_TIME = 1_795_390_000_000  # ms: what the service's clock says when the test's clock says 0


class Clock:
    """A clock that moves only when the code sleeps."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    class Asyncio:
        """A copy of the module, so that the patch does not affect other code."""

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            assert 0 < seconds < 400
            made.now += seconds
            await asyncio.sleep(0)

    made = Clock()
    monkeypatch.setattr(credentials_module, "asyncio", Asyncio())
    return made


class Source:
    """Credentials and REST calls that fail until a time, and tell lives of tokens."""

    user = "alice"

    def __init__(
        self,
        clock: Clock,
        error: imkit.IMError = AWAY,
        until: float = 0,
        *,
        renewable: bool = True,
        lives: Sequence[float] = (),
    ) -> None:
        self.clock, self.error, self.until, self.renewable = clock, error, clock.now + until, renewable
        self.lives = iter(lives)
        self.asked: list[float] = []
        self.fetched: list[float] = []
        self.told: list[imkit.TokenExpiring] = []

    def service_time(self) -> int:
        return SERVICE_TIME + int(self.clock.now * 1000)

    async def renew(self) -> str:
        self.asked.append(self.clock.now)
        if self.clock.now < self.until:
            raise self.error
        self.fetched.append(self.clock.now)
        return "fresh"

    async def get(self, *path: str) -> dict[str, Any]:
        life = next(self.lives, None)
        if life is None:
            raise imkit.NotFound("nobody says")
        return {"expire_timestamp": life if isinstance(life, str) else self.service_time() + life * 1000}

    def keep(self, seconds: float) -> None:
        """Keep a token of this life fresh, until the service says no more lives or the token cannot be renewed."""
        ends = self.service_time() + int(seconds * 1000)
        timing = Timing(clock=self.clock)
        portal().call(keep_fresh(self, self, ends, self.service_time, self.told.append, timing))


def test_an_outage_while_a_token_expires_does_not_end_the_renewals(clock: Clock) -> None:
    began = clock.now
    source = Source(clock, until=30 * 60)
    source.keep(600)
    assert len(source.told) == 1
    assert len(source.fetched) == 1
    assert 30 * 60 <= source.fetched[0] - began <= 35 * 60
    assert len(source.asked) < 20  # the attempts become rarer


def test_a_token_function_that_fails_is_asked_again_also_after_the_end_of_the_token(clock: Clock) -> None:
    source = Source(clock, imkit.AuthError("no"), until=3600)
    source.keep(600)
    assert len(source.told) == len(source.fetched) == 1


def test_a_password_that_the_service_refuses_is_not_tried_again(clock: Clock) -> None:
    source = Source(clock, imkit.AuthError("no", status=400), until=3600)
    source.keep(600)
    assert len(source.told) == len(source.asked) == 1


def test_each_new_token_is_renewed_at_four_fifths_of_its_own_life(clock: Clock) -> None:
    began = clock.now
    source = Source(clock, lives=[1000, 50])
    source.keep(600)
    assert [round(at - began) for at in source.fetched] == [480, 480 + 800, 480 + 800 + 40]


def test_a_plain_token_is_announced_once_and_ends_nothing(clock: Clock) -> None:
    began = clock.now
    source = Source(clock, renewable=False)
    source.keep(600)
    assert clock.now - began == pytest.approx(480, abs=1)
    assert source.told == [imkit.TokenExpiring(from_milliseconds(SERVICE_TIME + int((began + 600) * 1000)))]
    assert source.asked == []


@pytest.mark.parametrize("life", [0.001, -1, -(10**15), 1, "1", 0.9, -7200])
def test_lives_that_cannot_be_true_make_no_storm(clock: Clock, life: Any) -> None:
    began = clock.now
    source = Source(clock, lives=[life] * 100)
    source.keep(-7200)
    assert len(source.told) == len(source.fetched) == 101
    pauses = [after - before for before, after in itertools.pairwise([began, *source.fetched])]
    assert pauses[:3] == [5, 10, 20]
    assert pauses[10] == pauses[-1] == 300


def test_a_plausible_life_ends_the_long_pauses(clock: Clock) -> None:
    began = clock.now
    source = Source(clock, lives=[1, 1, 100, 1])
    source.keep(1)
    pauses = [after - before for before, after in itertools.pairwise([began, *source.fetched])]
    assert pauses == pytest.approx([5, 10, 20, 80, 5], abs=0.1)


def test_a_life_without_end_is_slept_through_in_pieces(clock: Clock) -> None:
    source = Source(clock, renewable=False)
    source.keep(10**6)  # the clock's sleep allows no long one
    assert len(source.told) == 1


@pytest.mark.parametrize("said", [None, "", "NaN", 0, float("nan"), float("inf"), 2**70, True, [], {}, "soon"])
def test_an_expiry_that_is_no_time_ends_the_renewals_before_the_refusal(clock: Clock, said: Any) -> None:
    source = Source(clock)

    async def get(*path: str) -> dict[str, Any]:
        return {"expire_timestamp": said}

    source.get = get
    source.keep(600)
    assert len(source.fetched) == 1


def test_the_token_function_is_called_before_a_token_expires(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_timing(monkeypatch, renewal=0.1)
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
