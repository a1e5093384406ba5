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
