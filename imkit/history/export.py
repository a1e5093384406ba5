"""A history frame written to a file: Parquet, CSV, JSON Lines or HTML, as the file's suffix says.

The texts of messages come from other users and must do no harm: a spreadsheet must not run them as formulas, and a
browser must not run them as scripts.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from imkit.errors import InvalidMessage
from imkit.escape import NOT_TYPESET, for_html
from imkit.file_errors import file_errors
from imkit.history.summary import described
from imkit.whole_files import whole_file

if TYPE_CHECKING:
    import pandas as pd

# A cell that begins with one of these is a formula to a spreadsheet. The wide and the small forms come from Chinese
# keyboards. A spreadsheet may drop what is blank or not visible before them.
_STARTS = "=+\\-@＝＋－＠﹦﹢﹣﹫"
_BLANK = (
    "\\x00-\\x08\\x0b\\x0c\\x0e-\\x20\\x22\\x7f-\\xa0\\xad\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u3000\\ufeff"
)
_FORMULA = re.compile(f"[\\t\\r\\n]|[{_BLANK}]*[{_STARTS}]")
_INNER_FORMULA = re.compile(f"[;\\t\\r\\n](?=[{_BLANK}]*[{_STARTS}][^;\\t\\r\\n]*[(|!])")
_JSON_COLUMNS = ("ext", "payload", "reactions")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; margin: 2rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid #8884; padding: .25rem .5rem; text-align: left; vertical-align: top; max-width: 40rem; }
td { white-space: pre-wrap; overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: Canvas; }
"""


def write(frame: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a frame to a file, in the format of the file's suffix. A file of that name is replaced.

    Args:
        frame: a history frame, or any other DataFrame.
        path: ends with ``.parquet``, ``.csv``, ``.jsonl`` or ``.html``.

    Returns:
        The path.

    Raises:
        InvalidMessage: the suffix names no format.
        FileError: the file cannot be written; a file that was there before is unchanged.

    Example:
        ```python
        write(thread.history(), "oolong.csv")
        ```
    """
    target = Path(path)
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        hint = f"The suffix must be one of {', '.join(_WRITERS)}."
        raise InvalidMessage(f"{target.name!r:.80} names no format to export to", hint=hint)
    with file_errors(target), whole_file(target) as file:
        writer(frame, file)
    return target


# -------------------------------------------------------------------- the formats


def _parquet(frame: pd.DataFrame, file: IO[bytes]) -> None:
    import pyarrow as pa

    try:
        frame.to_parquet(file, index=False)
    except (pa.ArrowException, OverflowError):
        # Such as an attribute that is a number in one message and a text in another: JSON text has a place for both.
        file.seek(0)
        file.truncate()
        storable = frame.copy(deep=False)
        for number in range(frame.shape[1]):
            column = frame.iloc[:, number]
            if column.dtype == object:
                storable.isetitem(number, column.map(_as_json, na_action="ignore").array)
        storable.to_parquet(file, index=False)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _csv(frame: pd.DataFrame, file: IO[bytes]) -> None:
    safe = frame.rename(columns=_without_formula)
    for number in range(frame.shape[1]):
        column = frame.iloc[:, number]
        if not _holds_numbers_or_times(column):
            safe.isetitem(number, column.astype(object).map(_without_formula, na_action="ignore").array)
    # The byte order mark tells Excel that the file is UTF-8, so that it shows 中文; pandas, DuckDB and R skip it.
    file.write("\ufeff".encode())
    # All cells but numbers are quoted, because a spreadsheet of another locale also splits at ; or tab. pandas quotes a
    # cell that holds a character of the line terminator. With "\r\n" neither of them begins a row.
    date_format = "%Y-%m-%dT%H:%M:%S.%f%z"
    safe.to_csv(file, index=False, lineterminator="\r\n", date_format=date_format, quoting=csv.QUOTE_NONNUMERIC)


def _without_formula(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: with an apostrophe before it if need be.

    A spreadsheet that splits at ; or tab takes a quote in the middle of its cell for a character, so that a part of a
    text may become a cell. Such a part gets its apostrophe if it is a formula that could do harm: one that calls
    something. A smiley such as ;-) stays as it is.

    Example:
        >>> _without_formula("=1+1"), _without_formula("tea;=cmd|'/c calc'!A1;-)")
        ("'=1+1", "tea;'=cmd|'/c calc'!A1;-)")
    """
    if not isinstance(value, str):
        return value
    if ";" in value or not value.isprintable():  # most texts have no part
        value = _INNER_FORMULA.sub(r"\g<0>'", value)
    return f"'{value}" if _FORMULA.match(value) else value


def _holds_numbers_or_times(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "biufMm"


def _jsonl(frame: pd.DataFrame, file: IO[bytes]) -> None:
    import pandas as pd

    names = [str(name) for name in frame.columns]
    for row in frame.itertuples(index=False, name=None):
        cells = {name: _json_value(name, value, pd.NA) for name, value in zip(names, row, strict=True)}
        file.write(json.dumps(cells, ensure_ascii=False, default=str).encode(errors="backslashreplace") + b"\n")


def _json_value(name: str, value: Any, missing: Any) -> Any:
    """Return a cell as a JSON value: a time as ISO text, a missing value as null, a column of JSON text parsed."""
    if value is None or value is missing or value != value:
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str) and name in _JSON_COLUMNS:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _html(frame: pd.DataFrame, file: IO[bytes]) -> None:
    source = frame.attrs.get("imkit") or {}
    title = for_html(described({"rows": len(frame), **source}) if source else f"{len(frame):,} rows")

    def write_text(text: str) -> None:
        file.write(text.encode(errors="backslashreplace"))

    # With this policy the browser refuses every script and every request, whatever the cells hold.
    write_text(
        '<!doctype html>\n<html><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style></head>\n"
        f'<body class="{NOT_TYPESET}"><h1>{title}</h1>\n<table>\n<thead><tr>'
    )
    write_text(
        "".join(f'<th scope="col"><bdi>{for_html(str(name))}</bdi></th>' for name in frame.columns)
        + "</tr></thead>\n<tbody>\n"
    )
    missing = [frame.iloc[:, number].isna().tolist() for number in range(frame.shape[1])]
    for index, row in enumerate(frame.itertuples(index=False, name=None)):
        cells = ("" if missing[number][index] else for_html(str(value)) for number, value in enumerate(row))
        write_text("<tr>" + "".join(f"<td><bdi>{cell}</bdi></td>" for cell in cells) + "</tr>\n")
    write_text("</tbody></table></body></html>\n")


_WRITERS: dict[str, Callable[[pd.DataFrame, IO[bytes]], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".html": _html,
}
SUFFIXES = tuple(_WRITERS)
