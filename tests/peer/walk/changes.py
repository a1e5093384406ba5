"""Recalls, edits and read receipts."""

from typing import Any

import imkit
from tests.peer.pictures import PNG
from tests.peer.walk.company import REFUSED, Steps, Walk, heard, in_thread, refused, told
from tests.waits import WAIT

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice recalls a message of hers, and Bob is told."""
    sent = walk.says("wrong thread")
    heard(walk.bob, sent)
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": sent})
    recalled = told(walk.bob, imkit.MessageRecalled, message_id=sent)
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
    """Alice, who owns the group, recalls a message of Bob's, and he is told."""
    sent = walk.thread.send("to be taken away")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": sent.id})
    assert told(walk.bob, imkit.MessageRecalled, message_id=sent.id).by == "alice"


@steps.add
def _(walk: Walk) -> None:
    """A recall takes the file of a message away as well."""
    named = {"filename": "note.txt", "filetype": "text/plain"}
    sent = walk.alice.send(walk.oolong, "file", file=b"tea", **named)["msgServerId"]
    message = heard(walk.bob, sent)
    assert walk.bob.download(message, walk.folder).read_bytes() == b"tea"
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": sent})
    told(walk.bob, imkit.MessageRecalled, message_id=sent)
    try:
        walk.bob.download(message, walk.folder)
    except imkit.NotFound:
        pass
    else:
        raise AssertionError("the file is still there")
    his = walk.thread.send(imkit.File(PNG, file_name="leaf.png"))
    shown = walk.alice.wait("onMessage", msgServerId=his.id)
    walk.thread.recall(his)
    walk.alice.wait("onMessageRecalled", messageId=his.id)
    assert refused(walk.alice, "download", shown).type


@steps.add
def _(walk: Walk) -> None:
    """An edit of the last message of a thread is an update of the thread."""
    sent = walk.thread.send("the lsat")
    walk.alice.wait("onChatThreadUpdated", lambda event: last_text(event) == "the lsat")
    walk.thread.edit(sent, "the last")
    updated = walk.alice.wait("onChatThreadUpdated", lambda event: last_text(event) == "the last")
    assert (updated["chatThreadId"], updated["lastMessage"]["msgId"]) == (walk.oolong, sent.id)


def last_text(event: dict[str, Any]) -> str | None:
    """Return the text of the last message that an event about a thread carries."""
    body: dict[str, Any] = (event.get("lastMessage") or {}).get("body") or {}
    bodies = body.get("bodies") or [{}]
    return bodies[0].get("msg")


@steps.add
def _(walk: Walk) -> None:
    """Bob and Carol have read a message of Alice's: she is told, counts them and lists them."""
    sent = walk.says("read this", needReadReceipt=True)
    for number, reader in enumerate((walk.bob, walk.carol), 1):
        reader.thread(walk.oolong).acknowledge(heard(reader, sent), "read")
        told_so = walk.alice.wait_for(number, "onMessageReadReceipts", lambda event: sent in event[0]["messageIds"])
        (receipt,) = told_so[-1]
        assert receipt["receiptDetails"] == [{"messageId": sent, "count": number}]
        assert (receipt["messageIds"], receipt["conversationId"]) == ([sent], walk.oolong)
    asked = {"groupId": walk.oolong, "messageId": sent, "pageSize": 1}
    first = walk.alice.call("chat.getGroupMessageReadUsers", asked)
    second = walk.alice.call("chat.getGroupMessageReadUsers", {**asked, "cursor": first["cursor"]})
    assert [user["userId"] for user in first["users"] + second["users"]] == ["bob", "carol"]
    assert (first["count"], first["hasMore"], second["hasMore"]) == (2, True, False)
    counts = walk.alice.call("chat.getGroupMessageReadReceipts", {"groupId": walk.oolong, "messageIds": [sent]})
    assert counts == [{"messageId": sent, "count": 2}]


@steps.add
def _(walk: Walk) -> None:
    """Alice has read two messages of Bob's, which one receipt says; he is told of both."""
    sent = [walk.thread.send(f"read this too {number}").id for number in range(2)]
    walk.alice.wait("onMessage", msgServerId=sent[1])
    walk.alice.call("chat.sendMessageReadReceipts", {**in_thread(walk.oolong), "messageIds": sent})
    for message_id in sent:
        receipt = told(walk.bob, imkit.MessageRead, message_ids=(message_id,))
        assert (receipt.by, receipt.to, dict(receipt.counts)) == ("alice", walk.oolong, {message_id: 1})
        assert [reader.user for reader in walk.thread.readers(message_id)] == ["alice"]


@steps.add
def _(walk: Walk) -> None:
    """A message can be edited ten times."""
    sent = walk.says("draft 0")
    edit = {**in_thread(walk.oolong), "messageId": sent}
    for number in range(1, 11):
        walk.alice.call("modify", "text", {"content": f"draft {number}", **in_thread(walk.oolong)}, edit)
    error = refused(walk.alice, "modify", "text", {"content": "draft 11", **in_thread(walk.oolong)}, edit)
    assert (error.type, error.message) == (REFUSED, "Sorry, edit limit reached")
