"""Questions about threads: last messages come in batches, and odd answers give nothing."""

from typing import Any

import pytest

import imkit
from imkit.client.account import Account, ThreadFacts
from imkit.client.thread_queries import LAST_MESSAGES_BATCH, last_messages, learn_thread, readable_last_messages
from imkit.portal import portal
from tests.stand_ins import Answer, Asked, odd_session


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
