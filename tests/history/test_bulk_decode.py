"""Decoding many messages at once gives the same rows as the ordinary codec, whatever the bytes are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.history import bulk_decode, columns
from imkit.history.bulk_decode import read_plain
from imkit.history.columns import batch_of, to_batch
from imkit.messages import Audio, Body, Combine, Command, Custom, File, Image, Location, Text, Video
from imkit.wire import schema, uplink
from imkit.wire.downlink import decode_roamed
from tests.wire import service
from tests.wire.random_metas import MetaWriter, damaged
from tests.wire.service import MARK, THREAD
from tests.wire.strategies import NINE_BODIES, often

ATTACHED: dict[str, Any] = {
    "url": "https://h/org/app/chatfiles/7?x",
    "file_name": "茶.png",
    "file_size": 5,
    "secret": "s",
}


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


def all_values(batch: pa.RecordBatch) -> dict[str, str]:
    """Return all values of a batch as text, so that 0.0 and -0.0 differ."""
    batch.validate(full=True)
    return {name: repr(values) for name, values in batch.to_pydict().items()}


def check(metas: list[bytes]) -> None:
    """Decode the Metas in bulk, however few they are, and compare with the ordinary codec."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_MIN_BULK_METAS", 0)
        patch.setattr(bulk_decode, "_MIN_BULK_EXTS", 0)
        in_bulk = to_batch(metas)
    one_by_one = batch_of(message for meta in metas if (message := decode_roamed(meta)) is not None)
    assert in_bulk.schema.equals(one_by_one.schema, check_metadata=True)
    assert all_values(in_bulk) == all_values(one_by_one)


@often(40)
@given(seed=st.integers(0, 2**32), damage=st.booleans())
def test_strange_metas_give_the_same_rows(seed: int, damage: bool) -> None:
    metas = MetaWriter(seed).metas(200)
    check([damaged(meta, seed + number) for number, meta in enumerate(metas)] if damage else metas)


@often(100)
@given(st.lists(st.one_of(*NINE_BODIES.values()), max_size=5), st.text())
def test_messages_of_all_types_give_the_same_rows(said: list[Body], name: str) -> None:
    marks = {"thread": {**MARK["thread"], "thread_name": name}}
    check([
        service.as_delivered(uplink.encode_message(THREAD, "bob", body, client_id=1), number, "bob", number, marks)
        for number, body in enumerate(said)
    ])  # fmt: skip


@often(60)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_give_the_same_rows(metas: list[bytes]) -> None:
    check(metas)


def test_marks_in_the_meta_give_the_same_rows() -> None:
    def marked(number: int) -> bytes:
        meta = schema.Meta.FromString(service.message_meta(number, Text("tea?")))
        meta.meta = b'{"is_online":1,"reaction":[{"reaction":"+1","count":2}]}'
        return bytes(meta.SerializeToString())

    check([marked(number) if number % 2 else service.message_meta(number, Text("tea?")) for number in range(1, 9)])
    assert to_batch([marked(7)]).column("reactions").to_pylist() == ['[{"reaction":"+1","count":2}]']


def test_all_types_but_bundles_are_plain() -> None:
    _, plain = read_plain([service.message_meta(number, body) for number, body in enumerate(PLAIN)])
    assert plain.all()
    assert not read_plain([service.message_meta(1, Combine("title"))])[1].any()


def test_several_batches_give_the_same_rows() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_METAS_PER_BATCH", 150)
        metas = MetaWriter(1).metas(500)
        assert all_values(to_batch(metas)) == all_values(
            batch_of(m for meta in metas if (m := decode_roamed(meta)) is not None)
        )
