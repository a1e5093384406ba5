"""Callbacks of `session.on`: where they run, what they may do, and what their exceptions do."""

import logging
import threading
from functools import partial

import pytest

import imkit
from imkit.client import callbacks
from imkit.client.event_store import EventStore
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.waits import WAIT, eventually


def test_an_echo_bot_with_a_plain_callback(bob: imkit.Session, alice: imkit.Session, thread: imkit.Thread) -> None:
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


def test_an_echo_bot_with_an_async_callback(bob: imkit.Session, alice: imkit.Session, thread: imkit.Thread) -> None:
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

    async def async_one(event: imkit.MessageReceived) -> None:
        raise SystemExit("of the async callback")

    with caplog.at_level(logging.ERROR, logger="imkit"):
        bob.on(imkit.MessageReceived, plain, replay=False)
        bob.on(imkit.MessageReceived, async_one, replay=False)
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


def test_a_callback_that_falls_behind_is_told_in_order(
    bob: imkit.Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bob.account, "events", EventStore(kept=10))
    monkeypatch.setattr(callbacks, "MAX_WAITING", 1)
    began, blocked, done = (threading.Event() for _ in range(3))
    seen: list[object] = []

    def slow(event: imkit.Disconnected | imkit.Dropped) -> None:
        began.set()
        blocked.wait(WAIT)
        seen.append(event.count if isinstance(event, imkit.Dropped) else event.reason)
        if isinstance(event, imkit.Disconnected) and event.reason == "29":
            done.set()

    bob.on(imkit.Disconnected, slow)
    add = bob.account.events.add
    portal().run(lambda: add([imkit.Disconnected("0")] * 2))  # one of them waits, and no further one is taken
    assert began.wait(WAIT)
    portal().run(lambda: add([imkit.Disconnected(f"{n}") for n in range(1, 30)]))
    blocked.set()
    assert done.wait(WAIT)
    assert seen == ["0", "0", 19, *(f"{n}" for n in range(20, 30))]
    assert "19 events were dropped" in caplog.text


def test_callbacks_take_turns_when_many_events_wait(bob: imkit.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "SLICE_SECONDS", 0.0)  # one event a turn
    calls: list[str] = []
    started, done = threading.Event(), threading.Event()

    def note(name: str, event: imkit.Disconnected) -> None:
        started.wait(WAIT)
        calls.append(name)
        if len(calls) == 200:
            done.set()

    for name in ("first", "second"):
        bob.on(imkit.Disconnected, partial(note, name), replay=False)
    portal().run(lambda: bob.account.events.add([imkit.Disconnected()] * 100))
    started.set()
    assert done.wait(WAIT)
    assert set(calls[:10]) == {"first", "second"}


def test_off_ends_the_calls_although_events_wait(bob: imkit.Session) -> None:
    calls: list[imkit.Disconnected] = []
    ended = threading.Event()

    def once(event: imkit.Disconnected) -> None:
        calls.append(event)
        subscription.off()
        ended.set()

    subscription = bob.on(imkit.Disconnected, once, replay=False)
    portal().run(lambda: bob.account.events.add([imkit.Disconnected()] * 100))
    assert ended.wait(WAIT)
    assert eventually(lambda: repr(subscription).endswith("off>"))
    assert len(calls) == 1


def test_off_ends_the_calls(bob: imkit.Session, thread: imkit.Thread) -> None:
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

    async def async_one(event: imkit.MessageReceived) -> None:
        await bob.close.aio()
        closed.set()

    bob.on(imkit.MessageReceived, async_one if in_async else plain, replay=False)
    thread.send("quit")
    assert closed.wait(WAIT)
    assert not bob.connected


def test_a_callback_gets_the_logged_out_event(sandbox: Sandbox) -> None:
    session = imkit.login(new_name(), app=sandbox.app)
    reasons: list[str] = []
    session.on(imkit.LoggedOut, lambda event: reasons.append(event.reason))
    session.close()
    assert reasons == ["closed"]
