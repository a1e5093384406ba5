"""The columns of an archive, and the Parquet files that hold them: each file has rows of one UTC day.

A file holds the columns of `imkit.history.columns.SCHEMA` and three columns that only an archive has. All text columns
are plain strings, so that every reader of Parquet can read them. Parquet itself stores repeated values once.

| column | meaning |
|---|---|
| target_id | the thread or group whose history the row was read from |
| fetched_at | when imkit read this version of the message |
| gone_at | when imkit found that the service no longer has the message (recalled, deleted or expired); else NA |
| superseded_at | only in `versions`: when another version replaced this one |
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as arrow

from imkit.archive.catalogue import StoredFile, TableName
from imkit.archive.storage import Storage
from imkit.history.batch_protobuf import BoolArray, IntArray
from imkit.history.columns import SCHEMA, TIME

ARCHIVE_VERSION = "1"
_METADATA = {**SCHEMA.metadata, b"imkit.archive": ARCHIVE_VERSION.encode()}


def _without_dictionary(field: pa.Field) -> pa.Field:
    return pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field


_MESSAGES = [*map(_without_dictionary, SCHEMA), ("target_id", pa.string()), ("fetched_at", TIME), ("gone_at", TIME)]
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
SCHEMAS: dict[TableName, pa.Schema] = {"messages": MESSAGES, "versions": VERSIONS, "attachments": ATTACHMENTS}

_DAY_MS = 86_400_000
FILE_ROWS = 500_000  # the most that one file holds, so that rewriting a file fits into memory
_ROW_GROUP_ROWS = 100_000
_ZSTD_LEVEL = 3  # fetching the rows takes far longer than compressing them: a lower level saves no time
# Columns in which values repeat: Parquet stores each value once. Ids and texts differ in every row, and their
# dictionary would be as long as the column.
_DICTIONARY_COLUMNS = [
    *CATEGORIES,
    "target_id",
    "parent_message_id",
    "fetched_at",
    "gone_at",
    "superseded_at",
    "edit_count",
]
# Columns that a filter may use. In the small file of a quiet day, statistics of all columns would be larger than the
# rows.
_STATISTICS_COLUMNS = ["message_id", "time", "target_id", "gone_at"]


def archive_rows(batch: pa.RecordBatch, target_id: str, fetched_at: int) -> pa.Table:
    """Return rows of `imkit.history.columns.SCHEMA` as rows of the table `messages`.

    Args:
        batch: the rows.
        target_id: the thread or group that they were read from.
        fetched_at: when they were read, in ms since the epoch.
    """
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    count = batch.num_rows
    columns.append(pa.repeat(target_id, count))
    columns.append(pa.repeat(pa.scalar(fetched_at, TIME), count))
    columns.append(pa.nulls(count, TIME))
    return pa.Table.from_arrays(columns, schema=MESSAGES)


def row_keys(table: pa.Table) -> pa.ChunkedArray:
    """Return a key for each row that identifies its message: the conversation, and the message id.

    A message without an id (imkit could not read it) has its payload in the key instead.
    """
    message = pc.if_else(pc.equal(table["message_id"], ""), None, table["message_id"])
    message = pc.coalesce(message, table["payload"], "")
    return pc.binary_join_element_wise(table["target_id"], message, "/")


def without_id(batch: pa.RecordBatch) -> BoolArray:
    """Return which rows have no message id."""
    empty = pc.equal(batch["message_id"], "")
    return np.asarray(pc.fill_null(empty, True))


def message_numbers(ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return message ids as numbers; a row without an id gets 0."""
    digits = pc.if_else(pc.equal(ids, ""), None, ids)
    return np.asarray(pc.fill_null(pc.cast(digits, pa.uint64()), 0), dtype=np.uint64)


def message_number(message_id: str) -> np.uint64:
    """Return one message id as a number; 0 if it is not a number of 64 bits.

    Example:
        >>> int(message_number("1234")), int(message_number("9" * 30)), int(message_number(""))
        (1234, 0, 0)
    """
    number = int(message_id) if message_id.isdecimal() and len(message_id) <= 20 else 0
    return np.uint64(number if number < 2**64 else 0)


def milliseconds(times: pa.Array | pa.ChunkedArray) -> IntArray:
    """Return times as ms since the epoch; a row without a time gets 0."""
    return np.asarray(pc.fill_null(pc.cast(times, pa.int64()), 0))


def utc_day(milliseconds: int) -> str:
    """Return the UTC day of a time in ms since the epoch.

    Example:
        >>> utc_day(1_795_390_333_491)
        '2026-11-22'
    """
    return datetime.fromtimestamp(milliseconds // 1000, UTC).date().isoformat()


def split_by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield each UTC day with its rows, in the order that files have: by conversation, then by time."""
    days = milliseconds(table["time"]) // _DAY_MS
    for day in np.unique(days):
        rows = table.filter(pa.array(days == day))
        order = [("target_id", "ascending"), ("time", "ascending"), ("message_id", "ascending")]
        yield utc_day(int(day) * _DAY_MS), rows.sort_by(order)


def write_options(names: Sequence[str]) -> dict[str, Any]:
    """Return the options for `pyarrow.parquet.write_table` with which an archive writes some columns."""
    return {
        "compression": "zstd",
        "compression_level": _ZSTD_LEVEL,
        "use_dictionary": [name for name in _DICTIONARY_COLUMNS if name in names],
        "column_encoding": {"message_id": "DELTA_BYTE_ARRAY"},  # ids of neighbours begin with the same digits
        "row_group_size": _ROW_GROUP_ROWS,
        "write_statistics": [name for name in _STATISTICS_COLUMNS if name in names],
        "store_schema": False,
    }


def write(storage: Storage, kind: TableName, table: pa.Table) -> list[StoredFile]:
    """Write rows into new files, one for each UTC day, and return their entries for the catalogue.

    Args:
        storage: the archive's storage.
        kind: the table that the rows belong to; `table` has its schema.
        table: the rows, of any days and in any order.
    """
    return [_write_day(storage, kind, day, rows) for day, rows in split_by_day(table)]


def _write_day(storage: Storage, kind: TableName, day: str, table: pa.Table) -> StoredFile:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **write_options(table.column_names))
    data = sink.getvalue().to_pybytes()
    times, ids = milliseconds(table["time"]), message_numbers(table["message_id"])
    ids = ids[ids > 0]
    # The time in the name is only for people who look into the folder.
    written_at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = f"{kind}/day={day}/{written_at}-{secrets.token_hex(4)}.parquet"
    entry = StoredFile(
        name=name,
        kind=kind,
        day=day,
        rows=table.num_rows,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        first=int(times.min()),
        last=int(times.max()),
        first_id=str(ids.min()) if len(ids) else "",
        last_id=str(ids.max()) if len(ids) else "",
    )
    storage.write(name, data)
    return entry


def read(storage: Storage, files: Iterable[StoredFile], schema: pa.Schema = MESSAGES) -> pa.Table:
    """Return all rows of some files of one schema."""
    tables = [pq.read_table(pa.py_buffer(storage.read(file.name)), schema=schema) for file in files]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def dataset(
    storage: Storage,
    files: Sequence[StoredFile],
    schema: pa.Schema,
    categories: bool = False,
    filesystem: arrow.FileSystem | None = None,
) -> Any:
    """Return some files as a `pyarrow.dataset.Dataset`, which reads only the columns and row groups that it needs.

    Args:
        storage: the archive's storage.
        files: files of one schema.
        schema: that schema.
        categories: whether repeated texts become dictionaries, as in `imkit.history.columns.SCHEMA`.
        filesystem: opens the files; `None`: that of the storage.
    """
    options = ds.ParquetReadOptions(dictionary_columns=CATEGORIES) if categories else None
    if categories:
        fields = [SCHEMA.field(field.name) if field.name in CATEGORIES else field for field in schema]
        schema = pa.schema(fields)
    if not files:
        return ds.dataset(schema.empty_table())
    file_format = ds.ParquetFileFormat(read_options=options)
    return ds.dataset([file.name for file in files], schema, file_format, filesystem=filesystem or storage.filesystem)
