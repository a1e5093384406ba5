"""`HistoryForm`: load the history of threads into a DataFrame, look at it, and take it away as a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from imkit.errors import InvalidMessage
from imkit.escape import file_name_for_disk
from imkit.history.arguments import query
from imkit.history.export import SUFFIXES, write
from imkit.history.load import Loading
from imkit.history.progress import ProgressText
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Part, Status, button, problem, readable, row, static
from imkit.widgets.code_snippet import code_for
from imkit.widgets.labels import Labels
from imkit.widgets.picker import RoomList
from imkit.widgets.thread_model import Rooms

if TYPE_CHECKING:
    import pandas as pd

_TYPES = ("txt", "img", "audio", "video", "file", "loc", "custom", "combine")
_SHOWN = 2_000  # rows in the table; the frame holds all
_PAINT_SECONDS = 0.2
_FIRST = ("time", "sender", "type", "text", "thread_name", "file_name")
_FIELD = {"description_width": "5.5em"}


class CodeBox(Part):
    """Shows code to copy, or to put into the next cell where JupyterLab lets it."""

    _esm = static("code.js")

    def __init__(self, say: Labels) -> None:
        super().__init__(say, "load_")
        self.code = ""

    def show(self, code: str) -> None:
        """Show `code`; nothing hides the box."""
        self.code = code
        self.send({"do": "code", "code": code})


class HistoryForm(Form):
    """Load the roaming history of threads and groups: choose, load, stop when it is enough, look, export.

    Args:
        session: who reads.
        threads: those that are chosen to begin with.
        rooms: what another form knows of the groups and threads already.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> form = HistoryForm(alice, [thread])  # doctest: +SKIP
        >>> form.frame.groupby("sender").size()  # doctest: +SKIP
    """

    def __init__(
        self,
        session: Session,
        threads: Iterable[Thread | Group] = (),
        *,
        rooms: Rooms | None = None,
        lang: str | None = None,
    ) -> None:
        super().__init__(lang)
        say = self.say
        self.session = session
        self._frame: pd.DataFrame | None = None
        self._task: asyncio.Task[None] | None = None
        self._painted = 0.0
        self._counted: int | None = None
        self._words = ProgressText()
        self._table: Any = None
        self._owns_rooms = rooms is None
        self.rooms = rooms or Rooms(session, say)
        self._extra = {_key(room): room for room in threads}
        self._chosen = list(self._extra)
        self.list = RoomList(say, many=True, height=190)
        self.since = self._field(ipywidgets.DatetimePicker, "load_since", value=None)
        self.until = self._field(ipywidgets.DatetimePicker, "load_until", value=None)
        self.types = {
            kind: ipywidgets.Checkbox(
                value=False, description=say(f"type_{kind}"), indent=False, layout=ipywidgets.Layout(width="auto")
            )
            for kind in _TYPES
        }
        self.sender = self._field(ipywidgets.Text, "load_sender", placeholder="bob")
        self.limit = self._field(
            ipywidgets.BoundedIntText, "load_limit", min=0, max=100_000_000, tooltip=say("load_limit_tip")
        )
        orders = [(say("load_oldest"), "oldest"), (say("load_newest"), "newest")]
        self.order = self._field(ipywidgets.Dropdown, "load_order", options=orders)
        self.load = button(say("load_start"), kind="primary")
        self.stop = button(say("load_stop"))
        self.stop.disabled = True
        bar_layout = ipywidgets.Layout(flex="1 1 12em", width="auto")
        self.bar = ipywidgets.IntProgress(value=0, min=0, max=1, layout=bar_layout, tooltip=say("load_progress"))
        self.progress = Status(say)
        self.show_code = button(say("load_code"))
        self.code = CodeBox(say)
        kinds = [(suffix[1:], suffix) for suffix in SUFFIXES]
        self.kind = self._field(ipywidgets.Dropdown, "load_export", options=kinds, value=".csv")
        self.file = self._field(ipywidgets.Text, "load_file", value="history")
        self.export = button(say("load_export_now"))
        self._result = ipywidgets.VBox([])
        self._lay_out()
        self.on_word(self.list, self._list_said)
        self.on_word(self.code, self._code_said)
        self.on_click(self.load, self._load)
        self.on_click(self.stop, self._stop)
        self.on_click(self.show_code, self._show_code)
        self.on_click(self.export, self._export)
        self.on_enter(self.sender, self._load, self.load)
        self.on_enter(self.file, self._export, self.export)
        self.start(self._keep_list)

    def _field(self, kind: Any, label: str, **options: Any) -> Any:
        layout = ipywidgets.Layout(width="auto", flex="1 1 17em", max_width="26em")
        return kind(description=self.say(label), style=_FIELD, layout=layout, **options)

    def _lay_out(self) -> None:
        types = ipywidgets.Label(self.say("load_types"), layout=ipywidgets.Layout(width="5.5em"))
        types.add_class("imkit-right")
        self.children = (
            self.list,
            row(self.since, self.until),
            ipywidgets.HBox([types, row(*self.types.values(), flex="1 1 0%")]),
            row(self.sender, self.limit, self.order),
            row(self.load, self.stop, self.bar, align_items="center"),
            self.progress,
            self.status,
            self._result,
        )
        self._tools = ipywidgets.VBox(
            [row(self.show_code, self.kind, self.file, self.export, align_items="center"), self.code]
        )

    @property
    def frame(self) -> pd.DataFrame | None:
        """The frame that was loaded last; `None` before."""
        return self._frame

    # ------------------------------------------------------------------ choosing

    async def _keep_list(self) -> None:
        if self._owns_rooms:
            self.start(self.rooms.load)
        changed = self.rooms.watch()
        try:
            while True:
                self._show_list()
                await changed.wait()
                changed.clear()
                await asyncio.sleep(_PAINT_SECONDS)
        finally:
            self.rooms.unwatch(changed)

    def _show_list(self) -> None:
        self.list.show(self.rooms, None, self._chosen)

    async def _list_said(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        if said.get("do") == "open":
            self._show_list()
        elif said.get("do") == "chosen" and isinstance(said.get("keys"), list):
            self._chosen = [str(key) for key in said["keys"]]

    def choose(self, room: Thread | Group) -> None:
        """Choose one thread or group, and no other."""
        self._extra[_key(room)] = room
        self._chosen = [_key(room)]
        self._show_list()

    def _rooms_chosen(self) -> list[Thread | Group]:
        found = [self.rooms.find(key) or self._extra.get(key) for key in self._chosen]
        rooms = [room for room in found if room is not None]
        if not rooms:
            raise InvalidMessage(self.say("load_none"), hint="")
        return rooms

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `history()` that the form stands for, those that say nothing left out."""
        wanted = {
            "since": self.since.value,
            "until": self.until.value,
            "types": [kind for kind, control in self.types.items() if control.value],
            "sender": self.sender.value.strip(),
            "limit": self.limit.value,
        }
        given = {name: value for name, value in wanted.items() if value}
        return given if self.order.value == "oldest" else {**given, "order": self.order.value}

    # ------------------------------------------------------------------ loading

    async def _load(self) -> None:
        ids = [room.id for room in self._rooms_chosen()]
        wanted = query(**self._arguments())
        self.status.tell("")
        self.progress.tell(self.say("load_busy", n=0), "busy")
        self.bar.value, self.bar.max, self.bar.bar_style = 0, 1, ""
        loading = Loading(self.session.account, ids, wanted, progress=self._told)
        self._words = ProgressText()
        self._counted = loading.counted  # where the service has told; else it is estimated
        self._task = task = asyncio.create_task(loading.run())
        self.stop.disabled = False
        try:
            await asyncio.wait({task})
        finally:
            self.stop.disabled = True
            task.cancel()
        stopped = self.say("load_stopped") if task.cancelled() else ""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.show_error(error)
            stopped = problem(error)[0]
        outcome = loading.outcome("stopped" if task.cancelled() else stopped)
        await self._show(await asyncio.to_thread(outcome.frame))

    async def _told(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._painted < _PAINT_SECONDS:
            return
        self._painted = now
        key = "load_busy" if total is None else "load_busy_of"
        if total is not None and total == self._counted:
            key = "load_busy_counted"
        said = self.say(key, n=f"{done:,}", total=f"{total or 0:,}")
        self.progress.tell(f"{said}{self._words.speed(done)}", "busy")
        with self.bar.hold_sync():
            self.bar.max, self.bar.value = max(total or 0, done, 1), done if total else 0

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _show(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        source = frame.attrs["imkit"]
        rows = f"{len(frame):,}"
        complete = source["complete"]
        why = self.say("load_stopped") if source["reason"] == "stopped" else source["reason"]
        said = self.say("load_done", n=rows) if complete else self.say("load_part", n=rows, why=why)
        self.progress.tell(said, "good" if complete else "quiet")
        with self.bar.hold_sync():
            self.bar.max, self.bar.value = max(self.bar.max, 1), self.bar.max if complete else self.bar.value
            self.bar.bar_style = "success" if complete else "warning"
        if len(frame) > _SHOWN:
            self.status.tell(self.say("load_shown", n=f"{_SHOWN:,}", total=rows))
        shown = await asyncio.to_thread(table_of, frame)
        if self._table is None:
            from itables.widget import ITable

            self._table = ITable(
                shown,
                maxBytes=0,
                scrollX=True,
                classes="display nowrap compact",
                lengthMenu=[10, 25, 50, 100],
                language=_table_words(self.say),
            )
            self._result.children = [self._table, self._tools]
        else:
            self._table.update(shown)
        if self.code.code:
            await self._show_code(again=True)

    # ------------------------------------------------------------------ taking away

    async def _show_code(self, again: bool = False) -> None:
        hide = bool(self.code.code) and not again
        self.code.show("" if hide else code_for(self.session, self._rooms_chosen(), self._arguments()))

    async def _code_said(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        if said.get("do") == "open":
            self.code.show(self.code.code)

    async def _export(self) -> None:
        frame = self._frame
        if frame is None:
            return
        name = file_name_for_disk(self.file.value.strip(), "history").removesuffix(self.kind.value)
        path = Path(f"{name}{self.kind.value}")
        if await asyncio.to_thread(path.exists):
            raise InvalidMessage(self.say("load_exists", path=path), hint="")
        await asyncio.to_thread(write, frame, path)
        self.status.tell(self.say("load_exported", path=path), "good")

    def hidden(self) -> Sequence[Any]:
        """Return the controls that are not on the page just now."""
        return (self._tools,)


def table_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows and columns of a history frame that a table shows: the first ones, without empty columns."""
    shown = frame.head(_SHOWN).dropna(axis="columns", how="all")
    for name in shown.columns:
        if shown[name].dtype.kind not in "biufM":
            shown[name] = shown[name].astype(object).map(readable, na_action="ignore").fillna("")
    if "time" in shown:
        shown["time"] = shown["time"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")
    if "edit_count" in shown and not shown["edit_count"].any():
        shown = shown.drop(columns="edit_count")
    first = [name for name in _FIRST if name in shown]
    return shown[[*first, *(name for name in shown if name not in first)]]


def _table_words(say: Labels) -> dict[str, str]:
    """Return what the table says around its rows; it fills in what stands between underscores."""
    return {
        "lengthMenu": say("load_entries", n="_MENU_"),
        "search": say("load_find"),
        "info": say("load_from_to", start="_START_", end="_END_", n="_TOTAL_"),
        "infoFiltered": say("load_filtered", n="_MAX_"),
        **dict.fromkeys(("infoEmpty", "emptyTable", "zeroRecords"), say("load_nothing")),
    }


def _key(room: Thread | Group) -> str:
    return f"{'thread' if isinstance(room, Thread) else 'group'}:{room.id}"
