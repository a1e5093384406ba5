"""Callbacks for events: `session.on(…)` returns a `Subscription`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from imkit.client.account import Account
from imkit.client.event_store import EventStream
from imkit.events import Dropped, Event
from imkit.portal import portal

logger = logging.getLogger("imkit.session")

E = TypeVar("E", bound=Event)


class Subscription:
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
        work = _call_for_each_event(account.worker.run, stream, callback)
        self._task = portal().run(lambda: account.background.start(work, "imkit callback", reads_events=True))

    def off(self) -> None:
        """Stop calling the callback."""
        self._account.process.check()
        portal().run(self._task.cancel)

    def __repr__(self) -> str:
        return f"<Subscription of {self._account.user}, {'off' if self._task.done() else 'on'}>"


async def _call_for_each_event(
    run: Callable[..., Awaitable[Any]],
    stream: EventStream[E],
    callback: Callable[[E], Awaitable[object] | object],
) -> None:
    """Call the callback with each event; an error in it is logged and ends nothing."""
    while (event := await stream.next_or_end()) is not None:
        if isinstance(event, Dropped) and Dropped not in stream.kinds:
            logger.warning("a callback fell behind: %d events were dropped", event.count)
            continue
        try:
            await run(callback, event)
        except Exception:
            logger.exception("a callback failed at %r; the session goes on", type(event).__name__)
