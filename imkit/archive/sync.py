"""Bringing an archive up to date: what is planned is read, here or by workers, and folded in while the lock is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from imkit.archive import attachments
from imkit.archive.batching import Intake, Piece, Planned
from imkit.archive.catalogue import Ledger, State
from imkit.archive.compact import compact
from imkit.archive.dask_workers import Crew, Share, shares
from imkit.archive.merge import Folded, fold
from imkit.archive.storage import Storage
from imkit.archive.sync_plan import Planner, Wanted
from imkit.archive.sync_report import SyncReport
from imkit.client.account import Account
from imkit.client.credentials import TokenSource
from imkit.client.roaming import Progress
from imkit.errors import ArchiveError, IMError, InvalidMessage
from imkit.portal import Worker, to_its_end

R = TypeVar("R")
_FILES_A_DAY = 8  # more are merged at the end of a sync


async def in_thread(function: Callable[..., R], *arguments: Any, stop: Callable[[], None] | None = None) -> R:
    """Run what waits for a disk in a thread, to its end even if the caller is cancelled: the lock is held that long.

    Args:
        function: what to run.
        *arguments: its arguments.
        stop: called when the caller is cancelled, to have it end soon.
    """
    return await to_its_end(asyncio.to_thread(function, *arguments), stop)


@asynccontextmanager
async def ledger_of(storage: Storage, timeout: float) -> AsyncGenerator[Ledger, None]:
    """Be the one who writes to an archive, from within imkit's loop."""
    held = ExitStack()
    try:
        await in_thread(held.enter_context, storage.writing(timeout))
        yield await in_thread(Ledger, storage)
    finally:
        await in_thread(held.close)


def settle_piece(storage: Storage, ledger: Ledger, piece: Piece, now: int, app_key: str) -> Folded:
    """Put a piece into the archive."""
    return fold(
        storage,
        ledger,
        piece.fresh,
        piece.again,
        piece.reread,
        piece.conversations.values(),
        now,
        written=piece.written,
        app_key=app_key,
    )


@contextmanager
def told_what_is_kept(report: SyncReport) -> Iterator[None]:
    """Say in an error what it has not undone.

    Raises:
        ArchiveError: in the place of what the disk or Parquet says.
    """
    kept = "{:,} messages were added before that; the next sync goes on from there."
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        failed: Exception = error
        if not isinstance(error, IMError):  # some of which are timeouts, and so of the system's errors
            hint = "Nothing that was committed is lost: make room, or mend what is wrong, and sync again."
            failed = ArchiveError(f"the archive {report.place} cannot be written: {error}", hint=hint)
        failed.add_note(kept.format(report.rows_added))
        raise failed from error
    except Exception as error:
        error.add_note(kept.format(report.rows_added))
        raise


def note_groups(report: SyncReport, ledger: Ledger, plans: Mapping[str, Planned]) -> None:
    """Report whether groups had new messages of their own: only reading them tells."""
    for plan in plans.values():
        if plan.known.kind == "group" and plan.known.synced_at:
            if ledger.state.conversations[plan.known.id].newest_id == plan.known.newest_id:
                report.unchanged += 1
            else:
                report.changed.append(plan.known.id)


def note_lost(report: SyncReport, ledger: Ledger, failed: Mapping[str, str]) -> None:
    """Report what could not be read any more while it was being read."""
    for target_id, reason in failed.items():
        report.lose(ledger.state.conversations[target_id], reason)


def check_app(state: State, app_key: str, place: str) -> None:
    """Refuse to mix the messages of two apps.

    Raises:
        InvalidMessage: the archive holds another app's.
    """
    if state.app_key and state.app_key != app_key:
        hint = "Give each app an archive of its own."
        raise InvalidMessage(f"the archive {place} holds messages of {state.app_key}, not of {app_key}", hint=hint)


async def sync(
    account: Account,
    storage: Storage,
    of: Wanted,
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
    """Bring an archive up to date; see `Archive.sync`. Times in ms since the epoch, `lookback` in ms."""
    report, began, asked = SyncReport(storage.place), time.monotonic(), account.rest.requests
    now = int(time.time() * 1000)
    crew = None if client is None else Crew(client)
    async with ledger_of(storage, timeout) as ledger:
        check_app(ledger.state, account.app.app_key, storage.place)
        plan = await Planner(account, ledger.state, since, lookback, now, report).plan(of)

        async def settle(piece: Piece) -> None:
            report.count(await in_thread(settle_piece, storage, ledger, piece, now, account.app.app_key))

        with told_what_is_kept(report):
            # What is to be read is written down first, so that an archive knows of itself what it lacks.
            beginning = {target_id: one.known for target_id, one in plan.reading.items()}
            await settle(Piece(conversations={**plan.settled, **beginning}))
            if crew is None:
                await _read(account, plan.reading, settle, workers, progress, now, report, ledger)
            elif plan.reading:
                split = shares(path, account.app, account.user, token, plan.reading, workers, now, crew.processes)
                await _have_read(crew, list(split), settle, progress, report, ledger)
            note_groups(report, ledger, plan.reading)
            if with_attachments:
                targets = [*plan.reading, *plan.settled]
                kept = await attachments.keep(account, storage, ledger, targets, now)
                report.attachments_kept, report.attachments_failed = kept.kept, kept.failed
            await in_thread(compact, storage, ledger, _FILES_A_DAY)
    report.requests += account.rest.requests - asked
    report.seconds = time.monotonic() - began
    return report


async def _read(
    account: Account,
    plans: Mapping[str, Planned],
    settle: Callable[[Piece], Awaitable[None]],
    workers: int,
    progress: Progress | None,
    now: int,
    report: SyncReport,
    ledger: Ledger,
) -> None:
    """Read in this process."""
    intake = Intake(plans, settle, now)
    try:
        report.reasons += await intake.read(account, workers, progress)
    finally:
        await intake.flush()
    note_lost(report, ledger, intake.failed)


async def _have_read(
    crew: Crew,
    split: Sequence[Share],
    settle: Callable[[Piece], Awaitable[None]],
    progress: Progress | None,
    report: SyncReport,
    ledger: Ledger,
) -> None:
    """Have Dask workers read; each share is committed when it is done."""
    teller = Worker("imkit-progress")
    found = crew.brought(split)
    try:
        while (brought := await in_thread(next, found, None, stop=crew.stop)) is not None:
            await settle(brought.piece)
            note_lost(report, ledger, brought.failed)
            report.reasons += brought.reasons
            report.requests += brought.requests
            if progress is not None:
                await teller.run(progress, report.rows_added, None)
    finally:
        await in_thread(found.close)
        teller.close()
