"""What may be sent, what becomes of it, and how a refusal reads: fact sheet sections 4 to 6."""

import base64
import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.sandbox.server.raw_client import (
    PEOPLE,
    Device,
    Room,
    app_api,
    body_of,
    close_everything,
    is_text,
    new_name,
    sender_of,
    text_body,
    texts,
)

Content, KeyValue = schema.Content, schema.KeyValue
CONTENTS = {
    "txt": Content(type=0, text="好 🍵"),
    "img": Content(type=1, displayName="x.png", remotePath="http://h/x", secretKey="s", fileLength=16),
    "video": Content(type=2, displayName="v.mp4", remotePath="http://h/v", duration=3, fileLength=9),
    "loc": Content(type=3, latitude=39.9, longitude=116.4, address="北京"),
    "audio": Content(type=4, displayName="a.mp3", remotePath="http://h/a", duration=2),
    "file": Content(type=5, displayName="说明.txt", remotePath="http://h/f"),
    "cmd": Content(type=6, action="typing"),
    "custom": Content(type=7, customEvent="vote", customExts=[KeyValue(key="n", type=7, stringValue="2")]),
    "combine": Content(type=0, subType=0, text="upgrade", title="bundle", remotePath="http://h/c"),
}
IN_HISTORY = [kind for kind in CONTENTS if kind != "cmd"]


def thread_notice(meta: Any, operation: str) -> Any:
    data = json.loads(meta.payload)["data"] if meta.ns == 5 else {}
    return data if data.get("operation") == operation else None


def last_notice(device: Device, operation: str, found: Any = lambda data: True) -> Any:
    meta = device.until(lambda meta: (data := thread_notice(meta, operation)) and found(data), operation)
    assert min(meta.payload) >= 0x20, "a control byte kills the notice in the SDK"
    return json.loads(meta.payload)["data"]


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("kind", CONTENTS)
def test_every_kind_of_message_arrives_as_it_was_sent(room: Room, kind: str) -> None:
    ext = [
        KeyValue(key="big", type=2, varintValue=-(2**62)),
        KeyValue(key="j", type=8, stringValue="[1]"),
    ]
    body = schema.MessageBody(type=2, contents=[CONTENTS[kind]], ext=ext, meta='{"thread":{}}')
    sent = room.alice.send(room.thread, body)
    meta = room.bob.until(lambda meta: meta.id == sent)
    got = body_of(meta)
    assert (list(got.contents), list(got.ext)) == ([CONTENTS[kind]], ext)
    assert json.loads(got.meta) == {
        "thread": {"msg_parent_id": str(room.parent), "muc_parent_id": room.group, "thread_name": "Oolong"}
    }
    sender = getattr(meta, "from")
    assert (sender.name, sender.clientResource, meta.to.name) == (room.alice.user, "phone", room.thread)
    assert getattr(got, "from").name == room.alice.user
    assert (meta.ns, meta.meta) == (1, b'{"is_online":1}')
    assert meta.timestamp == sent >> 20
    # Commands pass through, the rest stays.
    history = room.bob.api.page(room.thread)["msgs"]
    assert len(history) == (kind in IN_HISTORY)


def test_a_group_message_carries_no_thread_mark_whatever_the_sender_claims(room: Room) -> None:
    body = text_body("not in a thread")
    body.meta = '{"thread":{"msg_parent_id":"1","muc_parent_id":"2","thread_name":"forged"}}'
    sent = room.alice.send(room.group, body)
    meta = room.carol.until(lambda meta: meta.id == sent)
    assert not body_of(meta).HasField("meta")


def test_a_thread_message_reaches_its_members_and_its_notice_the_whole_group(room: Room) -> None:
    sent = room.alice.send(room.thread, "tab\tand\nnewline")
    assert last_notice(room.carol, "update_msg")["message_count"] == 1
    data = last_notice(room.bob, "update_msg")
    assert data["last_message"]["id"] == str(sent)
    assert data["last_message"]["payload"]["bodies"] == [{"type": "txt", "msg": "tab\tand\nnewline"}]
    room.carol.settle()
    assert texts(room.carol.metas) == []


def test_a_directed_message_is_for_those_it_names_and_leaves_no_trace_in_the_history(room: Room) -> None:
    room.carol.api.join(room.thread)
    room.alice.send(room.thread, "only you", routetype=2, directedUsers=[room.bob.user.upper()])
    meta = room.bob.until(is_text("only you"))
    assert not meta.directedUsers
    room.carol.settle()
    assert texts(room.carol.metas) == []
    assert room.bob.api.page(room.thread)["msgs"] == []


def test_one_to_one_messages_pass_too(sandbox: Sandbox) -> None:
    alice, bob = Device(sandbox, new_name("alice")), Device(sandbox, new_name("bob"))
    tablet = Device(sandbox, alice.user, resource="tablet")
    sent = alice.send(bob.user, schema.MessageBody(type=1, contents=[CONTENTS["txt"]]), domain=PEOPLE)
    assert bob.until(lambda meta: meta.id == sent).to.name == bob.user
    assert alice.user in bob.notices
    tablet.until(lambda meta: meta.id == sent)
    assert bob.user in tablet.notices
    for reader, other in ((alice, bob), (bob, alice)):
        queue = f"{other.user}@{PEOPLE}"
        page = reader.api.ok("POST", f"/users/{reader.user}/messageroaming", json={"queue": queue})["data"]
        assert len(page["msgs"]) == 1


def test_ids_and_times_only_grow(room: Room) -> None:
    numbers = [room.alice.post(room.thread, text_body(str(number))) for number in range(100)]
    replies = [room.alice.reply_to(number) for number in numbers]
    ids = [reply.serverId for reply in replies]
    assert ids == sorted(set(ids))
    assert all(len(str(each)) == 19 for each in ids)
    times = [reply.timestamp for reply in replies]
    assert times == sorted(times)


# ---------------------------------------------------------------- refusals


def test_who_is_not_in_it_does_not_speak_in_it(room: Room, sandbox: Sandbox) -> None:
    stranger = Device(sandbox, new_name("dave"))
    outside = (1, "not in group or chatroom")
    assert room.carol.refused(room.thread, "a group member outside the thread") == outside
    assert stranger.refused(room.thread, "a stranger") == outside
    assert stranger.refused(room.group, "a stranger") == outside
    assert room.alice.refused("999999999999", "nowhere") == (1, "group not found")
    assert room.alice.refused("nobody-at-all", "nobody", domain=PEOPLE)[0] == 1


def test_what_is_too_large_is_refused_and_the_session_goes_on(room: Room) -> None:
    assert room.alice.refused(room.thread, "x" * 5200) == (7, "Sorry, data is too large")
    room.alice.send(room.thread, "x" * 4900)


def test_who_is_muted_does_not_speak_in_threads_either(room: Room) -> None:
    body = {"usernames": [room.bob.user], "mute_duration": -1}
    room.bob.api.refused("POST", f"/chatgroups/{room.group}/mute", 401, 40001, json=body)
    room.alice.api.ok("POST", f"/chatgroups/{room.group}/mute", json=body)
    assert room.bob.refused(room.group, "psst")[0] == 15
    assert room.bob.refused(room.thread, "psst")[0] == 15
    room.alice.api.ok("DELETE", f"/chatgroups/{room.group}/mute/{room.bob.user}")
    room.bob.send(room.thread, "again")


def test_nobody_speaks_in_a_disabled_group(room: Room, sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    app.ok("POST", f"/chatgroups/{room.group}/disable")
    assert room.alice.refused(room.thread, "psst") == (1, "group is disabled")
    app.ok("POST", f"/chatgroups/{room.group}/enable")
    room.alice.send(room.thread, "again")


# ---------------------------------------------------------------- recall


def test_a_recalled_message_is_gone_and_everybody_is_told(room: Room) -> None:
    first = room.alice.send(room.thread, "stays")
    sent = room.alice.send(room.thread, "goes")
    room.bob.until(is_text("goes"))
    body = schema.MessageBody(type=6, ackMessageId=sent, contents=[Content()], meta='{"thread":{}}')
    why = KeyValue(key="recallMessageExtensionInfo", type=7, stringValue="a typo")
    recall = room.alice.send(room.thread, body, ext=[why])
    meta = room.bob.until(lambda meta: meta.id == recall)
    got = body_of(meta)
    assert (got.type, got.ackMessageId, sender_of(meta), list(meta.ext)) == (6, sent, room.alice.user, [why])
    notice = last_notice(room.carol, "update_msg", lambda data: data["last_message"].get("id") == str(first))
    # The notices before it: one message, two messages, then one again.
    assert notice["message_count"] == 1
    room.carol.settle()
    assert thread_notice(room.carol.metas[-1], "update_msg")["message_count"] == 1
    history = room.bob.api.page(room.thread)["msgs"]
    assert len(history) == 1
    assert room.alice.recall(room.thread, sent).reason == "Sorry, message does not exist"


def test_who_has_not_seen_a_recalled_message_never_does(room: Room, sandbox: Sandbox) -> None:
    room.bob.leave()
    sent = room.alice.send(room.thread, "too late")
    assert room.alice.recall(room.thread, sent).errorCode == 0
    back = Device(sandbox, room.bob.user)
    back.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
    back.settle()
    assert texts(back.metas) == []


def test_only_the_sender_recalls_and_only_there(room: Room) -> None:
    sent = room.bob.send(room.thread, "mine")
    assert room.alice.recall(room.thread, sent).errorCode == 1
    assert room.bob.recall(room.group, sent).reason == "Sorry, message does not exist"
    assert room.bob.recall(room.thread, 2**64 - 1).reason == "Sorry, message does not exist"
    assert len(room.bob.api.page(room.thread)["msgs"]) == 1


def test_the_time_to_recall_ends() -> None:
    with Sandbox(recall_seconds=0.001) as sandbox:
        room = Room(sandbox)
        sent = room.alice.send(room.thread, "slow")
        while (status := room.alice.recall(room.thread, sent)).errorCode == 0:  # a machine too quick for this test
            sent = room.alice.send(room.thread, "slow")
        assert (status.errorCode, status.reason) == (1, "exceed recall time limit")
        app = app_api(sandbox)
        body = {"msg_id": str(sent), "to": room.thread, "chat_type": "groupchat"}
        answer = app.ok("POST", "/messages/msg_recall", json=body)["data"]
        assert answer == {"msgs": [{"msg_id": str(sent), "recalled": "exceed recall time limit"}]}
        assert app.ok("POST", "/messages/msg_recall", json={**body, "force": True})["data"]["recalled"] == "yes"
        meta = room.bob.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
        assert (sender_of(meta), body_of(meta).type) == ("admin", 6)
        assert room.bob.api.page(room.thread)["msgs"] == []
        close_everything()


def test_recalling_can_be_off() -> None:
    with Sandbox(recall_seconds=0) as sandbox:
        room = Room(sandbox)
        status = room.alice.recall(room.thread, room.alice.send(room.thread, "for ever"))
        assert (status.errorCode, status.reason) == (1, "message recall disabled")
        close_everything()


# ---------------------------------------------------------------- edits and read acks


def edit(message: int, content: Any, **more: Any) -> Any:
    return schema.MessageBody(
        type=8, editMessageId=message, contents=[content], editScope=1, meta='{"thread":{}}', **more
    )


def history(room: Room) -> list[Any]:
    found = room.alice.api.page(room.thread, is_positive=True)["msgs"]
    return [schema.Meta.FromString(base64.b64decode(each["msg"])) for each in found]


def test_an_edit_reaches_the_others_and_the_history(room: Room) -> None:
    sent = room.bob.send(room.thread, text_body("helo", ext=[KeyValue(key="k", type=7, stringValue="v")]))
    room.alice.until(is_text("helo"))
    reply = room.bob.reply_to(room.bob.post(room.thread, edit(sent, Content(type=0, text="hello"))))
    note = json.loads(reply.metas[0].payload)["edit_msg"]
    assert (note["count"], note["operator"], note["sender"], note["chat_type"]) == (
        1,
        room.bob.user,
        room.bob.user,
        "chat:group",
    )
    meta = room.alice.until(lambda meta: meta.ns == 1 and body_of(meta).type == 8)
    got = body_of(meta)
    assert (got.editMessageId, got.contents[0].text) == (sent, "hello")
    assert json.loads(got.meta)["edit_msg"] == note
    assert json.loads(got.meta)["thread"]["thread_name"] == "Oolong"
    stored = history(room)[0]
    assert stored.id == sent
    assert (body_of(stored).contents[0].text, body_of(stored).type) == ("hello", 2)
    assert body_of(stored).ext[0].stringValue == "v"
    assert json.loads(body_of(stored).meta)["edit_msg"]["count"] == 1


def test_who_may_edit_what_and_how_often(room: Room) -> None:
    sent = room.bob.send(room.thread, "text")
    place = room.bob.send(room.thread, schema.MessageBody(type=2, contents=[CONTENTS["loc"]]))
    room.carol.api.join(room.thread)
    text = Content(type=0, text="other")
    assert room.carol.refused(room.thread, edit(sent, text))[0] == 1
    assert room.bob.refused(room.thread, edit(place, CONTENTS["loc"]))[0] == 1
    ext = schema.MessageBody(type=8, editMessageId=place, editScope=2, ext=[KeyValue(key="k", type=1, varintValue=1)])
    room.bob.send(room.thread, ext)
    assert body_of(history(room)[1]).ext[0].key == "k"
    for _ in range(10):  # the group's owner may, ten times
        room.alice.send(room.thread, edit(sent, text))
    assert room.bob.refused(room.thread, edit(sent, text)) == (1, "a message may be edited 10 times")
    assert room.bob.refused(room.thread, edit(12345, text)) == (1, "Sorry, message does not exist")


def test_a_read_ack_tells_the_sender_how_many_have_read(room: Room) -> None:
    sent = room.alice.send(room.thread, "read me")
    ack = schema.MessageBody(type=4, ackMessageId=sent, contents=[Content()], ackContent="ok", meta='{"thread":{}}')
    room.bob.send(room.thread, ack)
    meta = room.alice.until(lambda meta: meta.ns == 1 and body_of(meta).type == 4)
    assert json.loads(body_of(meta).ext[0].stringValue) == {str(sent): 1}
    room.bob.send(room.thread, ack)
    readers = room.alice.api.ok("GET", f"/chatgroups/{room.thread}/acks/{sent}")["data"]
    assert [(each["from"], each["content"]) for each in readers] == [(room.bob.user, "ok")]
    room.carol.settle()
    assert not [meta for meta in room.carol.metas if meta.ns == 1]
