"""How a history frame shows itself in a notebook: a line above it says what it is and whether it is complete."""

from __future__ import annotations

import sys
from typing import Any

from imkit.escape import for_html, for_terminal
from imkit.export import described

# Where pandas says that its class lives: version 3, and those before.
_FRAMES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))


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

    A part of one, such as ``frame.head()``, says of what it is a part.
    """
    source = frame.attrs.get("imkit")
    if not isinstance(source, dict) or "complete" not in source or "message_id" not in frame.columns:
        return None
    part = "" if source.get("rows") == len(frame) else f"{len(frame):,} of "
    return part + described(source)


def as_html(frame: Any) -> str | None:
    """Return a frame as HTML, with the line above it."""
    table: str | None = frame._repr_html_()
    line = line_above(frame)
    return table if line is None or table is None else f"<div><small>{for_html(line)}</small></div>\n{table}"


def _print(frame: Any, printer: Any, _cycle: bool) -> None:
    line = line_above(frame)
    printer.text(repr(frame) if line is None else f"{for_terminal(line)}\n{frame!r}")
