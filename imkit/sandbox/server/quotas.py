"""Quotas: how much of the disk a user, and all users, may fill. `imkit.sandbox.limits` has the numbers.

Source: docs/protocol.md#errors, docs/protocol.md#refusals-of-a-send.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.permissions import SendRefused
from imkit.sandbox.server.rate_limit import RateLimit, RateLimits
from imkit.sandbox.server.rest_replies import RestError, limit_reached
from imkit.sandbox.server.store import Store
from imkit.wire.enums import StatusCode


class Quotas:
    """Refuses what would go beyond a limit, before anything is written, and counts what is stored.

    Args:
        limits: the numbers.
        store: the data.
    """

    def __init__(self, limits: Limits, store: Store) -> None:
        self._limits = limits
        self._store = store
        self._attached: dict[str, int] | None = None  # by user, the bytes of the attachments
        self._sends = RateLimits(limits.sends_per_second, limits.sends_at_once)
        self._guesses = RateLimits(limits.guesses_per_second, limits.guesses_at_once)
        self._guesses_in_all = RateLimit(limits.guesses_in_all_per_second, limits.guesses_in_all_at_once)
        store.on_commit(before=lambda: None, after_rollback=self._forget)

    def _forget(self) -> None:
        self._attached = None

    # ---------------------------------------------------------------- REST

    def check_room(self) -> None:
        """Refuse a call that adds data if the store is nearly full."""
        if not self._store.has_room():
            raise RestError(507, "insufficient_storage", "the sandbox's data have reached their largest size")

    def check_user(self) -> None:
        """Refuse one more user."""
        self.check_room()
        self._check("SELECT count(*) FROM users", (), self._limits.users, "users", "limit_exceeded")

    def check_group(self, owner: str) -> None:
        """Refuse one more group of an owner."""
        self.check_room()
        query = "SELECT count(*) FROM groups WHERE owner = ?"
        self._check(query, (owner,), self._limits.groups_per_user, f"groups of {owner}", "exceed_limit")

    def check_thread(self, group_id: str) -> None:
        """Refuse one more thread of a group."""
        self.check_room()
        query = "SELECT count(*) FROM threads WHERE group_id = ?"
        what = f"threads in group {group_id}"
        self._check(query, (group_id,), self._limits.threads_per_group, what, "service_limit_exceeded")

    def _check(self, query: str, values: tuple[str, ...], most: int, what: str, error: str) -> None:
        if self._store.row(query, values)[0] >= most:
            raise limit_reached(f"there are {most} {what} already, and there may be no more", error)

    def check_attachment(self, user: str, size: int) -> None:
        """Refuse an attachment of a user that is too much for the user or in all; "" is the app."""
        self.check_room()
        attached = self._attachments()
        if attached.get(user, 0) + size > self._limits.attachment_bytes_per_user:
            most = self._limits.attachment_bytes_per_user
            raise limit_reached(f"the attachments of {user or 'the app'} may have {most} bytes together")
        if sum(attached.values()) + size > self._limits.attachment_bytes_in_all:
            raise limit_reached(f"all attachments may have {self._limits.attachment_bytes_in_all} bytes together")

    def count_attachment(self, user: str, size: int) -> None:
        """Count an attachment that was stored."""
        attached = self._attachments()
        attached[user] = attached.get(user, 0) + size

    def remove_attachment(self, name: str, owner: str) -> None:
        """Delete an attachment of a user, if it is one, so that its bytes no longer count."""
        found = self._store.row("SELECT length(body) FROM attachments WHERE uuid = ? AND owner = ?", (name, owner))
        if found is not None:
            self._store.execute("DELETE FROM attachments WHERE uuid = ?", (name,))
            self.count_attachment(owner, -found[0])

    def _attachments(self) -> dict[str, int]:
        if self._attached is None:
            found = self._store.rows("SELECT owner, sum(length(body)) FROM attachments GROUP BY owner")
            self._attached = dict(found)
        return self._attached

    @contextmanager
    def password_attempt(self, user: str) -> Iterator[None]:
        """Run the check of a user's password. A block that raises was a wrong guess, and only those are limited."""
        limited = (self._guesses.of(user), self._guesses_in_all)
        if any(rate.wait() for rate in limited):
            raise RestError(429, "reach_limit", "too many wrong passwords; wait a while")
        yield
        for rate in limited:
            rate.give_back()

    # ---------------------------------------------------------------- socket

    def check_send(self, user: str) -> None:
        """Refuse a message of a user who sends too many, and every message if the store is nearly full."""
        if self._sends.of(user).wait() or not self._store.has_room():
            raise SendRefused(StatusCode.PERMISSION_DENIED, "traffic limit")
