"""The pinned messages (置顶消息) of groups and threads.

A message that is deleted, by a recall or with its conversation, is no longer pinned: `store` has a trigger for that.

Source: docs/protocol.md#pinned-messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from imkit.sandbox.server.store import Store, id_time

MAX_PINS = 20  # of one conversation, as the service has it by default


@dataclass(frozen=True, slots=True)
class Pin:
    """A pinned message: its id and Meta, the user who pinned it last, and when (ms)."""

    message: int
    meta: bytes
    operator: str
    time: int


class Pins:
    """Stores which messages are pinned.

    Example:
        >>> from imkit.sandbox.server.message_record import MessageRecord
        >>> store = Store(None)
        >>> pins = Pins(store)
        >>> with store.transaction():
        ...     MessageRecord(store).add(7, "21", "alice", "txt", b"meta")
        ...     _ = pins.pin(7, "21", "bob")
        >>> [(pin.message, pin.operator) for pin in pins.of("21")]
        [(7, 'bob')]
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, conversation: str) -> list[Pin]:
        """Return the pinned messages of a conversation, the one that was pinned last first."""
        found = self._store.rows(
            "SELECT message, meta, operator, pin FROM pinned_messages JOIN messages ON messages.id = message "
            "WHERE pinned_messages.conversation = ? ORDER BY pin DESC",
            (conversation,),
        )
        return [Pin(message, meta, operator, id_time(pin)) for message, meta, operator, pin in found]

    def pin(self, message: int, conversation: str, operator: str) -> int:
        """Pin a message, or pin it anew; return the time (ms)."""
        pin = self._store.new_id()
        self._store.execute(
            "INSERT OR REPLACE INTO pinned_messages VALUES (?, ?, ?, ?)", (message, conversation, operator, pin)
        )
        return id_time(pin)

    def unpin(self, message: int, conversation: str) -> bool:
        """Unpin a message of a conversation; return whether it was pinned."""
        query = "DELETE FROM pinned_messages WHERE message = ? AND conversation = ?"
        return self._store.execute(query, (message, conversation)) > 0
