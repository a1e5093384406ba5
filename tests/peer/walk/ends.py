"""How threads, groups and logins end."""

from datetime import UTC, datetime, timedelta

import imkit
from tests.peer.walk.company import (
    NO_MEMBER,
    NOT_FOUND,
    PASSWORD,
    PASSWORD_CHANGED,
    RECALL_SECONDS,
    REFUSED,
    SENT_AWAY,
    Steps,
    Walk,
    app_token,
    ask,
    in_thread,
    refused,
    told,
)
from tests.waits import eventually

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice leaves Bob's thread; she can no longer write there, and joins again."""
    mocha = {"chatThreadId": walk.mocha}
    walk.alice.call("chatThread.leaveChatThread", mocha)
    assert list(walk.bob.thread(walk.mocha).members()) == ["bob"]
    message = {**in_thread(walk.mocha), "isChatThread": True, "content": "Still here?"}
    assert refused(walk.alice, "send", "text", message).type == NO_MEMBER
    walk.alice.call("chatThread.joinChatThread", mocha)


@steps.add
def _(walk: Walk) -> None:
    """After the time limit Alice can no longer recall her message in Bob's group."""
    last_moment = walk.early.time + timedelta(seconds=RECALL_SECONDS)
    while datetime.now(UTC) <= last_moment:
        eventually(lambda: datetime.now(UTC) > last_moment)
    error = refused(walk.alice, "chat.recallMessage", {**in_thread(walk.mocha), "messageId": walk.early.id})
    assert (error.type, error.message) == (REFUSED, "exceed recall time limit")


@steps.add
def _(walk: Walk) -> None:
    """Bob removes Alice from his thread, and she is told."""
    walk.bob.thread(walk.mocha).remove("alice")
    removed = walk.alice.wait("onChatThreadUserRemoved", chatThreadId=walk.mocha)
    assert removed["parentId"] == walk.coffee
    assert (removed["operatorId"], removed["memberId"]) == ("bob", "alice")


@steps.add
def _(walk: Walk) -> None:
    """Bob destroys his thread, and Alice is told."""
    walk.bob.thread(walk.mocha).destroy()
    destroyed = walk.alice.wait("onChatThreadDestroyed", chatThreadId=walk.mocha)
    assert (destroyed["parentId"], destroyed["operatorId"]) == (walk.coffee, "bob")


@steps.add
def _(walk: Walk) -> None:
    """Alice removes Carol from her thread, and Carol is told."""
    walk.alice.call("chatThread.removeChatThreadMember", {"chatThreadId": walk.oolong, "memberId": "carol"})
    change = told(walk.carol, imkit.ThreadChanged, thread_id=walk.oolong, operation="member_removed")
    assert (change.user, change.operator, change.group_id) == ("carol", "alice", walk.tea)


@steps.add
def _(walk: Walk) -> None:
    """Alice destroys her thread: Bob is told, and it is gone."""
    walk.alice.call("chatThread.destroyChatThread", {"chatThreadId": walk.oolong})
    assert told(walk.bob, imkit.ThreadChanged, thread_id=walk.oolong, operation="destroy").operator == "alice"
    assert refused(walk.alice, "chatThread.getChatThreadInfo", {"chatThreadId": walk.oolong}).type == NOT_FOUND


@steps.add
def _(walk: Walk) -> None:
    """Alice destroys her group, and the members are told."""
    walk.alice.call("group.destroyGroup", {"groupId": walk.tea})
    for member in (walk.bob, walk.carol):
        told(member, imkit.GroupChanged, group_id=walk.tea, operation="destroy")
    assert walk.tea not in [group.id for group in walk.bob.groups()]


@steps.add
def _(walk: Walk) -> None:
    """The app server sends Alice away; the page does not connect again by itself, but she can log in."""
    walk.alice.clear()
    ask(walk.sandbox, "POST", "/users/alice/disconnect", {}, app_token(walk))
    assert walk.alice.wait("onDisconnected")["errorCode"] == SENT_AWAY
    walk.alice.clear()
    walk.alice.open("alice", pwd=PASSWORD)


@steps.add
def _(walk: Walk) -> None:
    """A new password ends the login of the page, and the page does not connect again."""
    token = walk.alice.call("token", "alice", PASSWORD)
    walk.alice.clear()
    ask(walk.sandbox, "PUT", "/users/alice/password", {"newpassword": "another"}, token)
    ended = walk.alice.wait("onDisconnected")
    assert ended["errorCode"] == PASSWORD_CHANGED
