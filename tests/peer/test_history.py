"""Roaming history (消息漫游) as the official SDK pages through it."""

from typing import Any

import pytest

from tests.peer.conftest import Room
from tests.peer.peer import Device, SdkError

pytestmark = pytest.mark.peer


def page_through(device: Device, target: str, page_size: int, **options: Any) -> list[dict[str, Any]]:
    """Everything, in pages, until the SDK says that a page is the last."""
    messages: list[dict[str, Any]] = []
    cursor: Any = -1
    for _ in range(50):
        asked = {"targetId": target, "chatType": "groupChat", "pageSize": page_size, "cursor": cursor, **options}
        page = device.call("getHistoryMessages", asked)
        assert len(page["messages"]) <= page_size
        messages += page["messages"]
        if page["isLast"]:
            return messages
        cursor = page["cursor"]
    raise AssertionError(f"no end after 50 pages and {len(messages)} messages")


def talk(room: Room) -> list[str]:
    """Alice and Bob in turn, with a vote among the words; the ids, oldest first."""
    ids = []
    for number in range(7):
        speaker = (room.alice, room.bob)[number % 2]
        ids.append(speaker.send(room.thread, msg=f"cup {number}", ext={"number": number})["serverMsgId"])
    ids.append(room.alice.send(room.thread, "custom", customEvent="vote", customExts={})["serverMsgId"])
    return ids


def test_both_ways_and_whole(room: Room) -> None:
    ids = talk(room)
    assert ids == sorted(ids, key=int)
    upwards = page_through(room.bob, room.thread, 3)
    assert [message["id"] for message in upwards] == ids[::-1]
    downwards = page_through(room.bob, room.thread, 3, searchDirection="down")
    assert [message["id"] for message in downwards] == ids
    first = downwards[0]
    assert (first["msg"], first["from"], first["to"]) == ("cup 0", room.alice.user, room.thread)
    assert first["ext"] == {"number": 0}
    assert first["chatThread"] == {"messageId": room.parent, "parentId": room.group, "chatThreadName": "Oolong"}


def test_a_page_size_that_divides_evenly_ends_too(room: Room) -> None:
    ids = talk(room)
    assert [message["id"] for message in page_through(room.bob, room.thread, 4, searchDirection="down")] == ids


def test_filters(room: Room) -> None:
    ids = talk(room)
    votes = page_through(room.bob, room.thread, 5, searchOptions={"msgTypes": ["custom"]})
    assert [message["id"] for message in votes] == ids[-1:]
    bobs = page_through(room.alice, room.thread, 2, searchOptions={"from": room.bob.user})
    assert [message["id"] for message in bobs] == [ids[5], ids[3], ids[1]]
    texts = page_through(room.alice, room.thread, 50, searchOptions={"msgTypes": ["txt"], "from": room.alice.user})
    assert [message["msg"] for message in texts] == ["cup 6", "cup 4", "cup 2", "cup 0"]


def test_a_stretch_of_time(room: Room) -> None:
    talk(room)
    everything = page_through(room.bob, room.thread, 50, searchDirection="down")
    begin, end = everything[2]["time"], everything[4]["time"]
    bounds = {"startTime": begin, "endTime": end}
    within = page_through(room.bob, room.thread, 2, searchDirection="down", searchOptions=bounds)
    found = {message["id"] for message in within}
    # Whether the ends belong to it is not documented, so only what lies clearly inside and outside is held.
    assert {message["id"] for message in everything if begin < message["time"] < end} <= found
    assert found <= {message["id"] for message in everything if begin <= message["time"] <= end}


def test_the_older_call_gives_the_newest_page_oldest_first(room: Room) -> None:
    ids = talk(room)
    asked = {"queue": room.thread, "isGroup": True, "count": 5, "format": True}
    assert [message["id"] for message in room.bob.call("fetchHistoryMessages", asked)] == ids[-5:]


def test_an_empty_thread_has_an_empty_history(room: Room) -> None:
    assert page_through(room.bob, room.thread, 10) == []


def test_a_stranger_reads_nothing(room: Room) -> None:
    talk(room)
    with pytest.raises(SdkError):
        page_through(room.dave, room.thread, 10)


def test_the_parent_message_carries_an_overview_of_its_thread(room: Room) -> None:
    ids = talk(room)
    group = page_through(room.carol, room.group, 10)
    assert [message["id"] for message in group] == [room.parent]  # the thread's messages are not the group's
    overview = group[0]["chatThreadOverview"]
    assert (overview["id"], overview["name"], overview["parentId"]) == (room.thread, "Oolong", room.group)
    assert (overview["messageCount"], overview["lastMessage"]["id"]) == (len(ids), ids[-1])
    assert overview["createTimestamp"] <= overview["updateTimestamp"]
