"""Builds the Metas that a client sends: messages, recalls, edits, read acks and channel acks.

Source: docs/protocol.md#sending, docs/protocol.md#thread-marks, docs/protocol.md#recall; the recorded frames in
`tests/golden`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imkit.errors import InvalidMessage
from imkit.messages import Body
from imkit.wire import schema
from imkit.wire.codec import encode_content
from imkit.wire.enums import BodyType, EditScope, NameSpace, RouteType, ValueType
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from imkit.wire.keyvalues import check_text, encode_ext

RECALL_EXT = "recallMessageExtensionInfo"
_THREAD_MARK = '{"thread":{}}'


@dataclass(frozen=True, slots=True)
class Address:
    """The target of a send: a thread, a group or a user of an app.

    Args:
        app_key: such as ``"org#app"``.
        name: the id of the thread, group or user.
        is_thread: the target is a thread; its messages get the thread mark.
        is_user: the target is a user.
    """

    app_key: str
    name: str
    is_thread: bool = False
    is_user: bool = False

    def jid(self) -> Any:
        """Return the protobuf JID of the target."""
        domain = USER_DOMAIN if self.is_user else GROUP_DOMAIN
        return schema.JID(appKey=self.app_key, name=self.name, domain=domain)


def encode_message(
    address: Address,
    sender: str,
    body: Body,
    client_id: int,
    *,
    online_only: bool = False,
    receivers: Sequence[str] = (),
) -> Any:
    """Return the Meta that sends `body`.

    Args:
        address: the target.
        sender: the user id of the sender, as it was typed at login.
        body: one of the nine kinds that can be sent. The file of an attachment must be uploaded before, so that the
            body has its `url`.
        client_id: a number that is unique for this client. The service's answer repeats it.
        online_only: deliver only to users who are online, and do not keep the message.
        receivers: user ids of the group's members who get the message; empty for all members.

    Raises:
        InvalidMessage: the body or a receiver cannot be encoded.

    Source: docs/protocol.md#sending, docs/protocol.md#content-types.
    """
    if isinstance(receivers, str):
        raise InvalidMessage("receivers must be a list of user ids, not a string")
    for receiver in receivers:
        check_text("a receiver", receiver)
    route = RouteType.ROUTE_DIRECT if receivers else RouteType.ROUTE_ONLINE if online_only else RouteType.ROUTE_ALL
    kind = BodyType.CHAT if address.is_user else BodyType.GROUPCHAT
    content = encode_content(body)
    payload = _message_body(address, sender, kind, content=content, ext=encode_ext(body.ext))
    return _meta(address, client_id, payload, routetype=route, directedUsers=list(receivers))


def encode_recall(address: Address, sender: str, message_id: str, client_id: int, *, ext: str | None = None) -> Any:
    """Return the Meta that recalls (撤回) a message. `ext` is a text that the receivers get with the recall.

    Source: docs/protocol.md#recall.
    """
    payload = _message_body(address, sender, BodyType.RECALL, ackMessageId=wire_id(message_id))
    if ext is not None:
        check_text("the ext of a recall", ext)
    items = [schema.KeyValue(key=RECALL_EXT, type=ValueType.STRING, stringValue=ext)] if ext is not None else []
    return _meta(address, client_id, payload, ext=items)


def encode_edit(address: Address, sender: str, message_id: str, body: Body, client_id: int) -> Any:
    """Return the Meta that replaces a message's body, and its `ext` if `body.ext` is not empty.

    Source: docs/protocol.md#editing.
    """
    scope = EditScope.BODY_AND_EXT if body.ext else EditScope.BODY
    payload = _message_body(
        address,
        sender,
        BodyType.EDIT,
        content=encode_content(body),
        ext=encode_ext(body.ext),
        editMessageId=wire_id(message_id),
        editScope=scope,
    )
    return _meta(address, client_id, payload)


def encode_read_ack(address: Address, sender: str, message_id: str, client_id: int, *, text: str = "") -> Any:
    """Return the Meta that tells the sender of a group or thread message that this user read it (已读回执).

    Source: docs/protocol.md#read-receipts.
    """
    check_text("the text of a read ack", text)
    payload = _message_body(
        address,
        sender,
        BodyType.READ_ACK,
        ackMessageId=wire_id(message_id),
        msgConfig=schema.MessageConfig(allowGroupAck=True),
        ackContent=text,
    )
    return _meta(address, client_id, payload)


def encode_channel_ack(address: Address, sender: str, client_id: int) -> Any:
    """Return the Meta that clears the unread count of a group or thread.

    Source: docs/protocol.md#unread-counts.
    """
    return _meta(address, client_id, _message_body(address, sender, BodyType.CHANNEL_ACK))


def wire_id(message_id: object) -> int:
    """Return a message id as the number that it is on the wire.

    Raises:
        InvalidMessage: `message_id` is not a string of digits, or exceeds 64 bits.
    """
    if not (isinstance(message_id, str) and message_id.isascii() and message_id.isdigit() and len(message_id) <= 20):
        shown = f"{message_id!r:.80}" if isinstance(message_id, str) else f"a {type(message_id).__name__}"
        raise InvalidMessage(
            f"{shown} is not a message id", hint="A message id is a string of up to 20 digits: Message.id."
        )
    number = int(message_id)
    if number >= 2**64:
        raise InvalidMessage(f"{message_id} is not a message id: it has more than 64 bits")
    return number


def _message_body(address: Address, sender: str, kind: int, *, content: Any = None, **fields: Any) -> Any:
    check_text("the id of a thread, group or user", address.name)
    return schema.MessageBody(
        **{"from": schema.JID(name=sender)},
        type=kind,
        to=schema.JID(name=address.name),
        contents=[schema.Content() if content is None else content],
        meta=_THREAD_MARK if address.is_thread else None,
        **fields,
    )


def _meta(address: Address, client_id: int, payload: Any, **fields: Any) -> Any:
    fields.setdefault("routetype", RouteType.ROUTE_ALL)
    return schema.Meta(id=client_id, to=address.jid(), ns=NameSpace.CHAT, payload=payload.SerializeToString(), **fields)
