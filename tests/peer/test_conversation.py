"""The official SDK and imkit in one live thread: each gets what the other says, and sees the other take it back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

import imkit
from tests.peer.conftest import PASSWORD, Login, make_group
from tests.peer.peer import Device, Peer, Server

pytestmark = pytest.mark.peer

SECONDS = 10  # for an event to come

# Every kind of attribute that both sides can hold exactly.
EXT = {"text": "文本 🍵", "count": -7, "price": 1.5, "yes": True, "nothing": None, "object": {"deep": [1, "二"]}}


@dataclass
class Table:
    """A thread with the SDK's Alice, who owns it, and imkit's Bob in it."""

    alice: Device
    bob: imkit.Session
    group: str
    parent: str
    thread: imkit.Thread


@pytest.fixture
def table(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[Table]:
    yield from table_of(sandbox, peer, login, new_user)


def table_of(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[Table]:
    """Lay a table with the SDK at one side and imkit at the other."""
    alice = login(peer, new_user("alice"))
    with ExitStack() as stack:
        # As with a real app: known by its key and addresses, and users log in with their passwords.
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
        yield Table(alice, bob, group, parent, thread)


def heard_by_bob(table: Table, message_id: str) -> imkit.Message:
    for event in table.bob.events(imkit.MessageReceived):
        if event.message.id == message_id:
            return event.message
    raise AssertionError("the session ended before the message came")


@pytest.mark.timeout(30)
def test_words_go_both_ways(table: Table) -> None:
    sent = table.alice.send(table.thread.id, msg="冻顶 🎉", ext=EXT)["serverMsgId"]
    heard = heard_by_bob(table, sent)
    assert (heard.text, heard.sender, heard.to, heard.ext) == ("冻顶 🎉", table.alice.user, table.thread.id, EXT)
    assert heard.thread is not None
    assert (heard.thread.thread_id, heard.thread.group_id) == (table.thread.id, table.group)
    assert (heard.thread.parent_id, heard.thread.name) == (table.parent, "Oolong")

    answer = table.thread.send(imkit.Text("好 👍", ext=EXT))
    echoed = table.alice.wait("onTextMessage", id=answer.id)
    assert (echoed["msg"], echoed["from"], echoed["to"], echoed["ext"]) == (
        "好 👍",
        table.bob.user,
        table.thread.id,
        EXT,
    )
    assert echoed["chatThread"] == {"messageId": table.parent, "parentId": table.group, "chatThreadName": "Oolong"}
    # One server, one clock: both sides read the same moment.
    assert echoed["time"] == int(answer.time.timestamp() * 1000)


@pytest.mark.timeout(30)
def test_each_sees_the_other_recall(table: Table) -> None:
    hers = table.alice.send(table.thread.id, msg="wrong thread")["serverMsgId"]
    heard_by_bob(table, hers)
    where = {"to": table.thread.id, "chatType": "groupChat", "isChatThread": True}
    table.alice.call("recallMessage", {"mid": hers, **where})
    recalled = table.bob.events(imkit.MessageRecalled).next(timeout=SECONDS)
    assert (recalled.message_id, recalled.by, recalled.to) == (hers, table.alice.user, table.thread.id)
    assert recalled.message is not None
    assert recalled.message.text == "wrong thread"

    his = table.thread.send("me too")
    table.alice.wait("onTextMessage", id=his.id)
    table.thread.recall(his)
    told = table.alice.wait("onRecallMessage", mid=his.id)
    assert (told["from"], told["to"]) == (table.bob.user, table.thread.id)
    assert list(table.thread.messages()) == []


@pytest.mark.timeout(30)
def test_both_read_the_same_history(table: Table) -> None:
    for number in range(5):
        table.alice.send(table.thread.id, msg=f"hers {number}")
        table.thread.send(f"his {number}")
    asked = {"targetId": table.thread.id, "chatType": "groupChat", "pageSize": 20, "searchDirection": "down"}
    hers = table.alice.call("getHistoryMessages", asked)["messages"]
    his = list(table.thread.messages())
    assert [(message.id, message.sender, message.text) for message in his] == [
        (message["id"], message["from"], message["msg"]) for message in hers
    ]
    frame = table.thread.history()
    assert frame["message_id"].tolist() == [message["id"] for message in hers]


@pytest.mark.timeout(30)
def test_each_sees_what_the_other_does_to_the_thread(table: Table) -> None:
    table.alice.call("changeChatThreadName", {"chatThreadId": table.thread.id, "name": "茶"})
    changes = table.bob.events(imkit.ThreadChanged)
    change = next(event for event in changes if event.thread_id == table.thread.id and event.operation == "update")
    assert (change.name, change.operator, change.group_id) == ("茶", table.alice.user, table.group)

    parent = table.bob.group(table.group).send("Which cups?")
    made = table.bob.group(table.group).create_thread("Cups", parent)
    told = table.alice.wait("onChatThreadChange", operation="create", id=made.id)
    assert (told["name"], told["messageId"], told["operator"]) == ("Cups", parent.id, table.bob.user)
