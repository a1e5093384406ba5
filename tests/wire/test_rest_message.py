"""Messages in JSON: no JSON value raises an exception, whatever its form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from imkit.wire import schema
from imkit.wire.downlink import decode_meta
from imkit.wire.enums import BodyType, NameSpace
from imkit.wire.rest_message import message_from_json, thread_ref
from tests.wire.checks import check_event, check_message
from tests.wire.recorded import chat_meta
from tests.wire.strategies import ODD_JSON, REST_MESSAGES, often


@often(150)
@given(data=ODD_JSON | REST_MESSAGES)
def test_no_json_raises(data: Any) -> None:
    message = message_from_json(data)
    if message is not None:
        check_message(message)
    ref = thread_ref(data, "7") if isinstance(data, dict) else None
    assert ref is None or isinstance(ref.name, str)


@pytest.mark.parametrize(
    "payload", ["", "x", "[]", "7", "null", '{"bodies": {}}', "[" * 100_000, '{"from": "\\ud800"}']
)
def test_a_payload_may_be_json_text(payload: str) -> None:
    message = message_from_json({"id": "7", "from": "org#app_bob", "to": "org#app_42@x", "payload": payload})
    assert message is not None
    check_message(message)
    text = json.dumps({"from": "bob", "to": "42", "bodies": [{"type": "txt", "msg": "hi"}]})
    message = message_from_json({"id": "7", "payload": text})
    assert message is not None
    assert (message.sender, message.to, message.text) == ("bob", "42", "hi")


@often(150)
@given(data=ODD_JSON | REST_MESSAGES)
def test_no_json_in_a_meta_raises(data: Any) -> None:
    notice = {"type": "thread", "data": {"operation": "update", "last_message": data, "message_count": data}}
    meta = schema.Meta(id=5, ns=NameSpace.NOTIFY, payload=json.dumps(notice).encode())
    check_event(decode_meta(meta.SerializeToString()))
    marks = json.dumps({"thread": data, "thread_overview": data, "edit_msg": data})
    check_event(decode_meta(chat_meta(schema.MessageBody(type=BodyType.GROUPCHAT, meta=marks))))
