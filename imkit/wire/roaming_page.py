"""One page of roaming history as it comes: the JSON around the Metas.

Source: fact sheet section 8.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from imkit.errors import ProtocolError

_UNREADABLE = b"\xff"  # begins no Meta; arrives as Unknown: one bad entry loses none of its neighbours


@dataclass(slots=True)
class RawPage:
    """What one page of roaming history holds.

    Attributes:
        entries: the Metas, as bytes, in the order of the page.
        cursor: where the next page begins, or `None` at the end.
        is_last: the service says that there is no other.
        is_empty: there is nothing on it; not even notices, which are no messages.
    """

    entries: list[bytes]
    cursor: str | int | None
    is_last: bool
    is_empty: bool


def parse_page(content: bytes) -> RawPage:
    r"""Return what the answer to a question for history holds.

    An entry that is no base64 stands as bytes that are no Meta, so that it shows as a message of type unknown; one
    without a message is left out.

    Args:
        content: the body of the answer.

    Raises:
        ProtocolError: this is no page.

    Example:
        >>> parse_page(b'{"data": {"msgs": [{"msg": "CAc="}], "next_key": "8", "is_last": false}}')
        RawPage(entries=[b'\x08\x07'], cursor='8', is_last=False, is_empty=False)
    """
    try:
        data = _DECODER.decode(content).data
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return _carefully(content)
    entries = [entry.msg for entry in data.msgs or () if entry.msg]
    return RawPage(entries, _cursor(data.next_key), data.is_last is True, is_empty=not data.msgs)


class _Entry(msgspec.Struct, gc=False):
    msg: bytes | None = None


class _Data(msgspec.Struct):
    msgs: list[_Entry] | None = None
    next_key: Any = None
    is_last: Any = None


class _Answer(msgspec.Struct):
    data: _Data


_DECODER = msgspec.json.Decoder(_Answer)  # decodes the base64 as it goes: a third of the time; takes no bad entry


def _carefully(content: bytes) -> RawPage:
    """Read a page that is not as it should be, entry by entry."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise ProtocolError("a page of history: the answer is no JSON") from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise ProtocolError("a page of history: the answer holds no data")
    listed = data.get("msgs")
    entries = [entry for item in listed if (entry := _entry(item))] if isinstance(listed, list) else []
    return RawPage(entries, _cursor(data.get("next_key")), data.get("is_last") is True, is_empty=not listed)


def _entry(item: Any) -> bytes:
    encoded = item.get("msg") if isinstance(item, dict) else None
    if not isinstance(encoded, str):
        return b""
    try:
        return base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        return _UNREADABLE + encoded.encode(errors="replace")  # so that two of them are two


def _cursor(key: object) -> str | int | None:
    return key if isinstance(key, str | int) and not isinstance(key, bool) and key != "" else None
