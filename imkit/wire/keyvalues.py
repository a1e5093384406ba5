"""Converts extension attributes (ext, 扩展字段) between JSON values and the wire's list of typed `KeyValue`s.

Source: docs/protocol.md#extension-attributes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from imkit.errors import InvalidMessage
from imkit.wire import schema
from imkit.wire.enums import ValueType
from imkit.wire.untrusted_json import INT64_MAX, INT64_MIN, MAX_DEPTH, finite, is_deep

# Plain ints, because comparing with an IntEnum is slower, and every attribute of every message is compared.
_BOOL, _INT, _UINT, _LLINT, _FLOAT, _DOUBLE, _STRING, _JSON_STRING = map(int, ValueType)


def encode_ext(ext: Mapping[str, Any]) -> list[Any]:
    """Return extension attributes as `KeyValue` messages, in the order of `ext`.

    Args:
        ext: a JSON object with integers of 64 bits, finite floats and valid Unicode, at most 64 levels deep.

    Returns:
        One `KeyValue` for each key. Strings, integers, floats and booleans have their own type; lists, objects and
        null become JSON text.

    Raises:
        InvalidMessage: `ext` is not a JSON object, or holds a value that the wire cannot carry.

    Example:
        >>> [item.key for item in encode_ext({"mood": "好"})]
        ['mood']
    """
    if not isinstance(ext, Mapping):
        raise InvalidMessage(f"ext must be a JSON object (a dict), not {type(ext).__name__}")
    items = []
    for key, value in ext.items():
        _check_value(key, value, MAX_DEPTH)
        if isinstance(value, str):
            items.append(schema.KeyValue(key=key, type=_STRING, stringValue=value))
        elif isinstance(value, bool):
            items.append(schema.KeyValue(key=key, type=_BOOL, varintValue=int(value)))
        elif isinstance(value, int):
            items.append(schema.KeyValue(key=key, type=_INT, varintValue=value))
        elif isinstance(value, float):
            items.append(schema.KeyValue(key=key, type=_DOUBLE, doubleValue=value))
        else:
            items.append(schema.KeyValue(key=key, type=_JSON_STRING, stringValue=json_text(value)))
    return items


def decode_ext(items: Iterable[Any]) -> dict[str, Any]:
    """Return the extension attributes in `KeyValue` messages.

    A value of type JSON_STRING that is invalid JSON, or nested too deeply, stays the text that it is. (The official SDK
    loses the whole message in this case.)

    Example:
        >>> decode_ext(encode_ext({"n": 1, "who": ["a", None]}))
        {'n': 1, 'who': ['a', None]}
    """
    ext: dict[str, Any] = {}
    for item in items:
        kind = item.type if item.HasField("type") else 0
        value: Any
        if kind == _STRING:
            value = item.stringValue
        elif kind == _JSON_STRING:
            value = _parse_json(item.stringValue)
        elif kind == _BOOL:
            value = bool(item.varintValue)
        elif kind in (_INT, _LLINT):
            value = item.varintValue
        elif kind == _UINT:
            value = item.varintValue % 2**64
        elif kind == _DOUBLE:
            value = finite(item.doubleValue)
        elif kind == _FLOAT:
            value = finite(item.floatValue)
        else:
            field = item.WhichOneof("value")
            value = getattr(item, field) if field else None
            value = finite(value) if isinstance(value, float) else value
        ext[item.key] = value
    return ext


def json_text(value: Any) -> str:
    """Return a value as JSON the way JavaScript writes it: without spaces, and with Unicode not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def check_text(what: str, value: object) -> None:
    """Raise `InvalidMessage` unless `value` is a string that UTF-8 can encode. `what` names it in the error."""
    if not isinstance(value, str):
        raise InvalidMessage(f"{what} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(f"{what} holds half a character (a lone surrogate), which UTF-8 cannot encode") from None


def _check_value(key: object, value: object, levels: int) -> None:
    check_text("ext: a key", key)
    if isinstance(value, str):
        check_text(f"ext: {key!r}", value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMessage(f"ext: {key!r} is {value}, which JSON cannot represent")
    elif isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise InvalidMessage(f"ext: {key!r} has more than 64 bits", hint="Send a number of that size as a string.")
    elif isinstance(value, dict | list):
        if levels == 0:
            raise InvalidMessage(f"ext: more than {MAX_DEPTH} levels deep")
        for inner_key, inner in value.items() if isinstance(value, dict) else ((key, inner) for inner in value):
            _check_value(inner_key, inner, levels - 1)
    elif value is not None:
        raise InvalidMessage(f"ext: {key!r} holds a {type(value).__name__}, which is not a JSON value")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _parse_json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        if is_deep(value):
            return text
        json_text(value).encode()  # fails for a lone surrogate and for 1e999, which is parsed as infinity
    except (ValueError, RecursionError):
        return text
    return value
