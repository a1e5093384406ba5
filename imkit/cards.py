"""Cards: how what has a name shows itself in a notebook, as a small piece of inert HTML.

An object that wants a card calls `card` in its ``_repr_html_``, with plain text in every argument; `card` escapes it:

    def _repr_html_(self) -> str:
        facts = [f"{self.rows:,} messages", *known("in", self.folder)]
        return card("Archive", self.name, facts, state="complete", tone="good")

A card shows what the object knows already. A repr asks neither the service nor the disk (an archive is the exception:
it reads its catalogue), and it loads no picture. The text form of an object is one line, ``<Archive 'tea' …>``, with
names through `imkit.escape.for_terminal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from imkit.escape import for_html

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
