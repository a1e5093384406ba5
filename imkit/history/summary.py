"""The line above a history frame in a notebook: what was loaded, and whether that is complete.

`install` makes IPython show the line: it registers formatters for pandas DataFrames. Any other frame looks as before.
"""

from __future__ import annotations

import sys
from typing import Any

from imkit.escape import for_html, for_terminal

# The module and the name of the class in pandas 3, and in earlier versions.
_FRAME_CLASSES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))


def described(source: dict[str, Any]) -> str:
    """Return in one line what a history frame holds, and whether it is complete.

    Args:
        source: the frame's ``attrs["imkit"]``.

    Example:
        >>> described({"rows": 2, "thread_ids": ["42"], "complete": True})
        '2 messages of 42: complete'
    """
    rows, ids = source.get("rows"), [str(target_id) for target_id in source.get("thread_ids") or ()]
    parts = [f"{rows:,} message{'' if rows == 1 else 's'}" if isinstance(rows, int) else "messages"]
    if ids:
        parts.append(f"of {ids[0]}" if len(ids) == 1 else f"of {len(ids)} threads")
    since, until = source.get("since"), source.get("until")
    if since:
        parts.append(f"since {since}")
    if until:
        parts.append(f"until {until}")
    reason = f" ({source['reason']})" if source.get("reason") else ""
    note = f"; {source['note']}" if source.get("note") else ""
    return f"{' '.join(parts)}: {'complete' if source.get('complete') else f'not complete{reason}'}{note}"


def install() -> None:
    """Make IPython show the line above history frames; without IPython do nothing. A second call does no harm.

    The formatters are registered by the name of the class, so pandas is not imported. A formatter that the user has
    registered for the class itself takes precedence.
    """
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return
    formatters = shell.display_formatter.formatters
    for module, name in _FRAME_CLASSES:
        formatters["text/html"].for_type_by_name(module, name, as_html)
        formatters["text/plain"].for_type_by_name(module, name, _print_frame)


def line_above(frame: Any) -> str | None:
    """Return the line for a history frame; `None` for any other frame.

    pandas copies the ``attrs`` of a frame to the frames that are made from it. So the line says how many rows this
    frame has, and from what it was made: ``3 rows, made from 8 messages of 42: complete``.
    """
    source = frame.attrs.get("imkit")
    if not isinstance(source, dict) or "complete" not in source or "message_id" not in frame.columns:
        return None
    rows = len(frame)
    made = "" if source.get("rows") == rows else f"{rows:,} row{'' if rows == 1 else 's'}, made from "
    return made + described(source)


def as_html(frame: Any) -> str | None:
    """Return a frame as HTML with the line above it. A warning sign marks a frame that is not complete."""
    table: str | None = frame._repr_html_()
    line = line_above(frame)
    if line is None or table is None:
        return table
    mark = "" if frame.attrs["imkit"]["complete"] else "⚠ "
    return f"<div><small>{mark}{for_html(line)}</small></div>\n{table}"


def _print_frame(frame: Any, printer: Any, _cycle: bool) -> None:
    line = line_above(frame)
    printer.text(repr(frame) if line is None else f"{for_terminal(line)}\n{frame!r}")
