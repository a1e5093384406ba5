"""Reading JSON that a stranger wrote: any shape, any size; what is not as expected reads as nothing.

The service's JSON is irregular (numbers as strings, keys absent), so each reader says what it takes. What they
return can be shown, stored and written again: whole characters, finite numbers, no deeper than it can be walked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_DEPTH = 64  # deeper than any real attribute, shallower than what exhausts a JSON parser's stack
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # JSON's \ud800 alone: no encoder takes it


def json_object(data: str | bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, or an empty one where there is none."""
    if not data:
        return {}
    try:
        value = json.loads(data.decode(errors="replace") if isinstance(data, bytes) else data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object at `key`, or an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects in the list at `key`; what else is in it is left out."""
    value = data.get(key)
    return [plain(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(data: Mapping[str, Any], key: str) -> str:
    """Return the text (or the whole number, as text) at `key`, or an empty one."""
    value = data.get(key)
    if isinstance(value, str):
        return _whole(value)
    return str(value) if isinstance(value, int) and _is_number(value, 2**64) else ""


def number(data: Mapping[str, Any], key: str) -> int:
    """Return the whole number (or the digits of one) at `key`, or 0; also for one beyond 64 bits."""
    value = data.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    return int(value) if isinstance(value, int | float) and _is_number(value, 2**63) else 0


def decimal(data: Mapping[str, Any], key: str) -> float:
    """Return the finite number at `key`, or 0.0."""
    value = data.get(key)
    return float(value) if isinstance(value, int | float) and _is_number(value, 1e308) else 0.0


def plain(value: Any, levels: int = MAX_DEPTH) -> Any:
    r"""Return a JSON value as it can be written again: what is no JSON as text, what is too deep as an ellipsis.

    Example:
        >>> plain({"half": "\ud83c", "sum": float("inf")})
        {'half': '�', 'sum': 'Infinity'}
    """
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, float):
        return finite(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, dict | list) and levels == 0:
        return "…"
    if isinstance(value, dict):
        return {_whole(str(key)): plain(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, levels - 1) for item in value]
    return _whole(str(value))


def open_url(url: str) -> str:
    """Return an address without its query, which may hold a share-secret.

    Example:
        >>> open_url("https://a1.easemob.com/org/app/chatfiles/7?share-secret=x")
        'https://a1.easemob.com/org/app/chatfiles/7'
    """
    try:
        return urlunsplit(urlsplit(url)._replace(query="", fragment=""))
    except ValueError:  # no address
        return url.partition("?")[0]


def is_deep(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Tell whether objects and lists lie deeper within each other than `levels`."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deep(item, levels - 1) for item in inner)


def finite(value: float) -> float | str:
    """Return a finite number as it is, and any other as the text that JavaScript prints for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_number(value: float, bound: float) -> bool:
    return not isinstance(value, bool) and -bound <= value < bound


def _whole(value: str) -> str:
    return value if value.isascii() else _HALF_CHARACTER.sub("�", value)
