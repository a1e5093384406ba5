"""messages(): one page after another, in order, each message once."""

import asyncio
import itertools
import threading

import pytest

import imkit
from imkit.client.roaming import Order
from tests.history.recorded_thread import RecordedThread
from tests.history.roaming_service import RoamingService, bursty, text_entries
from tests.stand_ins import Answer, Asked, odd_session


def test_messages_are_loaded_while_they_are_iterated(recorded: RecordedThread) -> None:
    messages = recorded.thread.messages(order="newest")
    assert [message.id for message in itertools.islice(messages, 60)] == recorded.ids[::-1][:60]
    assert [message.id for message in messages] == recorded.ids[::-1]  # a second iteration begins again
    assert [message.id for message in recorded.thread.messages(limit=2)] == recorded.ids[:2]
    assert "messages of thread" in repr(messages)

    async def main() -> list[str]:
        first = []
        async for message in recorded.thread.messages(since=recorded.sent[70].time):
            first.append(message.id)
            if len(first) == 55:
                break
        return first

    assert asyncio.run(main()) == recorded.ids[70:125]


def test_messages_that_arrive_during_the_iteration_are_left_out(recorded: RecordedThread) -> None:
    found = []
    for message in recorded.other.messages():
        found.append(message.id)
        recorded.other.send("meanwhile")
        assert len(found) < 20
    assert found[:3] == [message.id for message in recorded.others]
    assert len(found) == 3
    recall_all_but(recorded.other, recorded.others)


def recall_all_but(thread: imkit.Thread, kept: list[imkit.Message]) -> None:
    kept_ids = {message.id for message in kept}
    for message in list(thread.messages()):
        if message.id not in kept_ids:
            thread.recall(message)


def test_an_interrupt_ends_the_iteration() -> None:
    import _thread

    began, over = threading.Event(), threading.Event()

    def slow(asked: Asked) -> Answer:
        if asked.json["start"] == "more":
            began.set()
            over.wait(10)
        return Answer(200, {"data": {"msgs": text_entries(1), "is_last": False, "next_key": "more"}})

    def stop() -> None:
        began.wait(10)
        _thread.interrupt_main()

    threading.Thread(target=stop, daemon=True).start()
    with odd_session(slow) as (session, _):
        with pytest.raises(KeyboardInterrupt):
            list(session.thread("42").messages(order="newest"))
        over.set()
        assert session.connected


@pytest.mark.parametrize("always_oldest_first", [True, False])
def test_a_service_that_ignores_the_direction_is_refused(always_oldest_first: bool) -> None:
    roaming = RoamingService(bursty(300), always_oldest_first=always_oldest_first)
    ids = [str(number) for number, _ in roaming.messages]
    with odd_session(roaming) as (session, _):
        thread = session.thread("42")
        right: Order = "oldest" if always_oldest_first else "newest"
        wrong: Order = "newest" if always_oldest_first else "oldest"
        assert [message.id for message in thread.messages(order=right)] == (ids if always_oldest_first else ids[::-1])
        with pytest.raises(imkit.ProtocolError, match="other end"):
            list(thread.messages(order=wrong))
