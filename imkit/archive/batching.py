"""What comes from the service on its way into the archive: gathered across conversations, settled in large pieces.

Rows of many conversations are gathered until there are enough for files worth having, so that a thousand small threads
do not make thirty thousand files. A row is settled only once the millisecond that it belongs to has been gone through:
so the archive holds of each conversation exactly what lies in its covered ranges, and after an interruption nobody has
to ask which of the rows to come are there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from imkit.archive import parquet
from imkit.archive.catalogue import Conversation, Status, StoredFile
from imkit.archive.merge import Reread
from imkit.client.account import Account
from imkit.client.roaming import Progress, Query
from imkit.errors import Forbidden, IMError, NotFound
from imkit.history.fetch import Fetch, HistoryPart
from imkit.history.time_ranges import FAR, Bounds, Range, merged

ROWS_A_PIECE = 100_000
KEPT_AT_LEAST_MS = 3 * 86_400_000  # the shortest retention of any plan: what is younger has not expired
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A conversation that is to be read.

    Args:
        known: what the catalogue says of it, brought up to date with what lists have told.
        bounds: which time ranges, in ms since the epoch; since included, until excluded.
        newest_id, newest_at: its newest message as the service told before; "" and 0 where it told of none.
    """

    known: Conversation
    bounds: tuple[Bounds, ...]
    newest_id: str = ""
    newest_at: int = 0


@dataclass(slots=True)
class Piece:
    """What is settled at once: rows and, with them, how far their conversations have been read.

    Args:
        fresh: rows that no file has.
        again: rows of which a file may have an earlier version.
        reread: conversations in which rows that were not found again are gone.
        conversations: how far each has been read.
        written: files of fresh rows that are written already, and no part of the archive yet.
        rows: how many are in `fresh` and `again`.
    """

    fresh: list[pa.Table] = field(default_factory=list)
    again: list[pa.Table] = field(default_factory=list)
    reread: dict[str, Reread] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    written: list[StoredFile] = field(default_factory=list)
    rows: int = 0


@dataclass(slots=True)
class _Reading:
    """One conversation while it is being read."""

    held: list[pa.RecordBatch] = field(default_factory=list)  # lie where not everything has come yet
    keys: set[str] = field(default_factory=set)  # of rows that may be in the archive already
    oldest: int | None = None
    newest: tuple[int, int, str] = (0, 0, "")  # time, id as a number, id


class Intake:
    """Has a `Fetch` read what is planned, takes its parts, and settles them in pieces.

    Args:
        plans: what is being read, by the conversation's id.
        settle: given each piece; one at a time.
        now: in ms since the epoch.

    Attributes:
        failed: conversation id → why it cannot be read any more.
    """

    def __init__(self, plans: Mapping[str, Planned], settle: Callable[[Piece], Awaitable[None]], now: int) -> None:
        self._plans = plans
        self._settle = settle
        self._now = now
        self._piece = Piece()
        self._readings = {target_id: _Reading() for target_id in plans}
        self._settling = asyncio.Lock()
        self.failed: dict[str, str] = {}

    async def read(self, account: Account, workers: int, progress: Progress | None = None) -> list[str]:
        """Have what is planned read, but for the last piece: that is settled with `flush`, whatever becomes of this.

        Args:
            account: who asks.
            workers: how many requests at once.
            progress: told how many messages have come, and an estimate of how many there will be.

        Returns:
            Why conversations are not complete, those left out that could not be read at all.
        """
        fetch = Fetch(account, Query(), self.take, workers=workers, progress=progress, failed=self.fail)
        await fetch.run({target_id: plan.bounds for target_id, plan in self._plans.items()})
        return [reason for reason in fetch.reasons if reason.partition(":")[0] not in self.failed]

    async def take(self, part: HistoryPart) -> None:
        """Take a part; a full piece is settled before this returns."""
        plan, reading = self._plans[part.target_id], self._readings[part.target_id]
        covered = merged([*part.covered, *self._asked(plan, part)]) if part.finished else part.covered
        batches, reading.held = [*reading.held, part.batch], []
        for batch in batches:
            self._sort_in(plan, reading, batch, covered, part.finished)
        known = self._piece.conversations.get(plan.known.id, plan.known)
        self._piece.conversations[plan.known.id] = replace(
            known, covered=merged([*plan.known.covered, *covered]), status="ok", status_since=0, synced_at=self._now
        )
        if part.finished:
            self._finish(plan, reading, covered)
        if self._piece.rows >= ROWS_A_PIECE:
            await self.flush()

    def _asked(self, plan: Planned, part: HistoryPart) -> list[Range]:
        """What has been gone through once a conversation is finished, with what lies outside of its messages."""
        last = max((last for _, last in part.covered), default=plan.newest_at)
        return [(since or 0, last if until is None else until - 1) for since, until in plan.bounds]

    def _sort_in(
        self, plan: Planned, reading: _Reading, batch: pa.RecordBatch, covered: Sequence[Range], finished: bool
    ) -> None:
        if not batch.num_rows:
            return
        times, nameless = parquet.milliseconds(batch["time"]), parquet.nameless(batch)
        settled = np.ones(batch.num_rows, dtype=bool) if finished else _within(times, covered)
        if not settled.all():
            reading.held.append(batch.filter(pa.array(~settled)))
        again = settled & (_within(times, plan.known.covered) | nameless)
        for mask, tables in ((settled & ~again, self._piece.fresh), (again, self._piece.again)):
            if mask.any():
                table = parquet.stored(batch.filter(pa.array(mask)), plan.known.id, self._now)
                tables.append(table)
                self._piece.rows += table.num_rows
                if tables is self._piece.again:
                    reading.keys.update(parquet.keys(table).to_pylist())
        told = settled & ~nameless
        if told.any():
            oldest = int(times[told].min())
            reading.oldest = oldest if reading.oldest is None else min(oldest, reading.oldest)
            latest = int(times[told].max())
            if latest >= reading.newest[0]:
                ids = batch["message_id"].filter(pa.array(told & (times == latest))).to_pylist()
                number, newest = max((int(each) if each.isdigit() else 0, each) for each in ids)
                reading.newest = max(reading.newest, (latest, number, newest))

    def _finish(self, plan: Planned, reading: _Reading, covered: tuple[Range, ...]) -> None:
        conversation = self._piece.conversations[plan.known.id]
        newest_id, newest_at = plan.newest_id, plan.newest_at
        if plan.known.kind == "group":  # nobody has told: what was read does
            newest_at, _, newest_id = max(reading.newest, (plan.known.newest_at, 0, plan.known.newest_id))
        self._piece.conversations[plan.known.id] = replace(conversation, newest_id=newest_id, newest_at=newest_at)
        # Old messages leave a service by themselves, from the oldest on. One that is not found is gone for another
        # reason only where an older one is still there, or where none can have expired.
        there = [each for each in (reading.oldest, newest_at if plan.newest_id else None) if each is not None]
        since = min([*there, self._now - KEPT_AT_LEAST_MS])
        # What was known before, and lies behind the newest message of now, has been gone through with the open end.
        read = merged([*covered, *((low or 0, FAR) for low, high in plan.bounds if high is None)])
        ranges = _intersection([(max(first, since), last) for first, last in plan.known.covered], read)
        if ranges:
            self._piece.reread[plan.known.id] = Reread(ranges, frozenset(reading.keys))

    async def fail(self, target_id: str, error: IMError) -> None:
        """Note that a conversation cannot be read; what is known of it is kept.

        Raises:
            IMError: it is not the conversation's fault.
        """
        if not isinstance(error, NotFound | Forbidden):
            raise error
        self.failed[target_id] = str(error)
        known = self._piece.conversations.get(target_id, self._plans[target_id].known)
        self._piece.conversations[target_id] = lost(known, error, self._now)

    async def flush(self) -> None:
        """Settle what has been gathered."""
        async with self._settling:
            piece, self._piece = self._piece, Piece()
            if piece.rows or piece.conversations:
                await self._settle(piece)


def lost(known: Conversation, error: IMError, now: int) -> Conversation:
    """Return a conversation that has vanished or is closed to this user now; since when stays as first found."""
    status: Status = "forbidden" if isinstance(error, Forbidden) else "vanished"
    since = known.status_since if known.status == status else now
    return replace(known, status=status, status_since=since, synced_at=now)


def _within(times: np.ndarray[tuple[int], np.dtype[np.int64]], ranges: Iterable[Range]) -> Flags:
    found = np.zeros(len(times), dtype=bool)
    for first, last in ranges:
        found |= (times >= first) & (times <= last)
    return found


def _intersection(some: Iterable[Range], others: Iterable[Range]) -> tuple[Range, ...]:
    others = tuple(others)
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in some for b in others)
    return merged(pair for pair in pairs if pair[0] <= pair[1])
