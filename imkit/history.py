"""Roaming history (消息漫游): pages, one after another, to the end, as messages or as a DataFrame.

Source: fact sheet section 8.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from imkit.account import Account
from imkit.app import user_id
from imkit.errors import InvalidMessage
from imkit.messages import Message, to_milliseconds
from imkit.portal import Worker
from imkit.roaming import Order, Page, Query, fetch_page
from imkit.shards import WORKERS, BoundsOverlooked, ShardedFetch

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("imkit.history")

Moment = datetime | date | str
Progress = Callable[[int, int | None], Awaitable[None] | None]

MAX_WORKERS = 64
WORTH_ESTIMATING = 0.05  # of the time range
_TYPES = ("txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "combine")


def query(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    types: Sequence[str] | None = None,
    sender: str | None = None,
    limit: int | None = None,
    order: Order = "oldest",
) -> Query:
    """Return the checked query for the arguments of `history()`.

    Raises:
        InvalidMessage: one of them is out of bounds; it says which and what would do.
    """
    kinds = _kinds(types)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InvalidMessage(f"limit must be a whole number from 1, not {limit!r:.40}")
    if order not in ("oldest", "newest"):
        raise InvalidMessage(f'order must be "oldest" or "newest", not {order!r:.40}')
    wanted = Query(
        since=_moment(since, "since"),
        until=_moment(until, "until"),
        types=kinds,
        sender=None if sender is None else user_id(sender),
        limit=limit,
        order=order,
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidMessage(f"since ({since}) is not before until ({until}): no message can be in between")
    return wanted


def _kinds(types: Iterable[str] | None) -> frozenset[str]:
    if types is None:
        return frozenset()
    if isinstance(types, str) or not isinstance(types, Iterable):
        raise InvalidMessage(f'types must be a list, such as ["{types!s:.40}"]')
    kinds = list(types)
    for kind in kinds:
        if kind not in _TYPES:
            raise InvalidMessage(f"{kind!r:.40} is no message type", hint=f"The types are {', '.join(_TYPES)}.")
    return frozenset(kinds)


def _moment(moment: Moment | None, name: str) -> int | None:
    """Return a moment in ms since the epoch: what has no zone is local time, a date is its local midnight."""
    if moment is None:
        return None
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            hint = 'Give an ISO time, such as "2026-11-23" or "2026-11-23T10:00:00+08:00".'
            raise InvalidMessage(f"{name}: {moment!r:.60} is no time", hint=hint) from error
    elif isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime):
        raise InvalidMessage(f"{name} must be a datetime, a date or an ISO string, not {type(moment).__name__}")
    # Rounded up: no millisecond before a moment belongs to what is since it.
    try:
        aware = moment.astimezone(UTC)
        return to_milliseconds(aware) + (1 if aware.microsecond % 1000 else 0)
    except (ValueError, OverflowError, TypeError) as error:  # the edge of the calendar in another zone; pandas' NaT
        raise InvalidMessage(f"{name}: {moment} is no time that can be asked for") from error


@dataclass(slots=True)
class Walk:
    """A walk over the history of one thread or group.

    Attributes:
        reason: why it ended, once it has: ``""`` for the end of the history.
        complete: whether all that was wanted has been seen.
    """

    account: Account
    target_id: str
    wanted: Query
    complete: bool = False
    reason: str = "not finished"
    _seen: set[str] = field(default_factory=set)

    async def pages(self) -> AsyncGenerator[list[Message], None]:
        """Yield the wanted messages, page by page, in the order asked for."""
        newest_first = self.wanted.order == "newest"
        ceiling: int | None = None
        if not newest_first and self.wanted.until is None:
            # The range is fixed when the walk begins: what arrives meanwhile is after the newest message of now.
            newest = await self._page(Query(), -1, newest_first=True)
            ceiling = max((int(message.id) for message in newest.messages if message.id), default=0)
        taken = 0
        async for messages in self._raw_pages(newest_first):
            wanted = [message for message in messages if self._is_new(message, ceiling)]
            if self.wanted.limit is not None and taken + len(wanted) >= self.wanted.limit:
                yield wanted[: self.wanted.limit - taken]
                self.reason = f"the limit of {self.wanted.limit} was reached"
                return
            taken += len(wanted)
            yield wanted
        self.complete, self.reason = True, ""

    def _is_new(self, message: Message, ceiling: int | None) -> bool:
        if not self.wanted.accepts(message) or (ceiling is not None and message.id and int(message.id) > ceiling):
            return False
        if message.id in self._seen:
            return False
        if message.id:
            self._seen.add(message.id)
        return True

    async def _page(self, wanted: Query, cursor: str | int, newest_first: bool) -> Page:
        return await fetch_page(self.account.rest, self.account.user, self.target_id, wanted, cursor, newest_first)

    async def _raw_pages(self, newest_first: bool) -> AsyncGenerator[list[Message], None]:
        cursor: str | int = -1
        been: set[str | int] = {cursor}
        before: list[Message] = []
        while True:
            page = await self._page(self.wanted, cursor, newest_first)
            yield page.messages
            # An empty page or no key ends the chain whatever is_last says; so does a key that leads nowhere new.
            if page.is_last or page.is_empty or page.cursor is None or page.cursor in been:
                return
            if page.messages and page.messages == before:
                return  # the service overlooks the key
            if _is_past(page.messages, self.wanted, newest_first):
                return  # the service overlooks time bounds
            been.add(page.cursor)
            before = page.messages
            cursor = page.cursor


def _is_past(messages: Sequence[Message], wanted: Query, newest_first: bool) -> bool:
    readable = [message for message in messages if message.id]  # what cannot be read has no time either
    if not readable:
        return False
    moment = to_milliseconds(readable[-1].time)
    if newest_first:
        return wanted.since is not None and moment < wanted.since - 1
    return wanted.until is not None and moment > wanted.until + 1


class Gathering:
    """Loads histories into a list of messages: all of them, each once, in no particular order.

    Args:
        account: who asks.
        wanted: which part of each history.
        workers: how many requests are under way at once, at the most.
        progress: told how many messages have come, and an estimate of how many there will be, if there is one.

    Attributes:
        found: what has come so far; also after an error or a stop.
        reasons: why parts are not complete.
    """

    def __init__(self, account: Account, wanted: Query, workers: int, progress: Progress | None) -> None:
        self._account = account
        self._wanted = wanted
        self._workers = workers
        self._progress = progress
        self._worker = Worker("imkit-progress")
        self._started = datetime.now(UTC)
        self._lanes = asyncio.Semaphore(workers)
        self._seen: set[str] = set()
        self._fractions: dict[str, Callable[[], float]] = {}
        self.found: list[Message] = []
        self.reasons: list[str] = []

    async def run(self, target_ids: Sequence[str]) -> None:
        """Load the histories of threads and groups, several at a time."""
        doors = asyncio.Semaphore(self._workers)
        self._fractions = dict.fromkeys(target_ids, lambda: 0.0)

        async def one(target_id: str) -> None:
            async with doors:
                await self._load(target_id)

        try:
            async with asyncio.TaskGroup() as group:
                for target_id in target_ids:
                    group.create_task(one(target_id))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._worker.close()

    async def _load(self, target_id: str) -> None:
        if self._wanted.limit is not None or self._workers == 1:
            # Newest first, whatever order is wanted: what arrives meanwhile then changes nothing behind the cursor.
            order: Order = "newest" if self._wanted.limit is None else self._wanted.order
            await self._walk(target_id, _reordered(self._wanted, order))
        else:
            await self._load_side_by_side(target_id)
        self._fractions[target_id] = lambda: 1.0

    async def _walk(self, target_id: str, wanted: Query) -> None:
        walk = Walk(self._account, target_id, wanted)
        async for messages in walk.pages():
            await self._take(messages)
        if not walk.complete:
            self.reasons.append(f"{target_id}: {walk.reason}")

    async def _load_side_by_side(self, target_id: str) -> None:
        async def fetch(wanted: Query, cursor: str | int, newest_first: bool) -> Page:
            async with self._lanes:
                rest, user = self._account.rest, self._account.user
                return await fetch_page(rest, user, target_id, wanted, cursor, newest_first)

        # The newest page fixes the end of the range: what arrives from now on is not asked for.
        newest = await fetch(self._wanted, -1, True)
        await self._take(newest.messages)
        if newest.is_last or newest.is_empty or newest.cursor is None:
            return
        high, low = _edge(newest.messages, min), self._wanted.since
        if low is None:
            oldest = await fetch(self._wanted, -1, False)
            await self._take(oldest.messages)
            low = _edge(oldest.messages, max)
        if high is None or low is None:  # a page without a message to tell a time by
            await self._walk(target_id, _reordered(self._wanted, "newest"))
            return
        shards = ShardedFetch(fetch, self._wanted, self._take, self._workers)
        self._fractions[target_id] = lambda: shards.fraction
        if low > high:
            return
        try:
            await shards.run(low, high)
        except BaseExceptionGroup as failed:
            if not any(isinstance(error, BoundsOverlooked) for error in failed.exceptions):
                raise failed.exceptions[0] from None
            await self._walk(target_id, _reordered(self._wanted, "newest"))

    async def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._wanted.accepts(message) and message.id not in self._seen:
                if message.id:
                    self._seen.add(message.id)
                self.found.append(message)
        if self._progress is not None:
            try:
                await self._worker.run(self._progress, len(self.found), self._estimate())
            except Exception:
                logger.exception("the progress function failed; it is called no more")
                self._progress = None

    def _estimate(self) -> int | None:
        """How many messages there will be, by how much of the time ranges is done; `None` while nobody can tell."""
        if self._wanted.limit is not None:
            return self._wanted.limit
        fractions = [fraction() for fraction in self._fractions.values()]
        done = sum(fractions) / max(len(fractions), 1)
        # A burst at the very beginning would promise millions.
        return max(round(len(self.found) / done), len(self.found)) if done >= WORTH_ESTIMATING else None

    def frame(self, target_ids: Sequence[str], stopped: str = "") -> pd.DataFrame:
        """Return what has been found as a frame, in the order that is wanted.

        Args:
            target_ids: what was asked for.
            stopped: why it was not gone through to its end, if it was not.
        """
        wanted, found, ids = self._wanted, list(self.found), list(target_ids)
        found.sort(key=_position, reverse=wanted.order == "newest")
        if wanted.limit is not None and len(found) > wanted.limit:
            del found[wanted.limit :]
        from imkit.frames import frame_of  # pandas is loaded when the first frame is asked for

        reasons = [*self.reasons, *([stopped] if stopped else [])]
        source = {
            "app_key": self._account.app.app_key,
            "thread_ids": ids,
            "since": _iso(wanted.since),
            "until": _iso(wanted.until),
            "fetched_at": self._started.isoformat(timespec="milliseconds"),
            "complete": not reasons,
            "reason": "; ".join(reasons),
            "rows": len(found),
            "server_count": server_count(self._account, ids, wanted),
        }
        return frame_of(found, source)


def _edge(messages: Sequence[Message], which: Callable[[list[int]], int]) -> int | None:
    times = [to_milliseconds(message.time) for message in messages if message.id]
    return which(times) if times else None


async def history_frame(
    account: Account,
    target_ids: Sequence[str],
    wanted: Query,
    progress: Progress | None = None,
    parallel: bool | int = True,
) -> pd.DataFrame:
    """Load the histories of threads and groups into one frame, in the order asked for.

    Args:
        account: who asks.
        target_ids: threads and groups.
        wanted: which part of each; `limit` counts over all of them.
        progress: told how many messages have come, and an estimate of how many there will be, if there is one.
        parallel: True for a safe number of requests at once, a number, or False for one after another.

    Raises:
        InvalidMessage: `parallel` is no such number.
    """
    workers = WORKERS if parallel is True else 1 if parallel is False else parallel
    if not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidMessage(f"parallel must be True, False or a number from 1 to {MAX_WORKERS}, not {parallel!r:.40}")
    ids = list(dict.fromkeys(target_ids))
    gathering = Gathering(account, wanted, workers, progress)
    await gathering.run(ids)
    return gathering.frame(ids)


def server_count(account: Account, target_ids: Sequence[str], wanted: Query) -> int | None:
    """Return how many messages the service counts, where notices have told and everything was asked for."""
    if wanted != Query(order=wanted.order):
        return None
    facts = [account.directory.threads.get(target_id) for target_id in target_ids]
    counts = [known.message_count if known is not None else None for known in facts]
    return None if None in counts else sum(count for count in counts if count is not None)


def _reordered(wanted: Query, order: Order) -> Query:
    return Query(wanted.since, wanted.until, wanted.types, wanted.sender, wanted.limit, order)


def _position(message: Message) -> tuple[int, int]:
    return to_milliseconds(message.time), int(message.id or 0)


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds")
