"""Events: `Event` and its subclasses, which a session receives besides answers. Frozen dataclasses that do no I/O.

Source: docs/protocol.md#recall, docs/protocol.md#notices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Literal

from imkit.cards import card, known
from imkit.messages import Message, message_card
from imkit.misuse import PublicObject


@dataclass(frozen=True, slots=True)
class Event(PublicObject):
    """The base class of all events that a session receives."""

    def _repr_html_(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        name = str(values.pop("operation", ""))
        facts = [f"{each} {_shown(value)}" for each, value in values.items() if value not in (None, "", (), {})]
        return card(type(self).__name__, name, facts)


@dataclass(frozen=True, slots=True)
class MessageReceived(Event):
    """A message arrived: from another user, or from this user on another device.

    Attributes:
        message: the message.

    Example:
        >>> event = bob.events(imkit.MessageReceived).next(timeout=10)
        >>> event.message.sender
        'alice'
    """

    message: Message

    def _repr_html_(self) -> str:
        return message_card(self.message, "received")


@dataclass(frozen=True, slots=True)
class MessageEdited(Event):
    """The content of a message was changed (编辑), or a streamed text has grown (`Streamed`; `count` is 0 then).

    Attributes:
        message: the message with its new content.
        operator: the user id of the user who edited it.
        count: how often the message has been edited.
        at: when, an aware datetime in UTC.

    Example:
        >>> _ = thread.edit(sent, "Two bags, please")
        >>> bob.events(imkit.MessageEdited).next(timeout=10).message.text
        'Two bags, please'

    Source: docs/protocol.md#editing.
    """

    message: Message
    operator: str
    count: int
    at: datetime

    def _repr_html_(self) -> str:
        edited = f"edited {self.count}x, last by {self.operator}"
        return message_card(self.message, edited if self.count else "has grown")


@dataclass(frozen=True, slots=True)
class MessageRecalled(Event):
    """A message was recalled (撤回).

    The service tells only the id. If this session received the message before, imkit adds what it said. A message that
    is recalled before a device has received it is not delivered to that device.

    Attributes:
        message_id: the id of the recalled message.
        to: the id of the thread or the group that it was sent to.
        by: the user id of the user who recalled it.
        at: when, an aware datetime in UTC.
        seconds_after: the time between the message and its recall, in seconds; `None` if this session did not receive
            the message.
        message: the message, or `None` if this session did not receive it.
        ext: the text that came with the recall.

    Example:
        >>> received = bob.events(imkit.MessageReceived)
        >>> received.next(timeout=10, where=lambda event: event.message.id == sent.id).message.text
        'Dong Ding, please 🍵'
        >>> thread.recall(sent)
        >>> bob.events(imkit.MessageRecalled).next(timeout=10).message.text
        'Dong Ding, please 🍵'

    Source: docs/protocol.md#recall.
    """

    message_id: str
    to: str
    by: str
    at: datetime
    seconds_after: float | None = None
    message: Message | None = None
    ext: str = ""

    def _repr_html_(self) -> str:
        after = "" if self.seconds_after is None else f" after {self.seconds_after:.1f} s"
        state = f"recalled by {self.by}{after}"
        if self.message is None:
            return card("Message", f"id {self.message_id}", known("in", self.to), state=state)
        return message_card(self.message, state, struck=True)


@dataclass(frozen=True, slots=True)
class MessageRead(Event):
    """A user has read messages of this session's user (已读回执).

    Attributes:
        message_ids: the ids of the messages.
        to: the id of the thread or the group that they were sent to.
        by: the user id of the reader; `""` if the service told only numbers.
        at: when, an aware datetime in UTC.
        words: the text that came with the receipt.
        counts: by message id, how many users have read the message, as far as the service told it.

    Example:
        >>> bob.thread(thread.id).acknowledge(sent, "gladly")
        >>> receipt = alice.events(imkit.MessageRead).next(timeout=10)
        >>> receipt.by, receipt.words, receipt.counts == {sent.id: 1}
        ('bob', 'gladly', True)

    Source: docs/protocol.md#read-receipts.
    """

    message_ids: tuple[str, ...]
    to: str
    by: str
    at: datetime
    words: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReactionChanged(Event):
    """A user added a reaction (表情回复) to a message, or removed one. Everybody in the conversation receives this.

    Attributes:
        message_id: the id of the message.
        to: the id of the thread or the group of the message; in a one-to-one conversation the other user.
        reaction: the reaction, such as ``"👍"``.
        by: the user id of the user who added or removed it.
        operation: ``"added"`` or ``"removed"``.
        count: how many users have given this reaction now.
        at: when, an aware datetime in UTC.

    Example:
        >>> thread.react(sent, "👍")
        >>> change = bob.events(imkit.ReactionChanged).next(timeout=10)
        >>> change.by, change.reaction, change.operation, change.count
        ('alice', '👍', 'added', 1)

    Source: docs/protocol.md#reactions.
    """

    message_id: str
    to: str
    reaction: str
    by: str
    operation: Literal["added", "removed"]
    count: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ThreadChanged(Event):
    """A thread was created, changed or destroyed, or lost a member. All members of its group receive this.

    A thread changes when it is renamed and when a message is sent to it or recalled in it.

    Attributes:
        operation: ``"create"``, ``"update"``, ``"destroy"`` or ``"member_removed"``.
        thread_id: the thread's id.
        name: the thread's name.
        group_id: the id of the thread's group.
        operator: the user id of the user who did it.
        parent_id: the id of the group message that the thread hangs on (父消息).
        at: when, an aware datetime in UTC.
        created: when the thread was created, an aware datetime in UTC.
        message_count: how many messages the thread has, if a message was sent or recalled.
        last_message: the newest message, if a message was sent or recalled.
        user: the user id of the removed member.

    Example:
        >>> thread.rename("Oolong, spring harvest")
        >>> changes = bob.events(imkit.ThreadChanged)
        >>> changes.next(timeout=10, where=lambda event: event.name != "Oolong").operation
        'update'

    Source: docs/protocol.md#thread-notices.
    """

    operation: Literal["create", "update", "destroy", "member_removed"]
    thread_id: str
    name: str
    group_id: str
    operator: str
    parent_id: str = ""
    at: datetime | None = None
    created: datetime | None = None
    message_count: int | None = None
    last_message: Message | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceChanged(Event):
    """This user did something to a thread on another device (多设备).

    Attributes:
        operation: ``"create"``, ``"destroy"``, ``"join"``, ``"leave"`` or ``"rename"``.
        thread_id: the thread's id.
        name: the thread's name.
        group_id: the id of the thread's group.

    Source: docs/protocol.md#notices-to-other-devices.
    """

    operation: Literal["create", "destroy", "join", "leave", "rename"]
    thread_id: str
    name: str
    group_id: str


@dataclass(frozen=True, slots=True)
class ConversationChanged(Event):
    """This user changed a conversation of its list (会话列表) on another device (多设备).

    Attributes:
        operation: ``"pin"``, ``"unpin"``, ``"mark"``, ``"unmark"``, ``"delete"``; ``"read"``: the unread count was
            cleared; ``"read_all"``: all unread counts were cleared.
        conversation_id: the id of the group or the thread, or the user id of a one-to-one conversation.
        chat: ``"group"`` for a group or a thread, or ``"user"`` for a one-to-one conversation.
        by: the user id of the user who did it. In a one-to-one conversation that is the other user if the other one
            has read the messages.
        at: when, an aware datetime in UTC.
        mark: the mark that was added or removed, 0 to 19.

    Source: docs/protocol.md#conversations, docs/protocol.md#unread-counts.
    """

    operation: Literal["pin", "unpin", "mark", "unmark", "delete", "read", "read_all"]
    conversation_id: str
    chat: Literal["group", "user"]
    by: str
    at: datetime
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryForgotten(Event):
    """This user deleted messages for itself alone (单向删除) on another device (多设备): see `Thread.forget`.

    Attributes:
        to: the id of the thread, the group or the user whose messages they are.
        message_ids: the ids of the messages; empty if all messages before a time were deleted.
        before: all messages before this time were deleted, an aware datetime in UTC; `None` if single ones were.

    Source: docs/protocol.md#one-way-delete.
    """

    to: str
    message_ids: tuple[str, ...] = ()
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class GroupChanged(Event):
    """Something changed in a group.

    Attributes:
        operation: the official SDK's word for the change, such as ``"directJoined"``.
        group_id: the group's id.
        operator: the user id of the user who did it.
        users: the user ids of the members concerned.

    Example:
        >>> bob.events(imkit.GroupChanged).next(timeout=10).operation
        'directJoined'

    Source: docs/protocol.md#group-notices.
    """

    operation: str
    group_id: str
    operator: str
    users: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PinChanged(Event):
    """A message was pinned (置顶) or unpinned, by another user or by this user on another device.

    A recall unpins a message without this event. A message that is pinned again is told again.

    Attributes:
        operation: ``"pinned"`` or ``"unpinned"``.
        message_id: the id of the message.
        to: the id of the group, or of the thread, that the message is in.
        by: the user id of the user who did it.
        at: when, an aware datetime in UTC.

    Example:
        >>> question = group.send("Which oolong?")
        >>> group.pin(question)
        >>> event = bob.events(imkit.PinChanged).next(timeout=10, where=lambda event: event.to == group.id)
        >>> event.operation, event.message_id == question.id
        ('pinned', True)

    Source: docs/protocol.md#pinned-messages.
    """

    operation: Literal["pinned", "unpinned"]
    message_id: str
    to: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class UserChanged(Event):
    """A user changed attributes (用户属性), such as the nickname (昵称).

    The service tells it to the user's own devices, and to users who have the user as a contact or have subscribed to
    it. Other members of a group are not told. `Session.users` asks anew for a user who has changed.

    Attributes:
        user_id: the user.
        changed: the new values, by the fields of `User`; an empty one was removed.
        at: when, an aware datetime in UTC.

    Example:
        >>> alice.update_profile(nickname="Alice 爱丽丝")
        >>> alice.events(imkit.UserChanged).next(timeout=10).changed
        {'nickname': 'Alice 爱丽丝'}

    Source: docs/protocol.md#user-attributes.
    """

    user_id: str
    changed: Mapping[str, str]
    at: datetime


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The session is connected: after the login, or again after the connection was lost."""


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection was lost. The session connects again by itself, unless `LoggedOut` follows.

    If it was lost because the sandbox has ended, a second event says so, with a hint.

    Attributes:
        reason: why.
        hint: what to do, if the session cannot connect again by itself; else empty.

    Source: docs/protocol.md#reconnecting.
    """

    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class TokenExpiring(Event):
    """The token expires soon. If `login` got a function for tokens, imkit fetches the next one by itself.

    Attributes:
        expires_at: when it expires, an aware datetime in UTC.

    Source: docs/protocol.md#token-life.
    """

    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedOut(Event):
    """The session is over. It is the last event of a session.

    Attributes:
        reason: why: ``"closed"`` by this program, ``"replaced"`` by a later login, or the reason that the service gave.

    Example:
        >>> bob.close()
        >>> bob.events(imkit.LoggedOut).next()
        LoggedOut(reason='closed')

    Source: docs/protocol.md#kicked-off.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """This event stream read too slowly: the session no longer keeps some of the events it asked for.

    Attributes:
        count: how many events the stream has missed.
    """

    count: int


def _shown(value: object) -> str:
    """Return a value of an event as a card shows it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
