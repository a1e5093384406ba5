"""What is said in a thread: every type of message, recalls, edits, and what is refused."""

from collections.abc import Callable, Iterator

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.conftest import Login, Room, make_room
from tests.peer.peer import Peer, SdkError, Server

pytestmark = pytest.mark.peer

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")  # the head of a picture is picture enough here

# Every kind of value an attribute may have; the last is the largest integer JavaScript has exactly.
EXT = {
    "text": "文本 🍵",
    "count": 7,
    "below": -3,
    "price": 1.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [1, "二", {"three": 3}],
    "object": {"deep": ["v", 1]},
    "large": 2**53 - 1,
}


def mark(room: Room) -> dict[str, str]:
    """How a message says which thread it belongs to."""
    return {"messageId": room.parent, "parentId": room.group, "chatThreadName": "Oolong"}


def test_text_reaches_the_thread_and_nobody_else(room: Room) -> None:
    sent = room.alice.send(room.thread, msg="冻顶 🎉", ext=EXT)
    heard = room.bob.wait("onTextMessage", id=sent["serverMsgId"])
    assert (heard["msg"], heard["ext"]) == ("冻顶 🎉", EXT)
    assert (heard["from"], heard["to"], heard["chatType"]) == (room.alice.user, room.thread, "groupChat")
    assert heard["chatThread"] == mark(room)
    assert heard["time"] > 1_600_000_000_000
    # The group is told of the thread's news, not of the words' arrival.
    for hearer in (room.bob, room.carol):
        told = hearer.wait("onChatThreadChange", operation="update", id=room.thread, messageCount=1)
        last = told["lastMessage"]
        assert (told["id"], last["id"], last["type"]) == (room.thread, sent["serverMsgId"], "txt")
        assert (last["msg"], last["from"], last["ext"]) == ("冻顶 🎉", room.alice.user, EXT)
    room.fence(room.bob, room.carol)
    assert [message["msg"] for message in room.carol.seen("onTextMessage")] == ["fence"]
    assert [message["msg"] for message in room.bob.seen("onTextMessage")] == ["冻顶 🎉", "fence"]
    assert room.alice.seen("onTextMessage") == []


def test_who_may_not_speak(room: Room) -> None:
    with pytest.raises(SdkError) as stranger:
        room.dave.send(room.thread, msg="hello?")
    assert stranger.value.type in {602, 603, 605}
    with pytest.raises(SdkError) as nowhere:
        room.alice.send("999999999999", msg="hello?")
    assert nowhere.value.type in {602, 605, 1300}


def test_too_large_a_message_is_refused_and_the_next_one_goes(room: Room) -> None:
    with pytest.raises(SdkError) as refused:
        room.alice.send(room.thread, msg="茶" * 4000)
    assert refused.value.type == 511
    sent = room.alice.send(room.thread, msg="shorter")
    room.bob.wait("onTextMessage", id=sent["serverMsgId"])


def test_command(room: Room) -> None:
    sent = room.alice.send(room.thread, "cmd", action="typing")
    heard = room.bob.wait("onCmdMessage", id=sent["serverMsgId"])
    assert (heard["action"], heard["chatThread"]) == ("typing", mark(room))


def test_custom(room: Room) -> None:
    sent = room.alice.send(room.thread, "custom", customEvent="vote", customExts={"choice": "冻顶", "weight": "2"})
    heard = room.bob.wait("onCustomMessage", id=sent["serverMsgId"])
    assert (heard["customEvent"], heard["customExts"]) == ("vote", {"choice": "冻顶", "weight": "2"})
    assert heard["chatThread"] == mark(room)


def test_location(room: Room) -> None:
    sent = room.alice.send(room.thread, "loc", addr="南投县鹿谷乡", buildingName="tea house", lat=23.75, lng=120.75)
    heard = room.bob.wait("onLocationMessage", id=sent["serverMsgId"])
    assert (heard["lat"], heard["lng"], heard["addr"]) == (23.75, 120.75, "南投县鹿谷乡")


def test_image_by_address(room: Room) -> None:
    sent = room.alice.send(room.thread, "img", url="https://example.invalid/leaf/oolong.png", width=12, height=34)
    heard = room.bob.wait("onImageMessage", id=sent["serverMsgId"])
    # Whatever host it had: the receiver asks its own server.
    assert "/leaf/oolong.png" in heard["url"]
    assert heard["url"].startswith("http://127.0.0.1:")


def test_bundle(room: Room) -> None:
    for words in ("first", "第二"):
        room.alice.send(room.thread, msg=words)
    asked = {"targetId": room.thread, "chatType": "groupChat", "pageSize": 10, "searchDirection": "down"}
    history = room.alice.call("getHistoryMessages", asked)["messages"]
    about = {"title": "tea talk", "summary": "two", "compatibleText": "please upgrade"}
    sent = room.alice.send(room.thread, "combine", messageList=history, **about)
    heard = room.bob.wait("onCombineMessage", id=sent["serverMsgId"])
    assert (heard["title"], heard["summary"], heard["combineLevel"]) == ("tea talk", "two", 1)
    opened = room.bob.call("downloadAndParseCombineMessage", {"url": heard["url"], "secret": heard["secret"]})
    assert [message["msg"] for message in opened] == ["first", "第二"]


UPLOADS = {
    "img": ("onImageMessage", {"width": 12, "height": 34, "filename": "leaf.png"}, ["width", "height"]),
    "audio": ("onAudioMessage", {"length": 3, "filename": "pouring.amr"}, ["length", "filename"]),
    "video": ("onVideoMessage", {"length": 5, "filename": "pouring.mp4"}, ["length", "filename"]),
    "file": ("onFileMessage", {"filename": "说明.txt"}, ["filename"]),
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_attachments_go_up_and_come_down(web_room: Room, kind: str) -> None:
    event, options, kept = UPLOADS[kind]
    sent = web_room.alice.send(web_room.thread, kind, file=PNG, **options)
    assert sent["upload"]["entities"][0]["uuid"]
    heard = web_room.bob.wait(event, id=sent["serverMsgId"])
    assert {name: heard[name] for name in kept} == {name: options[name] for name in kept}
    assert (heard["file_length"], heard["chatThread"]) == (len(PNG), mark(web_room))
    assert web_room.bob.download(heard) == PNG


def test_an_attachment_needs_its_secret(web_room: Room) -> None:
    sent = web_room.alice.send(web_room.thread, "file", file=b"leaves", filename="leaves.txt")
    heard = web_room.bob.wait("onFileMessage", id=sent["serverMsgId"])
    bare = heard["url"].partition("?")[0]
    with pytest.raises(SdkError) as refused:
        web_room.dave.download({"url": bare, "secret": "guessed"})
    assert refused.value.type == 222


def test_recall(room: Room) -> None:
    kept = room.alice.send(room.thread, msg="kept")["serverMsgId"]
    regretted = room.alice.send(room.thread, msg="regretted")["serverMsgId"]
    room.bob.wait("onTextMessage", id=regretted)
    where = {"to": room.thread, "chatType": "groupChat", "isChatThread": True}
    room.alice.call("recallMessage", {"mid": regretted, "ext": "wrong thread", **where})
    heard = room.bob.wait("onRecallMessage", mid=regretted)
    assert (heard["from"], heard["to"], heard["ext"]) == (room.alice.user, room.thread, "wrong thread")
    # The group learns that the thread's last word is another one now.
    room.carol.wait("onChatThreadChange", lambda told: told.get("lastMessage", {}).get("id") == kept, messageCount=1)
    asked = {"targetId": room.thread, "chatType": "groupChat", "pageSize": 20}
    assert [message["id"] for message in room.bob.call("getHistoryMessages", asked)["messages"]] == [kept]
    with pytest.raises(SdkError):
        room.alice.call("recallMessage", {"mid": "1", **where})
    with pytest.raises(SdkError):
        room.bob.call("recallMessage", {"mid": kept, **where})


def test_a_message_recalled_before_it_was_fetched_never_comes(own_room: Room, login: Login, peer: Peer) -> None:
    room = own_room
    room.bob.close()
    kept = room.alice.send(room.thread, msg="kept")["serverMsgId"]
    regretted = room.alice.send(room.thread, msg="regretted")["serverMsgId"]
    where = {"to": room.thread, "chatType": "groupChat", "isChatThread": True}
    room.alice.call("recallMessage", {"mid": regretted, **where})
    back = login(peer, room.bob.user, new=False)
    back.wait("onTextMessage", id=kept)
    back.wait("onRecallMessage", mid=regretted)
    assert [message["id"] for message in back.seen("onTextMessage")] == [kept]


@pytest.fixture(scope="module")
def strict_sandbox(sandbox: Server) -> Iterator[Server]:
    """A server whose recall window is as short as its clock can tell."""
    with Sandbox(open_registration=True, recall_seconds=0.001) as running:
        yield running


def test_recall_when_the_time_is_over(
    strict_sandbox: Server, login: Login, peer: Peer, new_user: Callable[[str], str]
) -> None:
    people = (login(peer, new_user(name), server=strict_sandbox) for name in ("alice", "bob", "carol", "dave"))
    room = make_room(*people)
    sent = room.alice.send(room.thread, msg="for ever")["serverMsgId"]
    stood = [room.bob.wait("onTextMessage", id=sent)["time"]]
    while stood[-1] - stood[0] <= 1:  # the server's own clock says that the window, of 1 ms, is over
        later = room.alice.send(room.group, msg="tick", thread=False)["serverMsgId"]
        stood.append(room.bob.wait("onTextMessage", id=later)["time"])
    with pytest.raises(SdkError) as refused:
        room.alice.call(
            "recallMessage", {"mid": sent, "to": room.thread, "chatType": "groupChat", "isChatThread": True}
        )
    assert refused.value.type == 504
    asked = {"targetId": room.thread, "chatType": "groupChat", "pageSize": 20}
    assert [message["id"] for message in room.bob.call("getHistoryMessages", asked)["messages"]] == [sent]


def test_edit(room: Room) -> None:
    sent = room.alice.send(room.thread, msg="Dong Dign", ext={"cups": 2})["serverMsgId"]
    room.bob.wait("onTextMessage", id=sent)
    better = {"type": "txt", "chatType": "groupChat", "to": room.thread, "isChatThread": True, "msg": "Dong Ding"}
    room.alice.call("modify", sent, better)
    heard = room.bob.wait("onModifiedMessage", id=sent)
    assert (heard["msg"], heard["from"], heard["chatThread"]) == ("Dong Ding", room.alice.user, mark(room))
    assert (heard["modifiedInfo"]["operationCount"], heard["modifiedInfo"]["operatorId"]) == (1, room.alice.user)
    asked = {"targetId": room.thread, "chatType": "groupChat", "pageSize": 20}
    (kept,) = room.bob.call("getHistoryMessages", asked)["messages"]
    assert (kept["id"], kept["msg"]) == (sent, "Dong Ding")
    with pytest.raises(SdkError):
        room.bob.call("modify", sent, {**better, "msg": "Tie Guanyin"})
