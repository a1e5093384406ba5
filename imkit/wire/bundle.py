"""The file of a bundle (合并消息): several messages in one attachment.

Layout: the two bytes ``cm``, then for each message its length (4 bytes, big-endian) and its Meta, then one check byte:
the XOR of the bytes at odd offsets from 2 on.

Source: fact sheet section 11, "Bundle file"; `tests/golden/combine-file.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import xor

from imkit.errors import InvalidMessage, ProtocolError
from imkit.messages import Message
from imkit.times import to_milliseconds
from imkit.wire import schema
from imkit.wire.codec import encode_content
from imkit.wire.downlink import decode_roamed
from imkit.wire.enums import BodyType, NameSpace, RouteType
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from imkit.wire.keyvalues import encode_ext
from imkit.wire.uplink import wire_id

MAX_MESSAGES = 300
MAX_LEVEL = 10
_MAGIC = b"cm"
_LENGTH = 4


def pack(app_key: str, messages: Sequence[Message]) -> bytes:
    """Return the file that holds `messages`.

    Raises:
        InvalidMessage: none, more than 300, or one that cannot be put on the wire.
    """
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidMessage(f"a bundle holds 1 to {MAX_MESSAGES} messages, not {len(messages)}")
    packed = bytearray(_MAGIC)
    for message in messages:
        meta = _meta(app_key, message)
        packed += len(meta).to_bytes(_LENGTH, "big") + meta
    packed.append(_check_byte(packed))
    return bytes(packed)


def unpack(data: bytes) -> list[Message]:
    """Return the messages in a bundle's file; one that cannot be read is `Unknown`, and its neighbours are kept.

    Raises:
        ProtocolError: this is no bundle, or it was cut short.
    """
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + 1:
        raise ProtocolError("this file is no bundle of messages")
    if _check_byte(data[:-1]) != data[-1]:
        raise ProtocolError("the bundle is damaged: its check byte does not fit", hint="Download it again.")
    return [message for part in _parts(data) if (message := decode_roamed(part)) is not None]


def _parts(data: bytes) -> Iterator[bytes]:
    place, end = len(_MAGIC), len(data) - 1
    while place < end:
        start = place + _LENGTH
        place = start + int.from_bytes(data[place:start], "big")
        if place > end:
            raise ProtocolError("the bundle is cut short", hint="Download it again.")
        yield data[start:place]


def _check_byte(data: bytes | bytearray) -> int:
    return reduce(xor, data[3::2], 0)


def _meta(app_key: str, message: Message) -> bytes:
    to_user = message.chat == "user"
    body = schema.MessageBody(
        **{"from": schema.JID(name=message.sender)},
        type=BodyType.CHAT if to_user else BodyType.GROUPCHAT,
        to=schema.JID(name=message.to),
        contents=[encode_content(message.body)],
        ext=encode_ext(message.ext),
    )
    to = schema.JID(appKey=app_key, name=message.to, domain=USER_DOMAIN if to_user else GROUP_DOMAIN)
    meta = schema.Meta(
        id=wire_id(message.id),
        to=to,
        timestamp=to_milliseconds(message.time),
        ns=NameSpace.CHAT,
        payload=body.SerializeToString(),
        routetype=RouteType.ROUTE_ALL,
    )
    encoded: bytes = meta.SerializeToString()
    return encoded
