"""Callbacks for events: `session.on(…)` returns a `Subscription`.

Each call gets one event. But a plain callback runs on another thread than the loop, and to change threads for each
event takes longer than to receive one. So a job of that thread calls the callback with all events that are there, one
after another, for `SLICE_SECONDS` at the most: then the session's other callbacks have their turn.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from imkit.client.account import Account
from imkit.client.event_store import EventStream
from imkit.events import Dropped, Event
from imkit.misuse import PublicObject
from imkit.portal import Worker, portal
from imkit.times import steady_seconds
from imkit.tracebacks import shorten

logger = logging.getLogger("imkit.session")

E = TypeVar("E", bound=Event)
SLICE_SECONDS = 0.01
MAX_WAITING = 10_000  # events taken for a callback; further ones wait in the store


class Subscription(PublicObject):
    """A callback that imkit calls for each event of some kinds, until `off()` or the session's end.

    Example:
        ```python
        subscription = bob.on(imkit.MessageReceived, lambda event: print(event.message.text))
        subscription.off()
        ```
    """

    def __init__(
        self, account: Account, stream: EventStream[E], callback: Callable[[E], Awaitable[object] | object]
    ) -> None:
        self._account = account
        self._calls = calls = _Calls(account.worker, stream, callback)
        self._task = portal().run(lambda: account.background.start(calls.run(), "imkit callback", reads_events=True))

    def off(self) -> None:
        """Stop calling the callback."""
        self._account.process.check()
        portal().run(self._end)

    def _end(self) -> None:
        self._calls.stop()
        self._task.cancel()

    def __repr__(self) -> str:
        return f"<Subscription of {self._account.user}, {'off' if self._task.done() else 'on'}>"


class _Calls(Generic[E]):
    """Calls a callback with each event of a stream; an error in it is logged and ends nothing."""

    def __init__(
        self, worker: Worker, stream: EventStream[E], callback: Callable[[E], Awaitable[object] | object]
    ) -> None:
        self._worker = worker
        self._stream = stream
        # A callback that falls behind gets `Dropped` too, whatever it asked for.
        self._callback: Callable[[Any], Awaitable[object] | object] = callback
        self._waiting: deque[E | Dropped] = deque()  # taken from the stream, and not given to the callback yet
        self._is_off = False
        self._has_news, self._has_room = asyncio.Event(), asyncio.Event()

    def stop(self) -> None:
        """Call the callback no more. This may be called in any thread."""
        self._is_off = True
        self._waiting.clear()

    async def run(self) -> None:
        """Call the callback until the session is over."""
        step = self._await_next if inspect.iscoroutinefunction(self._callback) else self._call_some
        taking = asyncio.create_task(self._take(), name="imkit callback events")
        try:
            while not taking.done() or self._waiting:
                await self._has_news.wait()
                self._has_news.clear()
                while self._waiting:
                    await self._worker.run(step)
                    self._has_room.set()
            await taking  # raises its error, if it ended in one
        finally:
            taking.cancel()
            self.stop()  # a job of the worker may still be calling it

    async def _take(self) -> None:
        """Take events from the stream while the callback is called, so that the session need not keep them."""
        try:
            while events := await self._stream.next_events():
                self._waiting.extend(events)
                self._has_news.set()
                while len(self._waiting) >= MAX_WAITING:
                    self._has_room.clear()
                    await self._has_room.wait()
        finally:
            self._has_news.set()

    def _next(self) -> E | Dropped | None:
        try:
            event = self._waiting.popleft()
        except IndexError:  # there is none, or `stop` was called
            return None
        if self._is_off:
            return None
        if isinstance(event, Dropped):
            logger.warning("a callback fell behind: %d events were dropped", event.count)
        return event

    def _call_some(self) -> Awaitable[None] | None:
        """On the worker's thread: call a plain callback until no event waits, or for a slice of time."""
        end = steady_seconds() + SLICE_SECONDS
        while (event := self._next()) is not None:
            try:
                result = self._callback(event)
            except BaseException as error:
                _log_failure(event, error)
            else:
                if inspect.isawaitable(result):
                    return self._finish(event, result)  # the worker awaits it on the loop
            if steady_seconds() >= end:
                break
        return None

    async def _await_next(self) -> None:
        """On the loop: call an async callback once."""
        if (event := self._next()) is not None:
            await self._finish(event, self._callback(event))

    async def _finish(self, event: E | Dropped, result: Any) -> None:
        try:
            await result
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            _log_failure(event, error)


def _log_failure(event: Event, error: BaseException) -> None:
    shorten(error)
    logger.error("a callback failed at %r; the session goes on", type(event).__name__, exc_info=error)
