"""Reads the attributes of users (用户属性) from JSON: of the answer to a call, and of a notice.

Source: docs/protocol.md#user-attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imkit.users import User
from imkit.wire.untrusted_json import text

# The service's name of each attribute → the field of `User`, in the order in which the official SDK asks for them.
FIELDS = {
    "nickname": "nickname",
    "avatarurl": "avatar_url",
    "mail": "mail",
    "phone": "phone",
    "gender": "gender",
    "sign": "sign",
    "birth": "birth",
    "ext": "ext",
}
_ATTRIBUTE_CHARACTERS = 2048  # all attributes of a user have 2 KB; a session keeps those of many users


def attributes_from_json(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes in an object by the fields of `User`. One that is there but not a text is empty.

    Example:
        >>> attributes_from_json({"avatarurl": "https://example.com/a.png", "gender": 2, "hobby": "tea"})
        {'avatar_url': 'https://example.com/a.png', 'gender': '2'}
    """
    return {field: text(data, name)[:_ATTRIBUTE_CHARACTERS] for name, field in FIELDS.items() if name in data}


def user_from_json(user_id: str, data: Mapping[str, Any]) -> User:
    """Return a user with the attributes in an object; an empty attribute is `None`.

    Example:
        >>> user_from_json("alice", {"nickname": "", "sign": "tea"}).nickname is None
        True
    """
    return User(user_id, **{field: value or None for field, value in attributes_from_json(data).items()})
