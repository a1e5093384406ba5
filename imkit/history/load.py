"""Histories as one DataFrame: loaded, stopped, gone on with.

Loads pandas and Arrow: imported when the first frame is asked for.

Source: fact sheet section 8.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.client.account import Account
from imkit.client.roaming import Progress, Query
from imkit.errors import InvalidMessage
from imkit.history.arguments import moment_of
from imkit.history.columns import SCHEMA, sorted_table
from imkit.history.fetch import LIMIT_REACHED, MAX_WORKERS, WORKERS, Fetch, HistoryPart
from imkit.history.frames import frame_of_table
from imkit.history.progress import notebook_line
from imkit.history.time_ranges import Bounds, Range, merged, missing
from imkit.times import iso

logger = logging.getLogger("imkit.history.arguments")

_FEWER = "the service counts {:,} more: those that were recalled, or that it keeps no longer, may be among them"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load has brought, before it is made a frame of.

    Attributes:
        batches: the rows.
        wanted: their order, and how many at the most.
        source: where they come from, plain JSON.
        is_resumed: an earlier load was gone on with, so rows may be there twice.
    """

    batches: Sequence[pa.RecordBatch]
    wanted: Query
    source: Mapping[str, Any]
    is_resumed: bool = False

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame, each once, in the order that is wanted."""
        table = pa.Table.from_batches(self.batches, SCHEMA)
        if self.is_resumed:
            table = _each_once(table)
        found = table.num_rows
        table = sorted_table(table, newest_first=self.wanted.order == "newest", limit=self.wanted.limit)
        source = dict(self.source)
        if self.wanted.limit is not None and found > self.wanted.limit and source["complete"]:
            source |= {"complete": False, "reason": LIMIT_REACHED.format(self.wanted.limit)}
        more = (source["server_count"] or 0) - table.num_rows
        note = _FEWER.format(more) if more > 0 and source["complete"] else ""
        return frame_of_table(table, {**source, "rows": table.num_rows, "note": note})


class Loading:
    """Loads histories into one frame.

    Args:
        account: who asks.
        target_ids: threads and groups.
        wanted: which part of each; `limit` counts over all of them.
        workers: how many requests are under way at once, at the most.
        progress: told how many messages have come and how many there will be: the service's count where it is known,
            else an estimate, or `None`.
        earlier: a frame of the same load that is not complete, to go on from.

    Attributes:
        counted: how many messages the service counts, where it has told.
    """

    def __init__(
        self,
        account: Account,
        target_ids: Iterable[str],
        wanted: Query,
        *,
        workers: int = WORKERS,
        progress: Progress | None = None,
        earlier: pd.DataFrame | None = None,
    ) -> None:
        self._account = account
        self._ids = list(dict.fromkeys(target_ids))
        self._wanted = wanted
        self._started = datetime.now(UTC)
        self._batches = [] if earlier is None else _rows(earlier).to_batches()
        self._before = {} if earlier is None else _covered(earlier)
        self._jobs: dict[str, Sequence[Bounds] | None] = {
            target_id: missing(self._before[target_id], wanted.since, wanted.until)
            if target_id in self._before
            else None
            for target_id in self._ids
        }
        self._had = 0 if earlier is None else len(earlier)
        self._covered = dict(self._before)
        self._unfinished = dict.fromkeys(self._ids)
        self._progress = progress
        self.counted = server_count(account, self._ids, wanted)
        tell = None if progress is None else self._tell
        known = {key: _known(self._batches, key, ranges) for key, ranges in self._jobs.items() if ranges}
        self._fetch = Fetch(account, wanted, self._take, workers=workers, progress=tell, known=known)

    async def run(self) -> None:
        """Load; what came until an error or a stop is in the frame all the same."""
        await self._fetch.run(self._jobs)

    async def _take(self, part: HistoryPart) -> None:
        self._batches.append(part.batch)
        self._covered[part.target_id] = merged((*self._before.get(part.target_id, ()), *part.covered))
        if part.finished:
            self._unfinished.pop(part.target_id, None)

    def _tell(self, done: int, total: int | None) -> Awaitable[None] | None:
        assert self._progress is not None
        done += self._had
        if self.counted is not None and self.counted >= done:
            return self._progress(done, self.counted)
        return self._progress(done, total and total + self._had)

    @property
    def has_brought_something(self) -> bool:
        """Whether a stop would lose anything."""
        return any(batch.num_rows for batch in self._batches)

    def outcome(self, stopped: str = "") -> Outcome:
        """Return what has come.

        Args:
            stopped: why it was not gone through to its end, if it was not.
        """
        wanted = self._wanted
        reasons = [*self._fetch.reasons, *([stopped] if stopped else [])]
        counted = server_count(self._account, self._ids, wanted)
        source = {
            "app_key": self._account.app.app_key,
            "thread_ids": list(self._ids),
            "since": iso(wanted.since),
            "until": iso(wanted.until),
            "types": sorted(wanted.types) or None,
            "sender": wanted.sender,
            "limit": wanted.limit,
            "fetched_at": self._started.isoformat(timespec="milliseconds"),
            "complete": not reasons and not self._unfinished,
            "reason": "; ".join(reasons),
            "server_count": counted,
            "covered": {key: [list(each) for each in ranges] for key, ranges in self._covered.items()},
        }
        return Outcome(list(self._batches), wanted, source, is_resumed=bool(self._before))


async def history_frame(
    account: Account,
    target_ids: Sequence[str],
    wanted: Query,
    progress: Progress | Literal[False] | None = None,
    parallel: bool | int = True,
    resume: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Load the histories of threads and groups into one frame, in the order asked for.

    Args:
        account: who asks.
        target_ids: threads and groups.
        wanted: which part of each; `limit` counts over all of them.
        progress: told how many messages have come, and how many there will be, as far as that is known; `None` shows
            a line in a notebook, where it takes longer than a second, False shows nothing.
        parallel: True for a safe number of requests at once, a number, or False for one after another.
        resume: a frame of the same load that is not complete, to go on from.

    Raises:
        InvalidMessage: `parallel` is no such number; `resume` is no such frame, or was loaded with other arguments.
    """
    workers = WORKERS if parallel is True else 1 if parallel is False else parallel
    if not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidMessage(f"parallel must be True, False or a number from 1 to {MAX_WORKERS}, not {parallel!r:.40}")
    if resume is not None:
        wanted = _same(resume, account.app.app_key, target_ids, wanted)
    line = notebook_line() if progress is None else None
    tell = line.tell if line is not None else progress or None
    loading = Loading(account, target_ids, wanted, workers=workers, progress=tell, earlier=resume)
    task = asyncio.current_task()
    assert task is not None
    account.load_tasks.add(task)
    try:
        await loading.run()
        frame = await asyncio.to_thread(loading.outcome().frame)
    except BaseException as error:
        if loading.has_brought_something:
            why = "stopped" if isinstance(error, asyncio.CancelledError) else str(error)
            account.stopped = loading.outcome(why)
        raise
    finally:
        account.load_tasks.discard(task)
        if line is not None:
            line.end()
    if resume is not None:
        account.stopped = None
    if frame.attrs["imkit"]["note"]:
        logger.info("%s", frame.attrs["imkit"]["note"])
    return frame


async def stopped_frame(account: Account) -> pd.DataFrame | None:
    """Return what the load that was stopped last had brought; one that is just being stopped is waited for."""
    if stopping := [task for task in account.load_tasks if task.cancelling()]:
        await asyncio.wait(stopping)
    return await asyncio.to_thread(account.stopped.frame) if account.stopped is not None else None


def server_count(account: Account, target_ids: Sequence[str], wanted: Query) -> int | None:
    """Return how many messages the service counts, where notices have told and everything was asked for."""
    if wanted != Query(order=wanted.order):
        return None
    facts = [account.known.threads.get(target_id) for target_id in target_ids]
    counts = [known.message_count if known is not None else None for known in facts]
    return None if None in counts else sum(count for count in counts if count is not None)


# ------------------------------------------------------------------- going on


def _same(earlier: object, app_key: str, target_ids: Sequence[str], wanted: Query) -> Query:
    """Return what an earlier frame was asked for, or refuse to go on with it as something else."""
    source = earlier.attrs.get("imkit") if isinstance(earlier, pd.DataFrame) else None
    rows = len(earlier) if isinstance(earlier, pd.DataFrame) else 0
    if not isinstance(source, dict) or not isinstance(source.get("covered"), dict):
        hint = "Give the frame that history() returned, or session.stopped; most steps of pandas lose where it is from."
        raise InvalidMessage("resume is no frame of a history that can be gone on with", hint=hint)
    if source.get("limit") is not None or wanted.limit is not None:
        raise InvalidMessage("a history with a limit cannot be gone on with", hint="Leave limit away from the start.")
    if source.get("rows") != rows:
        hint = "Take it whole: what was left out since counts as loaded, and is not asked for again."
        raise InvalidMessage(f"resume has {rows} of the {source.get('rows')!s:.20} rows that were loaded", hint=hint)
    if source.get("app_key") != app_key or set(source.get("thread_ids") or ()) != set(target_ids):
        theirs = ", ".join(map(str, source.get("thread_ids") or ()))
        raise InvalidMessage(f"resume holds another history: {theirs:.200} of {source.get('app_key')!s:.100}")
    found = Query(
        since=moment_of(source.get("since"), "since"),
        until=moment_of(source.get("until"), "until"),
        types=frozenset(source.get("types") or ()),
        sender=source.get("sender"),
        order=wanted.order,
    )
    for name in ("since", "until", "types", "sender"):
        given, had = getattr(wanted, name), getattr(found, name)
        if given and given != had:
            hint = f"Leave {name} away: it is taken from the frame. Or load anew, without resume."
            raise InvalidMessage(f"resume was loaded with another {name}: {source.get(name)}", hint=hint)
    return found


def _covered(earlier: pd.DataFrame) -> dict[str, tuple[Range, ...]]:
    told = earlier.attrs["imkit"]["covered"]
    try:
        return {str(key): merged((int(low), int(high)) for low, high in ranges) for key, ranges in told.items()}
    except (TypeError, ValueError) as error:
        raise InvalidMessage("resume does not tell what it holds") from error


def _rows(earlier: pd.DataFrame) -> pa.Table:
    """Return the rows of a history frame in the form in which they came."""
    try:
        return pa.table([_column(earlier[field.name], field.type) for field in SCHEMA], SCHEMA)
    except (KeyError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        hint = "Give it as history() returned it; columns may be added afterwards."
        raise InvalidMessage(f"resume is no history frame any more: {error!s:.100}", hint=hint) from error


def _column(values: pd.Series[Any], kind: pa.DataType) -> Any:
    found = pa.array(values, from_pandas=True)
    return found.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else found.cast(kind)


def _known(batches: Sequence[pa.RecordBatch], target_id: str, ranges: Sequence[Bounds]) -> frozenset[int]:
    """Return the ids of a target's rows in ranges that are asked for again: at the edges of what was gone through."""
    found: set[int] = set()
    for batch in batches:
        times = batch.column("time").cast(pa.int64()).to_numpy()
        again = np.zeros(len(times), dtype=bool)
        for since, until in ranges:
            again |= (times >= (since or 0)) & (times < (until if until is not None else np.iinfo(np.int64).max))
        rows = batch.filter(pa.array(again))
        its = rows.filter(pc.equal(_target(rows), target_id))
        found.update(int(each) for each in its.column("message_id").to_pylist() if each)
    return frozenset(found)


def _target(rows: pa.RecordBatch | pa.Table) -> Any:
    """Return the thread or group of each row."""
    return pc.coalesce(*(rows.column(name).cast(pa.string()) for name in ("thread_id", "group_id")))


def _each_once(table: pa.Table) -> pa.Table:
    """Keep the later of two rows of one message of a thread; what has no id is told apart by all that it says."""
    ids = table.column("message_id")
    keys = pc.binary_join_element_wise(pc.coalesce(_target(table), ""), ids, "/").combine_chunks()
    nameless = np.flatnonzero(pc.is_in(ids, pa.array(["", "0"])).to_numpy())
    numbers = keys.dictionary_encode().indices.to_numpy().astype(np.int64)
    said = [repr(row) for row in table.take(pa.array(nameless)).to_pylist()]
    codes = {text: -1 - code for code, text in enumerate(dict.fromkeys(said))}
    numbers[nameless] = [codes[text] for text in said]
    _, last = np.unique(numbers[::-1], return_index=True)
    return table.take(pa.array(np.sort(len(numbers) - 1 - last)))
