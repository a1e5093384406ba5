"""What all insights share: the columns of the history that they need, and the frame that they return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.errors import InvalidMessage


def check_columns(frame: pd.DataFrame, insight: str, names: Iterable[str]) -> None:
    """Raise `InvalidMessage` unless the frame has the columns."""
    if missing := [name for name in names if name not in frame.columns]:
        hint = f"Call .im.{insight}(…) before you choose columns."
        raise InvalidMessage(f"{insight} needs the columns {', '.join(missing)}", hint=hint)


def texts_with(column: pd.Series[Any], part: str) -> Iterator[tuple[int, str]]:
    """Yield the position and the text of each row whose text has `part` in it.

    Most rows have no such text, and Arrow finds the others without a Python object for each.

    Example:
        >>> list(texts_with(pd.Series(["a cup of tea", None, "tea"]), "tea"))
        [(0, 'a cup of tea'), (2, 'tea')]
    """
    texts = pa.array(column, pa.string(), from_pandas=True)
    found = pc.indices_nonzero(pc.fill_null(pc.match_substring(texts, part), False))
    chosen = texts.take(found)
    yield from zip(found.to_pylist(), chosen.to_pylist(), strict=True)


def insight_frame(
    insight: str, frame: pd.DataFrame, rows: Sequence[int], kept: Sequence[str], added: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the frame of an insight.

    Args:
        insight: its name.
        frame: the history frame.
        rows: the positions of the rows of `frame` that the rows of the result are about.
        kept: the columns of `frame` that the result has too.
        added: the further columns, by name.
    """
    taken = frame[list(kept)].take(np.asarray(rows, np.int64)).reset_index(drop=True)
    for name in kept:
        if isinstance(taken[name].dtype, pd.CategoricalDtype):
            taken[name] = taken[name].cat.remove_unused_categories()
    result = taken.assign(**added)
    source = frame.attrs.get("imkit")
    result.attrs["imkit"] = {**(source if isinstance(source, dict) else {}), "insight": insight}
    return result
