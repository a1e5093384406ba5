"""The list of conversations with unread counts, its pins, marks and deletions, and the one-way delete.

Source: docs/protocol.md#conversations, docs/protocol.md#one-way-delete.
"""

import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from imkit.wire.enums import BodyType
from imkit.wire.envelope import USER_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, TeaGroup, body_of, text_body, texts
from tests.sandbox.server.test_rest_history import metas


def listed(api: Api, **asked: Any) -> dict[str, dict[str, Any]]:
    found = api.ok("GET", f"/sdk/user/{api.user}/user_channels/list", params={"limit": 20, "cursor": "", **asked})
    return {entry["session_to"]: entry for entry in found["data"]["channel_infos"]}


def channel_ack(**more: Any) -> Any:
    return schema.MessageBody(type=BodyType.CHANNEL_ACK, contents=[schema.Content()], **more)


def notices_of(device: Device) -> list[dict[str, Any]]:
    device.receive_all()
    return [json.loads(meta.payload)["data"] for meta in device.metas if meta.ns == 5 and b"thread" not in meta.payload]


def history(api: Api, conversation: str) -> list[str]:
    return texts(metas(api.page(conversation, is_positive=True, pull_number=50)))


@pytest.fixture
def tea(sandbox: Sandbox) -> TeaGroup:
    return TeaGroup(sandbox)


def test_the_list_counts_what_others_said_since_the_last_clearing(sandbox: Sandbox, tea: TeaGroup) -> None:
    alice, bob = tea.alice, tea.bob
    first = alice.send(tea.group, "one")
    bob.send(tea.group, "his own does not count")
    alice.send(tea.thread, "a thread is no conversation of the list")
    entry = listed(bob.api)[tea.group]
    assert (entry["unread_num"], entry["session_type"], entry["is_top"], entry["marks"]) == (2, "groupchat", False, [])
    payload = json.loads(entry["meta"]["payload"])
    assert (payload["bodies"][0]["msg"], payload["from"]) == ("his own does not count", bob.user)
    assert tea.thread not in listed(bob.api)
    # A member who comes later has nothing unread.
    dora = Device(sandbox, new_name("dora"))
    alice.api.ok("POST", f"/chatgroups/{tea.group}/users/{dora.user}")
    assert listed(dora.api)[tea.group]["unread_num"] == 0
    # Clearing reaches the user's other devices, and in a group nobody else.
    second = Device(sandbox, bob.user, "tablet")
    bob.send(tea.group, channel_ack())
    ack = second.until(lambda meta: meta.ns == 1 and body_of(meta).type == BodyType.CHANNEL_ACK)
    assert (ack.to.name, getattr(ack, "from").clientResource) == (tea.group, "phone")
    assert listed(bob.api)[tea.group]["unread_num"] == 0
    assert listed(tea.carol.api)[tea.group]["unread_num"] == 3
    alice.receive_all()
    assert BodyType.CHANNEL_ACK not in [body_of(meta).type for meta in alice.metas if meta.ns == 1]
    alice.send(tea.group, "three")
    assert listed(bob.api)[tea.group]["unread_num"] == 1
    # A recalled message is not unread, and an ack is no message.
    assert alice.recall(tea.group, first).errorCode == 0
    assert listed(tea.carol.api)[tea.group]["unread_num"] == 3
    assert "" not in history(bob.api, tea.group)
    # A muted member may still read. SDK 5 clears all conversations with one ack to itself.
    alice.api.ok("POST", f"/chatgroups/{tea.group}/mute", json={"usernames": [bob.user], "mute_duration": -1})
    bob.send(bob.user, channel_ack(clearAllUnreadMessageCount=True, sendToPeer=False), domain=USER_DOMAIN)
    bob.send(tea.group, channel_ack())
    assert [entry["unread_num"] for entry in listed(bob.api).values()] == [0]


def test_one_to_one_conversations_are_listed_for_both(tea: TeaGroup) -> None:
    alice, bob = tea.alice, tea.bob
    alice.send(bob.user, text_body("hello"), domain=USER_DOMAIN)
    entry = listed(bob.api)[alice.user]
    assert (entry["session_type"], entry["unread_num"]) == ("chat", 1)
    assert list(listed(alice.api)) == [bob.user, tea.group]  # the newest message first
    assert listed(alice.api)[bob.user]["unread_num"] == 0
    # The other user learns of the ack, unless it must not.
    bob.send(alice.user, channel_ack(sendToPeer=False), domain=USER_DOMAIN)
    bob.send(alice.user, channel_ack(), domain=USER_DOMAIN)
    alice.receive_all()
    acks = [meta for meta in alice.metas if meta.ns == 1 and body_of(meta).type == BodyType.CHANNEL_ACK]
    assert [getattr(meta, "from").name for meta in acks] == [bob.user]
    assert listed(bob.api)[alice.user]["unread_num"] == 0
    path = f"/sdk/message/roaming/chat/user/{bob.user}"
    bob.api.ok("DELETE", f"{path}/time", params={"userId": alice.user, "delTime": 2**50})
    assert alice.user not in listed(bob.api)
    assert alice.user in listed(bob.api, needEmptySession="true")
    assert bob.user in listed(alice.api)


def test_pages_pins_and_marks(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice"))
    second = Device(sandbox, alice.user, "tablet")
    api, user = alice.api, alice.user
    groups = [api.group() for _ in range(5)]
    for group in groups[:4]:
        alice.send(group, "hi")
    found, cursor = [], ""
    while True:
        params = {"limit": 2, "cursor": cursor}
        data = api.ok("GET", f"/sdk/user/{user}/user_channels/list", params=params)["data"]
        found.append([entry["session_to"] for entry in data["channel_infos"]])
        cursor = data["cursor"]
        if not cursor:
            break
    assert found == [groups[3:1:-1], groups[1::-1]]
    assert groups[4] in listed(api, needEmptySession="true")
    # Pins.
    top = f"/sdk/user/{user}/user_channel/top"
    for group in groups[:2]:
        pinned = api.ok("POST", top, params={"resource": "phone"}, json={"type": "groupChat", "to": group})["data"]
        assert pinned["is_top"]
    assert list(listed(api, is_top="true")) == groups[1::-1]
    assert listed(api)[groups[0]]["is_top"]
    query = {"resource": "phone", "type": "groupChat", "to": groups[1]}
    assert api.ok("DELETE", top, params=query)["data"] == {"is_top": False, "update_top_status_time": 0}
    assert list(listed(api, is_top="true")) == [groups[0]]
    # Marks; what the user is not in is ignored. SDK 4 names no content type here.
    stranger = Device(sandbox, new_name("mallory")).api.group()
    targets = [{"to": group, "type": "groupchat"} for group in (groups[2], stranger)]
    body, headers = json.dumps({"mark": "mark_19", "targets": targets}), {"Content-Type": "text/plain;charset=UTF-8"}
    mark = f"/sdk/user/{user}/user_channels/mark"
    ignored = api.ok("POST", mark, params={"resource": "phone"}, content=body, headers=headers)["data"]["ignore"]
    assert [entry["to"] for entry in ignored] == [stranger]
    assert listed(api)[groups[2]]["marks"] == ["mark_19"]
    search = api.ok("GET", f"{mark}/search", params={"mark": "mark_19", "limit": 10, "cursor": ""})["data"]
    assert [entry["session_to"] for entry in search["channel_infos"]] == [groups[2]]
    api.ok("DELETE", mark, params={"resource": "phone"}, content=body, headers=headers)
    assert listed(api)[groups[2]]["marks"] == []
    # A deleted conversation comes back with the next message, without its pin.
    gone = {"channel": groups[0], "type": "groupChat", "delete_roam": True}
    api.ok("DELETE", f"/user/{user}/user_channel", params={"resource": "phone"}, content=json.dumps(gone))
    assert groups[0] not in listed(api, needEmptySession="true")
    assert history(api, groups[0]) == []
    alice.send(groups[0], "again")
    assert (listed(api)[groups[0]]["is_top"], history(api, groups[0])) == (False, ["again"])
    # The other device is told of each, and the device that did it is not.
    told = notices_of(second)
    operations = ["top", "top", "not_top", "mark", "mark_delete", "del"]
    assert [(each["op"], each["from"], each["res"]) for each in told] == [(op, user, "phone") for op in operations]
    assert (told[3]["ext"], told[3]["type"], told[3]["id"]) == ("mark_19", "groupchat", groups[2])
    assert notices_of(alice) == []
    # The forms of earlier SDKs.
    old = api.ok("GET", f"/users/{user}/user_channels/page", params={"pageNum": 2, "pageSize": 3})["data"]
    assert [entry["channel_id"].split("_")[1].split("@")[0] for entry in old["channel_infos"]] == [groups[1]]
    assert len(api.ok("GET", f"/users/{user}/user_channels")["data"]["channel_infos"]) == 4
    assert api.ok("GET", f"/user/{user}/roster/metadata/version")["data"] == {"version": "1"}
    # Limits.
    api.refused("POST", top, 400, json={"type": "chatroom", "to": groups[0]})
    api.refused("GET", f"{mark}/search", 400, params={"mark": "mark_20"})
    api.refused("POST", mark, 400, json={"mark": "mark_1", "targets": targets * 11})
    api.refused("GET", f"/sdk/user/{user}/user_channels/list", 400, params={"cursor": "99999999999999999999-x"})


def test_a_user_forgets_messages_and_nobody_else_does(sandbox: Sandbox, tea: TeaGroup) -> None:
    alice, bob = tea.alice, tea.bob
    second = Device(sandbox, bob.user, "tablet", acknowledge=False)
    ids = [alice.send(tea.thread, f"message {number}") for number in range(4)]
    edited = schema.Content(type=0, text="edited 1")
    alice.send(tea.thread, schema.MessageBody(type=BodyType.EDIT, editMessageId=ids[1], contents=[edited]))
    path = f"/sdk/message/roaming/group/user/{bob.user}"
    here = {"groupId": tea.thread, "resource": "phone"}
    unknown = [7, tea.parent]  # of nothing, and of another conversation
    ids_text = ",".join(map(str, [ids[1], *unknown, ids[1]]))
    bob.api.ok("DELETE", path, params={**here, "msgIdList": ids_text})
    assert history(bob.api, tea.thread) == ["message 0", "message 2", "message 3"]
    assert len(history(alice.api, tea.thread)) == 4
    assert history(bob.api, tea.group) == ["parent"]
    # It leaves the user's queues: a device that comes later does not get it.
    late = Device(sandbox, bob.user, "laptop")
    late.receive_all()
    assert "message 2" in texts(late.metas)
    assert not {"message 1", "edited 1"} & set(texts(late.metas))
    # What was sent before a time; a time in the future stands for now.
    bob.api.ok("DELETE", f"{path}/time", params={**here, "delTime": ids[3] >> 20})
    left = [f"message {number}" for number in (0, 2, 3) if ids[number] >> 20 >= ids[3] >> 20]
    assert history(bob.api, tea.thread) == left
    newest = bob.api.ok("POST", "/thread/message", json={"threadIds": [tea.thread]})["entities"][0]["last_message"]
    assert newest["id"] == str(ids[3])
    bob.api.ok("DELETE", f"{path}/time", params={**here, "delTime": 10**17})
    alice.send(tea.thread, "later")
    assert history(bob.api, tea.thread) == ["later"]
    second.acknowledge = True
    second.receive_all()
    told = notices_of(second)
    assert [each.get("msgIdList") for each in told] == [[str(ids[1])], None, None]
    assert [each.get("deleteTime") for each in told] == [None, ids[3] >> 20, 10**17]
    assert {(each["to"], each["chatType"], each["resource"]) for each in told} == {(tea.thread, "groupchat", "phone")}
    # What is forgotten is not unread.
    unread = [alice.send(tea.group, "unread") for _ in range(2)]
    assert listed(bob.api)[tea.group]["unread_num"] == 3
    bob.api.ok("DELETE", path, params={**here, "groupId": tea.group, "msgIdList": unread[0]})
    assert listed(bob.api)[tea.group]["unread_num"] == 2
    # Everything at once.
    bob.api.ok("POST", f"/sdk/message/roaming/user/{bob.user}/delete/all")
    assert listed(bob.api) == {}
    assert history(bob.api, tea.group) == history(bob.api, tea.thread) == []
    assert len(history(alice.api, tea.thread)) == 5


def test_one_forgets_only_for_oneself_and_only_where_one_is(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "stays")
    carol = tea.carol  # she is in the group, and not in the thread
    of_alice = f"/sdk/message/roaming/group/user/{tea.alice.user}"
    carol.api.refused("DELETE", of_alice, 403, params={"groupId": tea.thread, "msgIdList": sent})
    path = f"/sdk/message/roaming/group/user/{carol.user}"
    carol.api.refused("DELETE", path, 403, params={"groupId": tea.thread, "msgIdList": sent})
    carol.api.refused("DELETE", f"{path}/time", 403, params={"groupId": tea.thread, "delTime": 2**60 // 10})
    carol.api.refused("DELETE", path, 404, params={"groupId": "20", "msgIdList": sent})
    here = {"groupId": tea.group}
    for wrong in ("", ",", "x", "-1", "9" * 20, ",".join(["7"] * 51), "7," * 5000):
        carol.api.refused("DELETE", path, 400, params={**here, "msgIdList": wrong})
    for wrong in ("", "0", "-1", "1.5", "9" * 19, "soon"):
        carol.api.refused("DELETE", f"{path}/time", 400, params={**here, "delTime": wrong})
    carol.api.refused("DELETE", path.replace("/group/", "/room/"), 400, params={**here, "msgIdList": sent})
    # With the id of a message elsewhere nothing happens.
    carol.api.ok("DELETE", path, params={**here, "msgIdList": sent})
    assert history(tea.alice.api, tea.thread) == ["stays"]
