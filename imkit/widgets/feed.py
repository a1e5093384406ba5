"""`LiveFeed`: a form that shows messages as they arrive, as a chat with bubbles.

This module connects events, history and the page. `feed_rows.py` keeps the messages and turns them into rows.
`static/feed.js` draws the rows: `drawMessage` draws one message (avatar, name, time, bubble, buttons), `drawContent`
draws what is in its bubble, `drawList` puts the messages on the page. The colours are in `static/imkit.css`, from
`.imkit-message` on.

Messages to the page: ``rows`` (see `FeedRows.take_changes`), ``header``, ``picture``, ``unpacked``, ``done``.
Messages from the page: ``open``, ``close``, ``earlier``, and ``picture``, ``recall``, ``edit``, ``download``,
``unpack``, each with the ``key`` of a row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import traitlets

from imkit.client.send import edit as edit_message
from imkit.client.send import recall as recall_message
from imkit.client.send import target_of
from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.events import (
    Connected,
    Disconnected,
    Dropped,
    Event,
    LoggedOut,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ThreadChanged,
)
from imkit.messages import Combine, Message, Text
from imkit.portal import portal
from imkit.session import Session, checked_conversation, checked_session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, WidgetPart, describe_error, readable, static
from imkit.widgets.feed_rows import MAX_MESSAGES, FeedRows, as_row, milliseconds_left
from imkit.widgets.labels import Labels
from imkit.widgets.pictures import Pictures

UPDATES_PER_SECOND = 5
HEAD_HEIGHT = 40  # pixels above the list, with the name of the thread; the parent message takes room from the list
PAGE_SIZE = 50  # messages of the history that one click on "Earlier messages" loads
_DOWNLOAD_FOLDER = "downloads"


class FeedView(WidgetPart):
    """The feed on the page. Rows go there as messages and not as traits, so no notebook file contains a chat."""

    _esm = static("feed.js")
    height = traitlets.Int(380 + HEAD_HEIGHT).tag(sync=True)

    def __init__(self, labels: Labels, height: int) -> None:
        super().__init__(labels, "feed_", "type_", "cancel", "save", height=height + HEAD_HEIGHT)


class LiveFeed(Form):
    """Messages as they arrive: sender, local time, pictures, edits, recalls; own messages can be recalled and edited.

    The feed is updated while cells run and while the kernel is idle. It holds the newest 10,000 messages.

    Args:
        session: the session that receives the messages.
        thread: a thread or a group; `None`: all messages that this session receives.
        recall_seconds: how long after sending the app allows a recall, in seconds. It only controls how long the
            button is shown; the service decides. Only Easemob's console shows the app's value.
        height: of the list, in pixels. A parent message above it takes a part of it.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        imkit.widgets.LiveFeed(bob, thread, height=260)
        ```
    """

    def __init__(
        self,
        session: Session,
        thread: Thread | Group | None = None,
        *,
        recall_seconds: float = 120,
        height: int = 380,
        lang: str | None = None,
    ) -> None:
        checked_session(session)
        if thread is not None:
            checked_conversation(thread)
        super().__init__(lang)
        self.session = session
        self._account = session.account
        self._conversation = thread
        self._recall_seconds = recall_seconds
        self._clock_ahead = 0.0  # this machine's clock minus the service's, in seconds
        self._rows = FeedRows(session.user, MAX_MESSAGES, show_conversation=thread is None)
        self._pictures = Pictures(self._account)
        self._viewers = 0  # pages that show the feed now
        self._state = ("feed_connected", "")
        self._parent: Message | None = None
        self._has_earlier = thread is not None
        self._loaded_since: datetime | None = None  # the history is loaded from here on; None: nothing of it
        self.view = FeedView(self.labels, height)
        # The page draws the view some time after the forms below it. Its place is kept until then: else they would move
        # down when it is drawn, and a click on one of their buttons in that moment would be lost.
        self.layout.min_height = f"{self.view.height}px"
        self.children = (self.view, self.status)
        self.on_page_message(self.view, self._on_page_message)
        portal().run(lambda: self._account.echo_listeners.add(self._on_echo))
        self.start(self._run)

    # ------------------------------------------------------------- receiving

    async def _run(self) -> None:
        if self._conversation is not None:
            self.start(self._load_first_page)
        async with asyncio.TaskGroup() as group:
            updates = group.create_task(self._send_updates())
            async for event in self.session.events():
                self._take_event(event)
            updates.cancel()

    async def _load_first_page(self) -> None:
        """Load the newest page of the history, then the thread's name and parent message."""
        await self._load_earlier()
        if isinstance(self._conversation, Thread):
            with contextlib.suppress(IMError):
                if self._conversation.name is None or self._conversation.parent_id is None:
                    await self._conversation.refresh.aio()
                self._send_header()
                self._parent = await self._conversation.parent.aio()
        self._send_header()

    async def _load_earlier(self) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        # Not from the oldest row on: events have no messages that this session sent, so some may be missing after it.
        # 1 ms more, since `until` is exclusive: the last page may end between two messages of one millisecond.
        until = None if self._loaded_since is None else self._loaded_since + timedelta(milliseconds=1)
        page = [message async for message in conversation.messages(until=until, order="newest", limit=PAGE_SIZE)]
        self._rows.add(page)
        if page:
            self._loaded_since = page[-1].time
        self._has_earlier = len(page) == PAGE_SIZE
        self._send_header()

    def _on_echo(self, event: Event) -> None:
        """Take a change that this session made itself; the service sends no event for it."""
        if isinstance(event, MessageReceived):
            self._clock_ahead = datetime.now(UTC).timestamp() - event.message.time.timestamp()
        self._take_event(event)

    def _take_event(self, event: Event) -> None:
        match event:
            case MessageReceived(message) if self._is_shown(message.to):
                self._rows.add([message])
            case MessageEdited(message) if self._is_shown(message.to):
                self._rows.edit(message)
            case MessageRecalled() if self._is_shown(event.to):
                self._rows.recall(event)
            case ThreadChanged() if self._conversation is not None and event.thread_id == self._conversation.id:
                if event.operation == "destroy":
                    self._set_state("feed_destroyed")
                self._send_header()
            case Dropped():
                self.status.show(self.labels("feed_missed", n=f"{event.count:,}"))
            case Connected():
                self._set_state("feed_connected")
            case Disconnected():
                self._set_state("feed_ended" if event.hint else "feed_disconnected", event.hint)
            case LoggedOut():
                self._set_state("feed_over", event.reason)

    def _is_shown(self, conversation_id: str) -> bool:
        return self._conversation is None or conversation_id == self._conversation.id

    def _set_state(self, label_key: str, reason: str = "") -> None:
        self._state = (label_key, reason)
        self._send_header()

    # ------------------------------------------------------------- messages to the page

    async def _send_updates(self) -> None:
        try:
            while True:
                await asyncio.sleep(1 / UPDATES_PER_SECOND)
                self._send_changed_rows()
        finally:
            self._send_changed_rows()  # there is no later round to send the last rows

    def _send_changed_rows(self) -> None:
        if self._viewers and self._rows.has_changes:
            self.view.send(self._rows.take_changes(self._recall_ms))

    def _recall_ms(self, message: Message) -> int:
        now = datetime.fromtimestamp(datetime.now(UTC).timestamp() - self._clock_ahead, UTC)
        return milliseconds_left(message, self._recall_seconds, now)

    def _send_header(self) -> None:
        if not self._viewers:
            return
        conversation = self._conversation
        label_key, reason = self._state
        header: dict[str, Any] = {
            "do": "header",
            "name": self.labels("feed_all")
            if conversation is None
            else for_terminal(conversation.name or conversation.id, 64),
            "state": self.labels(label_key, why=readable(reason)),
            "earlier": self._has_earlier,
        }
        if self._parent is not None:
            header["parent"] = as_row(self._parent)
        self.view.send(header)

    # ------------------------------------------------------- messages from the page

    async def _on_page_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        match content.get("do"):
            case "open":  # a page has drawn the view, perhaps after a reload, and has no rows
                self._viewers += 1
                self.view.send(self._rows.all_rows(self._recall_ms))
                self._send_header()
            case "close":
                self._viewers = max(self._viewers - 1, 0)
            case "earlier":
                await self._load_earlier()
            case "picture" | "recall" | "edit" | "download" | "unpack" as action:
                entry = self._rows.get(str(content.get("key")))
                if entry is None:
                    return
                try:
                    await getattr(self, f"_{action}")(entry.message, content)
                finally:
                    self.view.send({"do": "done", "key": content.get("key")})

    async def _recall(self, message: Message, _: dict[str, Any]) -> None:
        await recall_message(self._account, target_of(message), message.id, None)

    async def _edit(self, message: Message, content: dict[str, Any]) -> None:
        text = str(content.get("text") or "")
        if text.strip() and text != message.text:
            await edit_message(self._account, target_of(message), message.id, Text(text, ext=message.ext))

    async def _download(self, message: Message, _: dict[str, Any]) -> None:
        path = await self.session.download.aio(message, _DOWNLOAD_FOLDER)
        self.status.show(self.labels("feed_saved", path=path), "good")

    async def _unpack(self, message: Message, content: dict[str, Any]) -> None:
        if isinstance(message.body, Combine):
            inner = await self.session.unpack.aio(message)
            self.view.send({"do": "unpacked", "key": content["key"], "rows": [as_row(one) for one in inner]})

    async def _picture(self, message: Message, content: dict[str, Any]) -> None:
        try:
            data, media_type = await self._pictures.fetch(message)
        except Exception as error:
            text = self.labels("feed_no_picture", why=readable(describe_error(error)[0]))
            self.view.send({"do": "picture", "key": content["key"], "error": text})
        else:
            self.view.send({"do": "picture", "key": content["key"], "media_type": media_type}, [data])

    def close(self) -> None:
        """Close the feed and remove it from the page. The session stays open."""
        self._account.echo_listeners.discard(self._on_echo)
        super().close()
