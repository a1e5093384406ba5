"""Messages as Arrow columns: the schema of a history, one row per message.

This module decides what is kept of a message, and in which form. `imkit.history.frames` makes the DataFrame, and its
docstring describes the columns.

Source: docs/protocol.md#content-types, docs/protocol.md#thread-marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from imkit.history.bulk_decode import read_plain
from imkit.messages import Attachment, Body, Combine, Custom, Image, Location, Message, Unknown
from imkit.times import LAST_MILLISECOND, to_milliseconds
from imkit.wire import schema
from imkit.wire.downlink import CHATS, decode_roamed
from imkit.wire.enums import NameSpace
from imkit.wire.keyvalues import json_text
from imkit.wire.untrusted_json import open_url

SCHEMA_VERSION = "1"
TIME = pa.timestamp("ms", "UTC")
_CATEGORY = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    {
        "message_id": pa.string(),
        "time": TIME,
        "sender": _CATEGORY,
        "type": _CATEGORY,
        "text": pa.string(),
        "thread_id": _CATEGORY,
        "thread_name": _CATEGORY,
        "group_id": _CATEGORY,
        "parent_message_id": pa.string(),
        "url": pa.string(),
        "file_name": pa.string(),
        "file_size": pa.int64(),
        "duration": pa.int64(),
        "width": pa.float64(),
        "height": pa.float64(),
        "lat": pa.float64(),
        "lng": pa.float64(),
        "ext": pa.string(),
        "payload": pa.string(),
        "reactions": pa.string(),
        "edited_at": TIME,
        "edit_count": pa.int64(),
    },
    metadata={"imkit.schema": SCHEMA_VERSION},
)

_CHAT = int(NameSpace.CHAT)  # a plain int: each message is compared with it
_MESSAGE_TYPES = CHATS.keys() - {0}  # a body without a type reads as 0 too, so 0 does not tell
_METAS_PER_BATCH = 8192  # more are not quicker, and take memory
# The empty columns of all batches share their memory: half the columns of most batches are empty.
_NULLS = {kind: pa.nulls(_METAS_PER_BATCH, kind) for kind in SCHEMA.types}
_MIN_BULK_METAS = 128  # fewer are read sooner one by one
_MAX_BULK_BYTES = 2**30


def to_batch(metas: Sequence[bytes]) -> pa.RecordBatch:
    r"""Return the rows of some Metas from roaming history, in their order; a Meta that is not a message has none.

    Never raises for the content of a Meta: a message that cannot be read becomes a row of type unknown.

    Args:
        metas: the entries of one or more pages; a few thousand at a time are quickest.

    Returns:
        A batch of `SCHEMA`.

    Example:
        >>> to_batch([b"\xff"]).column("type").to_pylist()
        ['unknown']
    """
    starts = range(0, max(len(metas), 1), _METAS_PER_BATCH)
    batches = [_one_batch(metas[start : start + _METAS_PER_BATCH]) for start in starts]
    return batches[0] if len(batches) == 1 else _combined(pa.Table.from_batches(batches))


def _one_batch(metas: Sequence[bytes]) -> pa.RecordBatch:
    """Return the rows of at most `_METAS_PER_BATCH` Metas: the plain ones in bulk, the others one by one."""
    if len(metas) < _MIN_BULK_METAS or sum(map(len, metas)) >= _MAX_BULK_BYTES:
        return batch_of(message for message in map(decode_roamed, metas) if message is not None)
    columns, is_plain = read_plain(metas)
    count = int(is_plain.sum())
    arrays = [columns[field.name] if field.name in columns else _NULLS[field.type][:count] for field in SCHEMA]
    plain_rows = pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
    if count == len(metas):
        return plain_rows
    others = [
        (index, message)
        for index in np.flatnonzero(~is_plain).tolist()
        if (message := decode_roamed(metas[index])) is not None
    ]
    all_rows = pa.Table.from_batches([plain_rows, batch_of(message for _, message in others)])
    indices = np.concatenate([np.flatnonzero(is_plain), np.array([index for index, _ in others], np.int64)])
    return _combined(all_rows).take(pa.array(np.argsort(indices)))


def _combined(table: pa.Table) -> pa.RecordBatch:
    """Return all batches of a table as one."""
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.unify_dictionaries().columns], schema=SCHEMA
    )


def peek(meta: bytes) -> tuple[int, int] | None:
    """Return a Meta's message id and its time in ms since the epoch, the same as in its row.

    Returns:
        `None` if it is not a message, or is a message without an id or a time.

    Example:
        >>> peek(bytes.fromhex("0807 20e807 2801 3202 0801"))
        (7, 1000)
    """
    try:
        parsed = schema.ChatMeta.FromString(meta)
        if parsed.ns == _CHAT and parsed.payload.type in _MESSAGE_TYPES:
            message_id, time = parsed.id, parsed.timestamp
            return (message_id, min(time, LAST_MILLISECOND)) if message_id and time else None
    except (DecodeError, UnicodeDecodeError):
        pass
    message = decode_roamed(meta)
    if message is None or not message.id:
        return None
    message_id, time = int(message.id), to_milliseconds(message.time)
    return (message_id, time) if message_id and time else None


def sorted_table(table: pa.Table, *, newest_first: bool = False, limit: int | None = None) -> pa.Table:
    """Return the rows of a table of `SCHEMA` sorted by time, and within one millisecond by message id as a number.

    Args:
        table: any number of batches.
        newest_first: descending instead of ascending.
        limit: how many of the sorted rows to keep, from the front; `None` for all.

    Example:
        >>> sorted_table(SCHEMA.empty_table()).num_rows
        0
    """
    ids = table.column("message_id")
    numbers = pc.if_else(pc.equal(ids, ""), "0", ids).cast(pa.uint64()).to_numpy()
    order = np.lexsort((numbers, table.column("time").cast(pa.int64()).to_numpy()))
    rows = pa.array((order[::-1] if newest_first else order)[:limit])
    empty = {kind: pa.nulls(len(rows), kind) for kind in SCHEMA.types}
    # Column by column: of only one column at a time there is a third copy in memory. Empty columns share one.
    return pa.table(
        [
            column.unify_dictionaries().combine_chunks().take(rows)
            if column.null_count < len(column)
            else empty[column.type]
            for column in table.columns
        ],
        SCHEMA,
    )


def batch_of(messages: Iterable[Message]) -> pa.RecordBatch:
    """Return the rows of some messages as a batch of `SCHEMA`, in their order.

    Example:
        >>> batch_of([]).num_rows
        0
    """
    columns: list[list[Any]] = [[] for _ in SCHEMA]
    appends = [column.append for column in columns]
    for message in messages:
        for append, value in zip(appends, _row(message), strict=True):
            append(value)
    arrays = [_array(field.type, values) for field, values in zip(SCHEMA, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if kind == _CATEGORY:
        return string_array(values).dictionary_encode()
    return string_array(values) if kind == pa.string() else pa.array(values, kind)


def string_array(values: list[Any]) -> pa.Array:
    r"""Return texts as an Arrow array. A lone surrogate, which UTF-8 cannot hold, is written as its escape.

    Example:
        >>> string_array(["half \ud83c", None]).to_pylist()
        ['half \\ud83c', None]
    """
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        escaped = [value if value is None else value.encode(errors="backslashreplace").decode() for value in values]
        return pa.array(escaped, pa.string())


def _row(message: Message) -> tuple[Any, ...]:
    body, thread = message.body, message.thread
    attachment = body if isinstance(body, Attachment | Combine) else None
    place = body if isinstance(body, Location) else None
    picture = body if isinstance(body, Image) else None
    return (
        message.id,
        to_milliseconds(message.time),
        message.sender,
        message.type,
        message.text,
        thread.thread_id if thread else None,
        thread.name if thread else None,
        thread.group_id if thread else message.to if message.chat == "group" else None,
        thread.parent_id if thread else None,
        open_url(attachment.url) if attachment and attachment.url else None,
        attachment.file_name if attachment else None,
        attachment.file_size if attachment else None,
        getattr(body, "duration", None),
        picture.width if picture else None,
        picture.height if picture else None,
        place.lat if place else None,
        place.lng if place else None,
        json_text(message.ext) if message.ext else None,
        _payload(message),
        json_text(list(message.reactions)) if message.reactions else None,
        to_milliseconds(message.edited_at) if message.edited_at else None,
        message.edit_count,
    )


def _payload(message: Message) -> str | None:
    payload = _type_specific(message.body)
    if message.translations:
        payload["translations"] = list(message.translations)
    return json_text(payload) if payload else None


def _type_specific(body: Body) -> dict[str, Any]:
    """Return the facts that only messages of this type have and that have no column."""
    match body:
        case Custom():
            return {"params": dict(body.params)}
        case Location() if body.building_name:
            return {"building_name": body.building_name}
        case Combine():
            return {"summary": body.summary, "fallback": body.fallback, "level": body.level}
        case Image() if body.animated:
            return {"animated": True}
        case Unknown():  # without an id, these words are part of the row's key in an archive: do not reword reasons
            return {"reason": body.reason, "data": body.data.hex()}
        case _:
            return {}
