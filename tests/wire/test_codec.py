"""Message bodies: each kind survives encoding and decoding, and a wrong field is refused before it is sent."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.errors import InvalidMessage
from imkit.events import MessageReceived
from imkit.messages import (
    Attachment,
    Audio,
    Body,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Text,
    ThreadRef,
    Unknown,
    Video,
)
from imkit.times import to_milliseconds
from imkit.wire import schema, uplink
from imkit.wire.downlink import decode_meta, decode_roamed
from imkit.wire.envelope import Envelope
from tests.wire import service
from tests.wire.service import ALICE, THREAD
from tests.wire.strategies import HALF, NINE_BODIES, WORDS, often


def exact_repr(value: Any) -> str:
    """Return a text that differs for 1, 1.0 and True, and for -0.0 and 0.0, although these are equal."""
    return repr(value.ext) + repr(getattr(value, "params", None)) if isinstance(value, Body) else repr(value)


@pytest.mark.parametrize("kind", NINE_BODIES, ids=lambda kind: kind.__name__)
def test_a_body_is_the_same_after_encoding_and_decoding(kind: type[Body]) -> None:
    @often(50)
    @given(
        body=NINE_BODIES[kind],
        message_id=st.integers(1, 2**64 - 1),
        at=st.integers(0, 253_402_300_799_999),
        sender=WORDS,
        name=st.text(max_size=20),
    )
    def check(body: Body, message_id: int, at: int, sender: str, name: str) -> None:
        meta = uplink.encode_message(THREAD, sender, body, client_id=7)
        up = schema.MSync.FromString(Envelope(ALICE).send(meta, trace_id=1))
        sent = schema.CommSyncUL.FromString(up.payload).meta
        mark = {"thread": {"msg_parent_id": str(2**64 - 1), "muc_parent_id": "200000032964000", "thread_name": name}}
        data = service.as_delivered(sent, message_id, sender, at, mark)
        event = decode_meta(data)
        assert isinstance(event, MessageReceived)
        for message in (event.message, decode_roamed(data)):
            assert message is not None
            assert message.body == body
            assert exact_repr(message.body) == exact_repr(body)
            assert (message.id, message.sender, message.to) == (str(message_id), sender, THREAD.name)
            assert message.thread == ThreadRef(THREAD.name, name, "200000032964000", str(2**64 - 1))
            assert to_milliseconds(message.time) == at
            assert message.resource == "web_1"

    check()


NOT_TEXT: list[Any] = [5, 1.5, b"bytes", b"\xff", HALF, f"ok {HALF}", ["x"], {"a": 1}, True, object()]
NOT_INT32: list[Any] = ["1", b"1", 1.5, 2.0, True, 2**31, -(2**31) - 1, 10**5000, math.nan, [1], 1j, object()]
NOT_FINITE: list[Any] = [
    "1",
    b"1",
    True,
    False,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    [1.0],
    1j,
    Decimal(1),
    object(),
]
ATTACHMENTS: list[type[Attachment]] = [Image, Audio, Video, File]
FIELDS: list[tuple[type[Body], str, list[Any]]] = [
    (Text, "text", [None, *NOT_TEXT]),
    (Command, "action", [None, *NOT_TEXT]),
    (Custom, "event", [None, *NOT_TEXT]),
    *((Location, name, [None, *NOT_TEXT]) for name in ("address", "building_name")),
    *((Location, name, [None, "", *NOT_FINITE]) for name in ("lat", "lng")),
    *((Combine, name, [None, *NOT_TEXT]) for name in ("title", "summary", "fallback")),
    *((kind, name, NOT_TEXT) for kind in (*ATTACHMENTS, Combine) for name in ("url", "file_name", "secret")),
    *((kind, "file_size", ["", *NOT_INT32]) for kind in (*ATTACHMENTS, Combine)),
    *((kind, "duration", ["", *NOT_INT32]) for kind in (Audio, Video)),
    *((Video, name, NOT_TEXT) for name in ("thumbnail_url", "thumbnail_secret")),
    *((Image, name, ["", *NOT_FINITE]) for name in ("width", "height")),
    (Combine, "level", [None, "", *NOT_INT32]),
]


@pytest.mark.parametrize(
    ("kind", "name", "values"), FIELDS, ids=[f"{kind.__name__}-{name}" for kind, name, _ in FIELDS]
)
def test_a_field_of_the_wrong_type_or_size_is_refused(kind: type[Body], name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidMessage) as refused:
            uplink.encode_message(THREAD, "bob", kind(**{name: value}), client_id=7)
        assert name in str(refused.value)


@pytest.mark.parametrize("body", [Unknown(b"x"), "text", None, Body(), Text, object()])
def test_only_the_nine_kinds_of_body_can_be_sent(body: Any) -> None:
    with pytest.raises(InvalidMessage):
        uplink.encode_message(THREAD, "bob", body, client_id=7)
