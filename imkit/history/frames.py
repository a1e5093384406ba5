"""The history frame: one schema, one row a message, and the `.im` accessor.

The columns and their types are the same for no rows, one row and a million; see `COLUMNS`.

| column | dtype | what |
|---|---|---|
| message_id | string | 19 digits: a number that size would lose its last ones |
| time | datetime64[ms, UTC] | the server's |
| sender | category | user id |
| type | category | txt img audio video file loc cmd custom combine unknown |
| text | string | the text; a bundle's title; a custom event's name; a command's action; a place's address |
| thread_id, thread_name | category | NA for plain group messages |
| group_id | category | the group, also of plain group messages |
| parent_message_id | string | the message the thread hangs on |
| url, file_name | string | of attachments; a url without its share-secret |
| file_size, duration | Int64 | bytes; seconds |
| width, height, lat, lng | Float64 | pixels; degrees |
| ext, payload, reactions | string | JSON text: attributes; what is particular to the type; who reacted |
| edited_at | datetime64[ms, UTC] | the last edit |
| edit_count | Int64 | 0 for what was never edited |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.columns import batch_of, string_array
from imkit.messages import Message

_TIME = pd.DatetimeTZDtype("ms", "UTC")
_STRING = pd.StringDtype(na_value=pd.NA)
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}
_MASKED: dict[str, tuple[Any, Any]] = {
    "Int64": (np.int64, pd.arrays.IntegerArray),
    "Float64": (np.float64, pd.arrays.FloatingArray),
}
COLUMNS: dict[str, Any] = {
    "message_id": _STRING,
    "time": _TIME,
    "sender": "category",
    "type": "category",
    "text": _STRING,
    "thread_id": "category",
    "thread_name": "category",
    "group_id": "category",
    "parent_message_id": _STRING,
    "url": _STRING,
    "file_name": _STRING,
    "file_size": "Int64",
    "duration": "Int64",
    "width": "Float64",
    "height": "Float64",
    "lat": "Float64",
    "lng": "Float64",
    "ext": _STRING,
    "payload": _STRING,
    "reactions": _STRING,
    "edited_at": _TIME,
    "edit_count": "Int64",
}


def frame_of(messages: Iterable[Message], source: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return the history frame of some messages, in their order.

    Args:
        messages: any number, also none.
        source: where they come from, plain JSON; becomes ``frame.attrs["imkit"]``.

    Example:
        >>> frame_of([]).dtypes["message_id"]
        <StringDtype(na_value=<NA>)>
    """
    return frame_of_table(pa.Table.from_batches([batch_of(messages)]), source)


def frame_of_table(table: pa.Table, source: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return the history frame of a table of `imkit.history.columns.SCHEMA`, in its order.

    Args:
        table: any number of batches, also none; of the schema's columns all, or some, and others of text or time.
        source: where they come from, plain JSON; becomes ``frame.attrs["imkit"]``.

    Example:
        >>> from imkit.history.columns import SCHEMA
        >>> len(frame_of_table(SCHEMA.empty_table()))
        0
    """
    series = {name: _series(name, table[name]) for name in table.column_names}
    frame = pd.DataFrame(series, copy=False)
    frame.attrs["imkit"] = dict(source or {})
    return frame


def _series(name: str, column: pa.ChunkedArray) -> pd.Series[Any]:
    dtype = COLUMNS.get(name, _TIME if pa.types.is_timestamp(column.type) else _STRING)
    if dtype is _TIME:
        moments: pd.Series[Any] = column.to_pandas()
        return moments.astype(_TIME)
    if dtype == "category":
        return pd.Series(_categorical(column))
    if dtype is _STRING:
        return pd.Series(pd.array(column, dtype=_STRING))
    if column.null_count == len(column):  # zeros that are never written take no memory
        numbers, masked = _MASKED[str(dtype)]
        return pd.Series(masked(np.zeros(len(column), numbers), np.ones(len(column), np.bool_)), copy=False)
    return pd.Series(column.to_pandas(types_mapper=_NULLABLE.get))


@pd.api.extensions.register_dataframe_accessor("im")
class ImAccessor:
    """What imkit adds to a history frame, as ``frame.im``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = {"message_id", "time", "ext"} - set(frame.columns)
        if missing:
            raise AttributeError(f".im works on imkit's history frames; this one has no {', '.join(sorted(missing))}")
        self._frame = frame

    @property
    def source(self) -> dict[str, Any]:
        """Where the frame comes from: app, threads, range, whether it is complete, how many rows.

        Example:
            >>> thread.history().im.source["complete"]  # doctest: +SKIP
            True
        """
        return dict(self._frame.attrs.get("imkit", {}))

    def ext(self, *keys: str) -> pd.DataFrame:
        """Open the application's attributes into columns of their own, one a key, typed by what they hold.

        Args:
            *keys: which; none means every key that occurs, in order of appearance.

        Returns:
            A frame with the same index: text as string, whole numbers as Int64, other numbers as Float64, truth
            values as boolean; mixed values, lists and objects stay Python objects. NA where a message has no key.

        Example:
            >>> frame.assign(mood=frame.im.ext("mood")["mood"])  # doctest: +SKIP
        """
        opened = [json.loads(text) if isinstance(text, str) else {} for text in self._frame["ext"]]
        names = keys or tuple(dict.fromkeys(key for ext in opened for key in ext))
        columns = {name: _typed([ext.get(name) for ext in opened]) for name in names}
        return pd.DataFrame(columns, index=self._frame.index)

    def local(self, zone: str) -> pd.DataFrame:
        """Return the frame with its times in a zone, such as ``"Asia/Shanghai"``: the same moments, other clocks.

        Example:
            >>> frame.im.local("Asia/Shanghai").time.dt.hour.value_counts()  # doctest: +SKIP
        """
        moved = {name: self._frame[name].dt.tz_convert(zone) for name in ("time", "edited_at") if name in self._frame}
        return self._frame.assign(**moved)


def _categorical(column: pa.ChunkedArray) -> Any:
    """Return a dictionary column as a categorical: only what occurs, sorted."""
    parts = column.unify_dictionaries().chunks
    values = parts[0].dictionary if parts else pa.array([], pa.string())
    numbers = np.concatenate([np.empty(0, np.int32), *(part.indices.fill_null(-1).to_numpy() for part in parts)])
    used = np.flatnonzero(np.bincount(numbers + 1, minlength=len(values) + 1)[1:])
    order = pc.sort_indices(values.take(pa.array(used))).to_numpy()
    codes = np.full(len(values) + 1, -1, np.min_scalar_type(-max(len(used), 1)))  # the last is for NA, which is -1
    codes[used[order]] = np.arange(len(used))
    categories = pd.array(values.take(pa.array(used[order])), dtype=_STRING)
    return pd.Categorical.from_codes(codes[numbers], dtype=pd.CategoricalDtype(categories), validate=False)


def _typed(values: list[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    dtypes: dict[frozenset[type], Any] = {
        frozenset({str}): _STRING,
        frozenset({bool}): "boolean",
        frozenset({int}): "Int64",
        frozenset({float}): "Float64",
        frozenset({int, float}): "Float64",
    }
    dtype = dtypes.get(frozenset(kinds))
    try:
        if dtype is not None:
            return pd.array(string_array(values) if dtype is _STRING else values, dtype=dtype)
    except OverflowError:  # beyond 64 bits
        pass
    return pd.Series([pd.NA if value is None else value for value in values], dtype=object).array
