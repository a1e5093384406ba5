"""Messages of every type in a thread, recalls, edits and refusals, with the official SDK."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.conftest import Login, TeaGroup, make_tea_group
from tests.peer.peer import Peer, SdkError
from tests.peer.test_delivery import app_token, ask
from tests.sandbox.server.raw_client import Server

pytestmark = pytest.mark.peer

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")  # the head of a PNG file is enough here

# One attribute of each type; the last is the largest integer that JavaScript represents exactly.
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


def mark(tea: TeaGroup) -> dict[str, str]:
    """Return the thread mark of a message, as the SDK shows it."""
    return {"messageId": tea.parent, "parentId": tea.group, "chatThreadName": "Oolong"}


def test_a_text_reaches_the_threads_members_only(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, msg="冻顶 🎉", ext=EXT)
    heard = tea.bob.wait("onTextMessage", id=sent["serverMsgId"])
    assert (heard["msg"], heard["ext"]) == ("冻顶 🎉", EXT)
    assert (heard["from"], heard["to"], heard["chatType"]) == (tea.alice.user, tea.thread, "groupChat")
    assert heard["chatThread"] == mark(tea)
    assert heard["time"] > 1_600_000_000_000
    # All members of the group get the thread notice.
    for hearer in (tea.bob, tea.carol):
        told = hearer.wait("onChatThreadChange", operation="update", id=tea.thread, messageCount=1)
        last = told["lastMessage"]
        assert (told["id"], last["id"], last["type"]) == (tea.thread, sent["serverMsgId"], "txt")
        assert (last["msg"], last["from"], last["ext"]) == ("冻顶 🎉", tea.alice.user, EXT)
    tea.fence(tea.bob, tea.carol)
    assert [message["msg"] for message in tea.carol.seen("onTextMessage")] == ["fence"]
    assert [message["msg"] for message in tea.bob.seen("onTextMessage")] == ["冻顶 🎉", "fence"]
    assert tea.alice.seen("onTextMessage") == []


def test_users_who_may_not_send(tea: TeaGroup) -> None:
    with pytest.raises(SdkError) as stranger:
        tea.dave.send(tea.thread, msg="hello?")
    assert stranger.value.type in {602, 603, 605}
    with pytest.raises(SdkError) as nowhere:
        tea.alice.send("999999999999", msg="hello?")
    assert nowhere.value.type in {602, 605, 1300}


def test_a_too_large_message_is_refused_and_the_next_one_is_sent(tea: TeaGroup) -> None:
    with pytest.raises(SdkError) as refused:
        tea.alice.send(tea.thread, msg="茶" * 4000)
    assert refused.value.type == 511
    sent = tea.alice.send(tea.thread, msg="shorter")
    tea.bob.wait("onTextMessage", id=sent["serverMsgId"])


def test_command(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "cmd", action="typing")
    heard = tea.bob.wait("onCmdMessage", id=sent["serverMsgId"])
    assert (heard["action"], heard["chatThread"]) == ("typing", mark(tea))


def test_custom(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "custom", customEvent="vote", customExts={"choice": "冻顶", "weight": "2"})
    heard = tea.bob.wait("onCustomMessage", id=sent["serverMsgId"])
    assert (heard["customEvent"], heard["customExts"]) == ("vote", {"choice": "冻顶", "weight": "2"})
    assert heard["chatThread"] == mark(tea)


def test_location(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "loc", addr="南投县鹿谷乡", buildingName="tea house", lat=23.75, lng=120.75)
    heard = tea.bob.wait("onLocationMessage", id=sent["serverMsgId"])
    assert (heard["lat"], heard["lng"], heard["addr"]) == (23.75, 120.75, "南投县鹿谷乡")


def test_image_by_url(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "img", url="https://example.invalid/leaf/oolong.png", width=12, height=34)
    heard = tea.bob.wait("onImageMessage", id=sent["serverMsgId"])
    # Whatever host the URL has, the SDK replaces it with its own server.
    assert "/leaf/oolong.png" in heard["url"]
    assert heard["url"].startswith("http://127.0.0.1:")


def test_bundle(tea: TeaGroup) -> None:
    for words in ("first", "第二"):
        tea.alice.send(tea.thread, msg=words)
    asked = {"targetId": tea.thread, "chatType": "groupChat", "pageSize": 10, "searchDirection": "down"}
    history = tea.alice.call("getHistoryMessages", asked)["messages"]
    about: dict[str, Any] = {"title": "tea talk", "summary": "two", "compatibleText": "please upgrade"}
    sent = tea.alice.send(tea.thread, "combine", messageList=history, **about)
    heard = tea.bob.wait("onCombineMessage", id=sent["serverMsgId"])
    assert (heard["title"], heard["summary"], heard["combineLevel"]) == ("tea talk", "two", 1)
    opened = tea.bob.call("downloadAndParseCombineMessage", {"url": heard["url"], "secret": heard["secret"]})
    assert [message["msg"] for message in opened] == ["first", "第二"]


UPLOADS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "img": ("onImageMessage", {"width": 12, "height": 34, "filename": "leaf.png"}, ["width", "height"]),
    "audio": ("onAudioMessage", {"length": 3, "filename": "pouring.amr"}, ["length", "filename"]),
    "video": ("onVideoMessage", {"length": 5, "filename": "pouring.mp4"}, ["length", "filename"]),
    "file": ("onFileMessage", {"filename": "说明.txt"}, ["filename"]),
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_upload_and_download(web_tea: TeaGroup, kind: str) -> None:
    event, options, kept = UPLOADS[kind]
    sent = web_tea.alice.send(web_tea.thread, kind, file=PNG, **options)
    assert sent["upload"]["entities"][0]["uuid"]
    heard = web_tea.bob.wait(event, id=sent["serverMsgId"])
    assert {name: heard[name] for name in kept} == {name: options[name] for name in kept}
    assert (heard["file_length"], heard["chatThread"]) == (len(PNG), mark(web_tea))
    assert web_tea.bob.download(heard) == PNG


def test_an_attachment_needs_its_secret(web_tea: TeaGroup) -> None:
    sent = web_tea.alice.send(web_tea.thread, "file", file=b"leaves", filename="leaves.txt")
    heard = web_tea.bob.wait("onFileMessage", id=sent["serverMsgId"])
    bare = heard["url"].partition("?")[0]
    with pytest.raises(SdkError) as refused:
        web_tea.dave.download({"url": bare, "secret": "guessed"})
    assert refused.value.type == 222


def test_recall(tea: TeaGroup) -> None:
    kept = tea.alice.send(tea.thread, msg="kept")["serverMsgId"]
    regretted = tea.alice.send(tea.thread, msg="regretted")["serverMsgId"]
    tea.bob.wait("onTextMessage", id=regretted)
    where = {"to": tea.thread, "chatType": "groupChat", "isChatThread": True}
    tea.alice.call("recallMessage", {"mid": regretted, "ext": "wrong thread", **where})
    heard = tea.bob.wait("onRecallMessage", mid=regretted)
    assert (heard["from"], heard["to"], heard["ext"]) == (tea.alice.user, tea.thread, "wrong thread")
    # The thread notice has the message before as the last one.
    tea.carol.wait("onChatThreadChange", lambda told: told.get("lastMessage", {}).get("id") == kept, messageCount=1)
    asked = {"targetId": tea.thread, "chatType": "groupChat", "pageSize": 20}
    assert [message["id"] for message in tea.bob.call("getHistoryMessages", asked)["messages"]] == [kept]
    with pytest.raises(SdkError):
        tea.alice.call("recallMessage", {"mid": "1", **where})
    with pytest.raises(SdkError):
        tea.bob.call("recallMessage", {"mid": kept, **where})


def test_a_message_that_is_recalled_before_its_delivery_is_not_delivered(
    own_tea: TeaGroup, login: Login, peer: Peer
) -> None:
    tea = own_tea
    tea.bob.close()
    kept = tea.alice.send(tea.thread, msg="kept")["serverMsgId"]
    regretted = tea.alice.send(tea.thread, msg="regretted")["serverMsgId"]
    where = {"to": tea.thread, "chatType": "groupChat", "isChatThread": True}
    tea.alice.call("recallMessage", {"mid": regretted, **where})
    back = login(peer, tea.bob.user, new=False)
    back.wait("onTextMessage", id=kept)
    back.wait("onRecallMessage", mid=regretted)
    assert [message["id"] for message in back.seen("onTextMessage")] == [kept]


@pytest.fixture(scope="module")
def strict_sandbox(sandbox: Server) -> Iterator[Server]:
    """A server with a time limit of 1 ms for recalls."""
    with Sandbox(open_registration=True, recall_seconds=0.001) as running:
        yield running


def test_after_the_time_limit_only_the_groups_owner_can_recall(
    strict_sandbox: Server, login: Login, peer: Peer, new_user: Callable[[str], str]
) -> None:
    people = (login(peer, new_user(name), server=strict_sandbox) for name in ("alice", "bob", "carol", "dave"))
    tea = make_tea_group(*people)
    sent = tea.bob.send(tea.thread, msg="for ever")["serverMsgId"]
    stood = [tea.alice.wait("onTextMessage", id=sent)["time"]]
    while stood[-1] - stood[0] <= 1:  # until 1 ms has passed on the server's clock
        later = tea.alice.send(tea.group, msg="tick", thread=False)["serverMsgId"]
        stood.append(tea.bob.wait("onTextMessage", id=later)["time"])
    recall = {"mid": sent, "to": tea.thread, "chatType": "groupChat", "isChatThread": True}
    with pytest.raises(SdkError) as refused:
        tea.bob.call("recallMessage", recall)
    assert refused.value.type == 504
    asked = {"targetId": tea.thread, "chatType": "groupChat", "pageSize": 20}
    assert [message["id"] for message in tea.bob.call("getHistoryMessages", asked)["messages"]] == [sent]
    tea.alice.call("recallMessage", recall)
    assert tea.bob.wait("onRecallMessage", mid=sent)["from"] == tea.alice.user
    assert tea.bob.call("getHistoryMessages", asked)["messages"] == []


def test_edit(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, msg="Dong Dign", ext={"cups": 2})["serverMsgId"]
    tea.bob.wait("onTextMessage", id=sent)
    better = {"type": "txt", "chatType": "groupChat", "to": tea.thread, "isChatThread": True, "msg": "Dong Ding"}
    tea.alice.call("modify", sent, better)
    heard = tea.bob.wait("onModifiedMessage", id=sent)
    assert (heard["msg"], heard["from"], heard["chatThread"]) == ("Dong Ding", tea.alice.user, mark(tea))
    assert (heard["modifiedInfo"]["operationCount"], heard["modifiedInfo"]["operatorId"]) == (1, tea.alice.user)
    told = tea.carol.wait("onChatThreadChange", lambda told: told.get("lastMessage", {}).get("msg") == "Dong Ding")
    assert (told["operation"], told["id"], told["operator"]) == ("update", tea.thread, tea.alice.user)
    asked = {"targetId": tea.thread, "chatType": "groupChat", "pageSize": 20}
    (kept,) = tea.bob.call("getHistoryMessages", asked)["messages"]
    assert (kept["id"], kept["msg"]) == (sent, "Dong Ding")
    with pytest.raises(SdkError):
        tea.bob.call("modify", sent, {**better, "msg": "Tie Guanyin"})


def test_streamed_texts(own_tea: TeaGroup, sandbox: Server) -> None:
    tea = own_tea
    tea.alice.close()  # the SDK has one cache of pieces for all connections of a process: only one of them hears

    def say(text: str, number: int, **body: object) -> str:
        fields = {"msg": text, "seq": number, "type": "markdown", **body}
        wanted = {"from": tea.carol.user, "to": tea.thread, "body": fields, "ext": {"cups": 2}}
        found: str = ask(sandbox, "POST", "/stream_message/chatgroup", wanted, token)["data"]["msgId"]
        return found

    token = app_token(sandbox)
    message = say("Dong", 0)
    begun = tea.bob.wait("onStreamMessage", id=message, msg="Dong")
    assert (begun["from"], begun["chatThread"], begun["ext"]) == (tea.carol.user, mark(tea), {"cups": 2})
    assert (begun["stream"]["status"], begun["stream"]["customType"]) == (0, "markdown")
    say(" Ding", 1, msgId=message)
    say("!", 2, msgId=message, finish=True, finishReason=1)
    ended = tea.bob.wait("onStreamMessage", id=message, msg="Dong Ding!")
    assert (ended["stream"]["status"], ended["stream"]["text"], ended["stream"]["finishReason"]) == (3, "!", 1)
    asked = {"targetId": tea.thread, "chatType": "groupChat", "pageSize": 20}
    (kept,) = tea.bob.call("getHistoryMessages", asked)["messages"]
    assert (kept["id"], kept["type"], kept["msg"]) == (message, "txt", "Dong Ding!")
    tea.bob.wait("onChatThreadChange", lambda told: told.get("lastMessage", {}).get("msg") == "Dong Ding!")
    assert [told["msg"] for told in tea.bob.seen("onStreamMessage")] == ["Dong", "Dong Ding", "Dong Ding!"]
