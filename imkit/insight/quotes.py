"""Which users reply to whom by quoting (引用).

Source: docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns, found_in_texts, insight_frame, text_array
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
    rows, places, found = found_in_texts(text_array(frame, "ext"), f'"{QUOTE_KEY}"', _quoted)
    quoted_ids, quoted_senders = (string_array([quote[n] for quote in found]).take(pa.array(places)) for n in (0, 1))
    message_ids = text_array(frame, "message_id")
    # The first row with the id, null where there is none.
    quoted_rows = pc.index_in(quoted_ids.cast(message_ids.type), value_set=message_ids)
    in_frame = quoted_rows.is_valid().to_numpy(zero_copy_only=False)
    # The times may be of another zone or unit, or of Arrow, as other programs write them.
    times = pd.Series(pd.to_datetime(frame["time"], utc=True, errors="coerce").to_numpy("datetime64[ms]"))
    replied_at, quoted_at = (times.take(place).array for place in (rows, quoted_rows.fill_null(0).to_numpy()))
    added = {
        "quoted_id": pd.array(quoted_ids, dtype=STRING),
        "quoted_sender": pd.array(quoted_senders, dtype=STRING),
        "in_frame": in_frame,
        "latency": (pd.Series(replied_at) - pd.Series(quoted_at)).where(in_frame),
    }
    return insight_frame("quotes", frame, rows, _KEPT, added)


class _Entry(msgspec.Struct, gc=False):
    msgID: str
    msgSender: str = ""


class _Ext(msgspec.Struct, gc=False):
    msgQuote: _Entry


_DECODER = msgspec.json.Decoder(_Ext)  # ten times as fast as `quote_of`, but it reads only what the official kits write


def _quoted(ext: str) -> list[tuple[str, str]]:
    """Return the id and the sender of the message that attributes quote, if they quote one."""
    try:
        quoted = _DECODER.decode(ext).msgQuote
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        quote = quote_of(json_object(ext))
        return [] if quote is None else [(quote.message_id, quote.sender)]
    return [(quoted.msgID, quoted.msgSender)] if quoted.msgID else []
