"""How a notebook shows imkit's frames: a line above says what was loaded, and no text in them is typeset or acts.

`install` registers formatters for the classes of pandas. They know a frame of imkit, and what pandas makes of it, by
the ``"imkit"`` in its ``attrs``: a filter, a choice of columns, ``head``, ``merge`` and ``concat`` keep it. Any other
frame looks as before. So no option of pandas changes for the user's own frames, and a frame stays a plain DataFrame.
"""

from __future__ import annotations

import sys
from typing import Any

from imkit.escape import NOT_TYPESET, for_html, for_terminal

# The module and the name of the class in pandas 3, and in earlier versions.
_FRAME_CLASSES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))
_SERIES_CLASSES = (("pandas", "Series"), ("pandas.core.series", "Series"))
_STYLER_CLASSES = (("pandas.io.formats.style", "Styler"),)


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
    """Make IPython show imkit's frames so; without IPython do nothing. A second call does no harm.

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
    for module, name in (*_FRAME_CLASSES, *_SERIES_CLASSES):
        formatters["text/plain"].for_type_by_name(module, name, _print)
    for module, name in _STYLER_CLASSES:
        formatters["text/html"].for_type_by_name(module, name, _styled_as_html)


def line_above(frame: Any) -> str | None:
    """Return the line for a history frame or for the report of `imkit.doctor`; `None` for any other frame.

    pandas copies the ``attrs`` of a frame to the frames that are made from it. So the line says how many rows this
    frame has, and from what it was made: ``3 rows, made from 8 messages of 42: complete``.
    """
    source = frame.attrs.get("imkit")
    if _is_report(frame):
        return _counted(frame)
    if not isinstance(source, dict) or "complete" not in source or "message_id" not in getattr(frame, "columns", ()):
        return None
    rows = len(frame)
    insight = source.get("insight")  # the name of the question that the frame answers
    is_history = insight is None and source.get("rows") == rows
    of = "" if insight is None else f" of {insight}"
    made = "" if is_history else f"{rows:,} row{'' if rows == 1 else 's'}{of}, made from "
    return made + described(source)


def as_html(frame: Any) -> str | None:
    """Return a frame as HTML. A frame of imkit is not typeset, and a history frame has the line above it.

    A warning sign marks a frame that is not complete.
    """
    if "imkit" not in frame.attrs:
        return _html_of(frame)
    if _is_report(frame):
        return _report_as_html(frame)
    import pandas as pd  # loaded already: there is a frame

    with pd.option_context("display.html.use_mathjax", False):
        table = _html_of(frame)
    line = line_above(frame)
    if line is None or table is None:
        return table
    mark = "" if frame.attrs["imkit"]["complete"] else "⚠ "
    return f'<div class="{NOT_TYPESET}"><small>{mark}{for_html(line)}</small></div>\n{table}'


_DIFFERS = "✗ differs"
_REPORT_COLUMNS = ("check", "assumed", "seen", "agrees", "follows")


def _is_report(frame: Any) -> bool:
    """Whether a frame is the report of `imkit.doctor`, or some of its rows."""
    source = frame.attrs.get("imkit")
    columns = getattr(frame, "columns", ())
    return isinstance(source, dict) and source.get("report") == "doctor" and tuple(columns) == _REPORT_COLUMNS


def _mark(agrees: object) -> str:
    """Return the mark for what is in the column `agrees`: a bool of numpy or of Python, or a missing value."""
    return {"True": "✓", "False": _DIFFERS}.get(str(agrees), "?")


def _counted(report: Any) -> str:
    """Return how many rows of a report there are of each kind."""
    as_assumed, differing = int(report["agrees"].eq(True).sum()), int(report["agrees"].eq(False).sum())
    unknown = len(report) - as_assumed - differing
    parts = {"as assumed": as_assumed, "differs" if differing == 1 else "differ": differing}
    return ", ".join(f"{count} {words}" for words, count in {**parts, "not known or not asked": unknown}.items())


def _report_as_html(report: Any) -> str:
    """Return a report with whole sentences, which pandas would cut, and with its differing rows in colour.

    The colours are transparent, so they suit a light page and a dark one.
    """
    common = "text-align: left; vertical-align: top; white-space: normal"
    # An address that is wider than its column is broken, so that all columns fit into a notebook; a heading is not. The
    # widths are fixed: one long cell would make the other columns so narrow that short names are broken in them.
    widths = {"check": "; width: 9em", "agrees": "; width: 5.5em"}
    whole, broken = f'style="{common}"', f'style="{common}; overflow-wrap: anywhere"'
    rows = []
    for check, assumed, seen, agrees, follows in report.itertuples(index=False):
        styled = ((whole, check), (broken, assumed), (broken, seen), (whole, _mark(agrees)), (broken, follows))
        cells = "".join(f"<td {style}>{for_html(str(text))}</td>" for style, text in styled)
        colour = ' style="background: #f443; font-weight: bold"' if _mark(agrees) == _DIFFERS else ""
        rows.append(f"<tr{colour}>{cells}</tr>")
    head = "".join(f'<th style="{common}{widths.get(name, "")}">{name}</th>' for name in _REPORT_COLUMNS)
    return (
        f'<div class="{NOT_TYPESET}"><small>{for_html(line_above(report) or "")}</small>'
        '<table style="table-layout: fixed; width: 100%">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _styled_as_html(styler: Any) -> str | None:
    if "imkit" not in styler.data.attrs:
        return _html_of(styler)
    import pandas as pd

    with pd.option_context("styler.html.mathjax", False):
        return _html_of(styler)


def _html_of(shown: Any) -> str | None:
    table: str | None = shown._repr_html_()
    return table


def _print(shown: Any, printer: Any, _cycle: bool) -> None:
    """Print a DataFrame or a Series. In one of imkit, characters that control a terminal are escaped."""
    text = _whole(shown) if "imkit" in shown.attrs and _is_report(shown) else repr(shown)
    if "imkit" in shown.attrs:
        text = "\n".join(map(for_terminal, text.split("\n")))
        if line := line_above(shown):
            text = f"{for_terminal(line)}\n{text}"
    printer.text(text)


def _whole(report: Any) -> str:
    """Return a report as text with whole sentences, a few lines for each row."""
    lines = []
    for check, assumed, seen, agrees, follows in report.itertuples(index=False):
        lines.append(f"{_mark(agrees)} {check}: {seen}")
        if _mark(agrees) == _DIFFERS:
            lines += [f"  assumed: {assumed}", f"  → {follows}"]
    return "\n".join(lines)
