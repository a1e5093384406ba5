"""Reactions and read receipts between the official SDK and imkit: each gives some, and reads the other's."""

from collections.abc import Callable, Iterator

import pytest

import imkit
from imkit.wire import schema
from imkit.wire.enums import BodyType
from tests.peer.conftest import Login
from tests.peer.peer import Device, Peer, SdkError
from tests.peer.test_conversation import MixedThread, mixed_thread
from tests.sandbox.server.raw_client import Device as RawDevice
from tests.sandbox.server.raw_client import Server, close_everything

pytestmark = pytest.mark.peer

SECONDS = 10  # for an event to come


@pytest.fixture
def mixed(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    yield from mixed_thread(sandbox, peer, login, new_user)


def refused(device: Device, method: str, **options: object) -> int | None:
    with pytest.raises(SdkError) as error:
        device.call(method, options)
    return error.value.type


@pytest.mark.timeout(30)
def test_reactions_in_both_directions(mixed: MixedThread) -> None:
    alice, bob, thread = mixed.alice, mixed.bob, mixed.thread
    sent = thread.send("tea?").id
    alice.wait("onTextMessage", id=sent)
    alice.call("addReaction", {"messageId": sent, "reaction": "👍"})
    change = bob.events(imkit.ReactionChanged).next(timeout=SECONDS)
    assert isinstance(change, imkit.ReactionChanged)
    assert (change.message_id, change.to, change.by, change.reaction, change.operation, change.count) == (
        *(sent, thread.id, alice.user, "👍", "added", 1),
    )
    assert refused(alice, "addReaction", messageId=sent, reaction="👍") == 1101
    assert refused(alice, "deleteReaction", messageId=sent, reaction="🍵") == 1103

    thread.react(sent, "👍")
    told = alice.wait("onReactionChange", lambda data: data["reactions"][0]["count"] == 2, messageId=sent)
    assert (told["from"], told["to"], told["chatType"]) == (bob.user, thread.id, "groupChat")
    assert told["reactions"] == [
        {
            "reaction": "👍",
            "count": 2,
            "userList": [alice.user, bob.user],
            "op": [{"operator": bob.user, "reactionType": "create"}],
        }
    ]
    for number in range(19):
        thread.react(sent, f"emoji_{number}")
    assert refused(alice, "addReaction", messageId=sent, reaction="🍵") == 50

    where = {"chatType": "groupChat", "messageId": sent, "groupId": thread.id}
    (listed,) = alice.call("getReactionList", where)["data"]
    assert listed["msgId"] == sent
    assert listed["reactionList"][0] == {
        "reaction": "👍", "count": 2, "userList": [alice.user, bob.user], "isAddedBySelf": True,
    }  # fmt: skip
    assert listed["reactionList"][1]["isAddedBySelf"] is False
    asked = {"messageId": sent, "reaction": "👍", "pageSize": 1}
    first = alice.call("getReactionDetail", asked)["data"]
    assert (first["userList"], first["isAddedBySelf"]) == ([alice.user], True)
    last = alice.call("getReactionDetail", {**asked, "cursor": first["cursor"]})["data"]
    assert (last["userList"], last["cursor"]) == ([bob.user], "")
    assert refused(alice, "getReactionDetail", messageId=sent, reaction="🍵") == 1103
    assert refused(alice, "getReactionList", chatType="groupChat", messageId=sent) == 605

    asked = {"targetId": thread.id, "chatType": "groupChat", "pageSize": 20, "searchDirection": "down"}
    (kept,) = alice.call("getHistoryMessages", asked)["messages"]
    assert kept["reactions"] == listed["reactionList"]
    (his,) = thread.messages()
    assert next((each["reaction"], each["count"]) for each in his.reactions) == ("👍", 2)
    found = {each.reaction: each for each in thread.reactions(sent)}
    assert found["👍"] == imkit.Reaction("👍", 2, (alice.user, bob.user), True)

    alice.call("deleteReaction", {"messageId": sent, "reaction": "👍"})
    removed = bob.events(imkit.ReactionChanged).next(timeout=SECONDS, where=lambda event: event.operation == "removed")
    assert isinstance(removed, imkit.ReactionChanged)
    assert (removed.by, removed.count) == (alice.user, 1)
    thread.leave()
    with pytest.raises(imkit.NotAMember):
        thread.react(sent, "👍")


@pytest.mark.timeout(30)
def test_read_receipts_in_both_directions(mixed: MixedThread, sandbox: Server) -> None:
    alice, bob, thread = mixed.alice, mixed.bob, mixed.thread
    his = thread.send("read me").id
    alice.wait("onTextMessage", id=his)
    read = {"type": "read", "chatType": "groupChat", "to": thread.id, "id": his, "isChatThread": True}
    alice.call("send", {**read, "msgConfig": {"allowGroupAck": True}, "ackContent": "gladly"})
    receipt = bob.events(imkit.MessageRead).next(timeout=SECONDS)
    assert isinstance(receipt, imkit.MessageRead)
    assert (receipt.message_ids, receipt.to, receipt.by, receipt.words, receipt.counts) == (
        *((his,), thread.id, alice.user, "gladly", {his: 1}),
    )
    assert [(reader.user, reader.words) for reader in thread.readers(his)] == [(alice.user, "gladly")]

    hers = alice.send(thread.id, msg="read me too")["serverMsgId"]
    thread.acknowledge(hers, "read")
    told = alice.wait("onReadMessage", mid=hers)
    assert (told["from"], told["to"], told["groupReadCount"], told["ackContent"]) == (
        *(bob.user, thread.id, {hers: 1}, "read"),
    )
    # A receipt of several messages, as SDK 5 sends it: SDK 4 gets one event for each.
    more = [alice.send(thread.id, msg=f"{number}")["serverMsgId"] for number in range(3)]
    reader = RawDevice(sandbox, bob.user, resource="raw")
    reader.send(thread.id, schema.MessageBody(type=BodyType.READ_ACK, ackMessageIds=[int(each) for each in more]))
    for each in more:
        assert alice.wait("onReadMessage", mid=each)["groupReadCount"] == {each: 1}
    close_everything()
    acks = alice.call("getGroupMsgReadUser", {"groupId": thread.id, "msgId": hers})["data"]
    assert (acks["ackmid"], acks["group_ack"]["total"], acks["group_ack"]["is_last"]) == (hers, 1, True)
    assert [each["username"] for each in acks["group_ack"]["userlist"]] == [bob.user]
