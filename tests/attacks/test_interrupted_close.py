"""A `close()` is cut off at any point: nothing of the session is left, and a second `close()` waits for the end."""

import _thread
import asyncio
import random
import threading
from collections.abc import Iterator

import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.faults.proxy import Proxy
from tests.people import new_name
from tests.timing import set_timing
from tests.waits import WAIT, eventually


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[Proxy]:
    with Proxy(sandbox) as running:
        yield running


def opened(proxy: Proxy) -> imkit.Session:
    """Return a session with everything that a close must end: both kinds of connections, threads, tasks."""
    session = imkit.login(new_name("alice"), app=proxy.app)
    session.create_group("tea")
    session.on(imkit.MessageReceived, print)
    return session


def remains(session: imkit.Session, proxy: Proxy) -> list[object]:
    """Return what is left of a session: connections, tasks and threads."""
    tasks = portal().run(lambda: [task for task in asyncio.all_tasks() if session.user in task.get_name()])
    threads = [thread for thread in threading.enumerate() if session.user in thread.name]
    return [*proxy._links, *tasks, *threads]


def check_closed(session: imkit.Session, proxy: Proxy) -> None:
    left: list[object] = []

    def is_gone() -> bool:
        left[:] = remains(session, proxy)
        return not left

    assert eventually(is_gone), left
    assert not session.connected
    session.close()
    assert not remains(session, proxy)
    with pytest.raises(imkit.SessionClosed):
        session.group("42").send("late")


@pytest.mark.parametrize("steps", range(1, 40, 5))
def test_a_close_that_is_cancelled_after_some_steps_of_the_loop(proxy: Proxy, steps: int) -> None:
    session = opened(proxy)

    async def cut() -> None:
        closing = asyncio.create_task(session.close.aio())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})

    portal().call(cut())
    check_closed(session, proxy)


@pytest.mark.parametrize("seed", range(6))
def test_a_close_that_is_cancelled_on_another_loop_at_a_random_moment(proxy: Proxy, seed: int) -> None:
    session = opened(proxy)

    async def cut() -> None:
        closing = asyncio.create_task(session.close.aio())
        await asyncio.sleep(0)
        await asyncio.sleep(random.Random(seed).choice([0, 0.0002, 0.001, 0.004]))
        closing.cancel()
        await asyncio.wait({closing})

    asyncio.run(cut())
    check_closed(session, proxy)


def test_the_stop_button_during_a_close_against_a_service_that_answers_nothing(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_timing(monkeypatch, close=0.3)
    session = opened(proxy)
    proxy.freeze(session.user)  # so the close waits for its closing handshake
    logout = threading.Event()
    proxy.watch = lambda kind, user: logout.set() if kind == "logout" else None

    def stop() -> None:
        logout.wait(WAIT)
        _thread.interrupt_main()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        session.close()
    session.close()
    proxy.calm()
    check_closed(session, proxy)


def test_a_close_during_a_close_waits_for_the_same_end(proxy: Proxy) -> None:
    session = opened(proxy)

    async def both() -> None:
        await asyncio.gather(*(session.close.aio() for _ in range(5)))

    asyncio.run(both())
    assert not remains(session, proxy) or eventually(lambda: not remains(session, proxy))
    assert [event.reason for event in session.events(imkit.LoggedOut)] == ["closed"]
