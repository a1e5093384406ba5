"""Which users mention whom (@ 提及).

Source: docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

import pandas as pd

from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns, insight_frame, texts_with
from imkit.quotes import MENTIONS_KEY, mentions_of
from imkit.wire.untrusted_json import json_object

_KEPT = ("message_id", "time", "thread_id", "sender")


def mentions(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each message and mentioned person: the work of ``frame.im.mentions()``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> mentions(frame_of([])).columns.tolist()
        ['message_id', 'time', 'thread_id', 'sender', 'mentioned']
    """
    check_columns(frame, "mentions", (*_KEPT, "ext"))
    found = [
        (row, user)
        for row, text in texts_with(frame["ext"], f'"{MENTIONS_KEY}"')
        for user in mentions_of(json_object(text))
    ]
    mentioned = pd.array(string_array([user for _, user in found]), dtype=STRING)
    return insight_frame("mentions", frame, [row for row, _ in found], _KEPT, {"mentioned": mentioned})
