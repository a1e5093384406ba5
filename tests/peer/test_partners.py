"""Every kind of message, edits and thread events between the official SDK and imkit, in both directions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import imkit
from tests.peer.conftest import Login
from tests.peer.peer import Peer
from tests.peer.pictures import PNG
from tests.peer.test_conversation import SECONDS, MixedThread, heard_by_bob, mixed_thread
from tests.sandbox.server.raw_client import Server

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


@pytest.fixture
def web_mixed(sandbox: Server, web_peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    yield from mixed_thread(sandbox, web_peer, login, new_user)


# The options of the SDK's send, and the body that imkit must read.
FROM_SDK: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "loc": (
        {"addr": "南投县鹿谷乡", "buildingName": "tea house", "lat": 23.75, "lng": 120.75},
        {"address": "南投县鹿谷乡", "building_name": "tea house", "lat": 23.75, "lng": 120.75},
    ),
    "cmd": ({"action": "typing"}, {"action": "typing"}),
    "custom": (
        {"customEvent": "vote", "customExts": {"tea": "冻顶", "bags": "2"}},
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
    ),
    "img": (
        {"file": PNG, "width": 12, "height": 34, "filename": "leaf.png"},
        {"width": 12, "height": 34, "file_size": len(PNG)},
    ),
    "audio": ({"file": PNG, "length": 3, "filename": "a.amr"}, {"duration": 3, "file_name": "a.amr"}),
    "video": ({"file": PNG, "length": 5, "filename": "v.mp4"}, {"duration": 5, "file_name": "v.mp4"}),
    "file": ({"file": PNG, "filename": "说明.txt"}, {"file_name": "说明.txt", "file_size": len(PNG)}),
}


@pytest.mark.parametrize("kind", FROM_SDK)
def test_imkit_reads_what_the_sdk_sends(web_mixed: MixedThread, kind: str, tmp_path: Path) -> None:
    options, expected = FROM_SDK[kind]
    sent = web_mixed.alice.send(web_mixed.thread.id, kind, **options)["serverMsgId"]
    heard = heard_by_bob(web_mixed, sent)
    assert heard.type == kind
    assert {name: getattr(heard.body, name) for name in expected} == expected
    assert heard.thread is not None
    if "file" in options:
        assert web_mixed.bob.download(heard, tmp_path).read_bytes() == PNG


# The body that imkit sends, the SDK's event for it, and the fields of the event.
FROM_IMKIT: dict[str, tuple[imkit.messages.Body, str, dict[str, Any]]] = {
    "loc": (
        imkit.Location(23.75, 120.75, "南投县鹿谷乡", building_name="tea house"),
        "onLocationMessage",
        {"lat": 23.75, "lng": 120.75, "addr": "南投县鹿谷乡", "buildingName": "tea house"},
    ),
    "cmd": (imkit.Command("typing"), "onCmdMessage", {"action": "typing"}),
    "custom": (
        imkit.Custom("vote", {"tea": "冻顶", "bags": "2"}),
        "onCustomMessage",
        {"customEvent": "vote", "customExts": {"tea": "冻顶", "bags": "2"}},
    ),
    "img": (imkit.Image(PNG, file_name="leaf.png"), "onImageMessage", {"width": 12, "height": 34}),
    "audio": (imkit.Audio(PNG, file_name="a.amr", duration=3), "onAudioMessage", {"length": 3, "filename": "a.amr"}),
    "video": (imkit.Video(PNG, file_name="v.mp4", duration=5), "onVideoMessage", {"length": 5, "filename": "v.mp4"}),
    "file": (imkit.File(PNG, file_name="说明.txt"), "onFileMessage", {"filename": "说明.txt"}),
}


@pytest.mark.parametrize("kind", FROM_IMKIT)
def test_the_sdk_reads_what_imkit_sends(web_mixed: MixedThread, kind: str) -> None:
    body, event, expected = FROM_IMKIT[kind]
    sent = web_mixed.thread.send(body)
    heard = web_mixed.alice.wait(event, id=sent.id)
    assert {name: heard[name] for name in expected} == expected
    assert heard["chatThread"]["messageId"] == web_mixed.parent
    if isinstance(body, imkit.messages.Attachment):
        assert heard["file_length"] == len(PNG)
        assert web_mixed.alice.download(heard) == PNG


def test_bundles_open_on_the_other_side(web_mixed: MixedThread) -> None:
    for words in ("first", "第二"):
        web_mixed.alice.send(web_mixed.thread.id, msg=words)
    asked = {
        "targetId": web_mixed.thread.id,
        "chatType": "groupChat",
        "pageSize": 10,
        "searchDirection": "down",
    }
    history = web_mixed.alice.call("getHistoryMessages", asked)["messages"]
    about: dict[str, Any] = {"title": "tea talk", "summary": "two", "compatibleText": "please upgrade"}
    sent = web_mixed.alice.send(web_mixed.thread.id, "combine", messageList=history, **about)["serverMsgId"]
    heard = heard_by_bob(web_mixed, sent)
    assert isinstance(heard.body, imkit.Combine)
    assert (heard.body.title, heard.body.summary, heard.body.fallback) == ("tea talk", "two", "please upgrade")
    assert [inner.text for inner in web_mixed.bob.unpack(heard)] == ["first", "第二"]

    talk = list(web_mixed.thread.messages(types=["txt"]))
    ours = web_mixed.thread.send(imkit.Combine("his bundle", talk, summary="the same two"))
    told = web_mixed.alice.wait("onCombineMessage", id=ours.id)
    assert (told["title"], told["summary"], told["combineLevel"]) == ("his bundle", "the same two", 1)
    opened = web_mixed.alice.call("downloadAndParseCombineMessage", {"url": told["url"], "secret": told["secret"]})
    assert [message["msg"] for message in opened] == ["first", "第二"]


def test_edits_are_seen_by_the_other(web_mixed: MixedThread) -> None:
    hers = web_mixed.alice.send(web_mixed.thread.id, msg="Dong Dign")["serverMsgId"]
    heard_by_bob(web_mixed, hers)
    where = {"chatType": "groupChat", "to": web_mixed.thread.id, "isChatThread": True}
    web_mixed.alice.call("modify", hers, {"type": "txt", "msg": "Dong Ding", **where})
    edits = web_mixed.bob.events(imkit.MessageEdited)
    edited = edits.next(timeout=SECONDS, where=lambda event: event.message.id == hers)
    assert isinstance(edited, imkit.MessageEdited)
    assert (edited.message.text, edited.operator, edited.count) == ("Dong Ding", web_mixed.alice.user, 1)

    his = web_mixed.thread.send("Tie Guan Yni")
    web_mixed.alice.wait("onTextMessage", id=his.id)
    web_mixed.thread.edit(his, "Tie Guan Yin")
    told = web_mixed.alice.wait("onModifiedMessage", id=his.id)
    assert (told["msg"], told["modifiedInfo"]["operatorId"]) == ("Tie Guan Yin", web_mixed.bob.user)


def test_a_removed_member_is_told(web_mixed: MixedThread) -> None:
    gone = {"chatThreadId": web_mixed.thread.id, "username": web_mixed.bob.user}
    web_mixed.alice.call("removeChatThreadMember", gone)
    changes = web_mixed.bob.events(imkit.ThreadChanged)
    change = changes.next(timeout=SECONDS, where=lambda event: event.operation == "member_removed")
    assert isinstance(change, imkit.ThreadChanged)
    assert (change.thread_id, change.user, change.operator) == (
        web_mixed.thread.id,
        web_mixed.bob.user,
        web_mixed.alice.user,
    )
