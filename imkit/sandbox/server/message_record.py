"""The stored messages of every conversation, and pages of them: what roaming history (消息漫游) is answered from.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.server.store import ID_BITS, Store
from imkit.wire.enums import ContentType, SubType

# The names that the filter `msgType` of roaming history uses. A bundle (合并消息) is a text with a subtype; the filter
# counts it as text.
_KINDS = {
    ContentType.TEXT: "txt",
    ContentType.IMAGE: "img",
    ContentType.VIDEO: "video",
    ContentType.LOCATION: "loc",
    ContentType.VOICE: "audio",
    ContentType.FILE: "file",
    ContentType.COMMAND: "cmd",
    ContentType.CUSTOM: "custom",
    ContentType.COMBINE: "combine",
}
_TEXT_KINDS = ("txt", "combine")
_KINDS_WITH_FILES = ("img", "video", "audio", "file", "combine")
# The path of an attachment, in a Meta as bytes.
_ATTACHMENT = re.compile(rb"/chatfiles/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

_INSERT = "INSERT INTO messages (id, conversation, sender, kind, meta) VALUES (?, ?, ?, ?, ?)"
_INSERT_USE = "INSERT OR IGNORE INTO attachment_uses VALUES (?, ?)"
# One query with optional filters: a filter that is NULL is off. `conversations` writes what a viewer has forgotten.
_PAGE = (
    "SELECT id, meta FROM messages WHERE conversation = :conversation AND id BETWEEN :lowest AND :highest "
    "AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds))) "
    "AND (:senders IS NULL OR sender IN (SELECT value FROM json_each(:senders))) "
    "AND NOT EXISTS (SELECT 1 FROM forgotten_messages AS forgotten WHERE forgotten.conversation = :conversation "
    "AND forgotten.user = :viewer AND forgotten.message = messages.id) "
)
_PAGE_DOWN = _PAGE + "ORDER BY id DESC LIMIT :limit"
_READ_ACKS = (
    "SELECT user, time, content FROM read_acks WHERE message = ? AND (time, user) > (?, ?) ORDER BY time, user LIMIT ?"
)
_PAGE_UP = _PAGE + "ORDER BY id LIMIT :limit"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message.

    Attributes:
        id: its id, which contains its time (`store.id_time`).
        conversation: the group, thread or pair of users that it belongs to.
        sender: the user id of its sender.
        kind: as `kind_of` returns it.
        edits: how often it was edited.
        meta: its downlink Meta.
    """

    id: int
    conversation: str
    sender: str
    kind: str
    edits: int
    meta: bytes


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of a conversation's messages.

    Attributes:
        messages: (id, Meta bytes), in the order asked for.
        next_key: the cursor of the next page; "" for an empty page.
        is_last: no message follows in this direction.
    """

    messages: list[tuple[int, bytes]]
    next_key: str
    is_last: bool


def is_bundle(content: Any) -> bool:
    """Return whether a Content is a bundle (合并消息): a text with the subtype SUB_COMBINE.

    SUB_COMBINE is 0, which is also what an absent field reads as; so the field must be present.
    """
    is_text = content.type == ContentType.TEXT
    return bool(is_text and content.HasField("subType") and content.subType == SubType.SUB_COMBINE)


def kind_of(content: Any) -> str:
    """Return the kind of a message from its first Content, with the names of roaming history."""
    return "combine" if is_bundle(content) else _KINDS.get(content.type, "txt")


def direct_conversation(one: str, other: str) -> str:
    """Return the name of a one-to-one conversation; it is the same for both users."""
    return ":".join(sorted((one, other)))


def users_of_direct(conversation: str) -> tuple[str, ...]:
    """Return the two users of a one-to-one conversation; nobody for a group or a thread.

    Example:
        >>> users_of_direct(direct_conversation("bob", "alice"))
        ('alice', 'bob')
    """
    one, colon, other = conversation.partition(":")
    return (one, other) if colon else ()


class MessageRecord:
    """Stores messages by conversation: a group's or thread's id, or a pair of users (`direct_conversation`).

    Example:
        >>> store = Store(None)
        >>> record = MessageRecord(store)
        >>> with store.transaction():
        ...     message = store.new_id()
        ...     record.add(message, "21", "alice", "txt", b"meta")
        >>> record.page("21", limit=10, newest_first=True).messages == [(message, b"meta")]
        True
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, message: int, conversation: str, sender: str, kind: str, meta: bytes) -> None:
        """Store a message."""
        self._store.insert(_INSERT, (message, conversation, sender, kind, meta))
        if kind in _KINDS_WITH_FILES:
            for attachment in set(_ATTACHMENT.findall(meta)):
                self._store.insert(_INSERT_USE, (message, attachment.decode()))

    def add_many(self, rows: Iterable[tuple[int, str, str, str, bytes]]) -> None:
        """Store many messages, each as (id, conversation, sender, kind, meta)."""
        for row in rows:
            self.add(*row)

    def find(self, message: int) -> StoredMessage | None:
        """Return a message; None if there is none with this id, or it was recalled."""
        if not 0 < message < 2**63:
            return None
        found = self._store.row(
            "SELECT id, conversation, sender, kind, edits, meta FROM messages WHERE id = ?", (message,)
        )
        return StoredMessage(*found) if found else None

    def last(self, conversation: str, viewer: str | None = None) -> bytes | None:
        """Return the Meta of a conversation's newest message; None if the conversation is empty.

        Args:
            conversation: the conversation.
            viewer: leave out what this user has forgotten.
        """
        page = self.page(conversation, limit=1, newest_first=True, viewer=viewer)
        return page.messages[0][1] if page.messages else None

    def _forgotten_to(self, conversation: str, viewer: str | None) -> int:
        """Return the id up to which a user has forgotten all messages."""
        query = "SELECT forgotten_to FROM conversation_views WHERE conversation = ? AND user = ?"
        found = self._store.row(query, (conversation, viewer))
        return int(found[0]) if found else 0

    def remove(self, message: int) -> list[str]:
        """Delete a recalled message; return the attachments that it held and that no other message holds."""
        query = (
            "SELECT attachment FROM attachment_uses AS own WHERE message = ? AND NOT EXISTS (SELECT 1 FROM "
            "attachment_uses AS other WHERE other.attachment = own.attachment AND other.message != own.message)"
        )
        unused = [attachment for (attachment,) in self._store.rows(query, (message,))]
        self._store.execute("DELETE FROM messages WHERE id = ?", (message,))
        return unused

    def replace(self, message: int, edits: int, meta: bytes) -> None:
        """Replace the Meta of an edited message."""
        self._store.execute("UPDATE messages SET edits = ?, meta = ? WHERE id = ?", (edits, meta, message))

    def add_read_ack(self, message: int, user: str, time: int, content: str) -> int:
        """Store that a user has read a message; return how many users have read it."""
        self._store.execute("INSERT OR IGNORE INTO read_acks VALUES (?, ?, ?, ?)", (message, user, time, content))
        return self.count_read_acks(message)

    def read_acks(self, message: int, *, after: tuple[int, str], limit: int) -> list[tuple[str, int, str]]:
        """Return a page of the read acks of a message, the earliest first: (user, time in ms, content of the ack).

        Args:
            message: the message.
            after: the time and the user of the last ack of the page before.
            limit: the largest number of acks.
        """
        return self._store.rows(_READ_ACKS, (message, *after, limit))

    def count_read_acks(self, message: int) -> int:
        """Return how many users have read a message."""
        return int(self._store.row("SELECT count(*) FROM read_acks WHERE message = ?", (message,))[0])

    def page(
        self,
        conversation: str,
        *,
        limit: int,
        newest_first: bool,
        after: int | None = None,
        since: int | None = None,
        until: int | None = None,
        kinds: Collection[str] = (),
        senders: Collection[str] = (),
        viewer: str | None = None,
    ) -> RecordPage:
        """Return a page of a conversation.

        Args:
            conversation: the conversation.
            limit: the largest number of messages.
            newest_first: the direction.
            after: the id of the last message of the page before; the page starts behind it, in that direction.
            since: the earliest time (ms), included.
            until: the latest time (ms), included.
            kinds: return messages of these kinds only; "txt" includes bundles.
            senders: return messages of these users only.
            viewer: leave out what this user has forgotten.
        """
        # An id contains its time, so a range of time is a range of ids.
        lowest, highest = self._forgotten_to(conversation, viewer) + 1, 2**63 - 1
        if since is not None:
            lowest = max(lowest, min(since, 2**42) << ID_BITS)
        if until is not None:
            highest = min(highest, ((min(until, 2**42) + 1) << ID_BITS) - 1)
        if after is not None and newest_first:
            highest = min(highest, after - 1)
        elif after is not None:
            lowest = max(lowest, after + 1)
        wanted = {kind for name in kinds for kind in (_TEXT_KINDS if name == "txt" else (name,))}
        values = {
            "conversation": conversation,
            "lowest": lowest,
            "highest": highest,
            "kinds": json.dumps(sorted(wanted)) if wanted else None,
            "senders": json.dumps(sorted(senders)) if senders else None,
            "viewer": viewer,
            "limit": limit + 1,
        }
        found = self._store.rows(_PAGE_DOWN if newest_first else _PAGE_UP, values)
        messages, more = found[:limit], len(found) > limit
        return RecordPage(messages, str(messages[-1][0]) if messages else "", not more)
