"""`WireView`: a form that shows the WebSocket frames and REST calls of a session, decoded, as they happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import traitlets

from imkit.client.wire_log import MAX_ENTRIES, WireEntry
from imkit.escape import for_terminal
from imkit.session import Session, checked_session
from imkit.widgets.base import Form, WidgetPart, readable, static
from imkit.widgets.labels import Labels

_POLL_SECONDS = 0.5
_MAX_CHARACTERS = 6_000  # of one entry


class WireList(WidgetPart):
    """The list of frames and REST calls on the page."""

    _esm = static("wire_list.js")
    height = traitlets.Int(380).tag(sync=True)

    def __init__(self, labels: Labels, height: int) -> None:
        super().__init__(labels, "wire_", height=height)


class WireView(Form):
    """The WebSocket frames and REST calls of a session, decoded, without tokens and secrets.

    Args:
        session: its wire log is switched on; earlier frames are not shown.
        height: of the list, in pixels.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        imkit.widgets.WireView(alice)
        ```
    """

    def __init__(self, session: Session, *, height: int = 380, lang: str | None = None) -> None:
        checked_session(session)
        super().__init__(lang)
        self._log = session.account.wire_log
        self._log.is_on = True
        self._shown = 0  # number of the last entry that was sent to the page
        self._viewers = 0
        self.list = WireList(self.labels, height)
        self.children = (self.list, self.status)
        self.on_page_message(self.list, self._on_page_message)
        self.start(self._poll)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if self._viewers and self._log.total > self._shown:
                self._send_new_entries()

    def _send_new_entries(self) -> None:
        entries = self._log.entries_after(self._shown)
        self._shown = self._log.total
        self.list.send({"do": "entries", "entries": [_as_row(entry) for entry in entries]})

    async def _on_page_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        if content.get("do") == "open":
            self._viewers += 1
            self._shown = max(self._log.total - MAX_ENTRIES, 0)
            self._send_new_entries()
        elif content.get("do") == "close":
            self._viewers = max(self._viewers - 1, 0)


def _as_row(entry: WireEntry) -> dict[str, Any]:
    """Return an entry of the wire log as JSON for `static/wire_list.js`."""
    try:
        decoded = json.dumps(json.loads(entry.decoded), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        decoded = entry.decoded
    return {
        "at": int(entry.at * 1000),
        "direction": entry.direction,
        "command": for_terminal(entry.command, 160),
        "decoded": readable(decoded if len(decoded) <= _MAX_CHARACTERS else f"{decoded[:_MAX_CHARACTERS]}\n…"),
        "size": f"{entry.size:,}",
    }
