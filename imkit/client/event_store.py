"""What a session was told, kept for a while, and handed to each consumer at its own pace.

The store keeps the last 10,000 events. A consumer reads from it at its own place; one that falls so far behind that
its place is overwritten is told how many of the events it asked for are gone.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from imkit.errors import InvalidMessage, SessionClosed, TimedOut
from imkit.events import Dropped, Event, LoggedOut, MessageEdited, MessageRecalled, MessageReceived, ThreadChanged
from imkit.messages import Message
from imkit.portal import blocking, portal

KEPT = 10_000
E = TypeVar("E", bound=Event)


class EventStore:
    """The last events of a session, in order. Lives on the portal; only it writes.

    Args:
        kept: how many events to keep.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._events: deque[Event] = deque()
        self._kept = kept
        self._first = 0  # the number of the oldest event kept; numbers only grow
        self._streams: weakref.WeakSet[EventStream[Any]] = weakref.WeakSet()
        self.closed = False

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self._first + len(self._events)

    def add(self, events: Sequence[Event]) -> None:
        """Keep events and wake who waits for them."""
        for event in events:
            self._events.append(self._completed(event))
            self.closed = self.closed or isinstance(event, LoggedOut)
        if (too_many := len(self._events) - self._kept) > 0:
            gone = [self._events.popleft() for _ in range(too_many)]
            for stream in self._streams:
                stream.passed_over(self._first, gone)
            self._first += too_many
        self._wake()

    def close(self) -> None:
        """End every consumer once it has read what is kept."""
        self.closed = True
        self._wake()

    def find_message(self, message_id: str) -> Message | None:
        """Return a message that the kept events carry, as it reads after its last edit."""
        best: Message | None = None
        for event in self._events:
            match event:
                case (
                    MessageReceived(message) | MessageEdited(message) | ThreadChanged(last_message=Message() as message)
                ):
                    if message.id == message_id and (best is None or message.edit_count >= best.edit_count):
                        best = message
        return best

    def _completed(self, event: Event) -> Event:
        """Add to a recall what the message said, if this session saw it: the protocol tells the id alone."""
        if not isinstance(event, MessageRecalled):
            return event
        message = self.find_message(event.message_id)
        if message is None:
            return event
        return replace(event, message=message, seconds_after=(event.at - message.time).total_seconds())

    def events_from(self, number: int) -> list[Event]:
        """Return the kept events from `number` on."""
        start = max(number - self._first, 0)
        return [self._events[index] for index in range(start, len(self._events))]

    def attach(self, stream: EventStream[Any]) -> None:
        """Tell `stream` of new events and of what it misses, for as long as somebody holds it."""
        self._streams.add(stream)

    def _wake(self) -> None:
        for stream in self._streams:
            stream.wake()


class EventStream(Generic[E]):
    """A consumer's view of a session's events: iterate it with `for` or `async for`, or ask for the `next` one.

    Iteration ends with the session. A consumer that falls behind gets a `Dropped` in place of what it missed.

    Example:
        >>> for event in session.events(imkit.MessageReceived):  # doctest: +SKIP
        ...     print(event.message.text)
    """

    def __init__(self, store: EventStore, kinds: tuple[type[E], ...], replay: bool, owner: object = None) -> None:
        self._store = store
        self._owner = owner  # a session lives as long as somebody listens to it
        self.kinds: tuple[type[Event], ...] = kinds or (Event,)
        self._missed = 0
        self._ready: deque[E | Dropped] = deque()
        self._awake = asyncio.Event()
        self._place = portal().run(lambda: self._attach(replay))

    def _attach(self, replay: bool) -> int:
        self._store.attach(self)
        return 0 if replay else self._store.end

    def wake(self) -> None:
        """Have a consumer that waits look again."""
        self._awake.set()

    def passed_over(self, first: int, gone: Sequence[Event]) -> None:
        """Note that events are kept no more, the first of which had the number `first`."""
        missed = gone[max(self._place - first, 0) :]
        self._place = max(self._place, first + len(gone))
        self._missed += sum(isinstance(event, self.kinds) for event in missed)

    def _take(self) -> None:
        """Move what the store has for this consumer to `_ready`."""
        if self._missed:
            self._ready.append(Dropped(self._missed))
            self._missed = 0
        found = self._store.events_from(self._place)
        self._place = self._store.end
        # The kinds are those of E, which isinstance cannot tell a type checker.
        self._ready.extend(event for event in found if isinstance(event, self.kinds))  # type: ignore[misc]

    async def _some(self) -> bool:
        """Wait until there is something in `_ready`; False: the session is over, and all has been read."""
        while not self._ready:
            self._awake.clear()
            self._take()
            if self._ready:
                break
            if self._store.closed:
                return False
            await self._awake.wait()
        return True

    def _pop(self) -> E | Dropped | None:
        try:
            return self._ready.popleft()
        except IndexError:  # another thread was faster
            return None

    async def next_or_end(self) -> E | Dropped | None:
        """Internal: wait for the next event and return it; `None` where the session has ended."""
        while await self._some():
            if (event := self._pop()) is not None:
                return event
        return None

    @blocking
    async def next(self, timeout: float | None = None, *, where: Callable[[E], object] | None = None) -> E | Dropped:
        """Wait for the next event and return it.

        Args:
            timeout: in seconds; `None` waits as long as it takes.
            where: wait for the next one of which this is true; those before it are passed over. A quick, plain
                function: it runs on imkit's loop.

        Raises:
            TimedOut: none came in time.
            SessionClosed: the session is over, and everything it was told has been read.

        Example:
            >>> bob.events(imkit.MessageReceived).next(timeout=10)  # doctest: +SKIP
            >>> heard.next(timeout=10, where=lambda event: event.message.id == sent.id)  # doctest: +SKIP
        """
        try:
            async with asyncio.timeout(timeout):
                event = await self.next_or_end()
                while where is not None and event is not None and (isinstance(event, Dropped) or not where(event)):
                    event = await self.next_or_end()
        except TimeoutError:
            wanted = ", ".join(kind.__name__ for kind in self.kinds)
            hint = "Was it sent? Is this user in the thread?"
            raise TimedOut(f"no {wanted} came in {timeout} s", hint=hint) from None
        if event is None:
            raise SessionClosed("the session is over; no more events will come")
        return event

    # An event leaves `_ready` only in the step that hands it over: whatever ends a loop (a break, an exception that a
    # notebook keeps, the stop button), the next loop goes on behind the event that was seen last.

    def __iter__(self) -> Iterator[E | Dropped]:
        while portal().call(self._some()):
            while (event := self._pop()) is not None:
                yield event

    async def __aiter__(self) -> AsyncIterator[E | Dropped]:
        while await portal().wait(self._some()):
            while (event := self._pop()) is not None:
                yield event

    def __repr__(self) -> str:
        wanted = ", ".join(kind.__name__ for kind in self.kinds)
        return f"<EventStream of {wanted}, {self._store.end - self._place + len(self._ready)} to look at>"


def checked_kinds(kinds: tuple[type[E], ...]) -> tuple[type[E], ...]:
    """Return the kinds of events asked for, or refuse what is no kind."""
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise InvalidMessage(f"{kind!r:.60} is no event", hint="Give classes, such as imkit.MessageReceived.")
    return kinds
