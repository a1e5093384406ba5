"""What a client sends, as Meta: messages, recalls, edits, read acks.

Source: fact sheet sections 4 to 6; the recorded frames in `tests/golden`.
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
    """Where a send goes: the id of a thread, a group or a user, in an app."""

    app_key: str
    name: str
    is_thread: bool = False
    is_user: bool = False

    def jid(self) -> Any:
        """The protobuf JID."""
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
        address: the thread, group or user.
        sender: the own user id, as typed at login.
        body: one of the nine bodies; an attachment must be uploaded already (have its `url`).
        client_id: unique for this client; the answer repeats it.
        online_only: deliver to who is online and keep nothing.
        receivers: some members only, of a group.

    Raises:
        InvalidMessage: the body, or a receiver, cannot be put on the wire.
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
    """Return the Meta that recalls (撤回) a message; `ext` is a text for those who see the recall."""
    payload = _message_body(address, sender, BodyType.RECALL, ackMessageId=wire_id(message_id))
    if ext is not None:
        check_text("the ext of a recall", ext)
    items = [schema.KeyValue(key=RECALL_EXT, type=ValueType.STRING, stringValue=ext)] if ext is not None else []
    return _meta(address, client_id, payload, ext=items)


def encode_edit(address: Address, sender: str, message_id: str, body: Body, client_id: int) -> Any:
    """Return the Meta that replaces what a message says; attributes are replaced when the body has some."""
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
    """Return the Meta that tells a group message's sender that it was read."""
    check_text("the text of a read ack", text)
    payload = _message_body(
        address,
        sender,
        BodyType.READ_ACK,
        ackMessageId=wire_id(message_id),
        msgConfig=schema.message_class("MessageBody.MessageConfig")(allowGroupAck=True),
        ackContent=text,
    )
    return _meta(address, client_id, payload)


def wire_id(message_id: object) -> int:
    """Return a message id as the number the wire wants.

    Raises:
        InvalidMessage: it is no message id.
    """
    if not (isinstance(message_id, str) and message_id.isascii() and message_id.isdigit() and len(message_id) <= 20):
        shown = f"{message_id!r:.80}" if isinstance(message_id, str) else f"a {type(message_id).__name__}"
        raise InvalidMessage(
            f"{shown} is no message id", hint="A message id is a string of up to 20 digits: Message.id."
        )
    number = int(message_id)
    if number >= 2**64:
        raise InvalidMessage(f"{message_id} is no message id: it is beyond 64 bits")
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
