"""The JSON of plain attributes is what the ordinary codec writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imkit.history.bulk_ext import plain_ext_texts
from imkit.wire import schema
from imkit.wire.keyvalues import decode_ext, encode_ext, json_text

EXT_FIELD = schema.MessageBody.DESCRIPTOR.fields_by_name["ext"].number
values: Any = st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none() | st.lists(st.integers(-9, 9))


def span(ext: dict[str, Any]) -> bytes:
    return bytes(schema.MessageBody(ext=encode_ext(ext)).SerializeToString())


def test_texts_and_whole_numbers_are_plain() -> None:
    exts: list[dict[str, Any]] = [{"mood": "好", "n": 7}, {}, {"quote": '"'}, {"flag": True}]
    texts, plain = plain_ext_texts([span(ext) for ext in exts], EXT_FIELD)
    assert plain.tolist() == [True, True, False, False]
    assert texts.to_pylist()[:2] == ['{"mood":"好","n":7}', None]


def test_a_key_twice_is_not_plain() -> None:
    _, plain = plain_ext_texts([span({"a": "1"}) * 2, span({"a": "1"}) + span({"b": "1"})], EXT_FIELD)
    assert plain.tolist() == [False, True]


@given(st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=8))
def test_plain_texts_are_those_of_the_ordinary_codec(exts: list[dict[str, Any]]) -> None:
    spans = [span(ext) for ext in exts]
    texts, plain = plain_ext_texts(spans, EXT_FIELD)
    for data, text, is_plain in zip(spans, texts.to_pylist(), plain, strict=True):
        ext = decode_ext(schema.MessageBody.FromString(data).ext)
        assert not is_plain or text == (json_text(ext) if ext else None)
