"""The attributes (ext, 扩展字段) of the messages of a frame, as columns."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from imkit.errors import InvalidMessage
from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.repeated_warnings import logger_of_untrusted
from imkit.wire.untrusted_json import json_object

logger = logger_of_untrusted("imkit.insight")

MAX_KEYS = 200  # columns of attributes that nobody asked for by name


def opened(frame: pd.DataFrame, keys: tuple[str, ...]) -> pd.DataFrame:
    """Return a frame with the same index and one column for each key: the work of ``frame.im.ext(…)``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> opened(frame_of([]), ("mood",)).columns.tolist()
        ['mood']
    """
    if not all(isinstance(key, str) for key in keys):
        hint = 'Give each as an argument of its own: frame.im.ext("mood", "tea").'
        raise InvalidMessage("a key of ext is a text", hint=hint)
    attributes = [json_object(text) if isinstance(text, str) else {} for text in frame["ext"]]
    names = keys or _most_common_keys(attributes)
    columns = {name: _typed([ext.get(name) for ext in attributes]) for name in names}
    found = pd.DataFrame(columns, index=frame.index)
    found.attrs = frame.attrs
    return found


def _most_common_keys(attributes: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the keys that occur, in this order: at most `MAX_KEYS`, those that most messages have."""
    counts = Counter(key for ext in attributes for key in ext)
    if len(counts) <= MAX_KEYS:
        return tuple(counts)
    logger.warning("%d attributes occur: the %d most common ones became columns", len(counts), MAX_KEYS)
    most_common = {key for key, _ in counts.most_common(MAX_KEYS)}
    return tuple(key for key in counts if key in most_common)


def _typed(values: list[Any]) -> Any:
    """Return values as an array of the type that fits all of them."""
    kinds = {type(value) for value in values if value is not None}
    dtypes: dict[frozenset[type], Any] = {
        frozenset({str}): STRING,
        frozenset({bool}): "boolean",
        frozenset({int}): "Int64",
        frozenset({float}): "Float64",
        frozenset({int, float}): "Float64",
    }
    dtype = dtypes.get(frozenset(kinds))
    try:
        if dtype is not None:
            return pd.array(string_array(values) if dtype is STRING else values, dtype=dtype)
    except OverflowError:  # beyond 64 bits
        pass
    return pd.Series([pd.NA if value is None else value for value in values], dtype=object).array
