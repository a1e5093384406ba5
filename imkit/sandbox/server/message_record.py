"""The record of what was said: messages as they can be read later, pages of them, recalls and edits.

Roaming history (消息漫游) is answered from here: fact sheet section 8.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.server.store import ID_BITS, Store

# Content.Type to the name that roaming's msgType uses. A bundle is a text with a subtype and counts as text there.
_KINDS = {0: "txt", 1: "img", 2: "video", 3: "loc", 4: "audio", 5: "file", 6: "cmd", 7: "custom", 8: "combine"}
_TEXT_KINDS = ("txt", "combine")

_INSERT = "INSERT INTO messages (id, conversation, sender, kind, meta) VALUES (?, ?, ?, ?, ?)"
# The filters stand in one query, off while NULL: what they drop is read and passed over.
_PAGE = (
    "SELECT id, meta FROM messages WHERE conversation = :conversation AND id BETWEEN :lowest AND :highest "
    "AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds))) AND (:sender IS NULL OR sender = :sender) "
)
_PAGE_DOWN = _PAGE + "ORDER BY id DESC LIMIT :limit"
_PAGE_UP = _PAGE + "ORDER BY id LIMIT :limit"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the record: its id, where it was said, by whom, how often it was edited, its downlink Meta."""

    id: int
    conversation: str
    sender: str
    kind: str
    edits: int
    meta: bytes


@dataclass(frozen=True, slots=True)
class RoamingPage:
    """A page of history."""

    messages: list[tuple[int, bytes]]
    next_key: str
    is_last: bool


def kind_of(content: Any) -> str:
    """Return the kind of a message from its first Content, as roaming names it."""
    if content.type == 0 and content.HasField("subType") and content.subType == 0:
        return "combine"
    return _KINDS.get(content.type, "txt")


def direct_conversation(one: str, other: str) -> str:
    """Return the name of a one-to-one conversation; it is the same from both sides."""
    return ":".join(sorted((one, other)))


class Record:
    """The messages in the store, by conversation: a group's or thread's id, or a pair of users.

    Example:
        >>> store = Store(None)
        >>> record = Record(store)
        >>> with store.transaction():
        ...     message = store.new_id()
        ...     record.add(message, "21", "alice", "txt", b"meta")
        >>> record.page("21", limit=10, newest_first=True).messages == [(message, b"meta")]
        True
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, message: int, conversation: str, sender: str, kind: str, meta: bytes) -> None:
        """Keep a message."""
        self._store.insert(_INSERT, (message, conversation, sender, kind, meta))

    def add_many(self, rows: Iterable[tuple[int, str, str, str, bytes]]) -> None:
        """Keep many messages (id, conversation, sender, kind, meta) at once: how a made-up community is filled."""
        for row in rows:
            self._store.insert(_INSERT, row)

    def find(self, message: int) -> Stored | None:
        """Return a message, or None if it never was or is recalled."""
        if not 0 < message < 2**63:
            return None
        found = self._store.row(
            "SELECT id, conversation, sender, kind, edits, meta FROM messages WHERE id = ?", (message,)
        )
        return Stored(*found) if found else None

    def last(self, conversation: str) -> bytes | None:
        """Return the newest message's Meta, or None."""
        found = self._store.row(
            "SELECT meta FROM messages WHERE conversation = ? ORDER BY id DESC LIMIT 1", (conversation,)
        )
        return found[0] if found else None

    def remove(self, message: int) -> None:
        """Forget a recalled message."""
        self._store.execute("DELETE FROM messages WHERE id = ?", (message,))

    def replace(self, message: int, edits: int, meta: bytes) -> None:
        """Put an edited message in the place of what it was."""
        self._store.execute("UPDATE messages SET edits = ?, meta = ? WHERE id = ?", (edits, meta, message))

    def read_by(self, message: int, user: str, time: int, content: str) -> int:
        """Keep that a user has read a message; return how many have."""
        self._store.execute("INSERT OR IGNORE INTO read_acks VALUES (?, ?, ?, ?)", (message, user, time, content))
        return int(self._store.row("SELECT count(*) FROM read_acks WHERE message = ?", (message,))[0])

    def readers(self, message: int) -> list[tuple[str, int, str]]:
        """Return who has read a message: (user, time, content)."""
        return self._store.rows(
            "SELECT user, time, content FROM read_acks WHERE message = ? ORDER BY time, user", (message,)
        )

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
        sender: str | None = None,
    ) -> RoamingPage:
        """Return a page of a conversation.

        Args:
            conversation: whose history.
            limit: how many messages at most.
            newest_first: the direction.
            after: the id of the message to start behind, in that direction.
            since: the earliest time (ms), included.
            until: the latest time (ms), included.
            kinds: only these; "txt" means bundles too.
            sender: only theirs.
        """
        lowest, highest = 0, 2**63 - 1
        if since is not None:
            lowest = max(lowest, min(since, 2**42) << ID_BITS)
        if until is not None:
            highest = min(highest, ((min(until, 2**42) + 1) << ID_BITS) - 1)
        if after is not None:
            lowest, highest = (lowest, min(highest, after - 1)) if newest_first else (max(lowest, after + 1), highest)
        wanted = {kind for name in kinds for kind in (_TEXT_KINDS if name == "txt" else (name,))}
        values = {
            "conversation": conversation,
            "lowest": lowest,
            "highest": highest,
            "kinds": json.dumps(sorted(wanted)) if wanted else None,
            "sender": sender,
            "limit": limit + 1,
        }
        found = self._store.rows(_PAGE_DOWN if newest_first else _PAGE_UP, values)
        messages, more = found[:limit], len(found) > limit
        return RoamingPage(messages, str(messages[-1][0]) if messages else "", not more)
