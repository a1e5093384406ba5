"""The calls and notices of chat threads (子区), with the official SDK."""

import pytest

from tests.peer.conftest import TeaGroup
from tests.peer.peer import Device, SdkError

pytestmark = pytest.mark.peer

NO_SUCH_THREAD, ALREADY_THERE, NO_PERMISSION, NOT_A_MEMBER = 1300, 1301, {52, 603}, {602, 603, 605}


def test_creating_a_thread_is_told_to_the_group_only(tea: TeaGroup) -> None:
    parent = tea.alice.send(tea.group, msg="Which cups?", thread=False)["serverMsgId"]
    named = {"parentId": tea.group, "name": "杯子 ☕", "messageId": parent}
    thread = tea.bob.call("createChatThread", named)["data"]["chatThreadId"]
    for hearer in (tea.alice, tea.carol):
        told = hearer.wait("onChatThreadChange", id=thread)
        assert told["operation"] == "create"
        assert (told["name"], told["parentId"], told["messageId"]) == ("杯子 ☕", tea.group, parent)
        assert told["operator"] == tea.bob.user
        assert told["createTimestamp"] > 1_600_000_000_000
    assert tea.dave.seen("onChatThreadChange", id=thread) == []

    about = tea.bob.call("getChatThreadDetail", {"chatThreadId": thread})["data"]
    assert (about["id"], about["name"], about["owner"]) == (thread, "杯子 ☕", tea.bob.user)
    assert (about["parentId"], about["messageId"], about["affiliationsCount"]) == (tea.group, parent, 1)


def test_a_message_has_at_most_one_thread(tea: TeaGroup) -> None:
    with pytest.raises(SdkError) as refused:
        tea.bob.call("createChatThread", {"parentId": tea.group, "name": "again", "messageId": tea.parent})
    assert refused.value.type == ALREADY_THERE


def test_a_user_outside_the_group_creates_no_thread(tea: TeaGroup) -> None:
    parent = tea.alice.send(tea.group, msg="another", thread=False)["serverMsgId"]
    with pytest.raises(SdkError):
        tea.dave.call("createChatThread", {"parentId": tea.group, "name": "mine", "messageId": parent})


def test_joining_and_leaving(tea: TeaGroup) -> None:
    thread = {"chatThreadId": tea.thread}
    with pytest.raises(SdkError) as refused:
        tea.bob.call("joinChatThread", thread)
    assert refused.value.type == ALREADY_THERE
    joined = tea.carol.call("joinChatThread", thread)["data"]["detail"]
    assert (joined["id"], joined["name"], joined["parentId"]) == (tea.thread, "Oolong", tea.group)
    assert joined["messageId"] == tea.parent

    sent = tea.alice.send(tea.thread, msg="welcome")
    tea.carol.wait("onTextMessage", id=sent["serverMsgId"])
    tea.carol.call("leaveChatThread", thread)
    tea.carol.clear()
    tea.alice.send(tea.thread, msg="behind your back")
    tea.fence(tea.carol)
    assert [heard["msg"] for heard in tea.carol.seen("onTextMessage")] == ["fence"]
    assert tea.carol.call("getJoinedChatThreads", {"pageSize": 20})["entities"] == []


def test_members_come_in_pages(tea: TeaGroup) -> None:
    asked = {"chatThreadId": tea.thread}
    everyone = tea.alice.call("getChatThreadMembers", {**asked, "pageSize": 50})["data"]["affiliations"]
    assert sorted(everyone) == sorted([tea.alice.user, tea.bob.user])
    one_by_one, cursor = [], ""
    for _ in everyone:
        page = tea.alice.call("getChatThreadMembers", {**asked, "pageSize": 1, "cursor": cursor})
        one_by_one += page["data"]["affiliations"]
        assert len(one_by_one) <= len(everyone)
        cursor = (page.get("properties") or {}).get("cursor") or ""
    assert sorted(one_by_one) == sorted(everyone)
    assert not cursor


def listed(device: Device, method: str, **options: object) -> list[dict[str, object]]:
    entities = device.call(method, {"pageSize": 20, **options})["entities"]
    assert isinstance(entities, list)
    return entities


def test_threads_are_listed_for_members_of_the_group(tea: TeaGroup) -> None:
    for entities in (
        listed(tea.bob, "getJoinedChatThreads"),
        listed(tea.bob, "getJoinedChatThreads", parentId=tea.group),
        listed(tea.carol, "getChatThreads", parentId=tea.group),
    ):
        (entity,) = entities
        assert (entity["id"], entity["name"], entity["owner"]) == (tea.thread, "Oolong", tea.alice.user)
        assert (entity["parentId"], entity["messageId"]) == (tea.group, tea.parent)
    assert listed(tea.carol, "getJoinedChatThreads") == []
    with pytest.raises(SdkError):
        listed(tea.dave, "getChatThreads", parentId=tea.group)


def test_many_threads_are_listed_in_pages(tea: TeaGroup) -> None:
    made = {tea.thread}
    for number in range(4):
        parent = tea.alice.send(tea.group, msg=f"topic {number}", thread=False)["serverMsgId"]
        named = {"parentId": tea.group, "name": f"topic {number}", "messageId": parent}
        made.add(tea.alice.call("createChatThread", named)["data"]["chatThreadId"])
    found, cursor = [], ""
    while True:
        page = tea.carol.call("getChatThreads", {"parentId": tea.group, "pageSize": 2, "cursor": cursor})
        found += [entity["id"] for entity in page["entities"]]
        assert len(found) <= len(made)
        cursor = (page.get("properties") or {}).get("cursor") or ""
        if not cursor:
            break
    assert sorted(found) == sorted(made)


def test_last_messages(tea: TeaGroup) -> None:
    def last() -> list[dict[str, object]]:
        entities = tea.bob.call("getChatThreadLastMessage", {"chatThreadIds": [tea.thread]})["entities"]
        assert [entity["chatThreadId"] for entity in entities] == [tea.thread]
        return [entity["lastMessage"] for entity in entities if entity.get("lastMessage")]

    assert [message for message in last() if message.get("id")] == []
    sent = tea.alice.send(tea.thread, msg="Dong Ding")
    (message,) = last()
    assert (message["id"], message["msg"]) == (sent["serverMsgId"], "Dong Ding")


def test_renaming(tea: TeaGroup) -> None:
    renamed = tea.alice.call("changeChatThreadName", {"chatThreadId": tea.thread, "name": "乌龙"})
    assert renamed["data"]["name"] == "乌龙"
    for hearer in (tea.bob, tea.carol):
        hearer.wait("onChatThreadChange", operation="update", id=tea.thread, name="乌龙")
    sent = tea.bob.send(tea.thread, msg="better")
    assert tea.alice.wait("onTextMessage", id=sent["serverMsgId"])["chatThread"]["chatThreadName"] == "乌龙"
    # Bob is in the thread, but he neither created it nor manages the group.
    with pytest.raises(SdkError) as refused:
        tea.bob.call("changeChatThreadName", {"chatThreadId": tea.thread, "name": "mine"})
    assert refused.value.type in NO_PERMISSION


def test_removing_a_member(tea: TeaGroup) -> None:
    with pytest.raises(SdkError) as refused:
        tea.bob.call("removeChatThreadMember", {"chatThreadId": tea.thread, "username": tea.alice.user})
    assert refused.value.type in NO_PERMISSION
    removed = tea.alice.call("removeChatThreadMember", {"chatThreadId": tea.thread, "username": tea.bob.user})
    assert removed["data"]["result"] is True
    told = tea.bob.wait("onChatThreadChange", operation="userRemove", id=tea.thread)
    assert (told["parentId"], told["userName"]) == (tea.group, tea.bob.user)
    assert told["operator"] == tea.alice.user


def test_destroying(tea: TeaGroup) -> None:
    thread = {"chatThreadId": tea.thread}
    with pytest.raises(SdkError) as refused:
        tea.bob.call("destroyChatThread", thread)
    assert refused.value.type in NO_PERMISSION
    tea.alice.call("destroyChatThread", thread)
    for hearer in (tea.bob, tea.carol):
        told = hearer.wait("onChatThreadChange", operation="destroy", id=tea.thread)
        assert told["parentId"] == tea.group
    with pytest.raises(SdkError) as gone:
        tea.alice.call("getChatThreadDetail", thread)
    assert gone.value.type == NO_SUCH_THREAD
    with pytest.raises(SdkError) as nowhere:
        tea.bob.send(tea.thread, msg="anybody?")
    assert nowhere.value.type in {*NOT_A_MEMBER, NO_SUCH_THREAD}
    assert listed(tea.carol, "getChatThreads", parentId=tea.group) == []


def test_leaving_the_group_leaves_its_threads(tea: TeaGroup) -> None:
    tea.bob.call("leaveGroup", {"groupId": tea.group})
    assert listed(tea.bob, "getJoinedChatThreads") == []
    with pytest.raises(SdkError) as refused:
        tea.bob.send(tea.thread, msg="still here?")
    assert refused.value.type in NOT_A_MEMBER


def test_destroying_the_group_destroys_its_threads(tea: TeaGroup) -> None:
    tea.alice.call("destroyGroup", {"groupId": tea.group})
    tea.bob.wait("onGroupEvent", operation="destroy", id=tea.group)
    with pytest.raises(SdkError) as gone:
        tea.bob.call("getChatThreadDetail", {"chatThreadId": tea.thread})
    assert gone.value.type == NO_SUCH_THREAD
    assert listed(tea.bob, "getJoinedChatThreads") == []
