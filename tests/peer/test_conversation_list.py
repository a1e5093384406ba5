"""The official SDK lists, pins, marks, deletes and clears conversations, and deletes messages one way."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.peer.conftest import Login, TeaGroup
from tests.peer.peer import Device, Peer, SdkError
from tests.sandbox.server.raw_client import Server

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


def listed(device: Device, call: str = "getServerConversations", **asked: Any) -> dict[str, dict[str, Any]]:
    found = device.call(call, {"pageSize": 20, "cursor": "", **asked})["data"]["conversations"]
    return {entry["conversationId"]: entry for entry in found}


def texts_of(device: Device, conversation: str) -> list[str]:
    asked = {"targetId": conversation, "chatType": "groupChat", "pageSize": 20, "searchDirection": "down"}
    return [message["msg"] for message in device.call("getHistoryMessages", asked)["messages"]]


def test_the_list_of_conversations_and_its_changes(
    sandbox: Server, peer: Peer, login: Login, tea: TeaGroup, new_user: Callable[[str], str]
) -> None:
    alice, bob, group = tea.alice, tea.bob, tea.group
    second = login(peer, bob.user, new=False)
    last = alice.send(group, msg="二", thread=False, ext={"deep": [1]})["serverMsgId"]
    alice.send(tea.thread, msg="in the thread")
    entry = listed(bob)[group]
    assert (entry["unReadCount"], entry["conversationType"], entry["isPinned"]) == (2, "groupChat", False)
    message = entry["lastMessage"]
    told = [message[name] for name in ("id", "msg", "from", "to", "ext", "chatType")]
    assert told == [last, "二", alice.user, group, {"deep": [1]}, "groupChat"]
    assert tea.thread not in listed(bob)
    bob.send(group, "channel", thread=False)
    assert second.wait("onChannelMessage")["to"] == group
    assert listed(bob)[group]["unReadCount"] == 0

    it = {"conversationId": group, "conversationType": "groupChat"}
    pinned = bob.call("pinConversation", {**it, "isPinned": True})["data"]
    assert pinned["isPinned"]
    second.wait("onMultiDeviceEvent", operation="pinnedConversation", conversationId=group)
    assert listed(bob, "getServerPinnedConversations")[group]["pinnedTime"] == pinned["pinnedTime"]
    assert bob.call("pinConversation", {**it, "isPinned": False})["data"] == {"isPinned": False, "pinnedTime": 0}
    second.wait("onMultiDeviceEvent", operation="unpinnedConversation", conversationId=group)
    bob.call("addConversationMark", {"conversations": [it], "mark": 3})
    second.wait("onMultiDeviceEvent", operation="markConversation", conversationMark=3, conversationId=group)
    marked = listed(bob, "getServerConversationsByFilter", filter={"mark": 3})
    assert marked[group]["marks"] == [3]
    bob.call("removeConversationMark", {"conversations": [it], "mark": 3})
    second.wait("onMultiDeviceEvent", operation="unMarkConversation", conversationMark=3)
    bob.call("deleteConversation", {"channel": group, "chatType": "groupChat", "deleteRoam": False})
    second.wait("onMultiDeviceEvent", operation="deleteConversation", conversationType="groupChat")
    assert group not in listed(bob)
    assert texts_of(bob, group) == ["Which oolong?", "二"]
    alice.send(group, msg="三", thread=False)
    assert listed(bob)[group]["unReadCount"] == 1
    channels = bob.call("getSessionList")["data"]["channel_infos"]
    assert [channel["unread_num"] for channel in channels if group in channel["channel_id"]] == [1]
    old = bob.call("getConversationlist", {"pageNum": 1, "pageSize": 20})["data"]["channel_infos"]
    assert [channel["lastMessage"]["msg"] for channel in old if group in channel["channel_id"]] == ["三"]
    with pytest.raises(SdkError):
        bob.call("pinConversation", {"conversationId": "7", "conversationType": "groupChat", "isPinned": True})
    # One-to-one: the other user learns that its messages were read.
    alice.call("send", {"chatType": "singleChat", "to": bob.user, "type": "txt", "msg": "hi"})
    assert listed(bob)[alice.user]["conversationType"] == "singleChat"
    assert listed(bob)[alice.user]["lastMessage"]["chatType"] == "singleChat"
    bob.call("send", {"chatType": "singleChat", "to": alice.user, "type": "channel"})
    assert alice.wait("onChannelMessage")["from"] == bob.user


def test_one_way_delete(peer: Peer, login: Login, tea: TeaGroup) -> None:
    alice, bob = tea.alice, tea.bob
    second = login(peer, bob.user, new=False)
    ids = [alice.send(tea.thread, msg=word)["serverMsgId"] for word in ("one", "two", "three")]
    bob.call("removeHistoryMessages", {"targetId": tea.thread, "chatType": "groupChat", "messageIds": ids[:1]})
    deleted = second.wait("onMultiDeviceEvent", operation="deleteRoaming")
    assert (deleted["conversationId"], deleted["chatType"]) == (tea.thread, "groupChat")
    assert texts_of(bob, tea.thread) == ["two", "three"]
    before = {"targetId": tea.thread, "chatType": "groupChat", "beforeTimeStamp": 10**15}
    bob.call("removeHistoryMessages", before)
    second.wait_for(2, "onMultiDeviceEvent", operation="deleteRoaming")
    assert texts_of(bob, tea.thread) == []
    assert texts_of(alice, tea.thread) == ["one", "two", "three"]
    bob.call("deleteAllMessagesAndConversations")
    assert listed(bob) == {}
    assert texts_of(bob, tea.group) == []
