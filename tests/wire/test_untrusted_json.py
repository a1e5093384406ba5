"""Readers for untrusted JSON: what they return can be encoded again, whatever they are given."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imkit.wire.keyvalues import json_text
from imkit.wire.untrusted_json import decimal, json_object, json_value, mapping, number, objects, text
from tests.wire.strategies import KNOWN_KEYS, ODD_JSON, often


@often(150)
@given(key=KNOWN_KEYS, value=ODD_JSON)
def test_each_reader_returns_its_type(key: str, value: Any) -> None:
    data = {key: value}
    text(data, key).encode()
    assert -(2**63) <= number(data, key) < 2**63
    assert math.isfinite(decimal(data, key))
    assert isinstance(mapping(data, key), dict)
    json_text(objects(data, key)).encode()


@often(150)
@given(data=st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_gives_an_object(data: bytes | str) -> None:
    assert isinstance(json_object(data), dict)


@often(150)
@given(value=ODD_JSON, is_ascii=st.booleans())
def test_json_reads_as_the_standard_library_reads_it(value: Any, is_ascii: bool) -> None:
    written = json.dumps(value, ensure_ascii=is_ascii)
    assert repr(json_value(written)) == repr(json.loads(written))
    for odd in ("NaN", "1e999", "-0", str(2**64), '"\\ud800"', '"\ud800"', '{"a":1,"a":2}', " [1.0,\n1E2] "):
        assert repr(json_value(odd)) == repr(json.loads(odd))
    for wrong in ("01", "[1,]", '"\x01"', '"\\q"', "\ufeff1", "1 2", "{1:2}", ""):
        assert json_value(wrong) is None
