"""A second page of the same user, and tokens that end."""

from tests.peer.walk.company import PASSWORD, TOKEN_EXPIRED, Steps, Walk, in_thread, refused, token_for

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice logs in on a tablet as well; each device knows the other."""
    walk.tablet = walk.sdk.device(walk.sandbox, deviceId="tablet", enableSyncData=["conversation", "group"])
    walk.tablet.open("alice", pwd=PASSWORD)
    assert len(walk.tablet.call("client.getSelfIdsOnOtherPlatform")) == 1
    assert len(walk.alice.call("client.getSelfIdsOnOtherPlatform")) == 1


@steps.add
def _(walk: Walk) -> None:
    """A message of Bob reaches both devices of Alice; a message of one device reaches the other."""
    sent = walk.thread.send("to both")
    for device in (walk.alice, walk.tablet):
        device.wait("onMessage", msgServerId=sent.id)
    copy = walk.tablet.wait("onMessage", msgServerId=walk.says("from the page"))
    assert (copy["direct"], copy["conversationId"]) == ("SEND", walk.oolong)
    assert copy["chatThread"]["parentId"] == walk.tea


@steps.add
def _(walk: Walk) -> None:
    """What one device does with threads, the other is told."""
    walk.alice.clear()
    parent = walk.alice.send(walk.tea, content="another", thread=False)["msgServerId"]
    named = {"parentId": walk.tea, "name": "new", "messageId": parent}
    made = {"chatThreadId": walk.alice.call("chatThread.createChatThread", named)["chatThreadId"]}
    events = {"threadId": made["chatThreadId"], "parentId": walk.tea}
    walk.tablet.wait("onMultiDeviceThread", operation="THREAD_CREATE", **events)
    walk.alice.call("chatThread.updateChatThreadName", {**made, "name": "newer"})
    walk.tablet.wait("onMultiDeviceThread", operation="THREAD_UPDATE", threadName="newer", **events)
    walk.alice.call("chatThread.leaveChatThread", made)
    walk.tablet.wait("onMultiDeviceThread", operation="THREAD_LEAVE", **events)
    walk.alice.call("chatThread.joinChatThread", made)
    walk.tablet.wait("onMultiDeviceThread", operation="THREAD_JOIN", **events)
    walk.alice.call("chatThread.destroyChatThread", made)
    walk.tablet.wait("onMultiDeviceThread", operation="THREAD_DESTROY", **events)
    assert walk.alice.seen("onMultiDeviceThread") == []


@steps.add
def _(walk: Walk) -> None:
    """A recall and an edit on one device reach the other."""
    edited, recalled = walk.says("to edit"), walk.says("to recall")
    edit = {**in_thread(walk.oolong), "messageId": edited}
    walk.alice.call("modify", "text", {"content": "edited", **in_thread(walk.oolong)}, edit)
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": recalled})
    assert walk.tablet.wait("onMessageUpdated", messageId=edited)["message"]["body"]["content"] == "edited"
    walk.tablet.wait("onMessageRecalled", messageId=recalled)


@steps.add
def _(walk: Walk) -> None:
    """The tablet has its conversations and groups from the second socket."""
    for kind in ("conversation", "group"):
        assert walk.tablet.wait("onSyncDataFinished", dataType=kind)["status"] == "success"
    listed = {each["conversationId"]: each for each in walk.tablet.call("chat.getConversationList")}
    assert {walk.tea, walk.coffee} <= listed.keys()
    assert not {walk.oolong, walk.mocha} & listed.keys()
    assert listed[walk.coffee]["conversationName"] == "coffee"
    assert listed[walk.coffee]["lastMessage"]["conversationId"] == walk.coffee


@steps.add
def _(walk: Walk) -> None:
    """What Alice does with a conversation in the page reaches the tablet."""
    tea = in_thread(walk.tea)
    walk.alice.call("chat.setConversationPinned", {**tea, "pinned": True})
    walk.alice.call("chat.setConversationPinned", {**tea, "pinned": False})
    walk.alice.call("chat.clearConversationUnreadMessageCount", tea)
    walk.alice.call("chat.clearAllConversationUnreadMessageCount")
    walk.alice.call("chat.removeHistoryMessages", {**tea, "beforeTimestamp": 1})
    for operation in ("CONVERSATION_PINNED", "CONVERSATION_UNPINNED", "CONVERSATION_UNREAD_MESSAGE_COUNT_CLEARED"):
        walk.tablet.wait("onMultiDeviceConversation", operation=operation, conversationId=walk.tea)
    walk.tablet.wait("onMultiDeviceConversation", operation="ALL_CONVERSATIONS_UNREAD_MESSAGE_COUNT_CLEARED")
    walk.tablet.wait("onMultiDeviceMessageRemoved", conversationId=walk.tea, beforeTimestamp=1)


@steps.add
def _(walk: Walk) -> None:
    """A token that ends is told before and after; the tablet is then disconnected, the page is not."""
    short = token_for(walk, "alice", 2)
    walk.tablet.clear()
    walk.alice.clear()
    walk.tablet.call("client.renewToken", short)
    walk.tablet.wait("onTokenWillExpire")
    walk.tablet.wait("onTokenExpired")
    walk.tablet.wait("onDisconnected")
    assert walk.alice.call("client.getConnectionState") == "connected"
    assert walk.alice.seen("onTokenExpired") == []


@steps.add
def _(walk: Walk) -> None:
    """An expired token does not log in."""
    expired = token_for(walk, "alice", 0.001)
    assert refused(walk.tablet, "client.login", {"userId": "alice", "token": expired}).type == TOKEN_EXPIRED
