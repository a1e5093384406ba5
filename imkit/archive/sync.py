"""The steps of a sync: plan, read (in this process or on Dask workers), commit, fetch attachments, compact.

This process holds the archive's lock from the first step to the last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from imkit.archive.attachments import fetch_attachments
from imkit.archive.batching import Batcher, ReadPlan
from imkit.archive.catalogue import CatalogueWriter, State
from imkit.archive.compact import compact
from imkit.archive.dask_workers import DaskPool, Task, split_into_tasks
from imkit.archive.erase import open_catalogue
from imkit.archive.live_log import missed_events
from imkit.archive.merge import CommitBatch, merge_batch
from imkit.archive.storage import Storage, archive_errors
from imkit.archive.sync_plan import Planner, SyncTargets
from imkit.archive.sync_report import SyncReport
from imkit.client.account import Account
from imkit.client.credentials import TokenSource
from imkit.client.roaming import Progress
from imkit.errors import InvalidMessage
from imkit.portal import Worker, to_its_end

R = TypeVar("R")
CommitFunction = Callable[[CommitBatch], Awaitable[None]]
FILES_A_DAY = 8  # a day with so many files or more is compacted at the end of a sync


async def in_thread(function: Callable[..., R], *arguments: Any, stop: Callable[[], None] | None = None) -> R:
    """Run a function that waits for a disk in a thread.

    If the caller is cancelled, the function still runs to its end, and the archive's lock is held until then.

    Args:
        function: what to run.
        *arguments: its arguments.
        stop: called when the caller is cancelled, to make the function end soon.
    """
    return await to_its_end(asyncio.to_thread(function, *arguments), stop)


@asynccontextmanager
async def locked_catalogue(storage: Storage, timeout: float) -> AsyncGenerator[CatalogueWriter, None]:
    """Hold the archive's lock on imkit's event loop, and give the writer of its catalogue.

    Raises:
        ArchiveError: instead of an error of the disk or of Parquet.
    """
    with archive_errors(storage, "written"):
        stack = ExitStack()
        try:
            await in_thread(stack.enter_context, storage.writing(timeout))
            yield await in_thread(open_catalogue, storage)
        finally:
            await in_thread(stack.close)


@contextmanager
def errors_tell_what_is_kept(storage: Storage, report: SyncReport) -> Iterator[None]:
    """Add a note to each error that says how many messages were committed before it.

    Raises:
        ArchiveError: instead of an error of the disk or of Parquet.
    """
    try:
        with archive_errors(storage, "written"):
            yield
    except Exception as error:
        error.add_note(f"{report.rows_added:,} messages were added before that; the next sync goes on from there.")
        raise


def report_groups(report: SyncReport, catalogue: CatalogueWriter, plans: Mapping[str, ReadPlan]) -> None:
    """Report which groups had new messages of their own: only reading them shows that."""
    for plan in plans.values():
        if plan.known.kind == "group" and plan.known.synced_at:
            if catalogue.state.conversations[plan.known.id].newest_id == plan.known.newest_id:
                report.unchanged += 1
            else:
                report.changed.append(plan.known.id)


def report_unreadable(report: SyncReport, catalogue: CatalogueWriter, unreadable: Mapping[str, str]) -> None:
    """Report the conversations that the service refused to show while they were being read."""
    for target_id, reason in unreadable.items():
        report.add_unreadable(catalogue.state.conversations[target_id], reason)


def check_app(state: State, app_key: str, place: str) -> None:
    """Refuse to mix the messages of two apps.

    Raises:
        InvalidMessage: the archive holds messages of another app.
    """
    if state.app_key and state.app_key != app_key:
        hint = "Use a separate archive for each app."
        raise InvalidMessage(f"the archive {place} holds messages of {state.app_key}, not of {app_key}", hint=hint)


async def sync(
    account: Account,
    storage: Storage,
    of: SyncTargets,
    *,
    path: str,
    since: int | None,
    lookback: int,
    with_attachments: bool,
    workers: int,
    progress: Progress | None,
    timeout: float,
    client: Any,
    token: TokenSource | None,
) -> SyncReport:
    """Update an archive; see `Archive.sync`. `since` is in ms since the epoch, `lookback` in ms."""
    report, began, requests_before = SyncReport(storage.place), time.monotonic(), account.rest.requests
    now = await account.now_ms()
    pool = None if client is None else DaskPool(client)
    async with locked_catalogue(storage, timeout) as catalogue:
        check_app(catalogue.state, account.app.app_key, storage.place)
        missed = await in_thread(missed_events, storage)
        plan = await Planner(account, catalogue.state, since, lookback, now, missed, report).plan(of)

        async def commit(batch: CommitBatch) -> None:
            report.add_rows(await in_thread(merge_batch, storage, catalogue, batch, now, account.app.app_key))

        with errors_tell_what_is_kept(storage, report):
            # First commit which conversations there are: if this sync is stopped, the archive knows what it lacks.
            planned = {target_id: one.known for target_id, one in plan.to_read.items()}
            await commit(CommitBatch(conversations={**plan.skipped, **planned}))
            if pool is None:
                await _read_here(account, plan.to_read, commit, workers, progress, now, report, catalogue)
            elif plan.to_read:
                whole = Task(path, account.app, account.user, token, plan.to_read, workers, now)
                tasks = split_into_tasks(whole, pool.processes)
                await _read_on_workers(pool, tasks, commit, progress, report, catalogue)
            report_groups(report, catalogue, plan.to_read)
            if with_attachments:
                targets = [*plan.to_read, *plan.skipped]
                fetched = await fetch_attachments(account, storage, catalogue, targets, now)
                report.attachments_kept, report.attachments_failed = fetched.kept, fetched.failed
            await in_thread(compact, storage, catalogue, FILES_A_DAY)
    report.requests += account.rest.requests - requests_before
    report.seconds = time.monotonic() - began
    return report


async def _read_here(
    account: Account,
    plans: Mapping[str, ReadPlan],
    commit: CommitFunction,
    workers: int,
    progress: Progress | None,
    now: int,
    report: SyncReport,
    catalogue: CatalogueWriter,
) -> None:
    """Read in this process."""
    batcher = Batcher(plans, commit, now)
    try:
        report.reasons += await batcher.read(account, workers, progress)
    finally:
        await batcher.flush()
    report_unreadable(report, catalogue, batcher.unreadable)


async def _read_on_workers(
    pool: DaskPool,
    tasks: Sequence[Task],
    commit: CommitFunction,
    progress: Progress | None,
    report: SyncReport,
    catalogue: CatalogueWriter,
) -> None:
    """Read on Dask workers, and commit each result when it comes."""
    progress_thread = Worker("imkit-progress")
    results = pool.run(tasks)
    try:
        while (result := await in_thread(next, results, None, stop=pool.cancel)) is not None:
            await commit(result.batch)
            report_unreadable(report, catalogue, result.unreadable)
            report.reasons += result.reasons
            report.requests += result.requests
            if progress is not None:
                await progress_thread.run(progress, report.rows_added, None)
    finally:
        await in_thread(results.close)
        progress_thread.close()
