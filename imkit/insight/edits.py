"""Which messages were edited (编辑).

Source: docs/protocol.md#editing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from imkit.insight.results import check_columns, insight_frame

_KEPT = ("message_id", "thread_id", "sender", "edited_at", "edit_count")


def edits(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were edited: the work of ``frame.im.edits()``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> len(edits(frame_of([])))
        0
    """
    check_columns(frame, "edits", _KEPT)
    is_edited = (pd.to_numeric(frame["edit_count"], errors="coerce") > 0).fillna(False).to_numpy(np.bool_)
    return insight_frame("edits", frame, np.flatnonzero(is_edited), _KEPT, {})
