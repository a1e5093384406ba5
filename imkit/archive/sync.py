"""Bringing an archive up to date: what is to be read, reading it, and the report.

What nobody has written to costs one request for each 20 threads. What has changed is read from where the last sync
ended, and again over the recent past, so that edits and recalls show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa

from imkit.account import Account
from imkit.archive import attachments, care, catalogue
from imkit.archive.catalogue import Conversation, Ledger, State
from imkit.archive.distributed import Crew, Share, shares
from imkit.archive.folding import Folded, fold
from imkit.archive.intake import Intake, Piece, Planned, lost, unexplained
from imkit.archive.storage import Storage
from imkit.credentials import TokenSource
from imkit.errors import ArchiveError, Forbidden, IMError, InvalidMessage, NotFound
from imkit.escape import for_html, for_terminal
from imkit.fetch import Fetch
from imkit.listing import collected
from imkit.messages import Message, to_milliseconds
from imkit.portal import Worker, to_its_end
from imkit.roaming import Progress, Query
from imkit.session import Session
from imkit.thread_lists import LAST_MESSAGES_BATCH, last_messages
from imkit.threads import Group, Thread

R = TypeVar("R")
_ASKED_AT_ONCE = 8
_FILES_A_DAY = 8  # more are merged at the end of a sync
_SHOWN = 5

Wanted = Session | Thread | Group | Iterable[Thread | Group]


@dataclass(slots=True)
class SyncReport:
    """What a sync has found and done.

    Attributes:
        new, changed: ids of threads and groups that were not in the archive; that had new messages.
        unchanged: how many had none.
        vanished, forbidden: what can be read no more, and why; what was read of it is kept.
        rows_added, rows_changed, rows_gone: messages that are new; that read differently now; that are gone from the
            service and marked so.
        attachments_kept: how many files were fetched.
        attachments_failed: message id → why its file could not be had.
        requests: how many it took.
        seconds: how long.
        reasons: why not everything has been read; empty where it has.
    """

    place: str
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    vanished: dict[str, str] = field(default_factory=dict)
    forbidden: dict[str, str] = field(default_factory=dict)
    rows_added: int = 0
    rows_changed: int = 0
    rows_gone: int = 0
    attachments_kept: int = 0
    attachments_failed: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def _lines(self) -> list[str]:
        rows = f"{self.rows_added:,} messages added, {self.rows_changed:,} changed, {self.rows_gone:,} gone"
        found = [
            f"synced {self.place}: {rows}",
            f"conversations: {len(self.new):,} new, {len(self.changed):,} changed, {self.unchanged:,} unchanged; "
            f"{self.requests:,} requests in {self.seconds:,.1f} s",
        ]
        if self.attachments_kept or self.attachments_failed:
            found.append(
                f"attachments: {self.attachments_kept:,} fetched, {len(self.attachments_failed):,} not to be had"
            )
        for what, which in (("vanished", self.vanished), ("forbidden", self.forbidden)):
            some = [f"{target_id} ({reason})" for target_id, reason in list(which.items())[:_SHOWN]]
            more = f" and {len(which) - _SHOWN:,} more" if len(which) > _SHOWN else ""
            found += [f"{what}, and kept: {'; '.join(some)}{more}"] if some else []
        return found + [f"not complete: {reason}" for reason in self.reasons]

    def __repr__(self) -> str:
        return "\n".join(for_terminal(line) for line in self._lines())

    def _repr_html_(self) -> str:
        first, *others = map(for_html, self._lines())
        return f"<b>{first}</b>" + "".join(f"<br><small>{line}</small>" for line in others)

    def count(self, done: Folded) -> None:
        """Add what a piece has brought."""
        self.rows_added += done.added
        self.rows_changed += done.changed
        self.rows_gone += done.gone


# ------------------------------------------------------------ what is wanted


@dataclass(slots=True)
class Plan:
    """What a sync has to do.

    Attributes:
        reading: what is to be read.
        settled: what need not be read: unchanged, vanished or forbidden.
    """

    reading: dict[str, Planned] = field(default_factory=dict)
    settled: dict[str, Conversation] = field(default_factory=dict)


class Planner:
    """Finds out what is to be read, with as few requests as it takes.

    Args:
        account: who asks.
        state: the archive as it is.
        since: nothing older is wanted; ms since the epoch, or `None`.
        lookback: what is younger is read again; ms.
        now: ms since the epoch.
        report: told what is found.
    """

    def __init__(
        self, account: Account, state: State, since: int | None, lookback: int, now: int, report: SyncReport
    ) -> None:
        self._account = account
        self._state = state
        self._since = since
        self._recent = now - lookback if lookback else None
        self._now = now
        self._report = report
        self._rooms: dict[str, Conversation] = {}
        self._plan = Plan()

    async def plan(self, of: Wanted) -> Plan:
        """Return what is to be done for what was asked for."""
        for room in await self._resolved(of):
            if isinstance(room, Group):
                await self._add_group(room)
            else:
                self._add(room.id, "thread", room.name, room.group_id)
        threads = [room.id for room in self._rooms.values() if room.kind == "thread"]
        newest = await self._newest(threads)
        for conversation in self._rooms.values():
            if conversation.id not in self._plan.settled:
                self._decide(conversation, newest.get(conversation.id))
        return self._plan

    async def _resolved(self, of: Wanted) -> list[Thread | Group]:
        if isinstance(of, Session):
            return list(await collected(of.groups()))
        rooms: list[Any] = [of] if isinstance(of, Thread | Group) else await collected(of)
        for room in rooms:
            if not isinstance(room, Thread | Group):
                hint = "Give a session, groups, threads, or a list of them such as group.threads()."
                raise InvalidMessage(f"a {type(room).__name__} cannot be synced", hint=hint)
            if room._account.app != self._account.app:
                raise InvalidMessage(f"{room!r} is of another app than the session")
        return rooms

    def _add(self, target_id: str, kind: str, name: str | None, group_id: str | None) -> None:
        known = self._state.conversations.get(target_id) or Conversation(target_id, kind="thread")
        self._rooms[target_id] = replace(
            known,
            kind="group" if kind == "group" else "thread",
            name=name or known.name,
            group_id=group_id or known.group_id,
        )

    async def _add_group(self, group: Group) -> None:
        """Add a group and its threads; those that its list does not name any more are asked after."""
        self._add(group.id, "group", group.name, None)
        known = [
            each for each in self._state.conversations.values() if each.group_id == group.id and each.kind == "thread"
        ]
        account = self._account
        try:
            threads = await collected(Group(account, group.id).threads())
        except (NotFound, Forbidden) as error:
            for each in (self._rooms[group.id], *known):
                self._lose(each, error)
            return
        for thread in threads:
            self._add(thread.id, "thread", thread.name, group.id)
        for each in known:
            if each.id in self._rooms or each.status == "vanished":
                continue
            try:
                await Thread(account, each.id).refresh.aio()
                self._add(each.id, "thread", None, None)
            except (NotFound, Forbidden) as error:
                self._lose(each, error)

    def _lose(self, known: Conversation, error: IMError) -> None:
        gone = lost(known, error, self._now)
        self._rooms[known.id] = self._plan.settled[known.id] = gone
        (self._report.forbidden if gone.status == "forbidden" else self._report.vanished)[known.id] = str(error)

    async def _newest(self, thread_ids: Sequence[str]) -> dict[str, Message | None]:
        """Ask for the newest message of many threads; one that cannot be read does not spoil its batch."""
        ids = [thread_id for thread_id in thread_ids if thread_id not in self._plan.settled]
        ids.sort(key=lambda thread_id: self._rooms[thread_id].status != "ok")  # one that is lost spoils its batch
        batches = [ids[start : start + LAST_MESSAGES_BATCH] for start in range(0, len(ids), LAST_MESSAGES_BATCH)]
        lanes = asyncio.Semaphore(_ASKED_AT_ONCE)
        found: dict[str, Message | None] = {}

        async def ask(batch: Sequence[str]) -> None:
            try:
                async with lanes:
                    found.update(await last_messages(self._account, batch))
            except (NotFound, Forbidden) as error:
                if len(batch) == 1:
                    self._lose(self._rooms[batch[0]], error)
                    return
                middle = len(batch) // 2
                await ask(batch[:middle])
                await ask(batch[middle:])

        async with asyncio.TaskGroup() as group:
            for batch in batches:
                group.create_task(ask(batch))
        return found

    def _decide(self, room: Conversation, message: Message | None) -> None:
        """Say what of a conversation is to be read."""
        newest_id, newest_at = ("", 0) if message is None else (message.id, to_milliseconds(message.time))
        holes = catalogue.gaps(room.covered, self._since or 0)
        tail, holes = holes[-1][0], holes[:-1]
        is_known = bool(room.covered) and room.status == "ok"
        same = room.kind == "thread" and is_known and newest_id == room.newest_id
        active = self._recent is not None and max(newest_at, room.newest_at) >= self._recent
        if same and not holes and not active:
            self._report.unchanged += 1
            self._plan.settled[room.id] = replace(room, synced_at=self._now)
            return
        if same:
            self._report.unchanged += 1
        elif not room.synced_at:
            self._report.new.append(room.id)
        elif room.kind == "thread":
            self._report.changed.append(room.id)
        start = tail
        if is_known and newest_id and start is not None:
            start = min(start, newest_at)  # earlier than what is known: newer ones have been recalled
        if is_known and active and start is not None and self._recent is not None:
            start = max(min(start, self._recent), self._since or 0)
        bounds = [(low, min(high or 0, start)) for low, high in holes if start is not None and (low or 0) < start]
        self._plan.reading[room.id] = Planned(room, (*bounds, (start, None)), newest_id, newest_at)


# -------------------------------------------------------------------- reading


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
        status = ledger.state.conversations[target_id].status
        (report.forbidden if status == "forbidden" else report.vanished)[target_id] = reason
        for which in (report.new, report.changed):
            if target_id in which:
                which.remove(target_id)


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
            await in_thread(care.compact, storage, ledger, _FILES_A_DAY)
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
    fetch = Fetch(account, Query(), intake.take, workers=workers, progress=progress, failed=intake.fail)
    try:
        await fetch.run({target_id: plan.bounds for target_id, plan in plans.items()})
    finally:
        await intake.flush()
    report.reasons += unexplained(fetch, intake)
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
