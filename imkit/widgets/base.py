"""Base classes of all forms: `WidgetPart` (a widget with a script of its own), `Status`, `Form`.

An ipywidgets callback runs in a thread that depends on the kernel's version. So a callback only hands a coroutine to
imkit's own event loop. Only code on that loop reads or changes a form's state and writes to its controls.

The scripts are in `static/`. `static/common.js.part` is put in front of each of them.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import ipywidgets
import traitlets

from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.portal import portal
from imkit.widgets.labels import Label, Labels

logger = logging.getLogger("imkit.widgets")

Action = Callable[[], Coroutine[Any, Any, Any]]
PageAction = Callable[[dict[str, Any], Sequence[Any]], Coroutine[Any, Any, Any]]
_STATIC = Path(__file__).with_name("static")


@cache
def static(name: str) -> str:
    """Return the text of a file in `static/`, such as ``"feed.js"``; scripts begin with `common.js.part`."""
    text = (_STATIC / name).read_text(encoding="utf-8")
    return f"{static('common.js.part')}\n{text}" if name.endswith(".js") else text


def readable(text: str) -> str:
    """Return text from other users, safe to show: control and bidirectional characters as escapes, lines kept."""
    return "\n".join(for_terminal(line) for line in text.split("\n"))


class WidgetPart(anywidget.AnyWidget):
    """A widget with a script of its own: what a form is made of, beside the controls of ipywidgets.

    Content goes to the page as custom messages and not as traits. JupyterLab saves traits with a notebook; it does
    not save messages.

    Args:
        labels: the form's labels.
        *label_prefixes: the script gets the labels whose keys begin with one of these.
        **traits: initial values of traits.

    Attributes:
        texts: the labels that the script uses, by key.
        language: ``"en"`` or ``"zh"``, for date formats, fonts and screen readers.
    """

    _css = static("imkit.css")
    texts = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode("en").tag(sync=True)

    def __init__(self, labels: Labels, *label_prefixes: str, **traits: Any) -> None:
        self._label_prefixes = label_prefixes
        super().__init__(texts=labels.with_prefixes(*label_prefixes), language=labels.language, **traits)

    def relabel(self, labels: Labels) -> None:
        """Show the labels in the language that `labels` now has; the page draws the part again."""
        with self.hold_sync():
            relabel(self, labels)
            self.texts, self.language = labels.with_prefixes(*self._label_prefixes), labels.language


class Status(WidgetPart):
    """A status line. Screen readers read it aloud when it changes.

    Its script also sends the page's language to the kernel, and says so on the page when the kernel has ended.
    """

    _esm = static("status.js")
    text = traitlets.Unicode().tag(sync=True)
    hint = traitlets.Unicode().tag(sync=True)
    tone = traitlets.Unicode("quiet").tag(sync=True)

    def __init__(self, labels: Labels) -> None:
        super().__init__(labels, "form_")
        self._unescaped = ""  # the text before escaping; a Label can be translated later

    def show(self, text: str, tone: str = "quiet", hint: str = "") -> None:
        """Show a text; `tone` is ``"quiet"``, ``"good"``, ``"busy"`` or ``"bad"``."""
        self._unescaped = text
        with self.hold_sync():
            self.text, self.tone, self.hint = readable(text), tone, readable(hint)

    def relabel(self, labels: Labels) -> None:
        """Show the same text in the language that `labels` now has."""
        self.text = readable(labels.translate(self._unescaped))
        super().relabel(labels)


class Form(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """A form: controls, a status line, and jobs on imkit's event loop that end when the form is closed.

    Args:
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Attributes:
        labels: returns a label in the form's language: ``form.labels("login_user")``.
        status: the status line.
    """

    LABEL_WIDTH: ClassVar[str] = "10.5em"
    FIELD_LAYOUT: ClassVar[Mapping[str, str]] = {"width": "calc(100% - 4px)", "max_width": "32em"}

    children: Any  # a trait of ipywidgets, which ships no types

    _closed = True  # until it is made: an argument may be refused before

    def __init__(self, lang: str | None = None) -> None:
        self._jobs: set[concurrent.futures.Future[Any]] = set()
        self._closed = False
        self.labels = Labels(lang)
        self.status = Status(self.labels)
        super().__init__()
        self.add_class("imkit-form")
        self.on_page_message(self.status, self._follow_page_language)

    def field(self, kind: Any, label_key: str, **options: Any) -> Any:
        """Return a control with a label in front of it.

        Args:
            kind: a class of ipywidgets.
            label_key: key of the label.
            **options: for `kind`.
        """
        style = {"description_width": self.LABEL_WIDTH}
        layout = ipywidgets.Layout(**self.FIELD_LAYOUT)
        return kind(description=self.labels(label_key), style=style, layout=layout, **options)

    def start(self, action: Action, *busy: Any) -> None:
        """Run an async function on imkit's event loop. The status line shows its errors.

        Args:
            action: the function.
            *busy: controls that are disabled while it runs. If one of them is disabled already, `action` is not run.
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
        except Exception as error:  # a callback has no caller that could catch it
            self.show_error(error)
        finally:
            for control in busy:
                control.disabled = False

    def show_error(self, error: BaseException) -> None:
        """Show an error in the status line. Log it if it is not one that users can expect."""
        if not isinstance(error, IMError | OSError):
            logger.error("a form failed", exc_info=error)
        self.status.show(*describe_error(error))

    def on_click(self, button: Any, action: Action, *busy: Any) -> None:
        """Run `action` when a button is clicked. The button is disabled meanwhile."""
        button.on_click(lambda _: self.start(action, button, *busy))

    def on_change(self, control: Any, action: Action) -> None:
        """Run `action` when a control has a new value."""
        control.observe(lambda _: self.start(action), "value")

    def on_enter(self, control: Any, action: Action, *busy: Any) -> None:
        """Run `action` when the Enter key is pressed in a text control."""

        def receive(_: Any, content: Any, __: Any) -> None:
            if isinstance(content, dict) and content.get("event") == "submit":
                self.start(action, *busy)

        control.on_msg(receive)

    def on_page_message(self, part: WidgetPart, action: PageAction) -> None:
        """Run `action` with the content and the buffers of each message that a part's script sends."""

        def receive(_: Any, content: Any, buffers: Sequence[Any]) -> None:
            if isinstance(content, dict):
                self.start(partial(action, content, buffers))

        part.on_msg(receive)

    async def _follow_page_language(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        if not self.labels.follow_page(content.get("language")):
            return
        # A form inside this one has a status line of its own, which sends the language to that form.
        for widget in _post_order((*self.children, *self.hidden_controls(), self.status)):
            if isinstance(widget, WidgetPart):
                widget.relabel(self.labels)
            elif not isinstance(widget, Form):
                relabel(widget, self.labels)

    def hidden_controls(self) -> Sequence[Any]:
        """Return controls of the form that may not be among its children at the moment. `close` closes them too."""
        return ()

    def close(self) -> None:
        """Cancel the form's jobs and remove it from the page. The session stays open."""
        # The garbage collector may call this in any thread, so it must not wait.
        if self._closed:
            return
        self._closed = True
        for job in list(self._jobs):
            job.cancel()
        self.children = (*self.children, *self.hidden_controls(), self.status)
        _close_descendants(self)
        ipywidgets.Widget.close(self)

    def __del__(self) -> None:
        if not self._closed:
            self.close()


def describe_error(error: BaseException) -> tuple[str, str, str]:
    """Return the arguments of `Status.show` for an error: text, tone, hint."""
    if isinstance(error, IMError):
        text = error.args[0] if error.args and error.args[0] else type(error).__name__
        reason = f": {error.reason}" if error.reason and error.reason not in text else ""
        return f"{type(error).__name__}: {text}{reason}", "bad", error.hint
    return f"{type(error).__name__}: {error}", "bad", ""


def close_widget(widget: Any) -> None:
    """Close a widget and all widgets inside it; ipywidgets would keep references to those for ever."""
    if not isinstance(widget, Form):  # Form.close closes its own
        _close_descendants(widget)
    widget.close()


def _close_descendants(widget: Any) -> None:
    for descendant in list(_descendants(widget)):
        descendant.close()


def _descendants(widget: Any) -> Iterator[Any]:
    """Yield the widgets inside a widget: children, layouts, styles; inner ones first."""
    layout_and_style = (getattr(widget, name, None) for name in ("layout", "style"))
    return _post_order((*getattr(widget, "children", ()), *layout_and_style))


def _post_order(widgets: Iterable[Any]) -> Iterator[Any]:
    """Yield each widget after the widgets inside it. The inside of a `Form` is left to that form."""
    for widget in widgets:
        if isinstance(widget, ipywidgets.Widget):
            if not isinstance(widget, Form):
                yield from _descendants(widget)
            yield widget


def relabel(widget: Any, labels: Labels) -> None:
    """Translate the labels of a control into the language that `labels` now has."""
    for name in ("description", "placeholder", "tooltip", "value", "label"):
        text = getattr(widget, name, None)
        if isinstance(text, Label):
            setattr(widget, name, labels.translate(text))
    if any(isinstance(title, Label) for title in getattr(widget, "titles", ())):
        widget.titles = tuple(labels.translate(title) for title in widget.titles)
    if isinstance(widget, ipywidgets.Dropdown):
        options = tuple((labels.translate(text), value) for text, value in widget.options)
        if options != widget.options:
            value = widget.value
            widget.options, widget.value = options, value


def row(*children: Any, **layout: Any) -> Any:
    """Return controls side by side; they wrap in a narrow window."""
    box = ipywidgets.HBox(children, layout=ipywidgets.Layout(**{"flex_flow": "row wrap", **layout}))
    box.add_class("imkit-row")
    return box


def button(text: str, *, kind: str = "", label_width: str = "") -> Any:
    """Return a button.

    Args:
        text: label and tooltip.
        kind: ``"primary"`` for the main action of a form.
        label_width: CSS width of the labels of the fields above; the button is then aligned with those fields.
    """
    margin = f"2px 2px 2px calc({label_width} + 10px)" if label_width else None
    return ipywidgets.Button(
        description=text,
        button_style=kind,
        tooltip=text,
        layout=ipywidgets.Layout(width="auto", margin=margin),
    )
