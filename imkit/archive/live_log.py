"""The live log: edits and recalls as a session saw them, to study messages that were sent and then recalled.

The history at the service no longer has a recalled message, but a session that was logged in has seen it. Nothing is
logged unless `Archive.watch` is called. Note that people recall messages that they do not want to be kept.

The files lie beside the archive's tables, and are written without the archive's lock (`imkit.archive.watch`): one JSON
object a line, for each event. If events were missed, an entry `MISSED` says from when to when and how many. The next
sync reads these times again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from imkit.archive.storage import Storage
from imkit.history.columns import TIME
from imkit.times import LAST_MILLISECOND, iso
from imkit.whole_files import PART

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
        "since": TIME,
        "missed": pa.int64(),
    }
)
MISSED = "missed"  # the value of `event` in an entry about events that were missed
MISSED_SUFFIX = "-missed.json"  # of the names of files with such entries

_UNREADABLE = (ValueError, TypeError, OverflowError, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class MissedEvents:
    """Events that a live log has missed.

    Args:
        since: a time up to which the log is complete, in ms since the epoch.
        at: when the last of them was missed, in ms since the epoch.
        count: how many.
    """

    since: int
    at: int
    count: int

    def __str__(self) -> str:
        return f"the live log missed {self.count:,} edits and recalls between {iso(self.since)} and {iso(self.at)}"


def live_table(storage: Storage) -> pa.Table:
    """Return all logged events, the oldest first. An entry that cannot be read becomes a warning in the log."""
    batches: list[pa.RecordBatch] = []
    for name in _file_names(storage):
        entries = list(_entries(storage, name))
        try:
            batches.append(_batch(entries))
        except _UNREADABLE:
            batches += _readable_batches(storage, name, entries)
    return pa.Table.from_batches(batches, LIVE).sort_by("at")


def _readable_batches(storage: Storage, name: str, entries: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Yield the entries of a file, one by one, without those that have values of other types."""
    for entry in entries:
        try:
            yield _batch([entry])
        except _UNREADABLE as error:
            _warn(storage, name, error)


def _batch(entries: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{key: entry.get(key) for key in LIVE.names} for entry in entries], schema=LIVE)


def missed_events(storage: Storage) -> list[MissedEvents]:
    """Return which events the live log has missed. This reads only the files whose names say that they tell it."""
    found = []
    for name in _file_names(storage):
        if name.endswith(MISSED_SUFFIX):
            for entry in _entries(storage, name):
                numbers = [entry.get(key) for key in ("since", "at", "missed")]
                valid = [min(max(number, 0), LAST_MILLISECOND) for number in numbers if isinstance(number, int)]
                if entry.get("event") == MISSED and len(valid) == len(numbers):
                    found.append(MissedEvents(*valid))
    return found


def _file_names(storage: Storage) -> list[str]:
    return [name for name in storage.names(FOLDER) if not name.endswith(PART)]


def _entries(storage: Storage, name: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file, without those that are not JSON objects."""
    try:
        lines = storage.read(name).splitlines()
    except FileNotFoundError as error:
        _warn(storage, name, error)
        return
    for line in lines:
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("it is not an object")
        except (ValueError, RecursionError) as error:
            _warn(storage, name, error)
        else:
            yield entry


def _warn(storage: Storage, name: str, error: Exception) -> None:
    logger.warning("%s of the archive %s cannot be read: %s", name, storage.place, error)
