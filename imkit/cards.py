"""Cards: the small HTML boxes that show a session, a thread or a message in a notebook.

An object makes its card in ``_repr_html_`` with `card`. Every argument is plain text, and `card` escapes it;
no formula is typeset, and writing from right to left stays in its place:

    def _repr_html_(self) -> str:
        facts = [f"{self.rows:,} messages", *known("in", self.folder)]
        return card("Archive", self.name, facts, state="complete", tone="good")

A card shows what the object knows already: making it asks neither the service nor the disk. There are two exceptions:
an archive reads its catalogue, and a message loads its picture (`imkit.client.card_pictures`). A card has the bytes of
its picture, so that a browser loads nothing to show it. The text form of an object is one line, such as
``<Archive 'tea' …>``, in which `imkit.escape.for_terminal` has escaped all names.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from imkit.escape import NOT_TYPESET, for_html

Tone = Literal["good", "busy", "bad", "quiet"]
# The colours of JupyterLab's theme, light or dark; the second value is for pages without such a theme.
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
_PICTURE = "max-width: 100%; max-height: 240px; margin: 4px 0; border-radius: 3px"
# The largest number of characters of a text, a name and a fact on a card.
_TEXT, _NAME, _FACT = 2_000, 80, 200


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture for a card, as `imkit.pictures.redraw` has drawn it.

    Attributes:
        data: the file.
        media_type: ``"image/png"`` or ``"image/jpeg"``.
    """

    data: bytes
    media_type: str


def card(
    what: str,
    name: str,
    facts: Iterable[str] = (),
    *,
    state: str = "",
    tone: Tone = "quiet",
    quoted: str | None = None,
    picture: Picture | None = None,
    text: str | None = None,
    struck: bool = False,
    code: str = "",
) -> str:
    """Return a small card as HTML: kind, name and state in the first line, the facts in the last.

    Args:
        what: the kind of object, such as ``"Thread"``.
        name: its name.
        facts: a few words each, such as ``"2 members"``.
        state: its state, such as ``"connected"``.
        tone: the colour of the card's edge: ``"good"``, ``"busy"``, ``"bad"`` or ``"quiet"``.
        quoted: the message that this one replies to, in a few words; it stands above the text.
        picture: stands above the text, which is also its alternative text.
        text: the text of a message. A long text is cut, and the card says how many characters are left out.
        struck: whether the text is struck through, because the message was recalled.
        code: a line of Python that does more with the object.

    Example:
        >>> "&lt;b&gt;" in card("Thread", "<b>", ["2 members"])
        True
    """
    parts = [f'<small style="{_FAINT}">{for_html(what)}</small>', f"<b>{_cut(name, _NAME)}</b>"]
    parts += [f"<small>{_cut(state, _FACT)}</small>"] if state else []
    lines = [" ".join(parts)]
    if quoted is not None:
        lines.append(f'<small style="{_FAINT}">↩ {_cut(quoted, _FACT)}</small>')
    if picture is not None:
        source = f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
        lines.append(f'<img src="{source}" alt="{for_html((text or what)[:_FACT])}" style="{_PICTURE}">')
    if text is not None:
        shown, more = text[:_TEXT], len(text) - _TEXT
        paragraph = f'<bdi style="white-space: pre-wrap">{for_html(shown)}</bdi>'
        paragraph = f"<s>{paragraph}</s>" if struck else paragraph
        lines.append(paragraph + (f" <small>… and {more:,} characters more</small>" if more > 0 else ""))
    if joined := " · ".join(_cut(fact, _FACT) for fact in facts):
        lines.append(f'<small style="{_FAINT}">{joined}</small>')
    if code:
        lines.append(f"<small><code>{for_html(code)}</code></small>")
    return f'<div class="{NOT_TYPESET}" style="{_CARD} {_EDGES[tone]}">{"<br>".join(lines)}</div>'


def report(lines: Iterable[str]) -> str:
    """Return the lines of a report as HTML, the first of them bold.

    Example:
        >>> "<b><bdi>sound; 3 &lt; 4</bdi></b>" in report(["sound; 3 < 4"])
        True
    """
    first, *others = (f"<bdi>{for_html(line)}</bdi>" for line in lines)
    return (
        f'<div class="{NOT_TYPESET}"><b>{first}</b>'
        + "".join(f"<br><small>{line}</small>" for line in others)
        + "</div>"
    )


def _cut(text: str, limit: int) -> str:
    return f"<bdi>{for_html(text if len(text) <= limit else f'{text[: limit - 1]}…')}</bdi>"


def known(label: str, value: object) -> list[str]:
    """Return one fact for a card in a list, or an empty list if the value is not known.

    Example:
        >>> known("by", "alice"), known("by", None)
        (['by alice'], [])
    """
    return [] if value is None or value == "" else [f"{label} {value}".strip()]


def counted(number: int | None, one: str) -> list[str]:
    """Return a count as one fact for a card in a list, or an empty list if the count is not known.

    Example:
        >>> counted(1, "member"), counted(1200, "member"), counted(None, "member")
        (['1 member'], ['1,200 members'], [])
    """
    return [] if number is None else [f"{number:,} {one}{'' if number == 1 else 's'}"]


def size(number_of_bytes: int | None) -> list[str]:
    """Return the size of a file as one fact for a card in a list, or an empty list if it is not known.

    Example:
        >>> size(1), size(836), size(2_621_440), size(None)
        (['1 byte'], ['836 bytes'], ['2.5 MB'], [])
    """
    if number_of_bytes is None or number_of_bytes < 1024:
        return counted(number_of_bytes, "byte")
    unit, unit_bytes = ("MB", 2**20) if number_of_bytes >= 2**20 else ("KB", 2**10)
    return [f"{number_of_bytes / unit_bytes:,.1f} {unit}"]
