"""Recalls, edits and read receipts."""

import imkit
from tests.peer.walk.company import REFUSED, Steps, Walk, heard, in_thread, refused
from tests.waits import WAIT

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice recalls a message of hers, and Bob is told."""
    sent = walk.says("wrong thread")
    heard(walk.bob, sent)
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": sent})
    recalled = walk.bob.events(imkit.MessageRecalled).next(timeout=WAIT, where=lambda event: event.message_id == sent)
    assert (recalled.by, recalled.to) == ("alice", walk.oolong)
    assert recalled.message is not None
    assert recalled.message.text == "wrong thread"


@steps.add
def _(walk: Walk) -> None:
    """Bob recalls a message of his, and Alice is told."""
    sent = walk.thread.send("me too")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    walk.thread.recall(sent)
    recalled = walk.alice.wait("onMessageRecalled", messageId=sent.id)
    assert (recalled["conversationId"], recalled["conversationType"]) == (walk.oolong, "groupChat")


@steps.add
def _(walk: Walk) -> None:
    """Alice may not recall a message of Bob's in his group."""
    sent = walk.bob.thread(walk.mocha).send("mine")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    error = refused(walk.alice, "chat.recallMessage", {**in_thread(walk.mocha), "messageId": sent.id})
    assert (error.type, "no permission to recall message" in error.message) == (REFUSED, True)


@steps.add
def _(walk: Walk) -> None:
    """A message that does not exist cannot be recalled."""
    assert refused(walk.alice, "chat.recallMessage", {**in_thread(walk.oolong), "messageId": "123456789"}).type


@steps.add
def _(walk: Walk) -> None:
    """Alice edits a text of hers, and Bob is told."""
    sent = walk.says("Dong Dign")
    heard(walk.bob, sent)
    edit = {**in_thread(walk.oolong), "messageId": sent}
    walk.alice.call("modify", "text", {"content": "Dong Ding", **in_thread(walk.oolong)}, edit)
    edits = walk.bob.events(imkit.MessageEdited)
    edited = edits.next(timeout=WAIT, where=lambda event: event.message.id == sent)
    assert (edited.message.text, edited.operator, edited.count) == ("Dong Ding", "alice", 1)


@steps.add
def _(walk: Walk) -> None:
    """Bob edits a text and a custom message of his, and Alice is told."""
    sent = walk.thread.send("Tie Guan Yni")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    walk.thread.edit(sent, "Tie Guan Yin")
    edited = walk.alice.wait("onMessageUpdated", messageId=sent.id)
    assert edited["message"]["body"]["content"] == "Tie Guan Yin"
    assert edited["message"]["modifiedInfo"]["operatorId"] == "bob"
    assert edited["message"]["modifiedInfo"]["operationCount"] == 1
    vote = walk.thread.send(imkit.Custom("vote", {"bags": "1"}))
    walk.alice.wait("onMessage", msgServerId=vote.id)
    walk.thread.edit(vote, imkit.Custom("vote", {"bags": "2"}))
    edited = walk.alice.wait("onMessageUpdated", messageId=vote.id)
    assert edited["message"]["body"]["params"] == {"bags": "2"}


@steps.add
def _(walk: Walk) -> None:
    """Alice may not edit a message of Bob's in his group."""
    sent = walk.bob.thread(walk.mocha).send("mine too")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    edit = {**in_thread(walk.mocha), "messageId": sent.id}
    error = refused(walk.alice, "modify", "text", {"content": "hers", **in_thread(walk.mocha)}, edit)
    assert error.message == "Sorry, You do not have permission"


@steps.add
def _(walk: Walk) -> None:
    """Bob has read a message of Alice's, and she is told."""
    sent = walk.says("read this", needReadReceipt=True)
    walk.thread.acknowledge(heard(walk.bob, sent), "read")
    (receipt,) = walk.alice.wait("onMessageReadReceipts", lambda event: sent in event[0]["messageIds"])
    assert (receipt["conversationId"], receipt["conversationType"]) == (walk.oolong, "groupChat")
