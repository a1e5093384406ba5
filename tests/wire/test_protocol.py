"""The client's protocol state, step by step: login, answers to sends, heartbeats, queues, kicks."""

from __future__ import annotations

import pytest

from imkit.errors import (
    AuthError,
    ProtocolError,
)
from imkit.messages import Text
from imkit.wire import schema, uplink
from imkit.wire.downlink import Kicked
from imkit.wire.enums import FrameCommand
from imkit.wire.envelope import Dialect, Identity
from imkit.wire.protocol import (
    ClientProtocol,
    Deliver,
    FirstUnread,
    LoggedIn,
    LoginRefused,
    SendAnswered,
    Silent,
    Transmit,
)
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
    status_with,
    unread,
    uplinks,
)

# ------------------------------------------------------------------- login


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
def test_a_login_that_succeeds(auth_token: str, expires_at: int | None) -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    outputs = protocol.receive(login_reply(authToken=auth_token), now=0.0)
    assert outputs[0] == LoggedIn()
    assert [kind for kind, _ in uplinks(outputs)] == ["unread", "meta"]  # the meta is the statistics frame
    assert protocol.receive(login_reply(), now=1.0) == []  # a second answer to the login is ignored
    outputs = protocol.receive(unread({}, at=1_795_390_000_000), now=1.0)
    assert outputs[0] == FirstUnread(expires_at)
    assert [kind for kind, _ in uplinks(outputs)] == ["meta"]
    assert protocol.receive(unread({}, at=1_795_390_001_000), now=2.0) == []


def test_the_service_time_goes_on_from_its_last_answer_to_unread() -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    protocol.receive(login_reply(authToken='{"expires_in":1795390333491}'), now=0.0)
    outputs = protocol.receive(unread({}), now=1.0)
    assert protocol.service_time(2.0) is None
    assert outputs[0] == FirstUnread(None)  # the end of the token means nothing without the service's time
    for no_time in (0, 2**62, 2**64 - 1):
        protocol.receive(unread({}, at=no_time), now=1.0)
        assert protocol.service_time(2.0) is None
    protocol.receive(unread({}, at=1_795_390_000_000), now=10.0)
    assert protocol.service_time(12.5) == 1_795_390_002_500
    protocol.connect("token", now=100.0)
    assert protocol.service_time(110.0) == 1_795_390_100_000


def test_a_status_without_a_code_is_ok_but_a_status_is_required() -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    [refused] = protocol.receive(login_reply(status=None), now=0.0)
    assert isinstance(refused, LoginRefused)
    assert isinstance(refused.error, ProtocolError)
    assert isinstance(protocol.receive(login_reply(status=schema.Status()), now=0.0)[0], LoggedIn)


def test_a_refusal_that_repeats_the_login_does_not_tell_the_token() -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("secret-token", now=0.0)
    [refused] = protocol.receive(login_reply(status=schema.Status(errorCode=1, reason='{"t":"secret-token"}')), now=0.0)
    assert isinstance(refused, LoginRefused)
    assert refused.error.reason == '{"t":"•••"}'


def test_compression_that_was_not_offered_is_refused() -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("token", now=0.0)
    [refused] = protocol.receive(login_reply(protocolCompressType=[2]), now=0.0)
    assert isinstance(refused, LoginRefused)
    assert isinstance(refused.error, ProtocolError)
    assert isinstance(protocol.receive(login_reply(protocolCompressType=[0]), now=0.0)[0], LoggedIn)


@pytest.mark.parametrize("part", ["app_key", "user", "resource", "token"])
def test_invalid_text_cannot_log_in(part: str) -> None:
    parts = {"app_key": APP, "user": "alice", "resource": "web", "token": "secret-token", part: "secret-\ud83c"}
    protocol = ClientProtocol(Identity(parts["app_key"], parts["user"], parts["resource"]))
    [refused] = protocol.connect(parts["token"], now=0.0)
    assert isinstance(refused, LoginRefused)
    assert isinstance(refused.error, AuthError)
    assert refused.error.__context__ is None
    assert "secret" not in str(refused.error)


# ------------------------------------------------------------ answers to sends


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


def test_client_ids_and_trace_ids_grow_while_the_clock_does_not() -> None:
    protocol = logged_in()
    ids = [protocol.next_client_id() for _ in range(5)]
    assert ids == sorted(set(ids))
    sent = uplink.encode_message(THREAD, "alice", Text("x"), 1)
    traces = [schema.MSync.FromString(protocol.send(sent).data).traceId for _ in range(5)]
    assert traces == sorted(set(traces))


# ------------------------------------------------------------------- heartbeats


def test_a_heartbeat_after_30_s_and_a_dead_connection_15_s_later() -> None:
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


def test_a_new_socket_begins_with_a_new_state() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    protocol.tick(now=31.0)
    [(kind, _)] = uplinks(protocol.connect("token", now=32.0))
    assert kind == "provision"
    assert protocol.tick(now=99.0) == []  # not logged in yet, so no heartbeat
    protocol.receive(login_reply(), now=100.0)
    assert uplinks(protocol.receive(unread({"a": 1}), now=100.0))[-1] == ("fetch", "a")


def test_the_logout_frame_is_signed() -> None:
    protocol = logged_in()
    sent = schema.MSync.FromString(protocol.logout().data)
    assert (sent.command, sent.auth, sent.guid.name) == (FrameCommand.LOGOUT, "$t$token", "alice")


# ---------------------------------------------------------------------- queues


def test_a_queue_is_emptied_page_by_page() -> None:
    protocol = logged_in()
    assert uplinks(protocol.receive(notice(), now=1.0)) == [("fetch", THREAD.name)]
    outputs = protocol.receive(page([message_meta(11), message_meta(12)], 12), now=1.0)
    assert isinstance(outputs[0], Deliver)
    assert received_ids(outputs) == ["11", "12"]
    assert uplinks(outputs) == [("ack", (THREAD.name, 12))]
    outputs = protocol.receive(page([message_meta(13)], 13), now=1.0)
    assert (received_ids(outputs), uplinks(outputs)) == (["13"], [("ack", (THREAD.name, 13))])
    assert protocol.receive(page([], 13, isLast=True), now=1.0) == []


def test_queues_are_emptied_one_at_a_time_and_a_repeated_notice_fetches_again() -> None:
    protocol = logged_in()
    outputs = [output for name in "abcab" for output in protocol.receive(notice(name), now=1.0)]
    assert uplinks(outputs) == [("fetch", "a")]
    assert uplinks(protocol.receive(page([], None, "a", isLast=True), now=1.0)) == [("fetch", "b")]
    assert uplinks(protocol.receive(page([], None, "b", isLast=True), now=1.0)) == [("fetch", "c")]
    assert uplinks(protocol.receive(page([], None, "c", isLast=True), now=1.0)) == [("fetch", "a")]
    assert protocol.receive(page([], None, "a", isLast=True), now=1.0) == []


def test_queues_listed_after_a_login_are_fetched_one_at_a_time() -> None:
    protocol = logged_in()
    outputs = protocol.receive(unread({"a": 2, "empty": 0, "b": 1}), now=1.0)
    assert uplinks(outputs)[1:] == [("fetch", "a")]
    assert uplinks(protocol.receive(page([], None, "a", isLast=True), now=1.0)) == [("fetch", "b")]


def test_notices_for_this_device_or_without_a_queue_are_ignored() -> None:
    protocol = logged_in()
    own = schema.JID(appKey=APP, name="alice", clientResource="web")
    assert protocol.receive(frame(FrameCommand.NOTICE, schema.CommNotice(queue=own)), now=1.0) == []
    assert protocol.receive(frame(FrameCommand.NOTICE), now=1.0) == []
    nameless = schema.MetaQueue(n=3)
    [_, _statistics] = protocol.receive(frame(FrameCommand.UNREAD, schema.CommUnreadDL(unread=[nameless])), now=1.0)
    own.clientResource = "another device"
    outputs = protocol.receive(frame(FrameCommand.NOTICE, schema.CommNotice(queue=own)), now=1.0)
    assert uplinks(outputs) == [("fetch", "alice")]


def test_is_last_on_a_page_with_messages_still_acknowledges_them() -> None:
    protocol = logged_in()
    protocol.receive(notice("a"), now=1.0)
    protocol.receive(notice("b"), now=1.0)
    outputs = protocol.receive(page([message_meta(11)], 11, "a", isLast=True), now=1.0)
    assert uplinks(outputs) == [("ack", ("a", 11)), ("fetch", "b")]
    assert protocol.receive(page([], 11, "a", isLast=True), now=1.0) == []  # answers the ack; b goes on


def test_an_unrequested_page_is_delivered_and_its_queue_fetched_from_the_front() -> None:
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
        page([message_meta(11)], 11, status=status_with(99, "")),
        page([], None, status=schema.Status(errorCode=1)),
    ],
    ids=["no key", "failed", "failed for a new reason", "failed and empty"],
)
def test_an_abandoned_queue_is_looked_for_again_also_on_a_busy_connection(bad: bytes) -> None:
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
    assert protocol.tick(now=69.9) == []  # UNREAD was sent once for the abandoned queue


def test_a_page_without_a_status_is_acknowledged() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    assert uplinks(protocol.receive(page([message_meta(11)], 11, status=None), now=1.0)) == [("ack", (THREAD.name, 11))]


def test_a_page_without_a_queue_is_delivered_and_the_queue_fetched_again() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=1.0)
    outputs = protocol.receive(page([message_meta(11)], 11, queue=None), now=2.0)
    assert (received_ids(outputs), uplinks(outputs)) == (["11"], [])
    assert uplinks(protocol.tick(now=11.0)) == [("fetch", THREAD.name)]
    outputs = protocol.receive(page([message_meta(11)], 11), now=12.0)
    assert (received_ids(outputs), uplinks(outputs)) == ([], [("ack", (THREAD.name, 11))])


def test_a_queue_without_an_answer_does_not_block_the_next_one() -> None:
    protocol = logged_in()
    protocol.receive(notice("a"), now=0.0)
    protocol.receive(notice("b"), now=0.0)
    assert uplinks(protocol.tick(now=10.0)) == [("fetch", "a")]
    assert uplinks(protocol.tick(now=20.0)) == [("fetch", "b")]


def test_a_slow_queue_is_asked_for_again_after_each_page() -> None:
    protocol = logged_in()
    protocol.receive(notice(), now=0.0)
    assert uplinks(protocol.tick(now=10.0)) == [("fetch", THREAD.name)]
    protocol.receive(page([message_meta(11)], 11), now=12.0)
    assert uplinks(protocol.tick(now=22.0)) == [("fetch", THREAD.name)]


def test_a_repeated_message_is_delivered_once_also_if_it_is_unreadable() -> None:
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


def test_an_answer_to_a_send_can_also_be_a_page() -> None:
    reply = schema.LooseSyncDL(metaId=7, serverId=8, queue=queue(), nextKey=11, metas=[message_meta(11)])
    outputs = logged_in().receive(frame(FrameCommand.SYNC, reply), now=1.0)
    assert outputs[0] == SendAnswered(7, 0, "", "8", 0)
    assert received_ids(outputs) == ["11"]


# --------------------------------------------------------------------- kicks


@pytest.mark.parametrize(("operation", "code"), [(1, 207), (2, 206), (3, 216), (4, 217)])
def test_a_kick_comes_after_the_events_of_its_page(operation: int, code: int) -> None:
    statistics = schema.StatisticsBody(operation=operation, reason="custom ext").SerializeToString()
    kick = schema.Meta(id=12, ns=0, payload=statistics).SerializeToString()
    outputs = logged_in().receive(page([message_meta(11), kick], 12), now=1.0)
    assert received_ids(outputs[:1]) == ["11"]
    assert isinstance(outputs[1], Kicked)
    assert outputs[1].code == code
    assert all(isinstance(output, Transmit) for output in outputs[2:])


def test_other_statistics_are_not_kicks() -> None:
    for operation in (0, 99):
        payload = b"\x08" + bytes([operation])
        meta = schema.Meta(id=12, ns=0, payload=payload).SerializeToString()
        outputs = logged_in().receive(page([meta], 12), now=1.0)
        assert not any(isinstance(output, Kicked | Deliver) for output in outputs)
