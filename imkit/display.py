"""How things show themselves in a notebook: a card for what has a name, a line above a history frame.

Whoever wants a card calls `card` in its ``_repr_html_``, with plain text throughout; `card` makes it inert:

    def _repr_html_(self) -> str:
        facts = [f"{self.rows:,} messages", *known("in", self.folder)]
        return card("Archive", self.name, facts, state="complete", tone="good")

What the card says is what the object knows: a repr asks neither the service nor the disk (but for an archive, which
reads its catalogue), and fetches no picture. Its text form is one line, ``<Archive 'tea' …>``, with names through
`imkit.escape.for_terminal`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal

from imkit.escape import for_html, for_terminal
from imkit.export import described

# Where pandas says that its class lives: version 3, and those before.
_FRAMES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))

Tone = Literal["good", "busy", "bad", "quiet"]
# Those of JupyterLab's theme, light or dark; the second is for pages that have no theme.
_EDGES: dict[Tone, str] = {
    "good": "var(--jp-success-color1, #388e3c)",
    "busy": "var(--jp-warn-color1, #f57c00)",
    "bad": "var(--jp-error-color1, #d32f2f)",
    "quiet": "var(--jp-border-color1, #8888)",
}
_CARD = (
    "display: inline-block; box-sizing: border-box; min-width: 18em; max-width: 100%; margin: 2px 0; "
    "padding: 4px 12px; line-height: 1.5; overflow-wrap: anywhere; border-radius: 3px; "
    "border: 1px solid var(--jp-border-color2, #8884); border-left: 4px solid"
)
_FAINT = "opacity: 0.8"
# Characters of a text, a name and a fact on a card.
_TEXT, _NAME, _FACT = 2_000, 80, 200


def card(
    what: str,
    name: str,
    facts: Iterable[str] = (),
    *,
    state: str = "",
    tone: Tone = "quiet",
    text: str | None = None,
    struck: bool = False,
) -> str:
    """Return a small card as HTML: what it is, what it is called, how it is, and the facts below.

    Args:
        what: the kind of thing, such as ``"Thread"``.
        name: what it is called.
        facts: a few words each, such as ``"2 members"``.
        state: how it is, such as ``"connected"``.
        tone: colours the edge: ``"good"``, ``"busy"``, ``"bad"`` or ``"quiet"``.
        text: what was said; of a long one the beginning is shown, and how much there is besides.
        struck: the text was taken back.

    Example:
        >>> "&lt;b&gt;" in card("Thread", "<b>", ["2 members"])
        True
    """
    parts = [f'<small style="{_FAINT}">{for_html(what)}</small>', f"<b>{_cut(name, _NAME)}</b>"]
    parts += [f"<small>{_cut(state, _FACT)}</small>"] if state else []
    lines = [" ".join(parts)]
    if text is not None:
        shown, more = text[:_TEXT], len(text) - _TEXT
        said = f'<span style="white-space: pre-wrap">{for_html(shown)}</span>'
        said = f"<s>{said}</s>" if struck else said
        lines.append(said + (f" <small>… and {more:,} characters more</small>" if more > 0 else ""))
    if told := " · ".join(_cut(fact, _FACT) for fact in facts):
        lines.append(f'<small style="{_FAINT}">{told}</small>')
    return f'<div style="{_CARD} {_EDGES[tone]}">{"<br>".join(lines)}</div>'


def _cut(text: str, limit: int) -> str:
    return for_html(text if len(text) <= limit else f"{text[: limit - 1]}…")


def known(label: str, value: object) -> list[str]:
    """Return a fact for a card, or none where nobody has told it yet.

    Example:
        >>> known("by", "alice"), known("by", None)
        (['by alice'], [])
    """
    return [] if value is None or value == "" else [f"{label} {value}".strip()]


def counted(number: int | None, one: str) -> list[str]:
    """Return a count as a fact for a card.

    Example:
        >>> counted(1, "member"), counted(1200, "member"), counted(None, "member")
        (['1 member'], ['1,200 members'], [])
    """
    return [] if number is None else [f"{number:,} {one}{'' if number == 1 else 's'}"]


def install() -> None:
    """Have IPython show the line, where imkit runs in IPython. Doing it twice does no harm.

    By the class's name, so pandas is not loaded for it. What somebody else has registered for frames stays first.
    """
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return
    formatters = shell.display_formatter.formatters
    for module, name in _FRAMES:
        formatters["text/html"].for_type_by_name(module, name, as_html)
        formatters["text/plain"].for_type_by_name(module, name, _print)


def line_above(frame: Any) -> str | None:
    """Return the line for a history frame, `None` for any other.

    What pandas makes of a frame keeps its ``attrs``, so the line tells what was loaded, and how many rows of whatever
    came of it are here: ``3 rows, made from 8 messages of 42: complete``.
    """
    source = frame.attrs.get("imkit")
    if not isinstance(source, dict) or "complete" not in source or "message_id" not in frame.columns:
        return None
    rows = len(frame)
    made = "" if source.get("rows") == rows else f"{rows:,} row{'' if rows == 1 else 's'}, made from "
    return made + described(source)


def as_html(frame: Any) -> str | None:
    """Return a frame as HTML, with the line above it; one that is not complete has a mark."""
    table: str | None = frame._repr_html_()
    line = line_above(frame)
    if line is None or table is None:
        return table
    mark = "" if frame.attrs["imkit"]["complete"] else "⚠ "
    return f"<div><small>{mark}{for_html(line)}</small></div>\n{table}"


def _print(frame: Any, printer: Any, _cycle: bool) -> None:
    line = line_above(frame)
    printer.text(repr(frame) if line is None else f"{for_terminal(line)}\n{frame!r}")
