"""The histories of threads and groups as one DataFrame: loaded, stopped and resumed.

Imports pandas and Arrow, which take long to load: other modules import this one in the function that needs it.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import asyncio
import inspect
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
from imkit.history.time_ranges import FAR, Bounds, Range, merged, missing
from imkit.times import iso

logger = logging.getLogger("imkit.history")

_SERVICE_COUNTS_MORE = "the service counts {:,} more messages; some may have been recalled or have expired"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows that a load has brought, and what is known about them; `frame` makes the DataFrame.

    Attributes:
        batches: the rows, in any order.
        wanted: the order, and at most how many rows.
        source: where they come from, as plain JSON.
        is_resumed: they include the rows of an earlier load, so some may be there twice.
    """

    batches: Sequence[pa.RecordBatch]
    wanted: Query
    source: Mapping[str, Any]
    is_resumed: bool = False

    def frame(self) -> pd.DataFrame:
        """Return the rows as a history frame, each once, in the wanted order."""
        table = pa.Table.from_batches(self.batches, SCHEMA)
        if self.is_resumed:
            table = _without_duplicates(table)
        loaded = table.num_rows
        table = sorted_table(table, newest_first=self.wanted.order == "newest", limit=self.wanted.limit)
        source = dict(self.source)
        if self.wanted.limit is not None and loaded > self.wanted.limit and source["complete"]:
            source |= {"complete": False, "reason": LIMIT_REACHED.format(self.wanted.limit)}
        more = (source["server_count"] or 0) - table.num_rows
        note = _SERVICE_COUNTS_MORE.format(more) if more > 0 and source["complete"] else ""
        return frame_of_table(table, {**source, "rows": table.num_rows, "note": note})


class Loading:
    """One load of histories: `run` it, then, whether it ended or was stopped, ask for its `outcome`.

    Args:
        account: the login that asks.
        target_ids: threads and groups.
        wanted: which part of each; `limit` counts over all of them.
        workers: at most so many requests are under way at the same time.
        progress: called with how many messages have come and how many there will be: the service's count if it is
            known, otherwise an estimate or `None`.
        earlier: a frame of the same load that is not complete, to resume.

    Attributes:
        counted: how many messages the service counts; `None` if it has not told.
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
        self._batches = [] if earlier is None else _table_of(earlier).to_batches()
        self._earlier_rows = 0 if earlier is None else len(earlier)
        self._covered_earlier = {} if earlier is None else _covered_by(earlier)
        self._covered = dict(self._covered_earlier)
        # `until` may be in the future: what the service has not reached yet is not remembered as read. By its own
        # clock: this machine's may be wrong. Where it does not tell its time, each message shows how late it is at
        # least.
        self._reached = account.connection.service_time() or 0
        self._unfinished = dict.fromkeys(self._ids)
        self._jobs: dict[str, Sequence[Bounds] | None] = {
            target_id: missing(self._covered_earlier[target_id], wanted.since, wanted.until)
            if target_id in self._covered_earlier
            else None
            for target_id in self._ids
        }
        known = {
            target_id: _ids_in(self._batches, target_id, ranges) for target_id, ranges in self._jobs.items() if ranges
        }
        self._progress = progress
        self.counted = _server_count(account, self._ids, wanted)
        self._fetch = Fetch(
            account,
            wanted,
            self._take,
            workers=workers,
            progress=None if progress is None else self._report_function(progress),
            known=known,
        )

    async def run(self) -> None:
        """Load. After an error or a stop, the outcome holds what has come so far."""
        await self._fetch.run(self._jobs)

    async def _take(self, part: HistoryPart) -> None:
        self._batches.append(part.batch)
        if part.batch.num_rows:
            self._reached = max(self._reached, pc.max(part.batch.column("time").cast(pa.int64())).as_py())
        covered_earlier = self._covered_earlier.get(part.target_id, ())
        covered = ((low, min(high, self._reached)) for low, high in part.covered)
        self._covered[part.target_id] = merged((*covered_earlier, *covered))
        if part.finished:
            self._unfinished.pop(part.target_id, None)

    def _report_function(self, progress: Progress) -> Progress:
        """Return an async function for an async one: a stopped call then leaves no coroutine that nobody awaits."""

        async def report(done: int, total: int | None) -> None:
            result = self._report_progress(done, total)
            if result is not None:
                await result

        return report if inspect.iscoroutinefunction(progress) else self._report_progress

    def _report_progress(self, done: int, total: int | None) -> Awaitable[None] | None:
        assert self._progress is not None
        done += self._earlier_rows
        if self.counted is not None and self.counted >= done:
            return self._progress(done, self.counted)
        return self._progress(done, total and total + self._earlier_rows)

    @property
    def has_rows(self) -> bool:
        """Whether there are rows to keep after a stop."""
        return any(batch.num_rows for batch in self._batches)

    def outcome(self, stopped: str = "") -> Outcome:
        """Return what has come so far.

        Args:
            stopped: why the load ended early; empty if it did not.
        """
        wanted = self._wanted
        reasons = [*self._fetch.reasons, *([stopped] if stopped else [])]
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
            "server_count": _server_count(self._account, self._ids, wanted),  # it may have grown since the start
            "covered": {target_id: [list(pair) for pair in ranges] for target_id, ranges in self._covered.items()},
        }
        return Outcome(list(self._batches), wanted, source, is_resumed=bool(self._covered_earlier))


async def history_frame(
    account: Account,
    target_ids: Sequence[str],
    wanted: Query,
    progress: Progress | Literal[False] | None = None,
    parallel: bool | int = True,
    resume: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Load the histories of threads and groups into one frame, in the wanted order.

    If an error or a stop ends the load, `account.stopped` keeps what has come.

    Args:
        account: the login that asks.
        target_ids: threads and groups.
        wanted: which part of each; `limit` counts over all of them.
        progress: called with how many messages have come, and how many there will be, or `None` if that is not known.
            The default shows a line below the cell of a notebook after one second; False shows nothing.
        parallel: how many requests may be under way at the same time; True: a safe number, False: one.
        resume: a frame of the same load that is not complete.

    Raises:
        InvalidMessage: `parallel` is out of bounds; `resume` is not a history frame, or has other arguments.
    """
    workers = WORKERS if parallel is True else 1 if parallel is False else parallel
    if not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidMessage(f"parallel must be True, False or a number from 1 to {MAX_WORKERS}, not {parallel!r:.40}")
    given: object = progress
    if given is not None and given is not False and not callable(given):
        hint = "Give a function that takes two numbers: what has come, and the expected total or None."
        raise InvalidMessage(f"progress must be None, False or a function, not {given!r:.40}", hint=hint)
    if resume is not None:
        wanted = _resumed_query(resume, account.app.app_key, target_ids, wanted)
    line = notebook_line() if progress is None else None
    report = line.update if line is not None else progress or None
    loading = Loading(account, target_ids, wanted, workers=workers, progress=report, earlier=resume)
    task = asyncio.current_task()
    assert task is not None
    account.load_tasks.add(task)
    try:
        await loading.run()
        frame = await asyncio.to_thread(loading.outcome().frame)
    except BaseException as error:
        if loading.has_rows:
            reason = "stopped" if isinstance(error, asyncio.CancelledError) else str(error)
            account.stopped = loading.outcome(reason)
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
    """Return what the last load that was stopped has brought. If a load is being stopped, wait until it is."""
    if stopping := [task for task in account.load_tasks if task.cancelling()]:
        await asyncio.wait(stopping)
    return await asyncio.to_thread(account.stopped.frame) if account.stopped is not None else None


def _server_count(account: Account, target_ids: Sequence[str], wanted: Query) -> int | None:
    """Return how many messages the service counts; `None` with any filter, or if notices have not told it of all."""
    if wanted != Query(order=wanted.order):
        return None
    threads = [account.known.threads.get(target_id) for target_id in target_ids]
    counts = [thread.message_count if thread is not None else None for thread in threads]
    return None if None in counts else sum(count for count in counts if count is not None)


# ------------------------------------------------------------------- resuming


def _resumed_query(earlier: object, app_key: str, target_ids: Sequence[str], wanted: Query) -> Query:
    """Return the query of an earlier frame, in the order that is wanted now.

    Raises:
        InvalidMessage: it is not a history frame, has lost rows, or was loaded with other arguments.
    """
    source = earlier.attrs.get("imkit") if isinstance(earlier, pd.DataFrame) else None
    rows = len(earlier) if isinstance(earlier, pd.DataFrame) else 0
    if not isinstance(source, dict) or not isinstance(source.get("covered"), dict):
        hint = "Give the frame that history() returned, or session.stopped. groupby, concat and merge lose attrs."
        raise InvalidMessage("resume must be a frame that history() has returned", hint=hint)
    if source.get("limit") is not None or wanted.limit is not None:
        raise InvalidMessage("a history with a limit cannot be resumed", hint="Load it without limit from the start.")
    if source.get("rows") != rows:
        hint = "Give the whole frame: rows that were removed count as loaded, and are not loaded again."
        raise InvalidMessage(f"resume has {rows} of the {source.get('rows')!s:.20} rows that were loaded", hint=hint)
    if source.get("app_key") != app_key or set(source.get("thread_ids") or ()) != set(target_ids):
        ids = ", ".join(map(str, source.get("thread_ids") or ()))
        raise InvalidMessage(f"resume holds another history: {ids:.200} of {source.get('app_key')!s:.100}")
    resumed = Query(
        since=moment_of(source.get("since"), "since"),
        until=moment_of(source.get("until"), "until"),
        types=frozenset(source.get("types") or ()),
        sender=source.get("sender"),
        order=wanted.order,
    )
    for name in ("since", "until", "types", "sender"):
        now, before = getattr(wanted, name), getattr(resumed, name)
        if now and now != before:
            hint = f"Leave {name} out: it is taken from the frame. Or load anew, without resume."
            raise InvalidMessage(f"resume was loaded with another {name}: {source.get(name)}", hint=hint)
    return resumed


def _covered_by(earlier: pd.DataFrame) -> dict[str, tuple[Range, ...]]:
    """Return which times of each target an earlier frame holds."""
    covered = earlier.attrs["imkit"]["covered"]
    try:
        return {str(key): merged((int(low), int(high)) for low, high in ranges) for key, ranges in covered.items()}
    except (TypeError, ValueError) as error:
        raise InvalidMessage("resume does not say which times it holds") from error


def _table_of(earlier: pd.DataFrame) -> pa.Table:
    """Return the rows of a history frame as a table of `SCHEMA`."""
    try:
        return pa.table([_column(earlier[field.name], field.type) for field in SCHEMA], SCHEMA)
    except (KeyError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        hint = "Give the frame as history() returned it; more columns do no harm."
        raise InvalidMessage(
            f"resume does not have the columns of a history frame: {error!s:.100}", hint=hint
        ) from error


def _column(values: pd.Series[Any], kind: pa.DataType) -> Any:
    column = pa.array(values, from_pandas=True)
    return column.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)


def _ids_in(batches: Sequence[pa.RecordBatch], target_id: str, ranges: Sequence[Bounds]) -> frozenset[int]:
    """Return the ids of a target's rows in some ranges.

    The ranges are those that a resumed load asks for. They begin with the last millisecond of what was read, so a few
    messages come again.
    """
    ids: set[int] = set()
    for batch in batches:
        times = batch.column("time").cast(pa.int64()).to_numpy()
        is_inside = np.zeros(len(times), dtype=bool)
        for since, until in ranges:
            is_inside |= (times >= (since or 0)) & (times < (FAR if until is None else until))
        inside = batch.filter(pa.array(is_inside))
        of_target = inside.filter(pc.equal(_targets(inside), target_id))
        ids.update(int(message_id) for message_id in of_target.column("message_id").to_pylist() if message_id)
    return frozenset(ids)


def _targets(rows: pa.RecordBatch | pa.Table) -> Any:
    """Return the thread or group of each row."""
    return pc.coalesce(*(rows.column(name).cast(pa.string()) for name in ("thread_id", "group_id")))


def _without_duplicates(table: pa.Table) -> pa.Table:
    """Keep the last of the rows of one message. Rows are the same message if their target and id are the same.

    Rows without an id are the same if all their values are.
    """
    ids = table.column("message_id")
    keys = pc.binary_join_element_wise(pc.coalesce(_targets(table), ""), ids, "/").combine_chunks()
    numbers = keys.dictionary_encode().indices.to_numpy().astype(np.int64)  # one for each message with an id
    without_id = np.flatnonzero(pc.is_in(ids, pa.array(["", "0"])).to_numpy())
    contents = [repr(row) for row in table.take(pa.array(without_id)).to_pylist()]
    negative_numbers = {content: -1 - code for code, content in enumerate(dict.fromkeys(contents))}
    numbers[without_id] = [negative_numbers[content] for content in contents]
    _, last_from_end = np.unique(numbers[::-1], return_index=True)
    return table.take(pa.array(np.sort(len(numbers) - 1 - last_from_end)))
