"""`Session.users` and `Session.update_profile`: against a real sandbox, and at a service that answers oddly."""

from typing import Any
from unittest.mock import ANY

import pytest

import imkit
from imkit.client import account
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.stand_ins import Answer, odd_session
from tests.waits import WAIT

HOSTILE = "<img src=x>\x1b[2J‮"


def test_a_nickname_is_read_by_everybody_and_told_to_the_users_own_devices(
    alice: imkit.Session, bob: imkit.Session, sandbox: Sandbox
) -> None:
    with imkit.login(bob.user, app=sandbox.app, resource="phone") as phone:
        bob.update_profile(nickname="小博 +&=%", avatar_url="https://example.com/bob.png?a=1&b=2")
        for session in (bob, phone):
            told = session.events(imkit.UserChanged).next(timeout=WAIT)
            changed = {"nickname": "小博 +&=%", "avatar_url": "https://example.com/bob.png?a=1&b=2"}
            assert told == imkit.UserChanged(bob.user, changed, ANY)
    stranger = new_name("stranger")
    found = alice.users([bob.user.upper(), stranger, "no user id!", "..", "x" * 100])
    assert list(found) == [bob.user.upper(), stranger, "no user id!", "..", "x" * 100]
    assert found[bob.user.upper()] == imkit.User(bob.user, "小博 +&=%", "https://example.com/bob.png?a=1&b=2")
    assert repr(found[bob.user.upper()]) == f"<User {bob.user} '小博 +&=%'>"
    assert found[stranger] == imkit.User(stranger, None, None)
    assert repr(found[stranger]) == f"<User {stranger}>"

    # An attribute that is not named stays; an empty text removes one. Bob's own session asks anew, Alice's does not.
    bob.update_profile(nickname="")
    assert bob.users([bob.user])[bob.user] == imkit.User(bob.user, None, "https://example.com/bob.png?a=1&b=2")
    asked = alice.account.rest.requests
    assert alice.users([bob.user])[bob.user].nickname == "小博 +&=%"
    assert alice.account.rest.requests == asked
    many = [f"{stranger}-{number}" for number in range(250)]
    assert list(alice.users(many).values()) == [imkit.User(name) for name in many]
    assert alice.account.rest.requests == asked + 3


def test_wrong_arguments_and_long_values_are_refused(bob: imkit.Session) -> None:
    wrong: Any
    for wrong in ("bob", [7], [None]):
        with pytest.raises(imkit.InvalidMessage):
            bob.users(wrong)
    for wrong in ({}, {"nickname": 7}, {"avatar_url": b"x"}, {"nickname": "\ud800"}):
        with pytest.raises(imkit.InvalidMessage):
            bob.update_profile(**wrong)
    for wrong in ({"nickname": "茶" * 65}, {"avatar_url": "x" * 257}):
        with pytest.raises(imkit.TooLarge) as caught:
            bob.update_profile(**wrong)
        assert "64 characters" in caught.value.hint
    assert bob.users([bob.user])[bob.user].nickname is None
    bob.update_profile(nickname="茶" * 64)
    assert bob.users([bob.user])[bob.user].nickname == "茶" * 64


def test_what_a_user_calls_itself_is_shown_as_text(bob: imkit.Session) -> None:
    bob.update_profile(nickname=HOSTILE, avatar_url="javascript:alert(1)")
    user = bob.users([bob.user])[bob.user]
    assert (user.nickname, user.avatar_url) == (HOSTILE, "javascript:alert(1)")
    assert repr(user).isprintable()
    page = user._repr_html_()
    for dangerous in ("<img", "href", "src=", "\x1b", "‮"):
        assert dangerous not in page.replace("&lt;img src=x&gt;", "")
    assert "javascript:alert(1)</bdi>" in page


def test_odd_answers_give_users_without_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    odd: list[Any] = [None, [], "x", {"alice": None}, {"alice": [1]}, {"alice": {"nickname": ["x"], "mail": {}}}]
    answers = [{"data": data} for data in odd] + [{}]
    monkeypatch.setattr(account, "KNOWN_USERS", 3)
    answers += [{"data": {f"u{number}": {"nickname": "x" * 10_000, "gender": 2} for number in range(5)}}]
    with odd_session(lambda _: Answer(200, answers.pop(0))) as (alice, _):
        while len(answers) > 1:
            assert alice.users(["alice"]) == {"alice": imkit.User("alice")}
            alice.account.known.users.clear()
        found = alice.users([f"u{number}" for number in range(5)])
        assert {len(user.nickname or "") for user in found.values()} == {2048}
        assert {user.gender for user in found.values()} == {"2"}
        assert list(alice.account.known.users) == ["u2", "u3", "u4"]


def test_a_user_learns_whether_it_is_muted(alice: imkit.Session, bob: imkit.Session, sandbox: Sandbox) -> None:
    group = alice.create_group("tea", members=[bob.user])
    his = bob.group(group.id)
    assert not his.is_muted()
    body = {"usernames": [bob.user], "mute_duration": -1}
    portal().call(alice.account.rest.request("POST", "chatgroups", group.id, "mute", body=body))
    assert his.is_muted()
    assert not group.is_muted()
    with pytest.raises(imkit.GroupNotFound):
        bob.group("20999").is_muted()
    with imkit.login(new_name("carol"), app=sandbox.app) as carol, pytest.raises(imkit.Forbidden):
        carol.group(group.id).is_muted()
    with odd_session(lambda _: Answer(200, {"data": "no"})) as (odd, _), pytest.raises(imkit.ProtocolError):
        odd.group("7").is_muted()


def test_a_report_needs_a_message_a_kind_and_a_reason(bob: imkit.Session) -> None:
    sent = bob.create_group("tea").send("hello")
    bob.report(sent, "spam", "a test")
    bob.report(sent.id, "spam", "a test, again")
    wrong: Any
    for wrong in (
        ("x", "spam", "x"),
        (sent, "", "x"),
        (sent, "spam", ""),
        (sent, None, "x"),
        (sent, "spam", 7),
        (sent, "\ud800", "x"),
    ):
        with pytest.raises(imkit.InvalidMessage):
            bob.report(*wrong)
