"""Keeps the last events of a session; each consumer reads them at its own speed.

The store keeps the last 10,000 events. Each consumer has its own position in them. A consumer that falls too far behind
gets a `Dropped` with the number of events it missed.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from imkit.client.own_process import OwnProcess
from imkit.errors import InvalidMessage, SessionClosed, TimedOut
from imkit.events import Dropped, Event, LoggedOut, MessageEdited, MessageRecalled, MessageReceived, ThreadChanged
from imkit.hints import EVENT_CLASSES, event_hint
from imkit.messages import Message
from imkit.misuse import PublicObject
from imkit.portal import blocking, portal, short_tracebacks

MAX_EVENTS = 10_000
MAX_EVENTS_BYTES = 64 * 2**20  # as they came: 10,000 messages of the largest size, 5 KB, with their marks
E = TypeVar("E", bound=Event)


class EventStore:
    """The last events of a session, in order. Only imkit's loop (`imkit.portal`) may change it.

    Args:
        kept: the largest number of events to keep.
        kept_bytes: and the largest number of bytes that they came in.

    Attributes:
        closed: no more events will come.
        process: where the events come.
    """

    def __init__(self, kept: int = MAX_EVENTS, kept_bytes: int = MAX_EVENTS_BYTES) -> None:
        self.process = OwnProcess()
        self._events: deque[Event] = deque()
        self._sizes: deque[int] = deque()  # of each event, in bytes
        self._bytes = 0
        self._kept, self._kept_bytes = kept, kept_bytes
        self._first = 0  # the number of the oldest event kept; events are numbered from 0
        self._streams: weakref.WeakSet[EventStream[Any]] = weakref.WeakSet()
        self.closed = False

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self._first + len(self._events)

    def add(self, events: Sequence[Event], size_bytes: int = 0) -> None:
        """Add events, and wake the consumers that wait.

        Args:
            events: new events.
            size_bytes: how many bytes they came in, all together.
        """
        for event in events:
            self._events.append(self._with_recalled_message(event))
            self._sizes.append(size_bytes // len(events))
            self._bytes += self._sizes[-1]
            self.closed = self.closed or isinstance(event, LoggedOut)
        dropped = []
        while len(self._events) > self._kept or self._bytes > self._kept_bytes:
            dropped.append(self._events.popleft())
            self._bytes -= self._sizes.popleft()
        if dropped:
            for stream in self._streams:
                stream.note_dropped(self._first, dropped)
            self._first += len(dropped)
        self._wake()

    def close(self) -> None:
        """End each consumer after it has read the events that are kept."""
        self.closed = True
        self._wake()

    def find_message(self, message_id: str) -> Message | None:
        """Return a message from the kept events, in its newest version; `None`: no event has it."""
        best: Message | None = None
        for event in self._events:
            match event:
                case (
                    MessageReceived(message) | MessageEdited(message) | ThreadChanged(last_message=Message() as message)
                ):
                    if message.id == message_id and (best is None or message.edit_count >= best.edit_count):
                        best = message
        return best

    def was_recalled(self, message_id: str) -> bool:
        """Return whether the kept events tell that a message was recalled."""
        return any(isinstance(event, MessageRecalled) and event.message_id == message_id for event in self._events)

    def _with_recalled_message(self, event: Event) -> Event:
        """Add the recalled message to a recall, if the store has it: the service sends only its id."""
        if not isinstance(event, MessageRecalled):
            return event
        message = self.find_message(event.message_id)
        if message is None:
            return event
        return replace(event, message=message, seconds_after=(event.at - message.time).total_seconds())

    def events_from(self, number: int) -> list[Event]:
        """Return the kept events whose number is at least `number`."""
        start = max(number - self._first, 0)
        return [self._events[index] for index in range(start, len(self._events))]

    def attach(self, stream: EventStream[Any]) -> None:
        """Wake `stream` for new events and tell it of dropped ones, until the program no longer uses it."""
        self._streams.add(stream)

    def _wake(self) -> None:
        for stream in self._streams:
            stream.wake()


class EventStream(PublicObject, Generic[E]):
    """The events of a session for one consumer: iterate it with `for` or `async for`, or call `next`.

    The iteration ends with the session. A consumer that falls behind gets a `Dropped` in place of the events it missed.

    Example:
        ```python
        for event in session.events(imkit.MessageReceived):
            print(event.message.text)
        ```
    """

    def __init__(self, store: EventStore, kinds: tuple[type[E], ...], replay: bool, owner: object = None) -> None:
        store.process.check()
        self._store = store
        self._owner = owner  # keeps the session from being closed by the garbage collector
        self._kinds: tuple[type[Event], ...] = kinds or (Event,)
        self._missed = 0
        self._ready: deque[E | Dropped] = deque()
        self._new_events = asyncio.Event()
        self._position = 0
        portal().run(lambda: self._attach(replay))

    def _attach(self, replay: bool) -> None:
        if not replay:
            self._position = self._store.end
        self._store.attach(self)  # from now on the store may drop events, and tell this stream

    def wake(self) -> None:
        """Internal: let a waiting consumer look for new events."""
        self._new_events.set()

    def note_dropped(self, first: int, dropped: Sequence[Event]) -> None:
        """Internal: note that the store no longer keeps some events; the first of them had the number `first`."""
        missed = dropped[max(self._position - first, 0) :]
        self._position = max(self._position, first + len(dropped))
        self._missed += sum(isinstance(event, self._kinds) for event in missed)

    def _take(self) -> None:
        """Move this consumer's new events from the store to `_ready`."""
        if self._missed:
            self._ready.append(Dropped(self._missed))
            self._missed = 0
        found = self._store.events_from(self._position)
        self._position = self._store.end
        # `kinds` are the classes of E; a type checker cannot see that.
        self._ready.extend(event for event in found if isinstance(event, self._kinds))  # type: ignore[misc]

    async def _wait_until_ready(self) -> bool:
        """Wait until `_ready` has an event. Return False if the session is over and everything was read."""
        self._store.process.check()
        while not self._ready:
            self._new_events.clear()
            self._take()
            if self._ready:
                break
            if self._store.closed:
                return False
            await self._new_events.wait()
        return True

    def _pop(self) -> E | Dropped | None:
        try:
            return self._ready.popleft()
        except IndexError:  # another thread took the event
            return None

    async def next_or_end(self) -> E | Dropped | None:
        """Internal: wait for the next event and return it; `None` after the last one."""
        while await self._wait_until_ready():
            if (event := self._pop()) is not None:
                return event
        return None

    async def next_events(self) -> list[E | Dropped]:
        """Internal: wait for events and return all that are there; an empty list after the last one."""
        return self.take_ready() if await self._wait_until_ready() else []

    def take_ready(self) -> list[E | Dropped]:
        """Internal: return all events that are there, without waiting. Only imkit's loop may call this."""
        self._take()
        events: list[E | Dropped] = []
        while (event := self._pop()) is not None:
            events.append(event)
        return events

    @blocking
    async def next(self, timeout: float | None = None, *, where: Callable[[E], object] | None = None) -> E | Dropped:
        """Wait for the next event and return it.

        Args:
            timeout: in seconds; `None`: wait without limit.
            where: a function that takes an event. `next` then returns the first event for which it is true, and skips
                the events before it. It must be quick and not async, because it runs on imkit's loop.

        Returns:
            The event, or without `where` a `Dropped` if this consumer fell behind.

        Raises:
            TimedOut: no such event came in time.
            SessionClosed: the session is over, and all its events were read.

        Example:
            >>> incoming = bob.events(imkit.MessageReceived, replay=False)
            >>> sent = group.send("Which oolong?")
            >>> incoming.next(timeout=10, where=lambda event: event.message.id == sent.id).message.text
            'Which oolong?'
        """
        given: object = timeout
        if given is not None and not isinstance(given, int | float):
            raise InvalidMessage(f"timeout must be a number of seconds, or None, not {given!r:.40}")
        try:
            async with asyncio.timeout(timeout):
                event = await self.next_or_end()
                while where is not None and event is not None and (isinstance(event, Dropped) or not where(event)):
                    event = await self.next_or_end()
        except TimeoutError:
            wanted = [kind.__name__ for kind in self._kinds]
            raise TimedOut(f"no {', '.join(wanted)} came in {timeout} s", hint=event_hint(wanted)) from None
        if event is None:
            raise SessionClosed("the session is over; no more events will come")
        return event

    # Each step of a loop takes one event out of `_ready` and returns it at once. So after a break, an exception or the
    # stop button, the next loop continues after the last event that the program got.

    def __iter__(self) -> Iterator[E | Dropped]:
        with short_tracebacks:
            while portal().call(self._wait_until_ready()):
                while (event := self._pop()) is not None:
                    yield event

    async def __aiter__(self) -> AsyncIterator[E | Dropped]:
        with short_tracebacks:
            while await portal().wait(self._wait_until_ready()):
                while (event := self._pop()) is not None:
                    yield event

    def __repr__(self) -> str:
        wanted = ", ".join(kind.__name__ for kind in self._kinds)
        return f"<EventStream of {wanted}, {self._store.end - self._position + len(self._ready)} to read>"


def checked_kinds(kinds: tuple[type[E], ...]) -> tuple[type[E], ...]:
    """Return the event classes, or raise `InvalidMessage` if one of them is not an event class."""
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise InvalidMessage(f"{kind!r:.60} is not an event class", hint=EVENT_CLASSES)
    return kinds
