"""Reading the fields of many messages at once: what protobuf reads, or the message is not plain."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from imkit.history.batch_protobuf import Fields, Layout, MessageBuffer
from imkit.wire import schema
from tests.wire.random_metas import varint

PAIR = Layout({"key": (1, "bytes"), "type": (2, "number"), "varintValue": (3, "number"), "doubleValue": (5, "double")})


def read(layout: Layout, *messages: bytes) -> Fields:
    buffer = MessageBuffer(messages)
    return buffer.read(layout, buffer.begins, buffer.ends)


def test_fields_of_every_kind_and_of_every_number_of_messages() -> None:
    messages = [
        schema.KeyValue(key="mood", type=7).SerializeToString(),
        b"",
        schema.KeyValue(key="n", type=2, varintValue=-1).SerializeToString(),
        schema.KeyValue(type=6, doubleValue=0.5).SerializeToString(),
    ]
    buffer = MessageBuffer(messages)
    fields = buffer.read(PAIR, buffer.begins, buffer.ends)
    assert fields.plain.tolist() == [True, True, False, True]  # a varint of ten bytes is left to the ordinary codec
    assert fields.has("key").tolist()[:2] == [True, False]
    assert fields.number("type").tolist()[:2] == [7, 0]
    assert buffer.slices(fields.begins("key")[:2], fields.ends("key")[:2]).to_pylist() == [b"mood", b""]
    assert fields.has("doubleValue")[3]
    assert fields.present() == {"key", "type", "doubleValue"}
    assert read(PAIR).plain.tolist() == []


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(bytes.fromhex("1001 1002"), id="a number twice"),
        pytest.param(bytes.fromhex("1201 78"), id="another wire type"),
        pytest.param(bytes.fromhex("3001"), id="an unknown field"),
        pytest.param(bytes.fromhex("0a05 6162"), id="longer than the message"),
        pytest.param(bytes.fromhex("10"), id="a tag alone"),
        pytest.param(b"\x0a" + varint(1, longer=4) + b"x", id="a length of five bytes"),
        pytest.param(b"\xff" * 8, id="no protobuf"),
    ],
)
def test_messages_that_are_not_plain_do_not_affect_their_neighbours(message: bytes) -> None:
    plain = bytes.fromhex("0a0161 1001")
    fields = read(PAIR, plain, message, plain)
    assert fields.plain.tolist() == [True, False, True]
    assert fields.number("type").tolist()[::2] == [1, 1]


def test_a_span_reaches_from_the_first_tag_to_the_last_value() -> None:
    layout = Layout({"type": (1, "number"), "ext": (5, "span")})
    together, apart = bytes.fromhex("0801 2a0161 2a0162"), bytes.fromhex("2a0161 0801 2a0162")
    buffer = MessageBuffer([together, apart])
    fields = buffer.read(layout, buffer.begins, buffer.ends)
    assert fields.plain.all()
    assert buffer.slices(fields.begins("ext"), fields.ends("ext")).to_pylist() == [together[2:], apart]


def test_cleared_values_are_empty_and_zero() -> None:
    fields = read(PAIR, bytes.fromhex("0a0161 1001"), bytes.fromhex("0a0162 1002"))
    fields.clear_values(fields.number("type") == 2)
    assert fields.number("type").tolist() == [1, 0]
    assert (fields.ends("key") - fields.begins("key")).tolist() == [1, 0]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20), st.integers(0, 3))
def test_numbers_are_read_as_they_were_written(numbers: list[int], longer: int) -> None:
    fields = read(PAIR, *(b"\x18" + varint(number, longer) for number in numbers))
    for index, number in enumerate(numbers):
        is_short = len(varint(number, longer)) <= 9
        assert bool(fields.plain[index]) is is_short
        if is_short:
            assert fields.number("varintValue")[index] == number


@given(st.lists(st.binary(max_size=12), max_size=20))
def test_what_is_plain_is_what_protobuf_reads(messages: list[bytes]) -> None:
    fields = read(PAIR, *messages)
    for index, message in enumerate(messages):
        if fields.plain[index]:
            try:
                parsed = schema.KeyValue.FromString(message)
            except (DecodeError, UnicodeDecodeError):
                parsed = None  # the key is not UTF-8: texts are checked where they are used
            if parsed is not None:
                assert parsed.varintValue == fields.number("varintValue")[index]
                assert parsed.HasField("doubleValue") == fields.has("doubleValue")[index]
                assert len(parsed.key.encode()) == fields.ends("key")[index] - fields.begins("key")[index]


def test_splitting_reports_messages_with_anything_else() -> None:
    rows, begins, ends, whole = MessageBuffer([b"", bytes.fromhex("2a0161 2a00"), bytes.fromhex("2a0161 0801")]).split(
        5
    )
    assert whole.tolist() == [True, True, False]
    assert [(row, end - begin) for row, begin, end in zip(rows, begins, ends, strict=True)] == [(1, 1), (1, 0), (2, 1)]


def test_slices_must_ascend_and_lie_in_the_buffer() -> None:
    buffer = MessageBuffer([b"abcdef"])
    begins = buffer.begins
    assert buffer.slices(begins, begins + 2).to_pylist() == [b"ab"]
    for begin, end in ((-1, 2), (3, 2), (0, 1000)):
        with pytest.raises(ValueError, match="slices"):
            buffer.slices(begins + begin, begins + end)
