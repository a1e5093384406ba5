"""Delivery: which devices get a message or a notice, and the frames that bring it to them.

All work happens in a `unit`: one transaction of the store, and the frames that it causes. The frames go out after the
commit, so every acknowledged message is stored. Requests that arrive together share one unit and one commit, which
makes many concurrent sends fast.

Source: docs/protocol.md#queues-and-synchronisation, docs/protocol.md#notices.
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
from imkit.sandbox.server.device_queues import DeviceQueues
from imkit.sandbox.server.groups import Group, Groups, Thread
from imkit.sandbox.server.message_record import MessageRecord, StoredMessage, users_of_direct
from imkit.sandbox.server.rest_message import last_message
from imkit.sandbox.server.store import Store, id_time
from imkit.wire import schema
from imkit.wire.enums import FrameCommand, MSyncVersion, MucOperation, StatisticsOperation, StatusCode
from imkit.wire.envelope import USER_DOMAIN, group_jid

_OK = schema.Status(errorCode=StatusCode.OK)


class Device(Protocol):
    """A logged-in socket, as delivery sees it; `msync.Connection` is one.

    Attributes:
        user: its user.
        resource: its resource, which names the device.
        device_number: its number in `DeviceQueues`.
        noticed: the queues that it was told about and has not emptied since; they need no second NOTICE.
    """

    user: str
    resource: str
    device_number: int
    noticed: set[str]

    def stage(self, frame: bytes) -> None:
        """Hold a frame until the transaction is committed."""

    def transmit(self) -> None:
        """Send the staged frames: the transaction is committed."""

    def discard(self) -> None:
        """Drop the staged frames: the transaction failed."""

    def finish(self, code: int, reason: str) -> None:
        """Close the socket after the staged frames."""


def envelope(command: FrameCommand, payload: Any) -> bytes:
    """Return a frame: an MSync with this payload."""
    return _frame(command, payload.SerializeToString())


def _frame(command: FrameCommand, payload: bytes) -> bytes:
    frame: bytes = schema.MSync(version=MSyncVersion.MSYNC_V1, command=command, payload=payload).SerializeToString()
    return frame


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


class Delivery:
    """Knows the devices that are online, and delivers to them.

    Args:
        options: the server's settings.
        store: commits the units.
        groups: knows the members.
        record: the messages.
        queues: the device queues.
        faults: "drop-notice" and "repeat-page" happen here.
    """

    def __init__(
        self,
        options: Options,
        store: Store,
        groups: Groups,
        record: MessageRecord,
        queues: DeviceQueues,
        faults: Faults,
    ) -> None:
        self.options = options
        self._store = store
        self._groups = groups
        self._record = record
        self._queues = queues
        self._faults = faults
        self._online: dict[str, dict[str, Device]] = {}  # by user and resource, in the order of login
        self._touched: dict[Device, None] = {}  # devices that transmit at the end of the unit
        self._to_announce: dict[tuple[Device, str], None] = {}  # queues that got an item in the unit
        self._notice_frame = functools.lru_cache(maxsize=4096)(self._make_notice)

    # ---------------------------------------------------------------- units of work

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Run a block as one unit of work: commit, then transmit. The block must not `await`."""
        try:
            with self._store.transaction():
                yield
                for device, queue in self._to_announce:
                    self._announce(device, queue)
                self._queues.sweep()
        except BaseException:
            for device in self._touched:
                device.discard()
            self._touched.clear()
            self._to_announce.clear()
            raise
        touched, self._touched = self._touched, {}
        self._to_announce.clear()
        for device in touched:
            device.transmit()

    def post(self, device: Device, frame: bytes) -> None:
        """Send a frame to a device after this unit is committed."""
        device.stage(frame)
        self._touched[device] = None

    def touch(self, device: Device) -> None:
        """Let a device transmit at the end of this unit, although it got no frame; it may have to close."""
        self._touched[device] = None

    # ---------------------------------------------------------------- devices online

    def log_in(self, device: Device) -> None:
        """Add a device that has logged in.

        An older socket of the same device is kicked. If the user has too many devices, the earliest is kicked.

        Source: docs/protocol.md#kicked-off, docs/protocol.md#limits.
        """
        devices = self._online.setdefault(device.user, {})
        elsewhere = StatisticsOperation.USER_LOGIN_ANOTHER_DEVICE
        older = devices.pop(device.resource, None)
        if older is not None and older is not device:
            self.kick(older, elsewhere, "logged in elsewhere")
        while len(devices) >= self.options.devices:
            earliest = next(iter(devices.values()))
            self.kick(earliest, elsewhere, "too many devices online")
            devices.pop(earliest.resource, None)
        device.device_number = self._queues.log_in(device.user, device.resource)
        devices[device.resource] = device
        self._queues.forget_old_devices(device.user, [online.device_number for online in devices.values()])

    def log_out(self, device: Device) -> None:
        """Remove a device whose socket is closed. Its queues stay."""
        devices = self._online.get(device.user, {})
        if devices.get(device.resource) is device:
            del devices[device.resource]
            if not devices:
                del self._online[device.user]

    def kick(self, device: Device, operation: StatisticsOperation, reason: str) -> None:
        """End the login of a device: tell it why (SDK errors 206, 207, 216, 217), then close its socket."""
        self.log_out(device)
        item = self._store.new_id()
        meta = notices.kick_notice(self.options.app_key, item, id_time(item), device.user, operation, reason)
        self.post(device, self._page_frame(SYSTEM_QUEUE, [(item, meta)]))
        device.finish(1000, reason)

    def kick_user(self, user: str, operation: StatisticsOperation, reason: str, *, resource: str | None = None) -> int:
        """Kick each device of a user, or the one with this resource; return how many devices were kicked."""
        devices = [
            device for device in self._online.get(user, {}).values() if resource is None or device.resource == resource
        ]
        for device in devices:
            self.kick(device, operation, reason)
        return len(devices)

    def resources(self, user: str) -> list[str]:
        """Return the resources of a user's devices that are online."""
        return list(self._online.get(user, {}))

    # ---------------------------------------------------------------- items to users

    def is_online(self, user: str) -> bool:
        """Return whether a user has a device online."""
        return bool(self._online.get(user))

    def deliver(
        self,
        users: Iterable[str],
        queue: str,
        item: int,
        *,
        origin: tuple[str, str | None] = ("", None),
        online_only: bool = False,
    ) -> None:
        """Put an item into the queues of users, and announce the queues to their devices.

        Args:
            users: the receivers.
            queue: the name of the queue.
            item: the id of the item; its Meta is in the record, or kept by `DeviceQueues.keep_unstored`.
            origin: the user and resource that caused the item. That device gets no copy; the user's other devices
                do, if they are online.
            online_only: a receiver without a device online does not get the item.
        """
        for user in users:
            devices: Iterable[Device] = self._online.get(user, {}).values()
            if user == origin[0]:
                devices = [device for device in devices if device.resource != origin[1]]
                if not devices:
                    continue
            if not devices and online_only:
                continue
            self._queues.put(user, queue, item, [device.device_number for device in devices])
            for device in devices:
                if queue not in device.noticed:
                    self._to_announce[(device, queue)] = None

    def deliver_unstored(
        self,
        meta: bytes,
        item: int,
        users: Iterable[str],
        queue: str = SYSTEM_QUEUE,
        *,
        origin: tuple[str, str | None] = ("", None),
        repeats: int | None = None,
    ) -> None:
        """Deliver a Meta that is not part of the history; `repeats` is as for `DeviceQueues.keep_unstored`."""
        self._queues.keep_unstored(item, meta, repeats)
        self.deliver(users, queue, item, origin=origin)

    def tell_thread_changed(
        self, thread: Thread, operation: str, operator: str, last: dict[str, Any] | None = None
    ) -> None:
        """Tell every member of the parent group about a thread; the arguments are those of `thread_notice`."""
        item = self._store.new_id()
        meta = notices.thread_notice(self.options.app_key, item, id_time(item), thread, operation, operator, last)
        members = self._groups.members(thread.group_id)
        self.deliver_unstored(meta, item, members, repeats=int(last["id"]) if last else None)

    def tell_message_count(self, thread: Thread, operator: str) -> None:
        """Tell every member of the parent group a thread's number of messages and its last message."""
        self.tell_thread_changed(thread, "update_msg", operator, last_message(self._record.last(thread.id)))

    def tell_reaction(
        self,
        message: StoredMessage,
        operator: str,
        reactions: list[dict[str, Any]],
        *,
        origin: tuple[str, str | None] = ("", None),
    ) -> None:
        """Tell everybody in the conversation of a message that a user has added or removed a reaction.

        Args:
            message: the message.
            operator: the user.
            reactions: as for `notices.reaction_notice`.
            origin: as for `deliver`.
        """
        item = self._store.new_id()
        users = users_of_direct(message.conversation)
        if users:
            other = users[0] if operator == users[1] else users[1]
            receiver = schema.JID(appKey=self.options.app_key, name=other, domain=USER_DOMAIN)
        else:
            receiver = group_jid(self.options.app_key, message.conversation)
        meta = notices.reaction_notice(
            *(self.options.app_key, item, id_time(item)),
            message=message.id,
            operator=operator,
            receiver=receiver,
            reactions=reactions,
        )
        self.deliver_unstored(meta, item, users or self._groups.members(message.conversation), origin=origin)

    def tell_conversation_event(
        self,
        operation: MucOperation,
        conversation: Group | Thread,
        operator: str,
        subjects: list[str],
        users: Iterable[str],
        *,
        origin: tuple[str, str | None] = ("", None),
    ) -> None:
        """Tell users what happened to a group or a thread.

        Args:
            operation: what happened.
            conversation: the group or thread.
            operator: the user who did it.
            subjects: the users that it concerns. The SDKs show only the first.
            users: the receivers.
            origin: as for `deliver`.
        """
        item = self._store.new_id()
        meta = notices.conversation_event(
            *(self.options.app_key, item, id_time(item), operation),
            conversation=conversation,
            operator=operator,
            resource=origin[1],
            users=subjects,
        )
        self.deliver_unstored(meta, item, users, origin=origin)

    def tell_other_devices(
        self,
        operation: MucOperation,
        conversation: Group | Thread,
        user: str,
        resource: str | None,
        *,
        subject: str | None = None,
    ) -> None:
        """Tell the user's other devices what this one did with a group or a thread.

        Args:
            operation: what the device did.
            conversation: the group or thread.
            user: the user.
            resource: the device.
            subject: the user that it concerns, if it is another one.

        Source: docs/protocol.md#notices-to-other-devices.
        """
        online = self._online.get(user, {})
        if any(other != resource for other in online):
            origin, subjects = (user, resource), [subject or user]
            self.tell_conversation_event(operation, conversation, user, subjects, [user], origin=origin)

    def tell_members(
        self, conversation: str, operator: str, kind: str, data: dict[str, Any], *, origin: tuple[str, str | None]
    ) -> None:
        """Tell every member of a group or thread of something that they all see.

        The arguments are those of `members_notice`; `origin` is as for `deliver`.
        """
        item = self._store.new_id()
        meta = notices.members_notice(self.options.app_key, item, id_time(item), conversation, operator, kind, data)
        self.deliver_unstored(meta, item, self._groups.members(conversation), origin=origin)

    def tell_own_devices(self, user: str, resource: str | None, kind: str, data: dict[str, Any]) -> None:
        """Tell a user's devices, but not the one that did it, of something that concerns this user alone.

        The arguments are those of `own_notice`; `resource` names the device that did it, None if that is not known.
        """
        if any(other != resource for other in self._online.get(user, {})):
            item = self._store.new_id()
            meta = notices.own_notice(self.options.app_key, item, id_time(item), user, kind, data)
            self.deliver_unstored(meta, item, [user], origin=(user, resource))

    # ---------------------------------------------------------------- frames to devices

    def _announce(self, device: Device, queue: str) -> None:
        if queue in device.noticed:
            return
        device.noticed.add(queue)
        if self.options.push:
            self.post_page(device, queue)
        elif not self._faults.strikes("drop-notice"):
            self.post(device, self._notice_frame(queue))

    def _make_notice(self, queue: str) -> bytes:
        return envelope(FrameCommand.NOTICE, schema.CommNotice(queue=queue_jid(self.options.app_key, queue)))

    def post_page(self, device: Device, queue: str, key: int = 0) -> None:
        """Answer a fetch with the first items of a queue, or with `isLast` if it is empty.

        Args:
            device: the device that fetches.
            queue: the name of the queue.
            key: the key that the device has just acknowledged; 0 for none.
        """
        items = self._queues.page(device.user, device.device_number, queue, self.options.page_metas)
        if items:
            device.noticed.add(queue)
            frame = self._page_frame(queue, items)
            if self._faults.strikes("repeat-page"):
                self.post(device, frame)
        else:
            device.noticed.discard(queue)
            frame = envelope(
                FrameCommand.SYNC,
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
        """Return the frame of a page. `isLast` must be false with Metas: the SDK would fetch without a key for ever."""
        head = schema.CommSyncDL(
            status=_OK,
            nextKey=items[-1][0],
            queue=queue_jid(self.options.app_key, queue),
            isLast=False,
            timestamp=self._store.clock(),
        ).SerializeToString()
        # The stored Metas are appended as they are, as field 4 of type bytes (tag 0x22); none is parsed.
        parts = [head]
        for _, meta in items:
            parts += (b"\x22", _varint(len(meta)), meta)
        return _frame(FrameCommand.SYNC, b"".join(parts))

    def acknowledge(self, device: Device, queue: str, key: int) -> None:
        """Remove the items up to a key from a device's queue."""
        self._queues.acknowledge(device.user, device.device_number, queue, key)

    def post_unread(self, device: Device) -> None:
        """Answer UNREAD with every queue that holds items. UNREAD is also the heartbeat.

        Source: docs/protocol.md#heartbeat.
        """
        unread = self._queues.unread(device.user, device.device_number)
        device.noticed.clear()
        device.noticed.update(queue for queue, _ in unread)
        reply = schema.CommUnreadDL(status=_OK, timestamp=self._store.clock())
        for queue, count in unread:
            reply.unread.add(queue=queue_jid(self.options.app_key, queue), n=count)
        self.post(device, envelope(FrameCommand.UNREAD, reply))
