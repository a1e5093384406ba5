"""Refused logins and sends: the error for each status code and reason, with the official SDK's error type."""

from __future__ import annotations

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
    RateLimited,
    RecallExpired,
    ServiceBusy,
    ServiceNotEnabled,
    TokenExpired,
    TooLarge,
)
from imkit.wire.protocol import ClientProtocol, LoginRefused, SendAnswered
from imkit.wire.refusals import login_refused, send_refused
from tests.wire.service import (
    ALICE,
    answer,
    logged_in,
    login_reply,
    status_with,
)

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


@pytest.mark.parametrize(("code", "reason", "kind", "sdk_code"), LOGINS)
def test_a_refused_login(code: int, reason: str, kind: type[IMError], sdk_code: int) -> None:
    protocol = ClientProtocol(ALICE)
    protocol.connect("YWMt4lice", now=0.0)
    [refused] = protocol.receive(login_reply(status=status_with(code, reason)), now=0.0)
    assert isinstance(refused, LoginRefused)
    error = refused.error
    assert type(error) is kind
    assert (error.code, error.status, error.reason) == (sdk_code, code, reason)
    assert "alice" in str(error)
    assert repr(error) == repr(login_refused("alice", code, reason))
    assert protocol.tick(now=100.0) == []


SENDS: list[tuple[int, str, type[IMError], int]] = [
    (1, "group not found", GroupNotFound, 605),
    (1, "not in group or chatroom", NotAMember, 602),
    (1, "blocked", Blocked, 603),
    (1, "exceed recall time limit", RecallExpired, 504),
    (1, "message recall disabled", ServiceNotEnabled, 505),
    (1, "group is disabled", GroupDisabled, 608),
    (1, "Sorry, message does not exist", MessageNotFound, 1302),
    (1, "hit by moderation rules", Moderated, 508),
    (1, '{"error_type": "moderation"}', Moderated, 508),
    (1, "alice has no permission to recall message 7", Forbidden, 52),
    (1, "Sorry, edit limit reached", LimitReached, 50),
    (1, "Sorry, You do not have permission", Forbidden, 52),
    (1, "Sorry, format is incorrect", InvalidMessage, -3),
    (1, "Sorry, edit is not available", ServiceNotEnabled, 505),
    (1, "Sorry, edit fail", IMError, 503),
    (1, "group ack not open", ServiceNotEnabled, 505),
    (1, "group ack msg permission denied", Forbidden, 52),
    (1, "limit send group ack msg", LimitReached, 50),
    (1, "the message has expired", MessageNotFound, 1302),
    (1, "not in group or chatroom white list", Forbidden, 52),
    (1, "nonroster", Forbidden, 52),
    (1, "reached limit directed users", LimitReached, 50),
    (1, "any other", IMError, 503),
    (1, "", IMError, 503),
    (7, "sensitive words", Moderated, 501),
    (7, "blocked by mod_antispam", Moderated, 501),
    (7, "user is mute", Muted, 219),
    (7, "traffic limit", RateLimited, 509),
    (7, "Sorry, data is too large", TooLarge, 511),
    (7, "anything else", Forbidden, 52),  # the promise of the official SDK stays pending here
    (15, "any", Muted, 507),
    (19, "the custom callback's reason", Moderated, 502),
    (4, "wrong", InvalidMessage, 604),
    (2, "any", IMError, 604),
    (14, "any", IMError, 604),
    (99, "new in some later version", IMError, 604),
]


@pytest.mark.parametrize(("code", "reason", "kind", "sdk_code"), SENDS)
def test_a_refused_send(code: int, reason: str, kind: type[IMError], sdk_code: int) -> None:
    [answered] = logged_in().receive(answer(7, status=status_with(code, reason)), now=1.0)
    assert answered == SendAnswered(7, code, reason, "0", 0)
    error = send_refused("the text", answered.status, answered.reason)
    assert type(error) is kind
    assert (error.code, error.status, error.reason) == (sdk_code, code, reason)
    assert str(error).startswith("the text was refused")
