"""Sends, recalls, edits and read acks: checks a body, sends it, and turns the service's answer into a message or error.

Source: docs/protocol.md#sending, docs/protocol.md#thread-marks, docs/protocol.md#recall, docs/protocol.md#limits,
docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from typing import Any

from imkit.client.account import Account
from imkit.client.attachments import BytesProgress, upload_attachment, upload_bundle
from imkit.client.quotes import LOOKED_UP, with_reply_and_mentions
from imkit.client.roaming import find_newest
from imkit.errors import GroupNotFound, IMError, InvalidMessage, ThreadNotFound, TooLarge
from imkit.escape import for_terminal
from imkit.events import MessageEdited, MessageRecalled, MessageReceived
from imkit.hints import A_PLACE, NOT_A_BODY, PARAMS_OF_CUSTOM, Operation, operation
from imkit.messages import Attachment, Body, Combine, Command, Custom, Location, Message, Streamed, Text, ThreadRef
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import from_milliseconds, in_words
from imkit.wire.downlink import decode_edit_answer
from imkit.wire.enums import StatusCode
from imkit.wire.protocol import SendAnswered
from imkit.wire.refusals import send_refused
from imkit.wire.uplink import (
    Address,
    encode_channel_ack,
    encode_edit,
    encode_message,
    encode_read_ack,
    encode_recall,
)

logger = logger_of_untrusted("imkit.client.send")

MESSAGE_BYTES = 5 * 1024  # of a message with its attributes; the documentation says 3 KB or 5 KB
RESERVED_ACTIONS = ("em_", "easemob::")  # how the actions of the official clients' own commands begin
_CUSTOM_EVENT = re.compile(r"[A-Za-z0-9\-_/.]{1,32}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes: a group, or a thread with what is known of it."""

    id: str
    is_thread: bool
    thread: ThreadRef | None = None

    def __str__(self) -> str:
        return f"{'thread' if self.is_thread else 'group'} {self.id}"


def target_of(message: Message) -> Target:
    """Return the target that a message was sent to."""
    return Target(message.to, message.thread is not None, message.thread)


def checked_body(body: object) -> Body:
    """Return what to send as one of the nine bodies.

    Raises:
        InvalidMessage: it cannot be sent.

    Example:
        >>> checked_body("hello")
        Text(ext={}, text='hello')
    """
    if isinstance(body, str):
        body = Text(body)
    elif isinstance(body, Streamed):
        body = Text(body.text, ext=body.ext)
    if not isinstance(body, Body):
        raise InvalidMessage(f"{body!r:.80} cannot be sent", hint=_hint_for(body))
    if not isinstance(body.ext, Mapping):
        raise InvalidMessage(f"ext must be a JSON object (a dict), not {type(body.ext).__name__}")
    if isinstance(body, Text) and body.text == "":
        raise InvalidMessage("an empty text cannot be sent")
    if isinstance(body, Command) and body.action == "":
        raise InvalidMessage("a command needs an action")
    if isinstance(body, Command) and isinstance(body.action, str) and body.action.startswith(RESERVED_ACTIONS):
        action, reserved = for_terminal(body.action, 60), " and ".join(RESERVED_ACTIONS)
        logger.warning("actions that begin with %s are reserved: official clients may not show %r", reserved, action)
    if isinstance(body, Custom) and not (isinstance(body.event, str) and _CUSTOM_EVENT.fullmatch(body.event)):
        hint = "It has 1 to 32 letters, digits, -, _, / and dots."
        raise InvalidMessage(f"{body.event!r:.80} is not a name for a custom event", hint=hint)
    if isinstance(body, Custom) and not isinstance(body.params, Mapping):
        raise InvalidMessage(f"params must be a dict, not {body.params!r:.80}", hint=PARAMS_OF_CUSTOM)
    if isinstance(body, Combine) and not _holds_messages(body.messages):
        hint = "Give a list of them: Combine(title, [message, …]), or of a listing list(thread.messages(limit=20))."
        raise InvalidMessage("a bundle holds messages", hint=hint)
    if isinstance(body, Location):
        numbers = isinstance(body.lat, int | float) and isinstance(body.lng, int | float)
        if not (numbers and -90 <= body.lat <= 90 and -180 <= body.lng <= 180):
            raise InvalidMessage(f"({body.lat!r:.40}, {body.lng!r:.40}) is not a place", hint=A_PLACE)
    return body


def _hint_for(found: object) -> str:
    """Return how to send something that is not a body."""
    kind = "class" if isinstance(found, type) else "path" if isinstance(found, PathLike) else type(found).__name__
    return NOT_A_BODY.get(kind, NOT_A_BODY["object"])


def _holds_messages(found: object) -> bool:
    return isinstance(found, Sequence) and all(isinstance(each, Message) for each in found)


async def send(
    account: Account,
    target: Target,
    body: object,
    *,
    reply_to: Message | str | None = None,
    mention: str | Iterable[str] = (),
    progress: BytesProgress | None = None,
) -> Message:
    """Send a body, and return the message with the service's id and time.

    Args:
        account: the login that sends.
        target: the thread or group.
        body: a text or one of the nine bodies; an attachment is uploaded first.
        reply_to: the message that this one replies to, or its id.
        mention: user ids, or `ALL`.
        progress: during an upload, called with the bytes sent and their total.

    Raises:
        InvalidMessage, TooLarge: imkit refuses it, and nothing was sent.
        IMError: the subclass that fits the service's refusal or the failure of the connection.

    Source: docs/protocol.md#sending, docs/protocol.md#answer-to-a-send.
    """
    checked = checked_body(body)
    account.check_open()
    look_up = partial(find_newest, account.rest, account.user, target.id, limit=LOOKED_UP)
    checked = await with_reply_and_mentions(
        checked, target.id, reply_to, mention, events=account.events, sent=account.sent, look_up=look_up
    )
    client_id = account.protocol.next_client_id()
    if isinstance(checked, Attachment):
        checked = await upload_attachment(account, target.id, checked, progress)
    elif isinstance(checked, Combine):
        checked = await upload_bundle(account, target.id, checked, str(client_id), progress)
    meta = encode_message(_address(account, target), account.user, checked, client_id)
    if isinstance(checked, Command):
        what = operation("send_command", **_named(account, target))
    else:
        what = operation("send", type=checked.type, **_named(account, target))
    answer = await _deliver(account, target, client_id, meta, what)
    sent = Message(
        id=answer.server_id,
        sender=account.user,
        to=target.id,
        time=_time_of(answer),
        body=checked,
        thread=target.thread,
        resource=account.identity.resource,
    )
    account.sent.add(sent)
    account.echo(MessageReceived(sent))
    return sent


async def recall(
    account: Account, target: Target, message_id: str, ext: str | None, sent_at: datetime | None = None
) -> None:
    """Recall a message (撤回).

    Args:
        account: the login that recalls.
        target: the thread or group.
        message_id: the id of the message.
        ext: a text for the receivers.
        sent_at: when the message was sent, if that is known.

    Raises:
        RecallExpired: the time in which the sender may recall (by default 2 minutes) is over.
        MessageNotFound: the message is not there any more.
        Forbidden: it is another user's message, and this user does not manage the group.
        IMError: another refusal, or the failure of the connection.

    Source: docs/protocol.md#recall.
    """
    client_id = account.protocol.next_client_id()
    meta = encode_recall(_address(account, target), account.user, message_id, client_id, ext=ext)
    known = account.events.find_message(message_id)
    what = operation(
        "recall",
        message=message_id,
        age=_age(account, sent_at or (known.time if known else None)),
        **_named(account, target),
    )
    answer = await _deliver(account, target, client_id, meta, what)
    account.sent.note_recalled(message_id)
    account.echo(MessageRecalled(message_id, target.id, account.user, _time_of(answer)))


async def edit(
    account: Account, target: Target, message_id: str, body: object, message: Message | None = None
) -> Message:
    """Replace the body of a message, and return the edited message.

    Args:
        account: the login that edits.
        target: the thread or group.
        message_id: the id of the message.
        body: the new content. Without attributes (`ext`) the message keeps those that it has.
        message: the message before the edit, if it is known.

    Raises:
        InvalidMessage, TooLarge: imkit refuses it, and nothing was sent.
        IMError: the service's refusal, or the failure of the connection.

    Source: docs/protocol.md#editing.
    """
    checked = checked_body(body)
    client_id = account.protocol.next_client_id()
    meta = encode_edit(_address(account, target), account.user, message_id, checked, client_id)
    what = operation("edit", message=message_id, **_named(account, target))
    answer = await _deliver(account, target, client_id, meta, what)
    edit_answer = decode_edit_answer(answer.metas)
    before = account.events.find_message(message_id) or message
    if before is not None and not checked.ext:
        checked = replace(checked, ext=before.ext)
    at = from_milliseconds(edit_answer.edit_time or answer.at)
    edited = Message(
        id=message_id,
        sender=edit_answer.sender or (before.sender if before else account.user),
        to=target.id,
        time=from_milliseconds(edit_answer.send_time) if edit_answer.send_time else before.time if before else at,
        body=checked,
        thread=target.thread,
        edited_at=at,
        edit_count=edit_answer.count or (before.edit_count if before else 0) + 1,
    )
    account.sent.add(edited)
    account.echo(MessageEdited(edited, account.user, edited.edit_count, at))
    return edited


async def acknowledge(account: Account, target: Target, message_id: str, words: str) -> None:
    """Send a read ack (已读回执): tell the sender of a message that this user has read it.

    Raises:
        IMError: the service's refusal, or the failure of the connection.

    Source: docs/protocol.md#read-receipts.
    """
    client_id = account.protocol.next_client_id()
    meta = encode_read_ack(_address(account, target), account.user, message_id, client_id, text=words)
    what = operation("acknowledge", message=message_id, **_named(account, target))
    await _deliver(account, target, client_id, meta, what)


def _named(account: Account, target: Target) -> dict[str, str]:
    """Return the values by which the texts of errors name who sends, and where to."""
    return {"thread" if target.is_thread else "group": target.id, "user": account.user}


def _age(account: Account, sent_at: datetime | None) -> str | None:
    """Return how old a message is by the service's clock, in words; `None` if its time or that clock is unknown."""
    now = account.connection.service_time()
    if now is None or sent_at is None or sent_at.tzinfo is None:
        return None
    return in_words(from_milliseconds(now) - sent_at)


async def mark_read(account: Account, target: Target) -> None:
    """Send a channel ack (会话已读回执): this user has read all messages of a group or thread.

    Raises:
        IMError: the service's refusal, or the failure of the connection.

    Source: docs/protocol.md#unread-counts.
    """
    client_id = account.protocol.next_client_id()
    meta = encode_channel_ack(_address(account, target), account.user, client_id)
    await _deliver(account, target, client_id, meta, operation("mark_read", **_named(account, target)))


def _time_of(answer: SendAnswered) -> datetime:
    """Return when the service took a send: by its own clock, or by this machine's if the service did not tell it."""
    return from_milliseconds(answer.at) if answer.at else datetime.now(UTC)


def _address(account: Account, target: Target) -> Address:
    return Address(account.app.app_key, target.id, is_thread=target.is_thread)


async def _deliver(account: Account, target: Target, client_id: int, meta: Any, what: Operation) -> SendAnswered:
    """Send one Meta, and raise the error for a refusal; `what` begins its message, and decides its hint."""
    size = len(meta.payload)
    if size > MESSAGE_BYTES:
        raise TooLarge(f"{what} is {size:,} bytes; at most {MESSAGE_BYTES:,} can be sent", what=what)
    try:
        answer = await account.connection.send(client_id, meta)
    except IMError as error:
        error.name_operation(what)
        raise
    if answer.status != StatusCode.OK:
        refused = send_refused(what, answer.status, answer.reason)
        if target.is_thread and isinstance(refused, GroupNotFound):  # the service has one error for both
            refused = ThreadNotFound(
                refused.args[0], code=refused.code, status=refused.status, reason=refused.reason, what=what
            )
        raise refused
    return answer
