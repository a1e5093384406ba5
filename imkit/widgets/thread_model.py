"""`ConversationTree`: a user's groups and their threads, kept up to date, for the picker and the history form.

All calls must come from imkit's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from imkit.client.roaming import Query
from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.events import DeviceChanged, Event, GroupChanged, MessageReceived, ThreadChanged
from imkit.history.message_pages import PageWalk
from imkit.messages import Message
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.times import to_milliseconds
from imkit.widgets.labels import Labels

MAX_THREADS = 500  # of one group; further threads are not listed
_MAX_MEMBER_COUNTS = 50  # threads of a group whose member count is asked for, one request each
_PARALLEL_REQUESTS = 4
_PAGES_FOR_COUNTS = 6  # pages of the group's history that are searched for the threads' message counts


@dataclass(slots=True)
class ThreadEntry:
    """A thread in the tree.

    Attributes:
        thread: the thread.
        is_joined: whether the user is a member.
        newest: the newest message, if known.
    """

    thread: Thread
    is_joined: bool = False
    newest: Message | None = None

    @property
    def message_count(self) -> int | None:
        """The number of messages as the service counts them; `None` if not known."""
        return self.thread.facts.message_count


@dataclass(slots=True)
class GroupEntry:
    """A group in the tree.

    Attributes:
        group: the group.
        member_count: `None` if not known.
        threads: by thread id.
    """

    group: Group
    member_count: int | None = None
    threads: dict[str, ThreadEntry] = field(default_factory=dict)


class ConversationTree:
    """A user's groups, each with its threads.

    A conversation's key is ``"group:ID"`` or ``"thread:ID"``.

    Args:
        session: the session of the user.
        labels: for the texts in rows.

    Attributes:
        groups: by group id.
        is_loading: whether `load` is still running; `True` at first.
    """

    def __init__(self, session: Session, labels: Labels) -> None:
        self.session = session
        self._labels = labels
        self.groups: dict[str, GroupEntry] = {}
        self.is_loading = True
        self._listeners: list[asyncio.Event] = []

    async def call_on_change(self, show: Callable[[], object], pause: float) -> None:
        """Call `show` now and after changes, at most once in `pause` seconds, until this coroutine is cancelled."""
        changed = asyncio.Event()
        self._listeners.append(changed)
        try:
            while True:
                show()
                await asyncio.sleep(pause)
                await changed.wait()
                changed.clear()
        finally:
            self._listeners.remove(changed)

    def notify_changed(self) -> None:
        """Tell all listeners that something has changed."""
        for listener in self._listeners:
            listener.set()

    def find(self, key: object) -> Thread | Group | None:
        """Return the thread or group with a key."""
        kind, _, conversation_id = str(key).partition(":")
        if kind == "group" and conversation_id in self.groups:
            return self.groups[conversation_id].group
        entry = self.thread(conversation_id)
        return entry.thread if kind == "thread" and entry is not None else None

    def thread(self, thread_id: str) -> ThreadEntry | None:
        """Return the entry of a thread."""
        for group in self.groups.values():
            if thread_id in group.threads:
                return group.threads[thread_id]
        return None

    # ------------------------------------------------------------------ loading

    async def load(self) -> None:
        """Load all groups and their threads from the service."""
        self.is_loading = True
        try:
            joined = {group.id: group async for group in self.session.groups()}
            self.groups = {group_id: self.groups.get(group_id, GroupEntry(group)) for group_id, group in joined.items()}
            self.notify_changed()
            for entry in list(self.groups.values()):
                await self.load_threads(entry)
        finally:
            self.is_loading = False
            self.notify_changed()

    async def load_threads(self, entry: GroupEntry) -> None:
        """Load a group's threads: which exist, which are joined, their newest messages and their counts."""
        entry.threads = threads = await self._list_threads(entry)
        self.notify_changed()
        for thread_id, message in (await self.session.last_messages.aio(list(threads))).items():
            if thread_id in threads:  # else it was destroyed meanwhile
                threads[thread_id].newest = message
        self.notify_changed()
        try:
            entry.member_count = len([member async for member in entry.group.members()])
        except IMError:
            entry.member_count = None  # the group does not show its members to this user
        await self._load_message_counts(entry)
        await self._load_member_counts(entry)

    async def _list_threads(self, entry: GroupEntry) -> dict[str, ThreadEntry]:
        joined = {thread.id async for thread in self.session.threads(entry.group)}
        threads: dict[str, ThreadEntry] = {}
        async for thread in entry.group.threads():
            known = entry.threads.get(thread.id)
            threads[thread.id] = ThreadEntry(thread, thread.id in joined, known.newest if known else None)
            if len(threads) >= MAX_THREADS:
                break
        return threads

    async def _load_message_counts(self, entry: GroupEntry) -> None:
        """Read the newest pages of the group's history and take the counts from the parent messages in them.

        No other call gives a thread's message count. Source: docs/protocol.md#thread-overview.
        """
        missing = set(entry.threads)  # also threads with a count: it may have been taken from an old notice
        walk = PageWalk(self.session.account, entry.group.id, Query(order="newest"))
        pages = 0
        async for messages in walk.pages():
            for message in messages:
                overview = message.overview
                if overview is not None and overview.thread_id in missing:
                    missing.discard(overview.thread_id)
                    self.session.account.known.threads[overview.thread_id].message_count = overview.message_count
            pages += 1
            if not missing or pages >= _PAGES_FOR_COUNTS:
                break
        self.notify_changed()

    async def _load_member_counts(self, entry: GroupEntry) -> None:
        """Refresh the most active threads whose member count is not known."""
        most_active = sorted(entry.threads.values(), key=_activity, reverse=True)[:_MAX_MEMBER_COUNTS]
        requests = asyncio.Semaphore(_PARALLEL_REQUESTS)

        async def refresh(thread: Thread) -> None:
            async with requests:
                try:
                    await thread.refresh.aio()
                except IMError:
                    return  # destroyed meanwhile, or this user has no right to see it
                self.notify_changed()

        async with asyncio.TaskGroup() as group:
            for thread_entry in most_active:
                if thread_entry.thread.member_count is None:
                    group.create_task(refresh(thread_entry.thread))

    # ------------------------------------------------------------------ events

    async def take_event(self, event: Event) -> None:
        """Update the tree from an event."""
        match event:
            case MessageReceived(message):
                self._set_newest(message.to, message)
            case ThreadChanged(operation="create"):
                self._add(event.thread_id, event.group_id, is_joined=event.operator == self.session.user)
            case ThreadChanged(operation="destroy", thread_id=thread_id) | DeviceChanged("destroy", thread_id):
                for group in self.groups.values():
                    group.threads.pop(thread_id, None)
            case ThreadChanged(operation="member_removed", thread_id=thread_id, user=self.session.user):
                self.set_joined(thread_id, False)
            case ThreadChanged():
                self._set_newest(event.thread_id, event.last_message)
            case DeviceChanged("create", thread_id, _, group_id) | DeviceChanged("join", thread_id, _, group_id):
                self._add(thread_id, group_id, is_joined=True)
            case DeviceChanged("leave", thread_id):
                self.set_joined(thread_id, False)
            case GroupChanged():
                await self.load()
        self.notify_changed()

    def _add(self, thread_id: str, group_id: str, is_joined: bool) -> None:
        group = self.groups.get(group_id)
        if group is not None:
            entry = group.threads.setdefault(thread_id, ThreadEntry(self.session.thread(thread_id)))
            entry.is_joined = entry.is_joined or is_joined

    def _set_newest(self, thread_id: str, message: Message | None) -> None:
        entry = self.thread(thread_id)
        if entry is not None and message is not None:
            entry.newest = message

    def set_joined(self, thread_id: str, is_joined: bool) -> None:
        """Record whether the user is a member of a thread."""
        entry = self.thread(thread_id)
        if entry is not None:
            entry.is_joined = is_joined
            self.notify_changed()

    # ------------------------------------------------------------------ rows

    def as_rows(self) -> list[dict[str, Any]]:
        """Return the rows for the page: each group, newest first, followed by its threads, most active first.

        Groups are sorted by age and not by activity, so that no group moves while the user is about to click on it.
        """
        rows = []
        for entry in sorted(self.groups.values(), key=_newest_first):
            rows.append(self._group_row(entry))
            threads = sorted(entry.threads.values(), key=_activity, reverse=True)
            rows += [self._thread_row(thread, entry) for thread in threads]
        return rows

    def _group_row(self, entry: GroupEntry) -> dict[str, Any]:
        counts = [("threads", len(entry.threads)), ("members", entry.member_count)]
        return {
            "key": key_of(entry.group),
            "kind": "group",
            "id": entry.group.id,
            "name": for_terminal(entry.group.name or entry.group.id, 64),
            "facts": self._count_labels(counts),
        }

    def _thread_row(self, entry: ThreadEntry, group: GroupEntry) -> dict[str, Any]:
        thread = entry.thread
        counts = [("members", thread.member_count), ("messages", entry.message_count)]
        joined = [self._labels("pick_joined")] if entry.is_joined else []
        newest = entry.newest
        preview = ""
        if newest is not None:
            preview = f"{newest.sender}: {newest.text or self._labels(f'type_{newest.type}')}"
        return {
            "key": key_of(thread),
            "kind": "thread",
            "id": thread.id,
            "group": key_of(group.group),
            "name": for_terminal(thread.name or thread.id, 64),
            "owner": thread.owner,
            "facts": [*joined, *self._count_labels(counts)],
            "newest": for_terminal(" ".join(preview[:500].split()), 120),
            "at": to_milliseconds(newest.time) if newest is not None else None,
        }

    def _count_labels(self, counts: list[tuple[str, int | None]]) -> list[str]:
        return [self._labels(f"pick_count_{what}", n=f"{n:,}") for what, n in counts if n is not None]


def _newest_first(entry: GroupEntry) -> tuple[int, str]:
    """Return a sort key; group ids grow with time."""
    return -int(entry.group.id) if entry.group.id.isdecimal() else 0, entry.group.id


def _activity(entry: ThreadEntry) -> tuple[int, int]:
    """Return a sort key: the time of the newest message in ms, then the thread id."""
    return (to_milliseconds(entry.newest.time) if entry.newest is not None else 0, int(entry.thread.id))


def key_of(conversation: Thread | Group) -> str:
    """Return the key of a conversation in the list of the page, such as ``"thread:42"``."""
    return f"{'thread' if isinstance(conversation, Thread) else 'group'}:{conversation.id}"
