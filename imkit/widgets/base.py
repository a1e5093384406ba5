"""What every form stands on: its jobs on the portal, its status line, its end.

A callback of a control runs in a thread that depends on the kernel's version. So it does nothing but hand a coroutine
to imkit's own loop; that loop alone touches a form's state and writes to its controls.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.portal import portal
from imkit.widgets.labels import Labels, Said

logger = logging.getLogger("imkit.widgets")

Action = Callable[[], Coroutine[Any, Any, Any]]
_STATIC = Path(__file__).with_name("static")


@cache
def static(name: str) -> str:
    """Return a file of this package, such as ``"feed.js"``; scripts come with what all of them use."""
    text = (_STATIC / name).read_text(encoding="utf-8")
    return f"{static('common.js.part')}\n{text}" if name.endswith(".js") else text


def readable(text: str) -> str:
    """Return a stranger's text for the page: what would steer or reorder it is written out; lines stay lines."""
    return "\n".join(for_terminal(line) for line in text.split("\n"))


class Part(anywidget.AnyWidget):
    """A piece of a form with a script of its own. What it says arrives as messages, so nothing of it is saved.

    Attributes:
        words: the labels its script uses.
        language: ``"en"`` or ``"zh"``, for fonts and screen readers.
    """

    _css = static("imkit.css")
    words = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode("en").tag(sync=True)

    def __init__(self, say: Labels, *words: str, **traits: Any) -> None:
        self._words = words
        super().__init__(words=say.some(*words), language=say.language, **traits)

    def relabel(self, say: Labels) -> None:
        """Say everything anew, in the language that `say` has by now; the page draws the part again."""
        with self.hold_sync():
            relabel(self, say)
            self.words, self.language = say.some(*self._words), say.language


class Status(Part):
    """One line that says how things are, read aloud by screen readers when it changes.

    It also hears from the page which language that speaks, and tells the reader when the kernel is gone.
    """

    _esm = static("status.js")
    text = traitlets.Unicode().tag(sync=True)
    hint = traitlets.Unicode().tag(sync=True)
    tone = traitlets.Unicode("quiet").tag(sync=True)

    def __init__(self, say: Labels) -> None:
        super().__init__(say, "form_")
        self._told = ""  # the text as it was told, which may be a label

    def tell(self, text: str, tone: str = "quiet", hint: str = "") -> None:
        """Show a text; `tone` is ``"quiet"``, ``"good"``, ``"busy"`` or ``"bad"``."""
        self._told = text
        with self.hold_sync():
            self.text, self.tone, self.hint = readable(text), tone, readable(hint)

    def relabel(self, say: Labels) -> None:
        """Say the same in the language that `say` has by now."""
        self.text = readable(say.again(self._told))
        super().relabel(say)


class Form(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """A form: controls, a status line, and jobs that end with it.

    Args:
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.
    """

    children: Any  # a trait of ipywidgets, which ships no types

    def __init__(self, lang: str | None = None) -> None:
        self._jobs: set[concurrent.futures.Future[Any]] = set()
        self._closed = False
        self.say = Labels(lang)
        self.status = Status(self.say)
        super().__init__()
        self.add_class("imkit-form")
        self.on_word(self.status, self._page_speaks)

    def start(self, action: Action, *busy: Any) -> None:
        """Run an async function on imkit's loop; what goes wrong in it is shown in the form.

        Args:
            action: what to do.
            *busy: controls that are off while it runs. If one is off already, the work is not done again.
        """
        if self._closed:
            return
        future = portal().submit(self._guarded(action, busy))
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)

    async def _guarded(self, action: Action, busy: Sequence[Any]) -> None:
        if any(control.disabled for control in busy):
            return
        for control in busy:
            control.disabled = True
        try:
            await action()
        except Exception as error:  # a callback has no caller: the form shows it
            self.show_error(error)
        finally:
            for control in busy:
                control.disabled = False

    def show_error(self, error: BaseException) -> None:
        """Say in the status line what went wrong."""
        if not isinstance(error, IMError | OSError):
            logger.error("a form failed", exc_info=error)
        self.status.tell(*problem(error))

    def on_click(self, button: Any, action: Action, *busy: Any) -> None:
        """Have a button start an async function, and be off while it runs."""
        button.on_click(lambda _: self.start(action, button, *busy))

    def on_change(self, control: Any, action: Action) -> None:
        """Have a control's new value start an async function."""
        control.observe(lambda _: self.start(action), "value")

    def on_enter(self, control: Any, action: Action, *busy: Any) -> None:
        """Have the Enter key in a text control start an async function."""

        def told(_: Any, content: Any, __: Any) -> None:
            if isinstance(content, dict) and content.get("event") == "submit":
                self.start(action, *busy)

        control.on_msg(told)

    def on_word(self, part: Part, action: Callable[[dict[str, Any], Sequence[Any]], Coroutine[Any, Any, Any]]) -> None:
        """Have what a part's script says start an async function."""

        def told(_: Any, content: Any, buffers: Sequence[Any]) -> None:
            if isinstance(content, dict):
                self.start(partial(action, content, buffers))

        part.on_msg(told)

    async def _page_speaks(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        if not self.say.turn(said.get("language")):
            return
        # Forms within this one hear from the page themselves.
        for widget in _belonging((*self.children, *self.hidden(), self.status)):
            if isinstance(widget, Part):
                widget.relabel(self.say)
            elif not isinstance(widget, Form):
                relabel(widget, self.say)

    def hidden(self) -> Sequence[Any]:
        """Return the controls that belong to the form and may not be on the page just now; they end with it."""
        return ()

    def close(self) -> None:
        """End what the form does, and take it off the page. The session stays open."""
        # Also called by the garbage collector, in any thread: so it waits for nothing.
        if self._closed:
            return
        self._closed = True
        for job in list(self._jobs):
            job.cancel()
        self.children = (*self.children, *self.hidden(), self.status)
        _close_within(self)
        ipywidgets.Widget.close(self)


def problem(error: BaseException) -> tuple[str, str, str]:
    """Return what a status line is told of an error: text, tone, hint."""
    if isinstance(error, IMError):
        said = error.args[0] if error.args and error.args[0] else type(error).__name__
        reason = f": {error.reason}" if error.reason and error.reason not in said else ""
        return f"{type(error).__name__}: {said}{reason}", "bad", error.hint
    return f"{type(error).__name__}: {error}", "bad", ""


def discard(widget: Any) -> None:
    """Close a widget and everything that belongs to it: ipywidgets itself would keep it for ever."""
    if not isinstance(widget, Form):  # which does it itself
        _close_within(widget)
    widget.close()


def _close_within(widget: Any) -> None:
    for one in list(_descendants(widget)):
        one.close()


def _descendants(widget: Any) -> Iterator[Any]:
    """Yield what belongs to a widget: children, layouts, styles."""
    return _belonging(
        (*getattr(widget, "children", ()), *(getattr(widget, name, None) for name in ("layout", "style")))
    )


def _belonging(children: Iterable[Any]) -> Iterator[Any]:
    """Yield widgets, each after what belongs to it; a form stands for all that is its own."""
    for child in children:
        if isinstance(child, ipywidgets.Widget):
            if not isinstance(child, Form):
                yield from _descendants(child)
            yield child


def relabel(widget: Any, say: Labels) -> None:
    """Have a control say its labels in the language that `say` has by now."""
    for name in ("description", "placeholder", "tooltip", "value", "label"):
        text = getattr(widget, name, None)
        if isinstance(text, Said):
            setattr(widget, name, say.again(text))
    if any(isinstance(title, Said) for title in getattr(widget, "titles", ())):
        widget.titles = tuple(say.again(title) for title in widget.titles)
    if isinstance(widget, ipywidgets.Dropdown):
        options = tuple((say.again(text), value) for text, value in widget.options)
        if options != widget.options:
            value = widget.value
            widget.options, widget.value = options, value


def row(*children: Any, **layout: Any) -> Any:
    """Return controls side by side, wrapped where there is no room."""
    box = ipywidgets.HBox(children, layout=ipywidgets.Layout(**{"flex_flow": "row wrap", **layout}))
    box.add_class("imkit-row")
    return box


def button(text: str, *, kind: str = "", under: str = "") -> Any:
    """Return a button that says `text`.

    Args:
        text: what it does.
        kind: ``"primary"`` for the one thing that a form is for.
        under: the width of the labels of the fields above, to stand under the fields and not under their labels.
    """
    margin = f"2px 2px 2px calc({under} + 10px)" if under else None
    return ipywidgets.Button(
        description=text,
        button_style=kind,
        tooltip=text,
        layout=ipywidgets.Layout(width="auto", margin=margin),
    )
