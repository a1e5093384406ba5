"""The live log: edits and recalls as a session sees them, to study messages that were sent and then recalled.

The history at the service no longer has a recalled message, but a session that was logged in has seen it. Nothing is
logged unless `Archive.watch` is called. Each event becomes one small file beside the archive's tables, written without
the archive's lock. Note that people recall messages that they do not want to be kept.
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
    """A live log that is being written, until `close()`, the end of a `with` block or the end of the session.

    Attributes:
        count: number of events it has written.
    """

    def __init__(self, storage: Storage, session: Session) -> None:
        self._storage = storage
        self._user = session.user
        self.count = 0
        # One callback for both kinds of events: two would run at the same time, and could write an edit after the
        # recall that followed it.
        self._subscription = session.on(Event, self._write, replay=False)

    def _write(self, event: Event) -> None:
        entry = _entry_of(event)
        if entry is None:
            return
        day = parquet.utc_day(entry["at"])
        name = f"{FOLDER}/day={day}/{entry['at']}-{self.count:09}-{secrets.token_hex(6)}.json"
        self._storage.write(name, json_text(entry).encode(errors="backslashreplace"))
        self.count += 1

    def close(self) -> None:
        """Stop logging."""
        self._subscription.off()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<live log of {self._user} in {self._storage.place}: {self.count:,} events>"


def _entry_of(event: Event) -> dict[str, Any] | None:
    """Return the log entry of an event; `None` if it is neither an edit nor a recall."""
    match event:
        case MessageRecalled():
            return {
                "event": "recalled",
                "operator": event.by,
                "message_id": event.message_id,
                "at": to_milliseconds(event.at),
                "target_id": event.to,
                "seconds_after": event.seconds_after,
                **_message_fields(event.message),
            }
        case MessageEdited():
            return {
                "event": "edited",
                "operator": event.operator,
                "message_id": event.message.id,
                "at": to_milliseconds(event.at),
                "target_id": event.message.to,
                **_message_fields(event.message),
            }
    return None


def _message_fields(message: Message | None) -> dict[str, Any]:
    if message is None:
        return {}
    return {
        "sender": message.sender,
        "time": to_milliseconds(message.time),
        "text": message.text,
        "ext": json_text(message.ext) if message.ext else None,
        "edit_count": message.edit_count,
    }


def live_table(storage: Storage) -> pa.Table:
    """Return all logged events, the oldest first. An entry that cannot be read becomes a warning in the log."""
    batches = []
    for name in storage.names(FOLDER):
        if name.endswith(PART):
            continue
        try:
            entry = json.loads(storage.read(name))
            batches.append(pa.RecordBatch.from_pylist([{key: entry.get(key) for key in LIVE.names}], schema=LIVE))
        except (ValueError, TypeError, AttributeError, pa.ArrowException, FileNotFoundError) as error:
            logger.warning("%s of the archive %s cannot be read: %s", name, storage.place, error)
    return pa.Table.from_batches(batches, LIVE).sort_by("at")
