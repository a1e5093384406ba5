"""The plan of a sync: which time ranges of which conversations must be read, found with few requests.

Threads without new messages cost one request for each 20 of them. A thread with new messages is read from where the
last sync ended. If it was active in the recent past, this is read again, so that edits and recalls show.

Source: docs/protocol.md#thread-calls, docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imkit.archive.batching import ReadPlan, unreadable_state
from imkit.archive.catalogue import ConversationKind, ConversationState, State
from imkit.archive.live_log import MissedEvents
from imkit.archive.sync_report import SyncReport
from imkit.client.account import Account
from imkit.client.paging import collected
from imkit.client.thread_queries import readable_last_messages
from imkit.errors import Forbidden, IMError, InvalidMessage, NotFound, ProtocolError
from imkit.history.time_ranges import Bounds, missing
from imkit.messages import Message
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.times import to_milliseconds

SyncTargets = Session | Thread | Group | Iterable[Thread | Group]


@dataclass(slots=True)
class SyncPlan:
    """The plan of a sync.

    Attributes:
        to_read: conversation id → what must be read of it.
        skipped: conversation id → its new state, for those that need not or cannot be read: unchanged, vanished or
            forbidden.
    """

    to_read: dict[str, ReadPlan] = field(default_factory=dict)
    skipped: dict[str, ConversationState] = field(default_factory=dict)


class Planner:
    """Makes the plan of a sync.

    Args:
        account: the login that reads.
        state: the archive before the sync.
        since: the start of the time range that the user asked for, in ms since the epoch, or `None`.
        lookback: how much of the recent past is read again, in ms.
        now: in ms since the epoch.
        missed: what the live log has missed.
        report: gets what the planner finds.
    """

    def __init__(
        self,
        account: Account,
        state: State,
        since: int | None,
        lookback: int,
        now: int,
        missed: Sequence[MissedEvents],
        report: SyncReport,
    ) -> None:
        self._account = account
        self._state = state
        self._since = since
        self._lookback = lookback
        self._missed = missed
        self._now = now
        self._report = report
        self._conversations: dict[str, ConversationState] = {}
        self._plan = SyncPlan()

    async def plan(self, of: SyncTargets) -> SyncPlan:
        """Return the plan for what the user asked for."""
        for target in await self._targets(of):
            if isinstance(target, Group):
                await self._add_group(target)
            else:
                self._add(target.id, "thread", target.name, target.group_id)
        newest = await self._newest_messages()
        for conversation in self._conversations.values():
            if conversation.id not in self._plan.skipped:
                self._plan_conversation(conversation, newest.get(conversation.id))
        return self._plan

    # ------------------------------------------------------- which conversations

    async def _targets(self, of: SyncTargets) -> list[Thread | Group]:
        if isinstance(of, Session):
            return list(await collected(of.groups(), "session.groups()"))
        targets: list[Any] = [of] if isinstance(of, Thread | Group | str) else await collected(of, "group.threads()")
        for target in targets:
            if not isinstance(target, Thread | Group):
                hint = "Give groups or threads, such as session.thread(id) or group.threads(), or the session for all."
                raise InvalidMessage(f"a {type(target).__name__} cannot be synced", hint=hint)
            if target.account.app != self._account.app:
                raise InvalidMessage(f"{target!r} belongs to another app than the session")
        return targets

    def _add(self, target_id: str, kind: ConversationKind, name: str | None, group_id: str | None) -> None:
        known = self._state.conversations.get(target_id) or ConversationState(target_id)
        self._conversations[target_id] = replace(
            known, kind=kind, name=name or known.name, group_id=group_id or known.group_id
        )

    async def _add_group(self, group: Group) -> None:
        """Add a group and its threads, also those that the archive has and the service no longer lists."""
        self._add(group.id, "group", group.name, None)
        known_threads = [
            each for each in self._state.conversations.values() if each.group_id == group.id and each.kind == "thread"
        ]
        try:
            listed = await collected(Group(self._account, group.id).threads(), "group.threads()")
        except (NotFound, Forbidden) as error:
            for each in (self._conversations[group.id], *known_threads):
                self._skip_unreadable(each, error)
            return
        except ProtocolError as error:  # the answer cannot be read: this group's known threads are still read
            self._report.reasons.append(f"{group.id}: {error}")
            listed = []
        for thread in listed:
            self._add(thread.id, "thread", thread.name, group.id)
        for each in known_threads:
            if each.id not in self._conversations and each.status != "vanished":
                await self._add_unlisted_thread(each)

    async def _add_unlisted_thread(self, known: ConversationState) -> None:
        """Ask the service what became of a thread that it does not list any more."""
        try:
            await Thread(self._account, known.id).refresh.aio()
            self._add(known.id, "thread", None, None)
        except (NotFound, Forbidden) as error:
            self._skip_unreadable(known, error)

    def _skip_unreadable(self, known: ConversationState, error: IMError) -> None:
        unreadable = unreadable_state(known, error, self._now)
        self._conversations[known.id] = self._plan.skipped[known.id] = unreadable
        self._report.add_unreadable(unreadable, str(error))

    # ---------------------------------------------------------- newest messages

    async def _newest_messages(self) -> dict[str, Message | None]:
        """Return the newest message of each thread; threads that cannot be read are skipped."""
        ids = [
            each.id
            for each in self._conversations.values()
            if each.kind == "thread" and each.id not in self._plan.skipped
        ]
        # Threads that could not be read last time come last, together: fewer requests are refused.
        ids.sort(key=lambda thread_id: self._conversations[thread_id].status != "ok")
        newest, refusals = await readable_last_messages(self._account, ids)
        for thread_id, error in refusals.items():
            self._skip_unreadable(self._conversations[thread_id], error)
        return newest

    # -------------------------------------------------------- which time ranges

    def _plan_conversation(self, conversation: ConversationState, newest: Message | None) -> None:
        """Put a conversation into the plan: to read, with its time ranges, or skipped because nothing is new."""
        newest_id, newest_at = ("", 0) if newest is None else (newest.id, to_milliseconds(newest.time))
        *gaps, tail = missing(conversation.covered, self._since)
        is_known = bool(conversation.covered) and conversation.status == "ok"
        is_unchanged = conversation.kind == "thread" and is_known and newest_id == conversation.newest_id
        recent = self._recent(conversation)
        is_active = recent is not None and max(newest_at, conversation.newest_at) >= recent
        self._report_change(conversation, is_unchanged)
        if is_unchanged and not gaps and not is_active:
            self._plan.skipped[conversation.id] = replace(conversation, synced_at=self._now)
            return
        start = tail[0]
        if is_known and start is not None:
            start = self._earlier_start(start, newest_at if newest_id else None, recent if is_active else None)
        bounds = (*_before(gaps, start), (start, None))
        self._plan.to_read[conversation.id] = ReadPlan(conversation, bounds, newest_id, newest_at)

    def _report_change(self, conversation: ConversationState, is_unchanged: bool) -> None:
        if is_unchanged:
            self._report.unchanged += 1
        elif not conversation.synced_at:
            self._report.new.append(conversation.id)
        elif conversation.kind == "thread":
            self._report.changed.append(conversation.id)

    def _recent(self, conversation: ConversationState) -> int | None:
        """Return the time from which on a conversation is read again if it was active since; `None`: it is not.

        If the live log has missed events since the last sync, this one looks back from there: it finds what a sync at
        that time would have found.
        """
        missed = [each for each in self._missed if self._now >= each.at >= conversation.synced_at > 0]
        known = self._report.missed_live
        known += [text for text in map(str, missed) if text not in known]
        begins = [self._now, *(each.since for each in missed)]
        return min(begins) - self._lookback if self._lookback or missed else None

    def _earlier_start(self, start: int, newest_at: int | None, recent: int | None) -> int:
        """Return where to begin reading: at `start`, where the last sync ended, or earlier.

        Earlier, if the newest message is older than that: the messages after it have been recalled. Earlier too, if the
        conversation was active in the recent past, which is read again.

        Args:
            start: in ms since the epoch.
            newest_at: the time of the newest message, if the service gave it.
            recent: where the recent past begins, if the conversation was active in it.
        """
        if newest_at is not None:
            start = min(start, newest_at)
        if recent is not None:
            start = max(min(start, recent), self._since or 0)
        return start


def _before(gaps: Sequence[Bounds], start: int | None) -> list[Bounds]:
    """Return the parts of some gaps that lie before `start`."""
    if start is None:
        return []
    return [(low, min(high or 0, start)) for low, high in gaps if (low or 0) < start]
