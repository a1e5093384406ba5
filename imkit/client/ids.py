"""The rules for the ids of messages, groups and threads.

Source: docs/protocol.md#limits.
"""

from __future__ import annotations

import operator
import re
from typing import Any

from imkit.errors import InvalidMessage
from imkit.hints import AN_ID_IS_A_TEXT, DIGITS_ARE_LOST, MESSAGE_ID_OF_ROW, MESSAGE_OR_ID, ONE_BY_ONE
from imkit.messages import Message
from imkit.wire.untrusted_json import is_id

_WRITTEN_AS_A_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?[eE]\+?[0-9]+|[0-9]+\.[0-9]*")


def message_id(message: Message | str) -> str:
    """Return the id of a message.

    Raises:
        InvalidMessage: it is neither a message nor an id.

    Example:
        >>> message_id("1398542386249728")
        '1398542386249728'
    """
    found = message.id if isinstance(message, Message) else message
    if not is_id(found):
        given: object = found
        of_row = getattr(found, "message_id", None)  # of a row of a frame
        hint = MESSAGE_ID_OF_ROW.format(id=of_row) if is_id(of_row) else MESSAGE_OR_ID
        if isinstance(given, list | tuple | set):
            hint = ONE_BY_ONE
        raise not_an_id(found, "a message", hint)
    return found


def not_an_id(found: object, kind: str, hint: str) -> InvalidMessage:
    """Return the error for what is given in place of an id.

    Args:
        found: what is given.
        kind: what it should be, such as ``"a message"``.
        hint: what to give, unless `found` is a number.

    Example:
        >>> print(not_an_id(1.2e18, "a message", ""))
        1.2e+18 is not a message · This number has lost digits of the id. Read the column as text, such as \
pd.read_csv(…, dtype={"message_id": "string"}).
    """
    return InvalidMessage(f"{found!r:.60} is not {kind}", hint=_hint_for_number(found) or hint)


def _hint_for_number(found: Any) -> str:
    """Return what to give in place of a number, also one that is written in a text; empty if it is none."""
    if isinstance(found, str):
        if is_id(found.strip()):
            return f"Leave out the blanks: {found.strip()!r}."
        return DIGITS_ARE_LOST if _WRITTEN_AS_A_NUMBER.fullmatch(found) else ""
    if isinstance(found, float):  # also one of numpy
        return DIGITS_ARE_LOST if found == found else ""  # not NaN
    try:
        return "" if isinstance(found, bool) else AN_ID_IS_A_TEXT.format(id=operator.index(found))
    except TypeError:
        return ""
