"""Device queues: what each device of each user still has to acknowledge.

The rules are the house's. Each device online at delivery has its own queue of unacknowledged items; with none online
the user's queue keeps them (device 0 below). A returning device gets its own items and what the user's queue keeps;
a new device gets what no device of the user has acknowledged. An item leaves a queue by an acknowledgement only.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.server.store import Store

USER = 0  # the "device" that stands for the user
REMEMBERED_DEVICES = 32  # the web SDK invents a device for each login: older ones are folded into the user's queue

_PUT = "INSERT OR IGNORE INTO pending (user, queue, device, item) VALUES (?, ?, ?, ?)"
_GIVE_A_NEW_DEVICE = (
    "INSERT OR IGNORE INTO pending (user, queue, device, item) "
    "SELECT DISTINCT user, queue, ?, item FROM pending WHERE user = ? AND acknowledged = 0"
)
_GIVE_A_RETURNING_DEVICE = (
    "INSERT OR IGNORE INTO pending (user, queue, device, item) "
    "SELECT user, queue, ?, item FROM pending WHERE user = ? AND device = 0"
)
_FOLD_A_DEVICE = (
    "INSERT OR IGNORE INTO pending (user, queue, device, item) "
    "SELECT user, queue, ?, item FROM pending WHERE user = ? AND device = ? AND acknowledged = 0"
)
# What one device acknowledges (the last four values), seen from another device or, for 0, from the user.
_MARK = (
    "UPDATE pending SET acknowledged = 1 "
    "WHERE user = ? AND queue = ? AND device = ? AND item <= ? AND acknowledged = 0 "
    "AND item IN (SELECT item FROM pending WHERE user = ? AND queue = ? AND device = ? AND item <= ?)"
)
_RELEASE = (
    "DELETE FROM pending WHERE user = ? AND queue = ? AND device = 0 AND item <= ? "
    "AND item IN (SELECT item FROM pending WHERE user = ? AND queue = ? AND device = ? AND item <= ?)"
)
_PAGE_BYTES = 256 * 1024
_SWEEP_AFTER = 20_000  # passing items between two sweeps


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a queue, in order: (id, Meta bytes)."""

    items: list[tuple[int, bytes]]


class Queues:
    """The device queues in the store. Knows nothing of sockets: who is online is told to it.

    Example:
        >>> store = Store(None)
        >>> queues = Queues(store)
        >>> with store.transaction():
        ...     phone = queues.arrive("bob", "phone")
        ...     queues.put("bob", "sys@easemob.com", 1, online=[phone])
        ...     queues.pass_on(1, b"meta")
        >>> queues.page("bob", phone, "sys@easemob.com", 10).items
        [(1, b'meta')]
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._devices: dict[str, dict[str, int]] = {}
        self._passed = _SWEEP_AFTER  # the first sweep comes early: a killed server leaves things behind
        store.on_commit(before=lambda: None, after_rollback=self._devices.clear)

    # ---------------------------------------------------------------- devices

    def arrive(self, user: str, resource: str) -> int:
        """A device comes online: fill its queue by the rules, return its number."""
        devices = self._of(user)
        device = devices.get(resource)
        now = self._store.clock()
        if device is None:
            self._store.execute("INSERT INTO devices (user, resource, seen) VALUES (?, ?, ?)", (user, resource, now))
            device = self._store.row("SELECT id FROM devices WHERE user = ? AND resource = ?", (user, resource))[0]
            devices[resource] = device
            self._store.execute(_GIVE_A_NEW_DEVICE, (device, user))
        else:
            self._store.execute("UPDATE devices SET seen = ? WHERE id = ?", (now, device))
            self._store.execute(_GIVE_A_RETURNING_DEVICE, (device, user))
        return int(device)

    def _of(self, user: str) -> dict[str, int]:
        devices = self._devices.get(user)
        if devices is None:
            found = self._store.rows("SELECT resource, id FROM devices WHERE user = ?", (user,))
            devices = self._devices[user] = dict(found)
        return devices

    def forget_devices(self, user: str, online: Collection[int]) -> None:
        """Fold the devices that have been away the longest into the user's queue, so that they do not pile up."""
        if len(self._of(user)) <= REMEMBERED_DEVICES:
            return
        found = self._store.rows("SELECT id, resource FROM devices WHERE user = ? ORDER BY seen DESC, id DESC", (user,))
        for device, resource in found[REMEMBERED_DEVICES:]:
            if device in online:
                continue
            self._store.execute(_FOLD_A_DEVICE, (USER, user, device))
            self._store.execute("DELETE FROM pending WHERE user = ? AND device = ?", (user, device))
            self._store.execute("DELETE FROM devices WHERE id = ?", (device,))
            del self._devices[user][resource]

    # ---------------------------------------------------------------- in

    def put(self, user: str, queue: str, item: int, online: Iterable[int]) -> None:
        """Deliver an item: to each device online, or to the user when there is none."""
        nobody = True
        for device in online:
            nobody = False
            self._store.insert(_PUT, (user, queue, device, item))
        if nobody:
            self._store.insert(_PUT, (user, queue, USER, item))

    def pass_on(self, item: int, meta: bytes) -> None:
        """Keep the bytes of an item that is no part of the history, for as long as a queue holds it."""
        self._store.insert("INSERT INTO passing VALUES (?, ?)", (item, meta))
        self._passed += 1

    def withdraw(self, users: Iterable[str], queue: str, item: int) -> None:
        """Take an item (a recalled message) out of the queues of these users."""
        for user in users:
            devices = (USER, *self._of(user).values())
            for device in devices:
                self._store.insert(
                    "DELETE FROM pending WHERE user = ? AND queue = ? AND device = ? AND item = ?",
                    (user, queue, device, item),
                )

    # ---------------------------------------------------------------- out

    def page(self, user: str, device: int, queue: str, limit: int) -> Page:
        """Return the first items of a device's queue; what is gone meanwhile (its thread destroyed) leaves it.

        A page ends early when it grows large: many large messages must not become one giant frame.
        """
        while True:
            found = self._store.rows(
                "SELECT pending.item, coalesce(messages.meta, passing.meta) FROM pending "
                "LEFT JOIN messages ON messages.id = pending.item LEFT JOIN passing ON passing.id = pending.item "
                "WHERE pending.user = ? AND pending.queue = ? AND pending.device = ? ORDER BY pending.item LIMIT ?",
                (user, queue, device, limit),
            )
            gone = [item for item, meta in found if meta is None]
            if not gone:
                sizes = itertools.accumulate(len(meta) for _, meta in found)
                fitting = sum(1 for size in sizes if size <= _PAGE_BYTES)
                return Page(found[: max(1, fitting)])
            for item in gone:
                self.withdraw([user], queue, item)

    def acknowledge(self, user: str, device: int, queue: str, key: int) -> int:
        """A device acknowledges everything up to a key; return how many items that were.

        Other devices keep what they hold of it, marked, so that a new device is not given it again.
        """
        key = min(key, 2**63 - 1)
        mine = (user, queue, device, key)
        for other in self._of(user).values():
            if other != device:
                self._store.execute(_MARK, (user, queue, other, key, *mine))
        self._store.execute(_RELEASE, (user, queue, key, *mine))
        return self._store.execute(
            "DELETE FROM pending WHERE user = ? AND queue = ? AND device = ? AND item <= ?", mine
        )

    def unread(self, user: str, device: int) -> list[tuple[str, int]]:
        """Return a device's queues that hold something, and how much."""
        return self._store.rows(
            "SELECT queue, count(*) FROM pending WHERE user = ? AND device = ? GROUP BY queue ORDER BY min(item)",
            (user, device),
        )

    # ---------------------------------------------------------------- housekeeping

    def sweep(self) -> int:
        """Drop the passing items nobody waits for; cheap to call often."""
        if self._passed < _SWEEP_AFTER:
            return 0
        self._passed = 0
        return self._store.execute("DELETE FROM passing WHERE id NOT IN (SELECT item FROM pending)")

    def snapshot(self) -> list[Any]:
        """Return every pending row (user, queue, device, item, acknowledged); tests look at it."""
        return self._store.rows("SELECT * FROM pending")
