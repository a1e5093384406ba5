"""The attributes (ext, 扩展字段) of many messages → JSON texts, without a Python object for each.

Attributes are plain when all their values are texts or whole numbers and no key occurs twice. Arrow joins the JSON text
of the plain ones; the ordinary codec (`imkit.wire.keyvalues`) must read all others.

Source: docs/protocol.md#extension-attributes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.batch_protobuf import BoolArray, IntArray, Layout, MessageBuffer
from imkit.wire.enums import ValueType
from imkit.wire.keyvalues import json_text

_PAIR = Layout({"key": (1, "bytes"), "type": (2, "number"), "varintValue": (3, "number"), "stringValue": (6, "bytes")})


def plain_ext_texts(spans: list[bytes], number: int) -> tuple[pa.Array, BoolArray]:
    """Return the JSON texts of attributes.

    Args:
        spans: for each message, all occurrences of the field with their tags, as the message holds them.
        number: of the field: 5 for `MessageBody.ext`, 20 for `Content.customExts`.

    Returns:
        The texts, null where a message has no attributes; and which of them are plain. A text that is not plain must
        not be used.

    Example:
        >>> texts, plain = plain_ext_texts([b"", bytes.fromhex("2a0a 0a046d6f6f64 1007 3200")], 5)
        >>> texts.to_pylist(), plain.tolist()
        ([None, '{"mood":""}'], [True, True])
    """
    buffer = MessageBuffer(spans)
    owners, begins, ends, plain = buffer.split(number)  # one entry a pair of key and value; the owner is its message
    pairs = buffer.read(_PAIR, begins, ends)
    value_type, has_text, has_number = pairs.number("type"), pairs.has("stringValue"), pairs.has("varintValue")
    is_number = ((value_type == ValueType.INT) | (value_type == ValueType.LLINT)) & ~has_text
    good = pairs.plain & (is_number | ((value_type == ValueType.STRING) & ~has_number))
    pairs.clear_values(~good)
    values = buffer.slices(pairs.begins("stringValue"), pairs.ends("stringValue"))
    good &= ~_needs_escapes(values)
    encoded_keys = buffer.slices(pairs.begins("key"), pairs.ends("key")).dictionary_encode()
    key_codes = encoded_keys.indices.to_numpy()
    keys = []  # as JSON, with quotes
    for code, key in enumerate(encoded_keys.dictionary.to_pylist()):
        try:
            keys.append(json_text(key.decode()))
        except UnicodeDecodeError:
            keys.append("")
            good &= key_codes != code
    plain[owners[~good]] = False
    plain[_owners_with_a_key_twice(owners, key_codes, len(keys))] = False
    try:
        texts = values.cast(pa.string())
    except pa.ArrowInvalid:  # one of them is not UTF-8
        return pa.nulls(len(spans), pa.string()), np.zeros(len(spans), np.bool_)
    if is_number.any():
        numbers = pa.array(pairs.number("varintValue")).cast(pa.string())
        texts = pc.if_else(pa.array(is_number), numbers, texts)
    # `"key":"` for texts, then `"key":` for numbers: the code of a key chooses in the first or the second half.
    prefixes = pa.array([f"{key}:{quote}" for quote in ('"', "") for key in keys], pa.string())
    prefixes = prefixes.take(pa.array(key_codes + len(keys) * is_number))
    suffixes = pa.array(['"', ""]).take(pa.array(is_number.astype(np.int8)))
    items = pc.binary_join_element_wise(prefixes, texts, suffixes, "")
    counts = np.bincount(owners, minlength=len(spans))
    lists = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)), items)
    objects = pc.binary_join_element_wise("{", pc.binary_join(lists, ","), "}", "")
    return pc.if_else(pa.array(counts > 0), objects, None), plain


def _needs_escapes(texts: pa.Array) -> BoolArray:
    """Return which texts hold a character that JSON must escape."""
    offsets, data = texts.buffers()[1:]
    ends = np.frombuffer(offsets, np.int32)[1 : len(texts) + 1]
    found = np.zeros(len(texts), np.bool_)
    if data is not None and len(texts):
        characters = np.frombuffer(data, np.uint8)[: ends[-1]]
        special = np.flatnonzero((characters < 0x20) | (characters == ord('"')) | (characters == ord("\\")))
        found[np.searchsorted(ends, special, side="right")] = True
    return found


def _owners_with_a_key_twice(owners: IntArray, key_codes: IntArray, key_count: int) -> IntArray:
    """Return the messages in which a key occurs more than once."""
    owner_and_key = np.sort(owners * key_count + key_codes)
    twice: IntArray = owner_and_key[1:][owner_and_key[1:] == owner_and_key[:-1]] // max(key_count, 1)
    return twice
