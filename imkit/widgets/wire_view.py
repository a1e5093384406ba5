"""`WireView`: what is really said, frame by frame, while it is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import traitlets

from imkit.client.wire_log import MAX_ENTRIES, WireEntry
from imkit.escape import for_terminal
from imkit.session import Session
from imkit.widgets.base import Form, Part, readable, static
from imkit.widgets.labels import Labels

_LOOK_SECONDS = 0.5
_SHOWN = 6_000  # characters of one entry


class WirePage(Part):
    """The page's side of the wire view."""

    _esm = static("wire.js")
    height = traitlets.Int(380).tag(sync=True)

    def __init__(self, say: Labels, height: int) -> None:
        super().__init__(say, "wire_", height=height)


class WireView(Form):
    """The frames of the socket and the REST calls of a session, decoded, without tokens and secrets.

    Args:
        session: whose; what it says is noted from now on.
        height: of the list, in pixels.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> WireView(alice)  # doctest: +SKIP
    """

    def __init__(self, session: Session, *, height: int = 380, lang: str | None = None) -> None:
        super().__init__(lang)
        self._log = session.account.wire_log
        self._log.is_on = True
        self._told = 0
        self._viewers = 0
        self.page = WirePage(self.say, height)
        self.children = (self.page, self.status)
        self.on_word(self.page, self._heard)
        self.start(self._look)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._viewers and self._log.total > self._told:
                self._tell()

    def _tell(self) -> None:
        entries = self._log.entries_after(self._told)
        self._told = self._log.total
        self.page.send({"do": "entries", "entries": [_plain(entry) for entry in entries]})

    async def _heard(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        if said.get("do") == "open":
            self._viewers += 1
            self._told = max(self._log.total - MAX_ENTRIES, 0)
            self._tell()
        elif said.get("do") == "shut":
            self._viewers = max(self._viewers - 1, 0)


def _plain(entry: WireEntry) -> dict[str, Any]:
    try:
        decoded = json.dumps(json.loads(entry.decoded), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        decoded = entry.decoded
    return {
        "at": int(entry.at * 1000),
        "direction": entry.direction,
        "what": for_terminal(entry.command, 160),
        "decoded": readable(decoded if len(decoded) <= _SHOWN else f"{decoded[:_SHOWN]}\n…"),
        "size": f"{entry.size:,}",
    }
