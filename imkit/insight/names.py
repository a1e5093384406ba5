"""The nicknames (昵称) of senders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from imkit.client.user_ids import is_user_id
from imkit.errors import InvalidMessage
from imkit.history.columns import string_array
from imkit.history.frames import STRING
from imkit.insight.results import check_columns
from imkit.users import User


class KnowsUsers(Protocol):
    """What a session is here: it tells users' nicknames."""

    def users(self, ids: Iterable[str]) -> Mapping[str, User]:
        """Return users by their ids."""


def named(frame: pd.DataFrame, users: KnowsUsers | Mapping[str, Any]) -> pd.DataFrame:
    """Return the frame with the column `sender_name`: the work of ``frame.im.named(…)``.

    Example:
        >>> from imkit.history.frames import frame_of
        >>> named(frame_of([]), {"alice": "A."}).columns[-1]
        'sender_name'
    """
    check_columns(frame, "named", ("sender",))
    codes, senders = pd.factorize(frame["sender"])  # a code for each row, -1 where there is no sender
    ids = [str(sender) for sender in senders]
    known: Mapping[str, Any]
    if isinstance(users, Mapping):
        known = users
    elif callable(getattr(users, "users", None)):
        # A service's app server may send under names that are no user ids: nobody can be asked for them.
        known = users.users([sender for sender in ids if is_user_id(sender)])
    else:
        hint = "Give a session, or a mapping such as {'alice': 'Alice'}."
        raise InvalidMessage(f"a {type(users).__name__} does not know users' names", hint=hint)
    names = string_array([*(_name(known.get(sender)) for sender in ids), None])  # the last one is for no sender
    return frame.assign(sender_name=pd.array(names, dtype=STRING).take(np.where(codes < 0, len(ids), codes)))


def _name(user: object) -> str | None:
    """Return the name that a mapping has for a user, if it is a text with something in it."""
    name = user.nickname if isinstance(user, User) else user
    return name if isinstance(name, str) and name else None
