"""The live log: edits and recalls as a session sees them, so that "said, then recalled" can be studied.

History forgets a recalled message; whoever was listening has seen it. Nothing is logged unless it is asked for, one
small file an event, beside the archive and independent of its writers. Mind that people recall what they do not want
kept.
"""

from __future__ import annotations

import json
import logging
import secrets
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from imkit.archive import parquet
from imkit.archive.storage import Storage
from imkit.events import Event, MessageEdited, MessageRecalled
from imkit.history.columns import TIME
from imkit.messages import Message
from imkit.session import Session
from imkit.times import to_milliseconds
from imkit.whole_files import PART
from imkit.wire.keyvalues import json_text

logger = logging.getLogger("imkit.archive")

FOLDER = "live"
LIVE = pa.schema(
    {
        "event": pa.string(),
        "at": TIME,
        "operator": pa.string(),
        "message_id": pa.string(),
        "target_id": pa.string(),
        "seconds_after": pa.float64(),
        "sender": pa.string(),
        "time": TIME,
        "text": pa.string(),
        "ext": pa.string(),
        "edit_count": pa.int64(),
    }
)


class Watch:
    """A log that is being kept; `close()` or the end of a `with` ends it, and so does the session's end.

    Attributes:
        count: how many events it has written.
    """

    def __init__(self, storage: Storage, session: Session) -> None:
        self._storage = storage
        self._user = session.user
        self.count = 0
        # One callback for all: two would run side by side, and write an edit behind the recall that followed it.
        self._handle = session.on(Event, self._keep, replay=False)

    def _keep(self, event: Event) -> None:
        entry = _entry(event)
        if entry is None:
            return
        day = parquet.day_name(entry["at"])
        name = f"{FOLDER}/day={day}/{entry['at']}-{self.count:09}-{secrets.token_hex(6)}.json"
        self._storage.write(name, json_text(entry).encode(errors="backslashreplace"))
        self.count += 1

    def close(self) -> None:
        """Log no more."""
        self._handle.off()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<live log of {self._user} in {self._storage.place}: {self.count:,} events>"


def _entry(event: Event) -> dict[str, Any] | None:
    match event:
        case MessageRecalled():
            about: dict[str, Any] = {"event": "recalled", "operator": event.by, "message_id": event.message_id}
            about |= {"at": to_milliseconds(event.at), "target_id": event.to, "seconds_after": event.seconds_after}
            return {**about, **_said(event.message)}
        case MessageEdited():
            about = {"event": "edited", "operator": event.operator, "message_id": event.message.id}
            about |= {"at": to_milliseconds(event.at), "target_id": event.message.to}
            return {**about, **_said(event.message)}
    return None


def _said(message: Message | None) -> dict[str, Any]:
    if message is None:
        return {}
    return {
        "sender": message.sender,
        "time": to_milliseconds(message.time),
        "text": message.text,
        "ext": json_text(message.ext) if message.ext else None,
        "edit_count": message.edit_count,
    }


def table(storage: Storage) -> pa.Table:
    """Return all that was logged, oldest first; what cannot be read is left out, and said in imkit's log."""
    found = []
    for name in storage.names(FOLDER):
        if name.endswith(PART):
            continue
        try:
            entry = json.loads(storage.read(name))
            found.append(pa.RecordBatch.from_pylist([{key: entry.get(key) for key in LIVE.names}], schema=LIVE))
        except (ValueError, TypeError, AttributeError, pa.ArrowException, FileNotFoundError) as error:
            logger.warning("%s of the archive %s cannot be read: %s", name, storage.place, error)
    return pa.Table.from_batches(found, LIVE).sort_by("at")
