"""Sent Metas: ids stay exact, and wrong ids, receivers and texts are refused before they are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.errors import InvalidMessage
from imkit.events import MessageEdited, MessageRecalled
from imkit.messages import (
    Text,
)
from imkit.wire import uplink
from imkit.wire.downlink import decode_meta
from imkit.wire.rest_message import message_from_json
from tests.wire import service
from tests.wire.service import APP, MARK, THREAD
from tests.wire.strategies import HALF, often, optional


@often(100)
@given(message_id=st.integers(0, 2**64 - 1), other=st.integers(2**53, 2**64 - 1), ext=optional(st.text()))
def test_ids_stay_exact(message_id: int, other: int, ext: str | None) -> None:
    assert uplink.wire_id(str(message_id)) == message_id
    sent = uplink.encode_recall(THREAD, "bob", str(message_id), client_id=7, ext=ext)
    event = decode_meta(service.as_delivered(sent, other, "bob", 5))
    assert isinstance(event, MessageRecalled)
    assert (event.message_id, event.by, event.to, event.ext) == (str(message_id), "bob", THREAD.name, ext or "")
    edit = uplink.encode_edit(THREAD, "bob", str(message_id), Text("new", ext={"id": str(other)}), client_id=8)
    marks = {**MARK, "edit_msg": {"count": 2, "operator": "bob", "edit_time": 9, "sender": "ann", "send_time": 4}}
    edited = decode_meta(service.as_delivered(edit, other, "bob", 5, marks))
    assert isinstance(edited, MessageEdited)
    assert (edited.message.id, edited.message.sender, edited.count) == (str(message_id), "ann", 2)
    assert edited.message.ext == {"id": str(other)}
    for read in (str(other), other):  # the service writes ids as strings; a number must keep all its digits too
        message = message_from_json(json.loads(json.dumps({"id": read, "payload": {"to": read}})))
        assert message is not None
        assert (message.id, message.to) == (str(other), str(other))


@pytest.mark.parametrize("value", [HALF, 5, None, b"x", ["a"]])
def test_ids_and_texts_beside_a_body_must_be_strings(value: Any) -> None:
    with pytest.raises(InvalidMessage):
        uplink.encode_message(uplink.Address(APP, value), "bob", Text("x"), client_id=7)
    with pytest.raises(InvalidMessage):
        uplink.encode_message(THREAD, "bob", Text("x"), client_id=7, receivers=[value])
    if value is not None:
        with pytest.raises(InvalidMessage):
            uplink.encode_recall(THREAD, "bob", "7", client_id=7, ext=value)
    with pytest.raises(InvalidMessage):
        uplink.encode_read_ack(THREAD, "bob", "7", client_id=7, text=value)


def test_receivers_must_be_a_list() -> None:
    with pytest.raises(InvalidMessage):
        uplink.encode_message(THREAD, "bob", Text("x"), client_id=7, receivers="carol")


NOT_IDS: list[Any] = ["", " 7", "7 ", "+7", "-7", "7.0", "1e3", "0x7", "七", "７", "²", "1_000", HALF, "7\n", "1" * 21]
NOT_IDS += [str(2**64), str(10**20 - 1), 7, 7.0, True, None, b"7", ["7"], 10**5000, object()]


@pytest.mark.parametrize("value", NOT_IDS, ids=range(len(NOT_IDS)))
def test_an_invalid_message_id_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage) as refused:
        uplink.wire_id(value)
    str(refused.value).encode()
    with pytest.raises(InvalidMessage):
        uplink.encode_recall(THREAD, "bob", value, client_id=7)


@often(200)
@given(value=st.text(max_size=30))
def test_a_text_is_a_message_id_or_is_refused(value: str) -> None:
    try:
        assert 0 <= uplink.wire_id(value) < 2**64
        assert set(value) <= set("0123456789")
    except InvalidMessage:
        assert not value.isdecimal() or not value.isascii() or int(value) >= 2**64
