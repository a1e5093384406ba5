"""Whatever is said survives the wire or is refused before it; whatever comes down it does no harm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imkit.errors import IMError, InvalidMessage, ProtocolError
from imkit.events import Event, MessageEdited, MessageRecalled, MessageReceived, ThreadChanged
from imkit.messages import (
    Attachment,
    Audio,
    Body,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Message,
    Text,
    ThreadRef,
    Unknown,
    Video,
)
from imkit.times import to_milliseconds
from imkit.wire import downlink, schema, uplink
from imkit.wire.bundle import unpack
from imkit.wire.downlink import Kicked, decode_edit_answer, decode_meta, decode_roamed
from imkit.wire.enums import BodyType, FrameCommand, NameSpace, ValueType
from imkit.wire.envelope import Envelope
from imkit.wire.keyvalues import decode_ext, encode_ext, json_text
from imkit.wire.protocol import ClientProtocol, Deliver, LoggedIn, LoginRefused, SendAnswered, Silent, Transmit
from imkit.wire.rest_message import message_from_json, thread_ref
from imkit.wire.untrusted_json import MAX_DEPTH, decimal, json_object, mapping, number, objects, text
from tests.wire import service
from tests.wire.service import ALICE, APP, MARK, THREAD

GOLDEN = Path(__file__).parent.parent / "golden"
BUNDLE = GOLDEN / "combine-file.json"
HALF = "\ud83c"  # the first half of an emoji: no valid Unicode


def often(examples: int) -> Callable[[Any], Any]:
    """The same examples in every run: a failure is everybody's failure."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=quiet)


# --------------------------------------------------------------- what can be said

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | INT64 | FLOATS | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EXT = st.dictionaries(st.text(max_size=8), JSON, max_size=5)
WORDS = st.text(min_size=1, max_size=30)
COUNTS = st.integers(1, 2**31 - 1)
LENGTHS = st.floats(min_value=1e-3, max_value=1e12)


def perhaps(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


ATTACHED: dict[str, Any] = {
    "url": perhaps(WORDS),
    "file_name": perhaps(WORDS),
    "file_size": perhaps(COUNTS),
    "secret": perhaps(WORDS),
    "ext": EXT,
}
STILL = {"thumbnail_url": perhaps(WORDS), "thumbnail_secret": perhaps(WORDS)}
SIZE = {"width": perhaps(LENGTHS), "height": perhaps(LENGTHS)}
NINE: dict[type[Body], st.SearchStrategy[Any]] = {
    Text: st.builds(Text, st.text(), ext=EXT),
    Image: st.builds(Image, **ATTACHED, **SIZE, animated=st.booleans()),
    Audio: st.builds(Audio, **ATTACHED, duration=perhaps(COUNTS)),
    Video: st.builds(Video, **ATTACHED, duration=perhaps(COUNTS), **STILL),
    File: st.builds(File, **ATTACHED),
    Location: st.builds(Location, FLOATS, FLOATS, st.text(), building_name=st.text(), ext=EXT),
    Command: st.builds(Command, st.text(), ext=EXT),
    Custom: st.builds(Custom, st.text(), EXT, ext=EXT),
    Combine: st.builds(Combine, st.text(), summary=st.text(), fallback=st.text(), level=COUNTS, **ATTACHED),
}


def exactly(value: Any) -> str:
    """A text that tells 1 from 1.0 and True, and -0.0 from 0.0, where == does not."""
    return repr(value.ext) + repr(getattr(value, "params", None)) if isinstance(value, Body) else repr(value)


@pytest.mark.parametrize("kind", NINE, ids=lambda kind: kind.__name__)
def test_a_message_survives_the_wire(kind: type[Body]) -> None:
    @often(50)
    @given(
        body=NINE[kind],
        message_id=st.integers(1, 2**64 - 1),
        at=st.integers(0, 253_402_300_799_999),
        sender=WORDS,
        name=st.text(max_size=20),
    )
    def check(body: Body, message_id: int, at: int, sender: str, name: str) -> None:
        meta = uplink.encode_message(THREAD, sender, body, client_id=7)
        up = schema.MSync.FromString(Envelope(ALICE).send(meta, trace_id=1))
        sent = schema.CommSyncUL.FromString(up.payload).meta
        mark = {"thread": {"msg_parent_id": str(2**64 - 1), "muc_parent_id": "200000032964000", "thread_name": name}}
        data = service.as_delivered(sent, message_id, sender, at, mark)
        event = decode_meta(data)
        assert isinstance(event, MessageReceived)
        for message in (event.message, decode_roamed(data)):
            assert message is not None
            assert message.body == body
            assert exactly(message.body) == exactly(body)
            assert (message.id, message.sender, message.to) == (str(message_id), sender, THREAD.name)
            assert message.thread == ThreadRef(THREAD.name, name, "200000032964000", str(2**64 - 1))
            assert to_milliseconds(message.time) == at
            assert message.resource == "web_1"

    check()


@often(100)
@given(message_id=st.integers(0, 2**64 - 1), other=st.integers(2**53, 2**64 - 1), ext=perhaps(st.text()))
def test_ids_stay_exact(message_id: int, other: int, ext: str | None) -> None:
    assert uplink.wire_id(str(message_id)) == message_id
    sent = uplink.encode_recall(THREAD, "bob", str(message_id), client_id=7, ext=ext)
    event = decode_meta(service.as_delivered(sent, other, "bob", 5))
    assert isinstance(event, MessageRecalled)
    assert (event.message_id, event.by, event.to, event.ext) == (str(message_id), "bob", THREAD.name, ext or "")
    edit = uplink.encode_edit(THREAD, "bob", str(message_id), Text("new", ext={"id": str(other)}), client_id=8)
    marks = {**MARK, "edit_msg": {"count": 2, "operator": "bob", "edit_time": 9, "sender": "ann", "send_time": 4}}
    edited = decode_meta(service.as_delivered(edit, other, "bob", 5, marks))
    assert isinstance(edited, MessageEdited)
    assert (edited.message.id, edited.message.sender, edited.count) == (str(message_id), "ann", 2)
    assert edited.message.ext == {"id": str(other)}
    for read in (str(other), other):  # the service writes ids as text; a number must not lose digits either
        message = message_from_json(json.loads(json.dumps({"id": read, "payload": {"to": read}})))
        assert message is not None
        assert (message.id, message.to) == (str(other), str(other))


# ------------------------------------------------------------ what cannot be said


def nested(leaf: Any, levels: int, *, in_lists: bool) -> Any:
    for _ in range(levels):
        leaf = [leaf] if in_lists else {"k": leaf}
    return leaf


@pytest.mark.parametrize("in_lists", [True, False])
def test_ext_may_be_deep_up_to_its_limit(in_lists: bool) -> None:
    deepest = nested("leaf", MAX_DEPTH, in_lists=in_lists)
    assert decode_ext(encode_ext({"deep": deepest})) == {"deep": deepest}
    with pytest.raises(InvalidMessage, match="levels deep"):
        encode_ext({"deep": nested("leaf", MAX_DEPTH + 1, in_lists=in_lists)})
    circle: list[Any] = []
    circle += [circle, circle]
    with pytest.raises(InvalidMessage, match="levels deep"):
        encode_ext({"circle": circle})


BAD_LEAVES = (
    st.integers(min_value=2**63)
    | st.integers(max_value=-(2**63) - 1)
    | st.sampled_from([math.nan, math.inf, -math.inf, 10**400, HALF, f"a{HALF}b", "\udf75"])
    | st.binary(max_size=3)
    | st.sampled_from([(), (1, 2), {1, 2}, frozenset(), 1j, Decimal(1), object(), Text("x"), json, range(3)])
)
BAD_KEYS = st.sampled_from([1, 1.5, None, True, b"k", ("a",), HALF, f"a{HALF}"])


def hide(bad: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Put it somewhere: here, in a list, in an object, deeper."""
    return st.recursive(
        bad,
        lambda inner: (
            st.tuples(st.lists(JSON, max_size=2), inner).map(lambda pair: [*pair[0], pair[1]])
            | st.tuples(st.dictionaries(st.text(max_size=3), JSON, max_size=2), inner).map(
                lambda pair: {**pair[0], "x": pair[1]}
            )
        ),
        max_leaves=1,
    )


BAD_EXT = (
    st.tuples(EXT, st.text(max_size=3), hide(BAD_LEAVES)).map(lambda part: {**part[0], part[1]: part[2]})
    | st.tuples(EXT, BAD_KEYS, JSON).map(lambda part: {**part[0], part[1]: part[2]})
    | hide(st.tuples(BAD_KEYS, JSON).map(lambda pair: dict([pair]))).map(lambda value: {"k": value})
    | st.sampled_from([None, [], "text", 1, b"{}", [("a", 1)], {"a"}])
)


@often(400)
@given(bad=BAD_EXT)
def test_ext_that_is_no_json_is_refused(bad: Any) -> None:
    for body in (Text("hello", ext=bad), Custom("event", bad), Custom("event", {}, ext=bad)):
        with pytest.raises(InvalidMessage) as refused:
            uplink.encode_message(THREAD, "bob", body, client_id=7)
        str(refused.value).encode()
        with pytest.raises(InvalidMessage):
            uplink.encode_edit(THREAD, "bob", "7", body, client_id=7)


NOT_TEXT: list[Any] = [5, 1.5, b"bytes", b"\xff", HALF, f"ok {HALF}", ["x"], {"a": 1}, True, object()]
NOT_WHOLE: list[Any] = ["1", b"1", 1.5, 2.0, True, 2**31, -(2**31) - 1, 10**5000, math.nan, [1], 1j, object()]
NOT_FINITE: list[Any] = [
    "1",
    b"1",
    True,
    False,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    [1.0],
    1j,
    Decimal(1),
    object(),
]
ATTACHMENTS: list[type[Attachment]] = [Image, Audio, Video, File]
FIELDS: list[tuple[type[Body], str, list[Any]]] = [
    (Text, "text", [None, *NOT_TEXT]),
    (Command, "action", [None, *NOT_TEXT]),
    (Custom, "event", [None, *NOT_TEXT]),
    *((Location, name, [None, *NOT_TEXT]) for name in ("address", "building_name")),
    *((Location, name, [None, "", *NOT_FINITE]) for name in ("lat", "lng")),
    *((Combine, name, [None, *NOT_TEXT]) for name in ("title", "summary", "fallback")),
    *((kind, name, NOT_TEXT) for kind in (*ATTACHMENTS, Combine) for name in ("url", "file_name", "secret")),
    *((kind, "file_size", ["", *NOT_WHOLE]) for kind in (*ATTACHMENTS, Combine)),
    *((kind, "duration", ["", *NOT_WHOLE]) for kind in (Audio, Video)),
    *((Video, name, NOT_TEXT) for name in ("thumbnail_url", "thumbnail_secret")),
    *((Image, name, ["", *NOT_FINITE]) for name in ("width", "height")),
    (Combine, "level", [None, "", *NOT_WHOLE]),
]


@pytest.mark.parametrize(
    ("kind", "name", "values"), FIELDS, ids=[f"{kind.__name__}-{name}" for kind, name, _ in FIELDS]
)
def test_a_field_that_does_not_fit_is_refused(kind: type[Body], name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidMessage) as refused:
            uplink.encode_message(THREAD, "bob", kind(**{name: value}), client_id=7)
        assert name in str(refused.value)


@pytest.mark.parametrize("body", [Unknown(b"x"), "text", None, Body(), Text, object()])
def test_only_the_nine_bodies_can_be_sent(body: Any) -> None:
    with pytest.raises(InvalidMessage):
        uplink.encode_message(THREAD, "bob", body, client_id=7)


@pytest.mark.parametrize("value", [HALF, 5, None, b"x", ["a"]])
def test_what_goes_beside_a_body_is_text(value: Any) -> None:
    with pytest.raises(InvalidMessage):
        uplink.encode_message(uplink.Address(APP, value), "bob", Text("x"), client_id=7)
    with pytest.raises(InvalidMessage):
        uplink.encode_message(THREAD, "bob", Text("x"), client_id=7, receivers=[value])
    if value is not None:
        with pytest.raises(InvalidMessage):
            uplink.encode_recall(THREAD, "bob", "7", client_id=7, ext=value)
    with pytest.raises(InvalidMessage):
        uplink.encode_read_ack(THREAD, "bob", "7", client_id=7, text=value)


def test_receivers_are_a_list() -> None:
    with pytest.raises(InvalidMessage):
        uplink.encode_message(THREAD, "bob", Text("x"), client_id=7, receivers="carol")


NO_IDS: list[Any] = ["", " 7", "7 ", "+7", "-7", "7.0", "1e3", "0x7", "七", "７", "²", "1_000", HALF, "7\n", "1" * 21]
NO_IDS += [str(2**64), str(10**20 - 1), 7, 7.0, True, None, b"7", ["7"], 10**5000, object()]


@pytest.mark.parametrize("value", NO_IDS, ids=range(len(NO_IDS)))
def test_what_is_no_message_id_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage) as refused:
        uplink.wire_id(value)
    str(refused.value).encode()
    with pytest.raises(InvalidMessage):
        uplink.encode_recall(THREAD, "bob", value, client_id=7)


@often(200)
@given(value=st.text(max_size=30))
def test_a_text_is_a_message_id_or_is_refused(value: str) -> None:
    try:
        assert 0 <= uplink.wire_id(value) < 2**64
        assert set(value) <= set("0123456789")
    except InvalidMessage:
        assert not value.isdecimal() or not value.isascii() or int(value) >= 2**64


# --------------------------------------------------------- what may come down

BOMBS = [
    "[" * 100_000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '{"thread":' + "[" * 900 + "]" * 900 + "}",
    '{"thread":{"thread_name":' + "1" * 5000 + "}}",
    '{"thread":{"thread_name":"\\ud800","muc_parent_id":' + "9" * 4000 + ',"msg_parent_id":1e999}}',
    '{"thread":NaN,"edit_msg":{"count":1e400,"edit_time":-1e300,"send_time":99999999999999999999}}',
    '{"edit_msg":{"count":123456789012345678901234567890,"edit_time":true,"operator":["x"],"sender":"\\udfff"}}',
    '{"type":"thread","data":{"operation":"update","message_count":' + "9" * 4000 + ',"timestamp":1e308}}',
    '{"type":"thread","data":{"operation":"create","name":"\\ud83c","timestamp":-5,"id":null}}',
    '{"type":"thread","data":{"operation":"update","last_message":{"payload":{"ext":{"\\ud800":[1e999,NaN]},"bodies":'
    '[{"type":"loc","lat":NaN,"lng":1e999}]}}}}',
    '{"thread_overview":{"message_count":1e999,"create_timestamp":"99999999999999999999","last_message":{"id":[]}}}',
    '{"reaction":[{"reaction":"\\ud83c","count":1e999},7,null,' + "[" * 500 + "]" * 500 + "]}",
    "\ufeff{}",
    "nul",
    '"\\ud800"',
    "1" * 100_000,
]


def chat(body: Any, **fields: Any) -> bytes:
    meta = schema.Meta(**{"id": 5, "ns": NameSpace.CHAT, "timestamp": 1, "payload": body.SerializeToString(), **fields})
    encoded: bytes = meta.SerializeToString()
    return encoded


def bomb_metas() -> list[bytes]:
    metas = []
    for bomb in BOMBS:
        metas.append(schema.Meta(id=5, ns=5, payload=bomb.encode()).SerializeToString())
        item = schema.KeyValue(key="k", type=ValueType.JSON_STRING, stringValue=bomb)
        recall = schema.KeyValue(key=uplink.RECALL_EXT, type=ValueType.JSON_STRING, stringValue=bomb)
        for kind in (BodyType.GROUPCHAT, BodyType.RECALL, BodyType.EDIT):
            content = [schema.Content(type=0, text="x")]
            metas.append(chat(schema.MessageBody(type=kind, meta=bomb, contents=content)))
            metas.append(chat(schema.MessageBody(type=kind, ext=[item], contents=content), ext=[recall]))
            custom = [schema.Content(type=7, customEvent="e", customExts=[item])]
            metas.append(chat(schema.MessageBody(type=kind, contents=custom)))
    nowhere = schema.Content(type=3, latitude=math.nan, longitude=math.inf)
    endless = schema.Content(type=1, size=schema.Size(width=math.inf, height=-1))
    numbers = [schema.KeyValue(key=str(kind), type=kind, doubleValue=math.nan) for kind in range(1, 9)]
    numbers += [schema.KeyValue(key="-", floatValue=math.inf), schema.KeyValue(key="u", type=3, varintValue=-1)]
    metas += [chat(schema.MessageBody(type=2, contents=[part], ext=numbers)) for part in (nowhere, endless)]
    return metas


def corpus() -> list[bytes]:
    """Valid frames of every kind: what the official SDK was seen to send and accept, and what the tests build."""
    frames = []
    for path in sorted({*GOLDEN.glob("*.json")} - {BUNDLE}):
        recorded = json.loads(path.read_text())
        parts = [recorded, *recorded.get("frames", []), *(recorded.get("up", []))]
        frames += [bytes.fromhex(part["hex"]) for part in parts if "hex" in part]
    frames += [
        service.login_reply(authToken='{"expires_in":1795390333491}'),
        service.notice(),
        service.unread({"a": 2}),
    ]
    frames += [service.answer(7, 8), service.page([service.message_meta(3), service.message_meta(4)], 4)]
    return frames


FRAMES = corpus()
METAS = [
    bytes(meta)
    for data in FRAMES
    for frame in [schema.MSync.FromString(data)]
    if frame.command == FrameCommand.SYNC
    for meta in schema.LooseSyncDL.FromString(frame.payload).metas
]


@st.composite
def damaged(draw: st.DrawFn, intact: list[bytes]) -> bytes:
    """A valid frame, cut short, with bits flipped, bytes put in, or two of them run together."""
    data = bytearray(draw(st.sampled_from(intact)))
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["cut", "flip", "insert", "join", "swap"]))
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        if how == "cut":
            del data[place:]
        elif how == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=6))
        elif how == "join":
            data += draw(st.sampled_from(intact))
        elif how == "swap":
            data[place : place + 4] = data[place : place + 4][::-1]
    return bytes(data)


def check_message(message: Message) -> None:
    """All that is done to any message that came: shown, stored, compared."""
    assert isinstance(message, Message)
    for shown in (repr(message), message._repr_html_(), repr(message.body), repr(message.thread), str(message.text)):
        shown.encode()
    assert all(isinstance(part, str) for part in (message.id, message.sender, message.to, message.resource))
    json_text(message.ext).encode()
    json_text(list(message.reactions)).encode()
    json_text(getattr(message.body, "params", None)).encode()
    json_text([getattr(message.body, name, None) for name in ("lat", "lng", "width", "height", "duration")])
    for name in ("text", "url", "file_name", "action", "event", "address", "title", "summary", "secret"):
        part = getattr(message.body, name, None)
        assert part is None or isinstance(part, str)
        (part or "").encode()
    assert -(2**63) <= message.edit_count < 2**63
    assert -(2**63) <= (getattr(message.body, "file_size", None) or 0) < 2**63
    assert -(2**63) <= (getattr(message.body, "duration", None) or 0) < 2**63
    if message.overview is not None:
        assert -(2**63) <= message.overview.message_count < 2**63
        if message.overview.last_message is not None:
            check_message(message.overview.last_message)


def check_event(event: object) -> None:
    assert isinstance(event, Event | Kicked | None)
    repr(event).encode()
    if isinstance(event, MessageReceived | MessageEdited):
        check_message(event.message)
    if isinstance(event, MessageRecalled):
        event.ext.encode()
    if isinstance(event, ThreadChanged):
        for part in (event.thread_id, event.name, event.group_id, event.operator, event.parent_id):
            part.encode()
        assert -(2**63) <= (event.message_count or 0) < 2**63
        if event.last_message is not None:
            check_message(event.last_message)


def check_outputs(outputs: list[Any]) -> None:
    for output in outputs:
        assert isinstance(output, Transmit | Deliver | LoggedIn | LoginRefused | SendAnswered | Silent | Kicked)
        if isinstance(output, Deliver):
            assert output.events
            for event in output.events:
                check_event(event)
        elif isinstance(output, LoginRefused):
            assert isinstance(output.error, IMError)
            str(output.error).encode()
        elif isinstance(output, SendAnswered):
            output.reason.encode()
            check_edit_answer(output.metas)
        elif isinstance(output, LoggedIn):
            assert output.expires_at is None or -(2**63) <= output.expires_at < 2**63


def check_edit_answer(metas: Any) -> None:
    told = decode_edit_answer(metas)
    told.sender.encode()
    assert all(-(2**63) <= value < 2**63 for value in (told.count, told.edit_time, told.send_time))


def states() -> list[ClientProtocol]:
    """A protocol in each state that a frame can meet."""
    new = ClientProtocol(ALICE)
    before = ClientProtocol(ALICE)
    before.connect("token", now=0.0)
    draining = service.logged_in()
    draining.receive(service.notice(), now=1.0)
    draining.receive(service.notice("another"), now=1.0)
    halfway = service.logged_in()
    halfway.receive(service.notice(), now=1.0)
    halfway.receive(service.page([service.message_meta(1)], 1), now=2.0)
    return [new, before, service.logged_in(), draining, halfway]


def check_everywhere(frames: list[bytes]) -> None:
    for protocol in states():
        for data in frames:
            check_outputs(protocol.receive(data, now=3.0))
        for now in (14.0, 25.0, 40.0, 60.0):
            check_outputs(protocol.tick(now=now))


@often(250)
@given(frames=st.lists(st.binary(max_size=200) | damaged(FRAMES), min_size=1, max_size=3))
def test_no_frame_does_harm(frames: list[bytes]) -> None:
    check_everywhere(frames)


@often(150)
@given(command=st.integers(0, 6), payload=st.binary(max_size=60))
def test_no_payload_does_harm(command: int, payload: bytes) -> None:
    check_everywhere([b"\x40" + bytes([command]) + b"\x4a" + bytes([len(payload)]) + payload])


@often(300)
@given(data=st.binary(max_size=200) | damaged(METAS))
def test_no_meta_does_harm(data: bytes) -> None:
    check_event(decode_meta(data))
    check_edit_answer([data])
    message = decode_roamed(data)
    if message is not None:
        check_message(message)


@often(150)
@given(payload=st.binary(max_size=80) | damaged([schema.Meta.FromString(meta).payload for meta in METAS]))
def test_no_payload_of_a_meta_does_harm(payload: bytes) -> None:
    for space in range(7):
        check_event(decode_meta(b"\x08\x07\x28" + bytes([space]) + b"\x32" + bytes([len(payload) % 128]) + payload))
    for space in (0, 1, 2, 5):
        meta = schema.Meta(id=7, ns=space, payload=payload).SerializeToString()
        check_event(decode_meta(meta))
        told = decode_roamed(meta)
        if told is not None:
            check_message(told)


def test_no_bomb_does_harm() -> None:
    metas = bomb_metas()
    for data in metas:
        check_event(decode_meta(data))
        told = decode_roamed(data)
        if told is not None:
            check_message(told)
    protocol = service.logged_in()
    check_outputs(protocol.receive(service.page(metas, 5), now=1.0))
    for bomb in BOMBS:
        check_outputs(states()[1].receive(service.login_reply(authToken=bomb), now=1.0))
        check_outputs(states()[1].receive(service.login_reply(authToken='{"expires_in":' + bomb + "}"), now=1.0))


def test_deep_attributes_of_others_stay_text() -> None:
    deep = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    [kept] = decode_ext([schema.KeyValue(key="k", type=ValueType.JSON_STRING, stringValue=deep)]).values()
    assert kept == deep


STRANGE = LEAVES | st.sampled_from(
    [math.nan, math.inf, HALF, 2**64, -(2**70), 10**400, "9" * 20, "thread", "create", "txt"]
)
KEYS = st.sampled_from(
    "id from to timestamp payload bodies type msg ext meta thread thread_name muc_parent_id msg_parent_id size width "
    "height length file_length lat lng addr customEvent customExts subType title url filename secret combineLevel data "
    "operation message_count last_message name action count thread_overview edit_msg reaction".split()
)
WEIRD = st.recursive(
    STRANGE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6),
    max_leaves=25,
)
KINDS = st.sampled_from(["txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "sub_combine", "new", 5, None])
PARTS = st.dictionaries(KEYS, WEIRD, max_size=8)
LIKELY = st.builds(
    lambda kind, part, payload, outer: {
        **outer,
        "payload": {**payload, "bodies": [{**part, "type": kind, "subType": kind}]},
    },
    KINDS,
    PARTS,
    PARTS,
    PARTS,
)


@often(150)
@given(data=WEIRD | LIKELY)
def test_no_json_does_harm(data: Any) -> None:
    message = message_from_json(data)
    if message is not None:
        check_message(message)
    if isinstance(data, dict):
        for key in data:
            text(data, key).encode()
            assert -(2**63) <= number(data, key) < 2**63
            assert math.isfinite(decimal(data, key))
            assert isinstance(mapping(data, key), dict)
            json_text(objects(data, key)).encode()
        ref = thread_ref(data, "7")
        assert ref is None or isinstance(ref.name, str)
    notice = {"type": "thread", "data": {"operation": "update", "last_message": data, "message_count": data}}
    written = json.dumps(notice)
    check_event(decode_meta(schema.Meta(id=5, ns=5, payload=written.encode()).SerializeToString()))
    body = schema.MessageBody(type=2, meta=json.dumps({"thread": data, "thread_overview": data, "edit_msg": data}))
    check_event(decode_meta(chat(body)))


@often(150)
@given(data=st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_is_an_object_or_nothing(data: bytes | str) -> None:
    assert isinstance(json_object(data), dict)


@often(150)
@given(data=st.binary(max_size=120) | damaged([bytes.fromhex(json.loads(BUNDLE.read_text())["hex"])]))
def test_no_bundle_does_harm(data: bytes) -> None:
    try:
        messages = unpack(data)
    except ProtocolError:
        return
    for message in messages:
        check_message(message)


@often(150)
@given(
    plan=st.lists(st.none() | st.binary(min_size=1, max_size=40) | damaged(METAS), min_size=1, max_size=8),
    asked=st.booleans(),
)
def test_a_bad_meta_spoils_no_other(plan: list[bytes | None], asked: bool) -> None:
    """`None` stands for a good one; the good ones arrive in order, and the page is acknowledged."""
    good = [10**6 + place for place, part in enumerate(plan) if part is None]
    metas = [service.message_meta(10**6 + place) if part is None else part for place, part in enumerate(plan)]
    protocol = service.logged_in()
    outputs = protocol.receive(service.notice(), now=1.0) if asked else []
    outputs += protocol.receive(service.page(metas, 2 * 10**6), now=1.0)
    if not asked:  # then the front of the queue is asked for first
        assert service.uplinks(outputs) == [("fetch", THREAD.name)]
        outputs += protocol.receive(service.page(metas, 2 * 10**6), now=1.0)
    check_outputs(outputs)
    assert [int(got) for got in service.received_ids(outputs) if int(got or 0) in good] == good
    assert service.uplinks(outputs)[-1] == ("ack", (THREAD.name, 2 * 10**6))


def test_a_login_reply_that_cannot_be_read_is_an_error() -> None:
    for data in (b"\xff", service.frame(FrameCommand.PROVISION, b"\xff\xff"), service.frame(FrameCommand.PROVISION)):
        [refused] = states()[1].receive(data, now=1.0)
        assert isinstance(refused, LoginRefused)
        assert isinstance(refused.error, ProtocolError)


def test_messages_share_no_mark_that_somebody_could_change() -> None:
    marks = {"thread": {"thread_name": "tea"}, "reaction": [{"reaction": "👍", "count": 1}]}
    sent = uplink.encode_message(THREAD, "bob", Text("tea?"), client_id=1)
    one, other = (decode_roamed(service.as_delivered(sent, number, "bob", 5, marks)) for number in (7, 8))
    assert one is not None
    assert other is not None
    assert one.reactions == other.reactions
    assert one.reactions[0] is not other.reactions[0]


@pytest.mark.parametrize("place", ["mark", "receiver"])
def test_what_is_kept_of_the_threads_seen_is_short(place: str) -> None:
    long = "tea" * 1000
    marks = {"thread": {"thread_name": long if place == "mark" else "tea"}}
    to = uplink.Address(APP, long if place == "receiver" else "42", is_thread=True)
    sent = uplink.encode_message(to, "bob", Text("tea?"), client_id=1)
    message = decode_roamed(service.as_delivered(sent, 7, "bob", 5, marks))
    assert message is not None
    assert long in (message.to, message.thread and message.thread.name)
    assert not [kept for kept in downlink._marks_cache if long in "".join(kept)]
