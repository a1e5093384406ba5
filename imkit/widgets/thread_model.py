"""What is known of a user's groups and threads, kept up to date: the model behind the picker and the history form."""

from __future__ import annotations

import asyncio
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

MOST_THREADS = 500  # of a group; the rest is found by its id
_DETAILS = 50  # threads whose members are asked for, one request each
_PAGES_FOR_COUNTS = 6  # of the group's history, whose parent messages tell how many messages a thread has


@dataclass(slots=True)
class ThreadEntry:
    """What is known of a thread."""

    thread: Thread
    joined: bool = False
    last: Message | None = None

    @property
    def messages(self) -> int | None:
        """How many messages the service counts in it."""
        return self.thread.facts.message_count


@dataclass(slots=True)
class GroupEntry:
    """What is known of a group."""

    group: Group
    members: int | None = None
    threads: dict[str, ThreadEntry] = field(default_factory=dict)


class Rooms:
    """A user's groups and their threads.

    Args:
        session: whose.
        say: labels.
    """

    def __init__(self, session: Session, say: Labels) -> None:
        self.session = session
        self._say = say
        self.groups: dict[str, GroupEntry] = {}
        self.loading = True
        self._watchers: list[asyncio.Event] = []

    def watch(self) -> asyncio.Event:
        """Return an event that is set with each change, until it is given to `unwatch`."""
        self._watchers.append(asyncio.Event())
        return self._watchers[-1]

    def unwatch(self, watcher: asyncio.Event) -> None:
        """Set an event no more."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def changed(self) -> None:
        """Tell who watches that something is new."""
        for watcher in self._watchers:
            watcher.set()

    def find(self, key: object) -> Thread | Group | None:
        """Return the thread or group that goes by a key."""
        kind, _, room_id = str(key).partition(":")
        if kind == "group" and room_id in self.groups:
            return self.groups[room_id].group
        entry = self.thread(room_id)
        return entry.thread if kind == "thread" and entry is not None else None

    def thread(self, thread_id: str) -> ThreadEntry | None:
        """Return what is known of a thread."""
        for group in self.groups.values():
            if thread_id in group.threads:
                return group.threads[thread_id]
        return None

    # ------------------------------------------------------------------ loading

    async def load(self) -> None:
        """Ask for everything anew."""
        self.loading = True
        try:
            found = {group.id: group async for group in self.session.groups()}
            self.groups = {group_id: self.groups.get(group_id, GroupEntry(group)) for group_id, group in found.items()}
            self.changed()
            for entry in list(self.groups.values()):
                await self.load_threads(entry)
        finally:
            self.loading = False
            self.changed()

    async def load_threads(self, entry: GroupEntry) -> None:
        """Ask for a group's threads: which there are, which are joined, their newest messages, their members."""
        joined = {thread.id async for thread in self.session.threads(entry.group)}
        found: dict[str, ThreadEntry] = {}
        async for thread in entry.group.threads():
            before = entry.threads.get(thread.id)
            found[thread.id] = ThreadEntry(thread, thread.id in joined, before.last if before else None)
            if len(found) >= MOST_THREADS:
                break
        entry.threads = found
        self.changed()
        for thread_id, message in (await self.session.last_messages.aio(list(found))).items():
            found[thread_id].last = message
        self.changed()
        try:
            entry.members = len([member async for member in entry.group.members()])
        except IMError:
            entry.members = None  # a group may keep its members to itself
        await self._load_counts(entry)
        await self._load_details(entry)

    async def _load_counts(self, entry: GroupEntry) -> None:
        """Parent messages in the group's history tell how many messages their threads have; no other call does."""
        wanting = set(entry.threads)  # also those known: a notice may have told a count that has grown since
        walk = PageWalk(self.session.account, entry.group.id, Query(order="newest"))
        pages = 0
        async for messages in walk.pages():
            for message in messages:
                told = message.overview
                if told is not None and told.thread_id in wanting:
                    wanting.discard(told.thread_id)
                    self.session.account.known.threads[told.thread_id].message_count = told.message_count
            pages += 1
            if not wanting or pages >= _PAGES_FOR_COUNTS:
                break
        self.changed()

    async def _load_details(self, entry: GroupEntry) -> None:
        newest = sorted(entry.threads.values(), key=_activity, reverse=True)[:_DETAILS]
        lanes = asyncio.Semaphore(4)

        async def ask(thread: Thread) -> None:
            async with lanes:
                try:
                    await thread.refresh.aio()
                except IMError:
                    return  # destroyed meanwhile, or not for this user
                self.changed()

        async with asyncio.TaskGroup() as group:
            for one in newest:
                if one.thread.member_count is None:
                    group.create_task(ask(one.thread))

    # ------------------------------------------------------------------ events

    async def take(self, event: Event) -> None:
        """Take what an event tells of groups and threads."""
        match event:
            case MessageReceived(message):
                self._newest(message.to, message)
            case ThreadChanged(operation="create"):
                self._add(event.thread_id, event.group_id, joined=event.operator == self.session.user)
            case ThreadChanged(operation="destroy", thread_id=thread_id) | DeviceChanged("destroy", thread_id):
                for group in self.groups.values():
                    group.threads.pop(thread_id, None)
            case ThreadChanged(operation="member_removed", thread_id=thread_id, user=self.session.user):
                self.set_joined(thread_id, False)
            case ThreadChanged():
                self._newest(event.thread_id, event.last_message)
            case DeviceChanged("create", thread_id, _, group_id) | DeviceChanged("join", thread_id, _, group_id):
                self._add(thread_id, group_id, joined=True)
            case DeviceChanged("leave", thread_id):
                self.set_joined(thread_id, False)
            case GroupChanged():
                await self.load()
        self.changed()

    def _add(self, thread_id: str, group_id: str, joined: bool) -> None:
        group = self.groups.get(group_id)
        if group is not None:
            entry = group.threads.setdefault(thread_id, ThreadEntry(self.session.thread(thread_id)))
            entry.joined = entry.joined or joined

    def _newest(self, thread_id: str, message: Message | None) -> None:
        entry = self.thread(thread_id)
        if entry is not None and message is not None:
            entry.last = message

    def set_joined(self, thread_id: str, joined: bool) -> None:
        """Note whether the user is in a thread."""
        entry = self.thread(thread_id)
        if entry is not None:
            entry.joined = joined
            self.changed()

    # ------------------------------------------------------------------ showing

    def as_rows(self) -> list[dict[str, Any]]:
        """Return groups, the newest first, each with its threads, the liveliest first, for the page."""
        rows = []
        # What somebody has just made is on top, and no group moves while one is about to click on it.
        for entry in sorted(self.groups.values(), key=_age):
            rows.append(self._group_row(entry))
            rows += [
                self._thread_row(one, entry) for one in sorted(entry.threads.values(), key=_activity, reverse=True)
            ]
        return rows

    def _group_row(self, entry: GroupEntry) -> dict[str, Any]:
        counts = [("threads", len(entry.threads)), ("members", entry.members)]
        return {
            "key": f"group:{entry.group.id}",
            "kind": "group",
            "id": entry.group.id,
            "name": for_terminal(entry.group.name or entry.group.id, 64),
            "facts": [self._say(f"pick_count_{what}", n=f"{n:,}") for what, n in counts if n is not None],
        }

    def _thread_row(self, entry: ThreadEntry, group: GroupEntry) -> dict[str, Any]:
        thread = entry.thread
        facts = [self._say("pick_joined")] if entry.joined else []
        for what, n in (("members", thread.member_count), ("messages", entry.messages)):
            if n is not None:
                facts.append(self._say(f"pick_count_{what}", n=f"{n:,}"))
        last = entry.last
        said = f"{last.sender}: {last.text or self._say(f'type_{last.type}')}" if last is not None else ""
        return {
            "key": f"thread:{thread.id}",
            "kind": "thread",
            "id": thread.id,
            "group": f"group:{group.group.id}",
            "name": for_terminal(thread.name or thread.id, 64),
            "owner": thread.owner,
            "facts": facts,
            "last": for_terminal(" ".join(said[:500].split()), 120),
            "at": to_milliseconds(last.time) if last is not None else None,
        }


def _age(entry: GroupEntry) -> tuple[int, str]:
    """Sort by this for the newest group first: ids grow with time."""
    return -int(entry.group.id) if entry.group.id.isdecimal() else 0, entry.group.id


def _activity(entry: ThreadEntry) -> tuple[int, int]:
    return (to_milliseconds(entry.last.time) if entry.last is not None else 0, int(entry.thread.id))
