"""Reading JSON that a stranger wrote: any shape, any size; what is not as expected reads as nothing.

The service's JSON is irregular (numbers as strings, keys absent), so each reader says what it takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in `text`, or an empty one where there is none."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object at `key`, or an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def text(data: Mapping[str, Any], key: str) -> str:
    """Return the text (or the whole number, as text) at `key`, or an empty one."""
    value = data.get(key)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def number(data: Mapping[str, Any], key: str) -> int:
    """Return the whole number (or the digits of one) at `key`, or 0."""
    value = data.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    if isinstance(value, float) and abs(value) < 2**63:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def decimal(data: Mapping[str, Any], key: str) -> float:
    """Return the finite number at `key`, or 0.0."""
    value = data.get(key)
    return float(value) if isinstance(value, int | float) and abs(value) < 1e308 else 0.0


def objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects in the list at `key`; what else is in it is left out."""
    value = data.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
