"""What a session is told: `Event` and its kinds. Pure data, frozen.

Source: the notices of fact sheet sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from imkit.cards import card, known
from imkit.messages import Message, message_card


@dataclass(frozen=True, slots=True)
class Event:
    """Something a session was told. Every event below is one."""


@dataclass(frozen=True, slots=True)
class MessageReceived(Event):
    """Somebody (or this user, on another device) sent `message`."""

    message: Message

    def _repr_html_(self) -> str:
        return message_card(self.message, "received")


@dataclass(frozen=True, slots=True)
class MessageEdited(Event):
    """`operator` changed a message; `message` is what it says now, `count` how often it was edited."""

    message: Message
    operator: str
    count: int
    at: datetime

    def _repr_html_(self) -> str:
        return message_card(self.message, f"edited {self.count}x, last by {self.operator}")


@dataclass(frozen=True, slots=True)
class MessageRecalled(Event):
    """`by` took a message back (撤回).

    `message` is what it said, if this session saw it, and `seconds_after` how long it stood; both are `None`
    otherwise: the protocol tells no more than the id.
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
class ThreadChanged(Event):
    """A thread was created, changed (renamed, or a message came or went) or destroyed, or lost a member.

    Every member of the parent group hears it. `message_count` and `last_message` come with the changes that a
    message made; `user` is who was removed.
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
    """This user did something to a thread on another device: `operation` create, destroy, join, leave or rename."""

    operation: Literal["create", "destroy", "join", "leave", "rename"]
    thread_id: str
    name: str
    group_id: str


@dataclass(frozen=True, slots=True)
class GroupChanged(Event):
    """Something changed in a group: `operation` is the SDK's word for it, such as ``directJoined``."""

    operation: str
    group_id: str
    operator: str
    users: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The connection stands, after a login or again after it was lost."""


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection is gone; the session tries to get it back unless a `LoggedOut` follows."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class TokenExpiring(Event):
    """The token ends at `expires_at`; with a token callable imkit renews it by itself."""

    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedOut(Event):
    """The session is over: closed here, replaced by a later login, or ended by the service."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """This consumer fell behind, and `count` events it asked for are gone."""

    count: int
