"""What is read from an archive: frames, SQL, Dask. Nothing here writes, and nothing waits for who does.

Only the files are opened that the catalogue names for the days asked for, and of those only the columns and row groups
that are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from imkit.archive import catalogue, live, rows
from imkit.archive.catalogue import Conversation, Kind, State, StoredFile
from imkit.archive.storage import INSTALL, Storage, storage_at
from imkit.errors import ArchiveError, InvalidMessage
from imkit.history.columns import TIME
from imkit.times import iso

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

T = TypeVar("T")
_ATTEMPTS = 5
_GLOB = frozenset("*?[{")


def unmoved(storage: Storage, read: Callable[[State], T]) -> T:
    """Read with the newest state; once more where a writer has meanwhile merged away a file of it."""
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


def table(
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
    wanted = _condition(since, until, target_ids, gone)
    files = chosen(state, "messages", since, until)
    projection = {name: ds.field(name) for name in columns}
    order = {
        "#time": ds.field("time"),
        "#length": pc.utf8_length(ds.field("message_id")),
        "#id": ds.field("message_id"),
    }
    found = rows.dataset(storage, files, rows.MESSAGES, categories=True).to_table(
        {**projection, **order}, filter=wanted
    )
    places = pc.sort_indices(found, [(name, "ascending") for name in order])
    return found.select(list(columns)).take(places)


def _condition(since: int | None, until: int | None, target_ids: Sequence[str] | None, gone: bool) -> pc.Expression:
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


def source(
    state: State, target_ids: Sequence[str] | None, since: int | None, until: int | None, count: int
) -> dict[str, Any]:
    """Return what ``frame.attrs["imkit"]`` says of rows from an archive."""
    known = list(state.conversations.values())
    if target_ids is not None:
        known = [state.conversations.get(target_id, Conversation(target_id)) for target_id in target_ids]
    reasons = [reason for each in known if (reason := missing(each, since, until))]
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


def missing(conversation: Conversation, since: int | None, until: int | None) -> str:
    """Say what of a time range has not been read, if anything."""
    if not conversation.covered:
        return f"{conversation.id}: nothing has been read"
    holes = catalogue.gaps(conversation.covered, since or 0)
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
            "complete": pa.array([not missing(each, None, None) for each in known], pa.bool_()),
            "newest_id": pa.array([each.newest_id or None for each in known], pa.string()),
            "newest_at": moments(each.newest_at for each in known),
            "synced_at": moments(each.synced_at for each in known),
        }
    )


def counts(storage: Storage, state: State) -> dict[str, int]:
    """Return how many messages there are of each thread and group, those that are gone included."""
    files = state.of("messages")
    found = rows.dataset(storage, files, rows.MESSAGES).to_table(["target_id"])
    grouped = found.group_by("target_id").aggregate([("target_id", "count")])
    return dict(zip(grouped["target_id"].to_pylist(), grouped["target_id_count"].to_pylist(), strict=True))


# ---------------------------------------------------------------------- SQL


def sql(
    storage: Storage, state: State, query: str, parameters: Sequence[object] | dict[str, object] | None
) -> pd.DataFrame:
    """Run one SELECT over the views of the archive, and return a DataFrame."""
    try:
        import duckdb
    except ImportError as error:
        raise ArchiveError("sql() needs DuckDB, which is not installed", hint=INSTALL) from error

    with duckdb.connect(
        config={"python_enable_replacements": False, "autoinstall_known_extensions": False}
    ) as database:
        try:
            statements = database.extract_statements(query)
        except duckdb.Error as error:
            raise InvalidMessage(str(error)) from error
        if len(statements) != 1 or statements[0].type not in (
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
        ):
            hint = "An archive is read by SQL, not changed."
            raise InvalidMessage("sql() takes one SELECT (also WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN)", hint=hint)
        database.execute("SET TimeZone = 'UTC'")
        try:
            for kind in rows.SCHEMAS:
                _view(database, storage, state, kind)
        except duckdb.Error as error:
            raise _unreadable(error, storage, state) from error
        database.execute("CREATE VIEW messages AS SELECT * EXCLUDE gone_at FROM all_messages WHERE gone_at IS NULL")
        database.register("threads", conversations(state))
        database.register("live", live.table(storage))
        try:
            found: pd.DataFrame = database.execute(statements[0], parameters).df()
            return found
        except duckdb.IOException as error:
            raise _unreadable(error, storage, state) from error
        except duckdb.Error as error:
            hint = (
                "The views are messages, all_messages, versions, threads, attachments and live; try DESCRIBE messages."
            )
            raise InvalidMessage(str(error), hint=hint) from error


def _view(database: Any, storage: Storage, state: State, kind: Kind) -> None:
    files = state.of(kind)
    name = "all_messages" if kind == "messages" else kind
    places = storage.locations(file.name for file in files)
    if not files or any("://" in place or _GLOB & set(place) for place in places):
        # DuckDB takes each name for a pattern, and knows no fsspec; pyarrow's scan does without either.
        database.register(f"{name}_files", rows.dataset(storage, files, rows.SCHEMAS[kind]))
        found = database.view(f"{name}_files").project("*, CAST(time AS DATE) AS day")
    else:
        found = database.read_parquet(places, hive_partitioning=True)
    found.create_view(name)


def _unreadable(error: Exception, storage: Storage, state: State) -> Exception:
    """Return what a file that DuckDB could not read comes to."""
    if catalogue.load(storage).number != state.number:  # a writer has merged it away
        return FileNotFoundError(str(error))
    return ArchiveError(str(error))


# --------------------------------------------------------------------- Dask


def dask(
    path: str,
    state: State,
    *,
    since: int | None,
    until: int | None,
    columns: Sequence[str],
    gone: bool,
) -> dd.DataFrame:
    """Return a Dask DataFrame on the files, one partition each.

    Not by Dask's own `read_parquet`: that goes by what the folder holds, and the catalogue says what counts; nor does
    it know of `gone_at`.

    Args:
        path: the archive's, as the workers are to open it.
        state: which files.
        since: in ms since the epoch.
        until: likewise, excluded.
        columns: which; columns that a computation does not need are not read.
        gone: with rows that are gone.
    """
    try:
        import dask.dataframe as dd
    except ImportError as error:
        raise ArchiveError("dask() needs Dask, which is not installed", hint=INSTALL) from error

    names = [*columns, *(["gone_at"] if gone else [])]
    meta = frame_of(rows.MESSAGES.empty_table().select(names))
    files = chosen(state, "messages", since, until)
    part = Part(path, tuple(names), since, until, gone)
    found: dd.DataFrame = dd.from_map(part, files, meta=meta) if files else dd.from_pandas(meta, npartitions=1)
    return found


@dataclass(frozen=True)
class Part:
    """Reads one file's rows, in whichever process it is called."""

    path: str
    names: tuple[str, ...]
    since: int | None
    until: int | None
    gone: bool

    def __call__(self, file: StoredFile, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows; `columns` is what Dask has found out to be needed."""
        wanted = _condition(self.since, self.until, None, self.gone)
        names = list(self.names if columns is None else columns)
        return frame_of(rows.dataset(storage_at(self.path), [file], rows.MESSAGES).to_table(names, filter=wanted))


def frame_of(table: pa.Table) -> pd.DataFrame:
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
