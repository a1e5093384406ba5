"""Messages of all kinds, in both directions."""

from typing import Any

import imkit
from tests.peer.pictures import PNG
from tests.peer.walk.company import Act, Steps, Walk, app_token, ask, heard

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """A text of Alice reaches Bob with its thread."""
    message = heard(walk.bob, walk.says("冻顶 🎉"))
    assert (message.text, message.sender, message.to) == ("冻顶 🎉", "alice", walk.oolong)
    assert message.thread is not None
    assert (message.thread.thread_id, message.thread.group_id) == (walk.oolong, walk.tea)
    assert (message.thread.parent_id, message.thread.name) == (walk.parent, "乌龙")


@steps.add
def _(walk: Walk) -> None:
    """A text of Bob reaches Alice with its thread and the time of the server."""
    sent = walk.thread.send("好 👍")
    message = walk.alice.wait("onMessage", msgServerId=sent.id)
    assert (message["type"], message["body"]["content"], message["from"]) == ("text", "好 👍", "bob")
    assert (message["conversationId"], message["direct"], message["isChatThread"]) == (walk.oolong, "RECEIVE", True)
    assert message["chatThread"]["messageId"] == walk.parent
    assert message["chatThread"]["parentId"] == walk.tea
    assert message["timestamp"] == int(sent.time.timestamp() * 1000)


# SDK 5 turns `false` into `true`: docs/protocol.md#sdk-5-messages.
EXT = {"text": "文本 🍵", "count": -7, "big": 2**40, "price": 1.5, "yes": True, "object": {"deep": [1, "二"]}}


@steps.add
def _(walk: Walk) -> None:
    """Attributes of all types pass in both directions."""
    assert heard(walk.bob, walk.says("with attributes", ext=EXT)).ext == EXT
    sent = walk.thread.send(imkit.Text("with attributes", ext=EXT))
    assert walk.alice.wait("onMessage", msgServerId=sent.id)["ext"] == EXT


SIZE = {"width": 12, "height": 34}
# What Alice sends: the kind, its options, and the fields that imkit must read.
FROM_SDK: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "image": (
        {"file": PNG, "filename": "leaf.png", "filetype": "image/png", "isOriginalImage": True, **SIZE},
        "img",
        SIZE | {"file_size": len(PNG), "file_name": "leaf.png"},
    ),
    "voice": (
        {"file": PNG, "filename": "a.amr", "filetype": "audio/amr", "duration": 3},
        "audio",
        {"duration": 3, "file_name": "a.amr"},
    ),
    "video": (
        {"file": PNG, "filename": "v.mp4", "filetype": "video/mp4", "duration": 5, "width": 64, "height": 48},
        "video",
        {"duration": 5, "file_name": "v.mp4"},
    ),
    "file": (
        {"file": PNG, "filename": "说明.txt", "filetype": "text/plain"},
        "file",
        {"file_name": "说明.txt", "file_size": len(PNG)},
    ),
    "location": (
        {"latitude": 23.75, "longitude": 120.75, "address": "南投县鹿谷乡", "buildingName": "tea house"},
        "loc",
        {"lat": 23.75, "lng": 120.75, "address": "南投县鹿谷乡", "building_name": "tea house"},
    ),
    "cmd": ({"action": "typing"}, "cmd", {"action": "typing"}),
    "custom": (
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
        "custom",
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
    ),
}
# What Bob sends: the body, the kind in SDK 5, and the fields that it must read.
FROM_IMKIT: tuple[tuple[imkit.messages.Body, str, dict[str, Any]], ...] = (
    (imkit.Image(PNG, file_name="leaf.png"), "image", SIZE | {"filename": "leaf.png"}),
    (imkit.Audio(PNG, file_name="a.amr", duration=3), "voice", {"duration": 3, "filename": "a.amr"}),
    (imkit.Video(PNG, file_name="v.mp4", duration=5), "video", {"duration": 5, "filename": "v.mp4"}),
    (imkit.File(PNG, file_name="说明.txt"), "file", {"filename": "说明.txt", "fileLength": len(PNG)}),
    (
        imkit.Location(23.75, 120.75, "南投县鹿谷乡", building_name="tea house"),
        "location",
        {"latitude": 23.75, "longitude": 120.75, "address": "南投县鹿谷乡", "buildingName": "tea house"},
    ),
    (imkit.Command("typing"), "cmd", {"action": "typing"}),
    (
        imkit.Custom("vote", {"tea": "冻顶", "bags": "2"}),
        "custom",
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
    ),
)


def _from_sdk(kind: str) -> Act:
    options, name, expected = FROM_SDK[kind]

    def act(walk: Walk) -> None:
        message = heard(walk.bob, walk.alice.send(walk.oolong, kind, **options)["msgServerId"])
        assert message.type == name
        found = {field: getattr(message.body, field) for field in expected}
        assert found == expected, found
        assert message.thread is not None
        if "file" in options:
            assert walk.bob.download(message, walk.folder).read_bytes() == PNG

    act.__doc__ = f"Alice sends a message of the kind {kind} to Bob."
    return act


def _from_imkit(body: imkit.messages.Body, kind: str, expected: dict[str, Any]) -> Act:
    def act(walk: Walk) -> None:
        sent = walk.thread.send(body)
        message = walk.alice.wait("onMessage", msgServerId=sent.id)
        assert message["type"] == kind
        assert {field: message["body"].get(field) for field in expected} == expected
        assert message["isChatThread"]
        if isinstance(body, imkit.messages.Attachment):
            assert walk.alice.download(message) == PNG

    act.__doc__ = f"Bob sends a message of the kind {kind} to Alice."
    return act


for _kind in FROM_SDK:
    steps.add(_from_sdk(_kind))
for _case in FROM_IMKIT:
    steps.add(_from_imkit(*_case))


@steps.add
def _(walk: Walk) -> None:
    """A file above 5 MiB, which SDK 5 first tries to send in parts, reaches Bob."""
    named = {"filename": "large.bin", "filetype": "application/octet-stream"}
    sent = walk.alice.send(walk.oolong, "file", zeros=5 * 2**20 + 1, **named)
    message = heard(walk.bob, sent["msgServerId"])
    assert walk.bob.download(message, walk.folder).stat().st_size == 5 * 2**20 + 1


@steps.add
def _(walk: Walk) -> None:
    """Bob opens a bundle of Alice's."""
    bundled = [walk.says("first"), walk.says("第二")]
    about = {"title": "tea talk", "summary": "two", "messageIds": bundled}
    message = heard(walk.bob, walk.alice.send(walk.oolong, "combine", **about)["msgServerId"])
    assert isinstance(message.body, imkit.Combine)
    # SDK 5.1.2 loses the text for older clients and sends one of its own: docs/protocol.md#sdk-5-messages.
    assert (message.body.title, message.body.summary) == ("tea talk", "two")
    assert [inner.text for inner in walk.bob.unpack(message)] == ["first", "第二"]


@steps.add
def _(walk: Walk) -> None:
    """Alice opens a bundle of Bob's."""
    talk = [walk.thread.send(words) for words in ("first", "第二")]
    sent = walk.thread.send(imkit.Combine("his bundle", talk, summary="the same two"))
    message = walk.alice.wait("onMessage", msgServerId=sent.id)
    assert message["type"] == "combine"
    assert (message["body"]["title"], message["body"]["summary"]) == ("his bundle", "the same two")
    opened = walk.alice.call("chat.downloadAndParseCombineMessage", {"message": message})
    items = opened["items"] if isinstance(opened, dict) else opened
    assert [inner["body"]["content"] for inner in items] == ["first", "第二"]


@steps.add
def _(walk: Walk) -> None:
    """Somebody outside the group can neither read nor write in its thread."""
    outside = walk.dave.thread(walk.oolong)
    for attempt in (lambda: outside.send("hello"), lambda: list(outside.messages())):
        try:
            attempt()
        except (imkit.NotAMember, imkit.Forbidden, imkit.NotFound):
            continue
        raise AssertionError("Dave could")


@steps.add
def _(walk: Walk) -> None:
    """Alice and Bob see a text grow that an app server streams."""
    token = app_token(walk)

    def say(text: str, number: int, **body: object) -> str:
        asked = {"from": "bob", "to": walk.oolong, "body": {"msg": text, "seq": number, "type": "markdown", **body}}
        found: str = ask(walk.sandbox, "POST", "/stream_message/chatgroup", asked, token)["data"]["msgId"]
        return found

    def piece(number: int) -> dict[str, Any]:
        found: dict[str, Any] = walk.alice.wait("onStreamMessage", lambda told: told["stream"]["seq"] == number)
        return found

    message_id = say("Dong", 0)
    begun = walk.alice.wait("onStreamMessage", msgServerId=message_id)
    assert (begun["body"]["content"], begun["stream"]["status"]) == ("Dong", "STREAM_START")
    assert (begun["from"], begun["chatThread"]["parentId"]) == ("bob", walk.tea)
    say(" Ding", 1, msgId=message_id)
    say("!", 2, msgId=message_id, finish=True)
    grown = [piece(1), piece(2)]
    assert [told["body"]["content"] for told in grown] == ["Dong Ding", "Dong Ding!"]
    assert [told["stream"]["status"] for told in grown] == ["STREAM_IN_PROGRESS", "STREAM_COMPLETED"]
    body = heard(walk.bob, message_id).body
    assert isinstance(body, imkit.Streamed)
    assert (body.text, body.kind, body.complete) == ("Dong", "markdown", False)
    (kept,) = walk.thread.messages(order="newest", limit=1)
    assert kept.body == imkit.Streamed("Dong Ding!", kind="markdown")
    walk.thread.recall(message_id)
