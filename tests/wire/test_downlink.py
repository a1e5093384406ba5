"""Received Metas: no bytes raise an exception, and messages do not share mutable marks."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.events import MessageRead
from imkit.messages import Text
from imkit.times import from_milliseconds
from imkit.wire import downlink, schema, uplink
from imkit.wire.downlink import decode_meta, decode_roamed
from imkit.wire.enums import BodyType, ValueType
from tests.wire import service
from tests.wire.checks import check_edit_answer, check_event, check_message, check_outputs
from tests.wire.recorded import METAS, chat_meta, damaged
from tests.wire.service import APP, THREAD
from tests.wire.strategies import often

HOSTILE_JSON = [
    '{"type":"conv","data":{"op":"mark","id":["x"],"ext":"mark_' + "9" * 5000 + '","ts":1e999,"from":"\\ud800"}}',
    '{"type":"roaming_delete","data":{"to":{},"msgIdList":["\\ud800","../7",7,null],"deleteTime":"' + "9" * 30 + '"}}',
    "[" * 100_000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '{"thread":' + "[" * 900 + "]" * 900 + "}",
    '{"thread":{"thread_name":' + "1" * 5000 + "}}",
    '{"thread":{"thread_name":"\\ud800","muc_parent_id":' + "9" * 4000 + ',"msg_parent_id":1e999}}',
    '{"thread":NaN,"edit_msg":{"count":1e400,"edit_time":-1e300,"send_time":99999999999999999999}}',
    '{"edit_msg":{"count":123456789012345678901234567890,"edit_time":true,"operator":["x"],"sender":"\\udfff"}}',
    '{"type":"thread","data":{"operation":"update","message_count":' + "9" * 4000 + ',"timestamp":1e308}}',
    '{"type":"thread","data":{"operation":"create","name":"\\ud83c","timestamp":-5,"id":null}}',
    '{"type":"thread","data":{"operation":"update","last_message":{"payload":{"ext":{"\\ud800":[1e999,NaN]},"bodies":'
    '[{"type":"loc","lat":NaN,"lng":1e999}]}}}}',
    '{"type":"user_metadata_updated","data":{"username":["x"],"lastModified":1e999,"metadata":{"nickname":"\\ud83c"}}}',
    '{"type":"contact_metadata_updated","data":{"username":7,"metadata":{"mail":[],"gender":' + "9" * 4000 + "}}}",
    '{"type":{"a":1},"data":[]}',
    '{"type":"conv","data":{"op":"pin","ext":"7","ts":1e999,"id":["x"],"type":"chat","from":{"a":1}}}',
    '{"type":"conv","data":{"op":["pin"],"ext":' + "9" * 4000 + "}}",
    '{"thread_overview":{"message_count":1e999,"create_timestamp":"99999999999999999999","last_message":{"id":[]}}}',
    '{"reaction":[{"reaction":"\\ud83c","count":1e999},7,null,' + "[" * 500 + "]" * 500 + "]}",
    '{"type":"reaction","data":[7,{"messageId":"7","ts":1e999,"reactions":[null,{"reaction":"\\ud83c","count":1e999,'
    '"op":[{"operator":["x"],"reactionType":"create"},{"operator":"\\udfff","reactionType":"delete"},7]}]}]}',
    '{"type":"reaction","data":{"messageId":[' + "[" * 900 + "]" * 900 + "]}}",
    "\ufeff{}",
    "nul",
    '"\\ud800"',
    "1" * 100_000,
]


def statistics(location: str, operation: int = 0) -> bytes:
    body = schema.StatisticsBody(operation=operation, location=location)
    encoded: bytes = schema.Meta(id=6, ns=0, timestamp=5, payload=body.SerializeToString()).SerializeToString()
    return encoded


def metas_with_hostile_json() -> list[bytes]:
    metas = []
    for hostile in HOSTILE_JSON:
        metas.append(schema.Meta(id=5, ns=5, payload=hostile.encode()).SerializeToString())
        item = schema.KeyValue(key="k", type=ValueType.JSON_STRING, stringValue=hostile)
        recall = schema.KeyValue(key=uplink.RECALL_EXT, type=ValueType.JSON_STRING, stringValue=hostile)
        metas.append(statistics(hostile))
        for kind in (BodyType.GROUPCHAT, BodyType.RECALL, BodyType.EDIT, BodyType.READ_ACK, BodyType.CHANNEL_ACK):
            content = [schema.Content(type=0, text="x")]
            metas.append(chat_meta(schema.MessageBody(type=kind, meta=hostile, contents=content)))
            metas.append(chat_meta(schema.MessageBody(type=kind, ext=[item], contents=content), ext=[recall]))
            custom = [schema.Content(type=7, customEvent="e", customExts=[item])]
            metas.append(chat_meta(schema.MessageBody(type=kind, contents=custom)))
    nowhere = schema.Content(type=3, latitude=math.nan, longitude=math.inf)
    endless = schema.Content(type=1, size=schema.Size(width=math.inf, height=-1))
    numbers = [schema.KeyValue(key=str(kind), type=kind, doubleValue=math.nan) for kind in range(1, 9)]
    numbers += [schema.KeyValue(key="-", floatValue=math.inf), schema.KeyValue(key="u", type=3, varintValue=-1)]
    metas += [chat_meta(schema.MessageBody(type=2, contents=[part], ext=numbers)) for part in (nowhere, endless)]
    return metas


@often(300)
@given(data=st.binary(max_size=200) | damaged(METAS))
def test_no_meta_raises(data: bytes) -> None:
    check_event(decode_meta(data))
    check_edit_answer([data])
    message = decode_roamed(data)
    if message is not None:
        check_message(message)


@often(150)
@given(payload=st.binary(max_size=80) | damaged([schema.Meta.FromString(meta).payload for meta in METAS]))
def test_no_payload_of_a_meta_raises(payload: bytes) -> None:
    for space in range(7):
        check_event(decode_meta(b"\x08\x07\x28" + bytes([space]) + b"\x32" + bytes([len(payload) % 128]) + payload))
    for space in (0, 1, 2, 5):
        meta = schema.Meta(id=7, ns=space, payload=payload).SerializeToString()
        check_event(decode_meta(meta))
        roamed = decode_roamed(meta)
        if roamed is not None:
            check_message(roamed)


def test_no_deep_or_large_json_raises() -> None:
    metas = metas_with_hostile_json()
    for data in metas:
        check_event(decode_meta(data))
        roamed = decode_roamed(data)
        if roamed is not None:
            check_message(roamed)
    protocol = service.logged_in()
    check_outputs(protocol.receive(service.page(metas, 5), now=1.0))
    for hostile in HOSTILE_JSON:
        for auth_token in (hostile, '{"expires_in":' + hostile + "}"):
            _, logging_in, *_ = service.protocol_states()
            check_outputs(logging_in.receive(service.login_reply(authToken=auth_token), now=1.0))


def test_messages_do_not_share_mutable_marks() -> None:
    marks = {"thread": {"thread_name": "tea"}, "reaction": [{"reaction": "👍", "count": 1}]}
    sent = uplink.encode_message(THREAD, "bob", Text("tea?"), client_id=1)
    one, other = (decode_roamed(service.as_delivered(sent, number, "bob", 5, marks)) for number in (7, 8))
    assert one is not None
    assert other is not None
    assert one.reactions == other.reactions
    assert one.reactions[0] is not other.reactions[0]


def test_marks_are_read_from_the_meta_too() -> None:
    sent = uplink.encode_message(THREAD, "bob", Text("tea?"), client_id=1)
    reactions = [{"reaction": "👍", "count": 1}]
    meta = schema.Meta.FromString(service.as_delivered(sent, 7, "bob", 5, {"thread": {"thread_name": "tea"}}))
    meta.meta = json.dumps({"is_online": 1, "thread": {"thread_name": "old"}, "reaction": reactions}).encode()
    message = decode_roamed(meta.SerializeToString())
    assert message is not None
    assert message.thread is not None
    assert (message.thread.name, message.reactions) == ("tea", tuple(reactions))


@pytest.mark.parametrize("place", ["mark", "receiver"])
def test_long_marks_are_not_cached(place: str) -> None:
    long = "tea" * 1000
    marks = {"thread": {"thread_name": long if place == "mark" else "tea"}}
    to = uplink.Address(APP, long if place == "receiver" else "42", is_thread=True)
    sent = uplink.encode_message(to, "bob", Text("tea?"), client_id=1)
    message = decode_roamed(service.as_delivered(sent, 7, "bob", 5, marks))
    assert message is not None
    assert long in (message.to, message.thread and message.thread.name)
    assert not [kept for kept in downlink._marks_cache if long in "".join(kept)]


def read_ack(*ext: tuple[str, str], kind: ValueType = ValueType.JSON_STRING, **fields: Any) -> Any:
    items = [schema.KeyValue(key=key, type=kind, stringValue=value) for key, value in ext]
    return decode_meta(chat_meta(schema.MessageBody(type=BodyType.READ_ACK, ext=items, **fields)))


def test_read_acks_of_both_generations() -> None:
    one = read_ack(("any", '{"7":2}'), ackMessageId=7, ackContent="ok")
    assert (one.message_ids, one.counts, one.words) == (("7",), {"7": 2}, "ok")
    several = read_ack(
        *(("other", '{"7":9}'), ("group_ack_count", '{"7":"2","8":"x","9":3}')),
        ackMessageIds=[7, 8, 7],
        ackMessageId=5,
    )
    assert (several.message_ids, several.counts, several.words) == (("7", "8"), {"7": 2, "8": 0}, "")
    assert read_ack(("any", '{"7":2}'), kind=ValueType.STRING, ackMessageId=7).counts == {"7": 2}
    assert read_ack(("any", "7"), ackMessageId=7).counts == read_ack(ackMessageId=7).counts == {}
    assert read_ack() is None
    # Numbers alone, for a sender who was offline.
    location = '{"group_ack":[{"groupId":"42","7":2,"8":"1","x":3},{"groupId":["x"],"9":1},{"groupId":"43"},7]}'
    at = from_milliseconds(5)
    assert decode_meta(statistics(location)) == (
        MessageRead(("7", "8"), "42", "", at, "", {"7": 2, "8": 1}),
        MessageRead(("9",), "", "", at, "", {"9": 1}),
    )
    assert decode_meta(statistics("{}")) is None
    assert isinstance(decode_meta(statistics(location, operation=2)), downlink.Kicked)
