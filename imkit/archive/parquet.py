"""Rows on disk: the columns of an archive, and Parquet files of them, one UTC day each.

A file holds the columns of `imkit.history.columns.SCHEMA` and three of the archive's own. All text is plain text, so
that every reader of Parquet can read it; the file format itself stores repeated values once.

| column | what |
|---|---|
| target_id | the thread or group whose history the row was read from |
| fetched_at | when this version of the message was read |
| gone_at | when it was found to be gone from the service: recalled, deleted, or past the app's retention; else NA |
| superseded_at | only in `versions`: when another version took this one's place |
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from imkit.archive.catalogue import Kind, StoredFile
from imkit.archive.storage import Storage
from imkit.history.columns import SCHEMA, TIME

ARCHIVE_VERSION = "1"
_METADATA = {**SCHEMA.metadata, b"imkit.archive": ARCHIVE_VERSION.encode()}


def _plain(field: pa.Field) -> pa.Field:
    return pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field


_MESSAGES = [*map(_plain, SCHEMA), ("target_id", pa.string()), ("fetched_at", TIME), ("gone_at", TIME)]
MESSAGES = pa.schema(_MESSAGES, metadata=_METADATA)
VERSIONS = pa.schema([*_MESSAGES, ("superseded_at", TIME)], metadata=_METADATA)
CATEGORIES = tuple(field.name for field in SCHEMA if pa.types.is_dictionary(field.type))
ATTACHMENTS = pa.schema(
    {
        "message_id": pa.string(),
        "target_id": pa.string(),
        "time": TIME,
        "sha256": pa.string(),
        "size": pa.int64(),
        "file_name": pa.string(),
        "reason": pa.string(),
        "final": pa.bool_(),
        "fetched_at": TIME,
    },
    metadata={"imkit.archive": ARCHIVE_VERSION},
)
SCHEMAS: dict[Kind, pa.Schema] = {"messages": MESSAGES, "versions": VERSIONS, "attachments": ATTACHMENTS}

# What few messages have of their own is stored once for all that share it. Ids and texts are all different: a
# dictionary of them would be as long as the column.
_SHARED = [*CATEGORIES, "target_id", "parent_message_id", "fetched_at", "gone_at", "superseded_at", "edit_count"]
_DAY_MS = 86_400_000
ROW_GROUP = 100_000
FILE_ROWS = 500_000  # what a file may hold, so that rewriting one fits into memory
LEVEL = 3  # of zstd: beside fetching the rows, what a lower one saves in time is nothing
_LOOKED_UP = ["message_id", "time", "target_id", "gone_at"]


def stored(batch: pa.RecordBatch, target_id: str, fetched_at: int) -> pa.Table:
    """Return rows of `imkit.history.columns.SCHEMA` as rows of an archive.

    Args:
        batch: the rows.
        target_id: the thread or group they were read from.
        fetched_at: when, in ms since the epoch.
    """
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    count = batch.num_rows
    columns.append(pa.repeat(target_id, count))
    columns.append(pa.repeat(pa.scalar(fetched_at, TIME), count))
    columns.append(pa.nulls(count, TIME))
    return pa.Table.from_arrays(columns, schema=MESSAGES)


def keys(table: pa.Table) -> pa.ChunkedArray:
    """Return what tells the rows apart: the conversation and the message id, or what was unreadable of it."""
    told = pc.if_else(pc.equal(table["message_id"], ""), None, table["message_id"])
    told = pc.coalesce(told, table["payload"], "")
    return pc.binary_join_element_wise(table["target_id"], told, "/")


def nameless(batch: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say which rows have no id to be told apart by."""
    empty = pc.equal(batch["message_id"], "")
    return np.asarray(pc.fill_null(empty, True))


def milliseconds(times: pa.Array | pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return times as ms since the epoch; what has none counts as the epoch."""
    return np.asarray(pc.fill_null(pc.cast(times, pa.int64()), 0))


def day_name(milliseconds: int) -> str:
    """Return the UTC day of a time in ms since the epoch.

    Example:
        >>> day_name(1_795_390_333_491)
        '2026-11-22'
    """
    return datetime.fromtimestamp(milliseconds // 1000, UTC).date().isoformat()


def by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield the UTC days of some rows, each with its rows in the order of files: by conversation, then by time."""
    days = milliseconds(table["time"]) // _DAY_MS
    for day in np.unique(days):
        rows = table.filter(pa.array(days == day))
        order = [("target_id", "ascending"), ("time", "ascending"), ("message_id", "ascending")]
        yield day_name(int(day) * _DAY_MS), rows.sort_by(order)


def writing(names: Sequence[str]) -> dict[str, Any]:
    """Return how Parquet files of some columns are written here, for `pyarrow.parquet.write_table`."""
    return {
        "compression": "zstd",
        "compression_level": LEVEL,
        "use_dictionary": [name for name in _SHARED if name in names],
        "column_encoding": {"message_id": "DELTA_BYTE_ARRAY"},  # neighbours begin with the same digits
        "row_group_size": ROW_GROUP,
        # A quiet day is a small file: what is said of the columns must not be more than the rows.
        "write_statistics": [name for name in _LOOKED_UP if name in names],
        "store_schema": False,
    }


def write(storage: Storage, kind: Kind, day: str, table: pa.Table) -> StoredFile:
    """Write the rows of one day into a new file, and return its entry for the catalogue.

    Args:
        storage: the archive's.
        kind: the table they belong to; `table` has its schema.
        day: their UTC day.
        table: the rows, in the order of files.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **writing(table.column_names))
    data = sink.getvalue().to_pybytes()
    times = milliseconds(table["time"])
    name = f"{kind}/day={day}/{_age()}-{secrets.token_hex(4)}.parquet"
    entry = StoredFile(
        name=name,
        kind=kind,
        day=day,
        rows=table.num_rows,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        first=int(times.min()),
        last=int(times.max()),
    )
    storage.write(name, data)
    return entry


def _age() -> str:
    """Return the present time for a file's name: for who looks into the folder."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")


def read(storage: Storage, files: Iterable[StoredFile], schema: pa.Schema = MESSAGES) -> pa.Table:
    """Return all rows of some files of one schema."""
    tables = [pq.read_table(pa.py_buffer(storage.read(file.name)), schema=schema) for file in files]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def dataset(storage: Storage, files: Sequence[StoredFile], schema: pa.Schema, categories: bool = False) -> Any:
    """Return some files of one schema as a `pyarrow.dataset.Dataset`, of which only what is needed is read.

    Args:
        storage: the archive's.
        files: which.
        schema: theirs.
        categories: with the dictionaries of `imkit.history.columns.SCHEMA`.
    """
    options = ds.ParquetReadOptions(dictionary_columns=CATEGORIES) if categories else None
    if categories:
        fields = [SCHEMA.field(field.name) if field.name in CATEGORIES else field for field in schema]
        schema = pa.schema(fields)
    if not files:
        return ds.dataset(schema.empty_table())
    form = ds.ParquetFileFormat(read_options=options)
    return ds.dataset([file.name for file in files], schema, form, filesystem=storage.filesystem)
