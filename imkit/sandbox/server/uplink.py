"""What a client sends: messages, recalls, edits, read acks. Each is checked, stored, and on its way in one step.

Facts: fact sheet sections 4 (statuses and reasons, which the official SDK maps to its errors), 5 and 6.
Every check comes before the first write, so a refusal leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.options import Options
from imkit.sandbox.server.addresses import PEOPLE, ROOMS, room_queue, user_queue
from imkit.sandbox.server.delivery import Delivery, Device
from imkit.sandbox.server.device_queues import Queues
from imkit.sandbox.server.groups import Rooms, Thread
from imkit.sandbox.server.message_record import Record, Stored, direct_conversation, kind_of
from imkit.sandbox.server.notices import CHAT, NOTIFY, compact, thread_mark
from imkit.sandbox.server.rest_message import message_json
from imkit.sandbox.server.store import Store, id_time
from imkit.sandbox.server.users import People
from imkit.wire import schema

READ_ACK, DELIVER_ACK, RECALL, EDIT = 4, 5, 6, 8  # MessageBody.Type
ROUTE_ALL, ROUTE_ONLINE, ROUTE_DIRECT = 0, 1, 2  # Meta.RouteType
BODY_AND_EXT = 2  # MessageBody.EditScope

FAIL, PERMISSION_DENIED, USER_MUTED = 1, 7, 15  # Status.ErrorCode
MAX_EDITS = 10
_ONLINE = b'{"is_online":1}'
_TEXT, _COMMAND, _CUSTOM = 0, 6, 7  # Content.Type


class Refused(Exception):
    """A send is refused with a status code and a reason (section 4)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """A send is accepted: the id it has from now on, its time, and for an edit what became of it."""

    server_id: int
    time: int
    note: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    conversation: str
    members: Collection[str]
    queue: str  # of the recipients
    own_queue: str  # of the sender's other devices
    thread: Thread | None = None
    group_id: str | None = None


class Sending:
    """Handles uplink Metas of one server."""

    def __init__(
        self,
        options: Options,
        store: Store,
        people: People,
        rooms: Rooms,
        record: Record,
        queues: Queues,
        delivery: Delivery,
    ) -> None:
        self._options = options
        self._store = store
        self._people = people
        self._rooms = rooms
        self._record = record
        self._queues = queues
        self._delivery = delivery

    def accept(self, device: Device, meta: Any) -> Accepted:
        """Take a Meta from a device and do what it says.

        Raises:
            Refused: the status and reason for the client.
        """
        if len(meta.payload) > self._options.message_bytes:
            raise Refused(PERMISSION_DENIED, "Sorry, data is too large")
        body = schema.MessageBody.FromString(meta.payload)
        target = self._target(device.user, meta.to)
        if body.type == RECALL:
            return self._recall(device, meta, body, target)
        if body.type == EDIT:
            return self._edit(device, meta, body, target)
        if body.type in (READ_ACK, DELIVER_ACK):
            return self._ack(device, meta, body, target)
        return self._message(device, meta, body, target)

    # ---------------------------------------------------------------- where to

    def _target(self, sender: str, to: Any) -> _Target:
        name = to.name.lower()
        if to.domain and to.domain != ROOMS:
            if not self._people.exists(name):
                raise Refused(FAIL, "user not found")
            return _Target(direct_conversation(sender, name), (sender, name), user_queue(sender), user_queue(name))
        thread = self._rooms.thread(name)
        group_id = thread.group_id if thread else name
        group = self._rooms.group(group_id)
        if group is None:
            raise Refused(FAIL, "group not found")
        members = self._rooms.members(name)
        # A member of the group who has not joined the thread may not speak in it: not documented, so the strict way.
        if sender not in members:
            raise Refused(FAIL, "not in group or chatroom")
        if group.disabled:
            raise Refused(FAIL, "group is disabled")
        if self._rooms.muted(sender, group_id):
            raise Refused(USER_MUTED, "user is mute")
        return _Target(name, members, room_queue(name), room_queue(name), thread, group_id)

    # ---------------------------------------------------------------- the downlink form

    def _stamp(
        self, user: str, resource: str, meta: Any, body: Any, target: _Target, extra: dict[str, Any] | None = None
    ) -> int:
        """Turn an uplink Meta into the downlink one: id, time, sender, thread mark (section 5). What the sender wrote
        stays as it is.
        """
        item = self._store.new_id()
        app_key = self._options.app_key
        getattr(body, "from").name = user
        if extra is not None:
            mark = {**extra}
            if target.thread is not None:
                mark.update(_thread_mark_object(target.thread))
            body.meta = compact(mark)
        elif target.thread is not None:
            body.meta = thread_mark(target.thread)
        else:
            body.ClearField("meta")  # it is the service's to fill: a forged thread mark would mislead receivers
        sender = getattr(meta, "from")
        sender.Clear()
        sender.appKey, sender.name, sender.domain = app_key, user, PEOPLE
        sender.clientResource = resource
        meta.to.appKey = app_key
        meta.to.name = meta.to.name.lower()
        meta.id, meta.timestamp, meta.ns = item, id_time(item), CHAT
        meta.meta = _ONLINE
        meta.ClearField("directedUsers")
        meta.payload = body.SerializeToString()
        return item

    def _to_members(self, device: Device, target: _Target, item: int, users: Collection[str], route: int) -> None:
        online_only = route == ROUTE_ONLINE
        origin = (device.user, device.resource)
        if target.queue == target.own_queue:
            self._delivery.deliver(users, target.queue, item, origin=origin, online_only=online_only)
            return
        others = [user for user in users if user != device.user]
        self._delivery.deliver(others, target.queue, item, online_only=online_only)
        self._delivery.deliver([device.user], target.own_queue, item, origin=origin)

    # ---------------------------------------------------------------- each kind

    def _message(self, device: Device, meta: Any, body: Any, target: _Target) -> Accepted:
        route = meta.routetype
        users: Collection[str] = target.members
        if route == ROUTE_DIRECT:
            directed = {user.lower() for user in meta.directedUsers} | {device.user}
            users = [user for user in target.members if user in directed]
        kind = kind_of(body.contents[0]) if body.contents else "txt"
        stored = route == ROUTE_ALL and kind != "cmd"
        item = self._stamp(device.user, device.resource, meta, body, target)
        serialized = meta.SerializeToString()
        last = message_json(meta, body, device.user) if stored and target.thread else None
        # All is built; from here on nothing can fail but the store itself.
        if stored:
            self._record.add(item, target.conversation, device.user, kind, serialized)
        else:
            self._queues.pass_on(item, serialized)
        self._to_members(device, target, item, users, route)
        if last is not None and target.thread is not None:
            self._rooms.count_message(target.thread, +1)
            self._delivery.thread_changed(target.thread, "update_msg", device.user, last)
        return Accepted(item, meta.timestamp)

    def _stored(self, message: int, target: _Target) -> Stored:
        stored = self._record.find(message)
        if stored is None or stored.conversation != target.conversation:
            raise Refused(FAIL, "Sorry, message does not exist")
        return stored

    def _recall(self, device: Device, meta: Any, body: Any, target: _Target) -> Accepted:
        if self._options.recall_seconds <= 0:
            raise Refused(FAIL, "message recall disabled")
        stored = self._stored(body.ackMessageId, target)
        if stored.sender != device.user:
            raise Refused(FAIL, "only the sender may recall a message")
        if self._store.clock() - id_time(stored.id) > self._options.recall_seconds * 1000:
            raise Refused(FAIL, "exceed recall time limit")
        item = self._stamp(device.user, device.resource, meta, body, target)
        self._withdraw(stored, target)
        self._queues.pass_on(item, meta.SerializeToString())
        self._to_members(device, target, item, target.members, ROUTE_ALL)
        if target.thread is not None:
            self._delivery.thread_counted(target.thread, device.user)
        return Accepted(item, meta.timestamp)

    def _withdraw(self, stored: Stored, target: _Target) -> None:
        """Take a recalled message out of the history, and out of the queues of who has not seen it yet."""
        self._record.remove(stored.id)
        for user in target.members:
            self._queues.withdraw([user], target.queue if user != stored.sender else target.own_queue, stored.id)
        if target.thread is not None:
            self._rooms.count_message(target.thread, -1)

    def recall_for_app(self, message: int, room: str, operator: str, *, force: bool) -> str | None:
        """Recall a message of a group or thread on the app's behalf (section 10); return why not, or None.

        The time limit holds unless `force` is given.
        """
        stored = self._record.find(message)
        if stored is None or stored.conversation != room:
            return "not_found msg"
        if not force and self._store.clock() - id_time(stored.id) > self._options.recall_seconds * 1000:
            return "exceed recall time limit"
        thread = self._rooms.thread(room)
        target = _Target(room, self._rooms.members(room), room_queue(room), room_queue(room), thread)
        jid = schema.JID(name=room, domain=ROOMS)
        body = schema.MessageBody(type=RECALL, to=jid, ackMessageId=message)
        meta = schema.Meta(to=jid)
        item = self._stamp(operator, "", meta, body, target)
        self._withdraw(stored, target)
        self._delivery.pass_on(meta.SerializeToString(), item, target.members, target.queue)
        if thread is not None:
            self._delivery.thread_counted(thread, operator)
        return None

    def _edit(self, device: Device, meta: Any, body: Any, target: _Target) -> Accepted:
        stored = self._stored(body.editMessageId, target)
        owns_group = target.group_id is not None and self._rooms.manages(device.user, target.group_id)
        if stored.sender != device.user and not owns_group:
            raise Refused(FAIL, "only the sender or the group's owner may edit a message")
        if stored.edits >= MAX_EDITS:
            raise Refused(FAIL, f"a message may be edited {MAX_EDITS} times")
        original = schema.Meta.FromString(stored.meta)
        original_body = schema.MessageBody.FromString(original.payload)
        self._apply_edit(original_body, body)
        note = {
            "edit_msg": {
                "count": stored.edits + 1,
                "operator": device.user,
                "edit_time": self._store.clock(),
                "sender": stored.sender,
                "send_time": id_time(stored.id),
                "chat_type": "chat:group" if target.group_id else "chat:user",
            }
        }
        mark = {**note, **(_thread_mark_object(target.thread) if target.thread else {})}
        original_body.meta = compact(mark)
        original.payload = original_body.SerializeToString()
        item = self._stamp(device.user, device.resource, meta, body, target, note)
        serialized = meta.SerializeToString()
        edited = original.SerializeToString()
        self._record.replace(stored.id, stored.edits + 1, edited)
        self._queues.pass_on(item, serialized)
        self._to_members(device, target, item, target.members, ROUTE_ALL)
        return Accepted(item, meta.timestamp, note)

    def _apply_edit(self, original: Any, edit: Any) -> None:
        """Texts and custom messages may change body and ext, others the ext only, commands nothing."""
        if not original.contents:
            raise Refused(FAIL, "this message cannot be edited")
        kind = original.contents[0].type
        editable = kind in (_TEXT, _CUSTOM) and kind_of(original.contents[0]) != "combine"
        if edit.contents and edit.contents[0].ByteSize():
            if editable and edit.contents[0].type == kind:
                original.contents[0].CopyFrom(edit.contents[0])
            elif editable or edit.editScope != BODY_AND_EXT:
                raise Refused(FAIL, "the body of this kind of message cannot be edited")
        if edit.editScope == BODY_AND_EXT:
            original.ClearField("ext")
            original.ext.extend(edit.ext)

    def _ack(self, device: Device, meta: Any, body: Any, target: _Target) -> Accepted:
        if target.group_id is None:  # one-to-one: to the other side, as it is
            item = self._stamp(device.user, device.resource, meta, body, target)
            self._queues.pass_on(item, meta.SerializeToString())
            others = [user for user in target.members if user != device.user]
            self._delivery.deliver(others, target.queue, item)
            return Accepted(item, meta.timestamp)
        stored = self._stored(body.ackMessageId, target)
        count = self._record.read_by(stored.id, device.user, self._store.clock(), body.ackContent)
        body.ClearField("ext")
        # The SDK reads the first ext's text, whatever its key: {message id: how many have read it} (section 4).
        body.ext.add(key="group_ack", type=8, stringValue=compact({str(stored.id): count}))
        item = self._stamp(device.user, device.resource, meta, body, target)
        self._queues.pass_on(item, meta.SerializeToString())
        self._delivery.deliver([stored.sender], target.queue, item, origin=(device.user, device.resource))
        return Accepted(item, meta.timestamp)

    def edit_note(self, note: dict[str, Any], time: int, item: int) -> Any:
        """Return the Meta that an edit's answer may carry (section 4)."""
        return schema.Meta(id=item, timestamp=time, ns=NOTIFY, payload=compact(note).encode())


def _thread_mark_object(thread: Thread) -> dict[str, Any]:
    return {"thread": {"msg_parent_id": thread.parent_id, "muc_parent_id": thread.group_id, "thread_name": thread.name}}
