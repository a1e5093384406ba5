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
    TeaGroup,
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
def test_every_kind_of_message_arrives_as_it_was_sent(tea: TeaGroup, kind: str) -> None:
    ext = [
        KeyValue(key="big", type=2, varintValue=-(2**62)),
        KeyValue(key="j", type=8, stringValue="[1]"),
    ]
    body = schema.MessageBody(type=2, contents=[CONTENTS[kind]], ext=ext, meta='{"thread":{}}')
    sent = tea.alice.send(tea.thread, body)
    meta = tea.bob.until(lambda meta: meta.id == sent)
    got = body_of(meta)
    assert (list(got.contents), list(got.ext)) == ([CONTENTS[kind]], ext)
    assert json.loads(got.meta) == {
        "thread": {"msg_parent_id": str(tea.parent), "muc_parent_id": tea.group, "thread_name": "Oolong"}
    }
    sender = getattr(meta, "from")
    assert (sender.name, sender.clientResource, meta.to.name) == (tea.alice.user, "phone", tea.thread)
    assert getattr(got, "from").name == tea.alice.user
    assert (meta.ns, meta.meta) == (1, b'{"is_online":1}')
    assert meta.timestamp == sent >> 20
    # Commands pass through, the rest stays.
    history = tea.bob.api.page(tea.thread)["msgs"]
    assert len(history) == (kind in IN_HISTORY)


def test_a_group_message_carries_no_thread_mark_whatever_the_sender_claims(tea: TeaGroup) -> None:
    body = text_body("not in a thread")
    body.meta = '{"thread":{"msg_parent_id":"1","muc_parent_id":"2","thread_name":"forged"}}'
    sent = tea.alice.send(tea.group, body)
    meta = tea.carol.until(lambda meta: meta.id == sent)
    assert not body_of(meta).HasField("meta")


def test_a_thread_message_reaches_its_members_and_its_notice_the_whole_group(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "tab\tand\nnewline")
    assert last_notice(tea.carol, "update_msg")["message_count"] == 1
    data = last_notice(tea.bob, "update_msg")
    assert data["last_message"]["id"] == str(sent)
    assert data["last_message"]["payload"]["bodies"] == [{"type": "txt", "msg": "tab\tand\nnewline"}]
    tea.carol.settle()
    assert texts(tea.carol.metas) == []


def test_a_directed_message_is_for_those_it_names_and_leaves_no_trace_in_the_history(tea: TeaGroup) -> None:
    tea.carol.api.join(tea.thread)
    tea.alice.send(tea.thread, "only you", routetype=2, directedUsers=[tea.bob.user.upper()])
    meta = tea.bob.until(is_text("only you"))
    assert not meta.directedUsers
    tea.carol.settle()
    assert texts(tea.carol.metas) == []
    assert tea.bob.api.page(tea.thread)["msgs"] == []


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


def test_ids_and_times_only_grow(tea: TeaGroup) -> None:
    numbers = [tea.alice.post(tea.thread, text_body(str(number))) for number in range(100)]
    replies = [tea.alice.reply_to(number) for number in numbers]
    ids = [reply.serverId for reply in replies]
    assert ids == sorted(set(ids))
    assert all(len(str(each)) == 19 for each in ids)
    times = [reply.timestamp for reply in replies]
    assert times == sorted(times)


# ---------------------------------------------------------------- refusals


def test_who_is_not_in_it_does_not_speak_in_it(tea: TeaGroup, sandbox: Sandbox) -> None:
    stranger = Device(sandbox, new_name("dave"))
    outside = (1, "not in group or chatroom")
    assert tea.carol.refused(tea.thread, "a group member outside the thread") == outside
    assert stranger.refused(tea.thread, "a stranger") == outside
    assert stranger.refused(tea.group, "a stranger") == outside
    assert tea.alice.refused("999999999999", "nowhere") == (1, "group not found")
    assert tea.alice.refused("nobody-at-all", "nobody", domain=PEOPLE)[0] == 1


def test_what_is_too_large_is_refused_and_the_session_goes_on(tea: TeaGroup) -> None:
    assert tea.alice.refused(tea.thread, "x" * 5200) == (7, "Sorry, data is too large")
    tea.alice.send(tea.thread, "x" * 4900)


def test_who_is_muted_does_not_speak_in_threads_either(tea: TeaGroup) -> None:
    body = {"usernames": [tea.bob.user], "mute_duration": -1}
    tea.bob.api.refused("POST", f"/chatgroups/{tea.group}/mute", 401, 40001, json=body)
    tea.alice.api.ok("POST", f"/chatgroups/{tea.group}/mute", json=body)
    assert tea.bob.refused(tea.group, "psst")[0] == 15
    assert tea.bob.refused(tea.thread, "psst")[0] == 15
    tea.alice.api.ok("DELETE", f"/chatgroups/{tea.group}/mute/{tea.bob.user}")
    tea.bob.send(tea.thread, "again")


def test_nobody_speaks_in_a_disabled_group(tea: TeaGroup, sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    app.ok("POST", f"/chatgroups/{tea.group}/disable")
    assert tea.alice.refused(tea.thread, "psst") == (1, "group is disabled")
    app.ok("POST", f"/chatgroups/{tea.group}/enable")
    tea.alice.send(tea.thread, "again")


# ---------------------------------------------------------------- recall


def test_a_recalled_message_is_gone_and_everybody_is_told(tea: TeaGroup) -> None:
    first = tea.alice.send(tea.thread, "stays")
    sent = tea.alice.send(tea.thread, "goes")
    tea.bob.until(is_text("goes"))
    body = schema.MessageBody(type=6, ackMessageId=sent, contents=[Content()], meta='{"thread":{}}')
    why = KeyValue(key="recallMessageExtensionInfo", type=7, stringValue="a typo")
    recall = tea.alice.send(tea.thread, body, ext=[why])
    meta = tea.bob.until(lambda meta: meta.id == recall)
    got = body_of(meta)
    assert (got.type, got.ackMessageId, sender_of(meta), list(meta.ext)) == (6, sent, tea.alice.user, [why])
    notice = last_notice(tea.carol, "update_msg", lambda data: data["last_message"].get("id") == str(first))
    # The notices before it: one message, two messages, then one again.
    assert notice["message_count"] == 1
    tea.carol.settle()
    assert thread_notice(tea.carol.metas[-1], "update_msg")["message_count"] == 1
    history = tea.bob.api.page(tea.thread)["msgs"]
    assert len(history) == 1
    assert tea.alice.recall(tea.thread, sent).reason == "Sorry, message does not exist"


def test_who_has_not_seen_a_recalled_message_never_does(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.leave()
    sent = tea.alice.send(tea.thread, "too late")
    assert tea.alice.recall(tea.thread, sent).errorCode == 0
    back = Device(sandbox, tea.bob.user)
    back.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
    back.settle()
    assert texts(back.metas) == []


def test_only_the_sender_recalls_and_only_there(tea: TeaGroup) -> None:
    sent = tea.bob.send(tea.thread, "mine")
    assert tea.alice.recall(tea.thread, sent).errorCode == 1
    assert tea.bob.recall(tea.group, sent).reason == "Sorry, message does not exist"
    assert tea.bob.recall(tea.thread, 2**64 - 1).reason == "Sorry, message does not exist"
    assert len(tea.bob.api.page(tea.thread)["msgs"]) == 1


def test_the_time_to_recall_ends() -> None:
    with Sandbox(recall_seconds=0.001) as sandbox:
        tea = TeaGroup(sandbox)
        sent = tea.alice.send(tea.thread, "slow")
        while (status := tea.alice.recall(tea.thread, sent)).errorCode == 0:  # a machine too quick for this test
            sent = tea.alice.send(tea.thread, "slow")
        assert (status.errorCode, status.reason) == (1, "exceed recall time limit")
        app = app_api(sandbox)
        body = {"msg_id": str(sent), "to": tea.thread, "chat_type": "groupchat"}
        answer = app.ok("POST", "/messages/msg_recall", json=body)["data"]
        assert answer == {"msgs": [{"msg_id": str(sent), "recalled": "exceed recall time limit"}]}
        assert app.ok("POST", "/messages/msg_recall", json={**body, "force": True})["data"]["recalled"] == "yes"
        meta = tea.bob.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
        assert (sender_of(meta), body_of(meta).type) == ("admin", 6)
        assert tea.bob.api.page(tea.thread)["msgs"] == []
        close_everything()


def test_recalling_can_be_off() -> None:
    with Sandbox(recall_seconds=0) as sandbox:
        tea = TeaGroup(sandbox)
        status = tea.alice.recall(tea.thread, tea.alice.send(tea.thread, "for ever"))
        assert (status.errorCode, status.reason) == (1, "message recall disabled")
        close_everything()


# ---------------------------------------------------------------- edits and read acks


def edit(message: int, content: Any, **more: Any) -> Any:
    return schema.MessageBody(
        type=8, editMessageId=message, contents=[content], editScope=1, meta='{"thread":{}}', **more
    )


def history(tea: TeaGroup) -> list[Any]:
    found = tea.alice.api.page(tea.thread, is_positive=True)["msgs"]
    return [schema.Meta.FromString(base64.b64decode(each["msg"])) for each in found]


def test_an_edit_reaches_the_others_and_the_history(tea: TeaGroup) -> None:
    sent = tea.bob.send(tea.thread, text_body("helo", ext=[KeyValue(key="k", type=7, stringValue="v")]))
    tea.alice.until(is_text("helo"))
    reply = tea.bob.reply_to(tea.bob.post(tea.thread, edit(sent, Content(type=0, text="hello"))))
    note = json.loads(reply.metas[0].payload)["edit_msg"]
    assert (note["count"], note["operator"], note["sender"], note["chat_type"]) == (
        1,
        tea.bob.user,
        tea.bob.user,
        "chat:group",
    )
    meta = tea.alice.until(lambda meta: meta.ns == 1 and body_of(meta).type == 8)
    got = body_of(meta)
    assert (got.editMessageId, got.contents[0].text) == (sent, "hello")
    assert json.loads(got.meta)["edit_msg"] == note
    assert json.loads(got.meta)["thread"]["thread_name"] == "Oolong"
    stored = history(tea)[0]
    assert stored.id == sent
    assert (body_of(stored).contents[0].text, body_of(stored).type) == ("hello", 2)
    assert body_of(stored).ext[0].stringValue == "v"
    assert json.loads(body_of(stored).meta)["edit_msg"]["count"] == 1


def test_who_may_edit_what_and_how_often(tea: TeaGroup) -> None:
    sent = tea.bob.send(tea.thread, "text")
    place = tea.bob.send(tea.thread, schema.MessageBody(type=2, contents=[CONTENTS["loc"]]))
    tea.carol.api.join(tea.thread)
    text = Content(type=0, text="other")
    assert tea.carol.refused(tea.thread, edit(sent, text))[0] == 1
    assert tea.bob.refused(tea.thread, edit(place, CONTENTS["loc"]))[0] == 1
    ext = schema.MessageBody(type=8, editMessageId=place, editScope=2, ext=[KeyValue(key="k", type=1, varintValue=1)])
    tea.bob.send(tea.thread, ext)
    assert body_of(history(tea)[1]).ext[0].key == "k"
    for _ in range(10):  # the group's owner may, ten times
        tea.alice.send(tea.thread, edit(sent, text))
    assert tea.bob.refused(tea.thread, edit(sent, text)) == (1, "a message may be edited 10 times")
    assert tea.bob.refused(tea.thread, edit(12345, text)) == (1, "Sorry, message does not exist")


def test_a_read_ack_tells_the_sender_how_many_have_read(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "read me")
    ack = schema.MessageBody(type=4, ackMessageId=sent, contents=[Content()], ackContent="ok", meta='{"thread":{}}')
    tea.bob.send(tea.thread, ack)
    meta = tea.alice.until(lambda meta: meta.ns == 1 and body_of(meta).type == 4)
    assert json.loads(body_of(meta).ext[0].stringValue) == {str(sent): 1}
    tea.bob.send(tea.thread, ack)
    readers = tea.alice.api.ok("GET", f"/chatgroups/{tea.thread}/acks/{sent}")["data"]
    assert [(each["from"], each["content"]) for each in readers] == [(tea.bob.user, "ok")]
    tea.carol.settle()
    assert not [meta for meta in tea.carol.metas if meta.ns == 1]
