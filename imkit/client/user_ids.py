"""The rules for user ids.

Source: docs/protocol.md#limits, docs/protocol.md#rest-transport.
"""

from __future__ import annotations

import re

from imkit.errors import InvalidMessage
from imkit.hints import EACH_USER_ID, USER_AND_PASSWORD, USER_ID_CHARACTERS

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
        shown = "a dict" if isinstance(user, dict) else f"{user!r:.100}"  # a dict may hold a password
        raise InvalidMessage(f"{shown} is not a user id", hint=_hint_for(user))
    return user.lower()


def _hint_for(found: object) -> str:
    """Return what to give in place of something that is not a user id."""
    if isinstance(found, str):
        if is_user_id(found.removeprefix("@")):
            return f"Leave out the @: {found[1:]!r}."
        if is_user_id(found.strip()):
            return f"Leave out the blanks: {found.strip()!r}."
        if not found.isascii():
            return f"{USER_ID_CHARACTERS} A name in another script can be the nickname: session.update_profile(…)."
        return USER_ID_CHARACTERS
    if isinstance(found, int) and not isinstance(found, bool):
        return f"A user id is a text: '{found}'."
    if isinstance(found, dict):  # the official SDK's open({user, pwd, appKey})
        return USER_AND_PASSWORD
    for name in ("sender", "user"):  # a message, a session
        if is_user_id(inner := getattr(found, name, None)):
            return f"Give its user id: ….{name}, here {inner!r}."
    return EACH_USER_ID
