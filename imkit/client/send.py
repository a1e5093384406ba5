"""Sending: what was asked for, checked, put on the wire, and what became of it.

Source: fact sheet sections 4 to 6 (sends, thread mark, recall) and 12 (limits).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imkit.client.account import Account
from imkit.client.attachments import BytesProgress, upload_attachment, upload_bundle
from imkit.errors import GroupNotFound, IMError, InvalidMessage, ThreadNotFound, TooLarge
from imkit.events import MessageEdited, MessageRecalled, MessageReceived
from imkit.messages import Attachment, Body, Combine, Command, Custom, Location, Message, Text, ThreadRef
from imkit.times import from_milliseconds
from imkit.wire.downlink import decode_edit_answer
from imkit.wire.enums import StatusCode
from imkit.wire.protocol import SendAnswered
from imkit.wire.refusals import send_refused
from imkit.wire.uplink import Address, encode_edit, encode_message, encode_read_ack, encode_recall, wire_id

MESSAGE_BYTES = 5 * 1024  # of text, attributes and all; the plans' documents say 3 or 5 KB
_CUSTOM_EVENT = re.compile(r"[A-Za-z0-9\-_/.]{1,32}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes: a thread (with what is known of it) or a group."""

    id: str
    is_thread: bool
    thread: ThreadRef | None = None

    def __str__(self) -> str:
        return f"{'thread' if self.is_thread else 'group'} {self.id}"


def target_of(message: Message) -> Target:
    """Return where a message was sent to."""
    return Target(message.to, message.thread is not None, message.thread)


def checked_body(body: object) -> Body:
    """Return what to send as one of the nine bodies.

    Raises:
        InvalidMessage: it is nothing that can be sent.

    Example:
        >>> checked_body("hello")
        Text(ext={}, text='hello')
    """
    if isinstance(body, str):
        body = Text(body)
    if not isinstance(body, Body):
        raise InvalidMessage(
            f"a {type(body).__name__} cannot be sent", hint="Send a str, or a body such as imkit.Text(…)."
        )
    if isinstance(body, Text) and body.text == "":
        raise InvalidMessage("an empty text cannot be sent")
    if isinstance(body, Command) and body.action == "":
        raise InvalidMessage("a command needs an action")
    if isinstance(body, Custom) and not (isinstance(body.event, str) and _CUSTOM_EVENT.fullmatch(body.event)):
        hint = "It has 1 to 32 letters, digits, -, _, / and dots."
        raise InvalidMessage(f"{body.event!r:.80} is no name for a custom event", hint=hint)
    if isinstance(body, Location):
        numbers = isinstance(body.lat, int | float) and isinstance(body.lng, int | float)
        if not (numbers and -90 <= body.lat <= 90 and -180 <= body.lng <= 180):
            raise InvalidMessage(f"({body.lat!r:.40}, {body.lng!r:.40}) is no place", hint="lat and lng are degrees.")
    return body


async def send(account: Account, target: Target, body: object, progress: BytesProgress | None = None) -> Message:
    """Send `body`, and return the message as the server took it, with its id and time.

    Args:
        account: who sends.
        target: where to.
        body: a text or one of the nine bodies; an attachment is uploaded first.
        progress: of an upload: called with the bytes sent and their total.

    Raises:
        InvalidMessage, TooLarge: refused before anything was sent.
        IMError: the subclass that fits the service's refusal, or what became of the connection.
    """
    checked = checked_body(body)
    account.check_open()
    client_id = account.protocol.next_client_id()
    if isinstance(checked, Attachment):
        checked = await upload_attachment(account, target.id, checked, progress)
    elif isinstance(checked, Combine):
        checked = await upload_bundle(account, target.id, checked, str(client_id), progress)
    meta = encode_message(_address(account, target), account.user, checked, client_id)
    answer = await _deliver(account, target, client_id, meta, f"the {checked.type} message to {target}")
    sent = Message(
        id=answer.server_id,
        sender=account.user,
        to=target.id,
        time=from_milliseconds(answer.at) if answer.at else datetime.now(UTC),
        body=checked,
        thread=target.thread,
        resource=account.identity.resource,
    )
    account.echo(MessageReceived(sent))
    return sent


async def recall(account: Account, target: Target, message_id: str, ext: str | None) -> None:
    """Take a message back.

    Raises:
        RecallExpired: the window (2 minutes by default) is over.
        MessageNotFound: there is no such message there any more.
        IMError: another refusal, or what became of the connection.
    """
    client_id = account.protocol.next_client_id()
    meta = encode_recall(_address(account, target), account.user, message_id, client_id, ext=ext)
    await _deliver(account, target, client_id, meta, f"the recall of message {wire_id(message_id)} in {target}")
    account.echo(MessageRecalled(message_id, target.id, account.user, datetime.now(UTC)))


async def edit(account: Account, target: Target, message_id: str, body: object) -> Message:
    """Replace what a message says, and return it as it reads now.

    Raises:
        InvalidMessage, TooLarge: refused before anything was sent.
        IMError: the service's refusal, or what became of the connection.
    """
    checked = checked_body(body)
    client_id = account.protocol.next_client_id()
    meta = encode_edit(_address(account, target), account.user, message_id, checked, client_id)
    answer = await _deliver(account, target, client_id, meta, f"the edit of message {wire_id(message_id)} in {target}")
    told = decode_edit_answer(answer.metas)
    before = account.events.find_message(message_id)
    at = from_milliseconds(told.edit_time or answer.at)
    edited = Message(
        id=message_id,
        sender=told.sender or (before.sender if before else account.user),
        to=target.id,
        time=from_milliseconds(told.send_time) if told.send_time else before.time if before else at,
        body=checked,
        thread=target.thread,
        edited_at=at,
        edit_count=told.count or (before.edit_count if before else 0) + 1,
    )
    account.echo(MessageEdited(edited, account.user, edited.edit_count, at))
    return edited


async def acknowledge(account: Account, target: Target, message_id: str, words: str) -> None:
    """Tell the sender of a message that it was read.

    Raises:
        IMError: the service's refusal, or what became of the connection.
    """
    client_id = account.protocol.next_client_id()
    meta = encode_read_ack(_address(account, target), account.user, message_id, client_id, text=words)
    await _deliver(account, target, client_id, meta, f"the read ack of message {wire_id(message_id)} in {target}")


def _address(account: Account, target: Target) -> Address:
    return Address(account.app.app_key, target.id, is_thread=target.is_thread)


async def _deliver(account: Account, target: Target, client_id: int, meta: Any, what: str) -> SendAnswered:
    size = len(meta.payload)
    if size > MESSAGE_BYTES:
        raise TooLarge(f"{what} is {size:,} bytes; at most {MESSAGE_BYTES:,} can be sent")
    try:
        answer = await account.connection.send(client_id, meta)
    except IMError as error:
        error.args = (f"{what}: {error.args[0]}",)
        raise
    if answer.status != StatusCode.OK:
        refused = send_refused(what, answer.status, answer.reason)
        if target.is_thread and isinstance(refused, GroupNotFound):  # the wire knows one word for both
            refused = ThreadNotFound(
                f"{what} was refused", code=refused.code, status=refused.status, reason=refused.reason
            )
        raise refused
    return answer
