"""The client's side of a conversation, step by step: login, heartbeats, sends, queues, endings."""

from __future__ import annotations

from typing import Any

import pytest

from imkit.errors import (
    AuthError,
    Blocked,
    Forbidden,
    GroupDisabled,
    GroupNotFound,
    IMError,
    InvalidMessage,
    KickedOff,
    LimitReached,
    MessageNotFound,
    Moderated,
    Muted,
    NotAMember,
    ProtocolError,
    RateLimited,
    RecallExpired,
    ServiceBusy,
    ServiceNotEnabled,
    TokenExpired,
    TooLarge,
)
from imkit.messages import Text
from imkit.wire import schema, uplink
from imkit.wire.downlink import Kicked
from imkit.wire.enums import FrameCommand
from imkit.wire.envelope import Dialect, Identity
from imkit.wire.protocol import ClientProtocol, Deliver, LoggedIn, LoginRefused, SendAnswered, Silent, Transmit
from imkit.wire.refusals import login_refused, send_refused
from tests.wire.service import (
    ALICE,
    APP,
    THREAD,
    answer,
    frame,
    logged_in,
    login_reply,
    message_meta,
    notice,
    page,
    queue,
    received_ids,
    unread,
    uplinks,
)

# ------------------------------------------------------------------- logging in


def test_the_login_is_the_first_frame_and_offers_no_compression() -> None:
    protocol = ClientProtocol(ALICE)
    [(kind, provision)] = uplinks(protocol.connect("secret-token", now=0.0))
    assert kind == "provision"
    assert provision.authToken == '{"token":"$t$secret-token"}'
    assert provision.resource == "web"
    assert not provision.protocolCompressType
    assert "secret-token" not in repr(protocol._socket)
    [(_, offering)] = uplinks(ClientProtocol(ALICE, Dialect(offers_compression=True)).connect("t", now=0.0))
    assert list(offering.protocolCompressType) == [2]


@pytest.mark.parametrize(
    ("auth_token", "expires_at"),
    [
        ('{"expires_in":1795390333491}', 1_795_390_333_491),
        ('{"expires_in":"1795390333491"}', 1_795_390_333_491),
        ("", None),
        ("{}", None),
        ("no json", None),
        ('{"expires_in":true}', None),
        ('{"expires_in":' + "9" * 400 + "}", None),
    ],
)
def test_the_login_stands(auth_token: str, expires_at: int | None) -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    outputs = protocol.receive(login_reply(authToken=auth_token), now=0.0)
    assert outputs[0] == LoggedIn(expires_at)
    assert [kind for kind, _ in uplinks(outputs)] == ["unread", "meta"]  # the question what waits, then statistics
    assert protocol.receive(login_reply(), now=1.0) == []  # a second reply changes nothing
    assert [kind for kind, _ in uplinks(protocol.receive(unread({}), now=1.0))] == ["meta"]
    assert protocol.receive(unread({}), now=2.0) == []


def test_a_status_without_a_number_is_ok_and_none_at_all_is_not() -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    [refused] = protocol.receive(login_reply(status=None), now=0.0)
    assert isinstance(refused, LoginRefused)
    assert isinstance(refused.error, ProtocolError)
    assert isinstance(protocol.receive(login_reply(status=schema.Status()), now=0.0)[0], LoggedIn)


def test_compression_that_was_not_offered_is_refused() -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    [refused] = protocol.receive(login_reply(protocolCompressType=[2]), now=0.0)
    assert isinstance(refused, LoginRefused)
    assert isinstance(refused.error, ProtocolError)
    assert isinstance(protocol.receive(login_reply(protocolCompressType=[0]), now=0.0)[0], LoggedIn)


@pytest.mark.parametrize("part", ["app_key", "user", "resource", "token"])
def test_what_is_no_text_cannot_log_in(part: str) -> None:
    parts = {"app_key": APP, "user": "alice", "resource": "web", "token": "secret-token", part: "secret-\ud83c"}
    protocol = ClientProtocol(Identity(parts["app_key"], parts["user"], parts["resource"]))
    [refused] = protocol.connect(parts["token"], now=0.0)
    assert isinstance(refused, LoginRefused)
    assert isinstance(refused.error, AuthError)
    assert refused.error.__context__ is None
    assert "secret" not in str(refused.error)


LOGINS: list[tuple[int, str, type[IMError], int]] = [
    (1, "Sorry, token or password does not match login info", AuthError, 28),
    (1, "Sorry, token expired", TokenExpired, 56),
    (1, "Sorry, user not found", AuthError, 204),
    (1, "something else", AuthError, 2),
    (1, "", AuthError, 2),
    (1, "Sorry, register limit", LimitReached, 50),
    (2, "", AuthError, 2),
    (4, "", AuthError, -3),
    (6, "", TokenExpired, 56),
    (7, "", AuthError, 2),
    (7, "app register limit", LimitReached, 50),
    (12, "", AuthError, 57),
    (13, "", KickedOff, 214),
    (20, "", KickedOff, 220),
    (8, "no route", ServiceBusy, 2),
    (99, "new in some later version", ServiceBusy, 2),
]


def status_of(code: int, reason: str) -> Any:
    """A status, also one whose code the schema has no name for."""
    return schema.Status.FromString(b"\x08" + bytes([code]) + schema.Status(reason=reason).SerializeToString())


@pytest.mark.parametrize(("code", "reason", "kind", "sdk_code"), LOGINS)
def test_a_refused_login(code: int, reason: str, kind: type[IMError], sdk_code: int) -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    [refused] = protocol.receive(login_reply(status=status_of(code, reason)), now=0.0)
    assert isinstance(refused, LoginRefused)
    error = refused.error
    assert type(error) is kind
    assert (error.code, error.status, error.reason) == (sdk_code, code, reason)
    assert "alice" in str(error)
    assert repr(error) == repr(login_refused("alice", code, reason))
    assert protocol.tick(now=100.0) == []


# ------------------------------------------------------------ what became of a send

SENDS: list[tuple[int, str, type[IMError], int]] = [
    (1, "group not found", GroupNotFound, 605),
    (1, "not in group or chatroom", NotAMember, 602),
    (1, "blocked", Blocked, 603),
    (1, "exceed recall time limit", RecallExpired, 504),
    (1, "message recall disabled", ServiceNotEnabled, 505),
    (1, "group is disabled", GroupDisabled, 608),
    (1, "Sorry, message does not exist", MessageNotFound, 1302),
    (1, "hit by moderation rules", Moderated, 508),
    (1, "any other", IMError, 503),
    (1, "", IMError, 503),
    (7, "sensitive words", Moderated, 501),
    (7, "blocked by mod_antispam", Moderated, 501),
    (7, "user is mute", Muted, 219),
    (7, "traffic limit", RateLimited, 509),
    (7, "Sorry, data is too large", TooLarge, 511),
    (7, "anything else", Forbidden, 52),  # the official SDK never settles here
    (15, "any", Muted, 507),
    (19, "the custom callback's reason", Moderated, 502),
    (4, "wrong", InvalidMessage, 604),
    (2, "any", IMError, 604),
    (14, "any", IMError, 604),
    (99, "new in some later version", IMError, 604),
]


@pytest.mark.parametrize(("code", "reason", "kind", "sdk_code"), SENDS)
def test_a_refused_send(code: int, reason: str, kind: type[IMError], sdk_code: int) -> None:
    [answered] = logged_in().receive(answer(7, status=status_of(code, reason)), now=1.0)
    assert answered == SendAnswered(7, code, reason, "0", 0)
    error = send_refused("the text", answered.status, answered.reason)
    assert type(error) is kind
    assert (error.code, error.status, error.reason) == (sdk_code, code, reason)
    assert str(error).startswith("the text was refused")


def test_an_accepted_send() -> None:
    protocol = logged_in()
    client_id = protocol.next_client_id()
    sent = uplink.encode_message(THREAD, "alice", Text("hello"), client_id)
    [(kind, meta)] = uplinks([protocol.send(sent)])
    assert (kind, meta) == ("meta", sent)
    [answered] = protocol.receive(answer(client_id, 2**64 - 1, timestamp=12), now=1.0)
    assert answered == SendAnswered(client_id, 0, "", str(2**64 - 1), 12)


def test_an_edits_answer_carries_its_metas() -> None:
    edited = schema.Meta(ns=5, payload=b'{"edit_msg":{"count":2}}')
    [answered] = logged_in().receive(answer(7, 8, metas=[edited]), now=1.0)
    assert isinstance(answered, SendAnswered)
    assert answered.metas == (edited.SerializeToString(),)


def test_client_ids_and_trace_ids_grow_although_the_clock_stands() -> None:
    protocol = logged_in()
    ids = [protocol.next_client_id() for _ in range(5)]
    assert ids == sorted(set(ids))
    sent = uplink.encode_message(THREAD, "alice", Text("x"), 1)
    traces = [schema.MSync.FromString(protocol.send(sent).data).traceId for _ in range(5)]
    assert traces == sorted(set(traces))


# ------------------------------------------------------------------- staying alive


def test_a_heartbeat_after_thirty_silent_seconds_and_the_end_after_its_silence() -> None:
    protocol = logged_in()
    assert protocol.tick(now=29.9) == []
    assert uplinks(protocol.tick(now=30.0)) == [("unread", None)]
    assert protocol.tick(now=44.9) == []
    assert protocol.tick(now=45.0) == [Silent()]


@pytest.mark.parametrize(
    "sign_of_life", [unread({}), notice(), answer(7, 8), b"\xff", frame(FrameCommand.LOGOUT), frame(None)]
)
def test_any_downlink_is_a_sign_of_life(sign_of_life: bytes) -> None:
    protocol = logged_in()
    protocol.tick(now=30.0)
    protocol.receive(sign_of_life, now=44.0)
    assert Silent() not in protocol.tick(now=46.0)
    assert ("unread", None) not in uplinks(protocol.tick(now=73.9))
    assert ("unread", None) in uplinks(protocol.tick(now=74.0))


def test_a_new_socket_begins_anew() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    protocol.tick(now=31.0)
    [(kind, _)] = uplinks(protocol.connect("token", now=32.0))
    assert kind == "provision"
    assert protocol.tick(now=99.0) == []  # not logged in yet: nothing to keep alive
    protocol.receive(login_reply(), now=100.0)
    assert uplinks(protocol.receive(unread({"a": 1}), now=100.0))[-1] == ("fetch", "a")


def test_the_logout_frame_is_signed() -> None:
    protocol = logged_in()
    sent = schema.MSync.FromString(protocol.logout().data)
    assert (sent.command, sent.auth, sent.guid.name) == (FrameCommand.LOGOUT, "$t$token", "alice")


# ---------------------------------------------------------------------- the queues


def test_a_queue_is_emptied_as_the_official_sdk_does() -> None:
    protocol = logged_in()
    assert uplinks(protocol.receive(notice(), now=1.0)) == [("fetch", THREAD.name)]
    outputs = protocol.receive(page([message_meta(11), message_meta(12)], 12), now=1.0)
    assert isinstance(outputs[0], Deliver)
    assert received_ids(outputs) == ["11", "12"]
    assert uplinks(outputs) == [("ack", (THREAD.name, 12))]
    outputs = protocol.receive(page([message_meta(13)], 13), now=1.0)
    assert (received_ids(outputs), uplinks(outputs)) == (["13"], [("ack", (THREAD.name, 13))])
    assert protocol.receive(page([], 13, isLast=True), now=1.0) == []


def test_one_queue_at_a_time_and_a_repeated_notice_fetches_again() -> None:
    protocol = logged_in()
    outputs = [output for name in "abcab" for output in protocol.receive(notice(name), now=1.0)]
    assert uplinks(outputs) == [("fetch", "a")]
    assert uplinks(protocol.receive(page([], None, "a", isLast=True), now=1.0)) == [("fetch", "b")]
    assert uplinks(protocol.receive(page([], None, "b", isLast=True), now=1.0)) == [("fetch", "c")]
    assert uplinks(protocol.receive(page([], None, "c", isLast=True), now=1.0)) == [("fetch", "a")]
    assert protocol.receive(page([], None, "a", isLast=True), now=1.0) == []


def test_what_waited_offline_is_fetched_queue_by_queue() -> None:
    protocol = logged_in()
    outputs = protocol.receive(unread({"a": 2, "empty": 0, "b": 1}), now=1.0)
    assert uplinks(outputs)[1:] == [("fetch", "a")]
    assert uplinks(protocol.receive(page([], None, "a", isLast=True), now=1.0)) == [("fetch", "b")]


def test_notices_for_oneself_and_for_nothing_are_passed_over() -> None:
    protocol = logged_in()
    own = schema.JID(appKey=APP, name="alice", clientResource="web")
    assert protocol.receive(frame(FrameCommand.NOTICE, schema.CommNotice(queue=own)), now=1.0) == []
    assert protocol.receive(frame(FrameCommand.NOTICE), now=1.0) == []
    nameless = schema.MetaQueue(n=3)
    [_statistics] = protocol.receive(frame(FrameCommand.UNREAD, schema.CommUnreadDL(unread=[nameless])), now=1.0)
    own.clientResource = "another device"
    outputs = protocol.receive(frame(FrameCommand.NOTICE, schema.CommNotice(queue=own)), now=1.0)
    assert uplinks(outputs) == [("fetch", "alice")]


def test_is_last_on_a_page_with_messages_still_acknowledges_them() -> None:
    protocol = logged_in()
    protocol.receive(notice("a"), now=1.0)
    protocol.receive(notice("b"), now=1.0)
    outputs = protocol.receive(page([message_meta(11)], 11, "a", isLast=True), now=1.0)
    assert uplinks(outputs) == [("ack", ("a", 11)), ("fetch", "b")]
    assert protocol.receive(page([], 11, "a", isLast=True), now=1.0) == []  # the answer to the ack; b goes on


def test_a_page_nobody_asked_for_is_delivered_at_once_and_its_queue_fetched_from_the_front() -> None:
    protocol = logged_in()
    outputs = protocol.receive(page([message_meta(12)], 12), now=1.0)
    assert isinstance(outputs[0], Deliver)
    assert uplinks(outputs) == [("fetch", THREAD.name)]
    outputs = protocol.receive(page([message_meta(11), message_meta(12)], 12), now=1.0)
    assert received_ids(outputs) == ["11"]
    assert uplinks(outputs) == [("ack", (THREAD.name, 12))]


def test_the_same_key_twice_ends_a_queue() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    protocol.receive(page([message_meta(11)], 11), now=1.0)
    assert protocol.receive(page([message_meta(11)], 11), now=1.0) == []


@pytest.mark.parametrize(
    "bad",
    [
        page([message_meta(11)], None),
        page([message_meta(11)], 11, status=schema.Status(errorCode=1, reason="busy")),
        page([message_meta(11)], 11, status=status_of(99, "")),
        page([], None, status=schema.Status(errorCode=1)),
    ],
    ids=["no key", "failed", "failed for a new reason", "failed and empty"],
)
def test_a_queue_left_early_is_asked_about_again_although_the_line_is_busy(bad: bytes) -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    assert uplinks(protocol.receive(bad, now=2.0)) == []
    protocol.receive(answer(7, 8), now=20.0)
    assert uplinks(protocol.tick(now=31.9)) == []
    assert uplinks(protocol.tick(now=32.0)) == [("unread", None)]
    outputs = protocol.receive(unread({THREAD.name: 1}), now=32.0)
    assert uplinks(outputs)[-1] == ("fetch", THREAD.name)
    outputs = protocol.receive(page([message_meta(11), message_meta(12)], 12), now=32.0)
    assert received_ids(outputs)[-1] == "12"
    assert uplinks(outputs) == [("ack", (THREAD.name, 12))]
    protocol.receive(page([], 12, isLast=True), now=40.0)
    assert protocol.tick(now=69.9) == []  # and once is enough


def test_a_page_without_a_status_is_a_page() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    assert uplinks(protocol.receive(page([message_meta(11)], 11, status=None), now=1.0)) == [("ack", (THREAD.name, 11))]


def test_a_page_without_a_queue_is_delivered_and_the_queue_asked_for_again() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    outputs = protocol.receive(page([message_meta(11)], 11, queue=None), now=2.0)
    assert (received_ids(outputs), uplinks(outputs)) == (["11"], [])
    assert uplinks(protocol.tick(now=11.0)) == [("fetch", THREAD.name)]
    outputs = protocol.receive(page([message_meta(11)], 11), now=12.0)
    assert (received_ids(outputs), uplinks(outputs)) == ([], [("ack", (THREAD.name, 11))])


def test_a_queue_that_stays_silent_lets_the_next_one_go_on() -> None:
    protocol = logged_in()
    protocol.receive(notice("a"), now=0.0)
    protocol.receive(notice("b"), now=0.0)
    assert uplinks(protocol.tick(now=10.0)) == [("fetch", "a")]
    assert uplinks(protocol.tick(now=20.0)) == [("fetch", "b")]


def test_a_slow_queue_gets_its_second_chance_each_time() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=0.0)
    assert uplinks(protocol.tick(now=10.0)) == [("fetch", THREAD.name)]
    protocol.receive(page([message_meta(11)], 11), now=12.0)
    assert uplinks(protocol.tick(now=22.0)) == [("fetch", THREAD.name)]


def test_a_redelivered_message_is_told_once_also_when_it_cannot_be_read() -> None:
    protocol = logged_in()
    metas = [message_meta(11), b"\xff\xff no meta", message_meta(12)]
    protocol.receive(notice(), now=1.0)
    outputs = protocol.receive(page(metas, 12), now=1.0)
    assert received_ids(outputs) == ["11", "", "12"]
    protocol.connect("token", now=2.0)
    protocol.receive(login_reply(), now=2.0)
    protocol.receive(unread({THREAD.name: 3}), now=2.0)
    outputs = protocol.receive(page(metas, 12), now=2.0)
    assert (received_ids(outputs), uplinks(outputs)) == ([], [("ack", (THREAD.name, 12))])


def test_an_answer_that_is_a_page_too_is_both() -> None:
    reply = schema.LooseSyncDL(metaId=7, serverId=8, queue=queue(), nextKey=11, metas=[message_meta(11)])
    outputs = logged_in().receive(frame(FrameCommand.SYNC, reply), now=1.0)
    assert outputs[0] == SendAnswered(7, 0, "", "8", 0)
    assert received_ids(outputs) == ["11"]


# --------------------------------------------------------------------- being sent away


@pytest.mark.parametrize(("operation", "code"), [(1, 207), (2, 206), (3, 216), (4, 217)])
def test_a_kick_ends_the_login_after_what_came_with_it(operation: int, code: int) -> None:
    statistics = schema.StatisticsBody(operation=operation, reason="custom ext").SerializeToString()
    kick = schema.Meta(id=12, ns=0, payload=statistics).SerializeToString()
    outputs = logged_in().receive(page([message_meta(11), kick], 12), now=1.0)
    assert received_ids(outputs[:1]) == ["11"]
    assert isinstance(outputs[1], Kicked)
    assert outputs[1].code == code
    assert all(isinstance(output, Transmit) for output in outputs[2:])


def test_other_statistics_are_no_kick() -> None:
    for operation in (0, 99):
        payload = b"\x08" + bytes([operation])
        meta = schema.Meta(id=12, ns=0, payload=payload).SerializeToString()
        outputs = logged_in().receive(page([meta], 12), now=1.0)
        assert not any(isinstance(output, Kicked | Deliver) for output in outputs)
