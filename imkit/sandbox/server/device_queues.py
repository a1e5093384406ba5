"""Device queues: the items that each device of each user has not acknowledged yet.

The rules:
- Each device that is online at delivery gets the item in its own queue. If none is online, the user's queue gets it
  (device 0 below).
- A device that returns gets its own items and those of the user's queue.
- A new device gets the items that no device of the user has acknowledged.
- An item leaves a queue when the device acknowledges it.

The service's own rules are not documented; these are the sandbox's.

Source: docs/protocol.md#queues-and-synchronisation.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

from imkit.sandbox.server.addresses import SYSTEM_QUEUE
from imkit.sandbox.server.store import Store

USER = 0  # the number of the "device" that stands for the user
REMEMBERED_DEVICES = 32  # for each user; the web SDK makes up a device for each login, so old ones must go

_PUT = "INSERT OR IGNORE INTO pending (user, queue, device, item) VALUES (?, ?, ?, ?)"
_GIVE_A_NEW_DEVICE = (
    "INSERT OR IGNORE INTO pending (user, queue, device, item) "
    "SELECT DISTINCT user, queue, ?, item FROM pending WHERE user = ? AND acknowledged = 0"
)
_GIVE_A_RETURNING_DEVICE = (
    "INSERT OR IGNORE INTO pending (user, queue, device, item) "
    "SELECT user, queue, ?, item FROM pending WHERE user = ? AND device = 0"
)
_MOVE_TO_USER = (
    "INSERT OR IGNORE INTO pending (user, queue, device, item) "
    "SELECT user, queue, ?, item FROM pending WHERE user = ? AND device = ? AND acknowledged = 0"
)
# One device (the last four values) acknowledges items: mark them in another device's queue, or delete them from the
# user's queue.
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
_SWEEP_AFTER = 20_000  # unstored items between two sweeps


class DeviceQueues:
    """Stores the device queues. It does not know the sockets; callers pass the devices that are online.

    A device is a number here; a user and a resource name it.

    Example:
        >>> store = Store(None)
        >>> queues = DeviceQueues(store)
        >>> with store.transaction():
        ...     phone = queues.log_in("bob", "phone")
        ...     queues.put("bob", "sys@easemob.com", 1, online=[phone])
        ...     queues.keep_unstored(1, b"meta")
        >>> queues.page("bob", phone, "sys@easemob.com", 10)
        [(1, b'meta')]
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._devices: dict[str, dict[str, int]] = {}
        self._since_sweep = _SWEEP_AFTER  # the first sweep comes early: a killed server may have left items
        store.on_commit(before=lambda: None, after_rollback=self._devices.clear)

    # ---------------------------------------------------------------- devices

    def log_in(self, user: str, resource: str) -> int:
        """Fill the queue of a device that comes online, by the rules above; return the device's number."""
        devices = self._numbers(user)
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

    def _numbers(self, user: str) -> dict[str, int]:
        devices = self._devices.get(user)
        if devices is None:
            found = self._store.rows("SELECT resource, id FROM devices WHERE user = ?", (user,))
            devices = self._devices[user] = dict(found)
        return devices

    def forget_old_devices(self, user: str, online: Collection[int]) -> None:
        """Delete the devices of a user that logged in the longest ago; their items go into the user's queue."""
        if len(self._numbers(user)) <= REMEMBERED_DEVICES:
            return
        found = self._store.rows("SELECT id, resource FROM devices WHERE user = ? ORDER BY seen DESC, id DESC", (user,))
        for device, resource in found[REMEMBERED_DEVICES:]:
            if device in online:
                continue
            self._store.execute(_MOVE_TO_USER, (USER, user, device))
            self._store.execute("DELETE FROM pending WHERE user = ? AND device = ?", (user, device))
            self._store.execute("DELETE FROM devices WHERE id = ?", (device,))
            del self._devices[user][resource]

    # ---------------------------------------------------------------- in

    def put(self, user: str, queue: str, item: int, online: Iterable[int]) -> None:
        """Put an item into the queue of each device online, or into the user's queue if there is none."""
        for device in tuple(online) or (USER,):
            self._store.insert(_PUT, (user, queue, device, item))

    def keep_unstored(self, item: int, meta: bytes, repeats: int | None = None) -> None:
        """Keep the Meta of an item that is not part of the history, for as long as a queue holds the item.

        Args:
            item: the id of the item.
            meta: its Meta.
            repeats: the message whose content it repeats; the item goes with that message.
        """
        self._store.insert("INSERT INTO passing VALUES (?, ?)", (item, meta))
        if repeats is not None:
            self._store.insert("INSERT INTO copies VALUES (?, ?)", (repeats, item))
        self._since_sweep += 1

    def withdraw(self, users: Iterable[str], queue: str, item: int) -> None:
        """Remove an item, such as a recalled message, from the queues of these users."""
        for user in users:
            devices = (USER, *self._numbers(user).values())
            for device in devices:
                self._store.insert(
                    "DELETE FROM pending WHERE user = ? AND queue = ? AND device = ? AND item = ?",
                    (user, queue, device, item),
                )

    def withdraw_messages(self, user: str, upto: int, queue: str | None = None) -> None:
        """Remove all messages up to an id from a user's queues, or from one of them, and what repeats them.

        Other notices, and recalls, stay.
        """
        self._store.execute(
            "DELETE FROM pending WHERE user = :user AND (:queue IS NULL OR queue = :queue) "
            "AND (item <= :upto AND EXISTS (SELECT 1 FROM messages WHERE id = pending.item) "
            "OR EXISTS (SELECT 1 FROM copies WHERE copies.item = pending.item AND message <= :upto))",
            {"user": user, "upto": upto, "queue": queue},
        )

    def copies(self, message: int) -> list[int]:
        """Return the items that repeat what a message says."""
        return [item for (item,) in self._store.rows("SELECT item FROM copies WHERE message = ?", (message,))]

    # ---------------------------------------------------------------- out

    def page(self, user: str, device: int, queue: str, limit: int) -> list[tuple[int, bytes]]:
        """Return the first items of a device's queue, in order: (id, Meta bytes).

        An item whose message was deleted with its thread leaves the queue here. A page holds up to 256 KB, because
        it becomes one frame.
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
                items: list[tuple[int, bytes]] = found[: max(1, fitting)]
                return items
            for item in gone:
                self.withdraw([user], queue, item)

    def acknowledge(self, user: str, device: int, queue: str, key: int) -> int:
        """Remove all items up to a key from a device's queue; return how many they were.

        The user's other devices keep their copies. These are marked as acknowledged, so that a new device does not
        get them.
        """
        key = min(key, 2**63 - 1)
        acknowledged = (user, queue, device, key)
        for other in self._numbers(user).values():
            if other != device:
                self._store.execute(_MARK, (user, queue, other, key, *acknowledged))
        self._store.execute(_RELEASE, (user, queue, key, *acknowledged))
        return self._store.execute(
            "DELETE FROM pending WHERE user = ? AND queue = ? AND device = ? AND item <= ?", acknowledged
        )

    def unread(self, user: str, device: int) -> list[tuple[str, int]]:
        """Return the queues of a device that hold items, and the number of items in each; the notices come last.

        A client empties the queues one after another. A notice speaks of a message of another queue: "a thread was
        created on it". The official UI kit loses a notice whose message it has not got yet.
        """
        return self._store.rows(
            "SELECT queue, count(*) FROM pending WHERE user = ? AND device = ? "
            "GROUP BY queue ORDER BY queue = ?, min(item)",
            (user, device, SYSTEM_QUEUE),
        )

    # ---------------------------------------------------------------- housekeeping

    def sweep(self) -> int:
        """Delete the unstored items that no queue holds; return how many. Calling it often costs little."""
        if self._since_sweep < _SWEEP_AFTER:
            return 0
        self._since_sweep = 0
        return self._store.execute("DELETE FROM passing WHERE id NOT IN (SELECT item FROM pending)")
