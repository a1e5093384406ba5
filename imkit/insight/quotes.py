"""Which users reply to whom by quoting (引用).

Source: docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns, insight_frame, texts_with
from imkit.quotes import QUOTE_KEY, quote_of
from imkit.wire.untrusted_json import json_object

_KEPT = ("message_id", "time", "thread_id", "sender")


def quotes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each quote: the work of ``frame.im.quotes()``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> quotes(frame_of([])).columns.tolist()[4:]
        ['quoted_id', 'quoted_sender', 'in_frame', 'latency']
    """
    check_columns(frame, "quotes", (*_KEPT, "ext"))
    found = [
        (row, quote)
        for row, text in texts_with(frame["ext"], f'"{QUOTE_KEY}"')
        if (quote := quote_of(json_object(text))) is not None
    ]
    rows = [row for row, _ in found]
    quoted_ids = string_array([quote.message_id for _, quote in found])
    message_ids = pa.array(frame["message_id"], pa.string(), from_pandas=True)
    quoted_rows = pc.index_in(quoted_ids, value_set=message_ids)  # the first row with the id, null where there is none
    in_frame = quoted_rows.is_valid().to_numpy(zero_copy_only=False)
    replied_at, quoted_at = (frame["time"].take(place).array for place in (rows, quoted_rows.fill_null(0).to_numpy()))
    added = {
        "quoted_id": pd.array(quoted_ids, dtype=STRING),
        "quoted_sender": pd.array(string_array([quote.sender for _, quote in found]), dtype=STRING),
        "in_frame": in_frame,
        "latency": (pd.Series(replied_at) - pd.Series(quoted_at)).where(in_frame),
    }
    return insight_frame("quotes", frame, rows, _KEPT, added)
