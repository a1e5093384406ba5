"""The life of a thread: creating, joining, lists, renaming, and who may do what."""

import imkit
from tests.peer.walk.company import (
    AUTHENTICATION,
    FORBIDDEN,
    INVALID,
    NO_MEMBER,
    NOT_FOUND,
    Steps,
    Walk,
    all_pages,
    heard,
    in_thread,
    refused,
    told,
)

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice and Bob write to the group; neither message belongs to a thread."""
    walk.parent = walk.alice.send(walk.tea, content="Which oolong?", thread=False)["msgServerId"]
    message = heard(walk.bob, walk.parent)
    assert (message.text, message.sender, message.to, message.thread) == ("Which oolong?", "alice", walk.tea, None)
    sent = walk.bob.group(walk.tea).send("Dong Ding?")
    echoed = walk.alice.wait("onMessage", msgServerId=sent.id)
    assert (echoed["body"]["content"], echoed["from"], echoed["conversationId"]) == ("Dong Ding?", "bob", walk.tea)
    assert "chatThread" not in echoed
    walk.free_parent = sent.id


@steps.add
def _(walk: Walk) -> None:
    """Alice creates a thread on her message; Bob and Carol are told."""
    named = {"parentId": walk.tea, "name": "Oolong", "messageId": walk.parent}
    walk.oolong = walk.alice.call("chatThread.createChatThread", named)["chatThreadId"]
    for member in (walk.bob, walk.carol):
        change = told(member, imkit.ThreadChanged, thread_id=walk.oolong, operation="create")
        assert (change.name, change.group_id, change.operator) == ("Oolong", walk.tea, "alice")
        assert change.parent_id == walk.parent


@steps.add
def _(walk: Walk) -> None:
    """A second thread on the same message is refused."""
    named = {"parentId": walk.tea, "name": "Another", "messageId": walk.parent}
    assert refused(walk.alice, "chatThread.createChatThread", named).type in {INVALID, FORBIDDEN}


@steps.add
def _(walk: Walk) -> None:
    """A thread on a message that does not exist is refused."""
    named = {"parentId": walk.tea, "name": "Nothing", "messageId": "123456789"}
    assert refused(walk.alice, "chatThread.createChatThread", named).type in {INVALID, NOT_FOUND}


@steps.add
def _(walk: Walk) -> None:
    """A name of 65 characters is refused."""
    named = {"parentId": walk.tea, "name": "x" * 65, "messageId": walk.free_parent}
    assert refused(walk.alice, "chatThread.createChatThread", named).type == INVALID


@steps.add
def _(walk: Walk) -> None:
    """Bob writes to the thread before he has joined it, and is refused."""
    try:
        walk.thread.send("Is this open?")
    except imkit.NotAMember:
        return
    raise AssertionError("Bob could write")


@steps.add
def _(walk: Walk) -> None:
    """Bob and Carol join the thread; joining twice is refused."""
    walk.carol.thread(walk.oolong).join()
    walk.thread.join()
    try:
        walk.thread.join()
    except imkit.AlreadyExists:
        return
    raise AssertionError("Bob could join twice")


@steps.add
def _(walk: Walk) -> None:
    """Bob creates a thread in his group; Alice is told which message it hangs on."""
    group = walk.bob.group(walk.coffee)
    parent = group.send("Beans?")
    walk.alice.wait("onMessage", msgServerId=parent.id)
    walk.mocha = group.create_thread("Mocha", parent).id
    created = walk.alice.wait("onChatThreadCreated", chatThreadId=walk.mocha)
    assert (created["parentId"], created["operatorId"]) == (walk.coffee, "bob")
    assert (created["messageId"], created["chatThreadName"]) == (parent.id, "Mocha")


@steps.add
def _(walk: Walk) -> None:
    """Alice writes to Bob's thread before she has joined it, and is refused."""
    message = {**in_thread(walk.mocha), "isChatThread": True, "content": "Is this open?"}
    assert refused(walk.alice, "send", "text", message).type == NO_MEMBER


@steps.add
def _(walk: Walk) -> None:
    """Alice joins Bob's thread; Bob sees her among the members, and she can write."""
    walk.alice.call("chatThread.joinChatThread", {"chatThreadId": walk.mocha})
    assert sorted(walk.bob.thread(walk.mocha).members()) == ["alice", "bob"]
    walk.early = heard(walk.bob, walk.alice.send(walk.mocha, content="It is.")["msgServerId"])


@steps.add
def _(walk: Walk) -> None:
    """Joining twice is refused."""
    assert refused(walk.alice, "chatThread.joinChatThread", {"chatThreadId": walk.mocha}).type in {INVALID, FORBIDDEN}


@steps.add
def _(walk: Walk) -> None:
    """Alice reads the members of a thread page by page."""
    asked = {"chatThreadId": walk.oolong, "pageSize": 1}
    assert len(walk.alice.call("chatThread.getChatThreadMemberList", asked)["items"]) == 1
    found = all_pages(walk.alice, "chatThread.getChatThreadMemberList", **asked)
    assert sorted(member["memberId"] for member in found) == ["alice", "bob", "carol"]


@steps.add
def _(walk: Walk) -> None:
    """Alice reads what a thread is, as imkit reads it."""
    found = walk.alice.call("chatThread.getChatThreadInfo", {"chatThreadId": walk.oolong})
    thread = walk.thread.refresh()
    assert (found["chatThreadId"], found["name"]) == (walk.oolong, thread.name)
    assert (found["ownerId"], found["parentId"]) == (thread.owner, thread.group_id)
    assert found["memberCount"] == thread.member_count == 3
    assert thread.created is not None
    assert found["createdAt"] == int(thread.created.timestamp() * 1000)


@steps.add
def _(walk: Walk) -> None:
    """A thread that does not exist cannot be read."""
    assert refused(walk.alice, "chatThread.getChatThreadInfo", {"chatThreadId": "123"}).type == NOT_FOUND


@steps.add
def _(walk: Walk) -> None:
    """Alice lists the threads that she is in: all of them, and those of one group."""
    found = all_pages(walk.alice, "chatThread.getJoinedChatThreadList", pageSize=1)
    assert sorted(thread["chatThreadId"] for thread in found) == sorted([walk.oolong, walk.mocha])
    found = all_pages(walk.alice, "chatThread.getJoinedChatThreadList", parentId=walk.coffee, pageSize=5)
    assert [(thread["chatThreadId"], thread["name"]) for thread in found] == [(walk.mocha, "Mocha")]


@steps.add
def _(walk: Walk) -> None:
    """Alice lists the threads of a group page by page."""
    group = walk.bob.group(walk.tea)
    made = [group.create_thread(f"topic {number}", group.send(f"topic {number}")).id for number in range(4)]
    found = all_pages(walk.alice, "chatThread.getChatThreadList", parentId=walk.tea, pageSize=2)
    assert sorted(thread["chatThreadId"] for thread in found) == sorted([walk.oolong, *made])
    assert {thread["ownerId"] for thread in found} == {"alice", "bob"}


@steps.add
def _(walk: Walk) -> None:
    """Alice may not list the threads of a group that she is not in."""
    group = walk.dave.create_group("secret")
    listed = {"parentId": group.id}
    assert refused(walk.alice, "chatThread.getChatThreadList", listed).type in {FORBIDDEN, AUTHENTICATION}


@steps.add
def _(walk: Walk) -> None:
    """Alice renames her thread, and Bob is told."""
    walk.alice.call("chatThread.updateChatThreadName", {"chatThreadId": walk.oolong, "name": "乌龙"})
    change = told(walk.bob, imkit.ThreadChanged, thread_id=walk.oolong, operation="update")
    assert (change.name, change.operator) == ("乌龙", "alice")


@steps.add
def _(walk: Walk) -> None:
    """Bob renames his thread, and Alice is told."""
    walk.bob.thread(walk.mocha).rename("摩卡")
    renamed = walk.alice.wait("onChatThreadUpdated", chatThreadId=walk.mocha, chatThreadName="摩卡")
    assert (renamed["operatorId"], renamed["parentId"]) == ("bob", walk.coffee)


@steps.add
def _(walk: Walk) -> None:
    """Alice may neither rename nor destroy Bob's thread, nor remove him from it."""
    mocha = {"chatThreadId": walk.mocha}
    assert refused(walk.alice, "chatThread.updateChatThreadName", {**mocha, "name": "mine"}).type == FORBIDDEN
    assert refused(walk.alice, "chatThread.destroyChatThread", mocha).type == FORBIDDEN
    assert refused(walk.alice, "chatThread.removeChatThreadMember", {**mocha, "memberId": "bob"}).type == FORBIDDEN
