"""Groups, their threads, and the members of both.

A conversation is a group or a thread. A thread (子区) has a parent group and a parent message. Conversations and their
members are cached, because each send reads them; a change removes the cached entry.

The column `members.room` holds the id of a conversation: see `store`.

Source: docs/protocol.md#thread-calls, docs/protocol.md#group-calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imkit.sandbox.server.store import Store

_THREADS = (
    "SELECT id FROM threads WHERE (:user IS NULL OR id IN (SELECT room FROM members WHERE user = :user)) "
    "AND (:group IS NULL OR group_id = :group) "
)
_THREADS_UP = _THREADS + "AND (:after IS NULL OR id > :after) ORDER BY id LIMIT :limit"
_THREADS_DOWN = _THREADS + "AND (:after IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit"


ALL_MUTED = "all muted"  # among a group's settings; no REST field has this name


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `settings` are those of the REST calls that made and changed it."""

    id: str
    name: str
    description: str
    owner: str
    created: int
    settings: dict[str, Any]
    disabled: bool

    @property
    def all_muted(self) -> bool:
        """Whether only its owner and admins may send."""
        return bool(self.settings.get(ALL_MUTED))


@dataclass(slots=True)
class Thread:
    """A thread (子区).

    Attributes:
        id: its id.
        name: its name.
        group_id: its parent group.
        parent_id: its parent message.
        owner: the user who created it.
        created: when it was created, in ms.
        updated: when it was last changed or written to, in ms.
        messages: how many messages its history holds.
        mark: its thread mark as JSON; `notices.thread_mark` fills it.
    """

    id: str
    name: str
    group_id: str
    parent_id: str
    owner: str
    created: int
    updated: int
    messages: int
    mark: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a conversation.

    Attributes:
        user: the user id.
        role: "owner", "admin" or "member".
        joined: when it joined, in ms.
        muted_until: until when it may not send, in ms; 0 if it may.
    """

    user: str
    role: str
    joined: int
    muted_until: int


class Groups:
    """Stores groups, threads and their members.

    Example:
        >>> store = Store(None)
        >>> groups = Groups(store)
        >>> with store.transaction():
        ...     group = groups.create_group("alice", "tea", members=["bob"])
        >>> sorted(groups.members(group.id))
        ['alice', 'bob']
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: dict[str, Group] = {}
        self._threads: dict[str, Thread] = {}
        self._members: dict[str, dict[str, Member]] = {}
        self._unwritten_counts: dict[str, Thread] = {}
        store.on_commit(self._write_counts, self._clear_caches)

    def _clear_caches(self) -> None:
        for cache in (self._groups, self._threads, self._members, self._unwritten_counts):
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
        """Create a group with its owner and its first members."""
        group_id = self._store.new_conversation_id("20")
        group = Group(group_id, name, description, owner, self._store.clock(), settings or {}, False)
        self._store.execute(
            "INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, 0)",
            (group.id, name, description, owner, group.created, json.dumps(group.settings, allow_nan=False)),
        )
        self.add_member(group.id, owner, "owner")
        for member in members:
            if member != owner:
                self.add_member(group.id, member)
        return group

    def group(self, group_id: str) -> Group | None:
        """Return a group; None if there is none with this id."""
        group = self._groups.get(group_id)
        if group is None:
            found = self._store.row("SELECT * FROM groups WHERE id = ?", (group_id,))
            if not found:
                return None
            identity, name, description, owner, created, settings, disabled = found
            # Earlier versions stored NaN and the infinities, which no reply can hold.
            known = json.loads(settings, parse_constant=lambda _: None)
            group = Group(identity, name, description, owner, created, known, bool(disabled))
            self._groups[group_id] = group
        return group

    def change_group(self, group: Group) -> None:
        """Store a group whose properties have changed."""
        settings = json.dumps(group.settings, allow_nan=False)
        self._store.execute(
            "UPDATE groups SET name = ?, description = ?, disabled = ?, owner = ?, settings = ? WHERE id = ?",
            (group.name, group.description, group.disabled, group.owner, settings, group.id),
        )
        self._groups.pop(group.id, None)

    def destroy_group(self, group_id: str) -> None:
        """Delete a group with its threads and messages."""
        for thread in self.threads_of(group_id):
            self.destroy_thread(thread.id)
        self._store.execute("DELETE FROM members WHERE room = ?", (group_id,))
        self._delete_messages(group_id)
        self._store.execute("DELETE FROM groups WHERE id = ?", (group_id,))
        self._groups.pop(group_id, None)
        self._members.pop(group_id, None)

    def _delete_messages(self, conversation: str) -> None:
        for statement in (
            "DELETE FROM messages WHERE conversation = ?",
            "DELETE FROM conversation_views WHERE conversation = ?",
            "DELETE FROM forgotten_messages WHERE conversation = ?",
        ):
            self._store.execute(statement, (conversation,))

    def groups_of(self, user: str) -> list[Group]:
        """Return the groups that a user is in, the oldest first."""
        found = self._store.rows(
            "SELECT groups.id FROM members JOIN groups ON groups.id = members.room WHERE user = ? ORDER BY groups.id",
            (user,),
        )
        return [group for (group_id,) in found if (group := self.group(group_id))]

    # ---------------------------------------------------------------- threads

    def create_thread(self, group_id: str, parent_id: str, owner: str, name: str) -> Thread:
        """Create a thread on a message; its owner is its first member."""
        now = self._store.clock()
        thread = Thread(self._store.new_conversation_id("21"), name, group_id, parent_id, owner, now, now, 0)
        self._store.execute(
            "INSERT INTO threads VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (thread.id, name, group_id, parent_id, owner, now, now),
        )
        self.add_member(thread.id, owner, "owner")
        self._threads[thread.id] = thread
        return thread

    def thread(self, thread_id: str) -> Thread | None:
        """Return a thread; None if there is none with this id."""
        thread = self._threads.get(thread_id)
        if thread is None:
            found = self._store.row("SELECT * FROM threads WHERE id = ?", (thread_id,))
            if not found:
                return None
            thread = self._threads[thread_id] = Thread(*found)
        return thread

    def group_of_conversation(self, conversation: str) -> Group | None:
        """Return a group, or the group of a thread; None if there is no such group or thread."""
        thread = self.thread(conversation)
        return self.group(thread.group_id if thread else conversation)

    def thread_on(self, group_id: str, parent_id: str) -> Thread | None:
        """Return the thread on a message; None if it has none. A message has at most one."""
        found = self._store.row("SELECT id FROM threads WHERE group_id = ? AND parent_id = ?", (group_id, parent_id))
        return self.thread(found[0]) if found else None

    def rename_thread(self, thread: Thread, name: str) -> None:
        """Set a thread's name."""
        thread.name, thread.updated, thread.mark = name, self._store.clock(), ""
        self._store.execute("UPDATE threads SET name = ?, updated = ? WHERE id = ?", (name, thread.updated, thread.id))

    def count_message(self, thread: Thread, by: int) -> None:
        """Change a thread's number of messages. It is written once a transaction, not once a message."""
        thread.messages = max(0, thread.messages + by)
        thread.updated = self._store.clock()
        self._unwritten_counts[thread.id] = thread

    def _write_counts(self) -> None:
        for thread in self._unwritten_counts.values():
            self._store.insert(
                "UPDATE threads SET messages = ?, updated = ? WHERE id = ?",
                (thread.messages, thread.updated, thread.id),
            )
        self._unwritten_counts.clear()

    def destroy_thread(self, thread_id: str) -> None:
        """Delete a thread with its messages."""
        self._store.execute("DELETE FROM members WHERE room = ?", (thread_id,))
        self._delete_messages(thread_id)
        self._store.execute("DELETE FROM threads WHERE id = ?", (thread_id,))
        for cache in (self._threads, self._members, self._unwritten_counts):
            cache.pop(thread_id, None)

    def threads_on(self, group_id: str, messages: list[int]) -> list[Thread]:
        """Return the threads on these messages of a group."""
        return self._threads_found(
            "SELECT id FROM threads WHERE group_id = ? AND parent_id IN (SELECT value FROM json_each(?))",
            (group_id, json.dumps([str(message) for message in messages])),
        )

    def threads_of(self, group_id: str) -> list[Thread]:
        """Return every thread of a group, the newest first."""
        return self._threads_found("SELECT id FROM threads WHERE group_id = ? ORDER BY id DESC", (group_id,))

    def thread_page(
        self, *, user: str | None, group_id: str | None, after: str, limit: int, oldest_first: bool = False
    ) -> list[Thread]:
        """Return a page of threads, by default the newest first.

        Args:
            user: only threads that this user is in; None for all.
            group_id: only threads of this group; None for all.
            after: the last thread of the page before; "" for the first page.
            limit: the largest number of threads.
            oldest_first: the other direction.
        """
        values = {"user": user, "group": group_id, "after": after or None, "limit": limit}
        return self._threads_found(_THREADS_UP if oldest_first else _THREADS_DOWN, values)

    def _threads_found(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Thread]:
        found = self._store.rows(query, values)
        return [thread for (thread_id,) in found if (thread := self.thread(thread_id))]

    # ---------------------------------------------------------------- members

    def members(self, conversation: str) -> dict[str, Member]:
        """Return the members of a conversation by user id, in the order in which they joined."""
        members = self._members.get(conversation)
        if members is None:
            found = self._store.rows(
                "SELECT user, role, joined, muted_until FROM members WHERE room = ? ORDER BY joined, user",
                (conversation,),
            )
            members = self._members[conversation] = {row[0]: Member(*row) for row in found}
        return members

    def add_member(self, conversation: str, user: str, role: str = "member") -> None:
        """Add a user to a conversation; no change if the user is in it."""
        self._store.execute(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, 0)", (conversation, user, role, self._store.clock())
        )
        self._members.pop(conversation, None)

    def set_role(self, group_id: str, user: str, role: str) -> None:
        """Make a member of a group its owner, an admin or a plain member."""
        self._store.execute("UPDATE members SET role = ? WHERE room = ? AND user = ?", (role, group_id, user))
        self._members.pop(group_id, None)

    def mute(self, group_id: str, user: str, until: int) -> None:
        """Mute a member of a group until a time (ms), also in the group's threads; 0 ends a mute."""
        self._store.execute("UPDATE members SET muted_until = ? WHERE room = ? AND user = ?", (until, group_id, user))
        self._members.pop(group_id, None)

    def remove_member(self, conversation: str, user: str) -> None:
        """Remove a user from a conversation; from a group and from all its threads."""
        self._store.execute("DELETE FROM members WHERE room = ? AND user = ?", (conversation, user))
        self._members.pop(conversation, None)
        for thread in self.threads_of(conversation):
            if user in self.members(thread.id):
                self.remove_member(thread.id, user)

    def manages(self, user: str, group_id: str) -> bool:
        """Return whether a user is a group's owner or an admin of it."""
        member = self.members(group_id).get(user)
        return member is not None and member.role in ("owner", "admin")

    def muted(self, user: str, group_id: str) -> bool:
        """Return whether a user is muted in a group."""
        member = self.members(group_id).get(user)
        return member is not None and member.muted_until > self._store.clock()
