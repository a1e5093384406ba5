"""The reactions (表情回复) to messages: which user has reacted to which message with what.

A trigger of the store removes the reactions to a message that is deleted.

Source: docs/protocol.md#reactions.
"""

from __future__ import annotations

import json
from typing import Any

from imkit.sandbox.server.store import Store

_SHOWN_USERS = 3  # of each reaction in a list, the earliest; the call for one reaction pages through all

# By message and reaction, the earliest reaction first: the number of users, some of them, and whether :user is one.
_LIST = """
SELECT message, reaction, count(*), (
    SELECT json_group_array(user) FROM (
        SELECT user FROM reactions AS one WHERE one.message = each.message AND one.reaction = each.reaction
        ORDER BY id LIMIT :shown)
), EXISTS (
    SELECT 1 FROM reactions AS own
    WHERE own.message = each.message AND own.reaction = each.reaction AND own.user = :user)
FROM reactions AS each WHERE message IN (SELECT value FROM json_each(:messages))
GROUP BY message, reaction ORDER BY message, min(id)
"""
_USERS = "SELECT id, user FROM reactions WHERE message = ? AND reaction = ? AND id > ? ORDER BY id LIMIT ?"


class Reactions:
    """Stores reactions.

    Example:
        >>> store = Store(None)
        >>> reactions = Reactions(store)
        >>> with store.transaction():
        ...     reactions.add(7, "👍", "alice"), reactions.add(7, "👍", "alice")
        (True, False)
        >>> reactions.of([7], "bob")
        {7: [{'reaction': '👍', 'count': 1, 'userList': ['alice'], 'state': False}]}
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, message: int, reaction: str, user: str) -> bool:
        """Store a reaction; return False if the user has reacted so already."""
        row = (message, reaction, user, self._store.new_id())
        return self._store.execute("INSERT OR IGNORE INTO reactions VALUES (?, ?, ?, ?)", row) > 0

    def remove(self, message: int, reaction: str, user: str) -> bool:
        """Delete a reaction; return False if the user has not reacted so."""
        row = (message, reaction, user)
        return self._store.execute("DELETE FROM reactions WHERE message = ? AND reaction = ? AND user = ?", row) > 0

    def of(self, messages: list[int], user: str) -> dict[int, list[dict[str, Any]]]:
        """Return by message id the reactions to messages in their wire form, of each reaction the three earliest users.

        Args:
            messages: the messages; one without reactions is not in the result.
            user: the user who asks; `state` says whether this user has reacted so.
        """
        found: dict[int, list[dict[str, Any]]] = {}
        values = {"messages": json.dumps(messages), "user": user, "shown": _SHOWN_USERS}
        for message, reaction, count, users, state in self._store.rows(_LIST, values):
            entry = {"reaction": reaction, "count": count, "userList": json.loads(users), "state": bool(state)}
            found.setdefault(message, []).append(entry)
        return found

    def users(self, message: int, reaction: str, *, after: int, limit: int) -> list[tuple[int, str]]:
        """Return a page of the users who have reacted so, the earliest first, each with a number for `after`."""
        return self._store.rows(_USERS, (message, reaction, after, limit))
