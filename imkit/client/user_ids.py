"""The rules for user ids.

Source: docs/protocol.md#limits, docs/protocol.md#rest-transport.
"""

from __future__ import annotations

import re

from imkit.errors import InvalidMessage

MAX_USER_CHARACTERS = 256  # of a user that a service names; a user id has up to 64
_USER_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


def is_user_id(user: object) -> bool:
    """Return whether the service can have a user with this id.

    Example:
        >>> is_user_id("alice"), is_user_id("alice?"), is_user_id("..")
        (True, False, False)

    Source: docs/protocol.md#limits.
    """
    return isinstance(user, str) and _USER_ID.fullmatch(user) is not None and user not in (".", "..")


def user_id(user: object) -> str:
    """Check a user id, and return it in lower case, as the service stores it.

    Raises:
        InvalidMessage: it is not 1 to 64 letters, digits, ``_``, ``.`` and ``-``.

    Example:
        >>> user_id("Alice")
        'alice'

    Source: docs/protocol.md#limits.
    """
    if not isinstance(user, str) or not is_user_id(user):
        hint = "A user id has up to 64 letters, digits, _ . and -"
        if not isinstance(user, str):
            hint = "Give each user id as a text of its own, such as 'carol'."
        elif is_user_id(user.removeprefix("@")):
            hint = f"Leave out the @: {user[1:]!r}."
        raise InvalidMessage(f"{user!r:.100} is not a user id", hint=hint)
    return user.lower()
