"""Messages as Arrow columns: one row per message, as the ordinary codec reads it."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from imkit.history.columns import SCHEMA, batch_of, peek, sorted_table, to_batch
from imkit.history.frames import COLUMNS
from imkit.messages import Message, Text, Unknown
from imkit.times import from_milliseconds, to_milliseconds
from imkit.wire import schema, uplink
from imkit.wire.downlink import decode_roamed
from tests.wire import service
from tests.wire.random_metas import MetaWriter, damaged
from tests.wire.service import THREAD
from tests.wire.strategies import often


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


def test_peek_returns_the_id_and_time_of_the_row() -> None:
    assert peek(service.message_meta(7)) == (7, 1_795_390_000_007)
    edit = uplink.encode_edit(THREAD, "bob", "7", Text("new"), client_id=8)
    marks = {"edit_msg": {"count": 1, "send_time": 4}}
    assert peek(service.as_delivered(edit, 8, "bob", 5, marks)) == (7, 4)
    assert peek(schema.Meta(id=7, ns=1, timestamp=5, payload=b"\xff").SerializeToString()) == (7, 5)


def test_peek_returns_none_without_id_or_time_or_message() -> None:
    recall = service.as_delivered(uplink.encode_recall(THREAD, "bob", "7", client_id=7), 8, "bob", 5)
    payload = schema.MessageBody(type=2).SerializeToString()
    only_id = schema.Meta(ns=1, payload=payload, id=7).SerializeToString()
    only_time = schema.Meta(ns=1, payload=payload, timestamp=7).SerializeToString()
    for meta in (b"", b"\xff", recall, only_id, only_time):
        assert peek(meta) is None


@often(20)
@given(seed=st.integers(0, 2**32), damage=st.booleans())
def test_peek_agrees_with_the_row_for_any_meta(seed: int, damage: bool) -> None:
    for number, meta in enumerate(MetaWriter(seed).metas(100)):
        data = damaged(meta, seed + number) if damage else meta
        message = decode_roamed(data)
        known = (int(message.id), to_milliseconds(message.time)) if message and message.id else (0, 0)
        assert peek(data) == (known if all(known) else None)


def test_batches_make_one_table() -> None:
    table = pa.Table.from_batches([to_batch([service.message_meta(number)]) for number in range(3)])
    assert table.unify_dictionaries().column("message_id").to_pylist() == ["0", "1", "2"]


@often(30)
@given(st.lists(st.tuples(st.integers(1, 10) | st.sampled_from([2**61, 2**63 + 5]), st.integers(0, 3)), max_size=8))
def test_rows_are_sorted_by_time_and_then_by_id_as_a_number(found: list[tuple[int, int]]) -> None:
    messages = [Message(str(number), "bob", "7", from_milliseconds(at), Text("x")) for number, at in found]
    unreadable = Message("", "", "", from_milliseconds(2), Unknown(b"", "?"))
    table = pa.Table.from_batches([batch_of(messages[:3]), batch_of([*messages[3:], unreadable])])
    expected = [str(number or "") for _, number in sorted([(at, number) for number, at in found] + [(2, 0)])]
    assert sorted_table(table).column("message_id").to_pylist() == expected
    newest = sorted_table(table, newest_first=True, limit=2)
    assert newest.column("message_id").to_pylist() == expected[::-1][:2]
    assert newest.schema.equals(SCHEMA, check_metadata=True)


def test_a_batch_keeps_no_memory_of_the_metas() -> None:
    batch = to_batch([service.message_meta(number, Text("tea")) for number in range(1000)])
    assert sum(buffer.size for buffer in batch.column("text").buffers() if buffer is not None) < 10 * 1000
