"""A chat thread (子区) from its creation to its end, as the official SDK sees it."""

import pytest

from tests.peer.conftest import Room
from tests.peer.peer import Device, SdkError

pytestmark = pytest.mark.peer

NO_SUCH_THREAD, ALREADY_THERE, NO_PERMISSION, NOT_A_MEMBER = 1300, 1301, {52, 603}, {602, 603, 605}


def test_creating_tells_the_group_and_nobody_else(room: Room) -> None:
    parent = room.alice.send(room.group, msg="Which cups?", thread=False)["serverMsgId"]
    named = {"parentId": room.group, "name": "杯子 ☕", "messageId": parent}
    thread = room.bob.call("createChatThread", named)["data"]["chatThreadId"]
    for hearer in (room.alice, room.carol):
        told = hearer.wait("onChatThreadChange", id=thread)
        assert told["operation"] == "create"
        assert (told["name"], told["parentId"], told["messageId"]) == ("杯子 ☕", room.group, parent)
        assert told["operator"] == room.bob.user
        assert told["createTimestamp"] > 1_600_000_000_000
    assert room.dave.seen("onChatThreadChange", id=thread) == []

    about = room.bob.call("getChatThreadDetail", {"chatThreadId": thread})["data"]
    assert (about["id"], about["name"], about["owner"]) == (thread, "杯子 ☕", room.bob.user)
    assert (about["parentId"], about["messageId"], about["affiliationsCount"]) == (room.group, parent, 1)


def test_a_message_carries_one_thread(room: Room) -> None:
    with pytest.raises(SdkError) as refused:
        room.bob.call("createChatThread", {"parentId": room.group, "name": "again", "messageId": room.parent})
    assert refused.value.type == ALREADY_THERE


def test_a_stranger_creates_nothing(room: Room) -> None:
    parent = room.alice.send(room.group, msg="another", thread=False)["serverMsgId"]
    with pytest.raises(SdkError):
        room.dave.call("createChatThread", {"parentId": room.group, "name": "mine", "messageId": parent})


def test_joining_and_leaving(room: Room) -> None:
    thread = {"chatThreadId": room.thread}
    with pytest.raises(SdkError) as refused:
        room.bob.call("joinChatThread", thread)
    assert refused.value.type == ALREADY_THERE
    joined = room.carol.call("joinChatThread", thread)["data"]["detail"]
    assert (joined["id"], joined["name"], joined["parentId"]) == (room.thread, "Oolong", room.group)
    assert joined["messageId"] == room.parent

    sent = room.alice.send(room.thread, msg="welcome")
    room.carol.wait("onTextMessage", id=sent["serverMsgId"])
    room.carol.call("leaveChatThread", thread)
    room.carol.clear()
    room.alice.send(room.thread, msg="behind your back")
    room.fence(room.carol)
    assert [heard["msg"] for heard in room.carol.seen("onTextMessage")] == ["fence"]
    assert room.carol.call("getJoinedChatThreads", {"pageSize": 20})["entities"] == []


def test_members_come_in_pages(room: Room) -> None:
    asked = {"chatThreadId": room.thread}
    everyone = room.alice.call("getChatThreadMembers", {**asked, "pageSize": 50})["data"]["affiliations"]
    assert sorted(everyone) == sorted([room.alice.user, room.bob.user])
    one_by_one, cursor = [], ""
    for _ in everyone:
        page = room.alice.call("getChatThreadMembers", {**asked, "pageSize": 1, "cursor": cursor})
        one_by_one += page["data"]["affiliations"]
        assert len(one_by_one) <= len(everyone)
        cursor = (page.get("properties") or {}).get("cursor")
    assert sorted(one_by_one) == sorted(everyone)
    assert not cursor


def listed(device: Device, method: str, **options: object) -> list[dict[str, object]]:
    entities = device.call(method, {"pageSize": 20, **options})["entities"]
    assert isinstance(entities, list)
    return entities


def test_threads_are_listed_for_those_who_may_know(room: Room) -> None:
    for entities in (
        listed(room.bob, "getJoinedChatThreads"),
        listed(room.bob, "getJoinedChatThreads", parentId=room.group),
        listed(room.carol, "getChatThreads", parentId=room.group),
    ):
        (entity,) = entities
        assert (entity["id"], entity["name"], entity["owner"]) == (room.thread, "Oolong", room.alice.user)
        assert (entity["parentId"], entity["messageId"]) == (room.group, room.parent)
    assert listed(room.carol, "getJoinedChatThreads") == []
    with pytest.raises(SdkError):
        listed(room.dave, "getChatThreads", parentId=room.group)


def test_many_threads_are_listed_in_pages(room: Room) -> None:
    made = {room.thread}
    for number in range(4):
        parent = room.alice.send(room.group, msg=f"topic {number}", thread=False)["serverMsgId"]
        named = {"parentId": room.group, "name": f"topic {number}", "messageId": parent}
        made.add(room.alice.call("createChatThread", named)["data"]["chatThreadId"])
    found, cursor = [], ""
    while True:
        page = room.carol.call("getChatThreads", {"parentId": room.group, "pageSize": 2, "cursor": cursor})
        found += [entity["id"] for entity in page["entities"]]
        assert len(found) <= len(made)
        cursor = (page.get("properties") or {}).get("cursor")
        if not cursor:
            break
    assert sorted(found) == sorted(made)


def test_last_messages(room: Room) -> None:
    def last() -> list[dict[str, object]]:
        entities = room.bob.call("getChatThreadLastMessage", {"chatThreadIds": [room.thread]})["entities"]
        assert [entity["chatThreadId"] for entity in entities] == [room.thread]
        return [entity["lastMessage"] for entity in entities if entity.get("lastMessage")]

    assert [message for message in last() if message.get("id")] == []
    sent = room.alice.send(room.thread, msg="Dong Ding")
    (message,) = last()
    assert (message["id"], message["msg"]) == (sent["serverMsgId"], "Dong Ding")


def test_renaming(room: Room) -> None:
    renamed = room.alice.call("changeChatThreadName", {"chatThreadId": room.thread, "name": "乌龙"})
    assert renamed["data"]["name"] == "乌龙"
    for hearer in (room.bob, room.carol):
        hearer.wait("onChatThreadChange", operation="update", id=room.thread, name="乌龙")
    sent = room.bob.send(room.thread, msg="better")
    assert room.alice.wait("onTextMessage", id=sent["serverMsgId"])["chatThread"]["chatThreadName"] == "乌龙"
    # Bob is in the thread, and neither made it nor runs the group.
    with pytest.raises(SdkError) as refused:
        room.bob.call("changeChatThreadName", {"chatThreadId": room.thread, "name": "mine"})
    assert refused.value.type in NO_PERMISSION


def test_removing_a_member(room: Room) -> None:
    with pytest.raises(SdkError) as refused:
        room.bob.call("removeChatThreadMember", {"chatThreadId": room.thread, "username": room.alice.user})
    assert refused.value.type in NO_PERMISSION
    removed = room.alice.call("removeChatThreadMember", {"chatThreadId": room.thread, "username": room.bob.user})
    assert removed["data"]["result"] is True
    told = room.bob.wait("onChatThreadChange", operation="userRemove", id=room.thread)
    assert (told["parentId"], told["userName"]) == (room.group, room.bob.user)
    assert told["operator"] == room.alice.user


def test_destroying(room: Room) -> None:
    thread = {"chatThreadId": room.thread}
    with pytest.raises(SdkError) as refused:
        room.bob.call("destroyChatThread", thread)
    assert refused.value.type in NO_PERMISSION
    room.alice.call("destroyChatThread", thread)
    for hearer in (room.bob, room.carol):
        told = hearer.wait("onChatThreadChange", operation="destroy", id=room.thread)
        assert told["parentId"] == room.group
    with pytest.raises(SdkError) as gone:
        room.alice.call("getChatThreadDetail", thread)
    assert gone.value.type == NO_SUCH_THREAD
    with pytest.raises(SdkError) as nowhere:
        room.bob.send(room.thread, msg="anybody?")
    assert nowhere.value.type in {*NOT_A_MEMBER, NO_SUCH_THREAD}
    assert listed(room.carol, "getChatThreads", parentId=room.group) == []


def test_leaving_the_group_leaves_its_threads(room: Room) -> None:
    room.bob.call("leaveGroup", {"groupId": room.group})
    assert listed(room.bob, "getJoinedChatThreads") == []
    with pytest.raises(SdkError) as refused:
        room.bob.send(room.thread, msg="still here?")
    assert refused.value.type in NOT_A_MEMBER


def test_the_end_of_the_group_ends_its_threads(room: Room) -> None:
    room.alice.call("destroyGroup", {"groupId": room.group})
    room.bob.wait("onGroupEvent", operation="destroy", id=room.group)
    with pytest.raises(SdkError) as gone:
        room.bob.call("getChatThreadDetail", {"chatThreadId": room.thread})
    assert gone.value.type == NO_SUCH_THREAD
    assert listed(room.bob, "getJoinedChatThreads") == []
