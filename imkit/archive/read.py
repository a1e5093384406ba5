"""Reading an archive: the files that hold the wanted rows, the rows in order, and what is known of each conversation.

Nothing here writes, and a reader never waits for a writer. A reader opens only the files that the catalogue names for
the wanted days, and reads only the columns and row groups that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from imkit.archive import catalogue, parquet
from imkit.archive.catalogue import ConversationState, State, StoredFile, TableName
from imkit.archive.storage import Storage, archive_errors
from imkit.errors import ArchiveError
from imkit.history.columns import TIME
from imkit.history.time_ranges import missing
from imkit.times import iso

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_ATTEMPTS = 5


def read_newest(storage: Storage, read: Callable[[State], T]) -> T:
    """Call `read` with the newest state; call it again if a writer has meanwhile deleted a file of that state.

    A writer keeps the files that it replaces for `catalogue.GRACE_MS`, so only a longer reading needs a second try.

    Raises:
        ArchiveError: a file is missing or damaged.
    """
    with archive_errors(storage, "read"):
        for _ in range(_ATTEMPTS - 1):
            state = catalogue.load(storage)
            try:
                return read(state)
            except FileNotFoundError as error:
                if catalogue.load(storage).number == state.number:
                    raise ArchiveError(f"a file of the archive {storage.place} is missing: {error}") from error
        return read(catalogue.load(storage))


def files_in_range(state: State, kind: TableName, since: int | None, until: int | None) -> list[StoredFile]:
    """Return the files of a table that may hold rows of a time range (ms since the epoch, `until` excluded)."""
    return [
        file
        for file in state.files_of(kind)
        if (since is None or file.last >= since) and (until is None or file.first < until)
    ]


def ordered_rows(
    storage: Storage,
    state: State,
    *,
    since: int | None,
    until: int | None,
    target_ids: Sequence[str] | None,
    columns: Sequence[str],
    gone: bool,
) -> pa.Table:
    """Return rows ordered by time, then by message id, with the types of `imkit.history.columns.SCHEMA`.

    Args:
        storage: the archive's storage.
        state: the archive's state.
        since: in ms since the epoch, included; `None`: from the oldest.
        until: in ms since the epoch, excluded; `None`: to the newest.
        target_ids: the conversations; `None`: all.
        columns: names of the columns.
        gone: whether rows of messages that are gone are included.
    """
    files = files_in_range(state, "messages", since, until)
    projection = {name: ds.field(name) for name in columns}
    # Ids are decimal numbers in text: the shorter number is the smaller one.
    order = {
        "#time": ds.field("time"),
        "#length": pc.utf8_length(ds.field("message_id")),
        "#id": ds.field("message_id"),
    }
    table = parquet.dataset(storage, files, parquet.MESSAGES, categories=True).to_table(
        {**projection, **order}, filter=row_filter(since, until, target_ids, gone)
    )
    positions = pc.sort_indices(table, [(name, "ascending") for name in order])
    return table.select(list(columns)).take(positions)


def row_filter(since: int | None, until: int | None, target_ids: Sequence[str] | None, gone: bool) -> pc.Expression:
    """Return the filter for rows of a file; the arguments are those of `ordered_rows`."""
    wanted = ds.scalar(True)
    if since is not None:
        wanted &= ds.field("time") >= pa.scalar(since, TIME)
    if until is not None:
        wanted &= ds.field("time") < pa.scalar(until, TIME)
    if target_ids is not None:
        wanted &= ds.field("target_id").isin(target_ids)
    if not gone:
        wanted &= ds.field("gone_at").is_null()
    return wanted


def source_of(
    state: State, target_ids: Sequence[str] | None, since: int | None, until: int | None, count: int
) -> dict[str, Any]:
    """Return ``frame.attrs["imkit"]`` for `count` rows from an archive."""
    conversations = list(state.conversations.values())
    if target_ids is not None:
        conversations = [state.conversations.get(target_id, ConversationState(target_id)) for target_id in target_ids]
    reasons = [reason for each in conversations if (reason := why_incomplete(each, since, until))]
    oldest = min((each.synced_at for each in conversations), default=0)
    return {
        "app_key": state.app_key,
        "thread_ids": [each.id for each in conversations],
        "since": iso(since),
        "until": iso(until),
        "fetched_at": iso(oldest or None),  # 0: nothing has been read yet
        "complete": bool(conversations) and not reasons,
        "reason": "; ".join(reasons) if conversations else "nothing has been synced",
        "rows": count,
        "server_count": None,
    }


def why_incomplete(conversation: ConversationState, since: int | None, until: int | None) -> str:
    """Say which part of a time range has not been read; "" if all of it has."""
    if not conversation.covered:
        return f"{conversation.id}: nothing has been read"
    *gaps, _ = missing(conversation.covered, since)
    first = next(((low, high) for low, high in gaps if until is None or (low or 0) < until), None)
    if first is None:
        return ""
    return f"{conversation.id}: not read from {iso(first[0] or 0)} to {iso(first[1])}"


def conversation_table(state: State) -> pa.Table:
    """Return a row for each thread and group with what the catalogue knows of it."""
    known = sorted(state.conversations.values(), key=lambda each: (each.group_id or each.id, each.kind, each.id))

    def times(values: Iterable[int]) -> pa.Array:
        return pa.array([value or None for value in values], TIME)

    return pa.table(
        {
            "target_id": pa.array([each.id for each in known], pa.string()),
            "kind": pa.array([each.kind for each in known], pa.string()),
            "name": pa.array([each.name or None for each in known], pa.string()),
            "group_id": pa.array([each.group_id or None for each in known], pa.string()),
            "status": pa.array([each.status for each in known], pa.string()),
            "status_since": times(each.status_since for each in known),
            "complete": pa.array([not why_incomplete(each, None, None) for each in known], pa.bool_()),
            "newest_id": pa.array([each.newest_id or None for each in known], pa.string()),
            "newest_at": times(each.newest_at for each in known),
            "synced_at": times(each.synced_at for each in known),
        }
    )


def message_counts(storage: Storage, state: State) -> dict[str, int]:
    """Return the number of stored messages of each thread and group, with those that are gone."""
    files = state.files_of("messages")
    targets = parquet.dataset(storage, files, parquet.MESSAGES).to_table(["target_id"])
    grouped = targets.group_by("target_id").aggregate([("target_id", "count")])
    return dict(zip(grouped["target_id"].to_pylist(), grouped["target_id_count"].to_pylist(), strict=True))


def plain_frame(table: pa.Table) -> pd.DataFrame:
    """Return a DataFrame without categories: texts are strings; numbers and booleans can be NA."""
    import pandas as pd

    types = {
        pa.string(): pd.StringDtype(na_value=pd.NA),
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    frame.attrs["imkit"] = {}  # so that a notebook typesets nothing in it: `imkit.history.summary`
    return frame
