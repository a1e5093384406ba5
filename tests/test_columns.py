"""Metas as Arrow columns: a row for every message, as the ordinary codec reads it."""

from __future__ import annotations

import pyarrow as pa

from imkit.columns import SCHEMA, batch_of, peek, to_batch
from imkit.frames import COLUMNS
from imkit.messages import Text
from imkit.wire import schema, uplink
from imkit.wire.downlink import decode_roamed
from tests.wire import service
from tests.wire.service import THREAD


def test_the_schema_has_the_columns_of_the_frame_and_a_version() -> None:
    assert SCHEMA.names == list(COLUMNS)
    assert SCHEMA.metadata == {b"imkit.schema": b"1"}
    for batch in (to_batch([]), to_batch([b"\xff"]), to_batch([service.message_meta(7)])):
        assert batch.schema.equals(SCHEMA, check_metadata=True)


def test_a_row_for_every_message_in_order() -> None:
    recall = service.as_delivered(uplink.encode_recall(THREAD, "bob", "7", client_id=7), 8, "bob", 5)
    metas = [service.message_meta(7), recall, b"\xff", service.message_meta(9)]
    batch = to_batch(metas)
    assert batch.column("message_id").to_pylist() == ["7", "", "9"]
    assert batch.column("type").to_pylist() == ["txt", "unknown", "txt"]
    assert batch.equals(batch_of(message for meta in metas if (message := decode_roamed(meta)) is not None))


def test_peek_tells_id_and_time_as_the_row_has_them() -> None:
    assert peek(service.message_meta(7)) == (7, 1_795_390_000_007)
    edit = uplink.encode_edit(THREAD, "bob", "7", Text("new"), client_id=8)
    marks = {"edit_msg": {"count": 1, "send_time": 4}}
    assert peek(service.as_delivered(edit, 8, "bob", 5, marks)) == (7, 4)
    assert peek(schema.Meta(id=7, ns=1, timestamp=5, payload=b"\xff").SerializeToString()) == (7, 5)


def test_peek_tells_nothing_of_what_has_no_id_or_time_or_is_no_message() -> None:
    recall = service.as_delivered(uplink.encode_recall(THREAD, "bob", "7", client_id=7), 8, "bob", 5)
    payload = schema.MessageBody(type=2).SerializeToString()
    for meta in (b"", b"\xff", recall, *(schema.Meta(ns=1, payload=payload, **one).SerializeToString() for one in (
        {"id": 7}, {"timestamp": 7}
    ))):  # fmt: skip
        assert peek(meta) is None


def test_batches_make_one_table() -> None:
    table = pa.Table.from_batches([to_batch([service.message_meta(number)]) for number in range(3)])
    assert table.unify_dictionaries().column("message_id").to_pylist() == ["0", "1", "2"]
