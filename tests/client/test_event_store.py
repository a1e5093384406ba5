"""The event store: consumers read at their own speed, learn how many events they missed, and end with the session."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import imkit
from imkit.client.event_store import EventStore, EventStream
from imkit.events import (
    Connected,
    Disconnected,
    Dropped,
    Event,
    LoggedOut,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ThreadChanged,
)
from imkit.messages import Message, Text
from imkit.portal import portal

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def store() -> EventStore:
    return EventStore()


def message(number: int, text: str = "") -> Message:
    return Message(str(number), "alice", "42", NOON, Text(text or f"message {number}"))


def add(store: EventStore, *events: Event) -> None:
    portal().run(lambda: store.add(events))


def tell(store: EventStore, *numbers: int) -> None:
    add(store, *(MessageReceived(message(number)) for number in numbers))


def numbers(stream: EventStream[MessageReceived], count: int) -> list[int]:
    found = [stream.next(timeout=5) for _ in range(count)]
    return [int(event.message.id) for event in found if isinstance(event, MessageReceived)]


def test_a_consumer_gets_the_kept_events_and_then_new_ones(store: EventStore) -> None:
    tell(store, 1, 2)
    stream = EventStream(store, (MessageReceived,), True)
    tell(store, 3)
    assert numbers(stream, 3) == [1, 2, 3]


@pytest.mark.parametrize("replay", [True, False])
def test_events_that_are_dropped_while_a_stream_is_made_do_no_harm(
    replay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is made in another thread than the one that adds events."""
    store = EventStore(1)
    attach = store.attach

    def attach_and_drop(stream: EventStream[Event]) -> None:
        attach(stream)
        store.add([MessageReceived(message(number)) for number in (1, 2, 3)])

    monkeypatch.setattr(store, "attach", attach_and_drop)
    stream = EventStream(store, (MessageReceived,), replay)
    assert stream.next(timeout=5) == Dropped(2)
    assert numbers(stream, 1) == [3]


def test_without_replay_a_consumer_gets_only_new_events(store: EventStore) -> None:
    tell(store, 1, 2)
    stream = EventStream(store, (MessageReceived,), False)
    tell(store, 3)
    assert numbers(stream, 1) == [3]


def test_consumers_read_at_their_own_speed(store: EventStore) -> None:
    fast, slow = (EventStream(store, (MessageReceived,), True) for _ in range(2))
    tell(store, 1, 2)
    assert numbers(fast, 2) == [1, 2]
    tell(store, 3)
    assert numbers(fast, 1) == [3]
    assert numbers(slow, 3) == [1, 2, 3]


def test_a_consumer_gets_only_the_kinds_it_asked_for(store: EventStore) -> None:
    some = EventStream(store, (Connected, Disconnected), True)
    everything: EventStream[Event] = EventStream(store, (), True)
    add(store, Connected(), MessageReceived(message(1)), Disconnected("gone"))
    assert [some.next(timeout=5), some.next(timeout=5)] == [Connected(), Disconnected("gone")]
    assert [type(everything.next(timeout=5)) for _ in range(3)] == [Connected, MessageReceived, Disconnected]


def test_a_slow_consumer_learns_how_many_of_its_events_are_gone() -> None:
    store = EventStore(kept=10)
    stream = EventStream(store, (MessageReceived,), True)
    tell(store, 1)
    assert numbers(stream, 1) == [1]
    add(store, *[Connected()] * 5)
    tell(store, *range(2, 22))
    assert stream.next(timeout=5) == Dropped(10)  # of 20 messages 10 are kept; the 5 others do not count
    assert numbers(stream, 10) == list(range(12, 22))
    late = EventStream(store, (MessageReceived,), True)
    assert numbers(late, 10) == list(range(12, 22))  # it missed nothing: it was not there


def test_dropped_events_of_other_kinds_do_not_count() -> None:
    store = EventStore(kept=3)
    stream = EventStream(store, (Disconnected,), True)
    tell(store, *range(20))
    add(store, Disconnected("at last"))
    assert stream.next(timeout=5) == Disconnected("at last")


def test_the_store_keeps_ten_thousand_events(store: EventStore) -> None:
    tell(store, *range(10_050))
    stream = EventStream(store, (MessageReceived,), True)
    assert numbers(stream, 10_000 // 100)[0] == 50
    assert store.end == 10_050
    assert len(store.events_from(0)) == 10_000


def test_a_timeout_of_next_loses_no_event(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    for timeout in (0, 0.01):
        with pytest.raises(imkit.TimedOut, match=r"no MessageReceived came in 0(\.01)? s") as caught:
            stream.next(timeout=timeout)
        assert caught.value.hint
        assert isinstance(caught.value, TimeoutError)
    tell(store, 1)
    assert numbers(stream, 1) == [1]


def test_next_gets_an_event_that_another_thread_adds(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    adding = threading.Timer(0.05, lambda: tell(store, 7))
    adding.start()
    assert numbers(stream, 1) == [7]
    adding.join()


def test_a_loop_ends_with_the_session_after_all_events(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    tell(store, 1, 2)
    add(store, LoggedOut("closed"))
    assert [event.message.id for event in stream if isinstance(event, MessageReceived)] == ["1", "2"]
    assert list(stream) == []
    with pytest.raises(imkit.SessionClosed, match="no more events"):
        stream.next()


def test_closing_the_store_ends_a_waiting_loop(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    closing = threading.Timer(0.05, lambda: portal().run(store.close))
    closing.start()
    assert list(stream) == []
    closing.join()


def test_a_second_loop_continues_after_a_break(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    tell(store, *range(6))
    seen = []
    for event in stream:
        seen.append(event)
        if len(seen) == 2:
            break
    seen.append(stream.next(timeout=5))
    add(store, LoggedOut())
    seen += stream
    assert [event.message.id for event in seen if isinstance(event, MessageReceived)] == list("012345")


def test_a_failed_loop_that_a_traceback_keeps_takes_no_events(store: EventStore) -> None:
    # A notebook keeps the last traceback, and with it the loop: what comes next is for the next loop all the same.
    stream = EventStream(store, (MessageReceived,), True)
    tell(store, 1, 2, 3)
    kept: list[BaseException] = []

    def look(events: Iterator[object]) -> None:
        for _ in events:
            raise ValueError("while looking at it")

    with pytest.raises(ValueError, match="looking") as caught:
        look(iter(stream))
    kept.append(caught.value)
    assert numbers(stream, 2) == [2, 3]


def test_async_for(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    tell(store, 1, 2, 3)

    async def main() -> list[str]:
        first = []
        async for event in stream:
            first.append(event)
            break
        assert isinstance(await stream.next.aio(timeout=5), MessageReceived)
        await asyncio.to_thread(add, store, LoggedOut())
        return [event.message.id async for event in stream if isinstance(event, MessageReceived)]

    assert asyncio.run(main()) == ["3"]


def test_a_timeout_around_async_for_loses_no_event(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)

    async def main() -> None:
        async with asyncio.timeout(0.05):
            async for _ in stream:
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    tell(store, 1)
    assert numbers(stream, 1) == [1]


def test_threads_that_share_a_consumer_get_each_event_once(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived,), True)
    seen: list[Event] = []
    threads = [threading.Thread(target=lambda: seen.extend(stream)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for start in range(0, 1000, 10):
        tell(store, *range(start, start + 10))
    add(store, LoggedOut())
    for thread in threads:
        thread.join(10)
    assert sorted(int(event.message.id) for event in seen if isinstance(event, MessageReceived)) == list(range(1000))


def test_an_unreferenced_consumer_is_garbage_collected(store: EventStore) -> None:
    gone = weakref.ref(EventStream(store, (MessageReceived,), True))
    gc.collect()
    assert gone() is None
    tell(store, 1)


def test_a_recall_has_the_recalled_message_and_its_age(store: EventStore) -> None:
    stream = EventStream(store, (MessageRecalled,), True)
    edited = MessageEdited(message(1, "better words"), "alice", 1, NOON)
    at = NOON + timedelta(seconds=90)
    add(store, MessageReceived(message(1)), edited, MessageRecalled("1", "42", "alice", at))
    recalled = stream.next(timeout=5)
    assert isinstance(recalled, MessageRecalled)
    assert recalled.message == edited.message
    assert recalled.seconds_after == 90
    add(store, MessageRecalled("99", "42", "alice", at))
    unseen = stream.next(timeout=5)
    assert isinstance(unseen, MessageRecalled)
    assert (unseen.message, unseen.seconds_after) == (None, None)


def test_a_recall_finds_the_message_in_a_thread_notice(store: EventStore) -> None:
    told = ThreadChanged("update", "42", "tea", "7", "alice", last_message=message(5, "told by a notice"))
    add(store, told, MessageRecalled("5", "42", "alice", NOON))
    stream = EventStream(store, (MessageRecalled,), True)
    recalled = stream.next(timeout=5)
    assert isinstance(recalled, MessageRecalled)
    assert recalled.message == told.last_message


def test_repr_shows_the_kinds_and_the_number_of_events_to_read(store: EventStore) -> None:
    stream = EventStream(store, (MessageReceived, Connected), True)
    tell(store, 1, 2)
    assert repr(stream) == "<EventStream of MessageReceived, Connected, 2 to read>"
