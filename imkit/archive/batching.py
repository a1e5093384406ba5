"""Batching: rows from many conversations are collected and committed in large batches.

One commit for each thread would make many small files: 1,000 threads over 30 days make 30,000. So rows are collected
across conversations until there are `ROWS_A_COMMIT` of them. A slow service needs minutes or hours for so many. So they
are also committed after `SECONDS_A_COMMIT`, all that have come of all conversations together: a kill loses no more.

A row is committed only when the time range that it lies in has been read completely. Therefore the archive holds, of
each conversation, exactly the messages in its covered ranges. After an interruption the next sync reads the other
ranges and does not need to check which of their rows are stored already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from imkit.archive import parquet
from imkit.archive.catalogue import ConversationState, Status
from imkit.archive.merge import CommitBatch, Reread
from imkit.client.account import Account
from imkit.client.roaming import Progress, Query
from imkit.errors import Forbidden, IMError, NotFound, ProtocolError
from imkit.history.batch_protobuf import BoolArray, IntArray
from imkit.history.fetch import Fetch, HistoryPart
from imkit.history.time_ranges import FAR, Bounds, Range, merged
from imkit.times import steady_seconds

ROWS_A_COMMIT = 100_000
SECONDS_A_COMMIT = 15.0
SHORTEST_RETENTION_MS = 3 * 86_400_000  # of Easemob's plans: a younger message cannot have expired


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """A conversation that must be read, and which time ranges of it.

    Args:
        known: its state in the catalogue, with the name and group that the service gave in this sync.
        bounds: the time ranges, in ms since the epoch: start included, end excluded.
        newest_id, newest_at: its newest message, as the service gave it before the reading; "" and 0 if it gave none.
    """

    known: ConversationState
    bounds: tuple[Bounds, ...]
    newest_id: str = ""
    newest_at: int = 0


@dataclass(slots=True)
class _ReadingState:
    """The state of one conversation while it is being read."""

    not_yet_covered: list[pa.RecordBatch] = field(default_factory=list)  # rows outside of the ranges read completely
    maybe_changed_keys: set[str] = field(default_factory=set)
    oldest: int | None = None
    newest: tuple[int, int, str] = (0, 0, "")  # time, id as a number, id

    def note_times(self, batch: pa.RecordBatch, times: IntArray, mask: BoolArray) -> None:
        """Note the oldest and the newest of the rows that `mask` chooses."""
        if not mask.any():
            return
        oldest = int(times[mask].min())
        self.oldest = oldest if self.oldest is None else min(oldest, self.oldest)
        newest = int(times[mask].max())
        if newest >= self.newest[0]:
            ids = batch["message_id"].filter(pa.array(mask & (times == newest))).to_pylist()
            number, newest_id = max((int(each) if each.isdigit() else 0, each) for each in ids)
            self.newest = max(self.newest, (newest, number, newest_id))


class Batcher:
    """Reads planned conversations with a `Fetch`, and commits their rows in large batches.

    Args:
        plans: conversation id → what must be read of it.
        commit: called with each batch, one at a time.
        now: in ms since the epoch.
        seconds_a_commit: so long after a commit the next one follows, even if the batch is not full.

    Attributes:
        unreadable: conversation id → why the service refused to show it.
    """

    def __init__(
        self,
        plans: Mapping[str, ReadPlan],
        commit: Callable[[CommitBatch], Awaitable[None]],
        now: int,
        seconds_a_commit: float = SECONDS_A_COMMIT,
    ) -> None:
        self._plans = plans
        self._commit = commit
        self._now = now
        self._seconds_a_commit = seconds_a_commit
        self._committed_at = steady_seconds()
        self._batch = CommitBatch()
        self._rows_in_batch = 0
        self._reading = {target_id: _ReadingState() for target_id in plans}
        self._committing = asyncio.Lock()
        self.unreadable: dict[str, str] = {}

    async def read(self, account: Account, workers: int, progress: Progress | None = None) -> list[str]:
        """Read all planned conversations. The caller must call `flush` afterwards, also after an error.

        Args:
            account: the login that reads.
            workers: number of requests at once.
            progress: called with the number of messages that have come, and an estimate of the total or `None`.

        Returns:
            Why conversations are not complete. Those in `unreadable` are left out.
        """

        async def commit_in_time() -> None:
            if steady_seconds() - self._committed_at >= self._seconds_a_commit:
                self._committed_at = steady_seconds()  # the other workers go on meanwhile
                await fetch.hand_over_all()
                await self.flush()

        fetch = Fetch(
            account,
            Query(),
            self.receive,
            workers=workers,
            progress=progress,
            failed=self.mark_unreadable,
            after_page=commit_in_time,
        )
        await fetch.run({target_id: plan.bounds for target_id, plan in self._plans.items()})
        return [reason for reason in fetch.reasons if reason.partition(":")[0] not in self.unreadable]

    async def receive(self, part: HistoryPart) -> None:
        """Take rows from the fetch; if the batch is full, commit it before returning."""
        plan, reading = self._plans[part.target_id], self._reading[part.target_id]
        covered = merged([*part.covered, *_requested_ranges(plan, part)]) if part.finished else part.covered
        waiting, reading.not_yet_covered = reading.not_yet_covered, []
        for batch in (*waiting, part.batch):
            self._add_covered_rows(plan, reading, batch, covered, part.finished)
        known = self._batch.conversations.get(plan.known.id, plan.known)
        self._batch.conversations[plan.known.id] = replace(
            known, covered=merged([*plan.known.covered, *covered]), status="ok", status_since=0, synced_at=self._now
        )
        if part.finished:
            self._finish(plan, reading, covered)
        if self._rows_in_batch >= ROWS_A_COMMIT:
            await self.flush()

    def _add_covered_rows(
        self,
        plan: ReadPlan,
        reading: _ReadingState,
        batch: pa.RecordBatch,
        covered: Sequence[Range],
        finished: bool,
    ) -> None:
        """Add the rows in completely read ranges to the batch, and keep the others for later.

        A row is `maybe_changed` if its range was covered before this sync, or if it has no id: then nothing tells
        whether it is stored already. So is a row later than the newest message before this sync, but with no larger id:
        the service may have given an old message a new time.
        """
        if not batch.num_rows:
            return
        times, no_id = parquet.milliseconds(batch["time"]), parquet.without_id(batch)
        is_covered = np.ones(batch.num_rows, dtype=bool) if finished else _within(times, covered)
        if not is_covered.all():
            reading.not_yet_covered.append(batch.filter(pa.array(~is_covered)))
        has_old_id = parquet.message_numbers(batch["message_id"]) <= parquet.message_number(plan.known.newest_id)
        moved = (times > plan.known.newest_at) & has_old_id
        maybe_changed = is_covered & (_within(times, plan.known.covered) | no_id | moved)
        is_new = is_covered & ~maybe_changed
        if is_new.any():
            self._batch.new_rows.append(self._archive_rows(plan, batch, is_new))
        if maybe_changed.any():
            rows = self._archive_rows(plan, batch, maybe_changed)
            self._batch.maybe_changed.append(rows)
            reading.maybe_changed_keys.update(parquet.row_keys(rows).to_pylist())
        self._rows_in_batch += int(is_covered.sum())
        reading.note_times(batch, times, is_covered & ~no_id)

    def _archive_rows(self, plan: ReadPlan, batch: pa.RecordBatch, mask: BoolArray) -> pa.Table:
        return parquet.archive_rows(batch.filter(pa.array(mask)), plan.known.id, self._now)

    def _finish(self, plan: ReadPlan, reading: _ReadingState, covered: tuple[Range, ...]) -> None:
        """Note the newest message of a conversation that has been read to its end, and where rows may be gone."""
        newest_id, newest_at = plan.newest_id, plan.newest_at
        if plan.known.kind == "group":  # the service gives the newest message of threads only
            newest_at, _, newest_id = max(reading.newest, (plan.known.newest_at, 0, plan.known.newest_id))
        conversation = self._batch.conversations[plan.known.id]
        self._batch.conversations[plan.known.id] = replace(conversation, newest_id=newest_id, newest_at=newest_at)
        alive = [time for time in (reading.oldest, newest_at if plan.newest_id else None) if time is not None]
        ranges = self._comparable_ranges(plan, covered, alive)
        if ranges:
            self._batch.reread[plan.known.id] = Reread(ranges, frozenset(reading.maybe_changed_keys))

    def _comparable_ranges(self, plan: ReadPlan, covered: Iterable[Range], alive: Iterable[int]) -> tuple[Range, ...]:
        """Return the ranges in which a stored message that was not found again has been deleted or recalled.

        They were covered before, and have been read again now. They exclude times at which a message may simply have
        expired: a service expires the oldest messages first, so nothing has expired that is younger than a message
        that the service still has, or younger than the shortest retention.

        Args:
            plan: what was read.
            covered: the ranges that this sync has read.
            alive: times of messages that the service still has, among them the oldest.
        """
        not_expired_since = min([*alive, self._now - SHORTEST_RETENTION_MS])
        # A range with an open end has been read to its end. So it also covers times after the newest message, where
        # the archive may hold messages that were recalled since.
        read = merged([*covered, *((low or 0, FAR) for low, high in plan.bounds if high is None)])
        known = [(max(first, not_expired_since), last) for first, last in plan.known.covered]
        return _intersection(known, read)

    async def mark_unreadable(self, target_id: str, error: IMError) -> None:
        """Note that the service refuses to show a conversation; the archive keeps what it has of it.

        After an answer that cannot be read nothing is noted: the next sync reads on from where this one came to.

        Raises:
            IMError: the error is not about this conversation.
        """
        if isinstance(error, ProtocolError):
            return  # `Fetch.reasons` has it
        if not isinstance(error, NotFound | Forbidden):
            raise error
        self.unreadable[target_id] = str(error)
        known = self._batch.conversations.get(target_id, self._plans[target_id].known)
        self._batch.conversations[target_id] = unreadable_state(known, error, self._now)

    async def flush(self) -> None:
        """Commit what has been collected."""
        async with self._committing:
            batch, self._batch, self._rows_in_batch = self._batch, CommitBatch(), 0
            if batch.conversations:  # a batch with rows has their conversations
                await self._commit(batch)
            self._committed_at = steady_seconds()


def unreadable_state(known: ConversationState, error: IMError, now: int) -> ConversationState:
    """Return the state of a conversation that has vanished, or that this user may no longer read.

    `status_since` stays the time at which imkit first found that status.
    """
    status: Status = "forbidden" if isinstance(error, Forbidden) else "vanished"
    since = known.status_since if known.status == status else now
    return replace(known, status=status, status_since=since, synced_at=now)


def _requested_ranges(plan: ReadPlan, part: HistoryPart) -> list[Range]:
    """Return the ranges that were asked for, both ends included; an open end closes at the newest message."""
    last = max((last for _, last in part.covered), default=plan.newest_at)
    return [(since or 0, last if until is None else until - 1) for since, until in plan.bounds]


def _within(times: IntArray, ranges: Iterable[Range]) -> BoolArray:
    """Return which times lie in one of the ranges."""
    inside = np.zeros(len(times), dtype=bool)
    for first, last in ranges:
        inside |= (times >= first) & (times <= last)
    return inside


def _intersection(left: Iterable[Range], right: Iterable[Range]) -> tuple[Range, ...]:
    right = tuple(right)
    overlaps = ((max(a[0], b[0]), min(a[1], b[1])) for a in left for b in right)
    return merged(each for each in overlaps if each[0] <= each[1])
