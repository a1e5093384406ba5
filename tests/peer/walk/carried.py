"""Quotes, mentions, reactions and pins."""

import imkit
from tests.peer.walk.company import Steps, Walk, heard, in_thread, refused, told

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice replies to a message of Bob's, and he sees which."""
    quoted = walk.thread.send("Which water?")
    walk.alice.wait("onMessage", msgServerId=quoted.id)
    quote = {"msgID": quoted.id, "msgPreview": "Which water?", "msgSender": "bob", "msgType": "text"}
    reply = heard(walk.bob, walk.says("Soft water", ext={"msgQuote": quote}))
    assert reply.quote is not None
    assert (reply.quote.message_id, reply.quote.preview) == (quoted.id, "Which water?")
    assert (reply.quote.sender, reply.quote.type) == ("bob", "txt")


@steps.add
def _(walk: Walk) -> None:
    """Bob replies to a message of Alice's, and she sees which."""
    quoted = heard(walk.bob, walk.says("How hot?"))
    reply = walk.thread.send("95 °C", reply_to=quoted)
    quote = walk.alice.wait("onMessage", msgServerId=reply.id)["ext"]["msgQuote"]
    assert (quote["msgID"], quote["msgPreview"], quote["msgSender"]) == (quoted.id, "How hot?", "alice")


@steps.add
def _(walk: Walk) -> None:
    """Each mentions the other, and Alice mentions everybody."""
    assert heard(walk.bob, walk.says("@bob?", ext={"em_at_list": ["bob"]})).mentions == ("bob",)
    assert heard(walk.bob, walk.says("@ALL!", ext={"em_at_list": "ALL"})).mentions == (imkit.ALL,)
    sent = walk.thread.send("@alice!", mention="alice")
    assert walk.alice.wait("onMessage", msgServerId=sent.id)["ext"]["em_at_list"] == ["alice"]


@steps.add
def _(walk: Walk) -> None:
    """Alice adds a reaction, and Bob is told."""
    walk.liked = walk.thread.send("Who wants more?").id
    walk.alice.wait("onMessage", msgServerId=walk.liked)
    walk.alice.call("chat.addReaction", {"messageId": walk.liked, "reaction": "🍵"})
    change = told(walk.bob, imkit.ReactionChanged, message_id=walk.liked, operation="added")
    assert (change.by, change.reaction, change.count, change.to) == ("alice", "🍵", 1, walk.oolong)


@steps.add
def _(walk: Walk) -> None:
    """Bob and Carol add the same reaction, and Alice is told who."""
    for session in (walk.bob, walk.carol):
        session.thread(walk.oolong).react(walk.liked, "🍵")
    change = walk.alice.wait(
        "onReactionChanged", lambda event: event["messageId"] == walk.liked and event["reactions"][0]["count"] == 3
    )
    assert (change["conversationId"], change["conversationType"]) == (walk.oolong, "groupChat")
    assert change["reactions"][0]["op"] == [{"operator": "carol", "reactionType": "create"}]


@steps.add
def _(walk: Walk) -> None:
    """Alice lists the reactions of a message, and reads who gave one, page by page."""
    asked = {"messageId": walk.liked, "conversationType": "groupChat", "groupId": walk.tea}
    (listed,) = walk.alice.call("chat.getReactionList", asked)
    (tea,) = listed["reactions"]
    assert (listed["messageId"], tea["reaction"], tea["count"], tea["isAddedBySelf"]) == (walk.liked, "🍵", 3, True)
    users, cursor = [], ""
    for _ in range(3):
        detail = {"messageId": walk.liked, "reaction": "🍵", "pageSize": 1, "cursor": cursor}
        page = walk.alice.call("chat.getReactionDetail", detail)
        users += [user["userId"] for user in page["reactionUsers"]]
        cursor = page["cursor"]
    assert (sorted(users), cursor) == (["alice", "bob", "carol"], "")


@steps.add
def _(walk: Walk) -> None:
    """The same reaction a second time is refused."""
    assert refused(walk.alice, "chat.addReaction", {"messageId": walk.liked, "reaction": "🍵"}).type


@steps.add
def _(walk: Walk) -> None:
    """Alice takes her reaction back, and Bob is told; the history shows the others' reactions."""
    walk.alice.call("chat.removeReaction", {"messageId": walk.liked, "reaction": "🍵"})
    change = told(walk.bob, imkit.ReactionChanged, message_id=walk.liked, operation="removed")
    assert (change.by, change.count) == ("alice", 2)
    asked = {**in_thread(walk.oolong), "searchDirection": "up", "pageSize": 50, "senderIds": ["bob"]}
    found = walk.alice.call("chat.getHistoryMessages", asked)["items"]
    (message,) = [message for message in found if message["msgServerId"] == walk.liked]
    (tea,) = message["reactions"]
    assert (tea["reaction"], tea["count"], tea.get("isAddedBySelf", False)) == ("🍵", 2, False)


@steps.add
def _(walk: Walk) -> None:
    """Alice pins a message of the group, and Bob is told; he unpins it, and she is told."""
    pinned = {**in_thread(walk.tea), "messageId": walk.parent}
    walk.alice.call("chat.pinMessage", pinned)
    assert told(walk.bob, imkit.PinChanged, message_id=walk.parent, operation="pinned").by == "alice"
    assert [message.id for message in walk.bob.group(walk.tea).pinned()] == [walk.parent]
    walk.bob.group(walk.tea).unpin(walk.parent)
    unpinned = walk.alice.wait("onPinnedMessageChanged", messageId=walk.parent, operation="unpin")
    assert (unpinned["operatorId"], unpinned["conversationId"]) == ("bob", walk.tea)


@steps.add
def _(walk: Walk) -> None:
    """Bob pins a message of the group; Alice is told, and lists it."""
    walk.bob.group(walk.tea).pin(walk.parent)
    walk.alice.wait("onPinnedMessageChanged", messageId=walk.parent, operation="pin")
    (pinned,) = walk.alice.call("chat.getPinnedMessageList", in_thread(walk.tea))["items"]
    assert (pinned["messageId"], pinned["operatorId"]) == (walk.parent, "bob")
    assert pinned["message"]["body"]["content"] == "Which oolong?"
    walk.alice.call("chat.unpinMessage", {**in_thread(walk.tea), "messageId": walk.parent})
    told(walk.bob, imkit.PinChanged, message_id=walk.parent, operation="unpinned", by="alice")
