"""Roaming history (消息漫游) with every filter, and last messages."""

from datetime import UTC, datetime, timedelta

from tests.peer.walk.company import FORBIDDEN, Steps, Walk, all_pages, in_thread, refused

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice and Bob read the same history of the thread, in both directions."""
    for direction, order in (("down", "oldest"), ("up", "newest")):
        asked = {**in_thread(walk.oolong), "pageSize": 7, "searchDirection": direction}
        found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
        ids = [message.id for message in walk.thread.messages(order=order)]
        assert [message["msgServerId"] for message in found] == ids
        assert len(ids) > 20
        assert all(message["chatThread"]["parentId"] == walk.tea for message in found)


@steps.add
def _(walk: Walk) -> None:
    """A page has as many messages as were asked for, and ends where the next one begins."""
    asked = {**in_thread(walk.oolong), "searchDirection": "up", "pageSize": 3}
    first = walk.alice.call("chat.getHistoryMessages", asked)
    second = walk.alice.call("chat.getHistoryMessages", {**asked, "cursor": first["cursor"]})
    newest = [message.id for message in walk.thread.messages(order="newest", limit=6)]
    assert [message["msgServerId"] for message in first["items"] + second["items"]] == newest
    assert first["hasMore"]


@steps.add
def _(walk: Walk) -> None:
    """Alice asks for messages of some types."""
    asked = {**in_thread(walk.oolong), "pageSize": 5, "searchDirection": "down", "messageTypes": ["img", "loc"]}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
    assert {message["type"] for message in found} == {"image", "location"}
    ids = [message.id for message in walk.thread.messages(types=["img", "loc"])]
    assert [message["msgServerId"] for message in found] == ids


@steps.add
def _(walk: Walk) -> None:
    """Alice asks for messages of some senders."""
    walk.carol.thread(walk.oolong).send("from Carol")
    asked = {**in_thread(walk.oolong), "pageSize": 50, "searchDirection": "down"}
    for senders in (["bob"], ["bob", "carol"], ["nobody"]):
        found = all_pages(walk.alice, "chat.getHistoryMessages", **asked, senderIds=senders)
        ids = [message.id for message in walk.thread.messages() if message.sender in senders]
        assert [message["msgServerId"] for message in found] == ids


@steps.add
def _(walk: Walk) -> None:
    """Alice asks for messages of a range of time."""
    whole = list(walk.thread.messages())
    first, last = whole[5], whole[-5]
    times = {"startTime": int(first.time.timestamp() * 1000), "endTime": int(last.time.timestamp() * 1000)}
    for direction in ("down", "up"):
        asked = {**in_thread(walk.oolong), **times, "pageSize": 50, "searchDirection": direction}
        found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
        between = [message.id for message in whole if first.time <= message.time < last.time]
        expected = between if direction == "down" else between[::-1]
        # A message of the very last millisecond may come or not: docs/protocol.md#roaming-history.
        assert [message["msgServerId"] for message in found if message["timestamp"] < times["endTime"]] == expected


@steps.add
def _(walk: Walk) -> None:
    """Alice asks with all filters at once."""
    since, until = list(walk.thread.messages())[3].time, datetime.now(UTC) + timedelta(minutes=1)
    times = {"startTime": int(since.timestamp() * 1000), "endTime": int(until.timestamp() * 1000)}
    asked = {**in_thread(walk.oolong), **times, "searchDirection": "up", "pageSize": 2}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked, messageTypes=["txt"], senderIds=["bob"])
    texts = walk.thread.messages(since, until, types=["txt"], sender="bob", order="newest")
    # On the wire a bundle is a text as well.
    assert [message["msgServerId"] for message in found if message["type"] == "text"] == [text.id for text in texts]


@steps.add
def _(walk: Walk) -> None:
    """An edited message is in the history with its new text and its edits."""
    asked = {**in_thread(walk.oolong), "pageSize": 50, "searchDirection": "up"}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
    (edited,) = [message for message in found if message["body"].get("content") == "Dong Ding"]
    assert (edited["modifiedInfo"]["operatorId"], edited["modifiedInfo"]["operationCount"]) == ("alice", 1)


@steps.add
def _(walk: Walk) -> None:
    """The parent message in the history of the group shows what the thread is."""
    asked = {**in_thread(walk.tea), "pageSize": 50, "searchDirection": "down"}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
    (parent,) = [message for message in found if message["msgServerId"] == walk.parent]
    overview = parent["chatThreadOverview"]
    assert (overview["chatThreadId"], overview["name"]) == (walk.oolong, "乌龙")
    assert overview["messageCount"] == len(list(walk.thread.messages()))


@steps.add
def _(walk: Walk) -> None:
    """Alice and Bob see the same last message of a thread, also of one without messages."""
    empty = next(thread for thread in walk.bob.group(walk.tea).threads() if thread.name == "topic 0")
    sent = walk.thread.send("the last word")
    asked = {"chatThreadIds": [walk.oolong, empty.id]}
    found = walk.alice.call("chatThread.getChatThreadLastMessageList", asked)["items"]
    last = {item["chatThreadId"]: item["lastMessage"] for item in found}
    assert last[walk.oolong]["msgId"] == sent.id
    assert last[walk.oolong]["body"]["msg"] == "the last word"
    assert not last[empty.id]


@steps.add
def _(walk: Walk) -> None:
    """Alice may not read the history of a thread that she is not in."""
    group = walk.dave.create_group("closed")
    asked = {**in_thread(group.id), "pageSize": 5}
    assert refused(walk.alice, "chat.getHistoryMessages", asked).type == FORBIDDEN
