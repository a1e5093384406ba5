"""Which reactions (表情回复) messages got, and from whom.

Source: docs/protocol.md#content-types.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns, found_in_texts, insight_frame, text_array
from imkit.wire.untrusted_json import json_value, number, text, texts

_KEPT = ("message_id", "thread_id", "sender")


def reactions(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each message and reaction: the work of ``frame.im.reactions()``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> reactions(frame_of([])).columns.tolist()[3:]
        ['reaction', 'count', 'users']
    """
    check_columns(frame, "reactions", (*_KEPT, "reactions"))
    rows, places, found = found_in_texts(text_array(frame, "reactions"), "{", _entries)
    reactions, counts, users = zip(*found, strict=True) if found else ((), (), ())
    added = {
        "reaction": pd.array(string_array(list(reactions)).take(pa.array(places)), dtype=STRING),
        "count": np.array(counts, np.int64)[places],
        # A list for each row: a change of one must not change another.
        "users": pd.Series([list(users[place]) for place in places.tolist()], dtype=object),
    }
    return insight_frame("reactions", frame, rows, _KEPT, added)


def _entries(listed: str) -> list[tuple[str, int, list[str]]]:
    """Return the reactions in the JSON text of one row: (reaction, count, users)."""
    entries = json_value(listed)
    return [
        (reaction, number(entry, "count"), texts(entry, "userList"))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and (reaction := text(entry, "reaction"))
    ]
