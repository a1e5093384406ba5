"""Frames recorded from the official SDK: imkit writes the same bytes, and decodes what the SDK decoded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from imkit.events import MessageRecalled, MessageReceived, ThreadChanged
from imkit.messages import Audio, Body, Combine, Command, Custom, File, Image, Location, Text, Video
from imkit.times import to_milliseconds
from imkit.wire import schema, uplink
from imkit.wire.downlink import decode_meta
from imkit.wire.envelope import Dialect, Envelope, Identity

GOLDEN = Path(__file__).parent.parent / "golden"
WEB_OFFER = Dialect(offers_compression=True)
AGORA = Dialect(sdk_version="1.4.0", action_version="v5.1", writes_trace=False)
MINI = Dialect(writes_version=False, offers_compression=True)
EXT = {
    "str": "text 文本",
    "int": 7,
    "neg": -3,
    "dbl": 1.5,
    "yes": True,
    "no": False,
    "obj": {"k": ["v", 1]},
    "arr": [1, 2],
    "nul": None,
    "big": 9007199254740991,
    "nan": "NaN",
}
SHORT_EXT = {"s": "text 文本", "i": 7, "neg": -3, "d": 1.5, "t": True, "f": False, "o": {"k": ["v", 1]}}
SHORT_EXT["big"] = 9007199254740991
FILES = "http://127.0.0.1:8799/easemob-lab/thread/chatfiles"
U1: dict[str, Any] = {"url": f"{FILES}/u1", "file_name": "x.bin", "secret": "s", "file_size": 99}
UPLOADED = f"{FILES}/2d5ee158-b450-44d2-837e-33ac9a5ade3d"
BUNDLE_SECRET = "hQJ66u0POQ3Y2KQ2Ni-S8vOzYqQBn4w-"
BUNDLE = f"{FILES}/464ae016-0de5-4783-b1da-9190f530004c?em-redirect=true&share-secret={BUNDLE_SECRET}"

BODIES: dict[str, Body] = {
    "up-group-text": Text("parent"),
    "up-single-text": Text("hi"),
    "up-thread-text": Text("hello 子区 🎉", ext=EXT),
    "up-thread-text-agora": Text("hello 线程 🎉", ext=SHORT_EXT),
    "up-thread-text-mini": Text("hello 线程 🎉", ext=SHORT_EXT),
    "up-thread-text-directed": Text("only you"),
    "up-thread-cmd": Command("typing"),
    "up-thread-cmd-online-only": Command("typing"),
    "up-thread-custom": Custom("vote", {"choice": "A", "n": "2"}),
    "up-thread-location": Location(39.9, 116.4, "北京", building_name="b"),
    "up-thread-image-by-body": Image(),
    "up-thread-image-by-url": Image(url="https://img.example/x.png", file_size=99, width=12, height=34),
    "up-thread-image-after-upload": Image(
        url=UPLOADED,
        file_name="x.png",
        secret="9jnvjHiH2UHXilBXPtZ7CpH3lhjgRVMX",
        file_size=16,
        width=12,
        height=34,
    ),
    "up-thread-audio-by-body": Audio(**U1, duration=3),
    "up-thread-file-by-body": File(**U1),
    "up-thread-video-by-body": Video(**U1, duration=4, thumbnail_url=f"{FILES}/u1?vframe=true", thumbnail_secret="s"),
    "up-thread-combine": Combine(
        "bundle",
        summary="two",
        fallback="upgrade",
        url=BUNDLE,
        secret=BUNDLE_SECRET,
        file_size=484,
        file_name="530407936232",
    ),
}


def load(name: str) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return recorded


def names(pattern: str) -> list[str]:
    return sorted(path.stem for path in GOLDEN.glob(pattern))


def encode(name: str, decoded: dict[str, Any]) -> bytes:
    """Build the recorded frame again, from the ids in the recording and the arguments of the SDK call."""
    dialect = AGORA if "agora" in name else MINI if "mini" in name else WEB_OFFER
    trace = int(decoded["traceId"]) if "traceId" in decoded else None
    guid = decoded.get("guid", {})
    envelope = Envelope(Identity("easemob-lab#thread", guid.get("name", ""), guid.get("clientResource", "")), dialect)
    if decoded["command"] == "PROVISION":
        session = decoded["payload:Provision"]["sessionId"]
        return envelope.provision(decoded["auth"].removeprefix("$t$"), session_id=session, trace_id=trace)
    if decoded["command"] == "LOGOUT":
        session = decoded["payload:Logout"]["sessionId"]
        return envelope.logout(decoded["auth"].removeprefix("$t$"), session_id=session, trace_id=trace)
    if decoded["command"] == "UNREAD":
        return envelope.unread(trace_id=trace)
    sync = decoded["payload:CommSyncUL"]
    if "queue" in sync:
        queue = schema.JID(**sync["queue"])
        if "key" in sync:
            return envelope.acknowledge(queue, int(sync["key"]), trace_id=trace)
        return envelope.fetch(queue, trace_id=trace)
    meta = sync["meta"]
    if meta["ns"] == "STATISTIC":
        return envelope.statistics(int(meta["id"]), trace_id=trace)
    message = meta["payload:MessageBody"]
    sender, client_id = message["from"]["name"], int(meta["id"])
    address = uplink.Address(
        "easemob-lab#thread", meta["to"]["name"], is_thread="thread" in name, is_user="single" in name
    )
    if "recall" in name:
        ext = "why" if name.endswith("-ext") else None
        built = uplink.encode_recall(address, sender, message["ackMessageId"], client_id, ext=ext)
    elif "modify" in name:
        built = uplink.encode_edit(address, sender, message["editMessageId"], Text("edited"), client_id)
    elif "channel-ack" in name:
        built = uplink.encode_channel_ack(address, sender, client_id)
    elif "read-ack" in name:
        built = uplink.encode_read_ack(address, sender, message["ackMessageId"], client_id, text="ok")
    else:
        built = uplink.encode_message(
            address,
            sender,
            BODIES[name],
            client_id,
            online_only="online-only" in name,
            receivers=["goldb"] if "directed" in name else (),
        )
    return envelope.send(built, trace_id=trace)


@pytest.mark.parametrize("name", names("up-*.json"))
def test_an_uplink_frame_has_the_recorded_bytes(name: str) -> None:
    recorded = load(name)
    assert encode(name, recorded["decoded"]).hex() == recorded["hex"]


@pytest.mark.parametrize("name", ["login-sequence", "sync-sequence"])
def test_a_sequence_of_frames_has_the_recorded_bytes(name: str) -> None:
    for frame in load(name)["up"]:
        assert encode(name, frame["decoded"]).hex() == frame["hex"]


def decode_frames(recorded: dict[str, Any]) -> list[Any]:
    events = []
    for frame in recorded["frames"]:
        envelope = schema.MSync.FromString(bytes.fromhex(frame["hex"]))
        if envelope.command == 0:
            for meta in schema.CommSyncDL.FromString(envelope.payload).metas:
                events.append(decode_meta(meta.SerializeToString()))
    return events


def same_file(url: str | None, reported: str) -> bool:
    """Compare the paths only: the SDK replaces the host of a URL by its own, and adds a query."""
    return (
        re.sub(r"^https?://[^/]+", "", url or "").split("?")[0]
        == re.sub(r"^https?://[^/]+", "", reported).split("?")[0]
    )


def check_message(message: Any, reported: dict[str, Any]) -> None:
    assert message.id == reported["id"]
    assert message.type == reported["type"]
    assert (message.sender, message.to) == (reported["from"], reported["to"])
    assert to_milliseconds(message.time) == reported["time"]
    assert message.ext == reported["ext"]
    assert message.thread.parent_id == reported["chatThread"]["messageId"]
    assert message.thread.group_id == reported["chatThread"]["parentId"]
    assert message.thread.name == reported["chatThread"]["chatThreadName"]
    assert message.thread.thread_id == reported["to"]
    body = message.body
    if message.type == "txt":
        assert body.text == reported["msg"]
    elif message.type == "cmd":
        assert body.action == reported["action"]
    elif message.type == "custom":
        assert (body.event, body.params) == (reported["customEvent"], reported["customExts"])
    elif message.type == "loc":
        assert (body.lat, body.lng, body.address) == (reported["lat"], reported["lng"], reported["addr"])
        assert body.building_name == reported["buildingName"]
    elif message.type == "img":
        assert (body.width, body.height, body.file_size) == (12, 34, 99)
        assert same_file(body.url, reported["url"])
    else:
        assert message.type == "combine"
        assert (body.title, body.summary, body.level) == (reported["title"], reported["summary"], 1)
        assert body.fallback == reported["compatibleText"]
        assert (body.secret or "") == reported["secret"]
        assert same_file(body.url, reported["url"])


@pytest.mark.parametrize("name", names("down-*.json"))
def test_a_downlink_frame_decodes_to_what_the_sdk_reported(name: str) -> None:
    recorded = load(name)
    events = decode_frames(recorded)
    assert len(events) == len(recorded["sdk_events"])
    for event, expected in zip(events, recorded["sdk_events"], strict=True):
        reported = expected["data"]
        if expected["event"] == "onRecallMessage":
            assert isinstance(event, MessageRecalled)
            assert (event.message_id, event.by, event.to) == (reported["mid"], reported["from"], reported["to"])
            assert event.ext == reported["ext"]
        elif expected["event"] == "onChatThreadChange":
            assert isinstance(event, ThreadChanged)
            operation = reported["operation"]
            assert event.operation == {"userRemove": "member_removed"}.get(operation, operation)
            assert (event.thread_id, event.name) == (reported["id"], reported["name"])
            assert (event.group_id, event.operator) == (reported["parentId"], reported["operator"])
            assert event.parent_id == reported.get("messageId", "")
            assert event.message_count == reported.get("messageCount")
            assert event.user == reported.get("userName")
            if "timestamp" in reported:
                assert event.at is not None
                assert to_milliseconds(event.at) == reported["timestamp"]
            assert (event.created is not None) == ("createTimestamp" in reported)
            assert (event.last_message is not None) == ("lastMessage" in reported)
            if event.last_message is not None:
                check_message(event.last_message, reported["lastMessage"])
        else:
            assert isinstance(event, MessageReceived)
            check_message(event.message, reported)


def test_reactions_and_translations_are_read_where_the_sdk_reads_them() -> None:
    # The SDK 4.21.1 reads `reaction` and `translations` from the body's meta, and hands them over as lists.
    marks: dict[str, list[dict[str, Any]]] = {
        "reaction": [{"reaction": "👍", "count": 2, "state": True, "userList": ["golda", "goldb"]}],
        "translations": [{"code": "en", "text": "tea"}],
    }
    body = schema.MessageBody(type=2, contents=[schema.Content(type=0, text="茶")], meta=json.dumps(marks))
    event = decode_meta(schema.Meta(id=7, ns=1, payload=body.SerializeToString()).SerializeToString())
    assert isinstance(event, MessageReceived)
    assert event.message.reactions == tuple(marks["reaction"])
    assert event.message.translations == tuple(marks["translations"])
