"""Questions about threads: paged lists end, last messages come in batches, and odd answers give nothing."""

from typing import Any

import pytest

import imkit
from imkit.client.account import Account, ThreadFacts
from imkit.client.thread_queries import LAST_MESSAGES_BATCH, last_messages, learn_thread, readable_last_messages
from imkit.portal import portal
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


def test_last_messages_are_asked_for_twenty_threads_at_a_time() -> None:
    ids = [str(number) for number in range(LAST_MESSAGES_BATCH * 2 + 1)]

    def answer(asked: Asked) -> Answer:
        entries = [{"thread_id": thread_id, "last_message": None} for thread_id in asked.json["threadIds"]]
        return Answer(200, {"entities": [*entries, {"thread_id": "not asked for"}]})

    with odd_session(answer) as (session, server):
        found = portal().call(last_messages(session.account, [*ids, ids[0]]))
        sizes = [len(asked.json["threadIds"]) for asked in server.asked]
    assert found == dict.fromkeys(ids)  # in the order given, each thread once
    assert sizes == [20, 20, 1]


def test_a_refused_call_for_last_messages_is_repeated_in_halves() -> None:
    ids = [str(number) for number in range(LAST_MESSAGES_BATCH + 5)]
    unreadable = {"3", "22"}

    def answer(asked: Asked) -> Answer:
        wanted = asked.json["threadIds"]
        if unreadable.intersection(wanted):
            return Answer(404, {"error": "thread_not_found", "error_description": "no such thread"})
        return Answer(200, {"entities": [{"thread_id": thread_id, "last_message": None} for thread_id in wanted]})

    with odd_session(answer) as (session, _):
        newest, refusals = portal().call(readable_last_messages(session.account, ids))
    assert newest.keys() == set(ids) - unreadable
    assert refusals.keys() == unreadable
    assert all(isinstance(error, imkit.NotFound) for error in refusals.values())


def learn(account: Account, detail: dict[str, Any]) -> str:
    return portal().run(lambda: learn_thread(account, detail))


def test_details_of_a_thread_are_remembered_and_an_incomplete_answer_forgets_none() -> None:
    with odd_session(lambda _: Answer(200, {})) as (session, _):
        account = session.account
        detail = {"id": "42", "name": "Oolong", "groupId": "7", "msgId": "99", "owner": "alice", "created": 1_000}
        assert learn(account, {**detail, "affiliations_count": 3}) == "42"
        assert learn(account, {"id": "42", "name": "Pu-erh", "affiliations_count": 0}) == "42"
        facts = account.known.threads["42"]
        assert facts == ThreadFacts("Pu-erh", "7", "99", "alice", facts.created, 0)
        assert facts.created is not None
        assert facts.created.timestamp() == 1
        assert learn(account, {"name": "no id"}) == ""
        assert list(account.known.threads) == ["42"]


def test_a_service_that_cannot_be_asked_is_one_error() -> None:
    """Several requests are under way at once; their errors must not come as a group, which no caller expects."""

    def answer(asked: Asked) -> Answer:
        return Answer(400, {"error": "illegal_argument", "error_description": "?"})

    with odd_session(answer) as (session, _), pytest.raises(imkit.IMError, match="asking for last messages"):
        portal().call(readable_last_messages(session.account, [str(number) for number in range(50)]))
