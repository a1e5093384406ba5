"""Messages, recalls, edits and read acks: which bytes arrive where, and what the history then holds.

Source: docs/protocol.md#sending, docs/protocol.md#recall, docs/protocol.md#editing, docs/protocol.md#read-receipts.
"""

import base64
import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from imkit.wire.downlink import decode_roamed
from imkit.wire.envelope import USER_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import (
    Device,
    TeaGroup,
    body_of,
    is_text,
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
    # Commands are delivered but not stored.
    history = tea.bob.api.page(tea.thread)["msgs"]
    assert len(history) == (kind in IN_HISTORY)


def test_a_forged_thread_mark_of_a_group_message_is_removed(tea: TeaGroup) -> None:
    body = text_body("not in a thread")
    body.meta = '{"thread":{"msg_parent_id":"1","muc_parent_id":"2","thread_name":"forged"}}'
    sent = tea.alice.send(tea.group, body)
    meta = tea.carol.until(lambda meta: meta.id == sent)
    assert not body_of(meta).HasField("meta")


def test_a_member_cannot_pretend_to_stream_a_text(tea: TeaGroup) -> None:
    body = schema.MessageBody(type=2, contents=[Content(type=0, text="forged", subType=10)])
    body.stream.streamSeq = 1
    sent = tea.alice.send(tea.thread, body)
    got = body_of(tea.bob.until(lambda meta: meta.id == sent))
    assert (got.HasField("stream"), list(got.contents)) == (False, [Content(type=0, text="forged")])
    last = last_notice(tea.bob, "update_msg")["last_message"]
    assert last["payload"]["bodies"] == [{"type": "txt", "msg": "forged"}]


def test_a_thread_message_reaches_its_members_and_its_notice_the_whole_group(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "tab\tand\nnewline")
    assert last_notice(tea.carol, "update_msg")["message_count"] == 1
    data = last_notice(tea.bob, "update_msg")
    assert data["last_message"]["id"] == str(sent)
    assert data["last_message"]["payload"]["bodies"] == [{"type": "txt", "msg": "tab\tand\nnewline"}]
    tea.carol.receive_all()
    assert texts(tea.carol.metas) == []


def test_a_directed_message_reaches_the_named_users_and_is_not_stored(tea: TeaGroup) -> None:
    tea.carol.api.join(tea.thread)
    tea.alice.send(tea.thread, "only you", routetype=2, directedUsers=[tea.bob.user.upper()])
    meta = tea.bob.until(is_text("only you"))
    assert not meta.directedUsers
    tea.carol.receive_all()
    assert texts(tea.carol.metas) == []
    assert tea.bob.api.page(tea.thread)["msgs"] == []


def test_one_to_one_messages_reach_the_other_user_and_the_senders_devices(sandbox: Sandbox) -> None:
    alice, bob = Device(sandbox, new_name("alice")), Device(sandbox, new_name("bob"))
    tablet = Device(sandbox, alice.user, resource="tablet")
    sent = alice.send(bob.user, schema.MessageBody(type=1, contents=[CONTENTS["txt"]]), domain=USER_DOMAIN)
    assert bob.until(lambda meta: meta.id == sent).to.name == bob.user
    assert alice.user in bob.notices
    tablet.until(lambda meta: meta.id == sent)
    assert bob.user in tablet.notices
    for reader, other in ((alice, bob), (bob, alice)):
        queue = f"{other.user}@{USER_DOMAIN}"
        page = reader.api.ok("POST", f"/users/{reader.user}/messageroaming", json={"queue": queue})["data"]
        assert len(page["msgs"]) == 1


def test_ids_and_times_grow(tea: TeaGroup) -> None:
    numbers = [tea.alice.post(tea.thread, text_body(str(number))) for number in range(100)]
    replies = [tea.alice.reply_to(number) for number in numbers]
    ids = [reply.serverId for reply in replies]
    assert ids == sorted(set(ids))
    assert all(len(str(each)) == 19 for each in ids)
    times = [reply.timestamp for reply in replies]
    assert times == sorted(times)


# ---------------------------------------------------------------- refusals


def test_a_too_large_message_is_refused_and_the_session_continues(tea: TeaGroup) -> None:
    assert tea.alice.refused(tea.thread, "x" * 5200) == (7, "Sorry, data is too large")
    tea.alice.send(tea.thread, "x" * 4900)


# ---------------------------------------------------------------- recall


def test_a_recall_deletes_the_message_and_reaches_all_members(tea: TeaGroup) -> None:
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
    # The notices counted one message, then two, then one again.
    assert notice["message_count"] == 1
    tea.carol.receive_all()
    assert thread_notice(tea.carol.metas[-1], "update_msg")["message_count"] == 1
    history = tea.bob.api.page(tea.thread)["msgs"]
    assert len(history) == 1
    assert tea.alice.recall(tea.thread, sent).reason == "Sorry, message does not exist"


def test_a_message_that_is_recalled_before_its_delivery_is_not_delivered(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.leave()
    sent = tea.alice.send(tea.thread, "too late")
    tea.alice.send(tea.thread, edit(sent, Content(type=0, text="too late, too")))
    assert tea.alice.recall(tea.thread, sent).errorCode == 0
    back = Device(sandbox, tea.bob.user)
    back.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
    back.receive_all()
    assert not [meta for meta in back.metas if b"too late" in meta.payload]  # neither in an edit, nor in a notice
    assert last_notice(back, "update_msg")["last_message"] == {}


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

    # An edit of the attributes alone: SDK 5 drops one without a content, so the receivers get the message's own.
    attribute = KeyValue(key="k", type=2, varintValue=7)
    without = schema.MessageBody(type=8, editMessageId=sent, editScope=2, ext=[attribute])
    tea.bob.send(tea.thread, without)
    got = body_of(tea.alice.until(lambda meta: meta.ns == 1 and body_of(meta).editScope == 2))
    assert (got.contents[0].text, got.ext[0].varintValue) == ("hello", 7)


def test_a_read_ack_tells_the_sender_the_number_of_readers(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "read me")
    forged = schema.KeyValue(key="group_ack_count", type=8, stringValue='{"1":99}')
    ack = schema.MessageBody(type=4, ackMessageId=sent, contents=[Content()], ackContent="ok", ext=[forged])
    tea.bob.send(tea.thread, ack)
    receipt = body_of(tea.alice.until(lambda meta: meta.ns == 1 and body_of(meta).type == 4))
    # SDK 4 reads `ackMessageId` and the first entry, SDK 5 `ackMessageIds` and the entry of this name.
    assert (receipt.ackMessageId, receipt.ackMessageIds[:], receipt.ackContent) == (sent, [sent], "ok")
    assert [(entry.key, json.loads(entry.stringValue)) for entry in receipt.ext] == [
        ("group_ack_count", {str(sent): 1})
    ]
    tea.bob.send(tea.thread, ack)
    acks = tea.alice.api.ok("GET", f"/chatgroups/{tea.thread}/acks/{sent}")["data"]
    assert (acks["ackmid"], acks["group_ack"]["total"], acks["group_ack"]["is_last"]) == (str(sent), 1, True)
    (reader,) = acks["group_ack"]["userlist"]
    assert (reader["username"], reader["ack_content"], reader["timestamp"] > 0) == (tea.bob.user, "ok", True)
    tea.carol.receive_all()
    assert not [meta for meta in tea.carol.metas if meta.ns == 1]


def receipts_of(device: Device) -> dict[int, Any]:
    """Return the counts of the read acks that a device got, by message id."""
    device.receive_all()
    acks = [body_of(meta) for meta in device.metas if meta.ns == 1 and body_of(meta).type == 4]
    return {ack.ackMessageId: ack.ext and json.loads(ack.ext[0].stringValue) for ack in acks}


def test_one_read_ack_of_many_messages_tells_each_sender_of_his_own(tea: TeaGroup) -> None:
    hers = [tea.alice.send(tea.group, f"hers {number}") for number in range(3)]
    his = tea.bob.send(tea.group, "his")
    elsewhere = tea.alice.send(tea.thread, "in the thread")
    for reader in (tea.carol, tea.bob):
        reader.send(tea.group, schema.MessageBody(type=4, ackMessageIds=[*hers, his, elsewhere, 7, hers[0]]))
    assert receipts_of(tea.alice) == {message: {str(message): 2} for message in hers}
    assert receipts_of(tea.bob)[his] == {str(his): 1}
    asked = {"messageIds": [str(each) for each in (hers[0], his, elsewhere, 7)] + ["x"]}
    counts = tea.carol.api.ok("POST", f"/chatgroups/{tea.group}/acks/batch", json=asked)["data"]
    assert counts == [{"ackmid": str(hers[0]), "total": 2}, {"ackmid": str(his), "total": 2}]
    # In pages; SDK 4 sends the word "undefined" for no key.
    found, key = [], "undefined"
    while key:
        params = {"limit": 1, "key": key}
        page = tea.alice.api.ok("GET", f"/chatgroups/{tea.group}/acks/{hers[0]}", params=params)["data"]["group_ack"]
        found += [each["username"] for each in page["userlist"]]
        assert page["total"] == 2
        key = page["next_key"]
        assert page["is_last"] == (key == "")
    assert sorted(found) == sorted([tea.carol.user, tea.bob.user])

    too_many = schema.MessageBody(type=4, ackMessageIds=range(1, 52))
    assert tea.bob.refused(tea.group, too_many) == (1, "limit send group ack msg")
    for unknown in ([elsewhere], [7, 8], []):
        refused = tea.bob.refused(tea.group, schema.MessageBody(type=4, ackMessageIds=unknown))
        assert refused == (1, "Sorry, message does not exist")
    tea.alice.api.refused("GET", f"/chatgroups/{tea.group}/acks/{hers[0]}?key=x", 400)
    tea.alice.api.refused("POST", f"/chatgroups/{tea.group}/acks/batch", 400, json={"messageIds": ["7"] * 51})
    error = tea.alice.api.refused("GET", f"/chatgroups/{tea.group}/acks/{elsewhere}", 404)["error"]
    assert error == "message_not_found"
    # A receipt of delivery in a group counts no reader.
    tea.bob.send(tea.group, schema.MessageBody(type=5, ackMessageId=his))
    assert tea.bob.api.ok("POST", f"/chatgroups/{tea.group}/acks/batch", json=asked)["data"] == counts


def test_read_acks_in_a_one_to_one_conversation(tea: TeaGroup) -> None:
    sent = [tea.alice.send(tea.bob.user, f"{number}", domain=USER_DOMAIN) for number in range(2)]
    forged = schema.KeyValue(key="group_ack_count", type=8, stringValue='{"1":99}')
    ack = schema.MessageBody(type=4, ackMessageIds=sent, ext=[forged])
    tea.bob.send(tea.alice.user, ack, domain=USER_DOMAIN)
    assert {message: len(ext) for message, ext in receipts_of(tea.alice).items()} == dict.fromkeys(sent, 0)


def test_what_the_sandbox_does_not_know_passes_through(tea: TeaGroup) -> None:
    text = schema.Content(type=0, text="new fields", imageType=2)
    body = schema.MessageBody(
        type=2,
        contents=[text],
        userInfoUpdateTime=14,
        namecardUpdateTime=15,
        sendToPeer=True,
        ackMessageIds=[7, 2**64 - 1],
        clearAllUnreadMessageCount=True,
    )
    body.MergeFromString(b"\xa2\x06\x05later")  # field 100
    sent = tea.alice.send(tea.thread, body, env="staging")
    delivered = tea.bob.until(lambda meta: meta.id == sent)
    for found in (delivered, *(meta for meta in history(tea) if meta.id == sent)):
        assert found.env == "staging"
        kept = schema.MessageBody.FromString(found.payload)
        assert (kept.userInfoUpdateTime, kept.namecardUpdateTime, kept.sendToPeer) == (14, 15, True)
        assert (list(kept.ackMessageIds), kept.clearAllUnreadMessageCount) == ([7, 2**64 - 1], True)
        assert (kept.contents[0].imageType, b"later" in found.payload) == (2, True)
        message = decode_roamed(found.SerializeToString())
        assert message is not None
        assert (message.text, message.env) == ("new fields", "staging")
