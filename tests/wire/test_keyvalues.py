"""Extension attributes (ext): the limits of depth and size, and values that are not JSON."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.errors import InvalidMessage
from imkit.messages import (
    Custom,
    Text,
)
from imkit.wire import schema, uplink
from imkit.wire.enums import ValueType
from imkit.wire.keyvalues import decode_ext, encode_ext
from imkit.wire.untrusted_json import MAX_DEPTH
from tests.wire.service import THREAD
from tests.wire.strategies import EXT, HALF, JSON, often


def nested(leaf: Any, levels: int, *, in_lists: bool) -> Any:
    for _ in range(levels):
        leaf = [leaf] if in_lists else {"k": leaf}
    return leaf


@pytest.mark.parametrize("in_lists", [True, False])
def test_ext_is_limited_to_64_levels(in_lists: bool) -> None:
    deepest = nested("leaf", MAX_DEPTH, in_lists=in_lists)
    assert decode_ext(encode_ext({"deep": deepest})) == {"deep": deepest}
    with pytest.raises(InvalidMessage, match="levels deep"):
        encode_ext({"deep": nested("leaf", MAX_DEPTH + 1, in_lists=in_lists)})
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    with pytest.raises(InvalidMessage, match="levels deep"):
        encode_ext({"cycle": cycle})


BAD_LEAVES = (
    st.integers(min_value=2**63)
    | st.integers(max_value=-(2**63) - 1)
    | st.sampled_from([math.nan, math.inf, -math.inf, 10**400, HALF, f"a{HALF}b", "\udf75"])
    | st.binary(max_size=3)
    | st.sampled_from([(), (1, 2), {1, 2}, frozenset(), 1j, Decimal(1), object(), Text("x"), json, range(3)])
)
BAD_KEYS = st.sampled_from([1, 1.5, None, True, b"k", ("a",), HALF, f"a{HALF}"])


def nest_anywhere(bad: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values that hold a bad one: directly, in a list, in an object, or deeper."""
    return st.recursive(
        bad,
        lambda inner: (
            st.tuples(st.lists(JSON, max_size=2), inner).map(lambda pair: [*pair[0], pair[1]])
            | st.tuples(st.dictionaries(st.text(max_size=3), JSON, max_size=2), inner).map(
                lambda pair: {**pair[0], "x": pair[1]}
            )
        ),
        max_leaves=1,
    )


BAD_EXT = (
    st.tuples(EXT, st.text(max_size=3), nest_anywhere(BAD_LEAVES)).map(lambda part: {**part[0], part[1]: part[2]})
    | st.tuples(EXT, BAD_KEYS, JSON).map(lambda part: {**part[0], part[1]: part[2]})
    | nest_anywhere(st.tuples(BAD_KEYS, JSON).map(lambda pair: dict([pair]))).map(lambda value: {"k": value})
    | st.sampled_from([None, [], "text", 1, b"{}", [("a", 1)], {"a"}])
)


@often(400)
@given(bad=BAD_EXT)
def test_ext_that_is_not_json_is_refused(bad: Any) -> None:
    for body in (Text("hello", ext=bad), Custom("event", bad), Custom("event", {}, ext=bad)):
        with pytest.raises(InvalidMessage) as refused:
            uplink.encode_message(THREAD, "bob", body, client_id=7)
        str(refused.value).encode()
        with pytest.raises(InvalidMessage):
            uplink.encode_edit(THREAD, "bob", "7", body, client_id=7)


def test_a_received_value_that_is_too_deep_stays_text() -> None:
    deep = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    [kept] = decode_ext([schema.KeyValue(key="k", type=ValueType.JSON_STRING, stringValue=deep)]).values()
    assert kept == deep
