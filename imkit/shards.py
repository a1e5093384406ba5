"""A long history fetched in pieces, side by side: shards of its time range, split where the messages are.

Each worker walks one shard from its newest message to its oldest. Whoever has nothing left to do takes the older half
of the shard with the most still to come, so that bursts do not leave one worker with all the work. Shards overlap by
a millisecond at each end and messages are told apart by id, so nothing is missed or counted twice, whatever the
service thinks of its bounds. Where it turns out to overlook them, one walk from end to end takes over.

Source: fact sheet section 8; the argument for exactness is in the design, "Sharding by time".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from imkit.messages import Message, to_milliseconds
from imkit.roaming import PAGE, Page, Query

WORKERS = 8  # a safe default: at 100 requests a second they rarely wait for the limit
WORTH_SPLITTING = 2 * PAGE  # messages; fewer are fetched sooner by who is at it

Fetch = Callable[[Query, "str | int", bool], Awaitable[Page]]


class BoundsOverlooked(Exception):
    """The service answers with messages from outside the times that were asked for."""


@dataclass(slots=True, eq=False)
class Shard:
    """A piece of the time range, in ms since the epoch, both ends included.

    Attributes:
        asked_from, asked_to: what is asked for; never changed once the walk has begun, because the cursor is only
            good for the question that it came with.
        reached: the time of the oldest message that has come; what is newer is done.
        cut: where the walk ends; moves up when the older part is given away.
        count: how many messages have come.
    """

    asked_from: int
    asked_to: int
    reached: int
    cut: int
    count: int = 0

    def left(self, density: float) -> float:
        """How many messages are estimated to be still to come."""
        span = self.asked_to - self.reached
        own = self.count / span if self.count and span > 0 else density
        return max(self.reached - self.cut, 0) * own


class ShardedFetch:
    """Fetches all of a time range with several workers.

    Args:
        fetch: fetches one page of a query: from a cursor (-1 to begin), newest first if the last argument is true.
        wanted: the filters; its times are replaced by those of the shards.
        taken: given the messages of each page; among them may be some from outside, and some that came before.
        workers: how many requests are under way at once, at the most.
    """

    def __init__(
        self, fetch: Fetch, wanted: Query, taken: Callable[[list[Message]], Awaitable[None]], workers: int = WORKERS
    ) -> None:
        self._fetch = fetch
        self._wanted = wanted
        self._taken = taken
        self._workers = workers
        self._waiting: list[Shard] = []
        self._active: list[Shard] = []
        self._changed = asyncio.Condition()
        self._whole = 1
        self._count = 0

    @property
    def fraction(self) -> float:
        """How much of the time range is done, from 0 to 1."""
        left = sum(shard.reached - shard.cut for shard in (*self._active, *self._waiting) if shard.reached > shard.cut)
        return 1 - left / self._whole

    async def run(self, oldest: int, newest: int) -> None:
        """Fetch everything from `oldest` to `newest`, in ms since the epoch, both included.

        Raises:
            BoundsOverlooked: the service does not keep to the times that it is asked for.
        """
        self._whole = max(newest - oldest, 1)
        width = -(-(newest - oldest + 1) // self._workers)  # rounded up
        for start in range(oldest, newest + 1, width):
            end = min(start + width - 1, newest)
            self._waiting.append(Shard(start, end, end, start))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while (shard := await self._next()) is not None:
            try:
                await self._walk(shard)
            finally:
                async with self._changed:
                    self._active.remove(shard)
                    self._changed.notify_all()

    async def _next(self) -> Shard | None:
        async with self._changed:
            while True:
                shard = self._waiting.pop() if self._waiting else self._split()
                if shard is not None:
                    self._active.append(shard)
                    return shard
                if not self._active:
                    return None
                await self._changed.wait()

    def _split(self) -> Shard | None:
        """Take the older half of what the fullest shard has left, if that is worth the request."""
        done = self._whole * self.fraction
        density = self._count / done if done > 0 else 0.0
        fullest = max(self._active, key=lambda shard: shard.left(density), default=None)
        if fullest is None or fullest.left(density) < WORTH_SPLITTING or fullest.reached - fullest.cut < 2:
            return None
        middle = (fullest.reached + fullest.cut) // 2
        half = Shard(fullest.cut, middle, middle, fullest.cut)
        fullest.cut = middle
        return half

    async def _walk(self, shard: Shard) -> None:
        wanted = replace(self._wanted, since=shard.asked_from, until=shard.asked_to + 1)
        cursor: str | int = -1
        been: set[str | int] = {cursor}
        while shard.reached >= shard.cut:
            page = await self._fetch(wanted, cursor, True)
            times = [to_milliseconds(message.time) for message in page.messages if message.id]
            if times and (min(times) < shard.asked_from - 2 or max(times) > shard.asked_to + 3):
                raise BoundsOverlooked
            await self._taken(page.messages)
            shard.count += len(page.messages)
            self._count += len(page.messages)
            if page.is_last or page.is_empty or page.cursor is None or page.cursor in been:
                break
            if times:
                shard.reached = min(shard.reached, times[-1])
            been.add(page.cursor)
            cursor = page.cursor
            async with self._changed:
                self._changed.notify()  # there may be something to take now
        shard.reached = shard.cut - 1
