"""`HistoryForm`: a form that loads the history of threads and groups into a DataFrame and exports it to a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets

from imkit.errors import InvalidMessage
from imkit.escape import file_name_for_disk
from imkit.history.arguments import query
from imkit.history.export import SUFFIXES, write
from imkit.history.load import Loading
from imkit.history.progress import ProgressText
from imkit.session import Session, checked_session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Status, WidgetPart, button, describe_error, readable, row, static
from imkit.widgets.code_snippet import code_for
from imkit.widgets.labels import Labels
from imkit.widgets.picker import ConversationList
from imkit.widgets.thread_model import ConversationTree, key_of

if TYPE_CHECKING:
    import pandas as pd

_TYPES = ("txt", "img", "audio", "video", "file", "loc", "custom", "combine")
_MAX_TABLE_ROWS = 2_000  # the frame has all rows
_UPDATE_SECONDS = 0.2
_FIRST_COLUMNS = ("time", "sender", "type", "text", "thread_name", "file_name")


class CodeBox(WidgetPart):
    """Code to copy, or to insert as the next cell if JupyterLab gives scripts access to the notebook."""

    _esm = static("code_box.js")

    def __init__(self, labels: Labels) -> None:
        super().__init__(labels, "load_")
        self.code = ""

    def show(self, code: str) -> None:
        """Show `code`; an empty text hides the box."""
        self.code = code
        self.send({"do": "code", "code": code})


class HistoryForm(Form):
    """Load the roaming history (消息漫游) of threads and groups into a DataFrame, show it, export it to a file.

    A stopped load keeps the messages that it has loaded.

    Args:
        session: the session that loads.
        threads: threads and groups that are chosen at first.
        tree: the groups and threads of another form, which keeps them up to date; `None`: this form loads its own.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        form = imkit.widgets.HistoryForm(alice, [thread])
        form  # shows it; after a load, in another cell:
        form.frame.groupby("sender").size()
        ```
    """

    LABEL_WIDTH = "5.5em"
    FIELD_LAYOUT: ClassVar[Mapping[str, str]] = {"width": "auto", "flex": "1 1 17em", "max_width": "26em"}

    def __init__(
        self,
        session: Session,
        threads: Iterable[Thread | Group] = (),
        *,
        tree: ConversationTree | None = None,
        lang: str | None = None,
    ) -> None:
        checked_session(session)
        super().__init__(lang)
        labels = self.labels
        self.session = session
        self._frame: pd.DataFrame | None = None
        self._task: asyncio.Task[None] | None = None
        self._progress_shown = 0.0  # time.monotonic()
        self._server_count: int | None = None
        self._progress_text = ProgressText()
        self._table: Any = None
        self._owns_tree = tree is None
        self.tree = tree or ConversationTree(session, labels)
        self._given = {key_of(conversation): conversation for conversation in threads}  # may be missing in the tree
        self._chosen = list(self._given)
        self.list = ConversationList(labels, multiple=True, height=190)
        self._make_filters()
        self.load = button(labels("load_start"), kind="primary")
        self.stop = button(labels("load_stop"))
        self.stop.disabled = True
        bar_layout = ipywidgets.Layout(flex="1 1 12em", width="auto")
        self.bar = ipywidgets.IntProgress(value=0, min=0, max=1, layout=bar_layout, tooltip=labels("load_progress"))
        self.progress = Status(labels)
        self.show_code = button(labels("load_code"))
        self.code = CodeBox(labels)
        kinds = [(suffix[1:], suffix) for suffix in SUFFIXES]
        self.kind = self.field(ipywidgets.Dropdown, "load_export", options=kinds, value=".csv")
        self.file = self.field(ipywidgets.Text, "load_file", value="history")
        self.export = button(labels("load_export_now"))
        self._result = ipywidgets.VBox([])
        self._lay_out()
        self.on_page_message(self.list, self._on_list_message)
        self.on_page_message(self.code, self._on_code_message)
        self.on_click(self.load, self._load)
        self.on_click(self.stop, self._stop)
        self.on_click(self.show_code, self._toggle_code)
        self.on_click(self.export, self._export)
        self.on_enter(self.sender, self._load, self.load)
        self.on_enter(self.file, self._export, self.export)
        if self._owns_tree:
            self.start(self.tree.load)
        self.start(partial(self.tree.call_on_change, self._show_list, _UPDATE_SECONDS))

    def _make_filters(self) -> None:
        """Create the controls for the arguments of `history()`."""
        labels = self.labels
        self.since = self.field(ipywidgets.DatetimePicker, "load_since", value=None)
        self.until = self.field(ipywidgets.DatetimePicker, "load_until", value=None)
        self.types = {
            kind: ipywidgets.Checkbox(
                value=False, description=labels(f"type_{kind}"), indent=False, layout=ipywidgets.Layout(width="auto")
            )
            for kind in _TYPES
        }
        self.sender = self.field(ipywidgets.Text, "load_sender", placeholder="bob")
        self.limit = self.field(
            ipywidgets.BoundedIntText, "load_limit", min=0, max=100_000_000, tooltip=labels("load_limit_tip")
        )
        orders = [(labels("load_oldest"), "oldest"), (labels("load_newest"), "newest")]
        self.order = self.field(ipywidgets.Dropdown, "load_order", options=orders)

    def _lay_out(self) -> None:
        types = ipywidgets.Label(self.labels("load_types"), layout=ipywidgets.Layout(width=self.LABEL_WIDTH))
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
        """The DataFrame that was loaded last; `None` before."""
        return self._frame

    # ------------------------------------------------------------------ choosing

    def _show_list(self) -> None:
        self.list.show(self.tree, None, self._chosen)

    async def _on_list_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        if content.get("do") == "open":
            self._show_list()
        elif content.get("do") == "chosen" and isinstance(content.get("keys"), list):
            self._chosen = [str(key) for key in content["keys"]]

    def choose(self, conversation: Thread | Group) -> None:
        """Choose one thread or group instead of those chosen now."""
        self._given[key_of(conversation)] = conversation
        self._chosen = [key_of(conversation)]
        self._show_list()

    def _chosen_conversations(self) -> list[Thread | Group]:
        candidates = [self.tree.find(key) or self._given.get(key) for key in self._chosen]
        conversations = [conversation for conversation in candidates if conversation is not None]
        if not conversations:
            raise InvalidMessage(self.labels("load_none"), hint="")
        return conversations

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `history()` from the controls, without those that have their default values."""
        values = {
            "since": self.since.value,
            "until": self.until.value,
            "types": [kind for kind, control in self.types.items() if control.value],
            "sender": self.sender.value.strip(),
            "limit": self.limit.value,
        }
        arguments = {name: value for name, value in values.items() if value}
        return arguments if self.order.value == "oldest" else {**arguments, "order": self.order.value}

    # ------------------------------------------------------------------ loading

    async def _load(self) -> None:
        ids = [conversation.id for conversation in self._chosen_conversations()]
        arguments = query(**self._arguments())
        self.status.show("")
        self.progress.show(self.labels("load_busy", n=0), "busy")
        self.bar.value, self.bar.max, self.bar.bar_style = 0, 1, ""
        loading = Loading(self.session.account, ids, arguments, progress=self._on_progress)
        self._progress_text = ProgressText()
        self._server_count = loading.counted  # `None`: the progress total is an estimate
        reason = await self._run_until_stopped(loading)
        outcome = loading.outcome(reason)
        await self._show_frame(await asyncio.to_thread(outcome.frame))

    async def _run_until_stopped(self, loading: Loading) -> str:
        """Load until the end, an error or a click on the stop button; return why it ended early, or an empty text."""
        self._task = task = asyncio.create_task(loading.run())
        self.stop.disabled = False
        try:
            await asyncio.wait({task})
        finally:
            self.stop.disabled = True
            task.cancel()
            # Of a form that was closed nobody asks for the error, and asyncio would log it.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        if task.cancelled():
            return "stopped"
        error = task.exception()
        if error is None:
            return ""
        self.show_error(error)
        return describe_error(error)[0]

    async def _on_progress(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._progress_shown < _UPDATE_SECONDS:
            return
        self._progress_shown = now
        key = "load_busy" if total is None else "load_busy_of"
        if total is not None and total == self._server_count:
            key = "load_busy_counted"
        text = self.labels(key, n=f"{done:,}", total=f"{total or 0:,}")
        self.progress.show(f"{text}{self._progress_text.speed(done)}", "busy")
        with self.bar.hold_sync():
            self.bar.max, self.bar.value = max(total or 0, done, 1), done if total else 0

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # ------------------------------------------------------------------ the result

    async def _show_frame(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._show_outcome(frame)
        await self._show_table(await asyncio.to_thread(table_of, frame))
        if self.code.code:
            self._show_code()

    def _show_outcome(self, frame: pd.DataFrame) -> None:
        """Show the number of rows and whether the frame is complete."""
        source = frame.attrs["imkit"]
        rows = f"{len(frame):,}"
        complete = source["complete"]
        why = self.labels("load_stopped") if source["reason"] == "stopped" else source["reason"]
        text = self.labels("load_done", n=rows) if complete else self.labels("load_part", n=rows, why=why)
        self.progress.show(text, "good" if complete else "quiet")
        with self.bar.hold_sync():
            self.bar.max, self.bar.value = max(self.bar.max, 1), self.bar.max if complete else self.bar.value
            self.bar.bar_style = "success" if complete else "warning"
        if len(frame) > _MAX_TABLE_ROWS:
            self.status.show(self.labels("load_shown", n=f"{_MAX_TABLE_ROWS:,}", total=rows))

    async def _show_table(self, table: pd.DataFrame) -> None:
        if self._table is not None:
            self._table.update(table)
            return
        from itables.widget import ITable

        self._table = ITable(
            table,
            maxBytes=0,
            scrollX=True,
            classes="display nowrap compact",
            lengthMenu=[10, 25, 50, 100],
            language=_table_labels(self.labels),
        )
        self._result.children = [self._table, self._tools]

    async def _toggle_code(self) -> None:
        if self.code.code:
            self.code.show("")
        else:
            self._show_code()

    def _show_code(self) -> None:
        self.code.show(code_for(self.session, self._chosen_conversations(), self._arguments()))

    async def _on_code_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        if content.get("do") == "open":
            self.code.show(self.code.code)

    async def _export(self) -> None:
        frame = self._frame
        if frame is None:
            return
        name = file_name_for_disk(self.file.value.strip(), "history").removesuffix(self.kind.value)
        path = Path(f"{name}{self.kind.value}")
        if await asyncio.to_thread(path.exists):
            raise InvalidMessage(self.labels("load_exists", path=path), hint="")
        await asyncio.to_thread(write, frame, path)
        self.status.show(self.labels("load_exported", path=path), "good")

    def hidden_controls(self) -> Sequence[Any]:
        """Return the tools under the table, which are on the page only after a load."""
        return (self._tools,)


def table_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the part of a history frame that the form shows as a table: the first rows, without empty columns."""
    shown = frame.head(_MAX_TABLE_ROWS).dropna(axis="columns", how="all")
    for name in shown.columns:
        if shown[name].dtype.kind not in "biufM":
            shown[name] = shown[name].astype(object).map(readable, na_action="ignore").fillna("")
    if "time" in shown:
        shown["time"] = shown["time"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")
    if "edit_count" in shown and not shown["edit_count"].any():
        shown = shown.drop(columns="edit_count")
    first = [name for name in _FIRST_COLUMNS if name in shown]
    return shown[[*first, *(name for name in shown if name not in first)]]


def _table_labels(labels: Labels) -> dict[str, str]:
    """Return the table's own texts; the table replaces words such as ``_START_``."""
    return {
        "lengthMenu": labels("load_entries", n="_MENU_"),
        "search": labels("load_find"),
        "info": labels("load_from_to", start="_START_", end="_END_", n="_TOTAL_"),
        "infoFiltered": labels("load_filtered", n="_MAX_"),
        **dict.fromkeys(("infoEmpty", "emptyTable", "zeroRecords"), labels("load_nothing")),
    }
