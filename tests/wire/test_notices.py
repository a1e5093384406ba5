"""Notices of the service: each operation that one tells becomes an event."""

from __future__ import annotations

import json

from imkit.events import GroupChanged, ReactionChanged, ThreadChanged
from imkit.times import from_milliseconds
from imkit.wire import schema
from imkit.wire.downlink import decode_meta
from imkit.wire.protocol import Deliver
from tests.wire import service


def reaction_notice(*entries: object) -> bytes:
    payload = json.dumps({"type": "reaction", "data": entries}).encode()
    encoded: bytes = schema.Meta(id=9, ns=5, timestamp=5, payload=payload).SerializeToString()
    return encoded


def test_each_operation_in_a_notice_of_reactions_is_an_event() -> None:
    def step(operator: str, kind: str) -> dict[str, str]:
        return {"operator": operator, "reactionType": kind}

    thumbs = {"reaction": "👍", "count": 2, "userList": ["a", "b"], "op": [step("a", "create"), step("b", "create")]}
    unchanged = {"reaction": "🍵", "count": 1, "userList": ["a"]}
    gone = {"reaction": "😂", "count": 0, "userList": [], "op": [step("a", "delete"), step("a", "flip"), 7]}
    entry = {"messageId": "77", "to": "42", "channel_type": "groupchat", "ts": 1000, "reactions": [thumbs, unchanged]}
    other = {"messageId": 78, "to": "bob", "reactions": [gone, None]}
    nowhere = {"messageId": "../7", "reactions": [thumbs]}
    at, notified = from_milliseconds(1000), from_milliseconds(5)
    assert decode_meta(reaction_notice(entry, other, nowhere, 7)) == (
        ReactionChanged("77", "42", "👍", "a", "added", 2, at),
        ReactionChanged("77", "42", "👍", "b", "added", 2, at),
        ReactionChanged("78", "bob", "😂", "a", "removed", 0, notified),
    )
    protocol = service.logged_in()
    protocol.receive(service.notice(), now=1.0)
    (delivered,) = [
        output
        for output in protocol.receive(service.page([reaction_notice(entry)], 5), now=1.0)
        if isinstance(output, Deliver)
    ]
    assert [event.by for event in delivered.events if isinstance(event, ReactionChanged)] == ["a", "b"]


def test_a_removed_member_may_be_named_in_the_json_of_a_thread_notice() -> None:
    data = {"id": "42", "name": "tea", "muc_parent_id": "7", "from": "boss", "operation": "kick", "userIds": ["bob"]}
    payload = json.dumps({"type": "thread", "data": data}).encode()
    event = decode_meta(schema.Meta(id=9, ns=5, timestamp=5, payload=payload).SerializeToString())
    assert isinstance(event, ThreadChanged)
    assert (event.operation, event.thread_id, event.operator, event.user) == ("member_removed", "42", "boss", "bob")


def test_a_group_notice_names_its_users_in_either_field() -> None:
    jids = [schema.JID(name="first")]
    for fields in (
        {"members": ["bob", "carol"], "to": jids},
        {"to": [schema.JID(name="bob"), schema.JID(name="carol")]},
    ):
        body = schema.MUCBody(operation=23, mucId=schema.JID(name="42"), **fields)
        event = decode_meta(schema.Meta(id=9, ns=2, timestamp=5, payload=body.SerializeToString()).SerializeToString())
        assert isinstance(event, GroupChanged)
        assert (event.operation, event.users) == ("muteMember", ("bob", "carol"))
