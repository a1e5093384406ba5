"""Attributes of users, mutes and pins: what the official SDK writes imkit reads, and the other way round."""

from collections.abc import Callable, Iterator

import pytest

import imkit
from tests.peer.conftest import Login
from tests.peer.peer import Peer, SdkError
from tests.peer.test_conversation import SECONDS, MixedThread, mixed_thread
from tests.sandbox.server.raw_client import Server

pytestmark = pytest.mark.peer


@pytest.fixture
def mixed(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    yield from mixed_thread(sandbox, peer, login, new_user)


@pytest.mark.timeout(30)
def test_each_reads_what_the_other_calls_itself(mixed: MixedThread) -> None:
    alice, bob = mixed.alice, mixed.bob
    hers = {
        "nickname": "爱丽丝 +&=%",
        "avatarurl": "https://example.com/a.png?b=1&c",
        "gender": 2,
        "mail": "a@b.example",
    }
    reply = alice.call("updateUserInfo", hers)
    assert reply["data"]["nickname"] == hers["nickname"]
    assert bob.users([alice.user])[alice.user] == imkit.User(
        alice.user, hers["nickname"], hers["avatarurl"], gender="2", mail="a@b.example"
    )
    alice.call("updateUserInfo", "sign", "茶")  # the SDK writes a single attribute without percent signs
    bob.update_profile(nickname="小博 +&=%", avatar_url="https://example.com/b.png?a=1&b=2")
    asked = alice.call("fetchUserInfoById", [alice.user, bob.user, "nobody"])["data"]
    assert asked[bob.user] == {"nickname": "小博 +&=%", "avatarurl": "https://example.com/b.png?a=1&b=2"}
    assert asked[alice.user] == {**hers, "gender": "2", "sign": "茶"}
    assert not asked["nobody"]
    assert alice.call("fetchUserInfoById", bob.user, "nickname")["data"] == {bob.user: {"nickname": "小博 +&=%"}}
    with pytest.raises(SdkError) as caught:
        alice.call("updateUserInfo", {"nickname": "x" * 65})
    assert caught.value.type == 603

    group = bob.group(mixed.group)
    assert alice.call("isInGroupMutelist", {"groupId": mixed.group})["data"] is False
    alice.call("muteGroupMember", {"groupId": mixed.group, "username": bob.user, "muteDuration": 60_000})
    assert group.is_muted()
    alice.call("unmuteGroupMember", {"groupId": mixed.group, "username": bob.user})
    assert not group.is_muted()
    changes = bob.events(imkit.GroupChanged)
    muted = changes.next(timeout=SECONDS, where=lambda event: event.operation == "muteMember")
    assert (muted.operator, tuple(muted.users)) == (alice.user, (bob.user,))
    changes.next(timeout=SECONDS, where=lambda event: event.operation == "unmuteMember")


@pytest.mark.timeout(30)
def test_each_sees_what_the_other_pins(mixed: MixedThread) -> None:
    alice, bob = mixed.alice, mixed.bob
    group = bob.group(mixed.group)
    where = {"conversationType": "groupChat", "conversationId": mixed.group}
    his = group.send(imkit.Text("周五见 🍵", ext={"mood": "keen"}))
    alice.call("pinMessage", {**where, "messageId": mixed.parent})
    told = bob.events(imkit.PinChanged).next(timeout=SECONDS)
    assert (told.operation, told.message_id, told.to, told.by) == ("pinned", mixed.parent, mixed.group, alice.user)
    group.pin(his)
    heard = alice.wait("onMessagePinEvent", messageId=his.id)
    assert {name: heard[name] for name in ("conversationId", "conversationType", "operation", "operatorId")} == {
        "conversationId": mixed.group,
        "conversationType": "groupChat",
        "operation": "pin",
        "operatorId": bob.user,
    }
    assert [message.text for message in group.pinned()] == ["周五见 🍵", "Which oolong?"]
    data = alice.call("getServerPinnedMessages", {**where, "pageSize": 1, "cursor": ""})["data"]
    (first,) = data["list"]
    assert (first["operatorId"], first["pinTime"]) == (bob.user, heard["time"])
    assert (first["message"]["id"], first["message"]["msg"], first["message"]["from"]) == (
        his.id,
        "周五见 🍵",
        bob.user,
    )
    assert (first["message"]["chatType"], first["message"]["ext"]) == ("groupChat", {"mood": "keen"})
    (second,) = alice.call("getServerPinnedMessages", {**where, "cursor": data["cursor"]})["data"]["list"]
    assert second["message"]["id"] == mixed.parent

    alice.call("unpinMessage", {**where, "messageId": his.id})
    unpinned = bob.events(imkit.PinChanged).next(timeout=SECONDS, where=lambda event: event.operation == "unpinned")
    assert (unpinned.message_id, unpinned.by) == (his.id, alice.user)
    group.unpin(mixed.parent)
    assert alice.wait("onMessagePinEvent", operation="unpin")["messageId"] == mixed.parent
    assert len(alice.seen("onMessagePinEvent")) == 2  # nothing of what she did herself
    for wrong in (his.id, "x"):
        with pytest.raises(SdkError) as caught:
            alice.call("unpinMessage", {**where, "messageId": wrong})
        assert caught.value.type == -3
    sent = [alice.send(mixed.group, msg=str(number), thread=False)["serverMsgId"] for number in range(21)]
    for message in sent[:20]:
        group.pin(message)
    with pytest.raises(SdkError) as caught:
        alice.call("pinMessage", {**where, "messageId": sent[20]})
    assert caught.value.type == 50


@pytest.mark.timeout(30)
def test_a_report_is_accepted_from_those_who_see_the_message(mixed: MixedThread) -> None:
    sent = mixed.thread.send("Buy my tea!")
    mixed.alice.call("reportMessage", {"reportType": "adverts", "reportReason": "广告", "messageId": sent.id})
    mixed.bob.report(mixed.parent, "spam", "测试")
    mixed.thread.recall(sent)
    with pytest.raises(SdkError) as caught:
        mixed.alice.call("reportMessage", {"reportType": "adverts", "reportReason": "again", "messageId": sent.id})
    assert caught.value.type == 51
    with pytest.raises(imkit.MessageNotFound) as ours:
        mixed.bob.report(sent, "spam", "again")
    assert ours.value.code == 51
