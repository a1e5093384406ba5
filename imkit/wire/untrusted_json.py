"""Readers for JSON that the service or another client wrote. None of them raises for what the JSON contains.

The service's JSON is irregular: numbers come as strings, and keys are absent. So each reader returns an empty value for
what it cannot use. All that the readers return can be shown, stored and encoded again: valid Unicode, finite numbers,
limited depth.

Source: docs/protocol.md#last-message-in-json.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_DEPTH = 64  # deeper than attributes of real messages, and far from the limit of Python's recursion
_MENDED_CHARACTERS = 2**20  # twice the largest page; mending takes a second for every 4 MB
_ID_DIGITS = 32  # a service's ids have up to 20
_MAX_DIGITS = 400  # of a whole number; the largest float has 309
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # such as JSON's "\ud800"; UTF-8 cannot encode it


def json_value(data: str | bytes) -> Any:
    """Return the JSON value in `data`, or `None` if `data` is not JSON.

    One value that Python refuses (nested too deeply, a whole number of thousands of digits, bytes that are not UTF-8)
    must not cost what stands beside it: the first becomes an ellipsis, the second a text, the third "�".

    Example:
        >>> json_value('{"name": "tea", "deep": ' + "[" * 5000 + "]" * 5000 + ', "n": ' + "9" * 5000 + "}")["name"]
        'tea'
    """
    found = data.decode(errors="replace") if isinstance(data, bytes) else data
    try:
        # Four times as fast as json. It refuses more, such as lone surrogates, but what it reads, json reads the same.
        return msgspec.json.decode(found)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        pass
    try:
        return json.loads(found)
    except (ValueError, RecursionError):
        if len(found) > _MENDED_CHARACTERS:
            return None
    try:
        return json.loads(_without_deep_values(found), parse_int=_whole_number)
    except (ValueError, RecursionError):
        return None


_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def _without_deep_values(data: str) -> str:
    """Return JSON text in which each object and list below `MAX_DEPTH` levels is replaced by an ellipsis."""
    kept, depth, end = [], 0, 0
    for found in _STRING_OR_BRACKET.finditer(data):
        if found[0] in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append(data[end : found.start()] + '"…"')
        elif found[0] in "]}":
            if depth == MAX_DEPTH + 1:
                end = found.end()
            depth -= 1
    return "".join(kept) + data[end:] if depth <= MAX_DEPTH else ""


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else f"{digits[:_MAX_DIGITS]}…"


def json_object(data: str | bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, or an empty one if `data` is anything else."""
    value = json_value(data) if data else None
    return value if isinstance(value, dict) else {}


def mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object at `key`, or an empty one if there is no object."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects in the list at `key`, without the list's other items."""
    return objects_in(data.get(key))


def objects_in(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list, without its other items; none if it is no list."""
    return [plain(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(data: Mapping[str, Any], key: str) -> str:
    """Return the string at `key`, or a whole number as a string, or an empty string."""
    value = data.get(key)
    if isinstance(value, str):
        return _valid_unicode(value)
    return str(value) if isinstance(value, int) and _is_number_within(value, 2**64) else ""


def texts(data: Mapping[str, Any], key: str) -> list[str]:
    """Return the strings in the list at `key`, without the list's other items."""
    value = data.get(key)
    return [_valid_unicode(item) for item in value if isinstance(item, str)] if isinstance(value, list) else []


def is_id(value: object) -> bool:
    """Return whether a value is an id of the service: a string of at most 32 digits.

    Example:
        >>> is_id("1398542386249728"), is_id("../42"), is_id(42)
        (True, False, False)
    """
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _ID_DIGITS


def identifier(data: Mapping[str, Any], key: str) -> str:
    """Return the id at `key`, or an empty string if there is none, or what stands there is not an id."""
    found = text(data, key)
    return found if is_id(found) else ""


def number(data: Mapping[str, Any], key: str) -> int:
    """Return the whole number at `key`, also if it is a string of digits. 0 if there is none or it exceeds 64 bits."""
    value = data.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    return int(value) if isinstance(value, int | float) and _is_number_within(value, 2**63) else 0


def decimal(data: Mapping[str, Any], key: str) -> float:
    """Return the finite number at `key`, or 0.0 if there is none."""
    value = data.get(key)
    return float(value) if isinstance(value, int | float) and _is_number_within(value, 1e308) else 0.0


def plain(value: Any, levels: int = MAX_DEPTH) -> Any:
    r"""Return a JSON value that can be encoded again.

    Lone surrogates become "�", infinities and other Python objects become strings, and what is nested deeper than
    `levels` becomes an ellipsis.

    Example:
        >>> plain({"half": "\ud83c", "sum": float("inf")})
        {'half': '�', 'sum': 'Infinity'}
    """
    if isinstance(value, str):
        return _valid_unicode(value)
    if isinstance(value, float):
        return finite(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, dict | list) and levels == 0:
        return "…"
    if isinstance(value, dict):
        return {_valid_unicode(str(key)): plain(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, levels - 1) for item in value]
    return _valid_unicode(str(value))


def open_url(url: str) -> str:
    """Return a URL without its query and fragment, because the query may hold a share-secret.

    Example:
        >>> open_url("https://a1.easemob.com/org/app/chatfiles/7?share-secret=x")
        'https://a1.easemob.com/org/app/chatfiles/7'
    """
    try:
        return urlunsplit(urlsplit(url)._replace(query="", fragment=""))
    except ValueError:  # not a valid URL
        return url.partition("?")[0]


def is_deep(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Return whether objects and lists are nested more than `levels` deep."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deep(item, levels - 1) for item in inner)


def finite(value: float) -> float | str:
    """Return a finite number unchanged, and any other as JavaScript's text for it, such as "NaN"."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_number_within(value: float, bound: float) -> bool:
    return not isinstance(value, bool) and -bound <= value < bound


def _valid_unicode(value: str) -> str:
    return value if value.isascii() else _LONE_SURROGATE.sub("�", value)
