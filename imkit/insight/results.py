"""What all insights share: the columns of the history that they need, and the frame that they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.errors import InvalidMessage

T = TypeVar("T")
_ROWS_AT_ONCE = 65_536  # more take more memory
IntArray = np.ndarray[Any, np.dtype[np.integer[Any]]]


def check_columns(frame: pd.DataFrame, insight: str, names: Iterable[str]) -> None:
    """Raise `InvalidMessage` unless the frame has the columns, each once."""
    if missing := [name for name in names if name not in frame.columns]:
        hint = f"Call .im.{insight}(…) before you choose columns."
        raise InvalidMessage(f"{insight} needs the columns {', '.join(missing)}", hint=hint)
    if twice := sorted(set(names).intersection(frame.columns[frame.columns.duplicated()])):
        hint = "Did you put two frames side by side? merge(…, on='message_id') gives such columns two names."
        raise InvalidMessage(f"{insight} needs the columns {', '.join(twice)} once, not twice", hint=hint)


def text_array(frame: pd.DataFrame, name: str) -> pa.Array:
    """Return a column of texts as an Arrow array.

    Raises:
        InvalidMessage: it holds something else, such as ids that `pandas.read_csv` has read as numbers.
    """
    try:
        texts = pa.array(frame[name], pa.large_string(), from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError):
        hint = f"In a history frame it does. From a CSV file, read it with dtype={{'{name}': 'string'}}."
        raise InvalidMessage(f"the column {name} does not hold texts", hint=hint) from None
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def found_in_texts(
    texts: pa.Array, part: str, parse: Callable[[str], Iterable[T]]
) -> tuple[IntArray, IntArray, list[T]]:
    """Return what `parse` finds in the texts that have `part` in them.

    Most rows have no such text, and Arrow leaves them out without a Python object for each. Equal texts are parsed
    once, because many messages mention the same person or got the same reaction.

    Returns:
        For each find of each row, in order, the position of the row and the place of the find in the list; the list.

    Example:
        >>> texts = pa.array(["a, b", None, "c", "a, b"])
        >>> rows, places, found = found_in_texts(texts, ",", lambda text: text.split(", "))
        >>> rows.tolist(), places.tolist(), found
        ([0, 0, 3, 3], [0, 1, 0, 1], ['a', 'b'])
    """
    rows = pc.indices_nonzero(pc.fill_null(pc.match_substring(texts, part), False))
    found: list[T] = []
    counts, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        different = texts.take(rows.slice(start, _ROWS_AT_ONCE)).dictionary_encode()
        ends = [len(found)]  # of what was found in each of the different texts
        for text in different.dictionary.to_pylist():
            found.extend(parse(text))
            ends.append(len(found))
        texts_of_rows = different.indices.to_numpy()
        counts_here = np.diff(ends)[texts_of_rows]
        # The finds of a row have successive places, from the first find of its text on.
        firsts = np.array(ends)[texts_of_rows] - (np.cumsum(counts_here) - counts_here)
        places.append(np.arange(counts_here.sum()) + np.repeat(firsts, counts_here))
        counts.append(counts_here)
    return np.repeat(rows.to_numpy(), np.concatenate(counts)), np.concatenate(places), found


def insight_frame(
    insight: str, frame: pd.DataFrame, rows: IntArray, kept: Sequence[str], added: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the frame of an insight.

    Args:
        insight: its name.
        frame: the history frame.
        rows: the positions of the rows of `frame` that the rows of the result are about.
        kept: the columns of `frame` that the result has too.
        added: the further columns, by name.
    """
    taken = frame[list(kept)].take(rows).reset_index(drop=True)
    for name in kept:
        if isinstance(taken[name].dtype, pd.CategoricalDtype):
            taken[name] = taken[name].cat.remove_unused_categories()
    result = taken.assign(**added)
    source = frame.attrs.get("imkit")
    result.attrs["imkit"] = {**(source if isinstance(source, dict) else {}), "insight": insight}
    return result
