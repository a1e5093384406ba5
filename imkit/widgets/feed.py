"""`LiveFeed`: messages as they come, the way a chat looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
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
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Part, problem, readable, static
from imkit.widgets.feed_rows import KEPT, Rows, as_row, milliseconds_left
from imkit.widgets.labels import Labels
from imkit.widgets.pictures import Pictures

PAINTS_PER_SECOND = 5
FIRST_PAGE = 50
_FOLDER = "downloads"


class FeedView(Part):
    """The page's side of a feed. Rows go to it as messages: no chat is saved with a notebook."""

    _esm = static("feed.js")
    height = traitlets.Int(380).tag(sync=True)

    def __init__(self, say: Labels, height: int) -> None:
        super().__init__(say, "feed_", "type_", "cancel", "save", height=height)


class LiveFeed(Form):
    """Messages as they come: who, when in the reader's zone, pictures, edits, recalls; own ones can be taken back.

    It moves while cells run and while the kernel is idle, and holds the last 10,000 messages.

    Args:
        session: who reads.
        thread: one thread or group; `None`: everything that comes to this user.
        recall_seconds: for how long a message may be recalled: the app's limit, which only its console tells.
        height: of the list, in pixels.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> LiveFeed(bob, thread)  # doctest: +SKIP
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
        super().__init__(lang)
        self.session = session
        self._account = session.account
        self._room = thread
        self._recall_seconds = recall_seconds
        self._clock_ahead = 0.0  # how far this machine's clock is ahead of the service's, in seconds
        self._rows = Rows(session.user, KEPT, named=thread is None)
        self._pictures = Pictures(self._account)
        self._viewers = 0
        self._state = ("feed_connected", "")
        self._parent: Message | None = None
        self._earlier_left = thread is not None
        self.view = FeedView(self.say, height)
        self.children = (self.view, self.status)
        self.on_word(self.view, self._heard)
        portal().run(lambda: self._account.echo_listeners.add(self._echo))
        self.start(self._run)

    # ------------------------------------------------------------- what comes in

    async def _run(self) -> None:
        if self._room is not None:
            self.start(self._begin)
        async with asyncio.TaskGroup() as group:
            painter = group.create_task(self._paint())
            async for event in self.session.events():
                self._take(event)
            painter.cancel()

    async def _begin(self) -> None:
        """Fill the feed with what is in the history, and look for the parent message."""
        await self._load_earlier()
        if isinstance(self._room, Thread):
            with contextlib.suppress(IMError):
                if self._room.name is None or self._room.parent_id is None:
                    await self._room.refresh.aio()
                self._send_head()
                self._parent = await self._room.parent.aio()
        self._send_head()

    async def _load_earlier(self) -> None:
        room = self._room
        if room is None:
            return
        oldest = self._rows.oldest
        until = None if oldest is None else oldest.time
        found = [message async for message in room.messages(until=until, order="newest", limit=FIRST_PAGE)]
        before = len(self._rows)
        self._rows.add(found)
        self._earlier_left = len(found) == FIRST_PAGE and len(self._rows) > before
        self._send_head()

    def _echo(self, event: Event) -> None:
        if isinstance(event, MessageReceived):
            self._clock_ahead = datetime.now(UTC).timestamp() - event.message.time.timestamp()
        self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case MessageReceived(message) if self._is_here(message.to):
                self._rows.add([message])
            case MessageEdited(message) if self._is_here(message.to):
                self._rows.edit(message)
            case MessageRecalled() if self._is_here(event.to):
                self._rows.recall(event)
            case ThreadChanged() if self._room is not None and event.thread_id == self._room.id:
                if event.operation == "destroy":
                    self._set_state("feed_destroyed")
                self._send_head()
            case Dropped():
                self.status.tell(self.say("feed_missed", n=f"{event.count:,}"))
            case Connected():
                self._set_state("feed_connected")
            case Disconnected():
                self._set_state("feed_disconnected")
            case LoggedOut():
                self._set_state("feed_over", event.reason)

    def _is_here(self, room_id: str) -> bool:
        return self._room is None or room_id == self._room.id

    def _set_state(self, key: str, why: str = "") -> None:
        self._state = (key, why)
        self._send_head()

    # ------------------------------------------------------------- what goes out

    async def _paint(self) -> None:
        try:
            while True:
                await asyncio.sleep(1 / PAINTS_PER_SECOND)
                self._flush()
        finally:
            self._flush()  # the last rows must not wait for a next tick

    def _flush(self) -> None:
        if self._viewers and self._rows.dirty:
            self.view.send(self._rows.delta(self._left))

    def _left(self, message: Message) -> int:
        now = datetime.fromtimestamp(datetime.now(UTC).timestamp() - self._clock_ahead, UTC)
        return milliseconds_left(message, self._recall_seconds, now)

    def _send_head(self) -> None:
        if not self._viewers:
            return
        key, why = self._state
        name = self.say("feed_all") if self._room is None else for_terminal(self._room.name or self._room.id, 64)
        head: dict[str, Any] = {"do": "head", "name": name, "state": self.say(key, why=readable(why))}
        head["earlier"] = self._earlier_left
        if self._parent is not None:
            head["parent"] = as_row(self._parent)
        self.view.send(head)

    # ------------------------------------------------------- what the reader does

    async def _heard(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        match said.get("do"):
            case "open":  # a page has been drawn, perhaps after a reload: it knows nothing yet
                self._viewers += 1
                self.view.send(self._rows.everything(self._left))
                self._send_head()
            case "shut":
                self._viewers = max(self._viewers - 1, 0)
            case "earlier":
                await self._load_earlier()
            case "picture" | "recall" | "edit" | "download" | "unpack" as act:
                line = self._rows.get(str(said.get("key")))
                if line is None:
                    return
                try:
                    await getattr(self, f"_{act}")(line.message, said)
                finally:
                    self.view.send({"do": "done", "key": said.get("key")})

    async def _recall(self, message: Message, _: dict[str, Any]) -> None:
        await recall_message(self._account, target_of(message), message.id, None)

    async def _edit(self, message: Message, said: dict[str, Any]) -> None:
        text = str(said.get("text") or "")
        if text.strip() and text != message.text:
            await edit_message(self._account, target_of(message), message.id, Text(text, ext=message.ext))

    async def _download(self, message: Message, _: dict[str, Any]) -> None:
        path = await self.session.download.aio(message, _FOLDER)
        self.status.tell(self.say("feed_saved", path=path), "good")

    async def _unpack(self, message: Message, said: dict[str, Any]) -> None:
        if isinstance(message.body, Combine):
            inner = await self.session.unpack.aio(message)
            self.view.send({"do": "unpacked", "key": said["key"], "rows": [as_row(one) for one in inner]})

    async def _picture(self, message: Message, said: dict[str, Any]) -> None:
        try:
            data, kind = await self._pictures.of(message)
        except Exception as error:
            why = readable(problem(error)[0])
            self.view.send({"do": "picture", "key": said["key"], "why": self.say("feed_no_picture", why=why)})
        else:
            self.view.send({"do": "picture", "key": said["key"], "kind": kind}, [data])

    def close(self) -> None:
        """Take the feed off the page and end what it does. The session stays open."""
        self._account.echo_listeners.discard(self._echo)
        super().close()
