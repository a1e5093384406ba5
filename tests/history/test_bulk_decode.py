"""Metas as Arrow columns: a row for every message, as the ordinary codec reads it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.history import bulk_decode, columns
from imkit.history.bulk_decode import read_plain
from imkit.history.columns import SCHEMA, batch_of, peek, sorted_table, to_batch
from imkit.history.frames import COLUMNS
from imkit.messages import Audio, Body, Combine, Command, Custom, File, Image, Location, Message, Text, Unknown, Video
from imkit.times import from_milliseconds, to_milliseconds
from imkit.wire import schema, uplink
from imkit.wire.downlink import decode_roamed
from tests.wire import service
from tests.wire.random_metas import MetaWriter, damaged
from tests.wire.service import MARK, THREAD
from tests.wire.strategies import NINE_BODIES, often

ATTACHED = {"url": "https://h/org/app/chatfiles/7?x", "file_name": "茶.png", "file_size": 5, "secret": "s"}
PLAIN = [
    Text("tea?", ext={"mood": "好"}),
    Image(**ATTACHED, width=640.0, height=480.0, animated=True),
    Video(**ATTACHED, duration=3),
    Location(25.03, 121.56, "Taipei", building_name="101"),
    Audio(**ATTACHED, duration=3),
    File(**ATTACHED),
    Command("refresh"),
    Custom("order", {"kind": "oolong"}),
]


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


@often(20)
@given(seed=st.integers(0, 2**32), damage=st.booleans())
def test_peek_tells_nothing_but_what_the_row_says(seed: int, damage: bool) -> None:
    for number, meta in enumerate(MetaWriter(seed).metas(100)):
        data = damaged(meta, seed + number) if damage else meta
        message = decode_roamed(data)
        known = (int(message.id), to_milliseconds(message.time)) if message and message.id else (0, 0)
        assert peek(data) == (known if all(known) else None)


def test_batches_make_one_table() -> None:
    table = pa.Table.from_batches([to_batch([service.message_meta(number)]) for number in range(3)])
    assert table.unify_dictionaries().column("message_id").to_pylist() == ["0", "1", "2"]


# ------------------------------------------------- the quick way and the ordinary one


def told(batch: pa.RecordBatch) -> dict[str, str]:
    """All that is in a batch, so that 0.0 and -0.0 differ."""
    batch.validate(full=True)
    return {name: repr(values) for name, values in batch.to_pydict().items()}


def check(metas: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_MIN_BULK_METAS", 0)
        patch.setattr(bulk_decode, "_MIN_BULK_EXTS", 0)
        together = to_batch(metas)
    one_by_one = batch_of(message for meta in metas if (message := decode_roamed(meta)) is not None)
    assert together.schema.equals(one_by_one.schema, check_metadata=True)
    assert told(together) == told(one_by_one)


@often(40)
@given(seed=st.integers(0, 2**32), damage=st.booleans())
def test_many_at_once_are_read_as_one_by_one(seed: int, damage: bool) -> None:
    metas = MetaWriter(seed).metas(200)
    check([damaged(meta, seed + number) for number, meta in enumerate(metas)] if damage else metas)


@often(100)
@given(st.lists(st.one_of(*NINE_BODIES.values()), max_size=5), st.text())
def test_whatever_is_said_is_read_alike(said: list[Body], name: str) -> None:
    marks = {"thread": {**MARK["thread"], "thread_name": name}}
    check([
        service.as_delivered(uplink.encode_message(THREAD, "bob", body, client_id=1), number, "bob", number, marks)
        for number, body in enumerate(said)
    ])  # fmt: skip


@often(60)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_are_read_alike(metas: list[bytes]) -> None:
    check(metas)


def test_most_messages_are_read_together() -> None:
    _, plain = read_plain([service.message_meta(number, body) for number, body in enumerate(PLAIN)])
    assert plain.all()
    assert not read_plain([service.message_meta(1, Combine("title"))])[1].any()


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


def test_more_than_are_read_together() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_METAS_PER_BATCH", 150)
        metas = MetaWriter(1).metas(500)
        assert told(to_batch(metas)) == told(batch_of(m for meta in metas if (m := decode_roamed(meta)) is not None))


def test_rows_hold_no_more_than_themselves() -> None:
    batch = to_batch([service.message_meta(number, Text("tea")) for number in range(1000)])
    assert sum(buffer.size for buffer in batch.column("text").buffers() if buffer is not None) < 10 * 1000
