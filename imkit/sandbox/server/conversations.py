"""Each user's own view of a conversation (会话): what is unread, forgotten and deleted, and its pin and marks.

A conversation is a group, a thread or a pair of users, named as in `message_record`. Threads have a view too, but the
list of conversations leaves them out: the official SDKs could only show them as groups.

Source: docs/protocol.md#conversations, docs/protocol.md#one-way-delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.server.device_queues import DeviceQueues
from imkit.sandbox.server.message_record import direct_conversation
from imkit.sandbox.server.store import ID_BITS, Store

MOST_UNREAD = 10_000  # no unread count goes beyond it: counting costs time for each message
MARKS = 20  # the marks are the numbers from 0 on

# A user's list may hold the user's groups, and everybody with whom the user has exchanged a message. The order is that
# of the newest messages, or of the pins; conversations that are equal in it go by their names.
_PAGE = """
WITH mine AS (
    SELECT members.room AS conversation, members.joined AS joined
    FROM members JOIN groups ON groups.id = members.room WHERE members.user = :user
    UNION ALL
    SELECT conversation, 0 FROM conversation_views WHERE user = :user AND instr(conversation, ':')
), seen AS (
    SELECT mine.conversation AS conversation, joined, ifnull(pinned_at, 0) AS pinned_at, ifnull(marks, 0) AS marks,
        ifnull(read_to, 0) AS read_to, ifnull(deleted_to, 0) AS deleted_to,
        max(ifnull(forgotten_to, 0), ifnull(deleted_to, 0)) AS hidden_to
    FROM mine LEFT JOIN conversation_views AS views
    ON views.conversation = mine.conversation AND views.user = :user
), listed AS (
    SELECT *, ifnull((
        SELECT id FROM messages WHERE messages.conversation = seen.conversation AND id > hidden_to AND NOT EXISTS (
            SELECT 1 FROM forgotten_messages AS forgotten WHERE forgotten.conversation = seen.conversation
            AND forgotten.user = :user AND forgotten.message = messages.id)
        ORDER BY id DESC LIMIT 1), 0) AS last
    FROM seen
), placed AS (SELECT *, iif(:pinned, pinned_at, last) AS place FROM listed)
SELECT conversation, joined, pinned_at, marks, max(read_to, hidden_to), last, place FROM placed
WHERE (last OR (:with_empty AND NOT deleted_to)) AND (NOT :pinned OR pinned_at)
    AND (:mark IS NULL OR marks & (1 << :mark)) AND (:place IS NULL OR (place, conversation) < (:place, :name))
ORDER BY place DESC, conversation DESC LIMIT :limit OFFSET :skip
"""
_NEWER = """
SELECT count(*) FROM (
    SELECT 1 FROM messages WHERE conversation = :conversation AND id > :read_to AND sender != :user LIMIT :most)
"""
_NEWER_AND_FORGOTTEN = """
SELECT count(*) FROM forgotten_messages JOIN messages ON messages.id = forgotten_messages.message
WHERE forgotten_messages.conversation = :conversation AND user = :user AND message > :read_to AND sender != :user
"""
_ADVANCE = """
INSERT INTO conversation_views (conversation, user, read_to, forgotten_to, deleted_to) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET read_to = max(read_to, excluded.read_to),
    forgotten_to = max(forgotten_to, excluded.forgotten_to), deleted_to = max(deleted_to, excluded.deleted_to)
"""
_ADVANCE_ALL = """
INSERT INTO conversation_views (conversation, user, read_to, forgotten_to, deleted_to)
    SELECT room, user, :read_to, :forgotten_to, :deleted_to FROM members WHERE user = :user
    UNION SELECT conversation, user, :read_to, :forgotten_to, :deleted_to FROM conversation_views WHERE user = :user
ON CONFLICT DO UPDATE SET read_to = max(read_to, excluded.read_to),
    forgotten_to = max(forgotten_to, excluded.forgotten_to), deleted_to = max(deleted_to, excluded.deleted_to)
"""


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """One conversation of a user's list.

    Attributes:
        conversation: its name in the record.
        name: the group, or the other user.
        is_group: whether it is a group.
        last: the id of the newest message that the user sees; 0 for none.
        unread: how many messages of others are newer than the user's last clearing; at most `MOST_UNREAD`.
        pinned_at: when the user pinned it, in ms; 0 if it is not pinned.
        marks: the user's marks, 0 to 19.
    """

    conversation: str
    name: str
    is_group: bool
    last: int
    unread: int
    pinned_at: int
    marks: tuple[int, ...]


class Conversations:
    """Stores the views of all users.

    Args:
        store: the data.
        queues: what a user forgets leaves them.

    Example:
        >>> store = Store(None)
        >>> conversations = Conversations(store, DeviceQueues(store))
        >>> with store.transaction():
        ...     conversations.note_direct("alice", "bob")
        >>> page, cursor = conversations.page("bob", limit=20, with_empty=True)
        >>> [(each.name, each.unread) for each in page], cursor
        ([('alice', 0)], '')
    """

    def __init__(self, store: Store, queues: DeviceQueues) -> None:
        self._store = store
        self._queues = queues

    # ---------------------------------------------------------------- the list

    def note_direct(self, one: str, other: str) -> None:
        """Note that two users have a one-to-one conversation, so that both lists show it."""
        for user in {one, other}:
            self._store.insert(
                "INSERT OR IGNORE INTO conversation_views (conversation, user) VALUES (?, ?)",
                (direct_conversation(one, other), user),
            )

    def page(
        self,
        user: str,
        *,
        limit: int,
        cursor: str = "",
        skip: int = 0,
        pinned: bool = False,
        mark: int | None = None,
        with_empty: bool = False,
    ) -> tuple[list[ListedConversation], str]:
        """Return a page of a user's list, and the cursor of the next page, "" after the last.

        The conversation with the newest message comes first; of pinned ones that which was pinned last.

        Args:
            user: the user.
            limit: the most conversations.
            cursor: that of the page before; "" for the first page.
            skip: how many conversations to leave out first.
            pinned: only pinned conversations.
            mark: only conversations with this mark.
            with_empty: also conversations without a message that the user sees, except for deleted ones.

        Raises:
            ValueError: the cursor is none.
        """
        place, _, name = cursor.partition("-")
        if cursor and not (place.isascii() and place.isdigit() and len(place) <= 19 and int(place) < 2**63):
            raise ValueError("not a cursor")
        values: dict[str, Any] = {
            "user": user,
            "pinned": pinned,
            "mark": mark,
            "with_empty": with_empty,
            "place": int(place) if cursor else None,
            "name": name,
            "limit": limit + 1,
            "skip": skip,
        }
        found = self._store.rows(_PAGE, values)
        listed = [self._listed(user, *row[:-1]) for row in found[:limit]]
        more = len(found) > limit
        return listed, f"{found[limit - 1][-1]}-{found[limit - 1][0]}" if more else ""

    def _listed(
        self, user: str, conversation: str, joined: int, pinned_at: int, marks: int, read_to: int, last: int
    ) -> ListedConversation:
        read_to = max(read_to, (joined << ID_BITS) - 1)  # what was said before the user joined is not unread
        unread = self._count_unread(user, conversation, read_to) if last > read_to else 0
        one, is_direct, other = conversation.partition(":")
        name = (other if one == user else one) if is_direct else conversation
        numbers = tuple(mark for mark in range(MARKS) if marks >> mark & 1)
        return ListedConversation(conversation, name, not is_direct, last, unread, pinned_at, numbers)

    def _count_unread(self, user: str, conversation: str, read_to: int) -> int:
        # An index has all that the first query needs. Forgotten messages are few, so they are counted apart.
        values = {"conversation": conversation, "user": user, "read_to": read_to}
        forgotten: int = self._store.rows(_NEWER_AND_FORGOTTEN, values)[0][0]
        newer: int = self._store.rows(_NEWER, {**values, "most": MOST_UNREAD + forgotten})[0][0]
        return newer - forgotten

    # ---------------------------------------------------------------- changes

    def advance(
        self, user: str, conversation: str, *, read_to: int = 0, forgotten_to: int = 0, deleted_to: int = 0
    ) -> None:
        """Note that a user has read, forgotten or deleted all messages of a conversation up to an id."""
        self._store.execute(_ADVANCE, (conversation, user, read_to, forgotten_to, deleted_to))

    def advance_all(self, user: str, *, read_to: int = 0, forgotten_to: int = 0, deleted_to: int = 0) -> None:
        """Do the same in every conversation of a user, threads included."""
        values = {"user": user, "read_to": read_to, "forgotten_to": forgotten_to, "deleted_to": deleted_to}
        self._store.execute(_ADVANCE_ALL, values)

    def pin(self, user: str, conversation: str, at: int) -> None:
        """Pin a conversation to the top of a user's list; `at` is the time in ms, and 0 ends the pin."""
        self._store.execute(
            "INSERT INTO conversation_views (conversation, user, pinned_at) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET pinned_at = excluded.pinned_at",
            (conversation, user, at),
        )

    def count_pinned_besides(self, user: str, conversation: str) -> int:
        """Return how many other conversations a user has pinned, and is still in."""
        query = (
            "SELECT count(*) FROM conversation_views AS views WHERE user = ? AND pinned_at AND conversation != ? "
            "AND (instr(conversation, ':') OR EXISTS "
            "(SELECT 1 FROM members WHERE members.room = views.conversation AND members.user = views.user))"
        )
        return int(self._store.row(query, (user, conversation))[0])

    def set_mark(self, user: str, conversation: str, mark: int, *, on: bool) -> None:
        """Add a mark (0 to 19) to a conversation, or remove it."""
        self._store.execute(
            "INSERT INTO conversation_views (conversation, user, marks) "
            "VALUES (:conversation, :user, iif(:on, 1 << :mark, 0)) "
            "ON CONFLICT DO UPDATE SET marks = iif(:on, marks | (1 << :mark), marks & ~(1 << :mark))",
            {"conversation": conversation, "user": user, "mark": mark, "on": on},
        )

    def delete(self, user: str, conversation: str, upto: int) -> None:
        """Take a conversation from a user's list, without its pin and its marks.

        It comes back with a message that is newer than the id `upto`.
        """
        self.advance(user, conversation, deleted_to=upto)
        self._store.execute(
            "UPDATE conversation_views SET pinned_at = 0, marks = 0 WHERE conversation = ? AND user = ?",
            (conversation, user),
        )

    # ---------------------------------------------------------------- one-way delete

    def forget(self, user: str, conversation: str, queue: str, messages: Iterable[int]) -> list[int]:
        """Make a user forget messages of a conversation; return those of `messages` that are in it.

        Args:
            user: the user.
            conversation: the conversation.
            queue: the queue that brings its messages to the user.
            messages: ids.
        """
        known = [
            message
            for message in messages
            if self._store.row("SELECT 1 FROM messages WHERE id = ? AND conversation = ?", (message, conversation))
        ]
        for message in known:
            self._store.insert(
                "INSERT OR IGNORE INTO forgotten_messages VALUES (?, ?, ?)", (conversation, user, message)
            )
            for item in (message, *self._queues.copies(message)):
                self._queues.withdraw([user], queue, item)
        return known

    def forget_to(self, user: str, conversation: str, queue: str, upto: int) -> None:
        """Make a user forget all messages of a conversation up to an id; the arguments are those of `forget`."""
        self.advance(user, conversation, forgotten_to=upto)
        self._queues.withdraw_messages(user, upto, queue)
        # One number says it now.
        self._store.execute(
            "DELETE FROM forgotten_messages WHERE conversation = ? AND user = ? AND message <= ?",
            (conversation, user, upto),
        )

    def forget_all(self, user: str, upto: int) -> None:
        """Make a user forget all messages up to an id, and take all conversations from its list."""
        self.advance_all(user, forgotten_to=upto, deleted_to=upto)
        self._store.execute("UPDATE conversation_views SET pinned_at = 0, marks = 0 WHERE user = ?", (user,))
        self._queues.withdraw_messages(user, upto)
