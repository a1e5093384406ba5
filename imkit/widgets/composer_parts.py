"""The pieces of the composer that have scripts of their own: the text box, the drop zone, the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import traitlets

from imkit.client.attachments import ATTACHMENT_BYTES
from imkit.escape import for_terminal
from imkit.widgets.base import Part, readable, static
from imkit.widgets.labels import Labels


class TextBox(Part):
    """A text box in which Enter sends and Shift+Enter begins a line. What is typed is no part of its state.

    Attributes:
        draft: stands in the box to begin with.
    """

    _esm = static("box.js")
    placeholder = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    draft = traitlets.Unicode().tag(sync=True)

    def __init__(self, say: Labels, draft: str) -> None:
        super().__init__(say, "send_", placeholder=say("send_text_tip"), draft=draft)

    def show_size(self, size: int, most: int) -> None:
        """Say how large the message is that is being typed."""
        self.send({"do": "size", "size": f"{size:,}", "most": f"{most:,}", "fits": size <= most})

    def give_back(self, text: str) -> None:
        """Put a text that could not be sent back into the box, if nothing else stands there."""
        self.send({"do": "back", "text": text})


@dataclass(slots=True)
class Chosen:
    """A file that somebody chose or dropped.

    Attributes:
        name: as it is called on the reader's machine.
        data: as much of it as has come.
        size: in bytes.
        number: tells it from the one chosen before.
        settled: is set when all of it has come, or when it was taken away.
    """

    name: str
    data: bytearray
    size: int
    number: int
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return len(self.data) == self.size


class DropZone(Part):
    """Takes a file by click or by drop and hands it over in pieces; the file is no part of its state.

    One message as large as the file would break the notebook's own connection to the kernel.
    """

    _esm = static("drop.js")

    def __init__(self, say: Labels) -> None:
        super().__init__(say, "send_")
        self.chosen: Chosen | None = None

    def take_piece(self, said: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Take what the page says: that a file was chosen, a piece of it, that it was taken away."""
        match said:
            case {"do": "begin", "name": str(name), "size": int(size), "number": int(number)}:
                self._choose(Chosen(name, bytearray(), size, number) if 0 <= size <= ATTACHMENT_BYTES else None)
                if self.chosen is not None:
                    self.send({"do": "next", "from": 0, "number": number})
            case {"do": "piece", "number": int(number)} if self.chosen is not None and self.chosen.number == number:
                chosen = self.chosen
                for buffer in buffers:
                    chosen.data += bytes(buffer)
                if len(chosen.data) > chosen.size:
                    self._choose(None)
                    return
                if chosen.is_whole:
                    chosen.settled.set()
                self.send({"do": "next", "from": len(chosen.data), "number": number})
            case {"do": "remove"}:
                self._choose(None)

    def _choose(self, chosen: Chosen | None) -> None:
        if self.chosen is not None:
            self.chosen.settled.set()
        self.chosen = chosen
        if chosen is not None and chosen.is_whole:  # there are empty files
            chosen.settled.set()

    async def whole(self) -> Chosen | None:
        """Return the file that was chosen, once all of it has come; `None` if there is none, or it was taken away."""
        chosen = self.chosen
        if chosen is not None:
            await chosen.settled.wait()
        return chosen if chosen is self.chosen else None

    def clear(self) -> None:
        """Forget the file, here and on the page."""
        self._choose(None)
        self.send({"do": "clear"})


@dataclass(slots=True)
class Item:
    """Something that was sent from here.

    Attributes:
        number: names it.
        body: what was sent.
        what: the same in a few words.
        to: where to.
        state: waiting, sent or failed.
        why: it failed.
        percent: of its upload.
    """

    number: int
    body: Any
    what: str
    to: Any
    state: str = "waiting"
    why: str = ""
    percent: int | None = None


class Outbox(Part):
    """The last things that were sent, each with what became of it."""

    _esm = static("outbox.js")
    _SHOWN = 5

    def __init__(self, say: Labels) -> None:
        super().__init__(say, "send_", "again")
        self._items: list[Item] = []
        self._count = 0

    def add(self, body: Any, what: str, to: Any) -> Item:
        """Show something that is about to be sent."""
        self._count += 1
        item = Item(self._count, body, for_terminal(" ".join(what.split()), 80), to)
        self._items.append(item)
        settled = [one for one in self._items if one.state == "sent"]
        while len(self._items) > self._SHOWN and settled:
            self._items.remove(settled.pop(0))
        self.show()
        return item

    def get(self, number: object) -> Item | None:
        """Return what goes by a number."""
        return next((item for item in self._items if item.number == number), None)

    def show(self) -> None:
        """Bring the page up to date."""
        items = [
            {
                "number": item.number,
                "what": item.what,
                "state": item.state,
                "why": readable(item.why),
                "percent": item.percent,
            }
            for item in self._items
        ]
        self.send({"do": "items", "items": items})
