"""Handles what a client sends: messages, recalls, edits, read acks and channel acks.

Each Meta is checked, stored and delivered in one step. All checks come before the first write, so a refused Meta
changes nothing. `permissions` has the checks of rights; `delivery` gets the Meta to its receivers.

Source: docs/protocol.md#sending, docs/protocol.md#recall, docs/protocol.md#editing, docs/protocol.md#read-receipts,
docs/protocol.md#unread-counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from imkit.sandbox.options import Options
from imkit.sandbox.server import permissions
from imkit.sandbox.server.addresses import conversation_queue, user_queue
from imkit.sandbox.server.conversations import Conversations
from imkit.sandbox.server.delivery import Delivery, Device
from imkit.sandbox.server.device_queues import DeviceQueues
from imkit.sandbox.server.groups import Groups, Thread
from imkit.sandbox.server.message_record import MessageRecord, StoredMessage, direct_conversation, is_bundle, kind_of
from imkit.sandbox.server.notices import ONLINE_MARK, compact, edit_mark_object, thread_mark, thread_mark_object
from imkit.sandbox.server.permissions import SendRefused
from imkit.sandbox.server.quotas import Quotas
from imkit.sandbox.server.rest_message import last_message, message_json
from imkit.sandbox.server.store import Store, id_time
from imkit.sandbox.server.users import Users
from imkit.wire import schema
from imkit.wire.enums import BodyType, ContentType, EditScope, NameSpace, RouteType, StatusCode, SubType, ValueType
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN

_ACKS = (BodyType.READ_ACK, BodyType.DELIVER_ACK, BodyType.CHANNEL_ACK)  # a muted user may send them too
_ACKS_AT_ONCE = 50  # messages in one read ack
_META_BYTES = 8 * 1024  # the most bytes of a Meta besides its payload: addresses, and users of a directed message


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an accepted Meta.

    Attributes:
        server_id: the id that the server gave it.
        time: its time, in ms.
        edit_mark: for an edit, the mark that the edited message now has.
    """

    server_id: int
    time: int
    edit_mark: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The conversation that a Meta goes to.

    Attributes:
        conversation: its name in the record.
        members: its users.
        queue: the queue of its other members.
        own_queue: the queue of the sender's other devices; it differs from `queue` in a one-to-one conversation.
        thread: the thread, if it is one.
        group_id: the group, or the thread's group; None for a one-to-one conversation.
    """

    conversation: str
    members: Collection[str]
    queue: str
    own_queue: str
    thread: Thread | None = None
    group_id: str | None = None


class Uplink:
    """Handles the Metas of all clients.

    Args:
        options: the server's settings.
        store: gives ids and the time.
        users: the users.
        groups: the groups and threads.
        record: the messages.
        queues: the device queues.
        delivery: delivers to devices.
        quotas: refuses what is too much.
        conversations: each user's view of its conversations.
    """

    def __init__(
        self,
        options: Options,
        store: Store,
        users: Users,
        groups: Groups,
        record: MessageRecord,
        queues: DeviceQueues,
        delivery: Delivery,
        quotas: Quotas,
        conversations: Conversations,
    ) -> None:
        self._options = options
        self._store = store
        self._users = users
        self._groups = groups
        self._record = record
        self._queues = queues
        self._delivery = delivery
        self._quotas = quotas
        self._conversations = conversations

    def accept(self, device: Device, meta: Any) -> Accepted:
        """Carry out a Meta of a device.

        Raises:
            SendRefused: the status and the reason for the client.
        """
        most = self._options.message_bytes
        if len(meta.payload) > most or meta.ByteSize() > most + _META_BYTES:
            raise SendRefused(StatusCode.PERMISSION_DENIED, "Sorry, data is too large")
        self._quotas.check_send(device.user)
        body = schema.MessageBody.FromString(meta.payload)
        _clear_stream(body)
        target = self._target(device.user, meta.to, body.type)
        if body.type == BodyType.RECALL:
            return self._recall(device, meta, body, target)
        if body.type == BodyType.EDIT:
            return self._edit(device, meta, body, target)
        if body.type in (BodyType.READ_ACK, BodyType.DELIVER_ACK):
            return self._ack(device, meta, body, target)
        if body.type == BodyType.CHANNEL_ACK:
            return self._channel_ack(device, meta, body, target)
        return self._message(device, meta, body, target)

    # ---------------------------------------------------------------- steps that all kinds share

    def _target(self, sender: str, to: Any, body_type: int) -> Target:
        """Return the conversation that a JID names, if the sender may send bodies of this type to it."""
        name = to.name.lower()
        if to.domain and to.domain != GROUP_DOMAIN:
            if not self._users.exists(name):
                raise SendRefused(StatusCode.FAIL, f"username {name[:64]} doesn't exist!")
            return _direct_target(sender, name)
        group = self._groups.group_of_conversation(name)
        if group is None:
            raise SendRefused(StatusCode.FAIL, "group not found")
        if body_type in _ACKS:
            permissions.check_is_in(self._groups, sender, name)
        # The group's owner and admins may recall in its threads without joining them.
        elif body_type != BodyType.RECALL or not self._groups.manages(sender, group.id):
            permissions.check_may_send(self._groups, sender, group, name)
        return self._group_target(name)

    def _group_target(self, conversation: str) -> Target:
        thread, queue = self._groups.thread(conversation), conversation_queue(conversation)
        group_id = thread.group_id if thread else conversation
        return Target(conversation, self._groups.members(conversation), queue, queue, thread, group_id)

    def target_for_app(self, sender: str, name: str, *, is_user: bool) -> Target | None:
        """Return where the app sends a message of a user; `None` if there is no such group or thread."""
        name = name.lower()
        if is_user:
            return _direct_target(sender, name)
        return self._group_target(name) if self._groups.group_of_conversation(name) is not None else None

    def make_downlink(
        self, user: str, resource: str, meta: Any, body: Any, target: Target, edit_mark: dict[str, Any] | None = None
    ) -> int:
        """Turn an uplink Meta, in place, into the one that receivers get; return its new id.

        The server sets id, time, sender and marks. The rest stays as the sender wrote it.

        Source: docs/protocol.md#thread-marks.
        """
        item = self._store.new_id()
        app_key = self._options.app_key
        getattr(body, "from").name = user
        if edit_mark is not None:
            body.meta = compact({**edit_mark, **_thread_mark_of(target)})
        elif target.thread is not None:
            body.meta = thread_mark(target.thread)
        else:
            body.ClearField("meta")  # only the server may set it: a forged thread mark would mislead receivers
        sender = getattr(meta, "from")
        sender.Clear()
        sender.appKey, sender.name, sender.domain = app_key, user, USER_DOMAIN
        sender.clientResource = resource
        meta.to.appKey = app_key
        meta.to.name = meta.to.name.lower()
        meta.id, meta.timestamp, meta.ns = item, id_time(item), NameSpace.CHAT
        meta.meta = ONLINE_MARK
        meta.ClearField("directedUsers")
        meta.payload = body.SerializeToString()
        return item

    def _deliver(self, device: Device, target: Target, item: int, users: Collection[str], route: RouteType) -> None:
        """Deliver an item of a device to users of its target, and to the sender's other devices."""
        online_only = route == RouteType.ROUTE_ONLINE
        origin = (device.user, device.resource)
        if target.queue == target.own_queue:
            self._delivery.deliver(users, target.queue, item, origin=origin, online_only=online_only)
            return
        others = [user for user in users if user != device.user]
        self._delivery.deliver(others, target.queue, item, online_only=online_only)
        self._delivery.deliver([device.user], target.own_queue, item, origin=origin)

    def _find(self, message: int, target: Target) -> StoredMessage:
        """Return a message of the target."""
        stored = self._record.find(message)
        if stored is None or stored.conversation != target.conversation:
            raise SendRefused(StatusCode.FAIL, "Sorry, message does not exist")
        return stored

    # ---------------------------------------------------------------- messages

    def _message(self, device: Device, meta: Any, body: Any, target: Target) -> Accepted:
        route = meta.routetype
        users: Collection[str] = target.members
        if route == RouteType.ROUTE_DIRECT:
            directed = {user.lower() for user in meta.directedUsers} | {device.user}
            users = [user for user in target.members if user in directed]
        kind = kind_of(body.contents[0]) if body.contents else "txt"
        is_stored = route == RouteType.ROUTE_ALL and kind != "cmd"
        item = self.make_downlink(device.user, device.resource, meta, body, target)
        serialized = meta.SerializeToString()
        last = message_json(meta, body, device.user) if is_stored and target.thread else None
        # Everything is built. From here on only the store can fail.
        if is_stored:
            self._record.add(item, target.conversation, device.user, kind, serialized)
            if target.group_id is None:
                self._conversations.note_direct(*target.members)
        else:
            self._queues.keep_unstored(item, serialized)
        self._deliver(device, target, item, users, route)
        if last is not None and target.thread is not None:
            self._groups.count_message(target.thread, +1)
            self._delivery.tell_thread_changed(target.thread, "update_msg", device.user, last)
        return Accepted(item, meta.timestamp)

    # ---------------------------------------------------------------- recalls

    def _recall(self, device: Device, meta: Any, body: Any, target: Target) -> Accepted:
        permissions.check_recall_enabled(self._options)
        stored = self._find(body.ackMessageId, target)
        permissions.check_may_recall(
            self._options, self._groups, device.user, stored, target.group_id, self._store.clock()
        )
        item = self.make_downlink(device.user, device.resource, meta, body, target)
        self._withdraw(stored, target)
        self._queues.keep_unstored(item, meta.SerializeToString())
        self._deliver(device, target, item, target.members, RouteType.ROUTE_ALL)
        if target.thread is not None:
            self._delivery.tell_message_count(target.thread, device.user)
        return Accepted(item, meta.timestamp)

    def recall_for_app(self, message: int, conversation: str, operator: str, *, force: bool) -> None:
        """Recall a message of a group or thread for the app.

        Args:
            message: the id of the message.
            conversation: the group or thread.
            operator: the user that the notice names as the one who recalled.
            force: recall also after the time limit.

        Raises:
            SendRefused: the reason.

        Source: docs/protocol.md#calls-of-an-app-server.
        """
        stored = self._record.find(message)
        if stored is None or stored.conversation != conversation:
            raise SendRefused(StatusCode.FAIL, "not_found msg")
        if not force:
            permissions.check_recall_time(self._options, stored, self._store.clock())
        target = self._group_target(conversation)
        jid = schema.JID(name=conversation, domain=GROUP_DOMAIN)
        body = schema.MessageBody(type=BodyType.RECALL, to=jid, ackMessageId=message)
        meta = schema.Meta(to=jid)
        item = self.make_downlink(operator, "", meta, body, target)
        self._withdraw(stored, target)
        self._delivery.deliver_unstored(meta.SerializeToString(), item, target.members, target.queue)
        if target.thread is not None:
            self._delivery.tell_message_count(target.thread, operator)

    def _withdraw(self, stored: StoredMessage, target: Target) -> None:
        """Remove a recalled message from the history and from the queues of those who have not received it.

        Its files go too, unless another message holds them, or another user has uploaded them: nobody may delete the
        file of another user by sending its address and recalling that message.
        """
        for attachment in self._record.remove(stored.id):
            self._quotas.remove_attachment(attachment, stored.sender)
        for user in target.members:
            self._queues.withdraw([user], target.queue if user != stored.sender else target.own_queue, stored.id)
        if target.thread is not None:
            self._groups.count_message(target.thread, -1)

    # ---------------------------------------------------------------- edits

    def _edit(self, device: Device, meta: Any, body: Any, target: Target) -> Accepted:
        stored = self._find(body.editMessageId, target)
        permissions.check_may_edit(self._groups, device.user, stored, target.group_id)
        mark = edit_mark_object(
            *(stored.edits + 1, device.user, self._store.clock()),
            sender=stored.sender,
            send_time=id_time(stored.id),
            chat_type="chat:group" if target.group_id else "chat:user",
        )
        edited, now = self._edited_meta(stored, body, mark, target)
        if not (body.contents and body.contents[0].ByteSize()):  # SDK 5 drops an edit without a content
            del body.contents[:]
            body.contents.extend(now.contents)
        # An edit of the content alone names no attributes. Without them the receivers would lose the quote of a reply.
        del body.ext[:]
        body.ext.extend(now.ext)
        item = self.make_downlink(device.user, device.resource, meta, body, target, mark)
        self._record.replace(stored.id, stored.edits + 1, edited)
        self._queues.keep_unstored(item, meta.SerializeToString(), repeats=stored.id)
        self._deliver(device, target, item, target.members, RouteType.ROUTE_ALL)
        if target.thread is not None:
            newest = self._record.last(target.conversation)
            last = last_message(newest) if newest == edited else None
            self._delivery.tell_thread_changed(target.thread, "update_msg", device.user, last)
        return Accepted(item, meta.timestamp, mark)

    def _edited_meta(self, stored: StoredMessage, edit: Any, mark: dict[str, Any], target: Target) -> tuple[bytes, Any]:
        """Return the Meta of a message as it is after an edit, and its MessageBody."""
        meta = schema.Meta.FromString(stored.meta)
        body = schema.MessageBody.FromString(meta.payload)
        self._apply_edit(body, edit)
        body.meta = compact({**mark, **_thread_mark_of(target)})
        meta.payload = body.SerializeToString()
        return meta.SerializeToString(), body

    def _apply_edit(self, original: Any, edit: Any) -> None:
        """Change a MessageBody in place.

        An edit can change the content and the ext of texts and custom messages. Of other messages it can change the
        ext only; a content is then ignored if the edit names the scope BODY_AND_EXT, and refused if not.
        """
        if not original.contents:
            raise SendRefused(StatusCode.FAIL, "Sorry, format is incorrect")
        kind = original.contents[0].type
        is_editable = kind in (ContentType.TEXT, ContentType.CUSTOM) and not is_bundle(original.contents[0])
        if edit.contents and edit.contents[0].ByteSize():
            if is_editable and edit.contents[0].type == kind:
                original.contents[0].CopyFrom(edit.contents[0])
                original.ClearField("stream")
            elif is_editable or edit.editScope != EditScope.BODY_AND_EXT:
                raise SendRefused(StatusCode.FAIL, "Sorry, format is incorrect")
        if edit.editScope == EditScope.BODY_AND_EXT:
            original.ClearField("ext")
            original.ext.extend(edit.ext)

    def edit_answer(self, accepted: Accepted) -> Any:
        """Return the Meta that the answer to an edit carries: the edit mark.

        Source: docs/protocol.md#editing.
        """
        payload = compact(accepted.edit_mark).encode()
        return schema.Meta(id=accepted.server_id, timestamp=accepted.time, ns=NameSpace.NOTIFY, payload=payload)

    # ---------------------------------------------------------------- read acks

    def _ack(self, device: Device, meta: Any, body: Any, target: Target) -> Accepted:
        """Tell the senders of messages that this user has read or received them.

        SDK 5 acknowledges several messages at once. SDK 4 reads one id from a receipt, so each message gets a receipt
        of its own, which both can read.

        Source: docs/protocol.md#read-receipts.
        """
        ids = list(dict.fromkeys(body.ackMessageIds or (body.ackMessageId,)))
        if len(ids) > _ACKS_AT_ONCE:
            raise SendRefused(StatusCode.FAIL, "limit send group ack msg")
        for _ in ids[1:]:  # each id becomes an item of its own; `accept` has counted one
            self._quotas.check_send(device.user)
        receivers: dict[int, tuple[str, ...]]
        if target.group_id is None:
            receivers = dict.fromkeys(ids, tuple(user for user in target.members if user != device.user))
        else:
            found = [self._record.find(message) for message in ids]
            receivers = {
                stored.id: (stored.sender,) for stored in found if stored and stored.conversation == target.conversation
            }
            if not receivers:
                raise SendRefused(StatusCode.FAIL, "Sorry, message does not exist")
        item, words = 0, body.ackContent
        for message, users in receivers.items():
            body.ackMessageId, body.ackMessageIds[:] = message, [message]
            body.ClearField("ext")  # only the server may set it: a forged count would mislead the sender
            if target.group_id is not None and body.type == BodyType.READ_ACK:
                count = self._record.add_read_ack(message, device.user, self._store.clock(), words)
                # SDK 5 looks for this key. SDK 4 reads the first entry, whatever its key.
                counts = compact({str(message): count})
                body.ext.add(key="group_ack_count", type=ValueType.JSON_STRING, stringValue=counts)
            item = self.make_downlink(device.user, device.resource, meta, body, target)
            self._delivery.deliver_unstored(
                meta.SerializeToString(), item, users, target.queue, origin=(device.user, device.resource)
            )
        return Accepted(item, meta.timestamp)

    def _channel_ack(self, device: Device, meta: Any, body: Any, target: Target) -> Accepted:
        """Clear the unread count of a conversation, or of all; tell the user's other devices.

        In a one-to-one conversation the other user learns it too, unless the ack says that it must not.

        Source: docs/protocol.md#unread-counts.
        """
        of_all = body.clearAllUnreadMessageCount
        item = self.make_downlink(device.user, device.resource, meta, body, target)
        if of_all:
            self._conversations.advance_all(device.user, read_to=item)
        else:
            self._conversations.advance(device.user, target.conversation, read_to=item)
        serialized, origin = meta.SerializeToString(), (device.user, device.resource)
        self._queues.keep_unstored(item, serialized)
        self._delivery.deliver([device.user], target.own_queue, item, origin=origin)
        if target.group_id is None and not of_all and (body.sendToPeer or not body.HasField("sendToPeer")):
            others = [user for user in target.members if user != device.user]
            self._delivery.deliver(others, target.queue, item)
        return Accepted(item, meta.timestamp)


def _clear_stream(body: Any) -> None:
    """Remove what says that a text is streamed: only an app server may stream one."""
    body.ClearField("stream")
    for content in body.contents:
        if content.HasField("subType") and content.subType == SubType.SUB_STREAM:
            content.ClearField("subType")


def _direct_target(sender: str, other: str) -> Target:
    return Target(direct_conversation(sender, other), (sender, other), user_queue(sender), user_queue(other))


def _thread_mark_of(target: Target) -> dict[str, Any]:
    thread = target.thread
    return {} if thread is None else thread_mark_object(thread.parent_id, thread.group_id, thread.name)
