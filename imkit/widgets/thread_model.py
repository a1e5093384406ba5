"""`ConversationTree`: a user's groups and their threads, kept up to date, for the picker and the history form.

All calls must come from imkit's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from imkit.client.roaming import Query
from imkit.client.thread_queries import readable_last_messages
from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.events import DeviceChanged, Event, GroupChanged, MessageReceived, ThreadChanged
from imkit.history.message_pages import PageWalk
from imkit.messages import Message
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.times import to_milliseconds
from imkit.widgets.labels import Labels
from imkit.wire.untrusted_json import is_id

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
        listing: the number of the listing that gave `threads`; later listings have larger numbers.
    """

    group: Group
    member_count: int | None = None
    threads: dict[str, ThreadEntry] = field(default_factory=dict)
    listing: int = 0


class ConversationTree:
    """A user's groups, each with its threads.

    A conversation's key is ``"group:ID"`` or ``"thread:ID"``.

    Args:
        session: the session of the user.
        labels: for the texts in rows.

    Attributes:
        groups: by group id.
        is_loading: whether a `load` is still running; `True` at first.
    """

    def __init__(self, session: Session, labels: Labels) -> None:
        self.session = session
        self._labels = labels
        self.groups: dict[str, GroupEntry] = {}
        self.is_loading = True
        self._groups_changed = asyncio.Event()
        self._listeners: list[asyncio.Event] = []
        self._loads = 0  # that are running
        self._listings = 0  # that have begun
        self._groups_listing = 0  # the number of the listing that gave `groups`
        self._notes: list[list[Callable[[], object]]] = []  # see `_changes_last`

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

    async def load_on_change(self, show_error: Callable[[Exception], object], pause: float) -> None:
        """Call `load` after changes of groups, at most once in `pause` seconds, until this coroutine is cancelled.

        A member can make a thousand notices, by joining and leaving. Each would load all groups again.
        """
        while True:
            await self._groups_changed.wait()
            self._groups_changed.clear()
            try:
                await self.load()
            except Exception as error:  # the changes after it count all the same
                show_error(error)
            await asyncio.sleep(pause)

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
        """Load all groups and their threads from the service.

        The threads of all groups come first and the counts last. A group that cannot be loaded keeps what is known of
        it, and does not hold up the other groups.

        Raises:
            IMError: the groups cannot be listed; or, after all others have been loaded, some group could not be.
        """
        self._loads += 1
        self.is_loading = True
        try:
            await self._load_groups()
            loaded, errors = await self._for_each(list(self.groups.values()), self._load_newest, _PARALLEL_REQUESTS)
            _, more_errors = await self._for_each(loaded, self._load_counts, 1)
            if errors or more_errors:
                raise [*errors, *more_errors][0]
        finally:
            self._loads -= 1
            self.is_loading = self._loads > 0
            self.notify_changed()

    async def load_threads(self, entry: GroupEntry) -> None:
        """Load a group's threads: which exist, which are joined, their newest messages and their counts."""
        await self._load_newest(entry)
        await self._load_counts(entry)

    async def _for_each(
        self, entries: Sequence[GroupEntry], load: Callable[[GroupEntry], Coroutine[Any, Any, None]], at_once: int
    ) -> tuple[list[GroupEntry], list[Exception]]:
        """Call `load` for each group; return the groups for which it succeeded, and the errors of the others."""
        slots = asyncio.Semaphore(at_once)
        loaded: list[GroupEntry] = []
        errors: list[Exception] = []

        async def load_one(entry: GroupEntry) -> None:
            async with slots:
                try:
                    await load(entry)
                except Exception as error:
                    errors.append(error)
                else:
                    loaded.append(entry)

        async with asyncio.TaskGroup() as tasks:
            for entry in entries:
                tasks.create_task(load_one(entry))
        return loaded, errors

    async def _load_groups(self) -> None:
        self._listings += 1
        number = self._listings
        joined = {group.id: group async for group in self.session.groups()}
        if number > self._groups_listing:  # else a later listing has been faster
            self._groups_listing = number
            self.groups = {group_id: self.groups.get(group_id, GroupEntry(group)) for group_id, group in joined.items()}
            self.notify_changed()

    async def _load_newest(self, entry: GroupEntry) -> None:
        """Load which threads of a group exist, which are joined, and their newest messages."""
        self._listings += 1
        number = self._listings
        with self._changes_last():
            threads = await self._list_threads(entry)
            if number > entry.listing:  # else a later listing has been faster
                entry.listing, entry.threads = number, threads
        self.notify_changed()
        with self._changes_last():
            newest, _ = await readable_last_messages(self.session.account, list(entry.threads))
            for thread_id in newest.keys() & entry.threads.keys():
                entry.threads[thread_id].newest = newest[thread_id]
        self.notify_changed()

    async def _load_counts(self, entry: GroupEntry) -> None:
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

    def take_event(self, event: Event) -> None:
        """Update the tree from an event; after a change of a group `load_on_change` does."""
        if isinstance(event, GroupChanged):
            self._groups_changed.set()
        else:
            self._change(partial(self._follow, event))

    def _change(self, change: Callable[[], object]) -> None:
        """Make a change that did not come with an answer to a request, and note it for the requests under way."""
        change()
        for note in self._notes:
            note.append(change)
        self.notify_changed()

    @contextlib.contextmanager
    def _changes_last(self) -> Iterator[None]:
        """After the block make the changes again that came while it ran: the answer in it may be older than they."""
        note: list[Callable[[], object]] = []
        self._notes.append(note)
        try:
            yield
        finally:
            self._notes = [other for other in self._notes if other is not note]
        for change in note:
            change()

    def _follow(self, event: Event) -> None:
        match event:
            case MessageReceived(message):
                self._set_newest(message.to, message)
            case ThreadChanged(operation="create"):
                self._add(event.thread_id, event.group_id, is_joined=event.operator == self.session.user)
            case ThreadChanged(operation="destroy", thread_id=thread_id) | DeviceChanged("destroy", thread_id):
                for group in self.groups.values():
                    group.threads.pop(thread_id, None)
            case ThreadChanged(operation="member_removed", thread_id=thread_id, user=self.session.user):
                self._set_joined(thread_id, False)
            case ThreadChanged():
                self._set_newest(event.thread_id, event.last_message)
            case DeviceChanged("create", thread_id, _, group_id) | DeviceChanged("join", thread_id, _, group_id):
                self._add(thread_id, group_id, is_joined=True)
            case DeviceChanged("leave", thread_id):
                self._set_joined(thread_id, False)

    def _add(self, thread_id: str, group_id: str, is_joined: bool) -> None:
        group = self.groups.get(group_id)
        if group is not None and is_id(thread_id) and len(group.threads) < MAX_THREADS:
            entry = group.threads.setdefault(thread_id, ThreadEntry(self.session.thread(thread_id)))
            entry.is_joined = entry.is_joined or is_joined

    def _set_newest(self, thread_id: str, message: Message | None) -> None:
        entry = self.thread(thread_id)
        if entry is not None and message is not None:
            entry.newest = message

    def set_joined(self, thread_id: str, is_joined: bool) -> None:
        """Record whether the user is a member of a thread."""
        self._change(partial(self._set_joined, thread_id, is_joined))

    def _set_joined(self, thread_id: str, is_joined: bool) -> None:
        entry = self.thread(thread_id)
        if entry is not None:
            entry.is_joined = is_joined

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
            "owner": for_terminal(thread.owner or "", 64),
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
