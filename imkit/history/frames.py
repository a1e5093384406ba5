"""The history frame: a DataFrame with one row per message. Its accessor ``.im`` is in `imkit.insight.accessor`.

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

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.columns import batch_of
from imkit.messages import Message

_TIME = pd.DatetimeTZDtype("ms", "UTC")
STRING = pd.StringDtype(na_value=pd.NA)
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}
_MASKED: dict[str, tuple[Any, Any]] = {
    "Int64": (np.int64, pd.arrays.IntegerArray),
    "Float64": (np.float64, pd.arrays.FloatingArray),
}
COLUMNS: dict[str, Any] = {
    "message_id": STRING,
    "time": _TIME,
    "sender": "category",
    "type": "category",
    "text": STRING,
    "thread_id": "category",
    "thread_name": "category",
    "group_id": "category",
    "parent_message_id": STRING,
    "url": STRING,
    "file_name": STRING,
    "file_size": "Int64",
    "duration": "Int64",
    "width": "Float64",
    "height": "Float64",
    "lat": "Float64",
    "lng": "Float64",
    "ext": STRING,
    "payload": STRING,
    "reactions": STRING,
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
    dtype = COLUMNS.get(name, _TIME if pa.types.is_timestamp(column.type) else STRING)
    if dtype is _TIME:
        moments: pd.Series[Any] = column.to_pandas()
        return moments.astype(_TIME)
    if dtype == "category":
        return pd.Series(_categorical(column))
    if dtype is STRING:
        return pd.Series(pd.array(column, dtype=STRING))
    if column.null_count == len(column):  # memory of zeros is not allocated until it is written
        number_type, array_class = _MASKED[str(dtype)]
        return pd.Series(array_class(np.zeros(len(column), number_type), np.ones(len(column), np.bool_)), copy=False)
    return pd.Series(column.to_pandas(types_mapper=_NULLABLE.get))


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
    categories = pd.array(values.take(pa.array(used[order])), dtype=STRING)
    return pd.Categorical.from_codes(codes[numbers], dtype=pd.CategoricalDtype(categories), validate=False)
