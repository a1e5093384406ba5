"""The parts of the composer that have scripts of their own: `TextBox`, `DropZone`, `SentList`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import traitlets

from imkit.client.attachments import ATTACHMENT_BYTES
from imkit.escape import for_terminal
from imkit.messages import Body
from imkit.threads import Group, Thread
from imkit.widgets.base import WidgetPart, readable, static
from imkit.widgets.labels import Labels


class TextBox(WidgetPart):
    """A text box: Enter sends, Shift+Enter begins a new line. The typed text is not part of the widget's state.

    Attributes:
        draft: initial text.
    """

    _esm = static("text_box.js")
    placeholder = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    draft = traitlets.Unicode().tag(sync=True)

    def __init__(self, labels: Labels, draft: str) -> None:
        super().__init__(labels, "send_", placeholder=labels("send_text_tip"), draft=draft)

    def show_size(self, size: int, limit: int) -> None:
        """Show the size of the typed message and the limit, in bytes."""
        self.send({"do": "size", "size": f"{size:,}", "limit": f"{limit:,}", "fits": size <= limit})

    def restore(self, text: str) -> None:
        """Put a text that could not be sent back into the box, if the box is empty."""
        self.send({"do": "restore", "text": text})


@dataclass(slots=True)
class ChosenFile:
    """A file that the user chose or dropped.

    Attributes:
        name: the file's name on the user's machine.
        data: the bytes received so far.
        size: in bytes.
        number: distinguishes it from files chosen earlier in the same drop zone.
        received_or_removed: set when all bytes are here, or when the user removed the file.
    """

    name: str
    data: bytearray
    size: int
    number: int
    received_or_removed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are here."""
        return len(self.data) == self.size


class DropZone(WidgetPart):
    """Takes a file by click or by drop. The page sends it in pieces; it is not part of the widget's state.

    In pieces, because one message of the file's size would break the notebook's own connection to the kernel.

    Messages from the page: ``begin`` (a file was chosen), ``piece``, ``remove``. Messages to the page: ``next`` (send
    the piece that begins at byte ``from``), ``clear``.
    """

    _esm = static("drop_zone.js")

    def __init__(self, labels: Labels) -> None:
        super().__init__(labels, "send_")
        self.chosen: ChosenFile | None = None

    def receive(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Handle a message from the page."""
        match content:
            case {"do": "begin", "name": str(name), "size": int(size), "number": int(number)}:
                is_allowed = 0 <= size <= ATTACHMENT_BYTES
                self._replace(ChosenFile(name, bytearray(), size, number) if is_allowed else None)
                if self.chosen is not None:
                    self.send({"do": "next", "from": 0, "number": number})
            case {"do": "piece", "number": int(number)} if self.chosen is not None and self.chosen.number == number:
                self._append(self.chosen, buffers)
            case {"do": "remove"}:
                self._replace(None)

    def _append(self, chosen: ChosenFile, buffers: Sequence[Any]) -> None:
        for buffer in buffers:
            chosen.data += bytes(buffer)
        if len(chosen.data) > chosen.size:
            self._replace(None)
            return
        if chosen.is_complete:
            chosen.received_or_removed.set()
        self.send({"do": "next", "from": len(chosen.data), "number": chosen.number})

    def _replace(self, chosen: ChosenFile | None) -> None:
        if self.chosen is not None:
            self.chosen.received_or_removed.set()
        self.chosen = chosen
        if chosen is not None and chosen.is_complete:  # an empty file
            chosen.received_or_removed.set()

    async def wait_for_file(self) -> ChosenFile | None:
        """Wait until the chosen file is complete and return it; `None` if none was chosen or it was removed."""
        chosen = self.chosen
        if chosen is not None:
            await chosen.received_or_removed.wait()
        return chosen if chosen is self.chosen else None

    def clear(self) -> None:
        """Forget the file, here and on the page."""
        self._replace(None)
        self.send({"do": "clear"})


@dataclass(slots=True)
class SentItem:
    """One line of the sent list.

    Attributes:
        number: identifies it.
        body: what was sent.
        summary: the body as a short text.
        to: the thread or group.
        state: ``"waiting"``, ``"sent"`` or ``"failed"``.
        error: why it failed.
        percent: progress of the upload; `None` without one.
    """

    number: int
    body: Body
    summary: str
    to: Thread | Group
    state: str = "waiting"
    error: str = ""
    percent: int | None = None


class SentList(WidgetPart):
    """The last messages that were sent with a composer, each with its state. A failed one can be tried again."""

    _esm = static("sent_list.js")
    _MAX_ITEMS = 5

    def __init__(self, labels: Labels) -> None:
        super().__init__(labels, "send_", "retry")
        self._items: list[SentItem] = []
        self._count = 0

    def add(self, body: Body, summary: str, to: Thread | Group) -> SentItem:
        """Add a message that is about to be sent. Sent items leave the list, oldest first, when it is too long."""
        self._count += 1
        item = SentItem(self._count, body, for_terminal(" ".join(summary.split()), 80), to)
        self._items.append(item)
        sent = [one for one in self._items if one.state == "sent"]
        while len(self._items) > self._MAX_ITEMS and sent:
            self._items.remove(sent.pop(0))
        self.show()
        return item

    def get(self, number: object) -> SentItem | None:
        """Return the item with a number."""
        return next((item for item in self._items if item.number == number), None)

    def show(self) -> None:
        """Send all items to the page."""
        items = [
            {
                "number": item.number,
                "summary": item.summary,
                "state": item.state,
                "error": readable(item.error),
                "percent": item.percent,
            }
            for item in self._items
        ]
        self.send({"do": "items", "items": items})
