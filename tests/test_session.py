"""`Session` against a real sandbox: the ten lines of the README, calls after the end, events, and the card."""

import asyncio
from collections.abc import Callable

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.waits import WAIT


def test_the_ten_lines(sandbox: Sandbox) -> None:
    alice = imkit.login(new_name("alice"), app=sandbox.app)
    bob = imkit.login(new_name("bob"), app=sandbox.app)
    group = alice.create_group("tea", members=[bob.user])
    parent = group.send("Which oolong should we order?")
    thread = group.create_thread("Oolong", parent)
    bob.thread(thread.id).join()
    sent = thread.send("Dong Ding, please 🍵")
    in_thread = bob.events(imkit.MessageReceived).next(timeout=WAIT, where=lambda event: event.message.thread)
    assert isinstance(in_thread, imkit.MessageReceived)
    assert in_thread.message.text == sent.text
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


def test_every_call_of_a_closed_session_raises_session_closed(alice: imkit.Session, thread: imkit.Thread) -> None:
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


def test_events_and_on_refuse_what_is_not_an_event_class(alice: imkit.Session) -> None:
    for kind in (str, "MessageReceived", imkit.Connected()):
        with pytest.raises(imkit.InvalidMessage, match="not an event class"):
            alice.events(kind)
        with pytest.raises(imkit.InvalidMessage, match="not an event class"):
            alice.on(kind, print)


def test_the_card_of_a_session_shows_user_app_device_and_state(sandbox: Sandbox) -> None:
    session = imkit.login("carded", app=sandbox.app)
    for told in ("Session", "carded", "connected", "imkit#sandbox (local sandbox)", "device webim_imkit_", "1 event"):
        assert told in session._repr_html_()
    session.close()
    assert "closed" in session._repr_html_()
    assert "<script" not in session._repr_html_()
