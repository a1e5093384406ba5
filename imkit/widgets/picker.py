"""`ThreadPicker`: a form that lists a user's groups and threads, and creates, joins, leaves and renames threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ipywidgets
import traitlets

from imkit.errors import InvalidMessage
from imkit.events import DeviceChanged, GroupChanged, MessageReceived, ThreadChanged
from imkit.session import Session, checked_session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, WidgetPart, button, row, static
from imkit.widgets.labels import Labels
from imkit.widgets.thread_model import ConversationTree, key_of

_UPDATE_SECONDS = 0.25
_LOAD_SECONDS = 5.0  # from the end of a load to the next one that a change of a group causes


class ConversationList(WidgetPart):
    """The list of groups and threads on the page, with a search field.

    Args:
        labels: the form's labels.
        multiple: several conversations can be chosen, with check boxes; else one is picked by a click.
        height: of the list, in pixels.
    """

    _esm = static("conversation_list.js")
    multiple = traitlets.Bool(False).tag(sync=True)
    height = traitlets.Int(380).tag(sync=True)

    def __init__(self, labels: Labels, multiple: bool, height: int) -> None:
        super().__init__(labels, "pick_", multiple=multiple, height=height)

    def show(self, tree: ConversationTree, picked: str | None, chosen: Sequence[str]) -> None:
        """Send all rows to the page; `picked` and `chosen` are keys of rows."""
        rows, chosen = tree.as_rows(), list(chosen)
        self.send({"do": "conversations", "rows": rows, "picked": picked, "chosen": chosen, "loading": tree.is_loading})


class ThreadPicker(Form):
    """A user's groups and threads: name, members, messages, newest message; search, create, join, leave, rename.

    Events keep the list up to date.

    Args:
        session: the session of the user.
        on_pick: called with the picked thread or group on imkit's event loop; it must not block.
        height: of the list, in pixels.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        picker = imkit.widgets.ThreadPicker(alice)
        picker  # shows it; after a click on a thread, in another cell:
        picker.thread.history()
        ```
    """

    LABEL_WIDTH = "7em"

    def __init__(
        self,
        session: Session,
        *,
        on_pick: Callable[[Thread | Group], object] | None = None,
        height: int = 380,
        lang: str | None = None,
    ) -> None:
        checked_session(session)
        super().__init__(lang)
        labels = self.labels
        self.session = session
        self.tree = ConversationTree(session, labels)
        self._on_pick = on_pick
        self._picked: str | None = None
        self.list = ConversationList(labels, multiple=False, height=height)
        self.buttons = {
            name: button(labels(f"pick_{name}") if name != "refresh" else labels("refresh"))
            for name in ("new_group", "new_thread", "join", "leave", "rename", "refresh")
        }
        self.name = self.field(ipywidgets.Text, "pick_name")
        self.members = self.field(ipywidgets.Text, "pick_members", placeholder=labels("pick_members_tip"))
        self.parent_text = self.field(ipywidgets.Text, "pick_parent", placeholder=labels("pick_parent_tip"))
        self.confirm = button(labels("pick_create"), kind="primary")
        self.cancel = button(labels("cancel"))
        self._panel_action = ""  # what `confirm` does: new_group, new_thread or rename
        self._panel = ipywidgets.VBox([])
        self._panel_buttons = row(self.confirm, self.cancel)
        self._toolbar = row(*self.buttons.values())
        self.children = (self._toolbar, self._panel, self.list, self.status)
        for name in ("new_group", "new_thread", "rename"):
            self.on_click(self.buttons[name], partial(self._open_panel, name))
        self.on_click(self.buttons["join"], self._join)
        self.on_click(self.buttons["leave"], self._leave)
        self.on_click(self.buttons["refresh"], self._refresh)
        self.on_click(self.confirm, self._confirm)
        self.on_click(self.cancel, self._close_panel)
        for control in (self.name, self.members, self.parent_text):
            self.on_enter(control, self._confirm, self.confirm)
        self.on_page_message(self.list, self._on_list_message)
        self.start(self._take_events)
        self.start(partial(self.tree.call_on_change, self._show_list, _UPDATE_SECONDS))
        self.start(partial(self.tree.load_on_change, self.show_error, _LOAD_SECONDS))
        self.start(self.tree.load, self.buttons["refresh"])

    @property
    def thread(self) -> Thread | None:
        """The picked thread; `None` if none is picked."""
        picked = self.tree.find(self._picked)
        return picked if isinstance(picked, Thread) else None

    @property
    def group(self) -> Group | None:
        """The picked group, or the group of the picked thread; `None` if nothing is picked."""
        picked = self.tree.find(self._picked)
        if isinstance(picked, Thread):
            return None if picked.group_id is None else self.session.group(picked.group_id)
        return picked

    # ------------------------------------------------------------------ the list

    async def _take_events(self) -> None:
        kinds = (ThreadChanged, DeviceChanged, GroupChanged, MessageReceived)
        async for event in self.session.events(*kinds, replay=False):
            self.tree.take_event(event)

    async def _refresh(self) -> None:
        self.status.show("")
        await self.tree.load()

    def _show_list(self) -> None:
        self.list.show(self.tree, self._picked, [])

    async def _on_list_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        if content.get("do") == "open":
            self._show_list()
        elif content.get("do") == "pick":
            self._pick(content.get("key"))

    def _pick(self, key: object) -> None:
        conversation = self.tree.find(key)
        if conversation is None:
            return
        self._picked = str(key)
        self.tree.notify_changed()
        self.status.show("")
        if self._on_pick is not None:
            self._on_pick(conversation)

    # ------------------------------------------------------------------ creating, joining, renaming

    async def _open_panel(self, action: str) -> None:
        """Show the fields for a new group, a new thread or a new name."""
        if action == "new_thread" and self.group is None:
            raise InvalidMessage(self.labels("pick_need_group"), hint="")
        is_rename = action == "rename"
        name = (self._require_thread().name or "") if is_rename else ""
        self._panel_action = action
        self.confirm.description = self.labels("pick_rename" if is_rename else "pick_create")
        self.name.value = name
        self.members.value = self.parent_text.value = ""
        more = {"new_group": [self.members], "new_thread": [self.parent_text], "rename": []}[action]
        self._panel.children = [self.name, *more, self._panel_buttons]

    async def _close_panel(self) -> None:
        self._panel.children = []
        self.status.show("")

    async def _confirm(self) -> None:
        name = self.name.value.strip()
        match self._panel_action:
            case "new_group":
                await self._create_group(name)
            case "new_thread":
                await self._create_thread(name)
            case "rename":
                await self._require_thread().rename.aio(name)
                self.tree.notify_changed()
        self._panel.children = []

    async def _create_group(self, name: str) -> None:
        members = [member.strip() for member in self.members.value.replace("，", ",").split(",")]
        group = await self.session.create_group.aio(name, [member for member in members if member])
        await self.tree.load()
        self._pick(key_of(group))

    async def _create_thread(self, name: str) -> None:
        group = self.group
        if group is None:
            raise InvalidMessage(self.labels("pick_need_group"), hint="")
        parent = await group.send.aio(self.parent_text.value.strip() or name)
        thread = await group.create_thread.aio(name, parent)
        entry = self.tree.groups.get(group.id)
        if entry is not None:
            await self.tree.load_threads(entry)
        self._pick(key_of(thread))

    def _require_thread(self) -> Thread:
        thread = self.thread
        if thread is None:
            raise InvalidMessage(self.labels("pick_need_thread"), hint="")
        return thread

    async def _join(self) -> None:
        thread = self._require_thread()
        await thread.join.aio()
        self.tree.set_joined(thread.id, True)
        await thread.refresh.aio()
        self._pick(self._picked)

    async def _leave(self) -> None:
        thread = self._require_thread()
        await thread.leave.aio()
        self.tree.set_joined(thread.id, False)
        await thread.refresh.aio()

    def hidden_controls(self) -> Sequence[Any]:
        """Return the panel's controls, which are on the page only while the panel is open."""
        return (self.name, self.members, self.parent_text, self._panel_buttons)
