"""What a stranger wrote, made harmless at the edge where it is shown or stored.

Message texts, names, file names, attributes and server reasons are hostile input to a terminal and to a page.
"""

from __future__ import annotations

import html
import unicodedata

# Format characters that reorder or hide text: bidirectional controls, zero-width marks, the byte-order mark.
_REORDERING = frozenset(
    {0x061C, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)}
)


def for_terminal(text: str, limit: int | None = None) -> str:
    r"""Return `text` on one line, with what could steer a terminal or reorder a line written as escapes.

    Args:
        text: anything.
        limit: cut to this many characters, with an ellipsis; `None` keeps all.

    Example:
        >>> for_terminal("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        character if not _steers(character) else character.encode("unicode_escape").decode() for character in text
    )


def _steers(character: str) -> bool:
    return ord(character) in _REORDERING or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def for_html(text: str) -> str:
    """Return `text` as inert HTML: markup escaped, control and reordering characters made visible.

    Example:
        >>> for_html("<b>")
        '&lt;b&gt;'
    """
    lines = (for_terminal(line) for line in text.split("\n"))
    return html.escape("\n".join(lines))
