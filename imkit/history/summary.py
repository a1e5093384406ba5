"""The line above a history frame in a notebook: what the frame was made from, and whether it is complete."""

from __future__ import annotations

import sys
from typing import Any

from imkit.escape import for_html, for_terminal

# Where pandas says that its class lives: version 3, and those before.
_FRAMES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))


def described(source: dict[str, Any]) -> str:
    """Return in one line what a history frame's ``attrs["imkit"]`` says: how much, of what, whether complete, the note.

    Example:
        >>> described({"rows": 2, "thread_ids": ["42"], "complete": True})
        '2 messages of 42: complete'
    """
    rows, of = source.get("rows"), [str(one) for one in source.get("thread_ids") or ()]
    parts = [f"{rows:,} message{'' if rows == 1 else 's'}" if isinstance(rows, int) else "messages"]
    if of:
        parts.append(f"of {of[0]}" if len(of) == 1 else f"of {len(of)} threads")
    since, until = source.get("since"), source.get("until")
    if since:
        parts.append(f"since {since}")
    if until:
        parts.append(f"until {until}")
    reason = f" ({source['reason']})" if source.get("reason") else ""
    note = f"; {source['note']}" if source.get("note") else ""
    return f"{' '.join(parts)}: {'complete' if source.get('complete') else f'not complete{reason}'}{note}"


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
