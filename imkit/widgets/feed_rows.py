"""The messages of a feed as rows: sorted, at most 10,000, with a list of what changed. No I/O.

A row is plain JSON with the fields that `drawMessage` in `static/feed.js` draws as one message with its bubble
(`drawContent` draws what is in the bubble). To show another field of a message, add it in `as_row` here and draw it
there. The script shows each value as text, never as markup.

All calls must come from imkit's event loop.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imkit.escape import for_terminal
from imkit.events import MessageRecalled
from imkit.messages import Attachment, Combine, Custom, Location, Message, Text, quote_shown
from imkit.times import to_milliseconds
from imkit.widgets.base import readable

MAX_MESSAGES = 10_000
_MAX_JSON_CHARACTERS = 2_000
_MAX_QUOTE_CHARACTERS = 200
_MAX_MENTIONS = 20

RecallMs = Callable[[Message], int]


@dataclass(slots=True)
class FeedEntry:
    """A message in the feed.

    Attributes:
        message: its newest version.
        recalled_by: user id; `None` if it was not recalled.
    """

    message: Message
    recalled_by: str | None = None


class FeedRows:
    """The messages of a feed, sorted by time and message id.

    Args:
        user: the reader's user id; rows of own messages are marked.
        limit: the greatest number of messages; the oldest ones are dropped.
        show_conversation: add the name of the thread or group to each row.
    """

    def __init__(self, user: str, limit: int = MAX_MESSAGES, show_conversation: bool = False) -> None:
        self._user = user
        self._limit = limit
        self._show_conversation = show_conversation
        self._entries: dict[str, FeedEntry] = {}  # by key: the message id, or a number for a message without one
        self._order: list[tuple[int, int, str]] = []  # (time in ms, message id, key), ascending
        self._changed: dict[str, None] = {}  # keys, in order of change
        self._without_id = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> FeedEntry | None:
        """Return the message with a key."""
        return self._entries.get(key)

    def add(self, messages: Iterable[Message]) -> None:
        """Add messages in any order; a message that is in the feed already is not changed."""
        for message in messages:
            key = message.id or self._key_without_id()
            if key in self._entries:
                continue
            position = (to_milliseconds(message.time), int(message.id or 0), key)
            if len(self._order) >= self._limit and position < self._order[0]:
                continue
            self._entries[key] = FeedEntry(message)
            if not self._order or position > self._order[-1]:
                self._order.append(position)
            else:
                bisect.insort(self._order, position)
            self._changed[key] = None
        self._drop_oldest()

    def _key_without_id(self) -> str:
        """Return a key for a message that could not be decoded and so has no id."""
        self._without_id += 1
        return f"?{self._without_id}"

    def _drop_oldest(self) -> None:
        surplus = len(self._order) - self._limit
        if surplus > 0:
            for _, _, key in self._order[:surplus]:
                del self._entries[key]
                self._changed.pop(key, None)
            del self._order[:surplus]

    def edit(self, message: Message) -> None:
        """Replace a message by its edited version; add it if it is not in the feed."""
        entry = self._entries.get(message.id)
        if entry is None:
            self.add([message])
        else:
            entry.message = message
            self._changed[message.id] = None

    def recall(self, event: MessageRecalled) -> None:
        """Mark a message as recalled; if this session never saw it, add one with the text "…"."""
        placeholder = Message(event.message_id, event.by, event.to, event.at, Text("…"))
        self.add([event.message or placeholder])
        entry = self._entries.get(event.message_id)
        if entry is not None:
            entry.recalled_by = event.by
            self._changed[event.message_id] = None

    @property
    def has_changes(self) -> bool:
        """Whether a row is new or has changed since the last `take_changes`."""
        return bool(self._changed)

    def take_changes(self, recall_ms: RecallMs | None = None) -> dict[str, Any]:
        """Return the message to the page with all rows that are new or changed since the last call.

        Args:
            recall_ms: returns for how many ms more an own message may be recalled.

        Returns:
            ``rows``, and as ``oldest`` the time and id of the oldest message: the page drops rows before it.
        """
        rows = [self._row(key, recall_ms) for key in self._changed]
        self._changed.clear()
        oldest = self._order[0][:2] if self._order else (0, 0)
        # A JavaScript number cannot hold a 19-digit id, so ids are text.
        return {"do": "rows", "rows": rows, "oldest": [oldest[0], str(oldest[1])]}

    def all_rows(self, recall_ms: RecallMs | None = None) -> dict[str, Any]:
        """Return the message to the page with all rows; ``reset`` tells it to drop the rows it has."""
        self._changed = dict.fromkeys(key for _, _, key in self._order)
        return {**self.take_changes(recall_ms), "reset": True}

    def _row(self, key: str, recall_ms: RecallMs | None) -> dict[str, Any]:
        entry = self._entries[key]
        message = entry.message
        is_own = message.sender == self._user
        row = as_row(message)
        row["key"] = key
        if is_own:
            row["own"] = True
        if entry.recalled_by is not None:
            row["recalled_by"] = readable(entry.recalled_by)
        elif is_own and recall_ms is not None and message.id:
            row["recall_ms"] = recall_ms(message)
        if self._show_conversation:
            name = message.thread.name if message.thread else ""
            row["conversation"] = for_terminal(name or message.to, 64)
        return row


def as_row(message: Message) -> dict[str, Any]:
    """Return a message as JSON for `static/feed.js`; fields that do not apply are left out."""
    body = message.body
    row: dict[str, Any] = {
        "id": message.id,
        "at": to_milliseconds(message.time),
        "sender": for_terminal(message.sender, 64),
        "type": message.type,
        "text": readable(message.text or ""),
    }
    if message.edit_count:
        row["edit_count"] = message.edit_count
    if quote := message.quote:
        row["quote"] = for_terminal(quote_shown(quote), _MAX_QUOTE_CHARACTERS)
    if mentions := message.mentions:
        row["mentions"] = [for_terminal(user, 64) for user in mentions[:_MAX_MENTIONS]]
    if isinstance(body, Attachment):
        row["file_name"] = for_terminal(body.file_name or "", 120)
        row["file_size"] = body.file_size
        duration = getattr(body, "duration", None)
        if duration is not None:
            row["seconds"] = duration
    if isinstance(body, Location):
        row["coordinates"] = f"{body.lat:.5f}, {body.lng:.5f}"
    if isinstance(body, Custom) and body.params:
        row["params"] = _json(body.params)
    if isinstance(body, Combine):
        row["summary"] = readable(body.summary)
    if message.ext:
        row["ext"] = _json(message.ext)
    return row


def _json(value: Any) -> str:
    try:
        text = json.dumps(dict(value), ensure_ascii=False, indent=1, default=str)
    except (ValueError, RecursionError):
        return "…"
    return readable(text if len(text) <= _MAX_JSON_CHARACTERS else f"{text[:_MAX_JSON_CHARACTERS]} …")


def milliseconds_left(message: Message, seconds: float, now: datetime) -> int:
    """Return for how many ms more a message may be recalled; 0 after that time."""
    return max(int((message.time.timestamp() + seconds - now.timestamp()) * 1000), 0)
