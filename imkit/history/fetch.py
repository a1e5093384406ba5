"""Histories of many threads and groups, fetched side by side, and handed over in parts as they come.

One worker reads each thread, as long as there are threads that nobody has begun. A worker with nothing left to begin
then helps another one (`imkit.history.time_shards`). Messages are handed over every few thousand, with the times that
are known to be complete.

Source: fact sheet section 8.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from imkit.client.account import Account
from imkit.client.roaming import Page, Progress, Query, fetch_page
from imkit.errors import AuthError, ConnectionLost, IMError, RateLimited, ServiceBusy, SessionClosed, TimedOut
from imkit.history.columns import peek, to_batch
from imkit.history.time_ranges import Bounds, Range, merged
from imkit.history.time_shards import Shards, ShardWalk
from imkit.portal import Worker, to_its_end

logger = logging.getLogger("imkit.history.arguments")

WORKERS = 8  # a safe default: at 100 requests a second they rarely wait for the limit
MAX_WORKERS = 64
ROWS_A_PART = 2_000
PATIENCE_SECONDS = 120.0  # what took long to load is worth waiting for
WORTH_ESTIMATING = 0.05  # of the time range
LIMIT_REACHED = "the limit of {} was reached"

# What ends everything: the next thread would fare no better.
_OF_ALL = (AuthError, ConnectionLost, RateLimited, ServiceBusy, SessionClosed, TimedOut)


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """Rows of one thread or group, and what is known to be complete with them.

    Attributes:
        target_id: the thread or group.
        batch: rows of `imkit.history.columns.SCHEMA`, in no particular order; no message twice within one run.
        covered: what has been gone through so far in this run, in ms since the epoch, both ends included, the oldest
            first: all messages of the target in these ranges are in this part or an earlier one. Where the end was
            left open it is the newest message's time; to go on later, begin with that millisecond again.
        finished: nothing more comes for this target: all that was asked for has been gone through.
    """

    target_id: str
    batch: pa.RecordBatch
    covered: tuple[Range, ...]
    finished: bool


class _Target:
    """A thread or group, and how far it is."""

    def __init__(self, target_id: str, ranges: Iterable[Shards], known: Set[int]) -> None:
        self.id = target_id
        self.ranges = list(ranges)
        self.entries: list[bytes] = []  # taken, and not handed over yet
        self.waiting = 0  # how many of them are messages
        self.handed_over = 0
        self.is_over = False  # nothing more is asked for
        self.is_finished = False  # all that was asked for has been gone through
        self.is_told = False  # and the taker knows what became of it
        self.handing_over = asyncio.Lock()
        self._seen: set[int] = set()
        self._known = known

    @property
    def found(self) -> int:
        return self.handed_over + self.waiting

    @property
    def covered(self) -> tuple[Range, ...]:
        return merged(part for shards in self.ranges for part in shards.covered)

    @property
    def fraction(self) -> float:
        return sum(shards.fraction for shards in self.ranges) / len(self.ranges) if self.ranges else 1.0

    @property
    def expected(self) -> float | None:
        """How many messages there will be, as far as can be told."""
        if self.is_over:
            return self.found
        # A burst at the very beginning would promise millions.
        return self.found / self.fraction if self.fraction >= WORTH_ESTIMATING else None

    def goes_on(self, shards: Shards, walk: ShardWalk) -> bool:
        """Whether a walk through one of its ranges has anything left to do."""
        return not self.is_over and shards.goes_on(walk)

    def take(self, shards: Shards, entries: Sequence[bytes], known: Sequence[tuple[int, int] | None]) -> None:
        """Keep what is new of a page."""
        for entry, told in zip(entries, known, strict=True):
            # What tells no id may be a message that cannot be read: that one is told apart by its bytes.
            key = hash(entry) if told is None else told[0]
            if key in self._seen or key in self._known or (told is not None and not shards.holds(told[1])):
                continue
            self._seen.add(key)
            self.entries.append(entry)
            self.waiting += told is not None


class Fetch:
    """Fetches histories and hands them over in parts.

    Args:
        account: who asks.
        wanted: the filters; `since` and `until` for targets without ranges of their own. With a limit, each target is
            walked from the end that `order` names until so many messages have come: a whole page of them.
        take: given each part; while it is at work with one of a target, no other of that target comes. A slow one
            slows the fetch.
        workers: how many requests are under way at once, at the most.
        progress: told how many messages have come, and an estimate of how many there will be, if there is one.
        failed: told of a target that cannot be read (`NotFound`, `Forbidden`, …) while the others go on; without it
            such an error ends the run.
        known: ids of messages that are there already, to be left out, by target id.

    Attributes:
        reasons: why targets are not complete.

    Example:
        >>> async def take(part: HistoryPart) -> None:
        ...     print(part.target_id, part.batch.num_rows, part.covered)
        >>> await Fetch(account, Query(), take).run({"42": None})  # doctest: +SKIP
    """

    def __init__(
        self,
        account: Account,
        wanted: Query,
        take: Callable[[HistoryPart], Awaitable[None]],
        *,
        workers: int = WORKERS,
        progress: Progress | None = None,
        failed: Callable[[str, IMError], Awaitable[None]] | None = None,
        known: Mapping[str, Set[int]] | None = None,
    ) -> None:
        self._account = account
        self._wanted = wanted
        self._taker = take
        self._workers = workers
        self._failed = failed
        self._known = known or {}
        self._report = _Report(progress, self._figures) if progress is not None else None
        self._targets: list[_Target] = []
        self._waiting: deque[tuple[_Target, Shards]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._taker_failed = False
        self.reasons: list[str] = []

    @property
    def found(self) -> int:
        """How many messages have come so far."""
        return sum(target.found for target in self._targets)

    async def run(self, jobs: Mapping[str, Sequence[Bounds] | None]) -> None:
        """Fetch; what came until an error or a cancelling is handed over all the same.

        Args:
            jobs: target id → the ranges to go through, in ms since the epoch (since included, until excluded, `None`
                open), or `None` for that of `wanted`.

        Raises:
            IMError: what ended it.
        """
        for target_id, ranges in jobs.items():
            bounds = [(self._wanted.since, self._wanted.until)] if ranges is None else ranges
            queries = [replace(self._wanted, since=since, until=until) for since, until in bounds]
            self._targets.append(_Target(target_id, map(Shards, queries), self._known.get(target_id, set())))
        self._waiting.extend((target, shards) for target in self._targets for shards in target.ranges)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for target in self._targets:
                    if not target.ranges:
                        await self._finish(target)
                self._fill()
            for target in self._targets:
                if not target.is_over:
                    self.reasons.append(f"{target.id}: the service gives the same page again and again")
                    logger.warning("%s", self.reasons[-1])
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            try:
                await to_its_end(self._hand_over_rest())
            finally:
                if self._report is not None:
                    await self._report.end()

    # ------------------------------------------------------------------ who does what

    def _fill(self) -> None:
        """Give everybody who is idle something to do."""
        while len(self._running) < self._workers and (found := self._next()) is not None:
            self._running.add(self._group.create_task(self._go(*found)))

    def _next(self) -> tuple[_Target, Shards, ShardWalk] | None:
        while self._waiting:
            target, shards = self._waiting.popleft()
            if not target.is_over:
                return target, shards, shards.begin(self._wanted.limit is None or self._wanted.order == "newest")
        if self._wanted.limit is None:
            under_way = [(target, shards) for target in self._targets if not target.is_over for shards in target.ranges]
            for target, shards in sorted(under_way, key=lambda pair: pair[1].most_left, reverse=True):
                if (walk := shards.help()) is not None:
                    return target, shards, walk
        return None

    async def _go(self, target: _Target, shards: Shards, walk: ShardWalk) -> None:
        try:
            await self._walk(target, shards, walk)
        except IMError as error:
            await self._give_up(target, error)
        finally:
            shards.leave(walk)
            self._running -= {asyncio.current_task()}
        self._fill()

    async def _walk(self, target: _Target, shards: Shards, walk: ShardWalk) -> None:
        if self._wanted.limit is not None and not walk.newest_first and shards.is_open:
            await self._fix_end(target, shards)
        while target.goes_on(shards, walk):
            page = await self._page(target, walk.chain.wanted, walk.chain.cursor, walk.newest_first)
            if target.is_over:
                return
            walk.chain.follow(page)
            known = [peek(entry) for entry in page.entries]
            if shards.came(walk, [told[1] for told in known if told is not None]):
                target.take(shards, page.entries, known)
            if self._report is not None:
                self._report.wake()
            self._fill()
            limit = self._wanted.limit if shards.keeps_order else None
            if len(target.entries) >= ROWS_A_PART or limit is not None:
                await self._hand_over(target)
            if limit is not None and target.handed_over >= limit and not target.is_over:
                self.reasons.append(f"{target.id}: {LIMIT_REACHED.format(limit)}")
                await self._finish(target)
        if not target.is_over and all(each.is_done for each in target.ranges):
            await self._finish(target)

    async def _fix_end(self, target: _Target, shards: Shards) -> None:
        """What arrives from now on is not asked for; a walk that begins with the newest page needs no telling."""
        newest = await self._page(target, shards.wanted, -1, True)
        times = [told[1] for entry in newest.entries if (told := peek(entry)) is not None]
        if times:
            shards.end_at(max(times))

    async def _page(self, target: _Target, wanted: Query, cursor: str | int, newest_first: bool) -> Page:
        account = self._account
        return await fetch_page(account.rest, account.user, target.id, wanted, cursor, newest_first, PATIENCE_SECONDS)

    # ------------------------------------------------------------------ handing over

    async def _finish(self, target: _Target) -> None:
        target.is_over = target.is_finished = True
        await self._hand_over(target)
        self._stop_what_is_superfluous()

    async def _give_up(self, target: _Target, error: IMError) -> None:
        if target.is_over:
            return
        if self._failed is None or isinstance(error, _OF_ALL):
            raise error
        target.is_over = True
        self.reasons.append(f"{target.id}: {error}")
        if target.entries or target.covered:
            await self._hand_over(target)
        await self._failed(target.id, error)
        target.is_told = True
        self._stop_what_is_superfluous()

    def _stop_what_is_superfluous(self) -> None:
        """Cancel the requests that are under way when all that they ask for has come."""
        if all(target.is_told for target in self._targets):
            for task in self._running - {asyncio.current_task()}:
                task.cancel()

    async def _hand_over(self, target: _Target) -> None:
        async with target.handing_over:
            if self._taker_failed or target.is_told:
                return
            entries, target.entries, target.waiting = target.entries, [], 0
            batch = _filtered(to_batch(entries), self._wanted)
            target.handed_over += batch.num_rows
            await to_its_end(self._give(target, HistoryPart(target.id, batch, target.covered, target.is_finished)))

    async def _give(self, target: _Target, part: HistoryPart) -> None:
        try:
            await self._taker(part)
        except BaseException:
            self._taker_failed = True  # a later part would say that this one is there, too
            raise
        target.is_told = part.finished

    async def _hand_over_rest(self) -> None:
        for target in self._targets:
            if target.entries or target.covered or target.is_finished:
                await self._hand_over(target)

    def _figures(self) -> tuple[int, int | None]:
        """How many messages have come and how many there will be; `None` while nobody can tell."""
        if self._wanted.limit is not None:
            return min(self.found, self._wanted.limit), self._wanted.limit
        expected = [target.expected for target in self._targets]
        known = [number for number in expected if number is not None]
        if not known or sum(target.fraction for target in self._targets) < WORTH_ESTIMATING * len(expected):
            return self.found, None
        return self.found, max(round(sum(known) / len(known) * len(expected)), self.found)


class _Report:
    """Tells a progress function how far it is, as often as it can take it, and the end in any case."""

    def __init__(self, progress: Progress, figures: Callable[[], tuple[int, int | None]]) -> None:
        self._progress = progress
        if not inspect.iscoroutinefunction(progress):
            # It runs in a thread of its own: in a notebook, what it prints is to stand below the cell that waits.
            context = contextvars.copy_context()
            self._progress = lambda done, total: context.run(progress, done, total)
        self._figures = figures
        self._worker = Worker("imkit-progress")
        self._news = asyncio.Event()
        self._over = False
        self._task = asyncio.create_task(self._run(), name="imkit progress")

    def wake(self) -> None:
        self._news.set()

    async def end(self) -> None:
        self._over = True
        self.wake()
        await self._task

    async def _run(self) -> None:
        try:
            while not self._over:
                await self._news.wait()
                self._news.clear()
                await self._worker.run(self._progress, *self._figures())
        except Exception:
            logger.exception("the progress function failed; it is called no more")
        finally:
            self._worker.close()


def _filtered(batch: pa.RecordBatch, wanted: Query) -> pa.RecordBatch:
    """Leave out what was not asked for: a service may overlook a filter."""
    if wanted.types:
        batch = batch.filter(pc.is_in(batch.column("type").cast(pa.string()), pa.array(sorted(wanted.types))))
    if wanted.sender is not None:
        batch = batch.filter(pc.equal(pc.utf8_lower(batch.column("sender").cast(pa.string())), wanted.sender))
    return batch
