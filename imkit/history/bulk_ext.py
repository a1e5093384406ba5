"""The attributes (ext) of many messages → JSON texts, without a Python object for each.

Plain ones, which are those of texts and whole numbers under different keys, are put together by Arrow; the ordinary
codec (`imkit.wire.keyvalues`) reads all others.

Source: fact sheet section 4, "ext/customExts KeyValue from JS".
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.batch_protobuf import Joined, Layout, Numbers, Truths
from imkit.wire.enums import ValueType
from imkit.wire.keyvalues import json_text

_PAIR = Layout({"key": (1, "bytes"), "type": (2, "number"), "varintValue": (3, "number"), "stringValue": (6, "bytes")})


def plain_ext_texts(spans: list[bytes], number: int) -> tuple[pa.Array, Truths]:
    """Return the JSON texts of attributes as they stand in messages.

    Args:
        spans: what a message has of the field, tags and all; as often as it has it.
        number: of the field: 5 for `MessageBody.ext`, 20 for `Content.customExts`.

    Returns:
        The texts, null where there are no attributes; and which of them are plain: of the others nothing is said.

    Example:
        >>> texts, plain = plain_ext_texts([b"", bytes.fromhex("2a0a 0a046d6f6f64 1007 3200")], 5)
        >>> texts.to_pylist(), plain.tolist()
        ([None, '{"mood":""}'], [True, True])
    """
    joined = Joined(spans)
    owners, begins, ends, plain = joined.split(number)
    pairs = joined.read(_PAIR, begins, ends)
    kind, textual, numeric = pairs.number("type"), pairs.has("stringValue"), pairs.has("varintValue")
    is_number = ((kind == ValueType.INT) | (kind == ValueType.LLINT)) & ~textual
    good = pairs.plain & (is_number | ((kind == ValueType.STRING) & ~numeric))
    pairs.empty(~good)
    values = joined.slices(pairs.begins("stringValue"), pairs.ends("stringValue"))
    good &= ~_needs_escapes(values)
    keys = joined.slices(pairs.begins("key"), pairs.ends("key")).dictionary_encode()
    codes = keys.indices.to_numpy()
    names = []
    for code, key in enumerate(keys.dictionary.to_pylist()):
        try:
            names.append(json_text(key.decode()))
        except UnicodeDecodeError:
            names.append("")
            good &= codes != code
    plain[owners[~good]] = False
    plain[_with_a_key_twice(owners, codes, len(names))] = False
    try:
        texts = values.cast(pa.string())
    except pa.ArrowInvalid:  # somebody's is no UTF-8
        return pa.nulls(len(spans), pa.string()), np.zeros(len(spans), np.bool_)
    if is_number.any():
        numbers = pa.array(pairs.number("varintValue")).cast(pa.string())
        texts = pc.if_else(pa.array(is_number), numbers, texts)
    before = pa.array([f"{name}:{quote}" for quote in ('"', "") for name in names], pa.string())
    before = before.take(pa.array(codes + len(names) * is_number))
    after = pa.array(['"', ""]).take(pa.array(is_number.astype(np.int8)))
    items = pc.binary_join_element_wise(before, texts, after, "")
    counts = np.bincount(owners, minlength=len(spans))
    listed = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)), items)
    objects = pc.binary_join_element_wise("{", pc.binary_join(listed, ","), "}", "")
    return pc.if_else(pa.array(counts > 0), objects, None), plain


def _needs_escapes(texts: pa.Array) -> Truths:
    """Which texts hold a character that JSON writes in another way."""
    offsets, data = texts.buffers()[1:]
    ends = np.frombuffer(offsets, np.int32)[1 : len(texts) + 1]
    found = np.zeros(len(texts), np.bool_)
    if data is not None and len(texts):
        characters = np.frombuffer(data, np.uint8)[: ends[-1]]
        special = np.flatnonzero((characters < 0x20) | (characters == ord('"')) | (characters == ord("\\")))
        found[np.searchsorted(ends, special, side="right")] = True
    return found


def _with_a_key_twice(owners: Numbers, codes: Numbers, keys: int) -> Numbers:
    """Which messages have a key more than once."""
    both = np.sort(owners * keys + codes)
    twice: Numbers = both[1:][both[1:] == both[:-1]] // max(keys, 1)
    return twice
