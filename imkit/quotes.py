"""Quotes (引用) and mentions (@ 提及): how the attributes (ext, 扩展字段) of a message tell them.

The service knows neither. They are a convention of Easemob's documentation, which its UI kits write and draw. Anybody
can write anything into attributes, so the readers here accept every value and never raise.

Source: docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ALL: Final = "ALL"  # in the place of a user id: everybody
QUOTE_KEY = "msgQuote"
MENTIONS_KEY = "em_at_list"
# SDK 5 has words of its own for some types; a Quote has those of `Message.type`.
_TYPES = {"text": "txt", "image": "img", "voice": "audio", "location": "loc"}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # such as JSON's "\ud800"; UTF-8 cannot encode it


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that another message replies to (引用), as the reply tells it.

    The sender of the reply wrote all of this; nobody checks whether it is true.

    Args:
        message_id: the id of the quoted message.
        sender: the user id of its sender. The official web kit writes a nickname here where it knows one.
        type: its type, such as ``"txt"``, as in `Message.type`.
        preview: a text that stands for it. For a message without a text it is the type in brackets, such as ``[img]``.

    Example:
        >>> thread.send("Two bags, please", reply_to=sent).quote.preview
        'Dong Ding, please 🍵'

    Source: docs/protocol.md#quotes-and-mentions.
    """

    message_id: str
    sender: str
    type: str
    preview: str


def quote_of(ext: Mapping[str, Any]) -> Quote | None:
    """Return what a message's attributes say that it replies to, or `None`. An entry without an id is no quote.

    Example:
        >>> quote_of({"msgQuote": {"msgID": "7", "msgSender": "bob", "msgType": "txt", "msgPreview": "tea?"}})
        Quote(message_id='7', sender='bob', type='txt', preview='tea?')
    """
    entry = _parsed(ext.get(QUOTE_KEY), "{")
    if not isinstance(entry, Mapping):
        return None
    message_id = _text(entry.get("msgID"))
    if not message_id:
        return None
    kind = _text(entry.get("msgType"))
    return Quote(message_id, _text(entry.get("msgSender")), _TYPES.get(kind, kind), _text(entry.get("msgPreview")))


def mentions_of(ext: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the user ids that a message's attributes mention, each once; `ALL` stands for everybody.

    Example:
        >>> mentions_of({"em_at_list": ["bob", "all"]}), mentions_of({"em_at_list": "ALL"})
        (('bob', 'ALL'), ('ALL',))
    """
    named = ext.get(MENTIONS_KEY)
    if not named:
        return ()
    if isinstance(named, str) and named.upper() == ALL:
        return (ALL,)
    users = _parsed(named, "[")
    if not isinstance(users, list | tuple):
        return ()
    found = (_text(user) for user in users if isinstance(user, str))
    return tuple(dict.fromkeys(ALL if user.upper() == ALL else user for user in found if user))


def _parsed(value: object, begin: str) -> object:
    """Return a value, or the JSON value in it if it is a text that begins like one."""
    if not isinstance(value, str) or not value.lstrip().startswith(begin):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _text(value: object) -> str:
    """Return a string, or a whole number as a string (an id may be one in JSON), or an empty string."""
    if isinstance(value, str):
        return value if value.isascii() else _LONE_SURROGATE.sub("�", value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64
    return str(value) if is_number else ""
