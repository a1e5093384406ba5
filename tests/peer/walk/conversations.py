"""The list of conversations, one-way deletes, and imkit as Alice's other device."""

import imkit
from tests.peer.walk.company import PASSWORD, Steps, Walk, heard, in_thread, told
from tests.waits import eventually

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice logs in on a laptop with imkit; what one device does with threads, the other is told."""
    app = imkit.App(walk.sandbox.app_key, rest_url=walk.sandbox.rest_url, ws_url=walk.sandbox.ws_url)
    walk.laptop = walk.held.enter_context(imkit.login("alice", password=PASSWORD, app=app))
    other = next(thread for thread in walk.bob.group(walk.tea).threads() if thread.name == "topic 1")
    walk.alice.call("chatThread.joinChatThread", {"chatThreadId": other.id})
    told(walk.laptop, imkit.DeviceChanged, thread_id=other.id, operation="join")
    walk.laptop.thread(other.id).leave()
    walk.alice.wait("onMultiDeviceThread", operation="THREAD_LEAVE", threadId=other.id)


@steps.add
def _(walk: Walk) -> None:
    """What Alice writes on one device, the other receives."""
    copy = heard(walk.laptop, walk.says("from the page"))
    assert (copy.sender, copy.to) == ("alice", walk.oolong)
    sent = walk.laptop.thread(walk.oolong).send("from the laptop")
    assert walk.alice.wait("onMessage", msgServerId=sent.id)["direct"] == "SEND"


@steps.add
def _(walk: Walk) -> None:
    """Alice clears the unread count of a group in the page, and the laptop is told and agrees."""
    walk.bob.group(walk.tea).send("unread")
    assert eventually(lambda: unread(walk) > 0)
    walk.alice.call("chat.clearConversationUnreadMessageCount", in_thread(walk.tea))
    told(walk.laptop, imkit.ConversationChanged, conversation_id=walk.tea, operation="read")
    assert unread(walk) == 0


@steps.add
def _(walk: Walk) -> None:
    """Alice pins, unpins, marks and deletes a conversation in the page, and the laptop is told."""
    coffee = in_thread(walk.coffee)
    walk.alice.call("chat.setConversationPinned", {**coffee, "pinned": True})
    told(walk.laptop, imkit.ConversationChanged, conversation_id=walk.coffee, operation="pin")
    pinned = {info.conversation.id: info.pinned_at for info in walk.laptop.conversations()}
    assert pinned[walk.coffee] is not None
    walk.alice.call("chat.setConversationPinned", {**coffee, "pinned": False})
    told(walk.laptop, imkit.ConversationChanged, conversation_id=walk.coffee, operation="unpin")
    walk.alice.call("chat.addConversationMark", {"conversations": [coffee], "mark": 3})
    assert told(walk.laptop, imkit.ConversationChanged, conversation_id=walk.coffee, operation="mark").mark == 3
    walk.alice.call("chat.removeConversationMark", {"conversations": [coffee], "mark": 3})
    told(walk.laptop, imkit.ConversationChanged, conversation_id=walk.coffee, operation="unmark")
    walk.alice.call("chat.deleteConversation", {**coffee, "deleteRoamingMessages": False})
    told(walk.laptop, imkit.ConversationChanged, conversation_id=walk.coffee, operation="delete")
    assert walk.coffee not in [info.conversation.id for info in walk.laptop.conversations()]


@steps.add
def _(walk: Walk) -> None:
    """Alice deletes a message for herself: her history lacks it, the laptop is told, Bob keeps it."""
    sent = walk.thread.send("not for her").id
    walk.alice.wait("onMessage", msgServerId=sent)
    walk.alice.call("chat.removeHistoryMessages", {**in_thread(walk.oolong), "messageIds": [sent]})
    asked = {**in_thread(walk.oolong), "pageSize": 5, "searchDirection": "up"}
    found = walk.alice.call("chat.getHistoryMessages", asked)["items"]
    assert sent not in [message["msgServerId"] for message in found]
    assert sent in [message.id for message in walk.thread.messages(order="newest", limit=1)]
    told(walk.laptop, imkit.HistoryForgotten, to=walk.oolong, message_ids=(sent,))


@steps.add
def _(walk: Walk) -> None:
    """Alice deletes a message for herself on the laptop, and the page is told."""
    sent = walk.thread.send("nor this").id
    walk.alice.wait("onMessage", msgServerId=sent)
    walk.laptop.thread(walk.oolong).forget(sent)
    walk.alice.wait("onMultiDeviceMessageRemoved", lambda event: event["messageIds"] == [sent])


def unread(walk: Walk) -> int:
    """Return how many messages of "tea" Alice has not read, as her laptop is told."""
    counts = {info.conversation.id: info.unread for info in walk.laptop.conversations()}
    return counts.get(walk.tea, 0)
