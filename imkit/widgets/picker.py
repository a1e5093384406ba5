"""`ThreadPicker`: find a thread, or make one; join, leave, rename."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ipywidgets
import traitlets

from imkit.errors import InvalidMessage
from imkit.events import DeviceChanged, GroupChanged, MessageReceived, ThreadChanged
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Part, button, row, static
from imkit.widgets.labels import Labels
from imkit.widgets.thread_model import Rooms

PAINTS_PER_SECOND = 4


class RoomList(Part):
    """The page's side: groups and threads, with a search; one of them is picked, or many are chosen."""

    _esm = static("picker.js")
    many = traitlets.Bool(False).tag(sync=True)
    height = traitlets.Int(380).tag(sync=True)

    def __init__(self, say: Labels, many: bool, height: int) -> None:
        super().__init__(say, "pick_", many=many, height=height)

    def show(self, rooms: Rooms, picked: str | None, chosen: Sequence[str]) -> None:
        """Bring the page up to date."""
        rows, chosen = rooms.as_rows(), list(chosen)
        self.send({"do": "rooms", "rooms": rows, "picked": picked, "chosen": chosen, "loading": rooms.loading})


class ThreadPicker(Form):
    """A user's groups and threads: name, members, messages, last activity; search, create, join, leave, rename.

    It keeps itself up to date.

    Args:
        session: whose threads.
        on_pick: called with the thread or group that is picked, on imkit's loop; it must be quick.
        height: of the list, in pixels.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> picker = ThreadPicker(alice)  # doctest: +SKIP
        >>> picker.thread.history()  # doctest: +SKIP
    """

    def __init__(
        self,
        session: Session,
        *,
        on_pick: Callable[[Thread | Group], object] | None = None,
        height: int = 380,
        lang: str | None = None,
    ) -> None:
        super().__init__(lang)
        say = self.say
        self.session = session
        self.rooms = Rooms(session, say)
        self._on_pick = on_pick
        self._picked: str | None = None
        self.list = RoomList(say, many=False, height=height)
        self.buttons = {
            name: button(say(f"pick_{name}") if name != "refresh" else say("refresh"))
            for name in ("new_group", "new_thread", "join", "leave", "rename", "refresh")
        }
        self.name = self._field("pick_name")
        self.members = self._field("pick_members", placeholder=say("pick_members_tip"))
        self.parent_text = self._field("pick_parent", placeholder=say("pick_parent_tip"))
        self.confirm = button(say("pick_create"), kind="primary")
        self.cancel = button(say("cancel"))
        self._asking = ""
        self._panel = ipywidgets.VBox([])
        self._panel_buttons = row(self.confirm, self.cancel)
        self._toolbar = row(*self.buttons.values())
        self.children = (self._toolbar, self._panel, self.list, self.status)
        for name in ("new_group", "new_thread", "rename"):
            self.on_click(self.buttons[name], partial(self._ask, name))
        self.on_click(self.buttons["join"], self._join)
        self.on_click(self.buttons["leave"], self._leave)
        self.on_click(self.buttons["refresh"], self.rooms.load)
        self.on_click(self.confirm, self._confirm)
        self.on_click(self.cancel, self._cancel)
        for control in (self.name, self.members, self.parent_text):
            self.on_enter(control, self._confirm, self.confirm)
        self.on_word(self.list, self._heard)
        self.start(self._keep_up)
        self.start(self._paint)
        self.start(self.rooms.load, self.buttons["refresh"])

    def _field(self, label: str, **options: Any) -> Any:
        layout = ipywidgets.Layout(width="calc(100% - 4px)", max_width="32em")
        return ipywidgets.Text(
            description=self.say(label), style={"description_width": "7em"}, layout=layout, **options
        )

    @property
    def thread(self) -> Thread | None:
        """The thread that is picked; `None` while none is."""
        found = self.rooms.find(self._picked)
        return found if isinstance(found, Thread) else None

    @property
    def group(self) -> Group | None:
        """The group that is picked, or that of the picked thread; `None` while none is."""
        found = self.rooms.find(self._picked)
        if isinstance(found, Thread):
            return None if found.group_id is None else self.session.group(found.group_id)
        return found

    # ------------------------------------------------------------------ keeping up

    async def _keep_up(self) -> None:
        kinds = (ThreadChanged, DeviceChanged, GroupChanged, MessageReceived)
        async for event in self.session.events(*kinds, replay=False):
            await self.rooms.take(event)

    async def _paint(self) -> None:
        changed = self.rooms.watch()
        try:
            while True:
                await changed.wait()
                changed.clear()
                self._show()
                await asyncio.sleep(1 / PAINTS_PER_SECOND)
        finally:
            self.rooms.unwatch(changed)

    def _show(self) -> None:
        self.list.show(self.rooms, self._picked, [])

    async def _heard(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        if said.get("do") == "open":
            self._show()
        elif said.get("do") == "pick":
            self._pick(said.get("key"))

    def _pick(self, key: object) -> None:
        room = self.rooms.find(key)
        if room is None:
            return
        self._picked = str(key)
        self.rooms.changed()
        self.status.tell("")
        if self._on_pick is not None:
            self._on_pick(room)

    # ------------------------------------------------------------------ changing

    async def _ask(self, what: str) -> None:
        """Show the fields for a new group, a new thread or a new name."""
        if what == "new_thread" and self.group is None:
            raise InvalidMessage(self.say("pick_need_group"), hint="")
        if what == "rename":
            self._needed()
        self._asking = what
        self.confirm.description = self.say("pick_rename" if what == "rename" else "pick_create")
        self.name.value = (self._needed().name or "") if what == "rename" else ""
        self.members.value = self.parent_text.value = ""
        more = {"new_group": [self.members], "new_thread": [self.parent_text], "rename": []}[what]
        self._panel.children = [self.name, *more, self._panel_buttons]

    async def _cancel(self) -> None:
        self._panel.children = []
        self.status.tell("")

    async def _confirm(self) -> None:
        name = self.name.value.strip()
        match self._asking:
            case "new_group":
                members = [member for member in self.members.value.replace("，", ",").split(",") if member.strip()]
                group = await self.session.create_group.aio(name, [member.strip() for member in members])
                await self.rooms.load()
                self._pick(f"group:{group.id}")
            case "new_thread":
                await self._create_thread(name)
            case "rename":
                await self._needed().rename.aio(name)
                self.rooms.changed()
        self._panel.children = []

    async def _create_thread(self, name: str) -> None:
        group = self.group
        if group is None:
            raise InvalidMessage(self.say("pick_need_group"), hint="")
        parent = await group.send.aio(self.parent_text.value.strip() or name)
        thread = await group.create_thread.aio(name, parent)
        entry = self.rooms.groups.get(group.id)
        if entry is not None:
            await self.rooms.load_threads(entry)
        self._pick(f"thread:{thread.id}")

    def _needed(self) -> Thread:
        thread = self.thread
        if thread is None:
            raise InvalidMessage(self.say("pick_need_thread"), hint="")
        return thread

    async def _join(self) -> None:
        thread = self._needed()
        await thread.join.aio()
        self.rooms.set_joined(thread.id, True)
        await thread.refresh.aio()
        self._pick(self._picked)

    async def _leave(self) -> None:
        thread = self._needed()
        await thread.leave.aio()
        self.rooms.set_joined(thread.id, False)
        await thread.refresh.aio()

    def hidden(self) -> Sequence[Any]:
        """Return the controls that are not on the page just now."""
        return (self.name, self.members, self.parent_text, self._panel_buttons)
