"""Reads and writes the file of a bundle (合并消息), which holds several messages.

The file begins with the two bytes ``cm``. Then comes for each message the length of its Meta (4 bytes, big-endian) and
the Meta. The last byte is a check byte: the XOR of all bytes before it at odd offsets from 3 on.

Source: docs/protocol.md#bundle-files; `tests/golden/combine-file.json`.
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
MAX_UNPACKED = 10 * MAX_MESSAGES  # a stranger's file could hold millions, each of some bytes
MAX_LEVEL = 10
_MAGIC = b"cm"
_LENGTH_BYTES = 4


def pack(app_key: str, messages: Sequence[Message]) -> bytes:
    """Return the content of a bundle's file.

    Args:
        app_key: such as ``"org#app"``.
        messages: 1 to 300 messages.

    Raises:
        InvalidMessage: there are none or more than 300, or one of them cannot be encoded.
    """
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidMessage(f"a bundle holds 1 to {MAX_MESSAGES} messages, not {len(messages)}")
    packed = bytearray(_MAGIC)
    for message in messages:
        meta = _encode_meta(app_key, message)
        packed += len(meta).to_bytes(_LENGTH_BYTES, "big") + meta
    packed.append(check_byte(packed))
    return bytes(packed)


def unpack(data: bytes) -> list[Message]:
    """Return the messages in a bundle's file. One that cannot be decoded has the body `Unknown`.

    Raises:
        ProtocolError: `data` is not the file of a bundle, or the file is damaged or incomplete, or it holds more than
            `MAX_UNPACKED` messages.
    """
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + 1:
        raise ProtocolError("this file is not a bundle of messages")
    if check_byte(data[:-1]) != data[-1]:
        raise ProtocolError("the bundle is damaged: its check byte is wrong", hint="Download it again.")
    return [message for meta in _metas(data) if (message := decode_roamed(meta)) is not None]


def _metas(data: bytes) -> Iterator[bytes]:
    offset, end = len(_MAGIC), len(data) - 1  # the last byte is the check byte
    for _ in range(MAX_UNPACKED):
        if offset >= end:
            return
        start = offset + _LENGTH_BYTES
        offset = start + int.from_bytes(data[offset:start], "big")
        if offset > end:
            raise ProtocolError("the bundle is incomplete: its last message is cut off", hint="Download it again.")
        yield data[start:offset]
    if offset < end:
        raise ProtocolError(f"the bundle holds more than {MAX_UNPACKED:,} messages")


def check_byte(data: bytes | bytearray) -> int:
    """Return the last byte of a bundle's file, from all bytes before it."""
    return reduce(xor, data[3::2], 0)


def _encode_meta(app_key: str, message: Message) -> bytes:
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
