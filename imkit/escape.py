"""Escapes for untrusted text, used where imkit shows it in a terminal or on a page, or makes a file name of it.

Message texts, names, file names, attributes and the service's reasons come from other people: they may contain control
characters for a terminal, HTML markup, or a path.
"""

from __future__ import annotations

import html
import unicodedata

# The classes of HTML elements in which MathJax typesets no formulas: the older one of nbconvert's pages and the classic
# notebook, and the one of JupyterLab. In other elements "$5 here and $6 there" is a formula.
NOT_TYPESET = "tex2jax_ignore mathjax_ignore"

# Format characters that reorder or hide text: bidirectional controls, zero-width marks, the byte-order mark.
_REORDERING = frozenset(
    {0x061C, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)}
)


def for_terminal(text: str, limit: int | None = None) -> str:
    r"""Return `text` on one line; characters that control a terminal or reorder a line become escape sequences.

    Args:
        text: any text.
        limit: the largest number of characters before escaping; a longer text is cut and ends with an ellipsis. `None`:
            no limit.

    Example:
        >>> for_terminal("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        character if not _is_control(character) else character.encode("unicode_escape").decode() for character in text
    )


def _is_control(character: str) -> bool:
    """Return whether a character controls a terminal, ends a line, hides or reorders text, or is half a character."""
    return ord(character) in _REORDERING or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


_RESERVED = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$"}) | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789¹²³"
}
_NAME_BYTES = 180  # file systems allow 255; this leaves space for a number or a mark


def file_name_for_disk(name: str, fallback: str) -> str:
    r"""Return an untrusted file name as a name that is safe in a folder on every system.

    The result has no path, no control or reordering characters, no dot at the start (a hidden file), is not a device
    name of Windows, and has at most 180 bytes. The file name extension is kept if possible.

    Args:
        name: the name that the sender gave.
        fallback: the result if nothing of `name` is left.

    Example:
        >>> file_name_for_disk("../../.ssh/id\x00.txt", fallback="file")
        'id.txt'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join("_" if c in '<>:"|?*' else c for c in last if not _is_control(c) and unicodedata.category(c) != "Cn")
    kept = unicodedata.normalize("NFC", kept).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if not dot:
        stem, ending = kept, ""
    if stem.lower() in _RESERVED or kept.lower().partition(".")[0] in _RESERVED:
        stem = f"_{stem}"
    ending = ending[:20]
    stem_bytes = _NAME_BYTES - len(f".{ending}".encode())
    stem = stem.encode()[:stem_bytes].decode(errors="ignore").strip()
    return (f"{stem}.{ending}" if ending else stem) or fallback


def for_html(text: str) -> str:
    """Return `text` as HTML that shows exactly this text: markup is escaped, control characters become visible.

    Example:
        >>> for_html("<b>")
        '&lt;b&gt;'
    """
    lines = (for_terminal(line) for line in text.split("\n"))
    return html.escape("\n".join(lines))
