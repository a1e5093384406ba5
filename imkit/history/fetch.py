"""Histories of many threads and groups, fetched at the same time and handed over in parts as they come.

While there are threads that no worker has begun, each worker reads one thread. After that an idle worker helps to read
a thread that another worker has begun (`imkit.history.time_shards`). A part holds a few thousand messages, and says
which times of its thread are complete with it.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum

import pyarrow as pa
import pyarrow.compute as pc

from imkit.client.account import Account
from imkit.client.roaming import Progress, Query, RoamingPage, fetch_page
from imkit.errors import AuthError, ConnectionLost, IMError, RateLimited, ServiceBusy, SessionClosed, TimedOut
from imkit.history.columns import peek, to_batch
from imkit.history.time_ranges import Bounds, Range, merged
from imkit.history.time_shards import Shards, ShardWalk
from imkit.portal import FirstErrorTaskGroup, Worker, to_its_end
from imkit.repeated_warnings import logger_of_untrusted
from imkit.tracebacks import shorten

logger = logger_of_untrusted("imkit.history")

WORKERS = 8  # a safe default: at 100 requests a second they rarely wait for the limit
MAX_WORKERS = 64
ROWS_A_PART = 2_000
PATIENCE_SECONDS = 120.0  # how long a service that is away is waited for: a long load is worth it
WORTH_ESTIMATING = 0.05  # of the time range; an estimate from less would promise millions after a burst
LIMIT_REACHED = "the limit of {} was reached"

# Errors that end the whole run: the next thread would get the same.
_FATAL = (AuthError, ConnectionLost, RateLimited, ServiceBusy, SessionClosed, TimedOut)


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """Some rows of one thread or group, and which times are complete with them.

    Attributes:
        target_id: the thread or group.
        batch: rows of `imkit.history.columns.SCHEMA`, in no particular order; no message comes twice in one run.
        covered: what has been read in this run so far: ranges in ms since the epoch, both ends included, the oldest
            first. All messages of the target in these ranges are in this part or in an earlier one. An open range ends
            at the time of the newest message; a later run must begin with that millisecond again.
        finished: this is the last part of the target, and everything that was asked for has been read.
    """

    target_id: str
    batch: pa.RecordBatch
    covered: tuple[Range, ...]
    finished: bool


class _State(Enum):
    """The state of a target: READING → READ → REPORTED, or READING → FAILED → REPORTED."""

    READING = "pages are being asked for"
    READ = "everything was read; the last part has not been taken yet"
    FAILED = "it cannot be read; the caller has not been told yet"
    REPORTED = "the last part was taken, or the caller was told of the failure"


class _Target:
    """A thread or group that is being read."""

    def __init__(self, target_id: str, ranges: Iterable[Shards], known_ids: Set[int]) -> None:
        self.id = target_id
        self.ranges = list(ranges)
        self.state = _State.READING
        self.entries: list[bytes] = []  # that have not been handed over yet
        self.handed_over = 0  # messages
        self.handing_over = asyncio.Lock()
        self._messages_in_entries = 0
        self._seen: set[int] = set()
        self._known_ids = known_ids

    @property
    def found(self) -> int:
        """How many messages have come."""
        return self.handed_over + self._messages_in_entries

    @property
    def covered(self) -> tuple[Range, ...]:
        return merged(covered for shards in self.ranges for covered in shards.covered)

    @property
    def fraction(self) -> float:
        """How much of the time range has been read, from 0 to 1."""
        return sum(shards.fraction for shards in self.ranges) / len(self.ranges) if self.ranges else 1.0

    @property
    def expected(self) -> float | None:
        """An estimate of how many messages there will be; `None` if too little has been read."""
        if self.state is not _State.READING:
            return self.found
        return self.found / self.fraction if self.fraction >= WORTH_ESTIMATING else None

    def has_more(self, shards: Shards, walk: ShardWalk) -> bool:
        """Return whether a walk through one of the ranges has anything left to read."""
        return self.state is _State.READING and shards.has_more(walk)

    def add_entries(
        self, shards: Shards, entries: Sequence[bytes], ids_and_times: Sequence[tuple[int, int] | None]
    ) -> None:
        """Keep the new entries of a page."""
        for entry, id_and_time in zip(entries, ids_and_times, strict=True):
            # An entry without an id may be a message that cannot be read; such entries are told apart by their bytes.
            key = hash(entry) if id_and_time is None else id_and_time[0]
            if key in self._seen or key in self._known_ids:
                continue
            if id_and_time is not None and not shards.contains(id_and_time[1]):
                continue
            self._seen.add(key)
            self.entries.append(entry)
            self._messages_in_entries += id_and_time is not None

    def take_entries(self) -> list[bytes]:
        """Return the entries that have not been handed over, and forget them."""
        entries, self.entries, self._messages_in_entries = self.entries, [], 0
        return entries


class Fetch:
    """Fetches histories and hands them over in parts.

    Args:
        account: the login that asks.
        wanted: the filters; `since` and `until` for targets without ranges of their own. With a limit, a target is read
            page by page from the end that `order` names, until the limit is reached or exceeded.
        take: called with each part; the next part of the same target waits until the call returns. So a slow `take`
            slows the fetch.
        workers: at most so many requests are under way at the same time.
        progress: called with how many messages have come and an estimate of how many there will be, or `None`.
        failed: called with a target that cannot be read (`NotFound`, `Forbidden`, …) and the error; the other targets
            go on. Without `failed` such an error ends the run.
        known: target id → ids of messages that must be left out, because the caller has them.
        after_page: called after each page; it may call `hand_over_all`.

    Attributes:
        reasons: why targets are not complete.

    Example:
        ```python
        async def take(part: HistoryPart) -> None:
            print(part.target_id, part.batch.num_rows, part.covered)

        await Fetch(account, Query(), take).run({"42": None})
        ```
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
        after_page: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._account = account
        self._wanted = wanted
        self._take = take
        self._workers = workers
        self._failed = failed
        self._known = known or {}
        self._after_page = after_page
        self._report = _ProgressReport(progress, self._progress_figures) if progress is not None else None
        self._targets: list[_Target] = []
        self._not_begun: deque[tuple[_Target, Shards]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._take_failed = False
        self.reasons: list[str] = []

    @property
    def found(self) -> int:
        """How many messages have come so far."""
        return sum(target.found for target in self._targets)

    async def run(self, jobs: Mapping[str, Sequence[Bounds] | None]) -> None:
        """Fetch. If an error or a cancelling ends it, what has come is handed over all the same.

        Args:
            jobs: target id → the ranges to read, in ms since the epoch (since included, until excluded, `None` open),
                or `None` for the range of `wanted`.

        Raises:
            IMError: the error that ended it.
        """
        for target_id, ranges in jobs.items():
            bounds = [(self._wanted.since, self._wanted.until)] if ranges is None else ranges
            queries = [replace(self._wanted, since=since, until=until) for since, until in bounds]
            self._targets.append(_Target(target_id, map(Shards, queries), self._known.get(target_id, set())))
        self._not_begun.extend((target, shards) for target in self._targets for shards in target.ranges)
        try:
            async with FirstErrorTaskGroup() as group:
                self._group = group
                for target in self._targets:
                    if not target.ranges:
                        await self._finish(target)
                self._start_idle_workers()
            for target in self._targets:
                if target.state is _State.READING:
                    self.reasons.append(f"{target.id}: the service gives the same page again and again")
                    logger.warning("%s", self.reasons[-1])
        finally:
            try:
                await to_its_end(self._hand_over_rest())
            finally:
                if self._report is not None:
                    await self._report.end()

    # ------------------------------------------------------------------ workers

    def _start_idle_workers(self) -> None:
        while len(self._running) < self._workers and (job := self._next_walk()) is not None:
            self._running.add(self._group.create_task(self._work(*job)))

    def _next_walk(self) -> tuple[_Target, Shards, ShardWalk] | None:
        """Return a walk through a range that no worker has begun, or else the one that helps most."""
        while self._not_begun:
            target, shards = self._not_begun.popleft()
            if target.state is _State.READING:
                return target, shards, shards.begin(self._wanted.limit is None or self._wanted.order == "newest")
        if self._wanted.limit is None:
            under_way = [
                (target, shards)
                for target in self._targets
                if target.state is _State.READING
                for shards in target.ranges
            ]
            for target, shards in sorted(under_way, key=lambda pair: pair[1].unread_in_fullest_gap, reverse=True):
                if (walk := shards.walk_for_idle_worker()) is not None:
                    return target, shards, walk
        return None

    async def _work(self, target: _Target, shards: Shards, walk: ShardWalk) -> None:
        try:
            await self._read_pages(target, shards, walk)
        except IMError as error:
            await self._give_up(target, error)
        finally:
            shards.release(walk)
            self._running -= {asyncio.current_task()}
        self._start_idle_workers()

    async def _read_pages(self, target: _Target, shards: Shards, walk: ShardWalk) -> None:
        """Read the pages of a walk until it or its target has no more."""
        if self._wanted.limit is not None and not walk.newest_first and shards.is_open:
            await self._fix_end(target, shards)
        while target.has_more(shards, walk):
            page = await self._page(target, walk.chain.wanted, walk.chain.cursor, walk.newest_first)
            if target.state is not _State.READING:
                return
            walk.chain.follow(page)
            ids_and_times = [peek(entry) for entry in page.entries]
            if shards.add_page(walk, [known[1] for known in ids_and_times if known is not None]):
                target.add_entries(shards, page.entries, ids_and_times)
            if self._report is not None:
                self._report.wake()
            self._start_idle_workers()
            # A service that ignores the direction may send the wrong end first: then everything is read.
            limit = self._wanted.limit if shards.respects_order else None
            if len(target.entries) >= ROWS_A_PART or limit is not None:
                await self._hand_over(target)
            if self._after_page is not None:
                await self._after_page()
            if limit is not None and target.handed_over >= limit and target.state is _State.READING:
                self.reasons.append(f"{target.id}: {LIMIT_REACHED.format(limit)}")
                await self._finish(target)
        if target.state is _State.READING and all(shards.is_done for shards in target.ranges):
            await self._finish(target)

    async def _fix_end(self, target: _Target, shards: Shards) -> None:
        """Ask for the newest page to learn where an open range ends: what arrives from now on is not wanted.

        A walk that begins with the newest page fixes the end by itself.
        """
        newest = await self._page(target, shards.wanted, -1, True)
        times = [known[1] for entry in newest.entries if (known := peek(entry)) is not None]
        if times:
            shards.fix_end(max(times))

    async def _page(self, target: _Target, wanted: Query, cursor: str | int, newest_first: bool) -> RoamingPage:
        account = self._account
        return await fetch_page(account.rest, account.user, target.id, wanted, cursor, newest_first, PATIENCE_SECONDS)

    # ------------------------------------------------------------------ handing over

    async def _finish(self, target: _Target) -> None:
        target.state = _State.READ
        await self._hand_over(target)
        self._cancel_leftover_requests()

    async def _give_up(self, target: _Target, error: IMError) -> None:
        if target.state is not _State.READING:
            return
        if self._failed is None or isinstance(error, _FATAL):
            raise error
        target.state = _State.FAILED
        self.reasons.append(f"{target.id}: {error}")
        if target.entries or target.covered:
            await self._hand_over(target)
        await self._failed(target.id, error)
        target.state = _State.REPORTED
        self._cancel_leftover_requests()

    def _cancel_leftover_requests(self) -> None:
        """Cancel the requests that are still under way when all targets are done."""
        if all(target.state is _State.REPORTED for target in self._targets):
            for task in self._running - {asyncio.current_task()}:
                task.cancel()

    async def _hand_over(self, target: _Target) -> None:
        async with target.handing_over:
            if self._take_failed or target.state is _State.REPORTED:
                return
            batch = _filtered(to_batch(target.take_entries()), self._wanted)
            target.handed_over += batch.num_rows
            part = HistoryPart(target.id, batch, target.covered, finished=target.state is _State.READ)
            await to_its_end(self._give(target, part))

    async def hand_over_all(self) -> None:
        """Hand over what has come of all targets that are being read, although it is less than a part."""
        for target in self._targets:
            if target.state is _State.READING and target.entries:
                await self._hand_over(target)

    async def _give(self, target: _Target, part: HistoryPart) -> None:
        try:
            await self._take(part)
        except BaseException:
            self._take_failed = True  # no other part may follow: its `covered` would include this one
            raise
        if part.finished:
            target.state = _State.REPORTED

    async def _hand_over_rest(self) -> None:
        for target in self._targets:
            if target.entries or target.covered or target.state is _State.READ:
                await self._hand_over(target)

    def _progress_figures(self) -> tuple[int, int | None]:
        """Return how many messages have come, and how many there will be; `None` while too little has been read."""
        if self._wanted.limit is not None:
            return min(self.found, self._wanted.limit), self._wanted.limit
        estimates = [target.expected for target in self._targets]
        known = [estimate for estimate in estimates if estimate is not None]
        if not known or sum(target.fraction for target in self._targets) < WORTH_ESTIMATING * len(estimates):
            return self.found, None
        return self.found, max(round(sum(known) / len(known) * len(estimates)), self.found)


class _ProgressReport:
    """Calls a progress function with the newest figures, one call at a time, and once more at the end."""

    def __init__(self, progress: Progress, figures: Callable[[], tuple[int, int | None]]) -> None:
        self._progress = progress
        if not inspect.iscoroutinefunction(progress):
            # It is called on another thread. With the caller's context, what it prints appears below the caller's cell.
            context = contextvars.copy_context()
            self._progress = lambda done, total: context.run(progress, done, total)
        self._figures = figures
        self._worker = Worker("imkit-progress")
        self._has_news = asyncio.Event()
        self._is_over = False
        self._task = asyncio.create_task(self._run(), name="imkit progress")

    def wake(self) -> None:
        self._has_news.set()

    async def end(self) -> None:
        self._is_over = True
        self.wake()
        await self._task

    async def _run(self) -> None:
        try:
            while not self._is_over:
                await self._has_news.wait()
                self._has_news.clear()
                await self._worker.run(self._progress, *self._figures())
        except Exception as error:
            shorten(error)
            logger.exception("the progress function failed; it is not called again")
        finally:
            self._worker.close()


def _filtered(batch: pa.RecordBatch, wanted: Query) -> pa.RecordBatch:
    """Leave out the rows that were not asked for: a service may ignore a filter."""
    if wanted.types:
        batch = batch.filter(pc.is_in(batch.column("type").cast(pa.string()), pa.array(sorted(wanted.types))))
    if wanted.sender is not None:
        batch = batch.filter(pc.equal(pc.utf8_lower(batch.column("sender").cast(pa.string())), wanted.sender))
    return batch
