"""What a feed shows: messages as rows, sorted, bounded, and what has changed since it was last told. No I/O.

Lives on the portal. A row is plain JSON for the script on the page, which shows each value as text.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imkit.escape import for_terminal
from imkit.events import MessageRecalled
from imkit.messages import Attachment, Combine, Custom, Location, Message, Text
from imkit.times import to_milliseconds
from imkit.widgets.base import readable

KEPT = 10_000
_EXT_SHOWN = 2_000


@dataclass(slots=True)
class Line:
    """A message in the feed.

    Attributes:
        message: as it reads now.
        recalled_by: who took it back, or `None`.
    """

    message: Message
    recalled_by: str | None = None


class Rows:
    """The messages of a feed.

    Args:
        me: whose feed it is.
        kept: how many messages at the most; the oldest go first.
        named: show with each message which thread or group it is in.
    """

    def __init__(self, me: str, kept: int = KEPT, named: bool = False) -> None:
        self._me = me
        self._kept = kept
        self._named = named
        self._lines: dict[str, Line] = {}
        self._order: list[tuple[int, int, str]] = []
        self._changed: dict[str, None] = {}
        self._gone = 0
        self._nameless = 0

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, message_id: str) -> Line | None:
        """Return a message of the feed."""
        return self._lines.get(message_id)

    @property
    def oldest(self) -> Message | None:
        """The oldest message."""
        return self._lines[self._order[0][2]].message if self._order else None

    def add(self, messages: Iterable[Message]) -> None:
        """Take messages in, in any order; those that are there already stay as they are."""
        for message in messages:
            name = message.id
            if not name:  # what cannot be read has no id
                self._nameless += 1
                name = f"?{self._nameless}"
            if name in self._lines:
                continue
            place = (to_milliseconds(message.time), int(message.id or 0), name)
            if len(self._order) >= self._kept and place < self._order[0]:
                continue
            self._lines[name] = Line(message)
            if not self._order or place > self._order[-1]:
                self._order.append(place)
            else:
                bisect.insort(self._order, place)
            self._changed[name] = None
        self._trim()

    def _trim(self) -> None:
        surplus = len(self._order) - self._kept
        if surplus > 0:
            for _, _, name in self._order[:surplus]:
                del self._lines[name]
                self._changed.pop(name, None)
            del self._order[:surplus]
            self._gone += surplus

    def edit(self, message: Message) -> None:
        """Show what a message says now."""
        line = self._lines.get(message.id)
        if line is None:
            self.add([message])
        else:
            line.message = message
            self._changed[message.id] = None

    def recall(self, event: MessageRecalled) -> None:
        """Strike a message; of one that nobody here has seen, show that it was taken back."""
        unseen = Message(event.message_id, event.by, event.to, event.at, Text("…"))
        self.add([event.message or unseen])
        line = self._lines.get(event.message_id)
        if line is not None:
            line.recalled_by = event.by
            self._changed[event.message_id] = None

    @property
    def dirty(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._changed)

    def delta(self, left: Any = None) -> dict[str, Any]:
        """Return what is new or has changed since the last call.

        Args:
            left: tells for how many ms a message may still be recalled.
        """
        rows = [self._row(name, left) for name in self._changed]
        self._changed.clear()
        first = self._order[0][:2] if self._order else (0, 0)
        # Ids are beyond what a script's numbers hold, so they travel as text.
        return {"do": "rows", "rows": rows, "first": [first[0], str(first[1])], "total": len(self._order)}

    def everything(self, left: Any = None) -> dict[str, Any]:
        """Return all rows, for a page that has none."""
        self._changed = dict.fromkeys(name for _, _, name in self._order)
        return {**self.delta(left), "anew": True}

    def _row(self, name: str, left: Any) -> dict[str, Any]:
        line = self._lines[name]
        message = line.message
        own = message.sender == self._me
        row = as_row(message)
        row["key"] = name
        if own:
            row["own"] = True
        if line.recalled_by is not None:
            row["recalled"] = readable(line.recalled_by)
        elif own and left is not None and message.id:
            row["left"] = left(message)
        if self._named:
            row["room"] = for_terminal(message.thread.name or message.to, 64) if message.thread else message.to
        return row


def as_row(message: Message) -> dict[str, Any]:
    """Return a message as the script on the page wants it."""
    body = message.body
    row: dict[str, Any] = {
        "id": message.id,
        "at": to_milliseconds(message.time),
        "who": for_terminal(message.sender, 64),
        "type": message.type,
        "text": readable(message.text or ""),
    }
    if message.edit_count:
        row["edited"] = message.edit_count
    if isinstance(body, Attachment):
        row["file"] = for_terminal(body.file_name or "", 120)
        row["size"] = body.file_size
        duration = getattr(body, "duration", None)
        if duration is not None:
            row["seconds"] = duration
    if isinstance(body, Location):
        row["place"] = f"{body.lat:.5f}, {body.lng:.5f}"
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
    return readable(text if len(text) <= _EXT_SHOWN else f"{text[:_EXT_SHOWN]} …")


def milliseconds_left(message: Message, seconds: float, now: datetime) -> int:
    """Return for how many ms more a message may be recalled, 0 when that is over."""
    return max(int((message.time.timestamp() + seconds - now.timestamp()) * 1000), 0)
