"""Reactions: what is refused before it is sent, lists of many users, and answers of an odd service."""

from typing import Any

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import app_api, token_of
from tests.stand_ins import Answer, Asked, odd_session


def test_a_reaction_with_many_users_is_read_to_its_end(
    thread: imkit.Thread, bob: imkit.Session, sandbox: Sandbox
) -> None:
    sent = thread.send("tea?")
    app = app_api(sandbox)
    users = [new_name("guest") for _ in range(103)]
    assert thread.group_id is not None
    for user in users:
        token_of(sandbox, user)
    for start in range(0, len(users), 50):
        app.ok("POST", f"/chatgroups/{thread.group_id}/invite", json={"usernames": users[start : start + 50]})
    for start in range(0, len(users), 10):
        app.ok("POST", f"/thread/{thread.id}/users", json={"usernames": users[start : start + 10]})
    for user in users:
        app.ok("POST", f"/reaction/user/{user}", json={"msgId": sent.id, "message": "👍"})
    his = bob.thread(thread.id)
    his.react(sent.id, "🍵 & #tea+")
    assert his.reactions(sent) == [
        imkit.Reaction("👍", 103, tuple(users), False),
        imkit.Reaction("🍵 & #tea+", 1, (bob.user,), True),
    ]
    (kept,) = thread.messages()
    assert [(each["count"], len(each["userList"]), each["state"]) for each in kept.reactions] == [
        (103, 3, False),
        (1, 1, False),
    ]
    his.unreact(sent, "🍵 & #tea+")
    assert len(thread.reactions(sent.id)) == 1


def test_refusals_say_what_is_wrong(thread: imkit.Thread, bob: imkit.Session, sandbox: Sandbox) -> None:
    sent = thread.send("tea?")
    wrong: list[Any] = ["", "  ", "x" * 129, "\ud83c", None, 7]
    for reaction in wrong:
        for call in (thread.react, thread.unreact):
            with pytest.raises(imkit.InvalidMessage, match="reaction"):
                call(sent, reaction)
    wrong = ["x", "../7", None]
    for message in wrong:
        with pytest.raises(imkit.InvalidMessage):
            thread.react(message, "👍")
    thread.react(sent, "👍")
    with pytest.raises(imkit.AlreadyExists, match="already: there is nothing to do") as twice:
        thread.react(sent, "👍")
    assert twice.value.code == 1101
    for number in range(19):
        thread.react(sent, str(number))
    with pytest.raises(imkit.LimitReached, match="20 different"):
        bob.thread(thread.id).react(sent, "one more")
    with pytest.raises(imkit.Forbidden, match="has not reacted with") as illegal:
        bob.thread(thread.id).unreact(sent, "👍")
    assert illegal.value.code == 1103
    with imkit.login(new_name("mallory"), app=sandbox.app) as mallory:
        outside = mallory.thread(thread.id)
        with pytest.raises(imkit.NotAMember, match="join the thread"):
            outside.react(sent, "👍")
        with pytest.raises(imkit.NotAMember, match="A thread is joined"):
            outside.reactions(sent)
    thread.recall(sent)
    assert thread.reactions(sent) == []
    with pytest.raises(imkit.Forbidden, match="not here any more"):
        thread.react(sent, "👍")


ODD_LISTS: list[Any] = [
    *(None, 7, "x", [None, 7, []], [{"msgId": "8", "reactionList": [{"reaction": "👍", "count": 1}]}]),
    *([{"msgId": "7"}], [{"msgId": "7", "reactionList": {"a": 1}}], [{"msgId": "7", "reactionList": [None, 7]}]),
]


def test_odd_answers_of_the_service() -> None:
    answers: list[Any] = []

    def answer(asked: Asked) -> Answer:
        body = answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer(200, {"data": body(len(server.asked)) if callable(body) else body})

    def entry(**reaction: Any) -> Any:
        return [{"msgId": "7", "reactionList": [{"reaction": "\ud83c", "count": 4, "userList": ["a", 7], **reaction}]}]

    with odd_session(answer) as (session, server):
        thread = session.thread("42")
        for odd in ODD_LISTS:
            answers[:] = [odd]
            assert thread.reactions("7") == []
        # The detail ends with an empty page, a repeated cursor, or no cursor; each user counts once.
        for pages in (
            [{"userList": ["a", "b"], "cursor": "1"}, {"userList": ["b", "c", None, {}], "cursor": "1"}],
            [{"userList": ["a", "b", "c"], "cursor": "1"}, {"userList": [], "cursor": "2"}],
            [{"userList": ["a", "b", "c"], "cursor": None}],
        ):
            answers[:] = [entry(count=1e999, state="yes"), *pages]
            assert thread.reactions("7") == [imkit.Reaction("�", 0, ("a",), False)]
            answers[:] = [entry(), *pages]
            assert thread.reactions("7") == [imkit.Reaction("�", 4, ("a", "b", "c"), False)]
        assert server.asked[-1].query == {"msgId": "7", "message": "�", "pageSize": "50", "limit": "50"}
        assert server.asked[-2].query == {"msgIdList": "7", "msgType": "groupchat", "groupId": "42"}
        answers[:] = [entry(), {"userList": 7}]
        with pytest.raises(imkit.ProtocolError, match="not a list"):
            thread.reactions("7")
        answers[:] = [entry(), lambda number: {"userList": ["a"], "cursor": "x" * 1_000_000}]
        with pytest.raises(imkit.ProtocolError, match="cursor"):
            thread.reactions("7")
        answers[:] = [[{"msgId": "7", "reactionList": [{"reaction": "x", "count": 9}] * 10_000}]]
        before = len(server.asked)
        with pytest.raises(imkit.ProtocolError, match="10,000 different"):
            thread.reactions("7")
        assert len(server.asked) == before + 1


def test_users_of_a_reaction_are_read_in_either_form() -> None:
    listed = {"data": [{"msgId": "7", "reactionList": [{"reaction": "👍", "count": 2, "userList": []}]}]}
    detail = {"data": {"count": 2, "reactionUserList": [{"userId": "alice"}, {"userId": "bob", "createdAt": "x"}]}}
    with odd_session(lambda asked: Answer(200, detail if asked.path.endswith("/detail") else listed)) as (session, _):
        assert session.thread("42").reactions("7") == [imkit.Reaction("👍", 2, ("alice", "bob"), False)]
