"""Reports of messages (举报). No documented call shows them: at Easemob they are for the people in the app's console.

Source: docs/protocol.md#reports.
"""

from __future__ import annotations

from imkit.sandbox.server.store import Store


class Reports:
    """Stores who has reported which message, as what and why.

    Example:
        >>> store = Store(None)
        >>> reports = Reports(store)
        >>> with store.transaction():
        ...     reports.add(7, "bob", "spam", "an advertisement")
        >>> reports.count("bob"), reports.of(7)
        (1, [('bob', 'spam', 'an advertisement')])
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, message: int, user: str, kind: str, reason: str) -> None:
        """Store a report; it replaces an earlier one of the same user and message."""
        self._store.execute(
            "INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", (message, user, kind, reason, self._store.clock())
        )

    def of(self, message: int) -> list[tuple[str, str, str]]:
        """Return the reports of a message: (user, kind, reason)."""
        return self._store.rows("SELECT user, kind, reason FROM reports WHERE message = ? ORDER BY user", (message,))

    def count(self, user: str) -> int:
        """Return how many messages a user has reported."""
        return int(self._store.row("SELECT count(*) FROM reports WHERE user = ?", (user,))[0])
