"""What a sync is to read: what has changed since the last one, found out with few requests.

What nobody has written to costs one request for each 20 threads. What has changed is read from where the last sync
ended, and again over the recent past, so that edits and recalls show.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imkit.archive.batching import Planned, lost
from imkit.archive.catalogue import Conversation, Room, State
from imkit.archive.sync_report import SyncReport
from imkit.client.account import Account
from imkit.client.paging import collected
from imkit.client.thread_queries import LAST_MESSAGES_BATCH, last_messages
from imkit.errors import Forbidden, IMError, InvalidMessage, NotFound
from imkit.history.time_ranges import missing
from imkit.messages import Message
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.times import to_milliseconds

_ASKED_AT_ONCE = 8

Wanted = Session | Thread | Group | Iterable[Thread | Group]


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
            if room.account.app != self._account.app:
                raise InvalidMessage(f"{room!r} is of another app than the session")
        return rooms

    def _add(self, target_id: str, kind: Room, name: str | None, group_id: str | None) -> None:
        known = self._state.conversations.get(target_id) or Conversation(target_id)
        self._rooms[target_id] = replace(known, kind=kind, name=name or known.name, group_id=group_id or known.group_id)

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
        self._report.lose(gone, str(error))

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
        holes = missing(room.covered, self._since)
        tail, holes = holes[-1][0], holes[:-1]
        is_known = bool(room.covered) and room.status == "ok"
        same = room.kind == "thread" and is_known and newest_id == room.newest_id
        active = self._recent is not None and max(newest_at, room.newest_at) >= self._recent
        if same:
            self._report.unchanged += 1
            if not holes and not active:
                self._plan.settled[room.id] = replace(room, synced_at=self._now)
                return
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
