"""Bringing things to devices: who is online, who is told, and in which order the store and the sockets come.

Everything the server does happens in a `unit`: one transaction of the store, and the frames it causes. Frames wait
until the transaction is committed, so an acknowledged message is always a stored one, and what came in together is
committed once (group commit), which is where the speed of many sends in flight comes from.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server import notices
from imkit.sandbox.server.addresses import SYSTEM_QUEUE, queue_jid
from imkit.sandbox.server.device_queues import Queues
from imkit.sandbox.server.groups import Rooms, Thread
from imkit.sandbox.server.message_record import Record
from imkit.sandbox.server.rest_message import last_message
from imkit.sandbox.server.store import Store, id_time
from imkit.wire import schema

SYNC, UNREAD, NOTICE, PROVISION, LOGOUT = 0, 1, 2, 3, 4  # MSync.Command

_OK = schema.Status(errorCode=0)


class Device(Protocol):
    """A logged-in socket, as far as delivery needs to know it."""

    user: str
    resource: str
    device: int
    noticed: set[str]  # queues it was told about and has not drained since: it needs no second NOTICE

    def post(self, frame: bytes) -> None:
        """Stage a frame; it goes out at `transmit`."""

    def transmit(self) -> None:
        """Send what is staged: the transaction behind it is committed."""

    def discard(self) -> None:
        """Forget what is staged: the transaction behind it failed."""

    def finish(self, code: int, reason: str) -> None:
        """Close the socket behind what is staged."""


def envelope(command: int, payload: Any) -> bytes:
    """Return one frame: an MSync around a payload."""
    frame: bytes = schema.MSync(version=0, command=command, payload=payload.SerializeToString()).SerializeToString()
    return frame


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


class Delivery:
    """Who is online and what goes to them.

    Args:
        options: the server's settings.
        store: where units are committed.
        rooms: who is a member of what.
        record: the messages.
        queues: the device queues.
        faults: strikes here as "drop-notice" and "repeat-page".
    """

    def __init__(
        self, options: Options, store: Store, rooms: Rooms, record: Record, queues: Queues, faults: Faults
    ) -> None:
        self.options = options
        self._store = store
        self._rooms = rooms
        self._record = record
        self._queues = queues
        self._faults = faults
        self._online: dict[str, dict[str, Device]] = {}  # by user and resource, in the order they came
        self._touched: dict[Device, None] = {}
        self._announced: dict[tuple[Device, str], None] = {}
        self._notice_frame = functools.lru_cache(maxsize=4096)(self._make_notice)

    # ---------------------------------------------------------------- units of work

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Do one or many things at once: commit, then transmit. No `await` inside."""
        try:
            with self._store.transaction():
                yield
                for device, queue in self._announced:
                    self._announce(device, queue)
                self._queues.sweep()
        except BaseException:
            for device in self._touched:
                device.discard()
            self._touched.clear()
            self._announced.clear()
            raise
        touched, self._touched = self._touched, {}
        self._announced.clear()
        for device in touched:
            device.transmit()

    def post(self, device: Device, frame: bytes) -> None:
        """Stage a frame for a device until this unit is committed."""
        device.post(frame)
        self._touched[device] = None

    def touch(self, device: Device) -> None:
        """Have a device transmit at the end of this unit (it closes, perhaps)."""
        self._touched[device] = None

    # ---------------------------------------------------------------- who is online

    def arrive(self, device: Device) -> None:
        """A device has logged in. An older socket of the same device is sent away, and so is the earliest of too many
        (fact sheet sections 2 and 12).
        """
        devices = self._online.setdefault(device.user, {})
        older = devices.pop(device.resource, None)
        if older is not None and older is not device:
            self.send_away(older, notices.LOGGED_IN_ELSEWHERE, "logged in elsewhere")
        while len(devices) >= self.options.devices:
            earliest = next(iter(devices.values()))
            self.send_away(earliest, notices.LOGGED_IN_ELSEWHERE, "too many devices online")
            devices.pop(earliest.resource, None)
        device.device = self._queues.arrive(device.user, device.resource)
        devices[device.resource] = device
        self._queues.forget_devices(device.user, [online.device for online in devices.values()])

    def leave(self, device: Device) -> None:
        """A socket is gone. Its queue stays."""
        devices = self._online.get(device.user, {})
        if devices.get(device.resource) is device:
            del devices[device.resource]
            if not devices:
                del self._online[device.user]

    def send_away(self, device: Device, operation: int, reason: str) -> None:
        """Tell a device why it must go (SDK errors 206, 207, 216, 217), then close its socket."""
        self.leave(device)
        item = self._store.new_id()
        meta = notices.kick(self.options.app_key, item, id_time(item), device.user, operation, reason)
        self.post(device, self._page_frame(SYSTEM_QUEUE, [(item, meta)]))
        device.finish(1000, reason)

    def send_user_away(self, user: str, operation: int, reason: str, *, resource: str | None = None) -> int:
        """Do that for each device of a user, or for one; return how many there were."""
        devices = [
            device for device in self._online.get(user, {}).values() if resource is None or device.resource == resource
        ]
        for device in devices:
            self.send_away(device, operation, reason)
        return len(devices)

    def resources(self, user: str) -> list[str]:
        """Return the devices of a user that are online."""
        return list(self._online.get(user, {}))

    # ---------------------------------------------------------------- to people

    def deliver(
        self,
        users: Iterable[str],
        queue: str,
        item: int,
        *,
        origin: tuple[str, str | None] = ("", None),
        online_only: bool = False,
    ) -> None:
        """Put an item into queues and tell the devices.

        Args:
            users: who gets it.
            queue: the name of the queue.
            item: its id; the bytes are in the record or passed on.
            origin: the user and device it comes from. That device gets no copy; the user's others do.
            online_only: who is not online does not get it at all.
        """
        for user in users:
            devices: Iterable[Device] = self._online.get(user, {}).values()
            if user == origin[0]:
                devices = [device for device in devices if device.resource != origin[1]]
                if not devices:
                    continue  # the sender knows what it did; nothing is kept for its absent devices
            if not devices and online_only:
                continue
            self._queues.put(user, queue, item, [device.device for device in devices])
            for device in devices:
                if queue not in device.noticed:
                    self._announced[(device, queue)] = None

    def pass_on(self, meta: bytes, item: int, users: Iterable[str], queue: str = SYSTEM_QUEUE, **how: Any) -> None:
        """Deliver something that is no part of the history."""
        self._queues.pass_on(item, meta)
        self.deliver(users, queue, item, **how)

    def thread_changed(self, thread: Thread, operation: str, operator: str, last: dict[str, Any] | None = None) -> None:
        """Tell every member of the parent group (section 7)."""
        item = self._store.new_id()
        meta = notices.thread_notice(
            self.options.app_key, item, id_time(item), thread, operation, operator, last_message=last
        )
        self.pass_on(meta, item, self._rooms.members(thread.group_id))

    def thread_counted(self, thread: Thread, operator: str) -> None:
        """Tell that a thread's messages changed, with what is now its last one."""
        self.thread_changed(thread, "update_msg", operator, last_message(self._record.last(thread.id)))

    def room_event(
        self,
        operation: int,
        room: str,
        operator: str,
        subjects: list[str],
        users: Iterable[str],
        *,
        thread: Thread | None = None,
        origin: tuple[str, str | None] = ("", None),
    ) -> None:
        """Tell users about a group event, or about what happened to somebody's thread."""
        item = self._store.new_id()
        meta = notices.room_event(
            self.options.app_key, item, id_time(item), operation,
            room=room, operator=operator, users=subjects, thread=thread,
        )  # fmt: skip
        self.pass_on(meta, item, users, origin=origin)

    def other_devices(self, operation: int, thread: Thread, user: str, resource: str | None) -> None:
        """Tell the operator's other devices what it did with a thread (SDK: onMultiDeviceEvent)."""
        if len(self._online.get(user, {})) > (resource in self._online.get(user, {})):
            self.room_event(operation, thread.id, user, [user], [user], thread=thread, origin=(user, resource))

    # ---------------------------------------------------------------- to sockets

    def _announce(self, device: Device, queue: str) -> None:
        if queue in device.noticed:
            return
        device.noticed.add(queue)
        if self.options.push:
            self.post_page(device, queue)
        elif not self._faults.strikes("drop-notice"):
            self.post(device, self._notice_frame(queue))

    def _make_notice(self, queue: str) -> bytes:
        return envelope(NOTICE, schema.CommNotice(queue=queue_jid(self.options.app_key, queue)))

    def post_page(self, device: Device, queue: str, key: int = 0) -> None:
        """Answer a fetch: the queue's first items, or that it is drained (section 3)."""
        items = self._queues.page(device.user, device.device, queue, self.options.page_metas).items
        if items:
            device.noticed.add(queue)
            frame = self._page_frame(queue, items)
            if self._faults.strikes("repeat-page"):
                self.post(device, frame)
        else:
            device.noticed.discard(queue)
            frame = envelope(
                SYNC,
                schema.CommSyncDL(
                    status=_OK,
                    queue=queue_jid(self.options.app_key, queue),
                    nextKey=key or None,
                    isLast=True,
                    timestamp=self._store.clock(),
                ),
            )
        self.post(device, frame)

    def _page_frame(self, queue: str, items: list[tuple[int, bytes]]) -> bytes:
        """Build a page. Never `isLast` with Metas: the SDK would ask again without a key, for ever (section 3)."""
        head = schema.CommSyncDL(
            status=_OK,
            nextKey=items[-1][0],
            queue=queue_jid(self.options.app_key, queue),
            isLast=False,
            timestamp=self._store.clock(),
        ).SerializeToString()
        # The Metas are stored as bytes; as field 4, length-delimited, they go into the page without being parsed.
        parts = [head]
        for _, meta in items:
            parts += (b"\x22", _varint(len(meta)), meta)
        payload = b"".join(parts)
        frame: bytes = schema.MSync(version=0, command=SYNC, payload=payload).SerializeToString()
        return frame

    def acknowledge(self, device: Device, queue: str, key: int) -> None:
        """Take an acknowledgement of everything up to a key."""
        self._queues.acknowledge(device.user, device.device, queue, key)

    def post_unread(self, device: Device) -> None:
        """Answer UNREAD, which is the heartbeat too: it names every queue that holds something (section 2)."""
        unread = self._queues.unread(device.user, device.device)
        device.noticed.clear()
        device.noticed.update(queue for queue, _ in unread)
        reply = schema.CommUnreadDL(status=_OK, timestamp=self._store.clock())
        for queue, count in unread:
            reply.unread.add(queue=queue_jid(self.options.app_key, queue), n=count)
        self.post(device, envelope(UNREAD, reply))
