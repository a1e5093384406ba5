"""The history frame: a DataFrame with one row per message. Importing this module registers the accessor ``.im``.

The columns and their types do not depend on the rows, nor on how many there are; see `COLUMNS`.

| column | dtype | what |
|---|---|---|
| message_id | string | 19 digits; as a float it would lose the last ones |
| time | datetime64[ms, UTC] | the server's time |
| sender | category | user id |
| type | category | txt img audio video file loc cmd custom combine unknown |
| text | string | the text; a bundle's title; a custom event's name; a command's action; a place's address |
| thread_id, thread_name | category | NA for plain group messages |
| group_id | category | the group of the thread, or of the plain group message |
| parent_message_id | string | the message on which the thread was created |
| url, file_name | string | of attachments; the URL without its share-secret |
| file_size, duration | Int64 | bytes; seconds |
| width, height, lat, lng | Float64 | pixels; degrees |
| ext, payload, reactions | string | JSON text: attributes; facts of this type that have no column; who reacted |
| edited_at | datetime64[ms, UTC] | the last edit |
| edit_count | Int64 | 0 if it was never edited |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.columns import batch_of, string_array
from imkit.messages import Message
from imkit.repeated_warnings import logger_of_untrusted
from imkit.wire.untrusted_json import json_object

logger = logger_of_untrusted("imkit.history")

MAX_KEYS = 200  # columns of attributes that nobody asked for by name
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
        source: where they come from, as plain JSON; becomes ``frame.attrs["imkit"]``.

    Example:
        >>> frame_of([]).dtypes["message_id"]
        <StringDtype(na_value=<NA>)>
    """
    return frame_of_table(pa.Table.from_batches([batch_of(messages)]), source)


def frame_of_table(table: pa.Table, source: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return the history frame of a table of `imkit.history.columns.SCHEMA`, in its order.

    Args:
        table: any number of batches, also none. It may lack columns of the schema, and may have others of text or time.
        source: where the rows come from, as plain JSON; becomes ``frame.attrs["imkit"]``.

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
    if column.null_count == len(column):  # memory of zeros is not allocated until it is written
        number_type, array_class = _MASKED[str(dtype)]
        return pd.Series(array_class(np.zeros(len(column), number_type), np.ones(len(column), np.bool_)), copy=False)
    return pd.Series(column.to_pandas(types_mapper=_NULLABLE.get))


@pd.api.extensions.register_dataframe_accessor("im")
class ImAccessor:
    """The accessor ``frame.im`` of a history frame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = {"message_id", "time", "ext"} - set(frame.columns)
        if missing:
            raise AttributeError(f".im works on imkit's history frames; this one has no {', '.join(sorted(missing))}")
        self._frame = frame

    @property
    def source(self) -> dict[str, Any]:
        """Where the frame comes from: app, threads, range, whether it is complete, how many rows.

        Returns:
            A copy of ``frame.attrs["imkit"]``, plain JSON.

        Example:
            >>> thread.history().im.source["complete"]
            True
        """
        return dict(self._frame.attrs.get("imkit", {}))

    def ext(self, *keys: str) -> pd.DataFrame:
        """Return the attributes (ext, 扩展字段) as columns, one per key.

        Args:
            *keys: which attributes; without any, every key that occurs, in the order in which they occur. Of more than
                200 keys only those that most messages have, because one sender could fill the memory with columns.

        Returns:
            A frame with the same index. A column of texts is string, of whole numbers Int64, of other numbers Float64,
            of booleans boolean; mixed values, lists and objects stay Python objects. NA where a message lacks the key.

        Example:
            >>> moods = thread.history().im.ext("mood")
            >>> list(moods.columns)
            ['mood']
        """
        attributes = [json_object(text) if isinstance(text, str) else {} for text in self._frame["ext"]]
        names = keys or _most_common_keys(attributes)
        columns = {name: _typed([ext.get(name) for ext in attributes]) for name in names}
        found = pd.DataFrame(columns, index=self._frame.index)
        found.attrs = self._frame.attrs
        return found

    def local(self, zone: str) -> pd.DataFrame:
        """Return the frame with its times in another time zone. The moments stay the same.

        Args:
            zone: an IANA name, such as ``"Asia/Shanghai"``.

        Example:
            >>> local = thread.history().im.local("Asia/Shanghai")
            >>> print(local["time"].dt.tz)
            Asia/Shanghai
        """
        moved = {name: self._frame[name].dt.tz_convert(zone) for name in ("time", "edited_at") if name in self._frame}
        return self._frame.assign(**moved)


def _most_common_keys(attributes: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the keys that occur, in this order: at most `MAX_KEYS`, those that most messages have."""
    counts = Counter(key for ext in attributes for key in ext)
    if len(counts) <= MAX_KEYS:
        return tuple(counts)
    logger.warning("%d attributes occur: the %d most common ones became columns", len(counts), MAX_KEYS)
    most_common = {key for key, _ in counts.most_common(MAX_KEYS)}
    return tuple(key for key in counts if key in most_common)


def _categorical(column: pa.ChunkedArray) -> Any:
    """Return a dictionary column as a categorical. Its categories are the values that occur, sorted."""
    chunks = column.unify_dictionaries().chunks
    values = chunks[0].dictionary if chunks else pa.array([], pa.string())
    numbers = np.concatenate([np.empty(0, np.int32), *(chunk.indices.fill_null(-1).to_numpy() for chunk in chunks)])
    used = np.flatnonzero(np.bincount(numbers + 1, minlength=len(values) + 1)[1:])
    order = pc.sort_indices(values.take(pa.array(used))).to_numpy()
    codes = np.full(
        len(values) + 1, -1, np.min_scalar_type(-max(len(used), 1))
    )  # the last entry is for NA, which is -1
    codes[used[order]] = np.arange(len(used))
    categories = pd.array(values.take(pa.array(used[order])), dtype=_STRING)
    return pd.Categorical.from_codes(codes[numbers], dtype=pd.CategoricalDtype(categories), validate=False)


def _typed(values: list[Any]) -> Any:
    """Return values as an array of the type that fits all of them."""
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
