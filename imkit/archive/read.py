"""Reading an archive: which files hold the rows asked for, their rows in order, and what is known of each thread.

Nothing here writes, and no reader waits for a writer.

Only the files are opened that the catalogue names for the days asked for, and of those only the columns and row groups
that are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from imkit.archive import catalogue, parquet
from imkit.archive.catalogue import Conversation, Kind, State, StoredFile
from imkit.archive.storage import Storage
from imkit.history.columns import TIME
from imkit.history.time_ranges import missing
from imkit.times import iso

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_ATTEMPTS = 5


def retry_if_compacted(storage: Storage, read: Callable[[State], T]) -> T:
    """Call `read` with the newest state; call it again where a writer has meanwhile merged a file of it away."""
    for _ in range(_ATTEMPTS - 1):
        state = catalogue.load(storage)
        try:
            return read(state)
        except FileNotFoundError:
            if catalogue.load(storage).number == state.number:
                raise
    return read(catalogue.load(storage))


def chosen(state: State, kind: Kind, since: int | None, until: int | None) -> list[StoredFile]:
    """Return the files of a table that may hold rows of a time range (ms since the epoch, `until` excluded)."""
    return [
        file
        for file in state.of(kind)
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
    """Return rows in the order of time, then of message id, with the types of `imkit.history.columns.SCHEMA`."""
    wanted = condition(since, until, target_ids, gone)
    files = chosen(state, "messages", since, until)
    projection = {name: ds.field(name) for name in columns}
    order = {
        "#time": ds.field("time"),
        "#length": pc.utf8_length(ds.field("message_id")),
        "#id": ds.field("message_id"),
    }
    found = parquet.dataset(storage, files, parquet.MESSAGES, categories=True).to_table(
        {**projection, **order}, filter=wanted
    )
    places = pc.sort_indices(found, [(name, "ascending") for name in order])
    return found.select(list(columns)).take(places)


def condition(since: int | None, until: int | None, target_ids: Sequence[str] | None, gone: bool) -> pc.Expression:
    """Return the filter that rows of a file must pass."""
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
    """Return what ``frame.attrs["imkit"]`` says of rows from an archive."""
    known = list(state.conversations.values())
    if target_ids is not None:
        known = [state.conversations.get(target_id, Conversation(target_id)) for target_id in target_ids]
    reasons = [reason for each in known if (reason := unread(each, since, until))]
    oldest = min((each.synced_at for each in known), default=0)
    return {
        "app_key": state.app_key,
        "thread_ids": [each.id for each in known],
        "since": iso(since),
        "until": iso(until),
        "fetched_at": iso(oldest),
        "complete": bool(known) and not reasons,
        "reason": "; ".join(reasons) if known else "nothing has been synced",
        "rows": count,
        "server_count": None,
    }


def unread(conversation: Conversation, since: int | None, until: int | None) -> str:
    """Say what of a time range has not been read, if anything."""
    if not conversation.covered:
        return f"{conversation.id}: nothing has been read"
    holes = missing(conversation.covered, since)
    first = next(((low, high) for low, high in holes[:-1] if until is None or (low or 0) < until), None)
    if first is None:
        return ""
    return f"{conversation.id}: not read from {iso(first[0] or 0)} to {iso(first[1])}"


def conversations(state: State) -> pa.Table:
    """Return what is known of each thread and group; the rows are counted by who has the files open."""
    known = sorted(state.conversations.values(), key=lambda each: (each.group_id or each.id, each.kind, each.id))

    def moments(values: Iterable[int]) -> pa.Array:
        return pa.array([value or None for value in values], TIME)

    return pa.table(
        {
            "target_id": pa.array([each.id for each in known], pa.string()),
            "kind": pa.array([each.kind for each in known], pa.string()),
            "name": pa.array([each.name or None for each in known], pa.string()),
            "group_id": pa.array([each.group_id or None for each in known], pa.string()),
            "status": pa.array([each.status for each in known], pa.string()),
            "status_since": moments(each.status_since for each in known),
            "complete": pa.array([not unread(each, None, None) for each in known], pa.bool_()),
            "newest_id": pa.array([each.newest_id or None for each in known], pa.string()),
            "newest_at": moments(each.newest_at for each in known),
            "synced_at": moments(each.synced_at for each in known),
        }
    )


def counts(storage: Storage, state: State) -> dict[str, int]:
    """Return how many messages there are of each thread and group, those that are gone included."""
    files = state.of("messages")
    found = parquet.dataset(storage, files, parquet.MESSAGES).to_table(["target_id"])
    grouped = found.group_by("target_id").aggregate([("target_id", "count")])
    return dict(zip(grouped["target_id"].to_pylist(), grouped["target_id_count"].to_pylist(), strict=True))


def plain_frame(table: pa.Table) -> pd.DataFrame:
    """Return a plain frame: texts as strings; numbers and truth values with NA."""
    import pandas as pd

    types = {
        pa.string(): pd.StringDtype(na_value=pd.NA),
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame
