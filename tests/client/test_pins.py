"""Pinned messages (置顶消息): against a real sandbox, and at a service that answers oddly."""

from typing import Any

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from tests.stand_ins import Answer, odd_session
from tests.waits import WAIT


def test_members_pin_and_unpin_messages_of_their_group(
    alice: imkit.Session, bob: imkit.Session, sandbox: Sandbox
) -> None:
    group = alice.create_group("tea", members=[bob.user])
    his = bob.group(group.id)
    first = group.send(imkit.Text("Which oolong?", ext={"mood": "curious"}))
    others = [group.send(f"message {number}") for number in range(20)]
    with imkit.login(alice.user, app=sandbox.app, resource="phone") as phone:
        group.pin(first)
        for session in (bob, phone):
            told = session.events(imkit.PinChanged).next(timeout=WAIT)
            assert (told.operation, told.message_id, told.to, told.by) == ("pinned", first.id, group.id, alice.user)
            assert told.at >= first.time
    (pinned,) = his.pinned()
    assert (pinned.id, pinned.sender, pinned.to, pinned.text) == (first.id, alice.user, group.id, "Which oolong?")
    assert (pinned.time, pinned.ext, pinned.chat) == (first.time, {"mood": "curious"}, "group")

    # The last pin comes first, and a message that is pinned again comes first again, also when there are 20.
    for message in others[:19]:
        his.pin(message.id)
    with pytest.raises(imkit.LimitReached):
        his.pin(others[19])
    group.pin(first)
    assert [message.id for message in group.pinned()] == [
        first.id,
        *(message.id for message in reversed(others[:19])),
    ]

    # A recalled message is no longer pinned.
    his.unpin(first)
    unpinned = alice.events(imkit.PinChanged).next(timeout=WAIT, where=lambda event: event.operation == "unpinned")
    assert (unpinned.message_id, unpinned.by) == (first.id, bob.user)
    group.recall(others[0])
    assert len(group.pinned()) == 18
    other_group = alice.create_group("coffee")
    elsewhere = other_group.send("not here")
    for refused in (first, others[0], elsewhere.id, "42", "9" * 32):
        with pytest.raises(imkit.MessageNotFound):
            group.unpin(refused)
    for refused in (others[0], elsewhere.id, "42", "9" * 32):
        with pytest.raises(imkit.MessageNotFound):
            group.pin(refused)
    with pytest.raises(imkit.InvalidMessage):
        group.pin("not an id")
    for call in (bob.group(other_group.id).pinned, lambda: bob.group(other_group.id).pin(elsewhere)):
        with pytest.raises(imkit.Forbidden):
            call()
    with pytest.raises(imkit.NotFound):
        alice.group("20999").pinned()


def test_odd_answers_are_no_pins() -> None:
    entry = {"message": {"id": "7", "payload": '{"bodies": [{"type": "txt", "msg": "hi"}]}'}}
    odd: list[Any] = [
        *({}, {"data": []}, {"data": {"cursor": "next"}}),
        {"data": {"msg_infos": [None, 7, {}, {"message": "x"}, {"message": {"id": "../x"}}, {"message": {"id": []}}]}},
    ]
    answers = [*odd, {"data": {"msg_infos": [entry, entry]}}]

    def answer(_: object) -> Answer:
        return Answer(200, answers.pop(0) if answers else {"data": {"msg_infos": [entry], "cursor": "on and on"}})

    with odd_session(answer) as (alice, server):
        group = alice.group("20999")
        for _ in odd:
            assert group.pinned() == []
        (message,) = group.pinned()
        assert (message.id, message.text) == ("7", "hi")
        asked = len(server.asked)
        assert [message.id for message in group.pinned()] == ["7"]  # a cursor that repeats ends the list
        assert len(server.asked) - asked == 2
        answers.append({"data": {"msg_infos": "x"}})
        with pytest.raises(imkit.ProtocolError, match="a str came"):
            group.pinned()
