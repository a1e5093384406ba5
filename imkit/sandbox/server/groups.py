"""Groups, the threads on their messages, and who is a member of which.

A thread (子区) is a room like a group, with a parent group and a parent message. Facts: fact sheet sections 9 and 10.
What every send asks for (the room, its members) is kept in memory and forgotten at the first change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from imkit.sandbox.server.store import Store

_THREADS = (
    "SELECT id FROM threads WHERE (:user IS NULL OR id IN (SELECT room FROM members WHERE user = :user)) "
    "AND (:group IS NULL OR group_id = :group) "
)
_THREADS_UP = _THREADS + "AND (:after IS NULL OR id > :after) ORDER BY id LIMIT :limit"
_THREADS_DOWN = _THREADS + "AND (:after IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit"


@dataclass(frozen=True, slots=True)
class Group:
    """A group: the parent of threads."""

    id: str
    name: str
    description: str
    owner: str
    created: int
    settings: dict[str, Any]
    disabled: bool


@dataclass(slots=True)
class Thread:
    """A thread. `messages` counts what its history holds."""

    id: str
    name: str
    group_id: str
    parent_id: str
    owner: str
    created: int
    updated: int
    messages: int
    mark: str = field(default="", compare=False)  # the thread's downlink mark, made once (see `notices.thread_mark`)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a room: its role ("owner", "admin", "member") and until when (ms) it may not speak."""

    user: str
    role: str
    joined: int
    muted_until: int


class Rooms:
    """Groups and threads in the store.

    Example:
        >>> store = Store(None)
        >>> rooms = Rooms(store)
        >>> with store.transaction():
        ...     group = rooms.create_group("alice", "tea", members=["bob"])
        >>> sorted(rooms.members(group.id))
        ['alice', 'bob']
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: dict[str, Group] = {}
        self._threads: dict[str, Thread] = {}
        self._members: dict[str, dict[str, Member]] = {}
        self._counted: dict[str, Thread] = {}
        store.on_commit(self._write_counts, self._forget)

    def _forget(self) -> None:
        for cache in (self._groups, self._threads, self._members, self._counted):
            cache.clear()

    # ---------------------------------------------------------------- groups

    def create_group(
        self,
        owner: str,
        name: str,
        *,
        members: list[str],
        description: str = "",
        settings: dict[str, Any] | None = None,
    ) -> Group:
        """Make a group; its owner and the named members are in it at once."""
        group = Group(
            self._store.new_room_id("20"), name, description, owner, self._store.clock(), settings or {}, False
        )
        self._store.execute(
            "INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, 0)",
            (group.id, name, description, owner, group.created, json.dumps(group.settings)),
        )
        self.add_member(group.id, owner, "owner")
        for member in members:
            if member != owner:
                self.add_member(group.id, member)
        return group

    def group(self, group_id: str) -> Group | None:
        """Return a group, or None."""
        group = self._groups.get(group_id)
        if group is None:
            found = self._store.row("SELECT * FROM groups WHERE id = ?", (group_id,))
            if not found:
                return None
            identity, name, description, owner, created, settings, disabled = found
            group = Group(identity, name, description, owner, created, json.loads(settings), bool(disabled))
            self._groups[group_id] = group
        return group

    def change_group(self, group_id: str, *, name: str, description: str, disabled: bool, owner: str) -> None:
        """Set what may change about a group."""
        self._store.execute(
            "UPDATE groups SET name = ?, description = ?, disabled = ?, owner = ? WHERE id = ?",
            (name, description, disabled, owner, group_id),
        )
        self._groups.pop(group_id, None)

    def destroy_group(self, group_id: str) -> None:
        """Remove a group and, with it, its threads (fact sheet section 9)."""
        for thread in self.threads_of(group_id):
            self.destroy_thread(thread.id)
        self._store.execute("DELETE FROM members WHERE room = ?", (group_id,))
        self._store.execute("DELETE FROM messages WHERE conversation = ?", (group_id,))
        self._store.execute("DELETE FROM groups WHERE id = ?", (group_id,))
        self._groups.pop(group_id, None)
        self._members.pop(group_id, None)

    def groups_of(self, user: str) -> list[Group]:
        """Return the groups a user is in, the oldest first."""
        found = self._store.rows(
            "SELECT groups.id FROM members JOIN groups ON groups.id = members.room WHERE user = ? ORDER BY groups.id",
            (user,),
        )
        return [group for (group_id,) in found if (group := self.group(group_id))]

    # ---------------------------------------------------------------- threads

    def create_thread(self, group_id: str, parent_id: str, owner: str, name: str) -> Thread:
        """Make a thread on a message; who makes it is its first member."""
        now = self._store.clock()
        thread = Thread(self._store.new_room_id("21"), name, group_id, parent_id, owner, now, now, 0)
        self._store.execute(
            "INSERT INTO threads VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (thread.id, name, group_id, parent_id, owner, now, now),
        )
        self.add_member(thread.id, owner, "owner")
        self._threads[thread.id] = thread
        return thread

    def thread(self, thread_id: str) -> Thread | None:
        """Return a thread, or None."""
        thread = self._threads.get(thread_id)
        if thread is None:
            found = self._store.row("SELECT * FROM threads WHERE id = ?", (thread_id,))
            if not found:
                return None
            thread = self._threads[thread_id] = Thread(*found)
        return thread

    def thread_on(self, group_id: str, parent_id: str) -> Thread | None:
        """Return the thread on a message; a message carries one at most."""
        found = self._store.row("SELECT id FROM threads WHERE group_id = ? AND parent_id = ?", (group_id, parent_id))
        return self.thread(found[0]) if found else None

    def rename_thread(self, thread: Thread, name: str) -> None:
        """Give a thread another name."""
        thread.name, thread.updated, thread.mark = name, self._store.clock(), ""
        self._store.execute("UPDATE threads SET name = ?, updated = ? WHERE id = ?", (name, thread.updated, thread.id))

    def count_message(self, thread: Thread, by: int) -> None:
        """Keep the number of messages; written once for each transaction, not for each message."""
        thread.messages = max(0, thread.messages + by)
        thread.updated = self._store.clock()
        self._counted[thread.id] = thread

    def _write_counts(self) -> None:
        for thread in self._counted.values():
            self._store.insert(
                "UPDATE threads SET messages = ?, updated = ? WHERE id = ?",
                (thread.messages, thread.updated, thread.id),
            )
        self._counted.clear()

    def destroy_thread(self, thread_id: str) -> None:
        """Remove a thread with its history."""
        self._store.execute("DELETE FROM members WHERE room = ?", (thread_id,))
        self._store.execute("DELETE FROM messages WHERE conversation = ?", (thread_id,))
        self._store.execute("DELETE FROM threads WHERE id = ?", (thread_id,))
        for cache in (self._threads, self._members, self._counted):
            cache.pop(thread_id, None)

    def threads_on(self, group_id: str, messages: list[int]) -> list[Thread]:
        """Return the threads that hang on these messages of a group."""
        found = self._store.rows(
            "SELECT id FROM threads WHERE group_id = ? AND parent_id IN (SELECT value FROM json_each(?))",
            (group_id, json.dumps([str(message) for message in messages])),
        )
        return [thread for (thread_id,) in found if (thread := self.thread(thread_id))]

    def threads_of(self, group_id: str) -> list[Thread]:
        """Return every thread of a group, the newest first."""
        found = self._store.rows("SELECT id FROM threads WHERE group_id = ? ORDER BY id DESC", (group_id,))
        return [thread for (thread_id,) in found if (thread := self.thread(thread_id))]

    def thread_page(
        self, *, user: str | None, group_id: str | None, after: str, limit: int, oldest_first: bool = False
    ) -> list[Thread]:
        """Return a page of threads, newest first unless asked otherwise, starting behind the thread `after`."""
        values = {"user": user, "group": group_id, "after": after or None, "limit": limit}
        found = self._store.rows(_THREADS_UP if oldest_first else _THREADS_DOWN, values)
        return [thread for (thread_id,) in found if (thread := self.thread(thread_id))]

    # ---------------------------------------------------------------- members

    def members(self, room: str) -> dict[str, Member]:
        """Return the members of a group or thread, in the order they came."""
        members = self._members.get(room)
        if members is None:
            found = self._store.rows(
                "SELECT user, role, joined, muted_until FROM members WHERE room = ? ORDER BY joined, user", (room,)
            )
            members = self._members[room] = {row[0]: Member(*row) for row in found}
        return members

    def add_member(self, room: str, user: str, role: str = "member") -> None:
        """Put a user into a room; again is no change."""
        self._store.execute(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, 0)", (room, user, role, self._store.clock())
        )
        self._members.pop(room, None)

    def set_role(self, room: str, user: str, role: str) -> None:
        """Make a member an owner, an admin or a plain member."""
        self._store.execute("UPDATE members SET role = ? WHERE room = ? AND user = ?", (role, room, user))
        self._members.pop(room, None)

    def mute(self, room: str, user: str, until: int) -> None:
        """Let a member not speak until a time (ms); 0 ends it. A group's mutes hold in its threads."""
        self._store.execute("UPDATE members SET muted_until = ? WHERE room = ? AND user = ?", (until, room, user))
        self._members.pop(room, None)

    def remove_member(self, room: str, user: str) -> list[Thread]:
        """Take a user out of a room; out of a group is out of its threads too, which are returned."""
        self._store.execute("DELETE FROM members WHERE room = ? AND user = ?", (room, user))
        self._members.pop(room, None)
        left = [thread for thread in self.threads_of(room) if user in self.members(thread.id)]
        for thread in left:
            self.remove_member(thread.id, user)
        return left

    def manages(self, user: str, group_id: str) -> bool:
        """Say whether a user owns or administers a group."""
        member = self.members(group_id).get(user)
        return member is not None and member.role in ("owner", "admin")

    def muted(self, user: str, group_id: str) -> bool:
        """Say whether a group has muted a user."""
        member = self.members(group_id).get(user)
        return member is not None and member.muted_until > self._store.clock()
