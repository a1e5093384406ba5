"""Paged lists end, and odd answers give empty lists."""

from typing import Any

import pytest

import imkit
from tests.stand_ins import Answer, Asked, odd_session


def test_an_empty_page_ends_a_list_although_it_has_a_cursor() -> None:
    pages = {
        # Every page has a cursor, so an empty page ends the list.
        "/thread/42/users": [{"data": {"affiliations": ["a", "b"]}}, {"data": {"affiliations": []}}],
        "/chatgroups/42/users": [{"data": [{"owner": "a"}, {"member": "b"}]}, {"data": []}],
        "/threads/chatgroups/42": [{"entities": [{"id": "1"}]}, {"entities": []}],
    }

    def answer(asked: Asked) -> Answer:
        some = pages[asked.path.removeprefix("/org/app")]
        page = some.pop(0) if len(some) > 1 else some[0]
        return Answer(200, {**page, "properties": {"cursor": f"c{len(server.asked)}"}})

    with odd_session(answer) as (session, server):
        assert list(session.thread("42").members()) == ["a", "b"]
        assert list(session.group("42").members()) == ["a", "b"]
        assert [thread.id for thread in session.group("42").threads()] == ["1"]
        assert len(server.asked) == 6
        assert server.asked[1].query == {"limit": "50", "cursor": "c1"}


def test_a_repeated_cursor_ends_a_list() -> None:
    body = {"data": {"affiliations": ["a"]}, "properties": {"cursor": "same"}}
    with odd_session(lambda _: Answer(200, body)) as (session, server):
        assert list(session.thread("42").members()) == ["a", "a"]
        assert len(server.asked) == 2


@pytest.mark.parametrize("body", [{}, {"data": None}, {"entities": [None, 7, {}, {"id": "../7"}]}])
def test_malformed_answers_give_empty_lists(body: dict[str, Any]) -> None:
    with odd_session(lambda _: Answer(200, body)) as (session, _):
        listings: list[Any] = [
            session.thread("42").members(),
            session.group("42").members(),
            session.group("42").threads(),
            session.threads(),
            session.groups(),
            session.conversations(),
        ]
        assert [list(listing) for listing in listings] == [[]] * 6
        assert session.thread("42").last_message() is None
        assert session.thread("42").refresh().name is None
        with pytest.raises(imkit.ProtocolError, match="does not name it"):
            session.create_group("tea")
        with pytest.raises(imkit.ProtocolError, match="does not name it"):
            session.group("42").create_thread("tea", "123")


@pytest.mark.parametrize("name", ["user", "memberId", "username"])
def test_members_are_read_from_where_either_official_sdk_reads_them(name: str) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.query.get("cursor"):
            return Answer(200, {"entities": [{name: "carol"}]})
        return Answer(200, {"entities": [], "data": {"affiliations": ["alice", {name: "bob"}], "cursor": "next"}})

    with odd_session(answer) as (session, _):
        assert list(session.thread("42").members()) == ["alice", "bob", "carol"]


def test_details_of_a_thread_are_read_in_either_form() -> None:
    detail = {"id": "42", "name": "tea", "parentId": "7", "affiliationsCount": 3}
    last = {"msgId": "8", "timestamp": 1, "payload": {"from": "bob", "bodies": [{"type": "txt", "msg": "hi"}]}}
    answers = {
        "/thread/42": {"data": [detail]},
        "/thread/message": {"entities": [{"thread_id": "42", "last_message": last}]},
    }
    with odd_session(lambda asked: Answer(200, answers[asked.path.removeprefix("/org/app")])) as (session, _):
        thread = session.thread("42").refresh()
        assert (thread.name, thread.group_id, thread.member_count) == ("tea", "7", 3)
        found = thread.last_message()
        assert found is not None
        assert found.id == "8"
