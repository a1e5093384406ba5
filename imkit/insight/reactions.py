"""Which reactions (表情回复) messages got, and from whom.

Source: docs/protocol.md#content-types.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns, insight_frame, texts_with
from imkit.wire.untrusted_json import json_value, number, objects, text, texts

_KEPT = ("message_id", "thread_id", "sender")


def reactions(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each message and reaction: the work of ``frame.im.reactions()``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> reactions(frame_of([])).columns.tolist()[3:]
        ['reaction', 'count', 'users']
    """
    check_columns(frame, "reactions", (*_KEPT, "reactions"))
    found = [
        (row, reaction, number(entry, "count"), texts(entry, "userList"))
        for row, listed in texts_with(frame["reactions"], "{")
        for entry in objects({"reactions": json_value(listed)}, "reactions")
        if (reaction := text(entry, "reaction"))
    ]
    added = {
        "reaction": pd.array(string_array([reaction for _, reaction, _, _ in found]), dtype=STRING),
        "count": np.array([count for _, _, count, _ in found], np.int64),
        "users": pd.Series([users for _, _, _, users in found], dtype=object),
    }
    return insight_frame("reactions", frame, [row for row, *_ in found], _KEPT, added)
