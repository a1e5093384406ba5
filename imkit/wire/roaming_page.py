"""Reads a page of roaming history (消息漫游): the service's JSON answer, which holds the Metas as base64.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from imkit.errors import ProtocolError
from imkit.wire.untrusted_json import json_value

MAX_ENTRIES = 10_000  # of a page; a service gives 50, and each takes time on the event loop
MAX_CURSOR_CHARACTERS = 4_096  # cursors are kept while a history is read
_NO_META = b"\xff"  # no Meta begins so; `decode_roamed` makes a message with the body `Unknown` of it


@dataclass(slots=True)
class RawPage:
    """One page of roaming history.

    Attributes:
        entries: the bytes of the Metas, in the order of the page.
        cursor: where the next page begins, or `None` if the service gives no cursor.
        is_last: the service says that this is the last page.
        is_empty: the page has no entry at all, not even one that is not a message.
    """

    entries: list[bytes]
    cursor: str | int | None
    is_last: bool
    is_empty: bool


def parse_page(content: bytes) -> RawPage:
    r"""Return the page in the service's answer.

    An entry with invalid base64 becomes bytes that are not a Meta, so that it is shown as a message of type unknown. An
    entry without a Meta is left out.

    Args:
        content: the body of the HTTP answer.

    Raises:
        ProtocolError: `content` is not JSON, or not a page: a field has another type, or the page does not say whether
            another one follows. Such an answer must never pass for the end of a history.

    Example:
        >>> parse_page(b'{"data": {"msgs": [{"msg": "CAc="}], "next_key": "8", "is_last": false}}')
        RawPage(entries=[b'\x08\x07'], cursor='8', is_last=False, is_empty=False)
    """
    try:
        data = _DECODER.decode(content).data
        found = [entry.msg for entry in data.msgs or () if entry.msg]
        return _page(found, len(data.msgs or ()), data.next_key, data.is_last)
    except (ValueError, RecursionError, ProtocolError):  # msgspec's errors are ValueErrors
        return _parse_leniently(content)


class _Entry(msgspec.Struct, gc=False):
    msg: bytes | None = None


class _Data(msgspec.Struct):
    msgs: list[_Entry] | None = None
    next_key: Any = None
    is_last: Any = None


class _Answer(msgspec.Struct):
    data: _Data


_DECODER = msgspec.json.Decoder(_Answer)  # three times as fast as json and base64, but one bad entry makes it fail


def _parse_leniently(content: bytes) -> RawPage:
    """Return the page, entry by entry, when `_DECODER` does not accept it."""
    answer = json_value(content)
    if answer is None:
        raise ProtocolError("a page of history: the answer is not JSON")
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise ProtocolError("a page of history: the answer has no data")
    listed = data.get("msgs")
    if not isinstance(listed, list | None):
        raise ProtocolError(f"a page of history: msgs is a {type(listed).__name__}, not a list")
    entries = [entry for item in listed or () if (entry := _entry(item))]
    return _page(entries, len(listed or ()), data.get("next_key"), data.get("is_last"))


def _page(entries: list[bytes], listed: int, key: object, is_last: object) -> RawPage:
    """Return a page of these fields.

    Raises:
        ProtocolError: a field is not what the protocol allows.
    """
    if not isinstance(is_last, bool | None):
        raise ProtocolError(f"a page of history: is_last is a {type(is_last).__name__}, not true or false")
    if not isinstance(key, str | int | None) or isinstance(key, bool) or len(str(key)) > MAX_CURSOR_CHARACTERS:
        raise ProtocolError(f"a page of history: next_key is not a cursor: {key!r:.40}")
    if listed > MAX_ENTRIES:
        raise ProtocolError(f"a page of history: it has {listed:,} entries; at most {MAX_ENTRIES:,} are read")
    cursor = None if key == "" else key
    if is_last is None and (cursor is None or not listed):
        raise ProtocolError("a page of history: it does not say whether it is the last")
    return RawPage(entries, cursor, is_last is True, is_empty=not listed)


def _entry(item: Any) -> bytes:
    encoded = item.get("msg") if isinstance(item, dict) else None
    if not isinstance(encoded, str):
        return b""
    try:
        return base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        return _NO_META + encoded.encode(errors="replace")  # with the text, so that different entries stay different
