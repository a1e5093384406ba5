"""Which users mention whom (@ 提及).

Source: docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns, found_in_texts, insight_frame, text_array
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
    rows, places, users = found_in_texts(
        text_array(frame, "ext"), f'"{MENTIONS_KEY}"', lambda text: mentions_of(json_object(text))
    )
    mentioned = pd.array(string_array(users).take(pa.array(places)), dtype=STRING)
    return insight_frame("mentions", frame, rows, _KEPT, {"mentioned": mentioned})
