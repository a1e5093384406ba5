"""Hostile values in each field that a stranger fills: they may cost that one item, never the call.

Strangers are members (through the real sandbox, which checks little of what a message holds) and services (stand-ins,
which answer with JSON and frames that the sandbox never gives). No exception but an `imkit.IMError` leaves a call.
"""

import errno
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection

import imkit
from imkit.events import MessageReceived, ThreadChanged
from imkit.history import bulk_decode, columns, export
from imkit.history.frames import frame_of
from imkit.insight.attributes import MAX_KEYS
from imkit.messages import Message
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from imkit.widgets.feed_rows import FeedRows
from imkit.wire import schema
from imkit.wire.downlink import decode_meta
from imkit.wire.enums import NameSpace, SubType
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, close_everything
from tests.stand_ins import (
    Answer,
    Asked,
    envelope,
    http_stand_in,
    odd_session,
    roamed,
    socket_stand_in,
    text_meta,
    welcome,
)
from tests.waits import WAIT
from tests.wire.checks import check_event, check_message

MIN_BULK = 40
LONG = "x" * 70_000
# JSON values as text, because Python's writer would not write some of them.
HOSTILE_JSON = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5_000, "-1", "1.5", str(2**63), str(2**64), "true", "null",
    "[" * 700 + "]" * 700,
    "[" * 3_000 + "]" * 3_000, '{"a":' * 3_000 + "1" + "}" * 3_000, "[]", "{}", "[null]", '[{"a": NaN}]', '""', '"7"',
    '"\\ud800"', '"\\u0000\\u001b[2J\\u202e"', '"../../../etc/passwd"', '"http://["', '"http://h:99999999/"', '"٣"',
    f'"{LONG}"', '"x@y_z"', '"' + "9" * 5_000 + '"',
]  # fmt: skip
SLOT = "@slot@"


def with_slots(template: Any, fill: Callable[[], str]) -> bytes:
    """Write a template as JSON, with a value in each slot."""
    head, *rest = json.dumps(template).split(f'"{SLOT}"')
    return (head + "".join(fill() + part for part in rest)).encode()


class HostileService:
    """A service whose answers and frames the test chooses.

    Attributes:
        rest: the body of each REST answer.
        socket: the client's socket.
    """

    def __init__(self) -> None:
        self.rest: Callable[[Asked], bytes] = lambda _: b"{}"
        self.socket: ServerConnection

    def answer(self, asked: Asked) -> Answer:
        return Answer(200, self.rest(asked))

    def serve(self, socket: ServerConnection) -> None:
        welcome(socket)
        self.socket = socket
        for _ in socket:
            pass


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[imkit.Session, HostileService]]:
    service = HostileService()
    with http_stand_in(service.answer) as server, socket_stand_in(service.serve) as ws_url:
        app = imkit.App("org#app", rest_url=server.url, ws_url=ws_url, max_requests_per_second=None)
        with imkit.login("alice", app=app, token="t0ken") as session:
            session.wire()  # from now on frames and answers are noted
            yield session, service


LAST_MESSAGE = {
    "id": SLOT, "timestamp": SLOT, "from": SLOT, "to": SLOT,
    "payload": {
        "from": SLOT, "to": SLOT, "ext": SLOT, "meta": {"thread": {"thread_name": SLOT, "msg_parent_id": SLOT}},
        "bodies": [
            {
                "type": "@kind@", "subType": SLOT, "msg": SLOT, "title": SLOT, "url": SLOT, "secret": SLOT,
                "filename": SLOT,
                "file_length": SLOT, "length": SLOT, "size": {"width": SLOT, "height": SLOT}, "lat": SLOT, "lng": SLOT,
                "addr": SLOT, "buildingName": SLOT, "action": SLOT, "customEvent": SLOT, "customExts": SLOT,
                "thumb": SLOT,
                "combineLevel": SLOT,
            }
        ],
    },
}  # fmt: skip
DETAIL = dict.fromkeys(["name", "owner", "msgId", "groupId", "created", "affiliations_count"], SLOT)
ANSWER = {
    "entities": [
        {"id": "42", **DETAIL},
        {"id": SLOT, **DETAIL},
        SLOT,
        {"thread_id": "42", "last_message": LAST_MESSAGE},
    ],
    "total": SLOT,
}
GROUPS = {
    "data": [
        {
            "groupid": "7",
            "groupname": SLOT,
            "maxusers": SLOT,
            "affiliations": SLOT,
            "created": SLOT,
            "description": SLOT,
        },
        {"groupid": SLOT, "groupName": SLOT},
        SLOT,
    ]
}
MEMBERS = {"data": [{"member": SLOT}, {"owner": "bob"}, SLOT]}
THREAD_MEMBERS = {"data": {"affiliations": ["bob", SLOT, SLOT]}}
DETAIL_ANSWER = {"data": {"id": "42", "thread_id": SLOT, "groupid": SLOT, "detail": {"id": SLOT, **DETAIL}, **DETAIL}}
CONVERSATION = {"unread_num": SLOT, "is_top": True, "update_top_status_time": SLOT, "marks": SLOT, "meta": LAST_MESSAGE}
CONVERSATIONS = {
    "channel_infos": [
        {"session_to": "7", "session_type": "groupchat", **CONVERSATION},
        {"session_to": SLOT, "session_type": SLOT, **CONVERSATION},
        {"session_to": "bob", "session_type": "chat", "meta": {"payload": SLOT, "id": SLOT, "timestamp": SLOT}},
        SLOT,
    ]
}
PINNED = {"msg_infos": [{"message": LAST_MESSAGE}, {"message": SLOT}, {"message": {"id": "5", "payload": SLOT}}, SLOT]}
REACTION = {"reaction": SLOT, "count": SLOT, "userList": [SLOT, "bob"], "state": SLOT}
REACTIONS = [{"msgId": "7", "reactionList": [REACTION, {"reaction": "👍", "userList": ["bob"]}, SLOT]}, SLOT]
READERS = {
    "group_ack": {"userlist": [{"username": "bob"}, {"username": SLOT, "timestamp": SLOT, "ack_content": SLOT}, SLOT]}
}
USERS = {"bob": {"nickname": "Bob", "avatarurl": SLOT, "ext": SLOT}, "carol": SLOT, "mallory": {"nickname": "x"}}
NOTICES = [
    {"type": "reaction", "data": [{"messageId": "7", "from": SLOT, "to": SLOT, "ts": SLOT, "reactions": [
        {**REACTION, "op": [{"operator": SLOT, "reactionType": "create"}, SLOT]}, SLOT]}, SLOT]},
    {"type": "conv", "data": {"op": "pin", "id": SLOT, "type": SLOT, "from": SLOT, "ts": SLOT, "ext": "7"}},
    {"type": "conv", "data": {"op": "mark", "id": SLOT, "type": SLOT, "from": SLOT, "ts": SLOT, "ext": SLOT}},
    {"type": "roaming_delete", "data": {"to": SLOT, "msgIdList": ["7", SLOT], "lastMsgId": SLOT, "deleteTime": SLOT}},
    {"type": "user_metadata_updated", "data": {"username": SLOT, "metadata": {"nickname": SLOT}, "lastModified": SLOT}},
    {"type": "conv", "data": SLOT},
]  # fmt: skip
TYPES = ["txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "unheard of"]


def harmless(call: Callable[[], Any]) -> Any:
    """Make a call; only imkit's own errors may leave it. Return its result, or the error."""
    try:
        return call()
    except imkit.IMError as error:
        str(error).encode()
        return error


def show(found: Any) -> None:
    for one in found if isinstance(found, list) else [found]:
        repr(one).encode(errors="strict")
        if hasattr(one, "_repr_html_"):
            one._repr_html_().encode()


EACH = settings(max_examples=3, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 10**6)  # each chooses a value for each field


@EACH
@given(seed=SEEDS)
def test_answers(hostile: tuple[imkit.Session, HostileService], seed: int) -> None:
    session, service = hostile
    group, thread = session.group("7"), session.thread("42")
    dice = random.Random(seed)
    kind = dice.choice(TYPES)

    def answering(template: Any) -> None:
        body = with_slots(template, lambda: dice.choice(HOSTILE_JSON)).replace(b"@kind@", kind.encode())
        service.rest = lambda _: body

    answering(ANSWER)
    for found in harmless(lambda: list(session.threads())), harmless(lambda: list(group.threads())):
        assert "42" in [each.id for each in found]  # whatever stands beside it
        show(found)
    newest = harmless(lambda: session.last_messages([thread]))["42"]
    if newest is not None:
        check_message(newest)
        rows = FeedRows("alice")
        rows.add([newest])
        json.dumps(rows.all_rows(), allow_nan=False).encode()
    show(harmless(thread.last_message))
    answering(GROUPS)
    found = harmless(lambda: list(session.groups()))
    assert found[0].id == "7"
    show(found)
    answering(MEMBERS)
    assert "bob" in harmless(lambda: list(group.members()))
    answering(THREAD_MEMBERS)
    assert "bob" in harmless(lambda: list(thread.members()))
    answering(DETAIL_ANSWER)
    calls: list[Callable[[], Any]] = [
        thread.refresh,
        thread.join,
        thread.parent,
        lambda: group.create_thread("x", "7"),
        lambda: session.create_group("x"),
        lambda: thread.rename("y"),
    ]
    for call in calls:
        show(harmless(call))
    show([session, group, thread])


@EACH
@given(seed=SEEDS)
def test_answers_about_what_a_message_carries(hostile: tuple[imkit.Session, HostileService], seed: int) -> None:
    session, service = hostile
    group, thread = session.group("7"), session.thread("42")
    dice = random.Random(seed)

    def answering(data: Any) -> None:
        body = with_slots({"data": data}, lambda: dice.choice(HOSTILE_JSON)).replace(
            b"@kind@", dice.choice(TYPES).encode()
        )
        service.rest = lambda _: body

    answering(CONVERSATIONS)
    conversations = harmless(lambda: list(session.conversations()))
    assert "7" in [getattr(info.conversation, "id", "") for info in conversations]
    show(conversations)
    show([info.last_message for info in conversations])
    answering(PINNED)
    pinned = harmless(group.pinned)
    assert "5" in [message.id for message in pinned]
    show(pinned)
    answering(REACTIONS)
    reactions = harmless(lambda: thread.reactions("7"))
    show(reactions)
    answering(READERS)
    readers = harmless(lambda: thread.readers("7"))
    assert "bob" in [reader.user for reader in readers]
    show(readers)
    answering(USERS)
    session.account.known.users.clear()
    users = harmless(lambda: session.users(["bob", "Carol", "dave"]))
    assert users.keys() == {"bob", "Carol", "dave"}
    assert users["bob"].nickname == "Bob"
    assert "mallory" not in session.account.known.users
    show(list(users.values()))
    answering(SLOT)
    show(harmless(group.is_muted))


def test_notices_about_what_a_message_carries() -> None:
    dice = random.Random(7)
    for _ in range(25):
        for template in NOTICES:
            payload = with_slots(template, lambda: dice.choice(HOSTILE_JSON))
            meta = schema.Meta(id=5, ns=NameSpace.NOTIFY, payload=payload, timestamp=dice.choice([0, 5, 2**64 - 1]))
            event = decode_meta(meta.SerializeToString())
            check_event(event)
            assert not isinstance(event, MessageReceived)
            show(list(event) if isinstance(event, tuple) else event)


HOSTILE_TEXT = [
    "", "\x00\x01\x1b[2J\u202e\r\n", "../../x", "=cmd()", "x" * 3_000, "\u0660", "NaN", "{" * 2_000, "con", ". .",
    '{"a":' * 700 + '"\\ud800"' + "}" * 700, '{"a":"\\ud800"}',
    "http://h/org/app/chatfiles/\x01", "http://[", "http://h:99999999/", "//", "file:///etc/passwd", "http://h/a b",
    "http://h/org/app/chatfiles/..", "http://h/org/app/chatfiles/%00", "http://h/org/app/chatfiles/\u7801",
    "http://h/org/app/chatfiles/" + "x" * 3_000, '{"thread":{"thread_name":1e999},"reaction":[{"count":NaN}]}',
    '{"edit_msg":{"count":1e999,"edit_time":' + "9" * 900 + "}}", '{"thread_overview":{"id":[],"message_count":-1}}',
]  # fmt: skip
HOSTILE_NUMBERS = [0, 1, -1, 2**31 - 1, -(2**31)]
HOSTILE_DOUBLES = [0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324]


def hostile_body(dice: random.Random, url: str = "") -> Any:
    """Return a MessageBody with a hostile value in each field."""

    def text() -> str:
        return dice.choice(HOSTILE_TEXT)

    def number() -> int:
        return dice.choice(HOSTILE_NUMBERS)

    def double() -> float:
        return dice.choice(HOSTILE_DOUBLES)

    names = ["text", "address", "displayName", "secretKey", "action", "thumbnailRemotePath", "thumbnailSecretKey"]
    names += ["customEvent", "buildingName", "title", "summary"]
    content = schema.Content(type=dice.randrange(8), **{name: text() for name in names})
    content.remotePath = url or text()
    content.latitude, content.longitude = double(), double()
    content.fileLength, content.duration = number(), number()
    content.size.width, content.size.height = double(), double()
    if dice.random() < 0.3:
        content.subType, content.combineLevel = dice.choice(list(SubType)), number()
    body = schema.MessageBody(type=2, contents=[content], meta=text())
    for ext in (body.ext, content.customExts):
        for kind in dice.sample(range(1, 9), 3):
            ext.add(key=text(), type=kind, stringValue=text())
            ext.add(key=text(), type=kind, doubleValue=double())
    return body


def use(session: imkit.Session, message: Message, folder: Path) -> None:
    """Do with a message what a user can do with it."""
    check_message(message)
    rows = FeedRows("alice")
    rows.add([message])
    json.dumps(rows.all_rows(), allow_nan=False).encode()
    saved = harmless(lambda: session.download(message, folder))
    assert not isinstance(saved, Path) or saved.parent == folder
    harmless(lambda: session.unpack(message))


def use_history(thread: imkit.Thread, folder: Path) -> list[str]:
    """Load a history, show it and write it in each format; return the ids in it."""
    frame = thread.history()
    repr(frame).encode(errors="replace")
    frame._repr_html_()
    frame.im.ext()
    for suffix in export.SUFFIXES:
        export.write(frame, folder / f"history{suffix}")
    return list(frame["message_id"])


def metas_of(dice: random.Random, count: int) -> list[bytes]:
    """Return Metas of hostile messages, and one of a good message."""
    metas = [text_meta(1, "good", at=1_000)]
    for number in range(2, count + 2):
        meta = schema.Meta(id=number, timestamp=1_000 + number, ns=1, payload=hostile_body(dice).SerializeToString())
        meta.to.name, getattr(meta, "from").name = "42", dice.choice(HOSTILE_TEXT)
        if dice.random() < 0.3:
            meta.timestamp = dice.choice([0, 2**63 - 1, 2**64 - 1])
        metas.append(bytes(meta.SerializeToString()))
    return metas


@EACH
@given(seed=SEEDS)
def test_messages_of_a_service(
    hostile: tuple[imkit.Session, HostileService], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    session, service = hostile
    dice = random.Random(seed)
    metas = metas_of(dice, MIN_BULK)
    for number, meta in enumerate(metas):  # of other ids than earlier ones, which are dropped as repeated
        parsed = schema.Meta.FromString(meta)
        parsed.id = seed * 1_000 + number + 1
        metas[number] = parsed.SerializeToString()
    body = json.dumps({"data": {"msgs": roamed(*metas), "is_last": True}}).encode()
    service.rest = lambda _: body
    folder = tmp_path_factory.mktemp("out")
    heard = session.events(replay=False)
    jid = schema.JID(appKey="org#app", name="42", domain="conference.easemob.com")
    service.socket.send(envelope("SYNC", schema.LooseSyncDL(metas=metas, queue=jid)))
    for _ in metas:
        check_event(heard.next(timeout=WAIT))
    thread = session.thread("42")
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((columns, "_MIN_BULK_METAS"), (bulk_decode, "_MIN_BULK_EXTS")):
            patch.setattr(module, name, MIN_BULK)  # so that the messages are decoded in bulk
        assert len(use_history(thread, folder)) >= len(metas)
    for message in list(thread.messages())[:8]:
        use(session, message, folder)
    repr(session.wire())


def test_members_messages_cost_only_themselves(sandbox: Sandbox, tmp_path: Path) -> None:
    dice = random.Random(7)
    with imkit.login(new_name("alice"), app=sandbox.app) as alice:
        group = alice.create_group("tea")
        thread = group.create_thread("Oolong", group.send("Which?"))
        good = thread.send(imkit.File(b"leaves", file_name="leaves.txt"))
        mallory = Device(sandbox, new_name("mallory"))
        group.invite(mallory.user)
        mallory.api.join(thread.id)
        own = f"http://h/{sandbox.app_key.replace('#', '/')}/chatfiles/"
        urls = [own + "\x01", own + "..", own + "%00", own + "7?share-secret=\x01", own + "\u7801", "http://["]
        bodies = [hostile_body(dice, url) for url in urls] + [hostile_body(dice) for _ in range(24)]
        for body in bodies:
            reply = mallory.reply_to(mallory.post(thread.id, body))
            assert reply.HasField("status")  # some are refused as too large
        simple = imkit.File(url=own + "\x01", file_name="leaves.txt")
        broken = thread.send(simple)
        messages = list(thread.messages())
        assert {good.id, broken.id} <= {message.id for message in messages}
        assert {good.id, broken.id} <= set(use_history(thread, tmp_path))
        archive = imkit.Archive(tmp_path / "archive")
        assert not archive.sync(alice, thread, attachments=True).reasons
        assert not archive.sync(alice, thread, attachments=True).reasons
        assert {good.id, broken.id} <= set(archive.frame()["message_id"])
        attachments = archive.sql("select message_id, reason from attachments where sha256 is not null")
        assert attachments["message_id"].tolist() == [good.id]
        with pytest.raises(imkit.InvalidMessage, match="not a URL"):
            alice.download(broken, tmp_path)
        assert alice.download(good, tmp_path).read_bytes() == b"leaves"
        for message in messages:
            use(alice, message, tmp_path / "downloads")
            harmless(partial(alice.edit, message, "x"))
            harmless(partial(alice.recall, message))
            harmless(partial(thread.send, message.body))
        list(alice.threads()), list(alice.groups()), thread.last_message()
        close_everything()


MIXED = [1, "x", [1], {"a": {}}, 2**70, {}, "\\\x1b[2J", True, None, 1.5]


@pytest.mark.parametrize("values", [MIXED, [{}], [2**70], [[], {}]], ids=str)
@pytest.mark.parametrize("suffix", export.SUFFIXES)
def test_attributes_of_any_kind_can_be_exported(values: list[Any], suffix: str, tmp_path: Path) -> None:
    texts = [imkit.Text("x", ext={"mood": value}) for value in values]
    frame = frame_of(Message(str(at), "mallory", "42", from_milliseconds(at), text) for at, text in enumerate(texts))
    path = export.write(frame.im.ext("mood"), tmp_path / f"moods{suffix}")
    if suffix == ".parquet":
        kept = pd.read_parquet(path)["mood"]
        assert [None if pd.isna(value) else json.loads(value) for value in kept] == values


def test_attributes_fill_no_memory_with_columns(caplog: pytest.LogCaptureFixture) -> None:
    bodies = [imkit.Text("x", ext={f"{at} {number}": 1 for number in range(300)}) for at in range(3)]
    bodies += [imkit.Text("x", ext={"mood": "good"})] * 2
    frame = frame_of(Message(str(at), "mallory", "42", from_milliseconds(at), body) for at, body in enumerate(bodies))
    found = frame.im.ext()
    assert found.shape == (5, MAX_KEYS)
    assert found["mood"].tolist()[3:] == ["good", "good"]
    assert "901 attributes occur" in caplog.text
    assert frame.im.ext("2 299").shape == (5, 1)


def test_a_notice_during_a_call_changes_nothing_in_it() -> None:
    """`parent` reads the group's history; meanwhile a malformed notice says that the parent is another message."""
    with odd_session(lambda asked: answer(asked)) as (session, _):
        known = session.account.known
        good = ThreadChanged("update", "42", "Oolong", "7", "bob", parent_id="1000")

        def answer(_: Asked) -> Answer:
            portal().run(lambda: known.learn([replace(good, parent_id="-Infinity", group_id="../7")]))
            return Answer(200, {"data": {"msgs": roamed(text_meta(999, "earlier", to="7", at=1)), "is_last": True}})

        portal().run(lambda: known.learn([good]))
        assert session.thread("42").parent() is None


def test_a_group_with_an_infinite_number_of_users() -> None:
    body = (
        b'{"data": [{"groupid": "7", "groupname": "tea", "maxusers": Infinity}, {"groupid": "8", "maxusers": 1e999}]}'
    )
    with odd_session(lambda _: Answer(200, body)) as (session, _):
        assert [group.id for group in session.groups()] == ["7", "8"]


def test_a_file_name_that_the_disk_refuses_costs_only_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = OSError(errno.EILSEQ, "Invalid or incomplete multibyte character")
    real = Path.open

    def open_unless_chinese(path: Path, *arguments: Any, **more: Any) -> Any:
        if not path.name.isascii():
            raise refused
        return real(path, *arguments, **more)

    with odd_session(lambda _: Answer(200, b"leaves")) as (session, server):
        body = imkit.File(url=f"{server.url}/org/app/chatfiles/7", file_name="\u8336.txt")
        message = Message("1001", "mallory", "42", from_milliseconds(1), body)
        monkeypatch.setattr(Path, "open", open_unless_chinese)
        assert session.download(message, tmp_path).name == "file-1001"
        monkeypatch.undo()
        (tmp_path / "blocked").write_bytes(b"")
        with pytest.raises(imkit.FileError, match="cannot be written"):
            session.download(message, tmp_path / "blocked" / "folder")
        with pytest.raises(imkit.InvalidMessage, match="is not a path"):
            session.download(message, "zero\0")
        outside = Message("../../out", "mallory", "42", from_milliseconds(1), replace(body, file_name="."))
        assert session.download(outside, tmp_path).parent == tmp_path


def test_what_a_user_gives_is_refused_with_an_error_of_imkit(alice: imkit.Session) -> None:
    group = alice.create_group("tea")
    bodies = [imkit.File(url="http://["), imkit.File("zero\0"), imkit.File("half\ud800"), imkit.Image(url="https://")]
    for body in [*bodies, imkit.File(b"x", file_name="half\ud800"), imkit.File(b"x", file_name="a\r\nb: c\0")]:
        harmless(partial(group.send, body))
