"""The official SDK and imkit in one thread: each receives the messages and the recalls of the other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

import imkit
from tests.peer.conftest import PASSWORD, Login, make_group
from tests.peer.peer import Device, Peer
from tests.sandbox.server.raw_client import Server

pytestmark = pytest.mark.peer

SECONDS = 10  # for an event to come

# One attribute of each type that both sides can represent exactly.
EXT = {"text": "文本 🍵", "count": -7, "price": 1.5, "yes": True, "nothing": None, "object": {"deep": [1, "二"]}}


@dataclass
class MixedThread:
    """A thread with the SDK's Alice, who owns it, and imkit's Bob in it."""

    alice: Device
    bob: imkit.Session
    group: str
    parent: str
    thread: imkit.Thread


@pytest.fixture
def mixed(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    yield from mixed_thread(sandbox, peer, login, new_user)


def mixed_thread(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    """Make a thread with Alice in the SDK and Bob in imkit."""
    alice = login(peer, new_user("alice"))
    with ExitStack() as stack:
        # As with a real app: the app has a key and addresses, and users log in with passwords.
        app = imkit.App(sandbox.app_key, rest_url=sandbox.rest_url, ws_url=sandbox.ws_url)
        name = new_user("bob")
        alice.call("registerUser", {"username": name, "password": PASSWORD})
        bob = stack.enter_context(imkit.login(name, password=PASSWORD, app=app))
        group = make_group(alice)
        alice.call("inviteUsersToGroup", {"groupId": group, "users": [bob.user]})
        parent = alice.send(group, msg="Which oolong?", thread=False)["serverMsgId"]
        created = alice.call("createChatThread", {"parentId": group, "name": "Oolong", "messageId": parent})
        thread = bob.thread(created["data"]["chatThreadId"])
        thread.join()
        yield MixedThread(alice, bob, group, parent, thread)


def heard_by_bob(mixed: MixedThread, message_id: str) -> imkit.Message:
    for event in mixed.bob.events(imkit.MessageReceived):
        if event.message.id == message_id:
            return event.message
    raise AssertionError("the session ended before the message came")


@pytest.mark.timeout(30)
def test_texts_arrive_in_both_directions(mixed: MixedThread) -> None:
    sent = mixed.alice.send(mixed.thread.id, msg="冻顶 🎉", ext=EXT)["serverMsgId"]
    heard = heard_by_bob(mixed, sent)
    assert (heard.text, heard.sender, heard.to, heard.ext) == ("冻顶 🎉", mixed.alice.user, mixed.thread.id, EXT)
    assert heard.thread is not None
    assert (heard.thread.thread_id, heard.thread.group_id) == (mixed.thread.id, mixed.group)
    assert (heard.thread.parent_id, heard.thread.name) == (mixed.parent, "Oolong")

    answer = mixed.thread.send(imkit.Text("好 👍", ext=EXT))
    echoed = mixed.alice.wait("onTextMessage", id=answer.id)
    assert (echoed["msg"], echoed["from"], echoed["to"], echoed["ext"]) == (
        "好 👍",
        mixed.bob.user,
        mixed.thread.id,
        EXT,
    )
    assert echoed["chatThread"] == {"messageId": mixed.parent, "parentId": mixed.group, "chatThreadName": "Oolong"}
    # Both sides show the time of the server.
    assert echoed["time"] == int(answer.time.timestamp() * 1000)


@pytest.mark.timeout(30)
def test_each_sees_the_recalls_of_the_other(mixed: MixedThread) -> None:
    hers = mixed.alice.send(mixed.thread.id, msg="wrong thread")["serverMsgId"]
    heard_by_bob(mixed, hers)
    where = {"to": mixed.thread.id, "chatType": "groupChat", "isChatThread": True}
    mixed.alice.call("recallMessage", {"mid": hers, **where})
    recalled = mixed.bob.events(imkit.MessageRecalled).next(timeout=SECONDS)
    assert (recalled.message_id, recalled.by, recalled.to) == (hers, mixed.alice.user, mixed.thread.id)
    assert recalled.message is not None
    assert recalled.message.text == "wrong thread"

    his = mixed.thread.send("me too")
    mixed.alice.wait("onTextMessage", id=his.id)
    mixed.thread.recall(his)
    told = mixed.alice.wait("onRecallMessage", mid=his.id)
    assert (told["from"], told["to"]) == (mixed.bob.user, mixed.thread.id)
    assert list(mixed.thread.messages()) == []


@pytest.mark.timeout(30)
def test_both_read_the_same_history(mixed: MixedThread) -> None:
    for number in range(5):
        mixed.alice.send(mixed.thread.id, msg=f"hers {number}")
        mixed.thread.send(f"his {number}")
    asked = {"targetId": mixed.thread.id, "chatType": "groupChat", "pageSize": 20, "searchDirection": "down"}
    hers = mixed.alice.call("getHistoryMessages", asked)["messages"]
    his = list(mixed.thread.messages())
    assert [(message.id, message.sender, message.text) for message in his] == [
        (message["id"], message["from"], message["msg"]) for message in hers
    ]
    frame = mixed.thread.history()
    assert frame["message_id"].tolist() == [message["id"] for message in hers]


@pytest.mark.timeout(30)
def test_each_sees_the_others_changes_of_the_thread(mixed: MixedThread) -> None:
    mixed.alice.call("changeChatThreadName", {"chatThreadId": mixed.thread.id, "name": "茶"})
    changes = mixed.bob.events(imkit.ThreadChanged)
    change = next(event for event in changes if event.thread_id == mixed.thread.id and event.operation == "update")
    assert (change.name, change.operator, change.group_id) == ("茶", mixed.alice.user, mixed.group)

    parent = mixed.bob.group(mixed.group).send("Which cups?")
    made = mixed.bob.group(mixed.group).create_thread("Cups", parent)
    told = mixed.alice.wait("onChatThreadChange", operation="create", id=made.id)
    assert (told["name"], told["messageId"], told["operator"]) == ("Cups", parent.id, mixed.bob.user)
