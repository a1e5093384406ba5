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


_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
_NAME_BYTES = 180  # file systems take 255, and a number or a mark may have to be added


def file_name_for_disk(name: str, fallback: str) -> str:
    r"""Return a stranger's file name as one that is safe in a folder, on every system.

    No path, no hidden file, no control or reordering characters, no device name, no more than 180 bytes; the ending
    stays where it can.

    Args:
        name: as the sender called it.
        fallback: what to call it where nothing is left.

    Example:
        >>> file_name_for_disk("../../.ssh/id\x00.txt", fallback="file")
        'id.txt'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join("_" if c in '<>:"|?*' else c for c in last if not _steers(c) and unicodedata.category(c) != "Cn")
    kept = unicodedata.normalize("NFC", kept).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if not dot:
        stem, ending = kept, ""
    if stem.lower() in _RESERVED or kept.lower().partition(".")[0] in _RESERVED:
        stem = f"_{stem}"
    ending = ending[:20]
    room = _NAME_BYTES - len(f".{ending}".encode())
    stem = stem.encode()[:room].decode(errors="ignore").strip()
    return (f"{stem}.{ending}" if ending else stem) or fallback


def for_html(text: str) -> str:
    """Return `text` as inert HTML: markup escaped, control and reordering characters made visible.

    Example:
        >>> for_html("<b>")
        '&lt;b&gt;'
    """
    lines = (for_terminal(line) for line in text.split("\n"))
    return html.escape("\n".join(lines))
